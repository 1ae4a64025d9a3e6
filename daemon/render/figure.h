/*
 * Figures as people read them: a few digits, a unit that keeps them short, columns that line up. It does
 * not know what they are of. Pure; any thread.
 */
#ifndef DWELL_RENDER_FIGURE_H
#define DWELL_RENDER_FIGURE_H

#include "base/buf.h"

enum { FIGURE_BYTES = 48 }; /* room for any */

/* A time in the smallest unit in which it is short: "12.5 µs". */
void figure_time(char out[FIGURE_BYTES], double ms);

void figure_put_time(struct buf *out, double ms);
void figure_put_memory(struct buf *out, double mb); /* MiB */
void figure_put_percent(struct buf *out, double percent);
void figure_put_count(struct buf *out, uint64_t count); /* 1,234,567 */
void figure_put_plural(struct buf *out, uint64_t count, const char *one, const char *many);

/* A text in a column that it may be too wide for, and a line of so many columns. */
void figure_put_right(struct buf *out, const char *text, size_t columns);
void figure_put_left(struct buf *out, const char *text, size_t columns);
void figure_put_rule(struct buf *out, size_t columns);

#endif
