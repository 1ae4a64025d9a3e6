/*
 * Tables of samples by name and labels: of /metrics as text, and of points of OTLP as the Collector would
 * have them on its own /metrics. So both can be seen to say the same. One thread at a time.
 */
#ifndef DWELL_TESTS_OTLP_SAMPLES_H
#define DWELL_TESTS_OTLP_SAMPLES_H

#include "collector_name.h"
#include "otlp_reader.h"

enum { SAMPLES_MAX = 1 << 15 };

/* An open hash table; half of it is used at most. */
struct samples {
    size_t count;
    struct sample_row {
        char *key; /* name{label=value,label=value, labels in order; NULL: free */
        double value;
        uint64_t time; /* of the last point */
    } row[SAMPLES_MAX];
};

struct samples *samples_new(void);
void samples_free(struct samples *table);

/* The row of a key, or the free one where it would be. */
struct sample_row *samples_find(struct samples *table, const char *key);

/* All of a snapshot, from the text format with a label constitutional_hash everywhere. */
struct samples *samples_read_text(const struct snapshot *snapshot);

/* Name and type of a metric on the Collector's /metrics. Free families are told without what stands in
 * front of their names towards OTLP. */
void samples_name_of(const Otlp__Metric *metric, char out[COLLECTOR_NAME_MAX]);
enum collector_type samples_type_of(const Otlp__Metric *metric);

/* Tells all points, which must be of one time. Deltas are added up: a point adds to what its series was
 * at if it begins where that ended, else the series is a new one, which only core_random's `classic` may
 * be. With `delta` counters and histograms must be deltas, else cumulative. */
void samples_tell(const struct otlp_got *got, struct samples *table, uint64_t time, bool delta);

/* All that is in the text was told, and nothing else; of deltas what is not 0, near enough. Sums of
 * histograms that saw negative values need not be told. */
void samples_must_agree(struct samples *told, struct samples *text, bool delta);

#endif
