/*
 * The daemon's account of itself as text. Pure.
 */
#ifndef DWELL_CLI_STATUS_H
#define DWELL_CLI_STATUS_H

#include <jansson.h>

#include "base/buf.h"

/* Of an answer of /api/v1/status. */
void status_render(const json_t *root, bool utf8, struct buf *out);

/* Records since the start: accepted, and rejected for all reasons. */
double status_accepted(const json_t *root);
double status_rejected(const json_t *root);

#endif
