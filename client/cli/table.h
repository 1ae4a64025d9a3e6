/*
 * A table as lines of text that fit a width: columns get what their cells need, then those that may be cut
 * are cut, then the least important ones go.
 *
 *     MODEL            RATE   P99      VERDICT
 *     matrix-product   425/s  3.73 ms  compute
 *     a-very-l…e-name  1/s    12.5 ms  io
 *
 * Cells are appended in the order of reading. It does not print. One thread at a time.
 */
#ifndef DWELL_CLI_TABLE_H
#define DWELL_CLI_TABLE_H

#include "cli/text.h"

enum {
    TABLE_COLUMNS_MAX = 16,
    TABLE_GAP = 2,              /* columns between two cells */
    TABLE_BYTES_MAX = 64 << 20, /* as much as an answer may have: cells are parts of it */
    TABLE_ALL = 0x7FFFFFFF,     /* rows */
    TABLE_NONE = -1,            /* no row is selected */
};

struct column {
    const char *title;
    bool right;     /* figures */
    unsigned least; /* columns that it may be cut down to; 0: it is not cut */
    unsigned rank;  /* the highest goes first when there is no room; 0: it always stays */
};

struct table {
    const struct column *columns; /* borrowed */
    unsigned count;
    uint32_t hidden; /* set of columns that are not shown: 1 << column */
    struct buf text; /* of all cells */
    struct buf ends; /* of each cell in it: size_t */
};

void table_init(struct table *table, const struct column *columns, unsigned count);
void table_fini(struct table *table);

/* Where the next cell is written to; table_next ends it. */
struct buf *table_cell(struct table *table);
void table_next(struct table *table);

/* A cell that is a text, in a style. */
void table_text(struct table *table, enum style style, const char *text);

/* Rows that are complete. */
int table_rows(const struct table *table);

/* Appends the line of titles, then `rows` rows from `first` on, each with a newline, after `indent`
 * spaces and within `columns`. `selected`: a row that stands out over its whole width. An error of a
 * cell goes to `out`. */
struct table_view {
    size_t indent, columns;
    int first, rows, selected;
};
void table_render(const struct table *table, const struct table_view *view, struct buf *out);

#endif
