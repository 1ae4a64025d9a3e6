/*
 * Whether to evaluate a GPU, as text. Pure.
 */
#ifndef DWELL_CLI_DECISION_H
#define DWELL_CLI_DECISION_H

#include <jansson.h>

#include "base/buf.h"

/* Of an answer of /api/v1/decision, within `columns`. */
void decision_render(const json_t *root, bool utf8, size_t columns, struct buf *out);

#endif
