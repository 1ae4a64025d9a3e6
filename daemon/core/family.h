/*
 * What a metric family is, apart from its series: name, type, labels, buckets, and how the values of
 * several processes become one. Made once, never changed, never removed: readers of snapshots use it
 * without asking. It does not hold series (core/series) nor find families by name (core/metrics).
 */
#ifndef DWELL_CORE_FAMILY_H
#define DWELL_CORE_FAMILY_H

#include <stdbool.h>

#include "core/record.h"

enum {
    FAMILY_BOUNDS_MAX = 64, /* classic buckets but for +Inf */
    FAMILY_HELP_MAX = 1024,
    FAMILY_SUFFIXES = 4, /* names that the samples of one family may have */
};

enum family_type {
    FAMILY_COUNTER,   /* samples: name_total */
    FAMILY_GAUGE,     /* name */
    FAMILY_HISTOGRAM, /* name_bucket, name_sum, name_count */
    FAMILY_INFO,      /* name_info; a gauge for text 0.0.4 */
    FAMILY_SET,       /* name; a gauge in all formats: how many distinct values there were */
    FAMILY_TYPE_COUNT
};

/* What is said of a family before it is made. Everything is borrowed. */
struct family_shape {
    struct str name;   /* as on /metrics, without _total and _info */
    struct str source; /* the spelling that the name was made from; see metric_name.h */
    struct str help;
    struct str unit; /* the name's suffix, or empty */
    enum family_type type;
    enum aggregation aggregation; /* of a gauge */
    uint8_t only;  /* SPELLING_… of the records that count in it; SPELLING_NONE: all that fit */
    bool declared; /* exactly these labels; else any */
    bool native;   /* of a histogram: native buckets too */
    uint32_t label_count;
    const struct str *labels;
    uint32_t bound_count;
    const double *bounds;    /* of a histogram, ascending, without +Inf */
    uint64_t expire_seconds; /* a series idle for so long ends; 0: never */
};

/* Where to begin looking for the classic bucket of a value: by its exponent. */
enum { FAMILY_EXPONENT_MIN = -32, FAMILY_EXPONENTS = 64 };

struct family {
    struct family_shape shape; /* its texts and arrays belong to the family */
    uint32_t number;
    uint8_t first[FAMILY_EXPONENTS]; /* bounds below 2^exponent, of a histogram */
    double bounds[];                 /* those of the shape, and one more that is past all values */
};

/* A copy of the shape, or NULL. */
struct family *family_new(const struct family_shape *shape, uint32_t number);
void family_free(struct family *family);

/* Classic bucket of a value: the number of bounds below it. Bounds are rarely less than an octave apart,
 * so most values are past one at most of those that their exponent does not tell: no branch for it. */
static inline unsigned family_bucket(const struct family *family, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint64_t exponent = (bits >> 52) - (uint64_t)(1023 + FAMILY_EXPONENT_MIN);
    unsigned at = 0;
    if (__builtin_expect(exponent < FAMILY_EXPONENTS, 1)) { /* a sign is past all */
        at = family->first[exponent];
    } else if (value >= 1) {
        at = family->first[FAMILY_EXPONENTS - 1];
    }
    at += value > family->bounds[at];
    while (__builtin_expect(value > family->bounds[at], 0)) {
        at++;
    }
    return at;
}

/* The type that an operation belongs to. */
enum family_type family_type_of(enum metric_op op);

/* What follows the name in the names of a type's samples, "" among them, NULL at the end. _created
 * is there whether it is shown or not, so that turning it on breaks nothing. */
extern const char *const family_suffixes[FAMILY_TYPE_COUNT][FAMILY_SUFFIXES + 1];

/* Bounds for a histogram that nobody declared: those of its unit. */
struct family_bounds {
    uint32_t count;
    double bound[16];
};
const struct family_bounds *family_usual_bounds(struct str unit);

#endif
