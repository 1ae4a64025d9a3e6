/*
 * Time budgets as text. Pure.
 */
#ifndef DWELL_CLI_BUDGETS_H
#define DWELL_CLI_BUDGETS_H

#include <jansson.h>

#include "base/buf.h"

/* Of an answer of /api/v1/budgets, within `columns`. */
void budgets_render(const json_t *root, bool utf8, size_t columns, struct buf *out);

#endif
