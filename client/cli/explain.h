/*
 * How a model got its verdict, as text. Pure.
 */
#ifndef DWELL_CLI_EXPLAIN_H
#define DWELL_CLI_EXPLAIN_H

#include <jansson.h>

#include "base/buf.h"

/* Of a MODEL, within `columns`. */
void explain_render(const json_t *model, bool utf8, size_t columns, struct buf *out);

#endif
