/*
 * Random registries: models of every shape, and clients' metrics of every type with exemplars, awkward
 * labels and values that are hard on formats. For tests that compare what formats say of the same.
 * One thread at a time.
 */
#ifndef DWELL_TESTS_CORE_RANDOM_H
#define DWELL_TESTS_CORE_RANDOM_H

#include "core_helpers.h"

/* Declares histograms with and without native buckets; one of them expires. Once for each core. */
void core_random_declare(struct core *core);

/* Time passes, or does not; records of all kinds come, and sometimes a reset. */
void core_random_change(struct core *core, struct random *random);

/* One sample; one record of a client's metric. */
void core_random_record(struct core *core, struct random *random);
void core_random_count(struct core *core, struct random *random);

#endif
