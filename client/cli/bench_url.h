/*
 * Requests to a model behind HTTP: one handle for each worker, which keeps its connection. It measures
 * nothing and reads no answer; their bytes are counted, not kept. A handle belongs to one thread at a time.
 */
#ifndef DWELL_CLI_BENCH_URL_H
#define DWELL_CLI_BENCH_URL_H

#include <stdint.h>

#include "cli/bench_worker.h"

enum { RESPONSE_BYTES_MAX = 64 << 20 }; /* of an answer; more is a flood */

struct asker;

/* What is asked. All borrowed until asker_close. */
struct url_request {
    const char *url;
    bool has_body;            /* POST it: else GET */
    const char *content_type; /* of the body; NULL: application/json */
};

/* NULL: no memory, or the URL is none that is understood. */
struct asker *asker_open(const struct url_request *request, int stop_fd);
void asker_close(struct asker *asker);

/* Asks once. ASK_ANSWERED: a status from 200 to 299 and the whole answer. ASK_FAILED: `problem` gets the
 * reason, unless it already holds one; the handle can be used again. */
enum ask asker_ask(struct asker *asker, struct str body, uint64_t timeout_ns, struct buf *problem);

/* Whether the last one was connected to somebody: else it says nothing about the model. */
bool asker_has_reached(const struct asker *asker);

#endif
