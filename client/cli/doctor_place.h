/*
 * Where the daemon should be, as its clients look for it: the environment, the directory, the sockets in
 * it, and whether we may use them. Looking and judging are apart, so that tests judge places that no
 * machine has to have.
 */
#ifndef DWELL_CLI_DOCTOR_PLACE_H
#define DWELL_CLI_DOCTOR_PLACE_H

#include "cli/finding.h"
#include "cli/place.h"

enum { DOCTOR_GROUPS_MAX = 64 }; /* of our own that are compared; more are few people's */

enum doctor_socket { DOCTOR_INGEST, DOCTOR_DATAGRAM, DOCTOR_QUERY, DOCTOR_ADMIN, DOCTOR_SOCKETS };

struct doctor_file {
    int reason;    /* errno of looking at it; 0: it is there */
    uint32_t mode; /* with its type, as in st_mode */
    uint32_t uid, gid;
};

struct doctor_contact {
    struct doctor_file file;
    int reason;  /* errno of connecting; 0: somebody listens */
    int64_t pid; /* who; 0: not known */
};

/* How the directory was chosen. */
enum doctor_choice {
    DOCTOR_BY_OPTION,   /* --dir */
    DOCTOR_BY_VARIABLE, /* $DWELL_DIR */
    DOCTOR_BY_LOOKING,  /* the first with an ingest.sock */
    DOCTOR_BY_NOTHING,  /* none has one */
};

struct doctor_place {
    struct place_world world; /* who we are, and our environment */
    uint32_t gids[DOCTOR_GROUPS_MAX];
    size_t gid_count;
    bool is_disabled; /* DWELL_DISABLED=1 */
    enum doctor_choice choice;
    char path[PLACE_BYTES]; /* empty: none */
    char other
        [PLACE_BYTES]; /* another one that clients may look into and that has an ingest.sock; or "" */
    struct doctor_file directory;
    struct doctor_contact sockets[DOCTOR_SOCKETS];
};

/* Asks the system. `dir`: --dir, or NULL. A directory that no socket can lie in counts as too long: 0, or
 * EX_USAGE with the reason in `problem`. */
int doctor_place_look(struct doctor_place *place, const char *dir, struct buf *problem);

/* A row for each thing that was looked at. */
void doctor_place_judge(const struct doctor_place *place, struct findings *findings);

/* True when somebody listens there, and we may talk to him. */
bool doctor_place_answers(const struct doctor_place *place, enum doctor_socket which);

/* The path of a socket. */
void doctor_place_socket(const struct doctor_place *place, enum doctor_socket which,
                         char ret_path[PLACE_BYTES]);

#endif
