/*
 * The clients' metrics: from records to families and series. Families are declared at the start or made
 * by the first record of a name; series are made on first use, up to ceilings past which records go to
 * one overflow series of their family, and end when their family or their process says so.
 * It does not decode, render or watch processes. Loop thread only; readers get a view.
 */
#ifndef DWELL_CORE_METRICS_H
#define DWELL_CORE_METRICS_H

#include "core/index.h"
#include "core/maker.h"
#include "core/members.h"
#include "core/metric_key.h"
#include "core/names.h"
#include "core/part.h"
#include "core/series.h"
#include "core/ways.h"

enum {
    METRICS_FAMILIES_MAX = 4096,
    /* At least, between the two steps in which a series ends. One that was idle may come back, and go on
     * from where it was; one whose last process is gone will not. */
    METRICS_HIDDEN_SECONDS = 60,
    METRICS_ORPHANED_SECONDS = 1,
    METRICS_TICK_PLACES = 8192, /* places looked at in one tick */
    METRICS_TICK_ENDS = 4096,   /* series given back in one tick */
};

struct metrics_options {
    uint32_t max_series; /* in all, without the overflow series */
    uint32_t max_series_per_family;
    uint32_t max_series_per_maker; /* 0: no ceiling of its own */
    uint32_t max_label_bytes;
    struct str name_space; /* of the daemon's own families, whose names are taken; borrowed */
    uint64_t window_ns;    /* that the values of sets are counted in, as registry_options has it */
    uint64_t max_set_values; /* in all */
    uint64_t hash_seed;
};

/* A queue, oldest first. */
struct metrics_endings {
    struct metrics_ending *first;
    struct metrics_ending **tail;
    uint64_t seconds; /* from hidden to gone */
};

struct metrics {
    struct metrics_options options;
    struct limbo *limbo;     /* shared with the models' registry: one epoch for all */
    struct series_set *sets; /* by family */
    uint32_t family_count;
    uint32_t family_room;
    uint32_t *overflow;        /* by family: 1 + place of the overflow series, 0 without one */
    struct names names;        /* of families */
    struct names samples;      /* of their samples */
    struct series_index index; /* of all but the overflow series */
    uint64_t next_serial;
    struct ways ways;
    uint64_t ready; /* changes when a number or buckets may be others, or hidden: see struct way */
    struct part_pool parts;
    struct members members; /* values of sets */
    struct process gone;    /* has the parts of processes that ended without memory for it */
    struct metrics_endings idle, orphaned; /* hidden series that will be given back */
    uint32_t tick_family, tick_place;      /* where the last look for idle series ended */
    uint64_t now_seconds;                  /* monotonic */
    uint64_t wall_ns;
    uint64_t given_back;     /* series whose place is free again */
    uint64_t overflowed;     /* records that went to overflow series */
    uint64_t lost_exemplars; /* for want of memory */
    struct metric_key key;   /* of the record at hand */
    struct maker *maker;     /* of new series; borrowed; NULL: nobody */
};

/* Returns 0 or ERR_NOMEM. The struct is large, and must be zero: static, or from mem_zalloc. */
int metrics_init(struct metrics *metrics, const struct metrics_options *options,
                 struct limbo *limbo);
void metrics_fini(struct metrics *metrics); /* while processes with parts are still there */

/* Other ceilings; what is past them stays, and nothing new is added to it. */
struct metrics_limits {
    uint32_t max_series; /* as in struct metrics_options, as all below */
    uint32_t max_series_per_family;
    uint32_t max_label_bytes;
    uint64_t max_set_values;
};

void metrics_limit(struct metrics *metrics, const struct metrics_limits *limits);

/* The present time. */
void metrics_set_time(struct metrics *metrics, uint64_t mono_ns, uint64_t wall_ns);

/* Whether a family could be made: 0; ERR_NAME when its name is one of the daemon's own; ERR_CONFLICT when
 * the name, or one of a sample of it, is taken. */
int metrics_check(const struct metrics *metrics, const struct family_shape *shape);

/* Makes a family. Returns 0; ERR_CONFLICT when the name, or one of a sample of it, is taken; ERR_LIMIT,
 * ERR_NOMEM. */
int metrics_declare(struct metrics *metrics, const struct family_shape *shape);

/* Makes a series of a declared family, at 0, before anybody counts in it. Attributes as in a record.
 * Returns 0 or an error as metrics_record does. */
int metrics_start(struct metrics *metrics, const struct metric *metric);

/* A series of an earlier life. */
struct metrics_adoption {
    uint32_t family;
    bool overflow;    /* the family's overflow series; the labels are then not looked at */
    struct str pairs; /* as in struct series_id */
    uint32_t pair_count;
    uint64_t created_wall_ns;
};

/* The place of such a series, made at 0 unless it is there. Returns 0; ERR_LIMIT for a new one past a
 * ceiling, ERR_NOMEM. */
int metrics_adopt(struct metrics *metrics, const struct metrics_adoption *adoption,
                  uint32_t *ret_place);

/* Applies a record of a process, or of nobody. Returns 0; ERR_NAME, ERR_CONFLICT, ERR_LABELS,
 * ERR_DUPLICATE_KEY, ERR_LIMIT (families, parts, values of sets), ERR_NOMEM. */
int metrics_record(struct metrics *metrics, const struct metric *metric, struct process *process);

/* The same for a spelling that came before; false when it is not known, or memory is missing: the
 * record must then be read. */
bool metrics_spelled(struct metrics *metrics, const struct spelling *spelling, double value,
                     uint64_t weight, struct process *process);

/* The shortest way to a histogram's series, for who observes in it all the time: good while `ready` is the
 * metrics'. 0: there is none. */
struct metrics_way {
    uint64_t ready;
    struct buckets *buckets;
    const struct family *family;
};

/* Finds it for a spelling that has just come. */
struct metrics_way metrics_find_way(const struct metrics *metrics, const struct spelling *spelling);

/* Observes a value in the unit of the family's name; false with nothing done where the way is no longer
 * good, or not for this value. */
static inline bool metrics_observe(const struct metrics *metrics, const struct metrics_way *way,
                                   double value)
{
    return way->ready == metrics->ready &&
           buckets_add_quickly(way->buckets, family_bucket(way->family, value), value, 1);
}

/* As metrics_record, for a record that is no member and whose spelling has probably come before: name and
 * attributes are read only if it has not. */
int metrics_record_again(struct metrics *metrics, const struct metric *metric,
                         struct process *process);

/* What belongs to a process ends with it. */
void metrics_end_process(struct metrics *metrics, struct process *process);

/* Makes every number the present one, to be called before the limbo is frozen: the values of sets leave
 * their window without a record. Returns 0 or ERR_NOMEM. */
int metrics_age(struct metrics *metrics);

/* To be called a few times a second: ends idle series, gives places and values that are over back; a
 * bounded piece of it. */
void metrics_tick(struct metrics *metrics);

/* What a snapshot holds: for each family its pages. */
struct metrics_view {
    uint32_t family_count;
    struct family_view *families; /* owned: one piece of memory */
};

struct family_view {
    const struct family *family;
    uint32_t page_count;
    const struct series_page *const *pages;
};

/* Takes the view; the limbo must have been frozen. Returns 0 or ERR_NOMEM. */
int metrics_freeze(struct metrics *metrics, struct metrics_view *ret);

/* Heap bytes behind all of it. */
size_t metrics_bytes(const struct metrics *metrics);

#endif
