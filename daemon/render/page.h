/*
 * A table of rendered pieces that is mostly copied: a row for each family, a column for each model.
 * Few columns change from answer to answer, and all the others are copied in large pieces. It does
 * not know what the pieces say or when they change. One thread at a time.
 *
 *     text      column 0 | column 1 | column 2 | column 0 | column 1 | column 2 | …
 *               row 0                            row 1
 *     patches   column 1: row 0, row 1, …  |  column 3: row 0, row 1, …
 *
 *     row 0     column 0 | patch 1 | column 2 | patch 3
 *
 * New pieces as long as those in the text take their place; others stay behind as patches. Once the
 * patches are many, the rows that were put together become the text.
 *
 * Why not the pieces of each model on their own, put together for each answer: a thousand models have
 * fourteen thousand, and copying so many small ones takes twice as long as few large.
 */
#ifndef DWELL_RENDER_PAGE_H
#define DWELL_RENDER_PAGE_H

#include "base/buf.h"

enum { PAGE_ROWS_MAX = 16 };

/* Where the pieces of a column lie in the patches. */
struct page_patch {
    size_t begin;
    size_t ends[PAGE_ROWS_MAX]; /* of each row */
};

struct page {
    uint32_t rows;
    uint32_t count;    /* columns of the text */
    uint32_t capacity; /* columns there is room for, in the arrays by column */
    struct buf text;
    size_t *starts; /* owned: of each piece in the text, and the end of the last; NULL at first */
    struct buf patches;
    size_t opened;             /* where the column being written begins in the patches */
    struct page_patch *places; /* owned, by column; of those that are patched */
    uint16_t *patched;         /* owned, by column: rows, 1 << row, that are in the patches */
    uint32_t *listed;          /* owned: the patched columns of the answer, ascending */
    uint32_t listed_count;
};

void page_init(struct page *page, uint32_t rows);
void page_fini(struct page *page);

/* Makes room for so many columns. Returns 0 or ERR_NOMEM. */
int page_reserve(struct page *page, uint32_t columns);

/* Whether there are pieces of a column. */
bool page_has(const struct page *page, uint32_t column);

/* Where a column's pieces are to be appended, row by row; page_close makes them the column's. `ends`
 * says where in the buffer those of each row end. Returns 0, or what went wrong with the buffer: the
 * column is then as it was. */
struct buf *page_open(struct page *page);
int page_close(struct page *page, uint32_t column, const size_t *ends);

/* An answer: first page_list, of the first so many columns (at least page->count), then each row. */
void page_list(struct page *page, uint32_t columns);
size_t page_row_len(const struct page *page, uint32_t row);
void page_append_row(const struct page *page, uint32_t row, struct buf *out);

/* After it: gathers the patches into the text, if they are many. `rows` are the rows as they were just
 * appended. What is not in them is forgotten. Without memory everything stays, to be tried again. */
void page_settle(struct page *page, uint32_t columns, const struct str *rows);

#endif
