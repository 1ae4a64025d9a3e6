/*
 * What a client can tell the daemon, after decoding and before it changes anything.
 * Decoders in wire/ fill these and hand them to a sink; core/intake is the sink of the daemon.
 * It holds no logic and no limits of a format. Records live only during the sink call: every
 * `struct str` in them is borrowed from the input.
 */
#ifndef DWELL_CORE_RECORD_H
#define DWELL_CORE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum {
    RECORD_NAME_MAX = 256, /* bytes of model_name, of a label's key and of its value */
    RECORD_LABELS_MAX = 16,
    RECORD_ATTRIBUTES_MAX = 32, /* of a metric */
    RECORD_VALUE_MAX = 4096,    /* bytes of an attribute's value: metrics.max_label_bytes at most */
    RECORD_UNIT_MAX = 32,       /* bytes of a unit */
    RECORD_TRACE_ID_BYTES = 16,
    RECORD_SPAN_ID_BYTES = 8,
    RECORD_CLIENT_ID_BYTES = 16,
};

/* Largest accepted figures: out of range above, so that sums stay exact and nothing overflows. */
#define RECORD_MS_MAX      1e12 /* 31 years */
#define RECORD_PERCENT_MAX 1e9
#define RECORD_MB_MAX      1e12
#define RECORD_COUNT_MAX   1e15  /* faults, switches, threads, bytes, flops, batch_size */
#define RECORD_AMOUNT_MAX  1e300 /* what is counted, added or observed, so that sums stay finite */
#define RECORD_WEIGHT_MAX  1000000000 /* values that one sampled value may stand for */

/* What the kernel gives as the number of a thread: pid_t. */
#define RECORD_THREAD_ID_MAX INT32_MAX

/* Optional parts of a sample; `has` of struct sample is a set of 1 << SAMPLE_... */
enum sample_part {
    SAMPLE_CPU_BEFORE,
    SAMPLE_CPU_DURING,
    SAMPLE_MEMORY_BEFORE,
    SAMPLE_MEMORY_AFTER,
    SAMPLE_TIMESTAMP,
    SAMPLE_BATCH_SIZE,
    SAMPLE_QUEUE,
    SAMPLE_DEVICE,
    SAMPLE_TRACE_ID,
    SAMPLE_SPAN_ID,
    SAMPLE_USER,
    SAMPLE_SYSTEM,
    SAMPLE_RUNQUEUE,
    SAMPLE_MINOR_FAULTS,
    SAMPLE_MAJOR_FAULTS,
    SAMPLE_SWITCHES,
    SAMPLE_BYTES_MOVED,
    SAMPLE_FLOPS,
    SAMPLE_THREADS,
    SAMPLE_PROCESS_CPU,
    SAMPLE_INVOLUNTARY_SWITCHES,
    SAMPLE_DISK_BYTES,
    SAMPLE_THREAD_ID,
    SAMPLE_WEIGHT,
    SAMPLE_PART_COUNT
};

#define SAMPLE_HAS(sample, part) (((sample)->has & (1u << SAMPLE_##part)) != 0)

struct label {
    struct str key;
    struct str value;
};

/* One inference. Parts whose bit is not in `has` hold no value. */
struct sample {
    struct str model_name;
    uint32_t
        model_ref; /* 1 + index in the batch's string table when the name came from it, else 0 */
    uint32_t has;
    double execution_time_ms;  /* 0 … RECORD_MS_MAX */
    double cpu_percent_before; /* 100 = one core */
    double cpu_percent_during;
    double memory_mb_before; /* MiB */
    double memory_mb_after;
    double queue_ms;
    double batch_size;
    double user_ms; /* evidence: over the inference, of the thread or process that ran it */
    double system_ms;
    double runqueue_ms;
    double minor_faults;
    double major_faults;
    double voluntary_switches;
    double bytes_moved;
    double flops;
    double threads;
    double process_cpu_ms; /* of the whole process meanwhile, user and system */
    double involuntary_switches;
    double disk_bytes;  /* read from and written to disks */
    uint64_t thread_id; /* that ran it, as the kernel numbers it for the sender: 1 … its maximum */
    uint64_t weight;    /* inferences that a sampled one stands for, 1 … RECORD_WEIGHT_MAX */
    uint64_t timestamp_wall_ns;
    bool error;            /* the inference failed */
    struct str error_text; /* may be empty although error is true */
    struct str device;     /* "cpu", "cuda:0", … */
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
    uint8_t span_id[RECORD_SPAN_ID_BYTES];
    uint32_t label_count;
    struct label labels[RECORD_LABELS_MAX];
};

/* Inferences that a sample stands for. */
static inline uint64_t record_weight(const struct sample *sample)
{
    return SAMPLE_HAS(sample, WEIGHT) ? sample->weight : 1;
}

/* What nearly all samples are: a name and figures, in range, and nothing else. Of `has` only
 * SAMPLE_CPU_DURING and SAMPLE_MEMORY_AFTER mean something. */
struct brief {
    struct str model_name;
    uint32_t model_ref;
    uint32_t has;
    double execution_time_ms;
    double cpu_percent_during;
    double memory_mb_after;
};

enum { RECORD_BRIEFS_MAX = 32 }; /* handed over at once */

/* The part of a sample that a brief one has. */
static inline struct brief record_brief(const struct sample *sample)
{
    return (struct brief){.model_name = sample->model_name,
                          .model_ref = sample->model_ref,
                          .has = sample->has,
                          .execution_time_ms = sample->execution_time_ms,
                          .cpu_percent_during = sample->cpu_percent_during,
                          .memory_mb_after = sample->memory_mb_after};
}

/* And back: a sample that has nothing else. */
static inline struct sample record_sample(const struct brief *brief)
{
    return (struct sample){.model_name = brief->model_name,
                           .model_ref = brief->model_ref,
                           .has = brief->has,
                           .execution_time_ms = brief->execution_time_ms,
                           .cpu_percent_during = brief->cpu_percent_during,
                           .memory_mb_after = brief->memory_mb_after};
}

/* What a metric record does to its series. */
enum metric_op {
    METRIC_COUNT,   /* adds to a counter */
    METRIC_SET,     /* sets a gauge */
    METRIC_ADD,     /* adds to a gauge */
    METRIC_OBSERVE, /* one value into a histogram */
    METRIC_INFO,    /* says that these attributes hold */
    METRIC_MEMBER,  /* one value into a set, whose distinct ones are counted */
    METRIC_OP_COUNT
};

/* How the values that several processes give to one gauge become one. */
enum aggregation {
    AGGREGATION_UNSAID, /* the last value that was set, and the sum of what was added */
    AGGREGATION_LAST,
    AGGREGATION_SUM,
    AGGREGATION_MAX,
    AGGREGATION_MIN,
    AGGREGATION_PER_PID, /* a series for each process */
    AGGREGATION_COUNT
};

/* "unsaid", "last", "sum", "max", "min", "per_pid" */
extern const char *const aggregation_names[AGGREGATION_COUNT];

/*
 * The bytes that a record's series was spelled with, in two runs around the value. Of one format, the
 * same spelling always means the same series and does the same to it, so a sink may remember where it
 * leads and spare the decoder all but the value:
 *
 *     http.requests:17|c|#code:200,path:/v1
 *     ^^^^^^^^^^^^^    ^^^^^^^^^^^^^^^^^^^^^
 *     head             tail
 */
struct spelling {
    uint8_t format; /* spellings of different decoders never mean the same */
    struct str head;
    struct str tail;
};

/* Spellings are of. */
enum { SPELLING_NONE, SPELLING_STATSD, SPELLING_BATCH, SPELLING_SPAN, SPELLING_BUDGET };

enum { METRIC_HAS_TIMESTAMP = 1, METRIC_HAS_TRACE_ID = 2, METRIC_HAS_SPAN_ID = 4 };

/* One change of a counter, gauge, histogram or info. */
struct metric {
    struct str name; /* as the client spells it, 1 … RECORD_NAME_MAX bytes */
    enum metric_op op;
    /* COUNT: 0 … RECORD_AMOUNT_MAX; OBSERVE and ADD: at most RECORD_AMOUNT_MAX away from 0; SET: any, NaN
     * and infinities too; INFO and MEMBER: 0. */
    double value;
    struct str member; /* MEMBER alone: 1 … RECORD_NAME_MAX bytes of UTF-8, none of them 0 */
    uint64_t weight; /* OBSERVE: values that this one stands for, 1 … RECORD_WEIGHT_MAX; else 1 */
    struct str unit; /* as the client spells it, up to RECORD_UNIT_MAX bytes; empty: not said */
    enum aggregation aggregation; /* SET and ADD */
    unsigned has;                 /* METRIC_HAS_… */
    uint64_t timestamp_wall_ns;
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
    uint8_t span_id[RECORD_SPAN_ID_BYTES];
    struct spelling spelling; /* SPELLING_NONE: has none, or may not be remembered */
    uint32_t attribute_count;
    /* In the client's order: keys of 1 … RECORD_NAME_MAX bytes, values up to RECORD_VALUE_MAX. */
    struct label attributes[RECORD_ATTRIBUTES_MAX];
};

/* Limits of OpenTelemetry's specification ("SDK span limits"); what is above them is left out and
 * counted in the span. */
enum {
    SPAN_ATTRIBUTES_MAX = 128,
    SPAN_EVENTS_MAX = 128,
    SPAN_LINKS_MAX = 128,
    SPAN_CHILD_ATTRIBUTES_MAX = 128, /* of an event, of a link */
    SPAN_DEPTH_MAX = 8,              /* lists in lists in an attribute's value */
    SPAN_STATE_MAX = 512,            /* bytes of trace_state */
    SPAN_KIND_MAX = 5,               /* consumer */
};

enum span_part {
    SPAN_WHOLE,
    SPAN_START, /* the half that says that a span has begun */
    SPAN_END,
    SPAN_PART_COUNT
};

enum span_status { SPAN_UNSET, SPAN_OK, SPAN_ERROR, SPAN_STATUS_COUNT };

/* "unset", "ok", "error" */
extern const struct str span_status_names[SPAN_STATUS_COUNT];

/* Numbers of the fields of OTLP's Span, in which spans come in batches and in which they go on. */
enum span_field {
    SPAN_FIELD_TRACE_ID = 1,
    SPAN_FIELD_SPAN_ID,
    SPAN_FIELD_TRACE_STATE,
    SPAN_FIELD_PARENT_SPAN_ID,
    SPAN_FIELD_NAME,
    SPAN_FIELD_KIND,
    SPAN_FIELD_START_TIME,
    SPAN_FIELD_END_TIME,
    SPAN_FIELD_ATTRIBUTES,
    SPAN_FIELD_DROPPED_ATTRIBUTES,
    SPAN_FIELD_EVENTS,
    SPAN_FIELD_DROPPED_EVENTS,
    SPAN_FIELD_LINKS,
    SPAN_FIELD_DROPPED_LINKS,
    SPAN_FIELD_STATUS,
    SPAN_FIELD_FLAGS,
};

/* What repeats in a span is kept in the bytes that it goes on in: those of OTLP (proto/otlp.proto). */

struct span_attribute {
    struct str key;
    struct str field; /* KeyValue with tag and length, as in Span.attributes */
    bool is_text;
    struct str text; /* the value, when it is one */
};

struct span_child {
    struct str body; /* Event or Link, without tag and length */
    uint32_t
        dropped; /* attributes that are not in it: written behind it, this counts, for in it may
                         be another dropped_attributes_count */
};

/* One operation of a trace, or a half of it. Texts are UTF-8 without a zero byte. */
struct span {
    enum span_part part;
    struct str name; /* 1 … RECORD_NAME_MAX bytes */
    uint8_t trace_id[RECORD_TRACE_ID_BYTES];
    uint8_t span_id[RECORD_SPAN_ID_BYTES];
    uint8_t parent_id[RECORD_SPAN_ID_BYTES]; /* all zero: a root */
    struct str trace_state;                  /* of W3C Trace Context */
    uint8_t kind;                            /* as OTLP has it, 0: not said, … SPAN_KIND_MAX */
    bool has_flags;
    uint32_t flags;         /* bit 0: somebody decided to keep the trace, or not to */
    uint64_t start_wall_ns; /* 0: not said, which only an END may leave */
    uint64_t end_wall_ns;   /* 0: not said, by a START */
    enum span_status status;
    struct str status_message;
    struct str service_name; /* empty: not said */
    uint32_t attribute_count, event_count, link_count;
    uint32_t dropped_attributes, dropped_events, dropped_links;
    struct span_attribute *attributes; /* each key once */
    struct span_child *events;
    struct span_child *links;
};

/* Where the parts of a span of any size find room. */
struct span_room {
    struct span_attribute attributes[SPAN_ATTRIBUTES_MAX];
    struct span_child events[SPAN_EVENTS_MAX];
    struct span_child links[SPAN_LINKS_MAX];
};

/* A span of which nothing is said yet. The room is borrowed, and need not be initialised. */
void span_init(struct span *span, struct span_room *room);

/* Whether ids, name and times are what a record must have: 0, or a code and its key. `has_…` says
 * which of the required ones were given. */
struct span_given {
    bool name, trace_id, span_id;
};
int span_check(const struct span *span, const struct span_given *given, struct str *ret_key);

/* A span without a parent. */
bool span_is_root(const struct span *span);

/* The sum of two counts of what was left out; at the end of their range it stays there. */
static inline uint32_t span_add_count(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* The attribute of a key, or NULL. */
const struct span_attribute *span_find(const struct span *span, struct str key);

enum {
    BUDGET_HAS_TIMESTAMP = 1,
    BUDGET_HAS_TRACE_ID = 2,
    BUDGET_HAS_SPAN_ID = 4,
    BUDGET_HAS_FLAGS = 8,
    BUDGET_HAS_BEFORE = 16
};

/* Time that one layer of one request took, from when it was entered to when it was left. Parts whose bit
 * is not in `has` hold no value. */
struct budget {
    struct str layer;      /* 1 … RECORD_NAME_MAX bytes of text; "total": the whole request */
    double elapsed_ms;     /* 0 … RECORD_MS_MAX */
    struct str operation;  /* what was done, up to RECORD_NAME_MAX bytes; empty: not said */
    struct str request_id; /* of which request, likewise */
    double before_ms;      /* that it took in the same request before, 0 … RECORD_MS_MAX */
    unsigned has;          /* BUDGET_HAS_… */
    uint32_t flags;        /* as those of a span */
    uint64_t timestamp_wall_ns;              /* when it was left */
    uint8_t trace_id[RECORD_TRACE_ID_BYTES]; /* of the span that it was part of */
    uint8_t span_id[RECORD_SPAN_ID_BYTES];
};

/* What the layer took in its request before; 0 when it was entered for the first time. */
static inline double record_before_ms(const struct budget *budget)
{
    return (budget->has & BUDGET_HAS_BEFORE) != 0 ? budget->before_ms : 0;
}

/* What is to be held against the layer's budget: all it has taken in its request so far. */
static inline double record_spent_ms(const struct budget *budget)
{
    return record_before_ms(budget) + budget->elapsed_ms;
}

enum { RECORD_BUDGETS_MAX = 32 }; /* handed over at once */

/* Who is speaking. Empty text and zero numbers mean: not said. */
struct hello {
    struct str service_name;
    struct str service_version;
    struct str constitutional_hash;
    struct str client; /* "libdwell/1.0" */
    uint64_t pid;
    bool acknowledge; /* asks to be told what is kept for good */
    bool has_client_id;
    uint8_t client_id[RECORD_CLIENT_ID_BYTES];
};

/* Where a client stands in its own numbering of records (proto/WIRE.md, "Ledger"). */
struct mark {
    bool has_sequence;
    uint64_t sequence; /* number of the record that comes next, counted from 0 */
    bool has_dropped;
    uint64_t dropped; /* records that the client gave up on since it began */
};

/* The head of a binary batch. */
struct batch {
    bool has_client_id;
    uint8_t client_id[RECORD_CLIENT_ID_BYTES];
    struct mark mark; /* sequence: that of the batch's first record */
    struct str constitutional_hash;
};

/* Why a record was refused, in enough detail to tell its sender. */
struct rejection {
    int err;         /* a code of base/err.h */
    struct str key;  /* the key concerned, or empty */
    struct str near; /* a key that was given and may be meant by `key`, or empty */
    uint64_t line;   /* of the connection or datagram, from 1; 0 where there are no lines */
    bool control;    /* what was refused is a hello, flush or goodbye: it has no sequence number */
    struct str expects; /* what `key` takes, in words; empty: not told */
};

/* What a decoder reads over: sound, but nothing that this daemon keeps. */
enum ignored {
    IGNORED_EVENT, /* of DogStatsD: _e{…}:… */
    IGNORED_CHECK, /* and its service checks: _sc|… */
    IGNORED_COUNT
};

/*
 * Receives what a decoder finds, in order of arrival. `sample` returns 0 or the ERR_ code with which
 * it refuses the record: the decoder then calls `reject` for it, so every refused record passes there
 * once and every record ends in exactly one of the two.
 */
struct record_sink {
    void *ctx;
    void (*batch)(void *ctx, const struct batch *batch); /* before the records of a binary batch */
    int (*sample)(void *ctx, const struct sample *sample);
    /* As `sample`, for at most RECORD_BRIEFS_MAX samples in their order. Returns how many are refused:
     * only when that is any, ret_errs has one code for each sample. May be NULL: then they come by
     * `sample`. */
    unsigned (*briefs)(void *ctx, const struct brief *briefs, unsigned count, int *ret_errs);
    int (*metric)(void *ctx, const struct metric *metric);
    /* Does what `metric` did for the last record of this spelling, with another value and weight.
     * Returns true when it did; false when the spelling is not remembered, or this is not to be done in
     * short: the decoder then reads the record and calls `metric`. May be NULL. */
    bool (*spelled)(void *ctx, const struct spelling *spelling, double value, uint64_t weight);
    int (*span)(void *ctx, const struct span *span);
    int (*budget)(void *ctx, const struct budget *budget);
    /* As `briefs`, for at most RECORD_BUDGETS_MAX budgets. May be NULL. */
    unsigned (*budgets)(void *ctx, const struct budget *budgets, unsigned count, int *ret_errs);
    int (*hello)(void *ctx, const struct hello *hello, const struct mark *mark);
    int (*flush)(void *ctx, const struct mark *mark);
    int (*goodbye)(void *ctx, const struct mark *mark);
    void (*reject)(void *ctx, const struct rejection *rejection);
    void (*unknown_key)(void *ctx, struct str key);
    void (*ignored)(void *ctx, enum ignored what); /* may be NULL */
    /* A whole frame with its length, or a line with its newline, as it came: after it was read, and
     * also when it was damaged. Its records may be handed over later in the same call. May be NULL. */
    void (*raw)(void *ctx, struct str bytes);
};

#endif
