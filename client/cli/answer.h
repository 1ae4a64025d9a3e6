/*
 * Reading the daemon's JSON: an older or newer daemon may leave out anything, so what is not there, or
 * of another type, is NaN, an empty text or an empty list, and never an error. It does not fetch.
 */
#ifndef DWELL_CLI_ANSWER_H
#define DWELL_CLI_ANSWER_H

#include <jansson.h>

#include "base/buf.h"

/* The tree of an answer; EX_PROTOCOL when it is none. The caller's to json_decref. */
int answer_read(struct str body, json_t **ret_root, struct buf *problem);

/* The exit status for an answer that is no 200, with what it says: 1 for a model that is not there,
 * EX_PROTOCOL for a path that an older daemon does not know, EX_UNAVAILABLE for a busy one. */
int answer_refused(const char *path, long status, struct str body, struct buf *problem);

/* The member at a path of keys, "latency.p50_ms": a number or NaN, a text or "", any or NULL. */
double answer_number(const json_t *object, const char *path);
const char *answer_text(const json_t *object, const char *path);
const json_t *answer_at(const json_t *object, const char *path);

/* A ceiling in what /api/v1/status says, by the option's path: "journal.max_bytes" is one key there. 0
 * when it is not told. */
double answer_limit(const json_t *status, const char *option);

#endif
