/*
 * Which series of a family a record means: its attributes as labels in one order, one text for one
 * series. It does not find the series. Pure; any thread.
 *
 *     {"path": "/v1", "code": "200"}     code\0200\0path\0/v1\0
 *
 * A label without a value is none, for families that declare no labels: Prometheus takes both for the
 * same. Names are sanitised; those that mean something to Prometheus or to us are shown as exported_….
 */
#ifndef DWELL_CORE_METRIC_KEY_H
#define DWELL_CORE_METRIC_KEY_H

#include "core/family.h"

enum {
    METRIC_KEY_MAX = 16384, /* bytes of all labels of a series; more go to the overflow series */
    METRIC_KEY_OVERFLOW = 1,
};

struct metric_key {
    uint32_t pair_count;
    size_t len;
    char pairs[METRIC_KEY_MAX];
};

/* Returns 0; METRIC_KEY_OVERFLOW when a value is longer than max_value, or all of it than
 * METRIC_KEY_MAX; ERR_LABELS, ERR_NAME, ERR_DUPLICATE_KEY. `pid` is 0, or the value of a label pid. */
int metric_key_make(const struct family_shape *shape, const struct metric *metric, size_t max_value,
                    uint64_t pid, struct metric_key *ret);

/* The key of the series for what goes past a ceiling. */
void metric_key_overflow(struct metric_key *ret);

#endif
