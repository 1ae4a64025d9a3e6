/*
 * Spans for tests: random ones with parts of every kind, each with its memory, and a comparison that
 * looks at everything. For unit tests; one thread at a time.
 */
#ifndef DWELL_TESTS_RANDOM_SPAN_H
#define DWELL_TESTS_RANDOM_SPAN_H

#include "core_helpers.h"

/* A span and all that it borrows. Large: static, or from malloc. */
struct random_span {
    struct span span;
    struct span_room room;
    size_t len;
    char text[1 << 17];
};

/* Whole, of up to so many attributes, events and links each; its bytes are those of OTLP. */
void random_span_make(struct random *random, uint32_t parts_max, struct random_span *ret);

/* Appends an attribute whose value is a text; `key` must be new to the span. */
void random_span_add_text(struct random_span *span, const char *key, const char *value);

/* Overwrites all that the span borrows. */
void random_span_scribble(struct random_span *span);

/* Equal in everything but where it lies. */
void must_equal_span(const struct span *got, const struct span *wanted);

/* A plain whole span of a trace and a number, named "s", from `start` to `end`; it borrows nothing but
 * constants. */
struct span plain_span(uint64_t trace, uint64_t number, uint64_t start_wall_ns,
                       uint64_t end_wall_ns);

#endif
