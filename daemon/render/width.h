/*
 * How many columns a text takes on a terminal, and fitting it into a column: East Asian characters
 * and emoji take two, combining marks none (Unicode Standard Annex 11). It does not look at the
 * locale, as wcwidth does. Texts are UTF-8 without control characters. Pure; any thread.
 */
#ifndef DWELL_RENDER_WIDTH_H
#define DWELL_RENDER_WIDTH_H

#include "base/buf.h"

size_t width_count(struct str text);

/* Appends the text, with "…" in place of its middle when it is wider than `columns` > 0: the ends of
 * names are what tells them apart. Returns the columns used. */
size_t width_cut(struct str text, size_t columns, struct buf *out);

/* Appends blanks. */
void width_pad(size_t columns, struct buf *out);

#endif
