/*
 * One HTTP request at a time to the daemon, over a Unix socket or by TCP. No request is endless: each has a
 * time limit and its answer a ceiling. It does not read the answer's content.
 *
 *     fetch_open   fetch_start   fetch_wait …   fetch_finish   fetch_start …   fetch_close
 */
#ifndef DWELL_CLI_FETCH_H
#define DWELL_CLI_FETCH_H

#include "base/buf.h"
#include "cli/place.h"

enum {
    FETCH_BYTES_MAX = 64 << 20
}; /* of an answer: a million models would be more, a thousand are 1 MB */

struct fetch_target {
    char socket[PLACE_BYTES]; /* empty: by TCP */
    const char *url;          /* borrowed; of TCP: "http://host:9847" */
    double timeout;           /* seconds */
};

struct fetch;

/* NULL: no memory. */
struct fetch *fetch_open(const struct fetch_target *target);
void fetch_close(struct fetch *fetch);

/* Begins a request; `path` is encoded already. 0, or an exit status with the reason in `problem`. */
int fetch_start(struct fetch *fetch, const char *method, const char *path, struct buf *problem);

/* Waits at most so long for it, or for `fd` (-1: none) to become readable. True when it is done. */
bool fetch_wait(struct fetch *fetch, int fd, int wait_ms);

/* The outcome: 0 and the answer with its status, valid until the next start; or an exit status, with what
 * happened and what to do in `problem`. */
int fetch_finish(struct fetch *fetch, long *ret_status, struct str *ret_body, struct buf *problem);

/* Appends a part of a path, or a value of a query, encoded. */
void fetch_encode(struct buf *out, struct str text);

#endif
