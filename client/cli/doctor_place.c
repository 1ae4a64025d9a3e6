#include "cli/doctor_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

enum {
    PERMISSIONS = 07777,
    LOOSEST = 0750, /* what dwelld takes of its directory */
};

static const struct {
    const char *name;
    int type;
    bool is_private; /* for the daemon's own user */
} sockets[] = {
    [DOCTOR_INGEST] = {"ingest.sock", SOCK_STREAM, false},
    [DOCTOR_DATAGRAM] = {"ingest.dgram", SOCK_DGRAM, false},
    [DOCTOR_QUERY] = {"query.sock", SOCK_STREAM, false},
    [DOCTOR_ADMIN] = {"admin.sock", SOCK_STREAM, true},
};
_Static_assert(sizeof sockets / sizeof sockets[0] == DOCTOR_SOCKETS, "one each");

/* --- looking ----------------------------------------------------------------------------------- */

static bool join(char path[PLACE_BYTES], const char *dir, const char *name)
{
    int len = snprintf(path, PLACE_BYTES, "%s/%s", dir, name);
    return len >= 0 && len < PLACE_BYTES;
}

static void look_at(const char *path, struct doctor_file *ret_file)
{
    struct stat st;
    *ret_file = (struct doctor_file){0};
    if (stat(path, &st) != 0) { /* links are followed, as connect does */
        ret_file->reason = errno;
        return;
    }
    ret_file->mode = st.st_mode;
    ret_file->uid = st.st_uid;
    ret_file->gid = st.st_gid;
}

/* Connects and hangs up: of datagrams nothing is seen of it, of streams a connection without a byte. Where
 * too many wait already it does not wait with them (EAGAIN). */
static void contact(const char *path, int type, struct doctor_contact *contact)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _Static_assert(sizeof address.sun_path == PLACE_BYTES, "what join gives fits");
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        contact->reason = errno;
        return;
    }
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        contact->reason = errno;
    } else {
        struct ucred who = {0};
        socklen_t len = sizeof who;
        bool told = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0;
        contact->pid = told && type == SOCK_STREAM ? who.pid : 0;
    }
    (void)close(fd); /* it holds nothing */
}

static bool has_ingest(const char *dir, int *ret_reason)
{
    char path[PLACE_BYTES];
    struct doctor_file file = {.reason = ENAMETOOLONG};
    if (join(path, dir, sockets[DOCTOR_INGEST].name)) {
        look_at(path, &file);
    }
    *ret_reason = file.reason;
    return file.reason == 0;
}

/* As clients choose it; a directory that may not be entered is taken where nothing better is found. */
static void choose(struct doctor_place *place)
{
    char forbidden[PLACE_BYTES] = "";
    for (unsigned i = 0; i < PLACE_CANDIDATES; i++) {
        char dir[PLACE_BYTES];
        int reason;
        if (!place_candidate(&place->world, i, dir)) {
            continue;
        }
        if (has_ingest(dir, &reason)) {
            char *room = place->path[0] == '\0' ? place->path : place->other;
            if (room[0] == '\0' && strcmp(place->path, dir) != 0) {
                memcpy(room, dir, sizeof dir);
            }
        } else if (reason == EACCES && forbidden[0] == '\0') {
            memcpy(forbidden, dir, sizeof dir);
        }
    }
    if (place->path[0] == '\0') {
        memcpy(place->path, forbidden, sizeof forbidden);
    }
}

static void look_at_groups(struct doctor_place *place)
{
    gid_t gids[DOCTOR_GROUPS_MAX - 1];
    int count = getgroups(DOCTOR_GROUPS_MAX - 1, gids); /* fails when there are more: then none */
    place->gids[place->gid_count++] = (uint32_t)getegid();
    for (int i = 0; i < count; i++) {
        place->gids[place->gid_count++] = (uint32_t)gids[i];
    }
}

int doctor_place_look(struct doctor_place *place, const char *dir, struct buf *problem)
{
    *place = (struct doctor_place){.choice = DOCTOR_BY_LOOKING};
    const char *disabled = getenv("DWELL_DISABLED");
    char path[PLACE_BYTES];
    place_system(&place->world);
    place->is_disabled = disabled != NULL && strcmp(disabled, "1") == 0;
    look_at_groups(place);
    const char *named = dir != NULL ? dir : place->world.dwell_dir;
    if (named != NULL) {
        place->choice = dir != NULL ? DOCTOR_BY_OPTION : DOCTOR_BY_VARIABLE;
        /* The longest name of a socket decides whether the directory will do. */
        int status = place_find(&place->world, named, sockets[DOCTOR_DATAGRAM].name, path, problem);
        if (status != 0) {
            return status;
        }
        (void)snprintf(place->path, sizeof place->path, "%s", named); /* it is shorter */
    }
    choose(place);
    if (place->path[0] == '\0') {
        place->choice = DOCTOR_BY_NOTHING;
        return 0;
    }
    look_at(place->path, &place->directory);
    for (unsigned i = 0; i < DOCTOR_SOCKETS; i++) {
        struct doctor_contact *one = &place->sockets[i];
        doctor_place_socket(place, (enum doctor_socket)i, path);
        look_at(path, &one->file);
        if (one->file.reason == 0) {
            contact(path, sockets[i].type, one);
        } else {
            one->reason = one->file.reason;
        }
    }
    return 0;
}

bool doctor_place_answers(const struct doctor_place *place, enum doctor_socket which)
{
    return place->path[0] != '\0' && place->sockets[which].reason == 0;
}

void doctor_place_socket(const struct doctor_place *place, enum doctor_socket which,
                         char ret_path[PLACE_BYTES])
{
    if (!join(ret_path, place->path, sockets[which].name)) {
        ret_path[0] = '\0'; /* a candidate's, and never the one that was chosen by name */
    }
}

/* --- judging ----------------------------------------------------------------------------------- */

static bool is_member(const struct doctor_place *place, uint32_t gid)
{
    for (size_t i = 0; i < place->gid_count; i++) {
        if (place->gids[i] == gid) {
            return true;
        }
    }
    return false;
}

static void say_file(struct finding *finding, const struct doctor_file *file)
{
    finding_say(finding, "mode %04o, of user %u and group %u", (unsigned)file->mode & PERMISSIONS,
                (unsigned)file->uid, (unsigned)file->gid);
}

static void judge_environment(const struct doctor_place *place, struct findings *findings)
{
    struct finding *finding = finding_add(findings, "environment");
    if (place->is_disabled) {
        finding_say(finding, "DWELL_DISABLED is 1: what is started from here sends nothing");
        finding_mend(finding, FINDING_WARN, "Take it away: unset DWELL_DISABLED");
    } else if (place->world.dwell_dir != NULL) {
        finding_say(finding, "DWELL_DIR is %s, DWELL_DISABLED is not 1", place->world.dwell_dir);
    } else {
        finding_say(finding, "DWELL_DIR is not set, DWELL_DISABLED is not 1");
    }
}

static void judge_choice(const struct doctor_place *place, struct findings *findings)
{
    struct finding *finding = finding_add(findings, "place");
    struct buf list;
    buf_init(&list, FINDING_TEXT_MAX);
    place_list(&place->world, &list);
    buf_char(&list, '\0');
    const char *candidates = list.err == 0 ? list.data : "";
    switch (place->choice) {
    case DOCTOR_BY_OPTION:
        finding_say(finding, "%s, named by --dir", place->path);
        break;
    case DOCTOR_BY_VARIABLE:
        finding_say(finding, "%s, named by DWELL_DIR", place->path);
        break;
    case DOCTOR_BY_LOOKING:
        finding_say(finding, "%s, of %s the first that has an ingest.sock", place->path,
                    candidates);
        break;
    case DOCTOR_BY_NOTHING:
        finding_say(finding, "there is no ingest.sock in %s", candidates);
        finding_mend(finding, FINDING_FAIL,
                     "Start dwelld, or say where it is: --dir DIR, or DWELL_DIR for all clients");
        break;
    }
    buf_fini(&list);
}

/* There is no daemon in the directory, but there may be one where clients look by themselves. */
static void mend_absence(const struct doctor_place *place, struct finding *finding)
{
    if (place->other[0] == '\0') {
        finding_mend(finding, FINDING_FAIL, "Start it there: dwelld --set ingest.directory=%s",
                     place->path);
    } else if (place->choice == DOCTOR_BY_VARIABLE) {
        finding_mend(finding, FINDING_FAIL,
                     "There is one in %s: unset DWELL_DIR, or set it to that", place->other);
    } else {
        finding_mend(finding, FINDING_FAIL, "There is one in %s: --dir %s", place->other,
                     place->other);
    }
}

/* Why somebody may not use a file of the daemon's, and how he may. */
static void mend_permission(const struct doctor_place *place, const struct doctor_file *file,
                            struct finding *finding)
{
    bool is_owner = file->uid == place->world.uid;
    if (is_owner) {
        finding_mend(finding, FINDING_FAIL,
                     "Give its owner the right: set ingest.mode to \"0660\" and restart dwelld");
    } else if (is_member(place, file->gid)) {
        finding_mend(finding, FINDING_FAIL,
                     "Give the group the right: set ingest.mode to \"0660\" and restart dwelld");
    } else {
        finding_mend(
            finding, FINDING_FAIL,
            "Set ingest.group to a group of user %u's, remove %s and restart dwelld; or run "
            "what sends as user %u",
            (unsigned)place->world.uid, place->path, (unsigned)file->uid);
    }
}

/* False when there is nothing in it to look at. */
static bool judge_directory(const struct doctor_place *place, struct findings *findings)
{
    const struct doctor_file *directory = &place->directory;
    struct finding *finding = finding_add(findings, "directory");
    unsigned mode = (unsigned)directory->mode & PERMISSIONS;
    if (directory->reason == ENOENT) {
        finding_say(finding, "it is not there");
        mend_absence(place, finding);
    } else if (directory->reason != 0) {
        finding_say(finding, "user %u cannot look at it: %s", (unsigned)place->world.uid,
                    strerror(directory->reason));
        finding_mend(finding, FINDING_FAIL,
                     "Let user %u enter what is above it: namei -l %s shows where it ends",
                     (unsigned)place->world.uid, place->path);
    } else if (!S_ISDIR(directory->mode)) {
        finding_say(finding, "it is no directory");
        finding_mend(finding, FINDING_FAIL, "Name another one, or remove it: rm %s", place->path);
    } else if (place->sockets[DOCTOR_INGEST].reason == EACCES &&
               place->sockets[DOCTOR_INGEST].file.reason == EACCES) {
        finding_say(finding, "user %u may not enter it: ", (unsigned)place->world.uid);
        say_file(finding, directory);
        mend_permission(place, directory, finding);
    } else {
        say_file(finding, directory);
        if ((mode & ~(unsigned)LOOSEST) != 0) {
            finding_say(finding, ": others may get into it, and dwelld will not start in it again");
            finding_mend(finding, FINDING_WARN, "chmod 0%o %s", mode & LOOSEST, place->path);
        }
        return true;
    }
    return false;
}

static void judge_contact(const struct doctor_place *place, unsigned which,
                          struct findings *findings)
{
    const struct doctor_contact *one = &place->sockets[which];
    struct finding *finding = finding_add(findings, sockets[which].name);
    if (one->file.reason == ENOENT) {
        finding_say(finding, "it is not there, although others are: somebody has removed it");
        finding_mend(finding, FINDING_FAIL, "Restart dwelld: it makes it again");
    } else if (one->file.reason == 0 && !S_ISSOCK(one->file.mode)) {
        finding_say(finding, "it is no socket");
        finding_mend(finding, FINDING_FAIL, "Remove it and restart dwelld: rm %s/%s", place->path,
                     sockets[which].name);
    } else if (one->reason == ECONNREFUSED) {
        finding_say(finding, "nobody listens: it is left of a daemon that was killed");
        finding_mend(finding, FINDING_FAIL, "Start dwelld: it replaces what nobody listens on");
    } else if (one->reason == EACCES && sockets[which].is_private) {
        finding_say(finding, "for user %u alone, who runs the daemon", (unsigned)one->file.uid);
    } else if (one->reason == EACCES) {
        finding_say(finding, "user %u may not open it: ", (unsigned)place->world.uid);
        say_file(finding, &one->file);
        mend_permission(place, &one->file, finding);
    } else if (one->reason == EAGAIN) {
        finding_say(finding, "nobody takes what waits there: its queue is full");
        finding_mend(finding, FINDING_FAIL,
                     "See what holds the daemon up (its log, top); if nothing does, restart it");
    } else if (one->reason != 0) {
        finding_say(finding, "%s", strerror(one->reason));
        finding_mend(finding, FINDING_FAIL, "Restart dwelld");
    } else if (one->pid > 0) {
        finding_say(finding, "process %lld listens, ", (long long)one->pid);
        say_file(finding, &one->file);
    } else {
        finding_say(finding, "somebody listens, ");
        say_file(finding, &one->file);
    }
}

static bool has_sockets(const struct doctor_place *place)
{
    for (unsigned i = 0; i < DOCTOR_SOCKETS; i++) {
        if (place->sockets[i].file.reason != ENOENT) {
            return true;
        }
    }
    return false;
}

void doctor_place_judge(const struct doctor_place *place, struct findings *findings)
{
    judge_environment(place, findings);
    judge_choice(place, findings);
    if (place->choice == DOCTOR_BY_NOTHING || !judge_directory(place, findings)) {
        return;
    }
    if (!has_sockets(place)) {
        struct finding *finding = finding_add(findings, "sockets");
        finding_say(finding, "there are none in it");
        mend_absence(place, finding);
        return;
    }
    for (unsigned i = 0; i < DOCTOR_SOCKETS; i++) {
        judge_contact(place, i, findings);
    }
}
