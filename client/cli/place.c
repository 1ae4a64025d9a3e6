#include "cli/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

static bool exists(void *ctx, const char *path)
{
    (void)ctx;
    return access(path, F_OK) == 0;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

void place_system(struct place_world *ret_world)
{
    *ret_world = (struct place_world){.dwell_dir = variable("DWELL_DIR"),
                                      .runtime_dir = variable("XDG_RUNTIME_DIR"),
                                      .uid = (unsigned)getuid(),
                                      .exists = exists};
}

/* Puts the path together; false when a socket cannot have one of that length. */
static bool join(char path[PLACE_BYTES], const char *dir, const char *socket)
{
    int len = snprintf(path, PLACE_BYTES, "%s/%s", dir, socket);
    return len >= 0 && len < PLACE_BYTES;
}

static int use(const char *dir, const char *socket, char ret_path[PLACE_BYTES], struct buf *problem)
{
    if (join(ret_path, dir, socket)) {
        return 0;
    }
    buf_printf(problem, "%s/%s is longer than the path of a socket may be, %d bytes", dir, socket,
               PLACE_BYTES - 1);
    return EX_USAGE;
}

bool place_candidate(const struct place_world *world, unsigned number, char ret_dir[PLACE_BYTES])
{
    char own[sizeof "/tmp/dwell-" + 10];
    (void)snprintf(own, sizeof own, "/tmp/dwell-%u", world->uid); /* it fits: ten digits */
    const char *const places[PLACE_CANDIDATES][2] = {
        {world->runtime_dir, "/dwell"}, {"/run/dwell", ""}, {own, ""}};
    if (number >= PLACE_CANDIDATES || places[number][0] == NULL) {
        return false;
    }
    int len = snprintf(ret_dir, PLACE_BYTES, "%s%s", places[number][0], places[number][1]);
    return len >= 0 && len < PLACE_BYTES;
}

/* "/run/user/1000/dwell, /run/dwell or /tmp/dwell-1000" */
void place_list(const struct place_world *world, struct buf *out)
{
    char dir[PLACE_BYTES];
    const char *comma = "";
    for (unsigned i = 0; i < PLACE_CANDIDATES; i++) {
        if (place_candidate(world, i, dir)) {
            buf_puts(out, i + 1 == PLACE_CANDIDATES ? " or " : comma);
            buf_puts(out, dir);
            comma = ", ";
        }
    }
}

int place_find(const struct place_world *world, const char *dir, const char *socket,
               char ret_path[PLACE_BYTES], struct buf *problem)
{
    if (dir != NULL || world->dwell_dir != NULL) {
        return use(dir != NULL ? dir : world->dwell_dir, socket, ret_path, problem);
    }
    for (unsigned i = 0; i < PLACE_CANDIDATES; i++) {
        char candidate[PLACE_BYTES];
        char ingest[PLACE_BYTES];
        if (place_candidate(world, i, candidate) && join(ingest, candidate, "ingest.sock") &&
            world->exists(world->ctx, ingest) && join(ret_path, candidate, socket)) {
            return 0;
        }
    }
    buf_puts(problem, "no daemon is found: there is no ingest.sock in ");
    place_list(world, problem);
    buf_puts(problem, ". Start dwelld, or say where it is: --dir DIR or $DWELL_DIR");
    return EX_UNAVAILABLE;
}
