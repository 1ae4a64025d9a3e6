/*
 * What a state file tells the daemon of its own earlier life, piece by piece (proto/state.proto). The
 * reader in wire/ fills these and hands them to a sink; core/restore is the sink of the daemon, and
 * another one takes them for nothing but a check. It holds no logic. Pieces live only during the sink
 * call: every text and every array in them is borrowed.
 */
#ifndef DWELL_CORE_SAVED_H
#define DWELL_CORE_SAVED_H

#include "core/record.h"

enum {
    SAVED_BOOT_ID_BYTES = 16,
    SAVED_JOURNAL_MAX = 256,  /* bytes of a position in a journal */
    SAVED_BUCKETS_MAX = 8192, /* of one fine histogram: all that core/hist has, and some */
    SAVED_BOUNDS_MAX = 65,    /* classic buckets, the one above all bounds with them */
    SAVED_NATIVE_MAX = 160,   /* native buckets of one side */
    SAVED_PARTS_MAX = 8192,   /* of one gauge: of every process there may be, and some */
    SAVED_LABELS_MAX = 64,    /* of a family, or of a model */
    SAVED_REASONS_MAX = 32,
    SAVED_SQUARE_WORDS = 3,
    SAVED_STATES_MAX = 8,
    SAVED_PAIRS_MAX = 16384, /* bytes of the labels of a series */
    SAVED_HELP_MAX = 1024,
    SAVED_PROCESSES_MAX = 8192,
};

/* No count in a file is greater: sums of all that one may hold stay below 2^64. */
#define SAVED_COUNT_MAX (UINT64_C(1) << 56)

/* From here on a count goes by ones, whatever a record says that it stands for, so that no daemon can hold
 * more than its file may. */
#define SAVED_LEAPS_MAX (SAVED_COUNT_MAX / 2)

/* When it was written, by every clock there is. */
struct saved_moment {
    uint64_t wall_ns;
    uint64_t mono_ns;
    uint64_t boot_ns; /* since the machine was started, with the time that it slept */
    bool has_boot_id;
    uint8_t boot_id[SAVED_BOOT_ID_BYTES]; /* of that start */
    uint64_t slot_ns;                     /* a sub-window; ages are counted in them */
    uint64_t set_seed;                    /* that hashes of the values of sets were made with */
    uint64_t since_wall_ns;               /* since when the daemon's own counters count */
};

/* A process that has parts of gauges. Parts say 1 + its place among all of them; 0: nobody. */
struct saved_process {
    uint64_t said_pid;
    int64_t kernel_pid; /* 0: not known, or it was gone already */
};

/* A count of the daemon's own: one of its counters, or records by what became of them. */
struct saved_figure {
    struct str name;
    struct str of; /* the reason, where there is one for each */
    uint64_t number;
};

/* How long something took, each time. */
struct saved_timing {
    struct str name;
    uint64_t count, sum_ns;
    uint32_t bucket_count;
    uint64_t buckets[SAVED_BOUNDS_MAX];
};

/* Terms of the ledger, of a client library or of all. */
struct saved_terms {
    bool is_all;
    struct str library;
    uint64_t sent, accepted, dropped, lost;
    uint32_t reason_count;
    struct saved_figure reasons[SAVED_REASONS_MAX]; /* of what was rejected */
};

/* Where a client stands in its numbers: its next one is one above the highest seen. */
struct saved_client {
    uint8_t id[RECORD_CLIENT_ID_BYTES];
    uint64_t next;
    uint64_t credited; /* drops that it has reported */
    uint32_t library;  /* place among the terms of libraries, from 0 */
    bool asks;         /* for acknowledgements */
};

struct saved_sum {
    uint64_t low, high;
};

struct saved_gauge {
    uint64_t count;
    struct saved_sum sum;
    double peak;
};

struct saved_classic {
    uint64_t count;
    struct saved_sum sum;
    uint32_t bucket_count;
    uint64_t buckets[SAVED_BOUNDS_MAX]; /* not cumulative */
};

/* Of samples that carry more than a latency. */
struct saved_extra {
    struct saved_classic queue_ms;
    struct saved_classic batch_size;
    uint64_t evidence_count;
    struct saved_sum evidence_wall;
    uint32_t state_count;
    struct saved_sum states[SAVED_STATES_MAX];
    struct saved_gauge flops;
    struct saved_gauge bytes_moved;
};

/* Of a fine histogram. */
struct saved_bucket {
    uint32_t position;
    uint64_t count;
};

enum saved_kind { SAVED_PAST, SAVED_BASE, SAVED_CLOSED, SAVED_CURRENT, SAVED_KIND_COUNT };

/* What was counted in one stretch of time. */
struct saved_tally {
    enum saved_kind kind; /* of a model's */
    uint64_t age;         /* sub-windows before that of the moment */
    uint64_t errors;
    struct saved_classic latency; /* its buckets are the classic ones */
    uint64_t squares[SAVED_SQUARE_WORDS];
    double min_ms, max_ms;
    struct saved_gauge cpu_percent;
    struct saved_gauge memory_mb;
    double last_cpu_percent;
    uint64_t zero;
    uint32_t fine_count;
    const struct saved_bucket *fine;
    bool has_extra;
    struct saved_extra extra;
};

struct saved_model {
    struct str name;
    struct str device;
    bool overflow;
    uint64_t created_wall_ns;
    uint32_t resets;
    uint32_t label_count;
    struct label labels[SAVED_LABELS_MAX];
};

/* Of a classic bucket of a model or a series. */
struct saved_exemplar {
    uint32_t bucket;
    bool has_span_id;
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
    uint8_t span_id[RECORD_SPAN_ID_BYTES];
    double value;
    uint64_t wall_ns;
};

struct saved_family {
    struct str name;
    struct str source;
    struct str help;
    struct str unit;
    uint32_t type; /* as core/family numbers them, and all below as its shape has them */
    uint32_t aggregation;
    uint32_t only;
    bool declared;
    bool native;
    uint64_t expire_seconds;
    uint32_t label_count;
    struct str labels[SAVED_LABELS_MAX];
    uint32_t bound_count;
    double bounds[SAVED_BOUNDS_MAX];
};

struct saved_run {
    int32_t first;
    uint32_t len;
    uint64_t counts[SAVED_NATIVE_MAX];
};

struct saved_buckets {
    uint64_t count;
    double sum;
    uint64_t zero;
    int32_t schema;
    uint32_t classic_count;
    uint64_t classic[SAVED_BOUNDS_MAX];
    struct saved_run positive, negative;
};

struct saved_part {
    uint32_t process;
    double value;
};

struct saved_series {
    struct str pairs; /* name, zero byte, value, zero byte, for each label */
    uint32_t pair_count;
    uint64_t created_wall_ns;
    bool overflow;
    double number;
    uint64_t idle_seconds; /* since its last record, where its family expires */
    bool has_buckets;
    const struct saved_buckets *buckets;
    uint32_t part_count;
    const struct saved_part *parts;
};

struct saved_layer {
    struct str name;
    uint64_t count, exceeded, soft_exceeded;
    double last_ms;
};

struct saved_slot {
    uint64_t exceeded;
    uint64_t again;
};

/*
 * Receives the pieces in the order of the file. What does not fit the present configuration is the
 * sink's to leave out; it returns 0, or ERR_NOMEM, which ends the reading. Members may be NULL.
 */
struct saved_sink {
    void *ctx;
    int (*moment)(void *ctx, const struct saved_moment *moment); /* before anything else */
    int (*process)(void *ctx, const struct saved_process *process);
    int (*figure)(void *ctx, const struct saved_figure *figure);
    int (*timing)(void *ctx, const struct saved_timing *timing);
    int (*terms)(void *ctx, const struct saved_terms *terms);
    int (*client)(void *ctx, const struct saved_client *client); /* who spoke last comes last */
    int (*journal)(void *ctx, struct str position);
    int (*model)(void *ctx, const struct saved_model *model);
    int (*tally)(void *ctx, const struct saved_tally *tally); /* of the model before it */
    int (*family)(void *ctx, const struct saved_family *family);
    int (*series)(void *ctx, const struct saved_series *series); /* of the family before it */
    int (*value)(void *ctx, uint64_t age, uint64_t hash); /* of the set before it, oldest first */
    int (*exemplar)(void *ctx, const struct saved_exemplar *exemplar); /* of model or series */
    int (*layer)(void *ctx, const struct saved_layer *layer);
    int (*slot)(void *ctx, const struct saved_slot *slot, const struct saved_tally *tally);
};

/* Numbers of the fields of proto/state.proto, in which pieces are written and read. */
enum {
    STATE_MOMENT = 1,
    STATE_PROCESS,
    STATE_FIGURE,
    STATE_TIMING,
    STATE_TERMS,
    STATE_CLIENT,
    STATE_JOURNAL,
    STATE_MODEL,
    STATE_FAMILY,
    STATE_LAYER,
};
enum {
    MOMENT_WALL = 1,
    MOMENT_MONO,
    MOMENT_BOOT,
    MOMENT_BOOT_ID,
    MOMENT_SLOT,
    MOMENT_SET_SEED,
    MOMENT_SINCE,
};
enum { PROCESS_SAID_PID = 1, PROCESS_KERNEL_PID };
enum { FIGURE_NAME = 1, FIGURE_OF, FIGURE_NUMBER };
enum { TIMING_NAME = 1, TIMING_COUNT, TIMING_SUM, TIMING_BUCKETS };
enum {
    TERMS_LIBRARY = 1,
    TERMS_SENT,
    TERMS_ACCEPTED,
    TERMS_DROPPED,
    TERMS_LOST,
    TERMS_REASON,
};
enum { CLIENT_ID = 1, CLIENT_NEXT, CLIENT_CREDITED, CLIENT_LIBRARY, CLIENT_ASKS };
enum {
    MODEL_NAME = 1,
    MODEL_DEVICE,
    MODEL_LABEL,
    MODEL_OVERFLOW,
    MODEL_CREATED,
    MODEL_RESETS,
    MODEL_TALLY,
    MODEL_EXEMPLAR,
};
enum { LABEL_KEY = 1, LABEL_VALUE };
enum {
    TALLY_KIND = 1,
    TALLY_AGE,
    TALLY_ERRORS,
    TALLY_LATENCY,
    TALLY_SQUARES,
    TALLY_MIN,
    TALLY_MAX,
    TALLY_CPU,
    TALLY_MEMORY,
    TALLY_LAST_CPU,
    TALLY_ZERO,
    TALLY_FINE,
    TALLY_EXTRA,
};
enum { CLASSIC_COUNT = 1, CLASSIC_SUM, CLASSIC_BUCKETS };
enum { GAUGE_COUNT = 1, GAUGE_SUM, GAUGE_PEAK };
enum {
    EXTRA_QUEUE = 1,
    EXTRA_BATCH,
    EXTRA_EVIDENCE,
    EXTRA_WALL,
    EXTRA_STATE,
    EXTRA_FLOPS,
    EXTRA_BYTES,
};
enum { SUM_LOW = 1, SUM_HIGH };
enum { RUN_FIRST = 1, RUN_COUNTS };
enum { MARK_BUCKET = 1, MARK_TRACE_ID, MARK_SPAN_ID, MARK_VALUE, MARK_WALL };
enum {
    FAMILY_FIELD_NAME = 1,
    FAMILY_FIELD_SOURCE,
    FAMILY_FIELD_HELP,
    FAMILY_FIELD_UNIT,
    FAMILY_FIELD_TYPE,
    FAMILY_FIELD_AGGREGATION,
    FAMILY_FIELD_ONLY,
    FAMILY_FIELD_DECLARED,
    FAMILY_FIELD_NATIVE,
    FAMILY_FIELD_EXPIRE,
    FAMILY_FIELD_LABEL,
    FAMILY_FIELD_BOUNDS,
    FAMILY_FIELD_SERIES,
};
enum {
    SERIES_PAIRS = 1,
    SERIES_CREATED,
    SERIES_OVERFLOW,
    SERIES_NUMBER,
    SERIES_IDLE,
    SERIES_BUCKETS,
    SERIES_PART,
    SERIES_VALUES,
    SERIES_EXEMPLAR,
};
enum {
    BUCKETS_COUNT = 1,
    BUCKETS_SUM,
    BUCKETS_ZERO,
    BUCKETS_FIELD_SCHEMA,
    BUCKETS_CLASSIC,
    BUCKETS_POSITIVE,
    BUCKETS_NEGATIVE,
};
enum { PART_PROCESS = 1, PART_VALUE };
enum { VALUES_AGE = 1, VALUES_HASHES };
enum { LAYER_NAME = 1, LAYER_COUNT, LAYER_EXCEEDED, LAYER_SOFT, LAYER_LAST, LAYER_SLOT };
enum { SLOT_EXCEEDED = 1, SLOT_AGAIN, SLOT_TALLY };

#endif
