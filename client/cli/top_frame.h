/*
 * One picture of `dwell top` as lines of text: totals, the table of models, and what the keys do. It
 * fits any width and height, and does not fetch, draw or keep anything. Pure.
 *
 *     records 425/s  lost 0  rejected 0  memory 12.3 MB  up 3 min  dwelld 0.1.0
 *     4 models by rate
 *     MODEL           RATE   P50      P99      CPU     …
 *     matrix-product  425/s  3.22 ms  3.73 ms  99.8 %  …
 *     n name  r rate  l p99  c cpu  v verdict  / filter  Enter explain  q quit
 */
#ifndef DWELL_CLI_TOP_FRAME_H
#define DWELL_CLI_TOP_FRAME_H

#include "cli/model.h"

/* The daemon's totals, of one answer of /api/v1/status. */
struct top_totals {
    double accepted, lost, rejected, dropped, memory_bytes, uptime;
    char version[32]; /* safe to show */
};

void top_totals_read(struct top_totals *totals, const json_t *root);

struct top_frame {
    const struct models *models;
    const struct top_totals *totals;
    double records_rate; /* NaN: not known */
    enum sort sort;
    bool reverse;
    const char *filter;  /* NULL: none */
    bool typing;         /* the filter is being typed */
    int selected, first; /* rows of the table; TABLE_NONE: none is selected */
    const char *gone;    /* why the daemon does not answer; NULL: it does */
    const char *since;   /* "12:03:04" */
    double gone_seconds;
    bool live; /* with what the keys do */
};

/* Rows of the table that a picture of `rows` lines shows. */
int top_frame_room(const struct top_frame *frame, size_t rows);

/* Lines of at most `columns`, not more than `rows` of them; rows 0: as many as there are. */
void top_frame_render(const struct top_frame *frame, size_t columns, size_t rows, struct buf *out);

#endif
