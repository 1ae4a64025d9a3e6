/*
 * From the name and unit that a client gives to the name of a family on /metrics: sanitised, base unit
 * as suffix, without _total and _info, which the family's type adds to its samples.
 *
 *     my.count              count                my_count       my_count_total
 *     http.time             ms      observe      http_time_seconds, values times 0.001
 *     job_latency_ms        ms      observe      job_latency_seconds
 *     2xx rate              1/s     set          _2xx_rate_1_s
 *
 * It does not know which families there are. Pure; any thread.
 */
#ifndef DWELL_CORE_METRIC_NAME_H
#define DWELL_CORE_METRIC_NAME_H

#include "core/record.h"

enum { METRIC_NAME_MAX = RECORD_NAME_MAX + 1 + RECORD_UNIT_MAX + 2 };

struct metric_name {
    double scale; /* values times this are in the unit of the name */
    size_t len;
    size_t unit_len;   /* of the suffix that is the unit; 0: none is known */
    size_t source_len; /* see source */
    char text[METRIC_NAME_MAX];
    /* The same before it was sanitised. Two spellings of one name that differ here are two names that
     * only look the same now, and the second one is refused. */
    char source[METRIC_NAME_MAX];
};

/* Returns 0; ERR_NAME for a name or unit that is not UTF-8 or holds a zero byte, or leaves nothing. */
int metric_name_make(struct str name, struct str unit, enum metric_op op, struct metric_name *ret);

#endif
