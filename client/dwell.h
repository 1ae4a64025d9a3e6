/*
 * libdwell: tells the daemon dwelld what the inferences of this process cost.
 * It does not aggregate, does not read anything back but confirmations, and never gets in the way:
 * without a daemon every call is still cheap and correct. Two files, libc and pthreads only.
 *
 *     dwell_t *dwell = dwell_open(NULL);
 *     const struct dwell_model *model = dwell_model(dwell, "resnet50");
 *
 *     struct dwell_track track;
 *     dwell_track_begin(&track, model);
 *     bool failed = !infer(…);
 *     dwell_track_end(&track, failed);
 *
 *     struct dwell_span span;
 *     dwell_span_start(dwell, &span, "POST /v1/infer", NULL);
 *     dwell_span_int(&span, "batch.size", 8);
 *     dwell_span_end(&span);
 *
 *     dwell_close(dwell);
 *
 * Threads. All but dwell_open and dwell_close may be called by any number of threads at once; one
 * struct dwell_track or dwell_span belongs to one thread at a time, and may be handed on; of a struct
 * dwell_budget layers are started and stopped by any number of threads at once. dwell_close may not
 * run beside another call on the same handle, its models, spans or budgets, and ends all four.
 * None of them may be called from a signal handler.
 *
 * Recording (dwell_track_*, dwell_sample, dwell_metric, dwell_span_* and dwell_budget_*) does not
 * block, allocate, print, raise signals or change errno, and takes no lock: each thread writes into a
 * place of its own. What cannot be kept is dropped, counted, and the count is sent with the next
 * batch.
 * dwell_model, dwell_flush, dwell_close and dwell_stats may wait for one another for some
 * microseconds. The first record of a thread takes some 30 µs longer, because it opens files and
 * tries out what a reading costs.
 *
 * Sending. A thread of the library, with all signals masked, sends what was recorded every 50 ms,
 * or sooner when 64 kB wait. It looks for the daemon again when it is gone, after 10 ms at first
 * and 5 s at most. Once there was none for 10 s (keep_ms), what is recorded is dropped.
 *
 * Acknowledgements, with options.acknowledge. What was sent is kept until the daemon has written it to
 * its journal. That survives the end of the daemon, kill -9 too, but not that of the machine. While
 * the daemon acknowledges nothing, what is kept fills unacknowledged_bytes, then the threads' buffers
 * fill, then records are dropped and counted.
 *
 * Exit. A process that ends without dwell_close or dwell_flush loses what still waits.
 *
 * Fork. The child goes on with the same handle, models and options as a client of its own: what the
 * parent had not sent stays with the parent. Its sending thread starts at its first record.
 * A track begun before the fork may be ended on both sides. A span begun before it is the parent's
 * to send: in the child it stays what new spans are children of, and ending it there only ends that.
 * dwell_close of either side does not concern the other. (After a raw clone() or _Fork(), which run
 * no fork handlers, the child must not use the handle.)
 *
 * A NULL handle, a NULL model, a NULL sample, a NULL span and a NULL budget make every call a no-op;
 * only budgets are kept to without a handle, too. With DWELL_DISABLED=1 in the environment dwell_open
 * returns NULL.
 *
 * Structs that begin with `size` hold sizeof of themselves there, so that they can grow. Members
 * that are 0 or NULL take the default. Text is UTF-8, ends with a zero byte, and is copied before
 * the call returns.
 *
 * Compiles as C99 and as C++.
 */
#ifndef DWELL_CLIENT_DWELL_H
#define DWELL_CLIENT_DWELL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DWELL_API __attribute__((visibility("default")))
#else
#define DWELL_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A connection to the daemon and all that waits for it. Opaque. */
typedef struct dwell dwell_t;

/* A model of one handle. Opaque; valid until dwell_close of that handle. */
struct dwell_model;

/*
 * What an inference is asked for besides its time. A reading costs 2 µs (cpu) or 7 µs (full) an inference
 * when its code is in the CPU's caches, and up to ten times that when it is not; it is taken only as
 * often as dwell_options.evidence_percent allows, by what it was seen to cost. The samples of other
 * inferences are as short as with `none`. With a reading go the number of the thread and when the
 * inference ended, so that the daemon can hold against it what it sees of the process.
 */
enum dwell_evidence {
    DWELL_EVIDENCE_DEFAULT, /* cpu */
    DWELL_EVIDENCE_NONE,    /* nothing: no CPU figure, so the daemon's verdict stays unknown */
    DWELL_EVIDENCE_CPU,     /* of the thread: user and system time, page faults, switches of both
                               kinds, bytes read from and written to disks */
    DWELL_EVIDENCE_FULL     /* also how long it waited for a CPU, what CPU time all threads of the
                               process used meanwhile (so that work done by others is found), and
                               the memory of the process */
};

struct dwell_options {
    size_t size; /* sizeof(struct dwell_options) */

    /* Where the daemon's sockets are. NULL: $DWELL_DIR, else the first of $XDG_RUNTIME_DIR/dwell,
     * /run/dwell and /tmp/dwell-<uid> in which ingest.sock exists. At most 95 bytes. */
    const char *directory;

    /* Who is speaking, at most 255 bytes each. NULL: not said. */
    const char *service_name;
    const char *service_version;
    const char *constitutional_hash;

    enum dwell_evidence evidence;
    double evidence_percent; /* of the time of a model's inferences that evidence may cost: more
                                than 0, at most 100. Default 1. */
    uint32_t threads_max;    /* threads that record at once and have a buffer of their own: 1 to
                                1024, default 64. The others share one and may drop. */
    uint32_t models_max;     /* 1 to 65536, default 1024 */
    uint32_t buffer_bytes;   /* of each thread: rounded up to a power of two between 64 kB and
                                16 MB; default 256 kB. Memory is used once it is written to. */
    uint32_t keep_ms; /* how long records wait for a daemon that is gone, before they are dropped:
                         its windows go by the time of arrival. Default 10000 */
    uint32_t close_timeout_ms; /* how long dwell_close may take; default 1000 */
    bool
        no_thread; /* no sending thread: recording calls send every 50 ms or 64 kB, without waiting.
                       What a service recorded last is sent only by its next call of any kind. */

    /* Share of the traces begun here that are said to be sampled to whom they are handed on: above
     * 0, at most 1; negative: none. 0 or NaN: by OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG,
     * else all. The daemon decides by the same rule what it exports: give it the same share. */
    double sample_rate;

    /* Keep what was sent until the daemon says that it survives it, and send it again after a
     * reconnect: then nothing is lost when the daemon is killed, and nothing counts twice. Where the
     * daemon keeps no journal, all is as without. */
    bool acknowledge;
    uint32_t
        unacknowledged_bytes; /* that are kept so; past it recording drops. Rounded up to a power
                                      of two between 256 kB and 64 MB; default 4 MB */
};

/* One inference being measured: on the caller's stack, filled by dwell_track_begin. Copying it
 * between begin and end is fine; never ending it is fine too, and records nothing. */
struct dwell_track {
    uint64_t opaque[16];
};

struct dwell_label {
    const char *key;   /* 1 to 256 bytes */
    const char *value; /* at most 256 bytes */
};

/* Which numbers of a struct dwell_sample were set; add them up in `has`. */
enum dwell_part {
    DWELL_HAS_CPU_PERCENT_BEFORE = 1 << 0,
    DWELL_HAS_CPU_PERCENT_DURING = 1 << 1,
    DWELL_HAS_MEMORY_MB_BEFORE = 1 << 2,
    DWELL_HAS_MEMORY_MB_AFTER = 1 << 3,
    DWELL_HAS_QUEUE_MS = 1 << 4,
    DWELL_HAS_BATCH_SIZE = 1 << 5,
    DWELL_HAS_USER_MS = 1 << 6,
    DWELL_HAS_SYSTEM_MS = 1 << 7,
    DWELL_HAS_RUNQUEUE_MS = 1 << 8,
    DWELL_HAS_MINOR_FAULTS = 1 << 9,
    DWELL_HAS_MAJOR_FAULTS = 1 << 10,
    DWELL_HAS_VOLUNTARY_SWITCHES = 1 << 11,
    DWELL_HAS_BYTES_MOVED = 1 << 12,
    DWELL_HAS_FLOPS = 1 << 13,
    DWELL_HAS_THREADS = 1 << 14,
    DWELL_HAS_PROCESS_CPU_MS = 1 << 15,
    DWELL_HAS_INVOLUNTARY_SWITCHES = 1 << 16,
    DWELL_HAS_DISK_BYTES = 1 << 17,
    DWELL_HAS_THREAD_ID = 1 << 18
};

/*
 * One inference that the caller measured. Required: a name (`model` or `model_name`) and
 * execution_time_ms. Numbers must be finite and not negative. The library sends what it is given;
 * the daemon judges, and counts what it refuses under a reason.
 */
struct dwell_sample {
    size_t size;  /* sizeof(struct dwell_sample) */
    uint32_t has; /* DWELL_HAS_… of the numbers below that are set; the others are not sent */
    bool error;   /* the inference failed */

    const struct dwell_model *model; /* of the same handle; cheaper than a name, and wins over it */
    const char *model_name;          /* 1 to 256 bytes */

    double execution_time_ms;  /* 0 to 1e12 */
    double cpu_percent_before; /* 100 = one core */
    double cpu_percent_during;
    double memory_mb_before; /* MiB */
    double memory_mb_after;
    double queue_ms;   /* waited before execution began; not part of execution_time_ms */
    double batch_size; /* inputs handled together */

    /* Evidence: what the inference used. */
    double user_ms;
    double system_ms;
    double runqueue_ms; /* ready, but without a CPU */
    double minor_faults;
    double major_faults;
    double voluntary_switches;
    double bytes_moved; /* a hint: memory traffic that the inference needs */
    double flops;       /* a hint: floating point operations */
    double threads;     /* that worked on it */

    uint64_t timestamp_unix_nano; /* 0: not sent; beside thread_id when the inference ended */
    const uint8_t *trace_id;      /* 16 bytes, or NULL: as the thread's current span, if sampled */
    const uint8_t *span_id;       /* 8 bytes, or NULL */
    const char *device;           /* "cpu", "cuda:0", …, or NULL; at most 256 bytes */
    const char *error_text;       /* or NULL; implies error */
    const struct dwell_label *labels;
    size_t label_count; /* at most 16 */

    /* More evidence. A struct that ends before it, as the first version's, is taken as well. */
    double process_cpu_ms; /* of all threads of the process meanwhile, user and system */
    double involuntary_switches;
    double disk_bytes;  /* read from and written to disks */
    uint64_t thread_id; /* that ran it, as gettid says: 1 to 2147483647 */
};

/* What a metric record does to its series. */
enum dwell_metric_op {
    DWELL_COUNT = 1, /* adds `value`, 0 or more, to a counter */
    DWELL_SET,       /* sets a gauge to `value` */
    DWELL_ADD,       /* adds `value` to a gauge */
    DWELL_OBSERVE,   /* one `value` into a histogram */
    DWELL_INFO       /* says that the attributes hold; no value */
};

/* How the values that several processes give to one gauge become one. */
enum dwell_aggregation {
    DWELL_AGGREGATION_UNSAID, /* the last value that was set, and the sum of what was added */
    DWELL_AGGREGATION_LAST,
    DWELL_AGGREGATION_SUM,
    DWELL_AGGREGATION_MAX,
    DWELL_AGGREGATION_MIN,
    DWELL_AGGREGATION_PER_PID /* a series for each process */
};

/*
 * One change of a counter, gauge, histogram or info. Required: `op`, `name` and, but for an info,
 * `value`. The name on /metrics is made from `name` and `unit` (proto/WIRE.md, "Metrics"). What a
 * process gives to a gauge by DWELL_ADD, or by an aggregation other than last, ends with it.
 */
struct dwell_metric {
    size_t size; /* sizeof(struct dwell_metric) */
    enum dwell_metric_op op;
    enum dwell_aggregation aggregation; /* of a gauge */
    const char *name;                   /* 1 to 256 bytes */
    double value;
    const char *unit; /* "ms", "By", …, at most 32 bytes, or NULL */
    const struct dwell_label *attributes;
    size_t attribute_count; /* at most 32 */

    uint64_t timestamp_unix_nano; /* of the exemplar; 0: not sent */
    const uint8_t *trace_id; /* 16 bytes, or NULL: shown as exemplar of a count or observation */
    const uint8_t *span_id;  /* 8 bytes, or NULL */
};

/* ---- Spans ---- */

enum {
    DWELL_TRACE_STATE_MAX = 512, /* bytes */
    DWELL_SPAN_BYTES = 2048
};

/* Of a context; add them up in `flags`. */
enum dwell_context_flag {
    DWELL_CONTEXT_SAMPLED = 1 << 0,
    DWELL_CONTEXT_DECIDED = 1 << 1, /* SAMPLED, set or not, is the decision of somebody outside */
    DWELL_CONTEXT_DEBUG = 1 << 2,   /* of B3; implies the two above */
    DWELL_CONTEXT_REMOTE = 1 << 3   /* it came from outside; if nothing is DECIDED, we may */
};

/* Which span something belongs to: what is handed on to other threads and services. */
struct dwell_context {
    uint8_t trace_id[16]; /* all zero: there is no span, but perhaps a decision */
    uint8_t span_id[8];
    uint32_t flags;                              /* DWELL_CONTEXT_… */
    char trace_state[DWELL_TRACE_STATE_MAX + 1]; /* of W3C Trace Context; "" without */
};

enum dwell_type {
    DWELL_TEXT = 1,
    DWELL_INT,
    DWELL_DOUBLE,
    DWELL_BOOL,
    DWELL_TEXT_LIST, /* of `count` values; of the others `count` means nothing */
    DWELL_INT_LIST,
    DWELL_DOUBLE_LIST,
    DWELL_BOOL_LIST
};

/* An attribute of a span, an event or a link. dwell_text and its like below make one. */
struct dwell_attribute {
    const char *key; /* 1 to 256 bytes */
    enum dwell_type type;
    union {
        const char *text;
        int64_t integer;
        double number;
        bool truth;
        const char *const *texts;
        const int64_t *integers;
        const double *numbers;
        const bool *truths;
    } value;
    size_t count;
};

static inline struct dwell_attribute dwell_text(const char *key, const char *value)
{
    struct dwell_attribute attribute;
    attribute.key = key;
    attribute.type = DWELL_TEXT;
    attribute.value.text = value;
    attribute.count = 0;
    return attribute;
}

static inline struct dwell_attribute dwell_int(const char *key, int64_t value)
{
    struct dwell_attribute attribute;
    attribute.key = key;
    attribute.type = DWELL_INT;
    attribute.value.integer = value;
    attribute.count = 0;
    return attribute;
}

static inline struct dwell_attribute dwell_double(const char *key, double value)
{
    struct dwell_attribute attribute;
    attribute.key = key;
    attribute.type = DWELL_DOUBLE;
    attribute.value.number = value;
    attribute.count = 0;
    return attribute;
}

static inline struct dwell_attribute dwell_bool(const char *key, bool value)
{
    struct dwell_attribute attribute;
    attribute.key = key;
    attribute.type = DWELL_BOOL;
    attribute.value.truth = value;
    attribute.count = 0;
    return attribute;
}

/* Another span that this one has to do with, without being its child. */
struct dwell_link {
    const struct dwell_context *context;
    const struct dwell_attribute *attributes;
    size_t attribute_count;
};

enum dwell_kind {
    DWELL_KIND_UNSAID, /* internal */
    DWELL_KIND_INTERNAL,
    DWELL_KIND_SERVER,
    DWELL_KIND_CLIENT,
    DWELL_KIND_PRODUCER,
    DWELL_KIND_CONSUMER
};

enum dwell_status { DWELL_STATUS_UNSET, DWELL_STATUS_OK, DWELL_STATUS_ERROR };

struct dwell_span_options {
    size_t size; /* sizeof(struct dwell_span_options) */

    /* Whose child the span is. NULL: of the thread's current span. Without a span in it: of none,
     * a new trace begins, for which a decision in it counts. */
    const struct dwell_context *parent;
    enum dwell_kind kind;
    bool detached; /* does not become the thread's current span */
    bool halves;   /* its start is recorded at once and its end as a second record, so that a span
                      whose process died shows as cut off. If there was no room for the start, it
                      comes as a whole */
    uint64_t start_unix_nano;                 /* 0: now */
    const char *service_name;                 /* NULL: that of the handle; at most 255 bytes */
    const struct dwell_attribute *attributes; /* as by dwell_span_attribute, one after the other */
    size_t attribute_count;
    const struct dwell_link *links; /* as by dwell_span_link */
    size_t link_count;

    /* More room for attributes, events and links than there is in a struct dwell_span: the caller's
     * until the span has ended. Of less than 2048 bytes, or NULL, no use is made, nor of more than
     * 16256. */
    void *memory;
    size_t memory_bytes;
};

/*
 * A span being measured: in the caller's memory, filled by dwell_span_start. All of its bytes zero
 * is a span of which nothing comes. It may be copied elsewhere, and then goes on there alone; never
 * ending it is fine too, and records nothing.
 *
 * Name, attributes, events, links and the status message are encoded into it as they come; there is
 * room for some 1800 bytes, less in a span with a trace state. What does not fit, is past a limit
 * or has no good key is left out, and counted in the span's dropped_…_count.
 *
 * Limits: 128 attributes, 128 events, 128 links, 128 attributes of an event or link.
 * OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT, OTEL_SPAN_EVENT_COUNT_LIMIT and OTEL_SPAN_LINK_COUNT_LIMIT in the
 * environment of dwell_open lower the first three.
 *
 * Current. A span is the current one of the thread that started it, for the handle it was started
 * with, until it has ended, or a span around it has ended on that thread. It is the parent of the
 * spans, and the trace of the samples, that begin there without naming others. Another thread may
 * end a span; the starting thread then goes on with the one around it. At most 64 spans can be
 * nested in this sense, and none can on threads past dwell_options.threads_max: a span that could
 * not become current is recorded as any other.
 */
struct dwell_span {
    uint64_t opaque[DWELL_SPAN_BYTES / sizeof(uint64_t)];
};

/* How contexts are written into headers; may be added up. */
enum dwell_propagation {
    DWELL_PROPAGATION_DEFAULT =
        0, /* by OTEL_PROPAGATORS as the last dwell_open found it, else B3 */
    DWELL_PROPAGATION_B3 = 1 << 0,       /* b3: {trace id}-{span id}-{0, 1 or d} */
    DWELL_PROPAGATION_B3_MULTI = 1 << 1, /* X-B3-TraceId, -SpanId, -Sampled, -Flags */
    DWELL_PROPAGATION_W3C = 1 << 2,      /* traceparent, tracestate */
    DWELL_PROPAGATION_NONE = 1 << 3      /* nothing, added to nothing */
};

/* Takes one header of an outgoing message; both texts are the library's, valid during the call. */
typedef void (*dwell_set_fn)(void *arg, const char *name, const char *value);

/* The value of a header of an incoming message, whatever the case of its name, or NULL; needs to be
 * valid until the next call. Asked for a name as it is written above, and if there is none, once
 * more in small letters. A header that came several times is to be joined by commas. */
typedef const char *(*dwell_get_fn)(void *arg, const char *name);

struct dwell_header {
    const char *name;
    const char *value;
};

struct dwell_headers {
    const struct dwell_header *header;
    size_t count;
};

/* ---- Time budgets ---- */

enum {
    DWELL_BUDGET_LAYERS_MAX = 16,
    DWELL_BUDGET_NAME_MAX = 62,        /* bytes of a layer's name */
    DWELL_BUDGET_REQUEST_ID_MAX = 128, /* bytes */
    DWELL_BUDGET_BYTES = 2048
};

/* What takes part of a request's time, by its place in dwell_budget_options.layers; without those
 * the first four are there, with what is said beside them. */
enum dwell_layer {
    DWELL_LAYER1_VALIDATION,   /* layer1_validation, 5 ms */
    DWELL_LAYER2_DELIBERATION, /* layer2_deliberation, 20 ms */
    DWELL_LAYER3_POLICY,       /* layer3_policy, 10 ms */
    DWELL_LAYER4_AUDIT,        /* layer4_audit, 15 ms, not strict */
    DWELL_LAYER_TOTAL = 1000,  /* the whole request, "total": 50 ms */
    DWELL_LAYER_ALL            /* of dwell_budget_reset: all layers and the total */
};

enum dwell_enforcement {
    DWELL_ENFORCEMENT_DEFAULT, /* strict, but for layer4_audit */
    DWELL_ENFORCEMENT_STRICT,  /* a request that is over it has failed */
    DWELL_ENFORCEMENT_LENIENT  /* it is only said, and the request goes on */
};

/* How the time that was used compares with a budget; the later, the worse. Time is over a limit when
 * it is more than that, not when it is all of it. */
enum dwell_verdict {
    DWELL_WITHIN,
    DWELL_SOFT_LIMIT,
    DWELL_EXCEEDED,
    DWELL_EXCEEDED_STRICT /* and that is strict: give the request up */
};

struct dwell_budget_layer {
    const char *name; /* 1 to 62 bytes, not "total"; no two the same */

    /* One of the two: 0.001 to 14400000 ms (4 hours), or above 0, at most 1, of the total. Both 0: as
     * the layer of that name above. */
    double budget_ms;
    double budget_share;
    double soft_limit_pct; /* of its budget, above 0, at most 1; default 0.8 */
    enum dwell_enforcement enforcement;
};

struct dwell_budget_options {
    size_t size;     /* sizeof(struct dwell_budget_options) */
    double total_ms; /* 0.001 to 14400000; default 50 */
    double total_soft_limit_pct;
    enum dwell_enforcement total_enforcement;
    const struct dwell_budget_layer *layers; /* NULL: the four above */
    size_t layer_count;                      /* at most 16 */
    const char *request_id;                  /* sent with each record; at most 128 bytes, or NULL */
};

/*
 * What a request may take and has taken: in the caller's memory, made by dwell_budget_init, and then
 * for one request after the other by dwell_budget_reset. All of its bytes zero is a budget without
 * limits, of which nothing comes. Nothing needs to be given back.
 *
 * Time. A layer has taken the time during which at least one of its operations ran: repeated ones add
 * up, of nested and concurrent ones no time counts twice. Another layer that runs meanwhile has its
 * own time. Up to 255 operations of a layer run at once: one more does not count as running. A
 * layer takes at most 4.5 hours (2^44 - 2^40 ns) until it is reset; past that it is as if it had
 * taken none.
 *
 * Total. Once it was started, and until it is reset, the total is enforced: no layer has more
 * time left than it, and when it is exceeded, every layer's verdict is at least that of the total.
 *
 * Threads. Any number may call dwell_budget_start, _stop, _check, _remaining and _deadline at once; an
 * operation may end on another thread than it began. dwell_budget_init and dwell_budget_reset may not
 * run beside another call on the same budget, nor may it be copied then.
 */
struct dwell_budget {
    uint64_t opaque[DWELL_BUDGET_BYTES / sizeof(uint64_t)];
};

/* Since dwell_open, or since the fork in a child. */
struct dwell_stats {
    size_t size; /* sizeof(struct dwell_stats), set by the caller */

    uint64_t recorded; /* calls of dwell_track_end*, dwell_sample, dwell_metric and dwell_span_end
                          with a handle, starts of spans in halves, and records of budgets */
    uint64_t sent;     /* of these: handed to the kernel on a connection to the daemon */
    uint64_t dropped;  /* of these: given up */
    uint64_t
        unconfirmed;   /* of those sent: on a connection that broke before the daemon confirmed, and
                            not sent again */
    uint64_t evidence; /* inferences for which evidence was taken */
    uint64_t batches;  /* sent */
    uint64_t sent_bytes;  /* of batches */
    uint64_t connections; /* made; all but the first are reconnects */
    bool connected;

    /* With options.acknowledge. A struct that ends before, as the first version's, is taken as well. */
    uint64_t acknowledged; /* of those sent: the daemon has them for good */
    uint64_t resent;       /* times that a record was sent again; not in `sent` */
};

enum dwell_result {
    DWELL_OK = 0,
    DWELL_TIMEOUT = -1,    /* the time was over first; nothing is lost by that */
    DWELL_UNCONFIRMED = -2 /* the connection broke, or there is none: some may not have arrived */
};

/*
 * Opens a handle; `options` NULL: every default. Needs no daemon, and waits for none. The caller
 * owns the handle and gives it back with dwell_close.
 * NULL when DWELL_DISABLED=1, when memory or a thread key could not be had, or when 16 handles are
 * open: an application need not care, since a NULL handle is a no-op. Out-of-range options are
 * taken as the nearest that is in range; text that is too long as not given.
 */
DWELL_API dwell_t *dwell_open(const struct dwell_options *options);

/*
 * Sends what is buffered, says goodbye, waits until the daemon has taken everything, at most
 * close_timeout_ms, and frees the handle and its models whatever the outcome. Without a daemon it
 * does not wait, unless records are kept for one that acknowledges (acknowledge): then it looks for
 * the daemon as long as it may, and as they are kept (keep_ms). Returns DWELL_OK when the daemon took
 * all that was sent or nothing was recorded, else DWELL_TIMEOUT or DWELL_UNCONFIRMED. In a forked
 * child the same for the child's own records.
 */
DWELL_API int dwell_close(dwell_t *dwell);

/*
 * The model of that name, 1 to 256 bytes; the same pointer for the same name. Make it once, outside
 * of the hot path: it takes a lock. The handle owns it. NULL when the name is NULL, empty or too
 * long, and past models_max; tracking NULL is a no-op.
 */
DWELL_API const struct dwell_model *dwell_model(dwell_t *dwell, const char *name);

/*
 * Begins an inference of `model`: with evidence `none` one clock reading. Evidence is taken for the
 * first inference of a model on a thread, and then whenever the time of the inferences since would
 * make its cost no more than evidence_percent. Of other inferences no CPU figure is sent.
 */
DWELL_API void dwell_track_begin(struct dwell_track *track, const struct dwell_model *model);

/*
 * Ends it and records one sample; `failed` marks the inference as an error. It bears the ids of the
 * thread's current span, if that is sampled. Evidence is left out when another thread ends it than
 * began it. A second end of the same track is a no-op.
 */
DWELL_API void dwell_track_end(struct dwell_track *track, bool failed);

/*
 * As dwell_track_end, with more to say (batch_size, queue_ms, the hints bytes_moved and flops, labels,
 * …): everything of `more` is sent but its model, its execution_time_ms, and what was measured, its
 * timestamp then too. `more->error` says whether it failed. NULL: as dwell_track_end(track, false).
 */
DWELL_API void dwell_track_end_with(struct dwell_track *track, const struct dwell_sample *more);

/*
 * Records a sample as it is. One that is over 16 kB long, or whose `size` is not that of a struct
 * dwell_sample of some version, is dropped.
 */
DWELL_API void dwell_sample(dwell_t *dwell, const struct dwell_sample *sample);

/*
 * Records a metric as it is. One that is over 16 kB long, or whose `size` is not that of a struct
 * dwell_metric of this or a later version, is dropped.
 */
DWELL_API void dwell_metric(dwell_t *dwell, const struct dwell_metric *metric);

/*
 * Starts a span; `options` NULL: every default. A name of more than 256 bytes is cut; NULL or empty
 * it is "unnamed". With a NULL handle the span records nothing, but has the context of
 * options->parent, so that a trace goes through a service in which dwell is switched off.
 * Ids come from the kernel's generator; where that is not to be had without waiting, from splitmix64
 * begun with clocks and process id. The start is wall clock time; all other times of the span are
 * that and what has passed since by the monotonic clock.
 */
DWELL_API void dwell_span_start(dwell_t *dwell, struct dwell_span *span, const char *name,
                                const struct dwell_span_options *options);

/* Ends it and records it. A second end, and whatever else comes after the first, is a no-op. */
DWELL_API void dwell_span_end(struct dwell_span *span);

/* Sets an attribute. Of a key that is set again the last value counts. */
DWELL_API void dwell_span_attribute(struct dwell_span *span,
                                    const struct dwell_attribute *attribute);
DWELL_API void dwell_span_text(struct dwell_span *span, const char *key, const char *value);
DWELL_API void dwell_span_int(struct dwell_span *span, const char *key, int64_t value);
DWELL_API void dwell_span_double(struct dwell_span *span, const char *key, double value);
DWELL_API void dwell_span_bool(struct dwell_span *span, const char *key, bool value);

/* Adds an event that happens now. It is left out as a whole, or is there as a whole. */
DWELL_API void dwell_span_event(struct dwell_span *span, const char *name,
                                const struct dwell_attribute *attributes, size_t attribute_count);

/* Adds a link; one to no span is left out. */
DWELL_API void dwell_span_link(struct dwell_span *span, const struct dwell_link *link);

/*
 * Adds the event `exception` with exception.type, exception.message and exception.stacktrace, each
 * but the first may be NULL, and sets the status to error with the message. Stack trace and message
 * are cut to the room there is. The same type and message again, without another in between, is the
 * same exception on its way out, and a no-op.
 */
DWELL_API void dwell_span_exception(struct dwell_span *span, const char *type, const char *message,
                                    const char *stacktrace);

/*
 * Sets the status; success needs none. Of errors the last one counts, ok is final, unset is
 * ignored. `message` may be NULL, goes with errors only, and is cut to the room there is.
 */
DWELL_API void dwell_span_status(struct dwell_span *span, enum dwell_status status,
                                 const char *message);

/* The context of a span, also after its end: all zero if it is NULL or has none. */
DWELL_API void dwell_span_context(const struct dwell_span *span, struct dwell_context *ret_context);

/* The context of the thread's current span. False, and all zero, when there is none. */
DWELL_API bool dwell_span_current(dwell_t *dwell, struct dwell_context *ret_context);

/*
 * Writes headers by `set`. `context` NULL: that of the thread's current span. Without a span in it
 * B3 says the decision alone, if there is one; else nothing is written. Needs no handle if there is a
 * context. `formats`: DWELL_PROPAGATION_…
 */
DWELL_API void dwell_inject(dwell_t *dwell, const struct dwell_context *context, unsigned formats,
                            dwell_set_fn set, void *arg);

/*
 * Reads headers by `get`: traceparent before b3 before X-B3-…, the first good one counts. Formats
 * for B3 take both of its forms. False when nothing good was there: the context, all zero, then
 * begins a new trace. A B3 decision without a span is good.
 */
DWELL_API bool dwell_extract(unsigned formats, dwell_get_fn get, void *arg,
                             struct dwell_context *ret_context);

/* A dwell_get_fn that looks into a struct dwell_headers, small and capital letters being the same. */
DWELL_API const char *dwell_header_find(void *headers, const char *name);

/*
 * Makes a budget; `options` NULL: every default. With a NULL handle it is kept to as any other, and
 * records nothing. False when options are out of range or a text is too long: it then is a budget
 * without limits, as if all of its bytes were zero.
 */
DWELL_API bool dwell_budget_init(dwell_t *dwell, struct dwell_budget *budget,
                                 const struct dwell_budget_options *options);

/* An operation of a layer (or DWELL_LAYER_TOTAL) begins. A layer that there is not: a no-op. */
DWELL_API void dwell_budget_start(struct dwell_budget *budget, unsigned layer);

/*
 * One ends: returns what is to be said of the layer now, and sets *ret_elapsed_ms, unless NULL, to
 * the time it has taken since it was reset. Records, once the last operation that runs has ended,
 * what the layer has taken since its last record and what it had taken before that, with the name of that
 * operation (NULL: not said) and the thread's current span if that is sampled: where the daemon exports
 * traces, being over a budget shows in them.
 * If none runs, it is dwell_budget_check. Both calls cost some 30 ns beside their two clocks.
 */
DWELL_API enum dwell_verdict dwell_budget_stop(struct dwell_budget *budget, unsigned layer,
                                               const char *operation, double *ret_elapsed_ms);

/* The same of a layer as it is now, also while it runs. Records nothing. Without such a layer it is
 * within, after 0 ms. */
DWELL_API enum dwell_verdict dwell_budget_check(const struct dwell_budget *budget, unsigned layer,
                                                double *ret_elapsed_ms);

/* The ms that an operation of the layer has left, 0 or more; infinite without such a layer. */
DWELL_API double dwell_budget_remaining(const struct dwell_budget *budget, unsigned layer);

/*
 * When that time is over, in ns of CLOCK_MONOTONIC, for a call that takes an absolute time; may have
 * passed. If the layer does not run, as if it began now. UINT64_MAX without such a layer.
 */
DWELL_API uint64_t dwell_budget_deadline(const struct dwell_budget *budget, unsigned layer);

/*
 * Forgets the time of a layer, DWELL_LAYER_TOTAL or DWELL_LAYER_ALL, and operations that run. What
 * was recorded is not taken back.
 */
DWELL_API void dwell_budget_reset(struct dwell_budget *budget, unsigned layer);

/*
 * Sends what was recorded before the call and waits, at most timeout_ms (0 or less: not at all),
 * until the daemon has applied it; with options.acknowledge and a daemon that keeps a journal, until
 * it has it for good. Returns DWELL_OK when the daemon said so, then the records show in its next
 * answer; else DWELL_TIMEOUT or DWELL_UNCONFIRMED. Dropped records are not waited for.
 */
DWELL_API int dwell_flush(dwell_t *dwell, int timeout_ms);

/*
 * Fills as much of `ret_stats` as its `size` has room for. recorded - sent - dropped still waits.
 * Figures are read one after the other: they agree exactly only while nobody records or sends.
 */
DWELL_API void dwell_stats(dwell_t *dwell, struct dwell_stats *ret_stats);

/* The version of the library, "0.1.0"; static. */
DWELL_API const char *dwell_version(void);

#ifdef __cplusplus
}
#endif

#endif
