/*
 * Reads one line of NDJSON as a record (proto/WIRE.md, "NDJSON"): a hand-written reader of the flat
 * objects that samples are, in place. It does not find lines (wire/ndjson does) and does not answer.
 * One thread at a time for each memory.
 */
#ifndef DWELL_WIRE_LINE_H
#define DWELL_WIRE_LINE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/record.h"
#include "wire/budget_shape.h"
#include "wire/line_shape.h"

enum {
    LINE_DEPTH_MAX = 8, /* nested arrays and objects inside a value that is skipped */
    /* Unknown keys of a line; one more rejects it with ERR_LIMIT. Keys of the objects that are open
     * inside a skipped value count too. */
    LINE_UNKNOWN_MAX = 64,
    LINE_INNER_UNKNOWN_MAX = 8, /* different unknown keys inside a span that are told */
    LINE_KEYS_MAX = 64,         /* rows of the key table, and room */
};

/* What is kept from line to line. */
struct line_memory {
    struct buf scratch;               /* texts of one line whose escapes had to be decoded */
    struct buf otlp;                  /* attributes, events and links of a span */
    uint8_t follows[LINE_KEYS_MAX];   /* which key came after which one: what to expect */
    struct line_shape shape;          /* how lines have looked lately */
    struct budget_shape budget_shape; /* likewise those of budgets */
};

void line_init(struct line_memory *memory, size_t max_line_bytes);
void line_fini(struct line_memory *memory);

/* No line will be longer from now on. */
void line_limit(struct line_memory *memory, size_t max_line_bytes);

/* Samples of lines that hold a name and figures and nothing else, or budgets of usual lines, which go to
 * the sink together; never both, as the order is kept. Their texts lie in the lines: flush before those
 * go. */
struct line_batch {
    unsigned count; /* of briefs */
    unsigned budget_count;
    struct brief briefs[RECORD_BRIEFS_MAX];
    struct budget budgets[RECORD_BUDGETS_MAX];
    uint64_t lines[RECORD_BRIEFS_MAX]; /* their numbers */
};
_Static_assert((int)RECORD_BUDGETS_MAX <= (int)RECORD_BRIEFS_MAX, "a number for each");

/* Hands over what waits. */
void line_flush(struct line_batch *batch, const struct record_sink *sink);

/* Hands over the record in [start, newline), or its rejection, and before it what waits in `batch`;
 * nothing when there are only blanks. A usual sample is put into the batch instead. *newline must be a
 * newline; `line` is its number for rejections; `batch` may be NULL: nothing waits and nothing will. */
void line_read(struct line_memory *memory, const char *start, const char *newline, uint64_t line,
               struct line_batch *batch, const struct record_sink *sink);

#endif
