/*
 * The daemon that judges a run: one that is there, as clients find it, or one of our own for as long as
 * the run takes. It asks for one model and judges nothing. The thread that the tool began in alone: a
 * daemon of our own ends with it.
 */
#ifndef DWELL_CLI_BENCH_DAEMON_H
#define DWELL_CLI_BENCH_DAEMON_H

#include <jansson.h>
#include <sys/types.h>
#include <sys/un.h>

#include "cli/place.h"

enum {
    DAEMON_START_MS = 10000, /* on a machine that does something else */
    DAEMON_STOP_MS = 5000,
    DAEMON_JUDGE_MS = 3000, /* rounds of evidence of a new model end once a second */
    DAEMON_ASK_EVERY_MS = 100,
};

struct daemon {
    bool is_there;
    struct sockaddr_un ingest;
    char query[PLACE_BYTES];
    pid_t pid;                   /* of our own; 0: it is somebody else's */
    char directory[PLACE_BYTES]; /* of our own; "": likewise */
};

/* Looks for one that listens. 0, also when there is none; EX_USAGE with the reason in `problem`. */
int daemon_find(struct daemon *daemon, const char *dir, struct buf *problem);

/* Starts one: the dwelld beside this program, or else in PATH, on built-in defaults, whatever the
 * environment says. 0; or EX_… with the reason in `problem`. */
int daemon_start(struct daemon *daemon, struct buf *problem);

/* What it says of a model, once it has judged the evidence that came with the samples, or has had
 * DAEMON_JUDGE_MS for it: the caller's to json_decref. NULL: `problem` says why. */
json_t *daemon_ask(const struct daemon *daemon, const char *model_name, double timeout,
                   struct buf *problem);

/* Ends our own and removes its directory. */
void daemon_stop(struct daemon *daemon);

#endif
