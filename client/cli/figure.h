/*
 * Figures for people: three digits where there are so many, with a unit of fitting size. What is not
 * known (NaN) is "–". Pure.
 */
#ifndef DWELL_CLI_FIGURE_H
#define DWELL_CLI_FIGURE_H

#include "base/buf.h"

void figure_time(struct buf *out, double ms);       /* 3.22 ms, 430 µs, 0 ms */
void figure_bytes(struct buf *out, double bytes);   /* 12.3 MB, of 1024 each */
void figure_percent(struct buf *out, double value); /* 99.8 % */
void figure_share(struct buf *out, double share);   /* 0 to 1: 93 %, and 0.4 % */
void figure_rate(struct buf *out, double rate);     /* 87.4/s */
void figure_number(struct buf *out, double number); /* 1.23, 12.3, 123, 1,234,567 */
void figure_count(struct buf *out, double count);   /* 1,275 */
void figure_since(struct buf *out, double seconds); /* 17 s, 3 min, 5 h 12 min, 4 d 3 h */

/* "1 model", "2 models" */
void figure_plural(struct buf *out, double count, const char *one, const char *many);

#endif
