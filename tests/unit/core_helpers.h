/*
 * What the tests of daemon/core share: a core (registry, ledger, intake) on a clock that they move,
 * verbs that assert, random numbers with a printed seed, and exact statistics to compare with.
 * It does not test anything by itself. One thread at a time, but for the describing of snapshots.
 */
#ifndef DWELL_TESTS_CORE_HELPERS_H
#define DWELL_TESTS_CORE_HELPERS_H

/* cmocka needs these before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/budget_profile.h"

/* Fills the tables of daemon/core; a group set-up function for cmocka. */
int core_tables(void **state);

/* Set-up and tear-down of a test: no more memory is allocated after it than before. */
extern size_t live_before;
int note_memory(void **state);
int must_be_clean(void **state);

/* --- random numbers ---------------------------------------------------------------------------- */

struct random {
    uint64_t state;
};

/* Seeded by $DWELL_TEST_SEED or a fixed number; prints the seed. */
struct random random_start(const char *what);
uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t ceiling); /* 0 … ceiling - 1 */
double random_unit(struct random *random);                      /* 0 < x < 1 */
double random_normal(struct random *random);

/* The shapes of latencies that quantiles are tried on, in ms. */
enum shape { SHAPE_LOGNORMAL, SHAPE_PARETO, SHAPE_BIMODAL, SHAPE_CONSTANT, SHAPE_COUNT };
extern const char *const shape_names[SHAPE_COUNT];
double random_shape(struct random *random, enum shape shape);

/* --- a core ------------------------------------------------------------------------------------ */

/* Of time budgets: a quarter of all requests may be over them. */
#define CORE_OBJECTIVE 0.75

enum { CORE_SLOT_S = 50, CORE_OPEN_SPANS_MAX = 4, CORE_OPEN_BYTES_MAX = 16384 };

struct core {
    struct registry *registry;
    struct metrics *metrics;
    struct spans *spans;
    struct budgets *budgets;
    struct processes processes;
    struct ledger ledger;
    struct counters counters;
    struct intake intake;
    struct thresholds thresholds;
    struct profile_scratch *scratch;
    uint64_t mono_ns;
    uint64_t wall_ns;
    size_t live_before; /* blocks of memory before it was opened */
};

/* Options as the daemon's defaults have them. */
struct registry_options core_options(void);

/* Constants of the configuration at their defaults. */
extern const struct gpu_options core_gpu;

void core_open(struct core *core, const struct registry_options *options);

/* Fails when anything is left allocated. No snapshot may be alive. */
void core_close(struct core *core);

/* Time passes; `seconds` may be negative. */
void core_move(struct core *core, int64_t seconds);

struct sample sample_of(const char *name, double ms);

void must_record(struct core *core, const struct sample *sample);
void must_refuse(struct core *core, const struct sample *sample, int err);
void must_reset(struct core *core, const char *name, int models); /* NULL: all */

/* An opinion of three rounds, sure to 0.875 unless it is unknown; 50 % of the time are for computing. */
struct opinion opinion_of(enum bottleneck bottleneck, enum rule rule);
void must_set_opinion(struct core *core, uint32_t number, const struct opinion *opinion);

struct snapshot *must_take(struct core *core);

/* Releases and sweeps. */
void core_drop(struct core *core, struct snapshot *snapshot);

const struct model *must_find(const struct snapshot *snapshot, const char *name);
struct profile must_profile(struct core *core, const struct snapshot *snapshot, const char *name,
                            enum profile_span span);
struct sums totals_of(const struct model *model);

/* Everything that a reader can see of a snapshot, as text that the caller frees (free): equal texts,
 * equal bits. Any thread, with a scratch of its own. */
char *describe_snapshot(const struct snapshot *snapshot, struct profile_scratch *scratch);

/* Samples that all models of a snapshot have counted since the start. */
uint64_t count_everything(const struct snapshot *snapshot);

/* --- exact statistics -------------------------------------------------------------------------- */

struct facts {
    uint64_t count;
    double mean, deviation, min, max; /* two passes in long double */
    double quantile[QUANTILE_COUNT];  /* nearest rank, by a sort */
};

struct facts facts_of(const double *figures, size_t count);

/* Relative, with 0 equal to 0 only. */
void must_be_near(double got, double wanted, double tolerance);

#define QUANTILE_TOLERANCE 0.0028

/* Count and extremes exactly, mean and deviation 1e-12 and a picosecond, quantiles
 * QUANTILE_TOLERANCE. */
void must_match_facts(const struct profile *profile, const struct facts *facts);

/* --- clients' metrics -------------------------------------------------------------------------- */

/* A record with these attributes, "a=1,b=2"; the texts must outlive it. */
struct metric metric_of(enum metric_op op, const char *name, double value, const char *attributes);

/* Applies a record of nobody, or of a process. */
void must_count(struct core *core, const struct metric *metric, struct process *process);

/* The value of a shown series, by the name of its family and its labels, "a=1,b=2" in order of names.
 * It must be there. */
union series_value core_series(const struct core *core, const char *family, const char *labels);
bool core_has_series(const struct core *core, const char *family, const char *labels);

#endif
