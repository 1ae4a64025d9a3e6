/*
 * The look of a usual line: peers write one line after the other with the same bytes around the values.
 * A line of that look is read by comparing those bytes, which is half the work of reading it as JSON.
 *
 *     {"model_name":"resnet50","execution_time_ms":12.5,"cpu_percent_during":80}
 *     ^^^^^^^^^^^^^^^        ^^^^^^^^^^^^^^^^^^^^^^^    ^^^^^^^^^^^^^^^^^^^^^^  ^
 *     between[0]            between[1]                 between[2]            between[3]
 *
 * It decides nothing: a line that looks otherwise, or holds a value that is not usual, is left to
 * wire/line. One thread at a time.
 */
#ifndef DWELL_WIRE_LINE_SHAPE_H
#define DWELL_WIRE_LINE_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/record.h"

enum { LINE_SHAPE_VALUES = 4, LINE_SHAPE_BETWEEN = 40 };

struct line_shape {
    uint8_t count;                      /* values; 0: none is known */
    uint8_t misses;                     /* usual lines that looked otherwise, lately */
    uint32_t has;                       /* as in struct brief */
    uint8_t kind[LINE_SHAPE_VALUES];    /* which value it is */
    uint8_t len[LINE_SHAPE_VALUES + 1]; /* of the bytes before it, and behind the last */
    char between[LINE_SHAPE_VALUES + 1][LINE_SHAPE_BETWEEN];
};

/* Reads the line [start, newline) if it is of this look. *newline must be a newline. */
bool line_shape_read(const struct line_shape *shape, const char *start, const char *newline,
                     struct brief *ret_brief);

/* Takes the look of a line that was read as a usual sample and is of another look than this. */
void line_shape_learn(struct line_shape *shape, const char *start, const char *newline);

#endif
