/*
 * A reload as an exchange between the loop, which must not wait for a disk, and a thread that reads the
 * configuration anew. What came is handed to the owner, who applies it or not; nothing is changed here.
 *
 *              ask                    read                  owner told
 *     [IDLE] -------> [READING] ---------------> [IDLE], or [READING] again
 *                         |  ^                              when it was asked meanwhile:
 *                         +--+ ask: once more after this    many SIGHUPs are one
 *
 * Loop thread only.
 */
#ifndef DWELL_IO_RELOAD_H
#define DWELL_IO_RELOAD_H

#include <pthread.h>
#include <sys/types.h>
#include <uv.h>

#include "conf/conf.h"
#include "conf/families.h"

/* What was read. Nothing but complaints when `err` is not 0. */
struct reload_news {
    int err;
    struct conf conf;
    struct conf_families families;
    bool has_group;
    gid_t group; /* of ingest.group, looked up: that may take a server elsewhere */
    struct buf errors;
    struct buf warnings;
};

/* The owner takes what it wants by leaving zero in its place; the rest is freed. */
typedef void (*reload_told_fn)(void *ctx, struct reload_news *news);

struct reload_reading;

struct reload {
    const struct conf_command *command; /* borrowed */
    reload_told_fn told;
    void *ctx;
    uv_poll_t poll;
    int wake_fd; /* eventfd: the thread has read */
    pthread_t thread;
    struct reload_reading *reading; /* NULL: idle */
    bool asked;                     /* while reading */
};

/* Returns 0 or ERR_SYSTEM. */
int reload_start(struct reload *reload, uv_loop_t *loop, const struct conf_command *command,
                 reload_told_fn told, void *ctx);

/* Begins to read. Returns 0; ERR_NOMEM or ERR_SYSTEM when there is no thread for it. */
int reload_ask(struct reload *reload);

/* Nobody is told any more. A thread that goes on reading is left to itself: the end of the daemon does not
 * wait for a disk that hangs. Memory may go when the loop has run its close callbacks. */
void reload_close(struct reload *reload);

#endif
