/*
 * Reads one line of StatsD or DogStatsD as records (proto/WIRE.md, "StatsD and DogStatsD"): a metric,
 * or an inference when its name is in a list. It does not find lines (wire/statsd does) and does not
 * answer. One thread at a time for each memory.
 */
#ifndef DWELL_WIRE_STATSD_LINE_H
#define DWELL_WIRE_STATSD_LINE_H

#include <stdint.h>

#include "core/record.h"

enum {
    STATSD_SAMPLES_MAX = 64, /* names in the list */
    STATSD_CARRIES = 64,     /* a power of two: the place comes from a hash */
    STATSD_MARGIN_BYTES =
        32, /* that are there to be read behind the name of what is read in short */
};

/* Names of timings that are inferences. Borrowed texts. */
struct statsd_samples {
    uint64_t lengths; /* bit n: a name of n bytes, modulo 64, is there */
    unsigned count;
    struct str names[STATSD_SAMPLES_MAX];
};

/* Names past STATSD_SAMPLES_MAX are the caller's fault. */
void statsd_samples_add(struct statsd_samples *samples, struct str name);

/*
 * What is kept from line to line. A timing with @0.3 stands for 3⅓ of them: records have whole
 * weights, so what is cut off is carried to the next line that looks the same, and the sum is right.
 * The carry is found by a hash of name and tail: with one for all, several timings that take turns
 * would get each other's fractions, always the same one the gain.
 */
struct statsd_memory {
    const struct statsd_samples *samples; /* borrowed; NULL: none */
    double carry[STATSD_CARRIES];
};

/*
 * Takes the lines that `bytes` begin with as long as they look as nearly all do and the sink knows them
 * by their spelling: it has done then what statsd_line_read would have. Returns what follows; adds to
 * *lines how many they were. The first one that is anything else, is longer than `max_line_bytes`, or
 * ends within STATSD_MARGIN_BYTES of the end of `bytes`, is for statsd_line_read.
 */
const char *statsd_line_take_usual(const struct statsd_memory *memory, struct str bytes,
                                   size_t max_line_bytes, uint64_t *lines,
                                   const struct record_sink *sink);

/* Hands over the records of a line without its newline, or its rejection; nothing for a blank one. */
void statsd_line_read(struct statsd_memory *memory, struct str text, uint64_t line,
                      const struct record_sink *sink);

#endif
