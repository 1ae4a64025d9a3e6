/*
 * The look of a usual line with a budget, as wire/line_shape is that of one with a sample: peers write one
 * line after the other with the same bytes around the values, and comparing those is less work than
 * reading JSON.
 *
 *     {"type":"budget","layer":"layer3_policy","elapsed_ms":12.5,"operation":"evaluate"}
 *     ^^^^^^^^^^^^^^^^^^^^^^^^^^             ^^^^^^^^^^^^^^^    ^^^^^^^^^^^^^^        ^^
 *     between[0]                            between[1]         between[2]            between[3]
 *
 * It decides nothing: a line that looks otherwise, or holds a value that is not usual, is left to
 * wire/line. One thread at a time.
 */
#ifndef DWELL_WIRE_BUDGET_SHAPE_H
#define DWELL_WIRE_BUDGET_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/record.h"

enum { BUDGET_SHAPE_VALUES = 4, BUDGET_SHAPE_BETWEEN = 48 };

struct budget_shape {
    uint8_t count;                        /* values; 0: none is known */
    uint8_t misses;                       /* usual lines that looked otherwise, lately */
    uint8_t kind[BUDGET_SHAPE_VALUES];    /* which value it is */
    uint8_t len[BUDGET_SHAPE_VALUES + 1]; /* of the bytes before it, and behind the last */
    char between[BUDGET_SHAPE_VALUES + 1][BUDGET_SHAPE_BETWEEN];
};

/* Reads the line [start, newline) if it is of this look. *newline must be a newline. */
bool budget_shape_read(const struct budget_shape *shape, const char *start, const char *newline,
                       struct budget *ret_budget);

/* Takes the look of a line that was read as this budget, and is of another look than this. The budget's
 * texts must lie in the line, and the line must say nothing besides it. */
void budget_shape_learn(struct budget_shape *shape, const char *start, const char *newline,
                        const struct budget *budget);

#endif
