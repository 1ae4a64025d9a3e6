/*
 * The C client of dwelld. See dwell.h for what it promises and proto/WIRE.md for what it says.
 *
 * Happy path
 *  1. dwell_open maps all memory that will ever be needed, and starts the sending thread.
 *  2. A thread's first record claims a lane: a ring of bytes with one writer, this thread, and one
 *     reader, whoever sends.
 *  3. dwell_track_begin reads the clock; dwell_track_end reads it again, writes the encoded sample
 *     into the lane and publishes it with one store.
 *  4. Every 50 ms, or woken because 64 kB wait, the sending thread gathers what all lanes hold into
 *     one batch, gives its records their numbers, and writes it to the socket. After a second
 *     without records it dozes, and the next record wakes it.
 *  5. dwell_flush has it add a Flush, and waits for the daemon's Reply, then for acknowledgements.
 *  6. dwell_close stops the thread, sends the rest and a Goodbye itself, and unmaps everything.
 *  With options.acknowledge a batch goes through a ring of kept frames ("Kept frames"), and stays in
 *  it until the daemon acknowledges its records.
 *  A span is encoded into the caller's struct dwell_span as it comes about: dwell_span_start reads
 *  the clocks, makes ids and enters the span in the levels of the lane; dwell_span_end puts times
 *  and ids into the lane and what was encoded behind them, by one memcpy. From there on it is a
 *  record as any other.
 *  A layer of a struct dwell_budget is one word that dwell_budget_start and dwell_budget_stop change;
 *  the stop that ends its last operation writes a record into the lane.
 *
 * What can fail, and where it ends
 *  - No daemon, or it went away: the batch is kept, and sent from its start on the next connection
 *    (the daemon takes whole frames only, so nothing counts twice). Meanwhile lanes fill. After 10 s
 *    without a connection that lasted, what waits is given up and counted, every 50 ms.
 *  - The socket is full: the batch waits, lanes fill.
 *  - Nothing is acknowledged: kept frames fill their ring, then no batch is made, and lanes fill.
 *  - A lane is full: the new record is dropped and counted in the lane.
 *  - All lanes are taken: the thread uses the last, shared one, if it is free at once; else drop.
 *    There are no levels for its spans, so none of them is current.
 *  - A span is full: what does not fit is left out, and counted in the span.
 *  - A header makes no sense: there is no context in it, and a new trace begins.
 *  - The sending thread cannot be started: recording calls send, as with options.no_thread.
 *
 * Why lanes. Considered were (a) one buffer with a mutex: 8 ns when nobody else wants it, a cache
 * line that all threads pass around, and a wait for whoever was preempted inside; (b) a buffer for
 * each thread with an owner flag that the sending thread takes too: one atomic exchange, 2.7 ns, and
 * what is recorded while a batch is copied out must be dropped or waited for; (c) a ring for each
 * thread with one writer and one reader: a plain store with release order, 0.5 ns, and no state in
 * which the writer would have to wait. It costs a copy from ring to batch on the sending thread.
 * (c) won because of what cannot happen in it; begin and end now cost 9 ns beside the two clocks.
 *
 *      ring          tail                       head
 *                     v                          v
 *      | free ....... | record | record | record | free .... | skip |    its size is a power of two
 *                       ^ 8 bytes of head (model, length), body, rounded up to 8
 *
 *   head: bytes ever written, stored by the recording thread. tail: bytes ever taken, stored by the
 *   sending side. head - tail <= size. A record does not wrap: a skip fills the end of the ring.
 *   Full: the writer drops.
 *
 * Acknowledgements. Resent could be (a) records, batched anew, or (b) the frames that were sent, as they
 * were. With (a) nothing is stored twice, but every record has to bear its number, and lanes could not be
 * emptied. (b) costs a copy of what is sent anyway, and the daemon sees the very frame again: its first
 * number tells that it has it. (b) won. Before the daemon's answer to the hello nothing is sent, since
 * a daemon that knows no acknowledgements would count a frame twice.
 *
 * Numbers. WIRE.md wants calls numbered from 0, dropped ones too, and a batch's records consecutive.
 * Lanes know no common order, so numbers are given when a batch is made: `assembled` counts records
 * that were taken from lanes, lane drops are added when the batch's head is written:
 *
 *      first_sequence = assembled before this batch + lane drops      dropped = lane drops + given up
 *
 * Every call is then in exactly one of: assembled, lane drops; given up is a part of assembled. The
 * gap that the daemon sees before a batch is the lane drops since the last one and the records given
 * up in between, which is how much `dropped` grew: nothing shows as lost.
 *
 * Threads. `pumping` is held by whoever touches the socket and the batch: the sending thread
 * throughout, or without one whoever gets it. `lock` guards models, the sending thread's state and
 * the waiting of flushes. Lock order: all.lock, then handle->lock. Levels are the lane's thread's,
 * but for their tokens ("Current spans"). A layer's word is anybody's ("Time budgets").
 *
 * In this order: types; encoding; lanes, where threads record; evidence, samples, metrics; contexts
 * and spans; time budgets; propagation; batches, kept frames, connection and pumping, which are the
 * sending side; flushing; fork; open and close.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "dwell.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <locale.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef DWELL_VERSION
#define DWELL_VERSION "unversioned"
#endif

#define NS_PER_MS     UINT64_C(1000000)
#define NS_PER_SECOND UINT64_C(1000000000)

/* What an inference pays for a reading is this multiple of what was seen of it: it also finds caches
 * colder, and a usual cost is known of the readings before only. Measured beside none: 0.8 to 1.2. */
#define COST_MARGIN 1.25

#define FLUSH_NS         (50 * NS_PER_MS) /* longest wait of a record, if the socket takes it */
#define BACKOFF_MIN_NS   (10 * NS_PER_MS) /* a daemon that restarts is back in less than a second */
#define BACKOFF_MAX_NS   (5 * NS_PER_SECOND)
#define STEADY_NS        (1 * NS_PER_SECOND) /* a connection that lived so long was a good one */
#define DOZE_AFTER_NS    (1 * NS_PER_SECOND)
#define DOZE_NS          (3600 * NS_PER_SECOND)
#define NOT_GONE         UINT64_MAX /* the last daemon answered, and nobody looked in vain since */
#define AWAITED_RETRY_NS (20 * NS_PER_MS) /* while dwell_flush waits */

enum {
    HANDLES_MAX = 16,
    NAME_MAX_BYTES = 256,
    TEXT_BYTES = 256,
    PATHS_MAX = 3,
    PATH_BYTES = sizeof(((struct sockaddr_un *)NULL)->sun_path),
    CLIENT_ID_BYTES = 16,
    TRACE_ID_BYTES = 16,
    SPAN_ID_BYTES = 8,
    CACHE_LINE = 64,

    RECORD_HEAD_BYTES = 8,
    RECORD_BODY_MAX = 16384,
    PLAIN_BYTES = RECORD_HEAD_BYTES + 8,
    PLAIN_BODY_BYTES = 11, /* encoded: time 9, error 2 */
    MEASURED_BYTES = 136,  /* time, error and all evidence: at most 135 */
    NUMBERS_BYTES = 256,   /* all of a sample but its texts: at most 234 */

    BATCH_BYTES = 65536,   /* a whole frame; larger ones gain under 5 % */
    BATCH_HEAD_BYTES = 64, /* length, client_id, first_sequence, dropped: at most 44 */
    BATCH_TAIL_BYTES = 16, /* Flush 2, Goodbye 13 */
    STRINGS_MAX = 4096,    /* in a batch; WIRE.md */
    BATCHES_AT_ONCE = 64,  /* of the sending thread, before it looks around */
    BATCHES_OF_CALLER = 4, /* of a recording call without sending thread */
    WAKE_BYTES = 65536,    /* in one lane */
    PREAMBLE_BYTES = 1280, /* magic, hello: five texts of at most 255 bytes each */
    REPLY_BYTES = 4096,    /* the longest reply that is understood */
    KEPT_HEAD_BYTES = 32,
    KEPT_MOST = KEPT_HEAD_BYTES + BATCH_BYTES, /* of a kept frame in its ring */
    SHARED_TRIES = 64, /* looks at the shared lane before a record is dropped */
    CALIBRATIONS = 5,
    DISK_BLOCK_BYTES = 512, /* what getrusage counts in, whatever the disk has */
    COST_OUTLIER = 4,       /* a reading that was interrupted counts as this many usual ones */

    SENDER_STACK_BYTES = 256 * 1024,

    LEVELS_MAX = 64,      /* spans of a thread in one another: deeper than code that people wrote */
    RANDOM_BYTES = 256,   /* of a lane: what getrandom gives whole, 32 ids at 10 ns each */
    SPAN_PARTS_MAX = 128, /* attributes, events, links; attributes of these */
    SPAN_FIXED_BYTES = 128,     /* what is of one number each: at most 109 */
    STATUS_FIXED_BYTES = 12,    /* a status without its message: at most 10 */
    TEXT_PAIR_FIXED_BYTES = 40, /* an attribute of an exception without its value: at most 34 */
    SAMPLE_IDS_BYTES = 32,      /* trace and span of a sample: 28 */
    BUDGET_FIXED_BYTES = 72,    /* a record of a budget without its texts: at most 65 */
    TRACEPARENT_BYTES = 55,
    HEADER_NAME_BYTES = 16, /* the longest that is looked for: "X-B3-TraceId" */
};

/* In the place of a record's length. A plain record, time and whether it failed, is what most are:
 * its body is the nanoseconds, and the sending side encodes them. */
#define LENGTH_SKIP         UINT32_MAX
#define LENGTH_PLAIN        (UINT32_MAX - 1)
#define LENGTH_PLAIN_FAILED (UINT32_MAX - 2)

/* In the place of a model's reference: the record is no sample but a metric, a span or a budget. */
#define REF_METRIC UINT32_MAX
#define REF_SPAN   (UINT32_MAX - 1)
#define REF_BUDGET (UINT32_MAX - 2)
#define REF_OTHERS REF_BUDGET /* from here on it is none of a model */

/* Field numbers of proto/dwell.proto. */
enum {
    BATCH_CLIENT_ID = 1,
    BATCH_FIRST_SEQUENCE = 2,
    BATCH_DROPPED = 3,
    BATCH_STRINGS = 4,
    BATCH_SAMPLE = 8,
    BATCH_HELLO = 9,
    BATCH_FLUSH = 10,
    BATCH_GOODBYE = 11,
    BATCH_SPAN = 13,
    BATCH_METRIC = 14,
    BATCH_BUDGET = 15,

    SAMPLE_MODEL_NAME = 1,
    SAMPLE_MODEL_REF = 2,
    SAMPLE_EXECUTION_TIME = 3,
    SAMPLE_CPU_DURING = 4,
    SAMPLE_MEMORY_AFTER = 5,
    SAMPLE_CPU_BEFORE = 6,
    SAMPLE_MEMORY_BEFORE = 7,
    SAMPLE_ERROR = 8,
    SAMPLE_QUEUE = 9,
    SAMPLE_BATCH_SIZE = 10,
    SAMPLE_DEVICE = 11,
    SAMPLE_TRACE_ID = 12,
    SAMPLE_SPAN_ID = 13,
    SAMPLE_TIMESTAMP = 14,
    SAMPLE_LABEL = 15,
    SAMPLE_ERROR_TEXT = 16,
    SAMPLE_USER = 17,
    SAMPLE_SYSTEM = 18,
    SAMPLE_RUNQUEUE = 19,
    SAMPLE_MINOR_FAULTS = 20,
    SAMPLE_MAJOR_FAULTS = 21,
    SAMPLE_SWITCHES = 22,
    SAMPLE_BYTES_MOVED = 23,
    SAMPLE_FLOPS = 24,
    SAMPLE_THREADS = 25,
    SAMPLE_PROCESS_CPU = 26,
    SAMPLE_INVOLUNTARY_SWITCHES = 27,
    SAMPLE_DISK_BYTES = 28,
    SAMPLE_THREAD_ID = 29,

    LABEL_KEY = 1,
    LABEL_VALUE = 2,

    METRIC_NAME = 1,
    METRIC_OP = 3,
    METRIC_VALUE = 4,
    METRIC_ATTRIBUTE = 5,
    METRIC_UNIT = 6,
    METRIC_AGGREGATION = 7,
    METRIC_TRACE_ID = 8,
    METRIC_SPAN_ID = 9,
    METRIC_TIMESTAMP = 10,

    ATTRIBUTE_KEY = 1,
    ATTRIBUTE_VALUE = 3,

    SPAN_TRACE_ID = 1,
    SPAN_SPAN_ID = 2,
    SPAN_TRACE_STATE = 3,
    SPAN_PARENT_SPAN_ID = 4,
    SPAN_NAME = 5,
    SPAN_KIND = 6,
    SPAN_START_TIME = 7,
    SPAN_END_TIME = 8,
    SPAN_ATTRIBUTES = 9,
    SPAN_DROPPED_ATTRIBUTES = 10,
    SPAN_EVENTS = 11,
    SPAN_DROPPED_EVENTS = 12,
    SPAN_LINKS = 13,
    SPAN_DROPPED_LINKS = 14,
    SPAN_STATUS = 15,
    SPAN_FLAGS = 16,
    SPAN_PART = 100,
    SPAN_SERVICE_NAME = 101,

    PAIR_KEY = 1, /* of a KeyValue */
    PAIR_VALUE = 2,

    ANY_TEXT = 1, /* of an AnyValue */
    ANY_BOOL = 2,
    ANY_INT = 3,
    ANY_DOUBLE = 4,
    ANY_ARRAY = 5,

    ARRAY_VALUES = 1,

    EVENT_TIME = 1,
    EVENT_NAME = 2,
    EVENT_ATTRIBUTES = 3,

    LINK_TRACE_ID = 1,
    LINK_SPAN_ID = 2,
    LINK_TRACE_STATE = 3,
    LINK_ATTRIBUTES = 4,
    LINK_FLAGS = 6,

    STATUS_MESSAGE = 2,
    STATUS_CODE = 3,

    BUDGET_LAYER = 1,
    BUDGET_ELAPSED = 2,
    BUDGET_OPERATION = 3,
    BUDGET_REQUEST_ID = 4,
    BUDGET_TRACE_ID = 5,
    BUDGET_SPAN_ID = 6,
    BUDGET_TIMESTAMP = 7,
    BUDGET_FLAGS = 8,
    BUDGET_BEFORE = 9,

    HELLO_SERVICE_NAME = 1,
    HELLO_SERVICE_VERSION = 2,
    HELLO_PID = 3,
    HELLO_HASH = 4,
    HELLO_CLIENT = 5,
    HELLO_ACKNOWLEDGE = 6,

    GOODBYE_SEQUENCE = 1,

    REPLY_FLUSHED = 1,
    REPLY_ACKNOWLEDGED = 2,
    REPLY_ACKNOWLEDGING = 5,
};

enum span_part { PART_WHOLE = 0, PART_START = 1, PART_END = 2 };

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* What a thread has used so far. */
struct reading {
    uint64_t cpu_ns;
    uint64_t user_us;
    uint64_t system_us;
    uint64_t minor_faults;
    uint64_t major_faults;
    uint64_t switches;
    uint64_t involuntary_switches;
    uint64_t disk_bytes; /* read and written */
    uint64_t runqueue_ns;
    uint64_t runqueue_known; /* level full, and the kernel has schedstat */
    uint64_t process_cpu_ns; /* of all threads; level full */
};

/* What struct dwell_track holds. */
struct __attribute__((may_alias)) tracking {
    const struct dwell_model *model; /* NULL: nothing to end */
    uint64_t start_ns;
    struct lane *lane;   /* where `before` was taken, or NULL without evidence */
    uint64_t generation; /* of the handle at that time */
    struct reading before;
};

_Static_assert(sizeof(struct tracking) <= sizeof(struct dwell_track), "fits the caller's struct");
_Static_assert(_Alignof(struct tracking) <= _Alignof(struct dwell_track), "aligned as it");

/* Which span, of which trace. */
struct ids {
    uint8_t trace_id[TRACE_ID_BYTES];
    uint8_t span_id[SPAN_ID_BYTES];
    uint32_t flags; /* DWELL_CONTEXT_… */
};

/* What struct dwell_span holds. */
struct __attribute__((may_alias)) spanning {
    struct dwell *dwell;     /* NULL: nothing is recorded, or it has ended */
    uint64_t generation;     /* of the handle at the start */
    struct lane *lane;       /* on which it is or was current, or NULL */
    uint64_t token;          /* in its level there */
    uint64_t wall_offset_ns; /* what to add to the monotonic clock */
    uint64_t start_unix_nano;
    uint64_t exception; /* hash of the last one, or 0 */
    uint8_t *memory;    /* the caller's, or NULL: inline_bytes */
    struct ids ids;
    uint8_t parent_id[SPAN_ID_BYTES]; /* all zero: a root */
    uint32_t level;
    uint32_t capacity; /* of the bytes: below 16384 */
    uint32_t used;
    uint32_t name_bytes;
    uint32_t state_at; /* of the trace state's text */
    uint32_t state_bytes;
    uint32_t prefix_bytes;
    uint32_t attributes;
    uint32_t events;
    uint32_t links;
    uint32_t dropped_attributes;
    uint32_t dropped_events;
    uint32_t dropped_links;
    uint8_t kind;
    uint8_t status;
    bool status_kept; /* among the bytes */
    bool halves;
    uint8_t inline_bytes[];
};

enum { INLINE_BYTES = DWELL_SPAN_BYTES - sizeof(struct spanning) };

_Static_assert(_Alignof(struct spanning) <= _Alignof(struct dwell_span), "aligned as it");
_Static_assert(INLINE_BYTES >= 1800, "what dwell.h promises");

/* A layer of a budget, or its total. */
struct budget_layer {
    _Atomic uint64_t word;        /* how many operations run, and the time: "Time budgets" */
    _Atomic uint64_t recorded_ns; /* of its time */
    uint64_t budget_ns;           /* of the total 0: there is no budget */
    uint64_t soft_limit_ns;
    bool strict;
    uint8_t name_bytes;
    char name[DWELL_BUDGET_NAME_MAX];
};

/* What struct dwell_budget holds. */
struct __attribute__((may_alias)) budgeting {
    struct dwell *dwell; /* NULL: nothing is recorded */
    uint32_t layer_count;
    uint32_t request_id_bytes;
    struct budget_layer total;
    struct budget_layer layers[DWELL_BUDGET_LAYERS_MAX];
    char request_id[DWELL_BUDGET_REQUEST_ID_MAX];
};

_Static_assert(sizeof(struct budgeting) <= sizeof(struct dwell_budget), "fits the caller's struct");
_Static_assert(_Alignof(struct budgeting) <= _Alignof(struct dwell_budget), "aligned as it");

/* A span that is or was current on a thread. */
struct level {
    _Atomic uint64_t token;  /* 0: it has ended */
    uint64_t wall_offset_ns; /* what to add to the monotonic clock */
    struct ids ids;
    uint32_t state_bytes;
    char state[DWELL_TRACE_STATE_MAX];
};

struct lane {
    /* Written by the recording thread. */
    _Alignas(CACHE_LINE) _Atomic uint64_t head;
    uint64_t next;      /* where the record being written begins: head, or after a skip */
    uint64_t tail_seen; /* tail as it was last looked at: free space is at least what it says */
    uint8_t *ring;
    uint64_t *since; /* by model: 0 before the first evidence, else 1 + ns of inferences since */
    _Atomic uint64_t recorded;
    _Atomic uint64_t dropped;
    _Atomic uint64_t evidence;
    uint64_t cost_ns;     /* of the evidence of one inference, smoothed */
    uint64_t due_ns;      /* inference time after which that cost is within its share */
    uint64_t bias_ns;     /* CPU time that the readings themselves add */
    uint64_t thread_id;   /* of the owning thread, for evidence */
    int schedstat_fd;     /* of it, or -1 */
    uint32_t depth;       /* levels in use */
    uint32_t random_left; /* bytes of `random` that were not used: from its beginning */
    uint64_t tokens;      /* the last one given out */
    struct level *levels; /* LEVELS_MAX; NULL in the shared lane */
    uint8_t random[RANDOM_BYTES];

    /* Written by the sending side. */
    _Alignas(CACHE_LINE) _Atomic uint64_t tail;
    uint64_t flush_target; /* head when a flush was asked for */

    /* Written when a thread comes or goes; of the shared lane: held while a record is written. */
    _Alignas(CACHE_LINE) atomic_bool owned;
};

struct dwell_model {
    struct dwell *dwell;
    uint32_t index;
    uint32_t name_bytes;
    uint64_t hash;
    char name[NAME_MAX_BYTES];
};

/* The place of a model in the string table of the batch being made. */
struct batch_ref {
    uint64_t batch;
    uint32_t ref;
};

enum mode {
    MODE_UNSTARTED, /* the sending thread is still to be started: at open, and after a fork */
    MODE_THREAD,
    MODE_CALLER, /* recording calls send */
};

/* What is on its way out: the greeting of a connection, then one batch, or a kept frame. */
struct outgoing {
    uint8_t preamble[PREAMBLE_BYTES];
    size_t preamble_bytes;
    uint8_t *kept; /* in its ring */
    size_t kept_bytes;
    uint8_t head[BATCH_HEAD_BYTES];
    size_t head_bytes; /* 0: there is no batch */
    uint8_t *strings;
    size_t strings_bytes;
    uint8_t *records;
    size_t records_bytes;
    size_t sent_bytes; /* of all of these together */

    uint64_t batch; /* number of the batch, for struct batch_ref */
    uint32_t string_count;
    uint64_t record_count;
    uint64_t first;   /* number of its first record */
    uint64_t dropped; /* calls given up before it */
    bool has_flush;
};

/* What the daemon said to a hello that asks for acknowledgements. */
enum answer { ANSWER_NONE, ANSWER_YES, ANSWER_NO };

/* Frames that are not acknowledged; drawn at "Kept frames". */
struct kept {
    uint8_t *ring;
    uint64_t bytes; /* of the ring; 0: none are asked for */
    uint64_t tail, next, fresh, head;
    uint64_t acknowledged; /* on this connection: records below this number are the daemon's */
    enum answer answer;    /* likewise */
    bool greets;           /* the answer to the greeting's Flush is still to come */
};

struct dwell {
    /* Constant after open, but for the generation, which changes in the child of a fork. */
    uint64_t generation; /* never 0, never the same for two handles or after a fork */
    uint32_t index;      /* in all.open */
    enum dwell_evidence evidence;
    double cost_factor; /* inference time that pays for a reading, as a multiple of its cost */
    uint64_t ring_bytes;
    uint32_t lane_count; /* without the shared one, which is lanes[lane_count] */
    uint32_t models_max;
    struct lane *lanes;
    struct dwell_model *models;
    struct batch_ref *refs;
    uint64_t page_bytes;
    uint64_t keep_ns;
    uint64_t close_timeout_ns;
    size_t map_bytes;
    bool threaded; /* a sending thread is wanted */
    bool sample_all;
    uint64_t sample_bound; /* a trace whose low half is below it is sampled */
    uint32_t attributes_max;
    uint32_t events_max;
    uint32_t links_max;
    unsigned path_count;
    char paths[PATHS_MAX][PATH_BYTES];
    bool private_path[PATHS_MAX]; /* anybody could have made the directory: look whose it is */
    char service_name[TEXT_BYTES];
    char service_version[TEXT_BYTES];
    char constitutional_hash[TEXT_BYTES];
    int statm_fd; /* or -1 */

    /* Shared by recording threads and the sending side. */
    _Alignas(CACHE_LINE) _Atomic int mode;
    atomic_bool dozing;            /* the sending thread waits for the next record */
    atomic_bool muted;             /* do not wake: it was done, or would not help */
    _Atomic uint32_t lanes_used;   /* lanes before this one were ever claimed */
    _Atomic uint32_t lanes_free;   /* a hint */
    _Atomic uint64_t crowded;      /* records dropped because the shared lane was busy */
    _Atomic uint64_t last_pump_ns; /* without sending thread */
    _Atomic uint64_t weak;         /* of ids that the kernel has no bits for */
    int wake_fd;

    /* Under `lock`. */
    _Alignas(CACHE_LINE) pthread_mutex_t lock;
    pthread_cond_t flushed; /* flush_done has grown */
    uint32_t model_count;
    _Atomic uint64_t flush_wanted; /* tickets given out; not under `lock` */
    _Atomic uint32_t awaiting;     /* calls of dwell_flush in progress; not under `lock` */
    uint64_t flush_done;           /* tickets up to this one are answered */
    uint64_t flush_failed;         /* and up to this one with DWELL_UNCONFIRMED */
    pthread_t sender;
    atomic_bool stop;

    /* Held while the rest is touched. */
    _Alignas(CACHE_LINE) atomic_bool pumping;
    uint8_t client_id[CLIENT_ID_BYTES];
    int socket; /* or -1 */
    uint64_t connected_ns;
    uint64_t gone_ns;  /* since when there is no lasting connection; or NOT_GONE */
    uint64_t retry_ns; /* not before, unless a flush waits */
    uint64_t tried_ns;
    uint64_t backoff_ns;
    uint64_t random;
    struct outgoing out;
    struct kept kept;
    uint32_t next_lane;   /* to be gathered first, in turn */
    uint64_t flush_open;  /* ticket whose targets are set and whose Flush is not in a batch; or 0 */
    uint64_t flush_asked; /* newest ticket that was ever open */
    uint64_t flush_flying; /* ticket whose Flush is in a batch or sent; or 0 */
    uint64_t flush_mark;   /* conn_sent when that Flush was sent */
    uint64_t flush_kept;   /* end of the kept frames that were sent before it */
    bool flush_heard;      /* its answer came: acknowledgements may be missing */
    uint64_t conn_sent;    /* records on this connection */
    uint64_t conn_confirmed;
    uint8_t reply[REPLY_BYTES];
    size_t reply_bytes;
    bool closing;      /* dwell_close is at work: a Goodbye is wanted after the last record */
    bool said_goodbye; /* it is in a batch, or sent on this connection */

    /* Written by the holder of `pumping`, read by anyone. */
    _Atomic uint64_t assembled;
    _Atomic uint64_t given_up;
    _Atomic uint64_t sent;
    _Atomic uint64_t unconfirmed;
    _Atomic uint64_t batches;
    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t connections;
    _Atomic uint64_t acknowledged;
    _Atomic uint64_t resent;
    atomic_bool connected;
};

/* Every open handle of the process: for forks and for threads that end. */
static struct {
    pthread_once_t once;
    bool ready; /* key and fork handlers are there */
    pthread_key_t key;
    pthread_mutex_t lock;
    uint64_t generations;
    struct dwell *open[HANDLES_MAX];
} all = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

/* What OTEL_PROPAGATORS said: of the process, since contexts are passed on without a handle, too. */
static atomic_uint default_formats = DWELL_PROPAGATION_B3;

/* Where this thread records, by handle. */
struct place {
    uint64_t generation; /* of the handle; in the child of a fork its complement until the thread
                            records: the lane has its spans */
    struct lane *lane;
};

/* Read on every record. With glibc a fixed offset from the thread pointer will do, since 256 bytes
 * fit what it keeps for libraries that are loaded later; elsewhere that would refuse to load. */
#if defined(__GLIBC__)
static _Thread_local struct place places[HANDLES_MAX] __attribute__((tls_model("initial-exec")));
#else
static _Thread_local struct place places[HANDLES_MAX];
#endif

/* ---- Small things ---- */

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static inline uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* For counters with one writer at a time: no locked instruction. */
static inline void add(_Atomic uint64_t *counter, uint64_t amount)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

static inline uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline uint64_t less_or_zero(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

static inline uint64_t padded(uint64_t bytes)
{
    return (bytes + 7) & ~UINT64_C(7);
}

static inline uint64_t at_most(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Callers see neither errno nor cancellation from what happens in between. */
struct calm {
    int saved_errno;
    int cancel_state;
};

static struct calm calm_begin(void)
{
    struct calm calm = {.saved_errno = errno};
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &calm.cancel_state);
    return calm;
}

static void calm_end(struct calm calm)
{
    pthread_setcancelstate(calm.cancel_state, NULL);
    errno = calm.saved_errno;
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static uint64_t random_next(struct dwell *dwell)
{
    /* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators"). */
    dwell->random ^= dwell->random >> 12;
    dwell->random ^= dwell->random << 25;
    dwell->random ^= dwell->random >> 27;
    return dwell->random * 0x2545F4914F6CDD1DULL;
}

static void identity_make(struct dwell *dwell)
{
    uint64_t halves[2];
    if (getrandom(halves, sizeof halves, GRND_NONBLOCK) != (ssize_t)sizeof halves) {
        /* Early at boot, or forbidden. Two clients with one id would only confuse the ledger. */
        halves[0] = clock_ns(CLOCK_REALTIME) * 0x9E3779B97F4A7C15ULL;
        halves[1] =
            ((uint64_t)getpid() << 32 ^ now_ns()) * 0xD1B54A32D192ED03ULL + dwell->generation;
    }
    memcpy(dwell->client_id, halves, sizeof dwell->client_id);
    atomic_store(&dwell->weak, halves[0] ^ (halves[1] << 32 | halves[1] >> 32));
    dwell->random = halves[0] | 1;
}

/* ---- Encoding (proto/dwell.proto). The caller has seen to room. ---- */

static inline uint8_t *put_varint(uint8_t *out, uint64_t number)
{
    while (number >= 0x80) {
        *out++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *out++ = (uint8_t)number;
    return out;
}

static inline uint8_t *put_tag(uint8_t *out, unsigned field, enum wire_type type)
{
    return put_varint(out, field << 3 | (unsigned)type);
}

static inline uint8_t *put_fixed64(uint8_t *out, unsigned field, uint64_t number)
{
    out = put_tag(out, field, WIRE_FIXED64);
    number = htole64(number);
    memcpy(out, &number, sizeof number);
    return out + sizeof number;
}

static inline uint8_t *put_fixed32(uint8_t *out, unsigned field, uint32_t number)
{
    out = put_tag(out, field, WIRE_FIXED32);
    number = htole32(number);
    memcpy(out, &number, sizeof number);
    return out + sizeof number;
}

static inline uint8_t *put_double(uint8_t *out, unsigned field, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return put_fixed64(out, field, bits);
}

static inline uint8_t *put_number(uint8_t *out, unsigned field, uint64_t number)
{
    return put_varint(put_tag(out, field, WIRE_VARINT), number);
}

static inline uint8_t *put_bytes(uint8_t *out, unsigned field, const void *bytes, size_t len)
{
    out = put_varint(put_tag(out, field, WIRE_BYTES), len);
    memcpy(out, bytes, len);
    return out + len;
}

/* A number that is only there if it is not 0. */
static inline uint8_t *put_count(uint8_t *out, unsigned field, uint64_t number)
{
    return number != 0 ? put_number(out, field, number) : out;
}

static uint8_t *put_text(uint8_t *out, unsigned field, const char *text)
{
    return text[0] != '\0' ? put_bytes(out, field, text, strlen(text)) : out;
}

static void put_frame_length(uint8_t *out, size_t len)
{
    uint32_t little = htole32((uint32_t)len);
    memcpy(out, &little, sizeof little);
}

static unsigned varint_bytes(uint64_t number)
{
    unsigned len = 1;
    while (number >= 0x80) {
        number >>= 7;
        len++;
    }
    return len;
}

/* ---- Lanes: the side of the recording thread ---- */

static void sender_ensure(struct dwell *dwell);
static void lane_calibrate(const struct dwell *dwell, struct lane *lane);

/* A lane that was this thread's before a fork, and is to be prepared at the next record. */
static inline bool place_is_inherited(const struct dwell *dwell, const struct place *place)
{
    return place->generation == ~dwell->generation;
}

/* The lane that this thread has now, or NULL. */
static inline struct lane *lane_known(const struct dwell *dwell)
{
    const struct place *place = &places[dwell->index];
    bool known = place->generation == dwell->generation || place_is_inherited(dwell, place);
    return known ? place->lane : NULL;
}

/* A thread that ends gives its lanes back; what is in them is still sent. */
static void thread_ended(void *arg)
{
    struct place *ended = arg;
    pthread_mutex_lock(&all.lock);
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        struct dwell *dwell = all.open[i];
        struct lane *lane = ended[i].lane;
        if (dwell != NULL && lane != NULL &&
            (ended[i].generation == dwell->generation || place_is_inherited(dwell, &ended[i]))) {
            close_fd(&lane->schedstat_fd);
            atomic_store_explicit(&lane->owned, false, memory_order_release);
            atomic_fetch_add_explicit(&dwell->lanes_free, 1, memory_order_relaxed);
        }
        ended[i] = (struct place){0};
    }
    pthread_mutex_unlock(&all.lock);
}

static struct lane *lane_claim_free(struct dwell *dwell)
{
    for (uint32_t i = 0; i < dwell->lane_count; i++) {
        struct lane *lane = &dwell->lanes[i];
        bool owned = atomic_load_explicit(&lane->owned, memory_order_relaxed);
        if (owned || !atomic_compare_exchange_strong_explicit(
                         &lane->owned, &owned, true, memory_order_acquire, memory_order_relaxed)) {
            continue;
        }
        atomic_fetch_sub_explicit(&dwell->lanes_free, 1, memory_order_relaxed);
        uint32_t used = atomic_load(&dwell->lanes_used);
        while (used < i + 1 && !atomic_compare_exchange_weak(&dwell->lanes_used, &used, i + 1)) {
        }
        lane->depth = 0; /* spans that the last thread left open are not this one's */
        return lane;
    }
    return NULL;
}

/* The first record of a thread on a handle, the first after a fork, and every record of a thread
 * for which no lane was left. */
static struct lane *lane_claim(struct dwell *dwell, struct place *place)
{
    bool crowded = place->generation == dwell->generation &&
                   atomic_load_explicit(&dwell->lanes_free, memory_order_relaxed) == 0 &&
                   atomic_load_explicit(&dwell->mode, memory_order_relaxed) != MODE_UNSTARTED;
    if (crowded) {
        return NULL;
    }
    struct calm calm = calm_begin();
    sender_ensure(dwell);
    struct lane *lane = place_is_inherited(dwell, place) ? place->lane : lane_claim_free(dwell);
    if (lane != NULL && pthread_setspecific(all.key, places) != 0) {
        /* Nobody would give it back. */
        atomic_store_explicit(&lane->owned, false, memory_order_release);
        atomic_fetch_add_explicit(&dwell->lanes_free, 1, memory_order_relaxed);
        lane = NULL;
    }
    place->generation = dwell->generation;
    place->lane = lane;
    if (lane != NULL && dwell->evidence != DWELL_EVIDENCE_NONE) {
        lane->thread_id = (uint64_t)syscall(SYS_gettid);
        if (dwell->evidence == DWELL_EVIDENCE_FULL) {
            lane->schedstat_fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
        }
        lane_calibrate(dwell, lane);
    }
    calm_end(calm);
    return lane;
}

/* The lane of this thread, or NULL when there is none left for it. */
static inline struct lane *lane_of_thread(struct dwell *dwell)
{
    struct place *place = &places[dwell->index];
    if (place->generation == dwell->generation && place->lane != NULL) {
        return place->lane;
    }
    return lane_claim(dwell, place);
}

static struct lane *shared_lane_take(struct dwell *dwell)
{
    struct lane *lane = &dwell->lanes[dwell->lane_count];
    for (int i = 0; i < SHARED_TRIES; i++) {
        if (!atomic_load_explicit(&lane->owned, memory_order_relaxed) &&
            !atomic_exchange_explicit(&lane->owned, true, memory_order_acquire)) {
            return lane;
        }
    }
    return NULL;
}

static inline bool lane_is_shared(const struct dwell *dwell, const struct lane *lane)
{
    return lane == &dwell->lanes[dwell->lane_count];
}

static inline void head_put(uint8_t *at, uint32_t len, uint32_t ref)
{
    uint64_t head = (uint64_t)ref << 32 | len;
    memcpy(at, &head, sizeof head);
}

/* Room for a record of at most `need` bytes, a multiple of 8, or NULL when the lane is full. */
static inline uint8_t *lane_reserve(const struct dwell *dwell, struct lane *lane, uint64_t need)
{
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_relaxed);
    uint64_t at = head & (dwell->ring_bytes - 1);
    uint64_t skip = at + need > dwell->ring_bytes ? dwell->ring_bytes - at : 0;
    if (head + skip + need - lane->tail_seen > dwell->ring_bytes) {
        lane->tail_seen = atomic_load_explicit(&lane->tail, memory_order_acquire);
        if (head + skip + need - lane->tail_seen > dwell->ring_bytes) {
            return NULL;
        }
    }
    if (skip > 0) {
        head_put(lane->ring + at, LENGTH_SKIP, 0);
        at = 0;
    }
    lane->next = head + skip;
    return lane->ring + at;
}

/* True when so much waits in the lane that the sending thread should not sleep on. */
static inline bool lane_is_heavy(struct lane *lane)
{
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_relaxed);
    if (head - lane->tail_seen < WAKE_BYTES) {
        return false;
    }
    lane->tail_seen = atomic_load_explicit(&lane->tail, memory_order_acquire);
    return head - lane->tail_seen >= WAKE_BYTES;
}

static void caller_pump(struct dwell *dwell, bool heavy);

static void sender_wake(struct dwell *dwell)
{
    struct calm calm = calm_begin();
    uint64_t one = 1;
    /* Fails only when the counter is full: then it is awake anyway. */
    (void)!write(dwell->wake_fd, &one, sizeof one);
    calm_end(calm);
}

static void doze_end(struct dwell *dwell)
{
    if (atomic_exchange(&dwell->dozing, false)) {
        sender_wake(dwell);
    }
}

static inline void record_written(struct dwell *dwell, bool heavy)
{
    /* The record must be visible before the flag is looked at, or both sides could miss each other:
     * for the compiler here, for the CPU in sender_doze. */
    atomic_signal_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&dwell->dozing, memory_order_relaxed)) {
        doze_end(dwell);
        return;
    }
    if (heavy && !atomic_load_explicit(&dwell->muted, memory_order_relaxed) &&
        !atomic_exchange_explicit(&dwell->muted, true, memory_order_relaxed)) {
        if (atomic_load_explicit(&dwell->mode, memory_order_relaxed) == MODE_THREAD) {
            sender_wake(dwell);
            return;
        }
        caller_pump(dwell, true);
    } else if (atomic_load_explicit(&dwell->mode, memory_order_relaxed) == MODE_CALLER) {
        caller_pump(dwell, false);
    }
}

/* A record being written. */
struct entry {
    struct lane *lane;
    uint8_t *start; /* of its head */
};

/* Publishes the record of `bytes`, a multiple of 8, that was written where lane_reserve said. */
static inline void lane_publish(struct dwell *dwell, struct lane *lane, uint64_t bytes)
{
    atomic_store_explicit(&lane->head, lane->next + bytes, memory_order_release);
    bool heavy = lane_is_heavy(lane);
    if (lane_is_shared(dwell, lane)) {
        atomic_store_explicit(&lane->owned, false, memory_order_release);
    }
    record_written(dwell, heavy);
}

/* Counts a record for which there was no room. */
static void lane_drop(struct dwell *dwell, struct lane *lane)
{
    add(&lane->dropped, 1);
    lane->next = atomic_load_explicit(&lane->head, memory_order_relaxed);
    lane_publish(dwell, lane, 0);
}

/* Room for a body of at most `body_max` bytes: where it begins, or NULL when the record is dropped,
 * which is then counted. */
static uint8_t *entry_begin(struct dwell *dwell, struct entry *entry, uint64_t body_max)
{
    struct lane *lane = lane_of_thread(dwell);
    if (lane == NULL) {
        lane = shared_lane_take(dwell);
        if (lane == NULL) {
            atomic_fetch_add_explicit(&dwell->crowded, 1, memory_order_relaxed);
            return NULL;
        }
    }
    add(&lane->recorded, 1);
    entry->lane = lane;
    entry->start = body_max > RECORD_BODY_MAX
                       ? NULL
                       : lane_reserve(dwell, lane, RECORD_HEAD_BYTES + padded(body_max));
    if (entry->start == NULL) {
        lane_drop(dwell, lane);
        return NULL;
    }
    return entry->start + RECORD_HEAD_BYTES;
}

/* Publishes the record whose body ends at `end`. `ref`: 1 + index of its model, or 0. */
static void entry_end(struct dwell *dwell, struct entry *entry, const uint8_t *end, uint32_t ref)
{
    uint64_t body_bytes = (uint64_t)(end - entry->start) - RECORD_HEAD_BYTES;
    head_put(entry->start, (uint32_t)body_bytes, ref);
    lane_publish(dwell, entry->lane, RECORD_HEAD_BYTES + padded(body_bytes));
}

/* ---- Evidence ---- */

/* The second number of a line such as "1234 5678 90", in files that are kept open:
 *                                            ^^^^
 * of schedstat the ns that the thread was ready without a CPU, of statm the resident pages. */
static int read_second_number(int fd, uint64_t *ret_number)
{
    char text[128];
    int saved_errno = errno;
    ssize_t len = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    errno = saved_errno;
    if (len <= 0) {
        return -1;
    }
    text[len] = '\0';
    const char *at = strchr(text, ' ');
    if (at == NULL) {
        return -1;
    }
    uint64_t number = 0;
    for (at++; *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (uint64_t)(*at - '0');
    }
    *ret_number = number;
    return 0;
}

static void reading_take(const struct dwell *dwell, const struct lane *lane,
                         struct reading *ret_reading)
{
    /* The thread clock comes first: reading it brings up to date what getrusage and schedstat show.
     * The clock of the process right behind it spans the same time. */
    struct rusage usage;
    ret_reading->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    ret_reading->process_cpu_ns =
        dwell->evidence == DWELL_EVIDENCE_FULL ? clock_ns(CLOCK_PROCESS_CPUTIME_ID) : 0;
    getrusage(RUSAGE_THREAD, &usage); /* cannot fail with this argument */
    ret_reading->user_us =
        (uint64_t)usage.ru_utime.tv_sec * 1000000 + (uint64_t)usage.ru_utime.tv_usec;
    ret_reading->system_us =
        (uint64_t)usage.ru_stime.tv_sec * 1000000 + (uint64_t)usage.ru_stime.tv_usec;
    ret_reading->minor_faults = (uint64_t)usage.ru_minflt;
    ret_reading->major_faults = (uint64_t)usage.ru_majflt;
    ret_reading->switches = (uint64_t)usage.ru_nvcsw;
    ret_reading->involuntary_switches = (uint64_t)usage.ru_nivcsw;
    ret_reading->disk_bytes =
        ((uint64_t)usage.ru_inblock + (uint64_t)usage.ru_oublock) * DISK_BLOCK_BYTES;
    ret_reading->runqueue_known =
        read_second_number(lane->schedstat_fd, &ret_reading->runqueue_ns) == 0;
}

/*
 * What an inference's evidence costs, by its last reading. CPU time and not the time that passes: the
 * kernel looks whether a thread has had its turn when somebody reads its clock, so beside busy neighbours
 * every other reading ends with milliseconds of waiting, which the thread would have waited anyway. The
 * first reading costs what the last one does, so it is counted twice and needs no clock of its own.
 */
static void cost_learn(const struct dwell *dwell, struct lane *lane, const struct reading *last)
{
    uint64_t cost_ns = 2 * less_or_zero(clock_ns(CLOCK_THREAD_CPUTIME_ID), last->cpu_ns);
    if (lane->cost_ns == 0) {
        lane->cost_ns = cost_ns;
    } else {
        uint64_t seen_ns = at_most(cost_ns, COST_OUTLIER * lane->cost_ns);
        lane->cost_ns = (lane->cost_ns * 7 + seen_ns) / 8;
    }
    lane->due_ns = (uint64_t)((double)lane->cost_ns * dwell->cost_factor);
}

/* How much CPU time two readings show with nothing between them, and what they cost. */
static void lane_calibrate(const struct dwell *dwell, struct lane *lane)
{
    uint64_t pages = 0;
    lane->bias_ns = UINT64_MAX;
    lane->cost_ns = 0;
    for (int i = 0; i < CALIBRATIONS; i++) {
        struct reading before;
        struct reading after;
        reading_take(dwell, lane, &before);
        uint64_t start_ns = now_ns();
        uint64_t end_ns = now_ns();
        (void)clock_ns(CLOCK_REALTIME); /* for its cost only, as the pages */
        reading_take(dwell, lane, &after);
        if (dwell->evidence == DWELL_EVIDENCE_FULL) {
            (void)read_second_number(dwell->statm_fd, &pages);
        }
        cost_learn(dwell, lane, &after);
        uint64_t cpu_ns = less_or_zero(after.cpu_ns, before.cpu_ns);
        lane->bias_ns = at_most(lane->bias_ns, less_or_zero(cpu_ns, end_ns - start_ns));
    }
}

/* Begins a reading if the inferences since the last one have paid for it. */
static void evidence_begin(struct dwell *dwell, struct tracking *tracking)
{
    struct lane *lane = lane_of_thread(dwell);
    if (lane == NULL) {
        return; /* the thread has no lane of its own to keep accounts in */
    }
    uint64_t *since = &lane->since[tracking->model->index];
    if (*since != 0 && *since - 1 < lane->due_ns) {
        return;
    }
    *since = 1;
    tracking->lane = lane;
    tracking->generation = dwell->generation;
    reading_take(dwell, lane, &tracking->before);
}

static uint8_t *put_growth(uint8_t *out, unsigned field, uint64_t before, uint64_t after)
{
    return put_double(out, field, (double)less_or_zero(after, before));
}

/* Encodes what was used between `before` and `after`, `wall_ns` > 0 apart. */
static uint8_t *evidence_put(const struct dwell *dwell, const struct lane *lane, uint8_t *out,
                             const struct reading *before, const struct reading *after,
                             uint64_t wall_ns)
{
    /* One thread cannot have used more than the wall time, and what was not used was not waited
     * for twice: the clocks are read one after the other and schedstat lags, hence the clamps. */
    uint64_t cpu_ns = at_most(less_or_zero(after->cpu_ns - before->cpu_ns, lane->bias_ns), wall_ns);
    double user_us = (double)less_or_zero(after->user_us, before->user_us);
    double system_us = (double)less_or_zero(after->system_us, before->system_us);
    double system_share = user_us + system_us > 0 ? system_us / (user_us + system_us) : 0;
    double cpu_ms = (double)cpu_ns / 1e6;

    /* The thread clock is exact and the kernel splits it into user and system by its own reckoning,
     * in whole microseconds: the split is taken, its sum is not. */
    out = put_double(out, SAMPLE_CPU_DURING, 100 * (double)cpu_ns / (double)wall_ns);
    out = put_double(out, SAMPLE_USER, cpu_ms * (1 - system_share));
    out = put_double(out, SAMPLE_SYSTEM, cpu_ms * system_share);
    out = put_growth(out, SAMPLE_MINOR_FAULTS, before->minor_faults, after->minor_faults);
    out = put_growth(out, SAMPLE_MAJOR_FAULTS, before->major_faults, after->major_faults);
    out = put_growth(out, SAMPLE_SWITCHES, before->switches, after->switches);
    out = put_growth(out, SAMPLE_INVOLUNTARY_SWITCHES, before->involuntary_switches,
                     after->involuntary_switches);
    out = put_growth(out, SAMPLE_DISK_BYTES, before->disk_bytes, after->disk_bytes);
    out = put_number(out, SAMPLE_THREAD_ID, lane->thread_id);
    if (before->runqueue_known && after->runqueue_known) {
        uint64_t waited_ns = less_or_zero(after->runqueue_ns, before->runqueue_ns);
        out = put_double(out, SAMPLE_RUNQUEUE, (double)at_most(waited_ns, wall_ns - cpu_ns) / 1e6);
    }
    if (dwell->evidence != DWELL_EVIDENCE_FULL) {
        return out;
    }
    uint64_t process_ns = less_or_zero(after->process_cpu_ns, before->process_cpu_ns);
    process_ns = less_or_zero(process_ns, lane->bias_ns);
    out = put_double(out, SAMPLE_PROCESS_CPU,
                     (double)(process_ns > cpu_ns ? process_ns : cpu_ns) / 1e6);
    uint64_t pages = 0;
    if (read_second_number(dwell->statm_fd, &pages) == 0) {
        out = put_double(out, SAMPLE_MEMORY_AFTER,
                         (double)(pages * dwell->page_bytes) / (1024.0 * 1024.0));
    }
    return out;
}

/* ---- Samples that the caller measured ---- */

/* The numbers of a sample that are sent when their bit is set, by bit. */
static const struct {
    unsigned field;
    size_t offset;
} numbers[] = {
#define NUMBER(part, field, member)                                                                \
    [__builtin_ctz(DWELL_HAS_##part)] = {SAMPLE_##field, offsetof(struct dwell_sample, member)}
    NUMBER(CPU_PERCENT_BEFORE, CPU_BEFORE, cpu_percent_before),
    NUMBER(CPU_PERCENT_DURING, CPU_DURING, cpu_percent_during),
    NUMBER(MEMORY_MB_BEFORE, MEMORY_BEFORE, memory_mb_before),
    NUMBER(MEMORY_MB_AFTER, MEMORY_AFTER, memory_mb_after),
    NUMBER(QUEUE_MS, QUEUE, queue_ms),
    NUMBER(BATCH_SIZE, BATCH_SIZE, batch_size),
    NUMBER(USER_MS, USER, user_ms),
    NUMBER(SYSTEM_MS, SYSTEM, system_ms),
    NUMBER(RUNQUEUE_MS, RUNQUEUE, runqueue_ms),
    NUMBER(MINOR_FAULTS, MINOR_FAULTS, minor_faults),
    NUMBER(MAJOR_FAULTS, MAJOR_FAULTS, major_faults),
    NUMBER(VOLUNTARY_SWITCHES, SWITCHES, voluntary_switches),
    NUMBER(BYTES_MOVED, BYTES_MOVED, bytes_moved),
    NUMBER(FLOPS, FLOPS, flops),
    NUMBER(THREADS, THREADS, threads),
    NUMBER(PROCESS_CPU_MS, PROCESS_CPU, process_cpu_ms),
    NUMBER(INVOLUNTARY_SWITCHES, INVOLUNTARY_SWITCHES, involuntary_switches),
    NUMBER(DISK_BYTES, DISK_BYTES, disk_bytes),
#undef NUMBER
};

enum { NUMBER_COUNT = sizeof numbers / sizeof numbers[0] };

_Static_assert(DWELL_HAS_DISK_BYTES == 1 << (NUMBER_COUNT - 1), "a row for each bit");
_Static_assert(DWELL_HAS_THREAD_ID == 1 << NUMBER_COUNT, "the one that is no double");

/* The first version of the struct ended before this member. */
#define SAMPLE_BYTES_FIRST offsetof(struct dwell_sample, process_cpu_ms)
#define SAMPLE_BITS_FIRST  ((uint32_t)DWELL_HAS_PROCESS_CPU_MS - 1)

static bool sample_is_readable(const struct dwell_sample *sample)
{
    return sample->size >= sizeof *sample || sample->size == SAMPLE_BYTES_FIRST;
}

/* The numbers that are set, of those that the caller's struct has. */
static uint32_t sample_parts(const struct dwell_sample *sample)
{
    return sample->size >= sizeof *sample ? sample->has : sample->has & SAMPLE_BITS_FIRST;
}

static uint64_t text_bytes_max(const char *text)
{
    return text != NULL ? strlen(text) + 6 : 0; /* tag 2, length 4: more is too long anyway */
}

static size_t label_count(const struct dwell_sample *sample)
{
    return sample->labels != NULL ? sample->label_count : 0;
}

/* A label of a sample, or an attribute of a metric: they differ in the numbers of their fields. */
static uint8_t *label_put(uint8_t *out, unsigned field, unsigned key_field, unsigned value_field,
                          const struct dwell_label *label)
{
    size_t key_bytes = label->key != NULL ? strlen(label->key) : 0;
    size_t value_bytes = label->value != NULL ? strlen(label->value) : 0;
    out = put_tag(out, field, WIRE_BYTES);
    out = put_varint(out, 2 + varint_bytes(key_bytes) + key_bytes + varint_bytes(value_bytes) +
                              value_bytes);
    out = put_bytes(out, key_field, label->key != NULL ? label->key : "", key_bytes);
    return put_bytes(out, value_field, label->value != NULL ? label->value : "", value_bytes);
}

/* At least as much as labels take; above RECORD_BODY_MAX when that is too much. */
static uint64_t labels_bytes_max(const struct dwell_label *labels, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count && bytes <= RECORD_BODY_MAX; i++) {
        bytes += 6 + text_bytes_max(labels[i].key) + text_bytes_max(labels[i].value);
    }
    return bytes;
}

/* At least as much as sample_put writes; above RECORD_BODY_MAX when that is too much. */
static uint64_t sample_bytes_max(const struct dwell_sample *sample)
{
    return NUMBERS_BYTES + text_bytes_max(sample->device) + text_bytes_max(sample->error_text) +
           labels_bytes_max(sample->labels, label_count(sample));
}

/* All of a sample but its name and its execution time. */
static uint8_t *sample_put(uint8_t *out, const struct dwell_sample *sample)
{
    uint32_t parts = sample_parts(sample);
    for (uint32_t has = parts & ((1U << NUMBER_COUNT) - 1); has != 0; has &= has - 1) {
        unsigned bit = (unsigned)__builtin_ctz(has);
        double number;
        memcpy(&number, (const char *)sample + numbers[bit].offset, sizeof number);
        out = put_double(out, numbers[bit].field, number);
    }
    if ((parts & DWELL_HAS_THREAD_ID) != 0) {
        out = put_number(out, SAMPLE_THREAD_ID, sample->thread_id);
    }
    if (sample->error || sample->error_text != NULL) {
        out = put_number(out, SAMPLE_ERROR, 1);
    }
    if (sample->error_text != NULL) {
        out = put_bytes(out, SAMPLE_ERROR_TEXT, sample->error_text, strlen(sample->error_text));
    }
    if (sample->timestamp_unix_nano != 0) {
        out = put_fixed64(out, SAMPLE_TIMESTAMP, sample->timestamp_unix_nano);
    }
    if (sample->trace_id != NULL) {
        out = put_bytes(out, SAMPLE_TRACE_ID, sample->trace_id, TRACE_ID_BYTES);
    }
    if (sample->span_id != NULL) {
        out = put_bytes(out, SAMPLE_SPAN_ID, sample->span_id, SPAN_ID_BYTES);
    }
    if (sample->device != NULL) {
        out = put_bytes(out, SAMPLE_DEVICE, sample->device, strlen(sample->device));
    }
    for (size_t i = 0; i < label_count(sample); i++) {
        out = label_put(out, SAMPLE_LABEL, LABEL_KEY, LABEL_VALUE, &sample->labels[i]);
    }
    return out;
}

/* The span that a sample was measured in; NULL: none that is shown. */
static uint8_t *sample_ids_put(uint8_t *out, const struct level *level)
{
    if (level == NULL) {
        return out;
    }
    out = put_bytes(out, SAMPLE_TRACE_ID, level->ids.trace_id, TRACE_ID_BYTES);
    return put_bytes(out, SAMPLE_SPAN_ID, level->ids.span_id, SPAN_ID_BYTES);
}

static size_t attribute_count(const struct dwell_metric *metric)
{
    return metric->attributes != NULL ? metric->attribute_count : 0;
}

static uint64_t metric_bytes_max(const struct dwell_metric *metric)
{
    return NUMBERS_BYTES + text_bytes_max(metric->name) + text_bytes_max(metric->unit) +
           labels_bytes_max(metric->attributes, attribute_count(metric));
}

/* In the order that the daemon reads quickest: what says which series it is, around the value. */
static uint8_t *metric_put(uint8_t *out, const struct dwell_metric *metric)
{
    if (metric->name != NULL) {
        out = put_bytes(out, METRIC_NAME, metric->name, strlen(metric->name));
    }
    out = put_number(out, METRIC_OP, (uint64_t)metric->op);
    if (metric->op != DWELL_INFO) {
        out = put_double(out, METRIC_VALUE, metric->value);
    }
    for (size_t i = 0; i < attribute_count(metric); i++) {
        out = label_put(out, METRIC_ATTRIBUTE, ATTRIBUTE_KEY, ATTRIBUTE_VALUE,
                        &metric->attributes[i]);
    }
    if (metric->unit != NULL) {
        out = put_bytes(out, METRIC_UNIT, metric->unit, strlen(metric->unit));
    }
    if (metric->aggregation != DWELL_AGGREGATION_UNSAID) {
        out = put_number(out, METRIC_AGGREGATION, (uint64_t)metric->aggregation);
    }
    if (metric->trace_id != NULL) {
        out = put_bytes(out, METRIC_TRACE_ID, metric->trace_id, TRACE_ID_BYTES);
    }
    if (metric->span_id != NULL) {
        out = put_bytes(out, METRIC_SPAN_ID, metric->span_id, SPAN_ID_BYTES);
    }
    if (metric->timestamp_unix_nano != 0) {
        out = put_fixed64(out, METRIC_TIMESTAMP, metric->timestamp_unix_nano);
    }
    return out;
}

/* ---- Contexts ---- */

/* `len` is 8 or 16. */
static inline bool id_is_zero(const uint8_t *id, size_t len)
{
    uint64_t bits = 0;
    for (size_t at = 0; at < len; at += sizeof bits) {
        uint64_t part;
        memcpy(&part, id + at, sizeof part);
        bits |= part;
    }
    return bits == 0;
}

static bool context_has_span(const struct dwell_context *context)
{
    return !id_is_zero(context->trace_id, TRACE_ID_BYTES) &&
           !id_is_zero(context->span_id, SPAN_ID_BYTES);
}

/* The flags that there are, with what they imply. */
static inline uint32_t flags_whole(uint32_t flags)
{
    uint32_t implied = (flags & DWELL_CONTEXT_DEBUG) != 0
                           ? (uint32_t)DWELL_CONTEXT_SAMPLED | (uint32_t)DWELL_CONTEXT_DECIDED
                           : 0;
    return (flags | implied) & (DWELL_CONTEXT_SAMPLED | DWELL_CONTEXT_DECIDED |
                                DWELL_CONTEXT_DEBUG | DWELL_CONTEXT_REMOTE);
}

/* The trace flags of W3C Trace Context. */
static inline uint32_t trace_flags(uint32_t flags)
{
    return (flags & DWELL_CONTEXT_SAMPLED) != 0 ? 1 : 0;
}

/* The length of a trace state that may go into a header, or 0. Its members are others' business. */
static size_t trace_state_length(const char *text)
{
    size_t len = 0;
    for (; len <= DWELL_TRACE_STATE_MAX && text[len] != '\0'; len++) {
        if ((text[len] < ' ' || text[len] > '~') && text[len] != '\t') {
            return 0;
        }
    }
    return len <= DWELL_TRACE_STATE_MAX ? len : 0;
}

static inline char small_letter(char letter)
{
    return letter >= 'A' && letter <= 'Z' ? (char)(letter - 'A' + 'a') : letter;
}

/* Whether two texts are the same, small and capital letters of ASCII being one. */
static bool text_is(const char *text, const char *other)
{
    while (*text != '\0' && small_letter(*text) == small_letter(*other)) {
        text++;
        other++;
    }
    return *text == '\0' && *other == '\0';
}

/* ---- Ids ---- */

/* splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators"): never the same
 * twice in a handle, and begun differently in each. */
static uint64_t weak_random(struct dwell *dwell)
{
    uint64_t bits =
        atomic_fetch_add_explicit(&dwell->weak, 0x9E3779B97F4A7C15ULL, memory_order_relaxed);
    bits = (bits ^ bits >> 30) * 0xBF58476D1CE4E5B9ULL;
    bits = (bits ^ bits >> 27) * 0x94D049BB133111EBULL;
    return bits ^ bits >> 31;
}

/* `len`, at most 256, is what the kernel gives whole or not at all. */
static void random_fill(struct dwell *dwell, uint8_t *out, size_t len)
{
    struct calm calm = calm_begin();
    bool whole = getrandom(out, len, GRND_NONBLOCK) == (ssize_t)len;
    calm_end(calm);
    for (size_t at = 0; !whole && at < len; at += sizeof(uint64_t)) {
        uint64_t bits = weak_random(dwell);
        memcpy(out + at, &bits, sizeof bits);
    }
}

/* An id of `len` bytes, 8 or 16, not all zero. `lane` is that of the thread, or NULL. */
static void id_make(struct dwell *dwell, struct lane *lane, uint8_t *out, size_t len)
{
    if (lane == NULL) {
        random_fill(dwell, out, len);
    } else {
        if (lane->random_left < len) {
            random_fill(dwell, lane->random, sizeof lane->random);
            lane->random_left = sizeof lane->random;
        }
        lane->random_left -= (uint32_t)len;
        memcpy(out, lane->random + lane->random_left, len);
    }
    if (id_is_zero(out, len)) {
        out[len - 1] = 1;
    }
}

/* The rule of OpenTelemetry's TraceIdRatioBased, as its Python SDK has it. */
static bool trace_is_sampled(const struct dwell *dwell, const uint8_t trace_id[TRACE_ID_BYTES])
{
    uint64_t low;
    memcpy(&low, trace_id + TRACE_ID_BYTES - sizeof low, sizeof low);
    return dwell->sample_all || be64toh(low) < dwell->sample_bound;
}

/* ---- Current spans ----
 *
 *   levels of a lane     0         1         2         3
 *                   +---------+---------+---------+---------+--
 *        token      |    7    |    8    |    0    |    9    |       depth 4: span 9 is current.
 *                   +---------+---------+---------+---------+--     Once it ends, span 8 is.
 *
 * Only the lane's thread pushes, pops and reads levels. Another thread that ends a span finds its
 * level by the span, and stores 0 there if it still has the span's token; no token is ever used
 * twice, and lanes live as long as the handle. The thread pops such levels when it comes to them.
 */

/* The level of the lane's current span, or NULL. The caller is the lane's thread. */
static struct level *level_current(struct lane *lane)
{
    while (lane->depth > 0) {
        struct level *level = &lane->levels[lane->depth - 1];
        if (get(&level->token) != 0) {
            return level;
        }
        lane->depth--;
    }
    return NULL;
}

/* The current span if a sample is to bear its ids: they are shown to lead to a trace. */
static inline const struct level *level_shown(struct lane *lane)
{
    if (lane == NULL || lane->depth == 0) {
        return NULL;
    }
    const struct level *level = level_current(lane);
    return level != NULL && (level->ids.flags & DWELL_CONTEXT_SAMPLED) != 0 ? level : NULL;
}

/* Where a span's name and what comes after it is encoded. */
static inline uint8_t *span_bytes(struct spanning *span)
{
    return span->memory != NULL ? span->memory : span->inline_bytes;
}

static void level_push(struct spanning *span, struct lane *lane)
{
    (void)level_current(lane); /* pops what has ended elsewhere */
    if (lane->depth == LEVELS_MAX) {
        return;
    }
    struct level *level = &lane->levels[lane->depth];
    level->ids = span->ids;
    level->wall_offset_ns = span->wall_offset_ns;
    level->state_bytes = span->state_bytes;
    memcpy(level->state, span_bytes(span) + span->state_at, span->state_bytes);
    span->lane = lane;
    span->level = lane->depth++;
    span->token = ++lane->tokens;
    atomic_store_explicit(&level->token, span->token, memory_order_relaxed);
}

static void level_leave(struct spanning *span)
{
    struct lane *lane = span->lane;
    if (lane == NULL) {
        return;
    }
    span->lane = NULL;
    uint64_t token = span->token;
    struct level *level = &lane->levels[span->level];
    if (lane != lane_known(span->dwell)) {
        atomic_compare_exchange_strong_explicit(&level->token, &token, 0, memory_order_relaxed,
                                                memory_order_relaxed);
    } else if (span->level < lane->depth && get(&level->token) == token) {
        lane->depth = span->level; /* and spans begun within it are left, too */
    }
}

/* ---- Recording ---- */

void dwell_track_begin(struct dwell_track *track, const struct dwell_model *model)
{
    if (track == NULL) {
        return;
    }
    struct tracking *tracking = (struct tracking *)track;
    tracking->model = model;
    if (model == NULL) {
        return;
    }
    tracking->lane = NULL;
    if (model->dwell->evidence != DWELL_EVIDENCE_NONE) {
        evidence_begin(model->dwell, tracking);
    }
    tracking->start_ns = now_ns();
}

/* `more` may be NULL. Kept out of the way of the plain case. */
static void __attribute__((noinline)) track_end_long(struct tracking *tracking, uint64_t end_ns,
                                                     bool failed, const struct dwell_sample *more)
{
    const struct dwell_model *model = tracking->model;
    struct dwell *dwell = model->dwell;
    uint64_t wall_ns = less_or_zero(end_ns, tracking->start_ns);
    struct lane *lane = dwell->evidence != DWELL_EVIDENCE_NONE ? lane_of_thread(dwell) : NULL;
    struct reading after;
    uint64_t ended_unix_nano = 0;
    bool measured = lane != NULL && lane == tracking->lane &&
                    tracking->generation == dwell->generation && wall_ns > 0;
    if (measured) {
        ended_unix_nano = clock_ns(CLOCK_REALTIME);
        reading_take(dwell, lane, &after);
    }

    struct entry entry;
    const struct level *level = level_shown(lane_known(dwell));
    uint64_t need = MEASURED_BYTES + SAMPLE_IDS_BYTES + (more != NULL ? sample_bytes_max(more) : 0);
    uint8_t *out = entry_begin(dwell, &entry, need);
    if (out != NULL) {
        if (more != NULL) {
            out = sample_put(out, more); /* of a field given twice the last wins */
        }
        if (more == NULL || more->trace_id == NULL) {
            out = sample_ids_put(out, level);
        }
        out = put_double(out, SAMPLE_EXECUTION_TIME, (double)wall_ns / 1e6);
        if (failed) {
            out = put_number(out, SAMPLE_ERROR, 1);
        }
        if (measured) {
            out = put_fixed64(out, SAMPLE_TIMESTAMP, ended_unix_nano);
            out = evidence_put(dwell, lane, out, &tracking->before, &after, wall_ns);
        }
        entry_end(dwell, &entry, out, model->index + 1);
    }
    if (lane != NULL) {
        lane->since[model->index] += wall_ns;
    }
    if (measured) {
        cost_learn(dwell, lane, &after);
        add(&lane->evidence, 1);
    }
}

void dwell_track_end(struct dwell_track *track, bool failed)
{
    struct tracking *tracking = (struct tracking *)track;
    if (tracking == NULL || tracking->model == NULL) {
        return;
    }
    const struct dwell_model *model = tracking->model;
    struct dwell *dwell = model->dwell;
    uint64_t end_ns = now_ns();
    struct lane *lane = lane_of_thread(dwell);
    if (tracking->lane != NULL || lane == NULL || lane->depth > 0) {
        track_end_long(tracking, end_ns, failed, NULL);
        tracking->model = NULL;
        return;
    }
    tracking->model = NULL;
    add(&lane->recorded, 1);
    uint64_t wall_ns = less_or_zero(end_ns, tracking->start_ns);
    if (dwell->evidence != DWELL_EVIDENCE_NONE) {
        lane->since[model->index] += wall_ns;
    }
    uint8_t *start = lane_reserve(dwell, lane, PLAIN_BYTES);
    if (start == NULL) {
        lane_drop(dwell, lane);
        return;
    }
    head_put(start, failed ? LENGTH_PLAIN_FAILED : LENGTH_PLAIN, model->index + 1);
    memcpy(start + RECORD_HEAD_BYTES, &wall_ns, sizeof wall_ns);
    lane_publish(dwell, lane, PLAIN_BYTES);
}

void dwell_track_end_with(struct dwell_track *track, const struct dwell_sample *more)
{
    struct tracking *tracking = (struct tracking *)track;
    if (tracking == NULL || tracking->model == NULL) {
        return;
    }
    uint64_t end_ns = now_ns();
    bool readable = more != NULL && sample_is_readable(more);
    track_end_long(tracking, end_ns, false, readable ? more : NULL);
    tracking->model = NULL;
}

void dwell_sample(dwell_t *dwell, const struct dwell_sample *sample)
{
    if (dwell == NULL || sample == NULL) {
        return;
    }
    const struct dwell_model *model = NULL;
    uint64_t need = RECORD_BODY_MAX + 1; /* what cannot be read is dropped as what is too long */
    if (sample_is_readable(sample) && (sample->model == NULL || sample->model->dwell == dwell)) {
        model = sample->model;
        need = sample_bytes_max(sample);
        need += model == NULL ? text_bytes_max(sample->model_name) : 0;
    }
    struct entry entry;
    uint8_t *out = entry_begin(dwell, &entry, need);
    if (out == NULL) {
        return;
    }
    if (model == NULL && sample->model_name != NULL) {
        out = put_bytes(out, SAMPLE_MODEL_NAME, sample->model_name, strlen(sample->model_name));
    }
    out = put_double(out, SAMPLE_EXECUTION_TIME, sample->execution_time_ms);
    out = sample_put(out, sample);
    if (sample->trace_id == NULL) {
        out = sample_ids_put(out, level_shown(lane_known(dwell)));
    }
    entry_end(dwell, &entry, out, model != NULL ? model->index + 1 : 0);
}

void dwell_metric(dwell_t *dwell, const struct dwell_metric *metric)
{
    if (dwell == NULL || metric == NULL) {
        return;
    }
    /* What cannot be read is dropped as what is too long. */
    bool readable = metric->size >= sizeof *metric;
    struct entry entry;
    uint8_t *out =
        entry_begin(dwell, &entry, readable ? metric_bytes_max(metric) : RECORD_BODY_MAX + 1);
    if (out != NULL) {
        entry_end(dwell, &entry, metric_put(out, metric), REF_METRIC);
    }
}

/* ---- Spans: what is in them ----
 *
 *   bytes     +------+-------------+--------------+-----------+-------+-----------+------+--------
 *             | name | trace_state | service_name | attribute | event | attribute | link | free
 *             +------+-------------+--------------+-----------+-------+-----------+------+--------
 *             |<---------- prefix --------------->|<-- pieces, each: tag, length, body ->|
 *
 * They are fields of the message Span, and sent as they are, behind those of one number each. */

/* A piece of a span's bytes. */
struct piece {
    uint32_t at;
    uint32_t bytes;
    uint32_t body_at;
    uint32_t body_bytes;
};

/* The piece at `at`. Lengths are below 16384: of one byte or two. */
static inline struct piece piece_at(struct spanning *span, uint32_t at)
{
    const uint8_t *bytes = span_bytes(span);
    struct piece piece = {.at = at, .body_at = at + 2, .body_bytes = bytes[at + 1]};
    if (piece.body_bytes >= 0x80) {
        piece.body_bytes = (piece.body_bytes & 0x7F) | (uint32_t)bytes[at + 2] << 7;
        piece.body_at++;
    }
    piece.bytes = piece.body_at - at + piece.body_bytes;
    return piece;
}

static void piece_remove(struct spanning *span, struct piece piece)
{
    uint8_t *at = span_bytes(span) + piece.at;
    memmove(at, at + piece.bytes, span->used - piece.at - piece.bytes);
    span->used -= piece.bytes;
}

static bool key_is_at(const uint8_t *body, const char *key, size_t key_bytes)
{
    size_t len = body[1]; /* body[0] is the tag of the key */
    const uint8_t *text = body + 2;
    if (len >= 0x80) {
        len = (len & 0x7F) | (size_t)body[2] << 7;
        text++;
    }
    return len == key_bytes && memcmp(text, key, len) == 0;
}

/* Finds the piece of an attribute; with `key` NULL that of the status. */
static bool piece_find(struct spanning *span, const char *key, size_t key_bytes,
                       struct piece *ret_piece)
{
    const uint8_t *bytes = span_bytes(span);
    unsigned field = key != NULL ? SPAN_ATTRIBUTES : SPAN_STATUS;
    unsigned tag = field << 3 | (unsigned)WIRE_BYTES;
    for (uint32_t at = span->prefix_bytes; at < span->used;) {
        struct piece piece = piece_at(span, at);
        if (bytes[at] == tag && (key == NULL || key_is_at(bytes + piece.body_at, key, key_bytes))) {
            *ret_piece = piece;
            return true;
        }
        at += piece.bytes;
    }
    return false;
}

/* How long a text may be to take at most `room` bytes, cut between two characters if it is UTF-8:
 * then at most three bytes go on with one that began before. */
static size_t text_cut(const char *text, size_t room)
{
    size_t len = strnlen(text, room + 1);
    if (len <= room) {
        return len;
    }
    size_t cut = room;
    while (cut > 0 && room - cut < 3 && ((uint8_t)text[cut] & 0xC0) == 0x80) {
        cut--;
    }
    return ((uint8_t)text[cut] & 0xC0) != 0x80 ? cut : room;
}

/* A field of `bytes` with a tag of one byte. */
static inline size_t field_bytes(size_t bytes)
{
    return 1 + varint_bytes(bytes) + bytes;
}

/* The i-th value of a list, as a value of its own. */
static struct dwell_attribute list_value(const struct dwell_attribute *list, size_t i)
{
    struct dwell_attribute value = {.key = list->key};
    switch (list->type) {
    case DWELL_TEXT_LIST:
        value.type = DWELL_TEXT;
        value.value.text = list->value.texts[i] != NULL ? list->value.texts[i] : "";
        break;
    case DWELL_INT_LIST:
        value.type = DWELL_INT;
        value.value.integer = list->value.integers[i];
        break;
    case DWELL_DOUBLE_LIST:
        value.type = DWELL_DOUBLE;
        value.value.number = list->value.numbers[i];
        break;
    default:
        value.type = DWELL_BOOL;
        value.value.truth = list->value.truths[i];
        break;
    }
    return value;
}

/* The bytes of an AnyValue with that value in it, or 0 when there is none. */
static size_t plain_bytes(const struct dwell_attribute *attribute)
{
    switch (attribute->type) {
    case DWELL_TEXT:
        return attribute->value.text != NULL ? field_bytes(strlen(attribute->value.text)) : 0;
    case DWELL_INT:
        return 1 + varint_bytes((uint64_t)attribute->value.integer);
    case DWELL_DOUBLE:
        return 1 + sizeof(double);
    case DWELL_BOOL:
        return 2;
    default:
        return 0;
    }
}

static inline bool is_list(const struct dwell_attribute *attribute)
{
    return attribute->type >= DWELL_TEXT_LIST && attribute->type <= DWELL_BOOL_LIST;
}

/* Of a list that is far too long no exact figure is made. */
static size_t list_bytes(const struct dwell_attribute *list)
{
    size_t bytes = 0;
    for (size_t i = 0; i < list->count && bytes <= RECORD_BODY_MAX; i++) {
        struct dwell_attribute value = list_value(list, i);
        bytes += field_bytes(plain_bytes(&value));
    }
    return bytes;
}

static size_t value_bytes(const struct dwell_attribute *attribute)
{
    if (!is_list(attribute)) {
        return plain_bytes(attribute);
    }
    bool nothing = attribute->value.texts == NULL && attribute->count > 0; /* of whatever type */
    return nothing ? 0 : field_bytes(list_bytes(attribute));
}

static uint8_t *plain_put(uint8_t *out, const struct dwell_attribute *attribute)
{
    switch (attribute->type) {
    case DWELL_TEXT:
        return put_bytes(out, ANY_TEXT, attribute->value.text, strlen(attribute->value.text));
    case DWELL_INT:
        return put_number(out, ANY_INT, (uint64_t)attribute->value.integer);
    case DWELL_DOUBLE:
        return put_double(out, ANY_DOUBLE, attribute->value.number);
    default:
        return put_number(out, ANY_BOOL, attribute->value.truth ? 1 : 0);
    }
}

static uint8_t *value_put(uint8_t *out, const struct dwell_attribute *attribute)
{
    if (!is_list(attribute)) {
        return plain_put(out, attribute);
    }
    out = put_varint(put_tag(out, ANY_ARRAY, WIRE_BYTES), list_bytes(attribute));
    for (size_t i = 0; i < attribute->count; i++) {
        struct dwell_attribute value = list_value(attribute, i);
        out = put_varint(put_tag(out, ARRAY_VALUES, WIRE_BYTES), plain_bytes(&value));
        out = plain_put(out, &value);
    }
    return out;
}

/* The length of a key, or 0 when it is none. */
static inline size_t key_length(const char *key)
{
    size_t len = key != NULL ? strnlen(key, NAME_MAX_BYTES + 1) : 0;
    return len <= NAME_MAX_BYTES ? len : 0;
}

/* A KeyValue; its parts were measured before. */
struct pair {
    const struct dwell_attribute *attribute;
    size_t key_bytes;
    size_t value_bytes;
};

/* False when key or value are not good. */
static inline bool pair_measure(const struct dwell_attribute *attribute, struct pair *ret_pair)
{
    ret_pair->attribute = attribute;
    ret_pair->key_bytes = key_length(attribute->key);
    ret_pair->value_bytes = ret_pair->key_bytes != 0 ? value_bytes(attribute) : 0;
    return ret_pair->value_bytes != 0;
}

static inline size_t pair_bytes(const struct pair *pair)
{
    return field_bytes(pair->key_bytes) + field_bytes(pair->value_bytes);
}

static inline uint8_t *pair_put(uint8_t *out, unsigned field, const struct pair *pair)
{
    out = put_varint(put_tag(out, field, WIRE_BYTES), pair_bytes(pair));
    out = put_bytes(out, PAIR_KEY, pair->attribute->key, pair->key_bytes);
    out = put_varint(put_tag(out, PAIR_VALUE, WIRE_BYTES), pair->value_bytes);
    return value_put(out, pair->attribute);
}

static inline size_t span_room(const struct spanning *span)
{
    return span->capacity - span->used;
}

static inline uint8_t *span_end_of_bytes(struct spanning *span)
{
    return span_bytes(span) + span->used;
}

static inline void span_took(struct spanning *span, const uint8_t *end)
{
    span->used = (uint32_t)(end - span_bytes(span));
}

static void attribute_set(struct spanning *span, const struct dwell_attribute *attribute)
{
    struct pair pair;
    struct piece old;
    if (!pair_measure(attribute, &pair)) {
        span->dropped_attributes++;
        return;
    }
    if (piece_find(span, attribute->key, pair.key_bytes, &old)) {
        piece_remove(span, old); /* also when the new value does not fit: the old one is wrong */
        span->attributes--;
    }
    if (span->attributes >= span->dwell->attributes_max ||
        field_bytes(pair_bytes(&pair)) > span_room(span)) {
        span->dropped_attributes++;
        return;
    }
    span_took(span, pair_put(span_end_of_bytes(span), SPAN_ATTRIBUTES, &pair));
    span->attributes++;
}

/* The attributes of an event or a link. */
struct few {
    const struct dwell_attribute *attributes;
    size_t count;
    size_t upto;      /* those from here on are past the limit */
    size_t bytes;     /* of those that are taken */
    uint32_t dropped; /* of those that are not, but for values that later ones replace */
};

/* Whether the i-th is taken, and if so, measured. */
static bool few_take(const struct few *few, size_t i, struct pair *ret_pair, bool *ret_replaced)
{
    *ret_replaced = false;
    if (!pair_measure(&few->attributes[i], ret_pair)) {
        return false;
    }
    for (size_t j = i + 1; j < few->upto && !*ret_replaced; j++) {
        const char *key = few->attributes[j].key;
        *ret_replaced = key != NULL && strcmp(key, few->attributes[i].key) == 0;
    }
    return !*ret_replaced;
}

static struct few few_measure(const struct dwell_attribute *attributes, size_t count)
{
    struct few few = {.attributes = attributes, .count = attributes != NULL ? count : 0};
    few.upto = few.count < SPAN_PARTS_MAX ? few.count : SPAN_PARTS_MAX;
    few.dropped = (uint32_t)at_most(few.count - few.upto, UINT32_MAX / 2);
    for (size_t i = 0; i < few.upto && few.bytes <= RECORD_BODY_MAX; i++) {
        struct pair pair;
        bool replaced;
        if (few_take(&few, i, &pair, &replaced)) {
            few.bytes += field_bytes(pair_bytes(&pair));
        } else if (!replaced) {
            few.dropped++;
        }
    }
    few.bytes += few.dropped > 0 ? 1 + varint_bytes(few.dropped) : 0;
    return few;
}

/* The number of the field with the count is the next one after that of the attributes. */
static uint8_t *few_put(uint8_t *out, unsigned field, const struct few *few)
{
    for (size_t i = 0; i < few->upto; i++) {
        struct pair pair;
        bool replaced;
        if (few_take(few, i, &pair, &replaced)) {
            out = pair_put(out, field, &pair);
        }
    }
    return few->dropped > 0 ? put_number(out, field + 1, few->dropped) : out;
}

static inline uint64_t span_now(const struct spanning *span)
{
    return span->wall_offset_ns + now_ns();
}

/* Where the body of an event or a link of so many bytes begins, or NULL when it is left out. */
static uint8_t *part_begin(struct spanning *span, unsigned field, size_t bytes, uint32_t count,
                           uint32_t count_max)
{
    if (count >= count_max || field_bytes(bytes) > span_room(span)) {
        return NULL;
    }
    return put_varint(put_tag(span_end_of_bytes(span), field, WIRE_BYTES), bytes);
}

static void link_add(struct spanning *span, const struct dwell_link *link)
{
    const struct dwell_context *context = link->context;
    uint8_t *out = NULL;
    if (context != NULL && context_has_span(context)) {
        struct few few = few_measure(link->attributes, link->attribute_count);
        size_t state_bytes = trace_state_length(context->trace_state);
        size_t bytes = field_bytes(TRACE_ID_BYTES) + field_bytes(SPAN_ID_BYTES) + few.bytes + 5 +
                       (state_bytes > 0 ? field_bytes(state_bytes) : 0);
        out = part_begin(span, SPAN_LINKS, bytes, span->links, span->dwell->links_max);
        if (out != NULL) {
            out = put_bytes(out, LINK_TRACE_ID, context->trace_id, TRACE_ID_BYTES);
            out = put_bytes(out, LINK_SPAN_ID, context->span_id, SPAN_ID_BYTES);
            if (state_bytes > 0) {
                out = put_bytes(out, LINK_TRACE_STATE, context->trace_state, state_bytes);
            }
            out = few_put(out, LINK_ATTRIBUTES, &few);
            out = put_fixed32(out, LINK_FLAGS, trace_flags(context->flags));
            span_took(span, out);
            span->links++;
        }
    }
    span->dropped_links += out == NULL ? 1 : 0;
}

/* Sets the status, with as much of the message as there is room for. */
static void status_set(struct spanning *span, enum dwell_status status, const char *message,
                       size_t message_bytes)
{
    struct piece old;
    span->status = (uint8_t)status;
    if (piece_find(span, NULL, 0, &old)) {
        piece_remove(span, old);
    }
    size_t room = span_room(span);
    if (status != DWELL_STATUS_ERROR || message_bytes == 0 || room <= STATUS_FIXED_BYTES) {
        span->status_kept = false; /* it is put beside the other numbers */
        return;
    }
    message_bytes = at_most(message_bytes, text_cut(message, room - STATUS_FIXED_BYTES));
    uint8_t *out = put_tag(span_end_of_bytes(span), SPAN_STATUS, WIRE_BYTES);
    out = put_varint(out, field_bytes(message_bytes) + 2);
    out = put_bytes(out, STATUS_MESSAGE, message, message_bytes);
    span_took(span, put_number(out, STATUS_CODE, (uint64_t)status));
    span->status_kept = true;
}

/* ---- Exceptions ---- */

static uint8_t *text_pair_put(uint8_t *out, const char *key, const char *text, size_t text_bytes)
{
    size_t key_bytes = strlen(key);
    out = put_tag(out, EVENT_ATTRIBUTES, WIRE_BYTES);
    out = put_varint(out, field_bytes(key_bytes) + field_bytes(field_bytes(text_bytes)));
    out = put_bytes(out, PAIR_KEY, key, key_bytes);
    out = put_varint(put_tag(out, PAIR_VALUE, WIRE_BYTES), field_bytes(text_bytes));
    return put_bytes(out, ANY_TEXT, text, text_bytes);
}

static size_t text_pair_bytes(const char *key, size_t text_bytes)
{
    return field_bytes(field_bytes(strlen(key)) + field_bytes(field_bytes(text_bytes)));
}

static const char exception_name[] = "exception";
static const char exception_type[] = "exception.type";
static const char exception_message[] = "exception.message";
static const char exception_stacktrace[] = "exception.stacktrace";

/* The texts of an exception, cut to what there is room for. */
struct thrown {
    const char *type; /* NULL or empty: not said, as the others */
    const char *message;
    const char *stacktrace;
    size_t type_bytes;
    size_t message_bytes;
    size_t stacktrace_bytes;
};

static size_t thrown_bytes(const struct thrown *thrown)
{
    size_t bytes = 1 + sizeof(uint64_t) + field_bytes(sizeof exception_name - 1);
    bytes += thrown->type_bytes > 0 ? text_pair_bytes(exception_type, thrown->type_bytes) : 0;
    bytes +=
        thrown->message_bytes > 0 ? text_pair_bytes(exception_message, thrown->message_bytes) : 0;
    bytes += thrown->stacktrace_bytes > 0
                 ? text_pair_bytes(exception_stacktrace, thrown->stacktrace_bytes)
                 : 0;
    return bytes;
}

/* Cuts the texts so that status and event fit into `room`. False: not even without them. The message
 * stands in both; of what is left the stack trace takes the rest. */
static bool thrown_cut(struct thrown *thrown, size_t room)
{
    struct thrown least = {.type_bytes = thrown->type_bytes};
    size_t fixed = field_bytes(thrown_bytes(&least)) + 2 * TEXT_PAIR_FIXED_BYTES +
                   STATUS_FIXED_BYTES; /* at most */
    if (room < fixed) {
        return false;
    }
    room -= fixed;
    thrown->message_bytes = thrown->message != NULL ? text_cut(thrown->message, room / 2) : 0;
    room -= 2 * thrown->message_bytes;
    thrown->stacktrace_bytes = thrown->stacktrace != NULL ? text_cut(thrown->stacktrace, room) : 0;
    return true;
}

static void exception_add(struct spanning *span, struct thrown *thrown, bool fits)
{
    size_t bytes = thrown_bytes(thrown);
    uint8_t *out =
        fits ? part_begin(span, SPAN_EVENTS, bytes, span->events, span->dwell->events_max) : NULL;
    if (out == NULL) {
        span->dropped_events++;
        return;
    }
    out = put_fixed64(out, EVENT_TIME, span_now(span));
    out = put_bytes(out, EVENT_NAME, exception_name, sizeof exception_name - 1);
    if (thrown->type_bytes > 0) {
        out = text_pair_put(out, exception_type, thrown->type, thrown->type_bytes);
    }
    if (thrown->message_bytes > 0) {
        out = text_pair_put(out, exception_message, thrown->message, thrown->message_bytes);
    }
    if (thrown->stacktrace_bytes > 0) {
        out =
            text_pair_put(out, exception_stacktrace, thrown->stacktrace, thrown->stacktrace_bytes);
    }
    span_took(span, out);
    span->events++;
}

/* FNV-1a; `text` may be NULL. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; text != NULL && *text != '\0'; text++) {
        hash = (hash ^ (uint8_t)*text) * 0x100000001B3ULL;
    }
    return (hash ^ 0xFF) * 0x100000001B3ULL;
}

/* ---- Spans: from start to end ---- */

/* Whom a span comes from. */
struct origin {
    struct ids ids;    /* trace id all zero: none */
    const char *state; /* trace state */
    size_t state_bytes;
    bool undecided; /* no verdict yet on the trace */
};

static struct origin origin_of_context(const struct dwell_context *context)
{
    struct origin origin = {.ids.flags = flags_whole(context->flags)};
    bool is_remote = (origin.ids.flags & DWELL_CONTEXT_REMOTE) != 0;
    bool is_decided = (origin.ids.flags & DWELL_CONTEXT_DECIDED) != 0;
    bool has_span = context_has_span(context);
    if (has_span) {
        memcpy(origin.ids.trace_id, context->trace_id, TRACE_ID_BYTES);
        memcpy(origin.ids.span_id, context->span_id, SPAN_ID_BYTES);
        origin.state = context->trace_state;
        origin.state_bytes = trace_state_length(context->trace_state);
    }
    origin.undecided = !is_decided && (is_remote || !has_span);
    return origin;
}

static struct origin origin_of(const struct dwell_span_options *options, struct lane *lane)
{
    if (options->parent != NULL) {
        return origin_of_context(options->parent);
    }
    const struct level *level = lane != NULL ? level_current(lane) : NULL;
    if (level == NULL) {
        return (struct origin){.undecided = true};
    }
    return (struct origin){
        .ids = level->ids, .state = level->state, .state_bytes = level->state_bytes};
}

/* Writes what is known of a span at its start. There is room: 256 + 512 + 255 bytes at most. */
static void prefix_put(struct spanning *span, const char *name, const struct origin *origin,
                       const char *service_name)
{
    name = name != NULL && name[0] != '\0' ? name : "unnamed";
    uint8_t *bytes = span_bytes(span);
    uint8_t *out = put_bytes(bytes, SPAN_NAME, name, text_cut(name, NAME_MAX_BYTES));
    span->name_bytes = (uint32_t)(out - bytes);
    span->state_bytes = (uint32_t)origin->state_bytes;
    span->state_at = span->name_bytes;
    if (origin->state_bytes > 0) {
        out = put_bytes(out, SPAN_TRACE_STATE, origin->state, origin->state_bytes);
        span->state_at = (uint32_t)(out - bytes) - span->state_bytes;
    }
    if (service_name != NULL && service_name[0] != '\0' &&
        strnlen(service_name, TEXT_BYTES) < TEXT_BYTES) {
        out = put_text(out, SPAN_SERVICE_NAME, service_name);
    }
    span->prefix_bytes = (uint32_t)(out - bytes);
    span->used = span->prefix_bytes;
}

/* Records a span, or one half of it. False: it was dropped. */
static bool span_send(struct spanning *span, enum span_part part, uint64_t end_unix_nano)
{
    struct dwell *dwell = span->dwell;
    const uint8_t *bytes = span_bytes(span);
    struct entry entry;
    uint8_t *out = entry_begin(dwell, &entry, SPAN_FIXED_BYTES + span->used);
    if (out == NULL) {
        return false;
    }
    out = put_bytes(out, SPAN_TRACE_ID, span->ids.trace_id, TRACE_ID_BYTES);
    out = put_bytes(out, SPAN_SPAN_ID, span->ids.span_id, SPAN_ID_BYTES);
    if (part != PART_END) {
        if (!id_is_zero(span->parent_id, SPAN_ID_BYTES)) {
            out = put_bytes(out, SPAN_PARENT_SPAN_ID, span->parent_id, SPAN_ID_BYTES);
        }
        out = put_number(out, SPAN_KIND, span->kind);
        out = put_fixed64(out, SPAN_START_TIME, span->start_unix_nano);
        if ((span->ids.flags & DWELL_CONTEXT_DECIDED) != 0) {
            out = put_fixed32(out, SPAN_FLAGS, trace_flags(span->ids.flags));
        }
        memcpy(out, bytes, span->prefix_bytes);
        out += span->prefix_bytes;
    } else {
        memcpy(out, bytes, span->name_bytes);
        out += span->name_bytes;
    }
    memcpy(out, bytes + span->prefix_bytes, span->used - span->prefix_bytes);
    out += span->used - span->prefix_bytes;
    if (part != PART_START) {
        out = put_fixed64(out, SPAN_END_TIME, end_unix_nano);
        out = put_count(out, SPAN_DROPPED_ATTRIBUTES, span->dropped_attributes);
        out = put_count(out, SPAN_DROPPED_EVENTS, span->dropped_events);
        out = put_count(out, SPAN_DROPPED_LINKS, span->dropped_links);
        if (span->status != DWELL_STATUS_UNSET && !span->status_kept) {
            out = put_varint(put_tag(out, SPAN_STATUS, WIRE_BYTES), 2);
            out = put_number(out, STATUS_CODE, span->status);
        }
    }
    if (part != PART_WHOLE) {
        out = put_number(out, SPAN_PART, part);
    }
    entry_end(dwell, &entry, out, REF_SPAN);
    return true;
}

/* A span without a handle: nothing but the context that goes through it. */
static void span_start_off(struct spanning *span, const struct dwell_span_options *options)
{
    struct origin origin = {0};
    if (options->parent != NULL) {
        origin = origin_of_context(options->parent);
    }
    span->ids = origin.ids;
    span->lane = NULL;
    span->memory = NULL;
    prefix_put(span, NULL, &origin, NULL);
}

void dwell_span_start(dwell_t *dwell, struct dwell_span *caller_span, const char *name,
                      const struct dwell_span_options *options)
{
    struct spanning *span = (struct spanning *)caller_span;
    struct dwell_span_options own = {0};
    if (span == NULL) {
        return;
    }
    if (options != NULL) {
        memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    }
    span->dwell = dwell;
    if (dwell == NULL) {
        span_start_off(span, &own);
        return;
    }
    struct lane *lane = lane_of_thread(dwell); /* takes long the first time: before the clocks */
    struct origin origin = origin_of(&own, lane);
    uint64_t begun_ns = now_ns();
    uint64_t wall_ns = clock_ns(CLOCK_REALTIME);
    *span = (struct spanning){
        .dwell = dwell,
        .generation = dwell->generation,
        .wall_offset_ns = wall_ns - begun_ns,
        .start_unix_nano = own.start_unix_nano != 0 ? own.start_unix_nano : wall_ns,
        .ids = origin.ids,
        .kind = own.kind > DWELL_KIND_UNSAID && own.kind <= DWELL_KIND_CONSUMER
                    ? (uint8_t)own.kind
                    : DWELL_KIND_INTERNAL,
        .capacity = INLINE_BYTES,
    };
    if (own.memory != NULL && own.memory_bytes >= DWELL_SPAN_BYTES) {
        span->memory = own.memory;
        span->capacity = (uint32_t)at_most(own.memory_bytes, RECORD_BODY_MAX - SPAN_FIXED_BYTES);
    }
    if (id_is_zero(origin.ids.trace_id, TRACE_ID_BYTES)) {
        id_make(dwell, lane, span->ids.trace_id, TRACE_ID_BYTES);
    } else {
        memcpy(span->parent_id, origin.ids.span_id, SPAN_ID_BYTES);
    }
    id_make(dwell, lane, span->ids.span_id, SPAN_ID_BYTES);
    span->ids.flags &= ~(uint32_t)DWELL_CONTEXT_REMOTE;
    if (origin.undecided && trace_is_sampled(dwell, span->ids.trace_id)) {
        span->ids.flags |= DWELL_CONTEXT_SAMPLED;
    }
    prefix_put(span, name, &origin, own.service_name);
    for (size_t i = 0; own.attributes != NULL && i < own.attribute_count; i++) {
        attribute_set(span, &own.attributes[i]);
    }
    for (size_t i = 0; own.links != NULL && i < own.link_count; i++) {
        link_add(span, &own.links[i]);
    }
    span->halves = own.halves && span_send(span, PART_START, 0); /* else it will come as a whole */
    if (span->halves) {
        span->used = span->prefix_bytes; /* what was said is not said again */
    }
    if (lane != NULL && !own.detached) {
        level_push(span, lane);
    }
}

/* What a call on a span works on, or NULL when the span is none or has ended. */
static inline struct spanning *span_open(struct dwell_span *caller_span)
{
    struct spanning *span = (struct spanning *)caller_span;
    return span != NULL && span->dwell != NULL ? span : NULL;
}

void dwell_span_end(struct dwell_span *caller_span)
{
    struct spanning *span = span_open(caller_span);
    if (span == NULL) {
        return;
    }
    uint64_t end_unix_nano = span_now(span);
    level_leave(span);
    if (span->generation == span->dwell->generation) { /* else it is that of the parent process */
        end_unix_nano =
            end_unix_nano > span->start_unix_nano ? end_unix_nano : span->start_unix_nano;
        (void)span_send(span, span->halves ? PART_END : PART_WHOLE, end_unix_nano); /* counted */
    }
    if (span->memory != NULL) {
        /* The memory is the caller's again, and the context goes on. */
        memcpy(span->inline_bytes, span->memory + span->state_at, span->state_bytes);
        span->state_at = 0;
        span->memory = NULL;
    }
    span->dwell = NULL;
}

void dwell_span_attribute(struct dwell_span *caller_span, const struct dwell_attribute *attribute)
{
    struct spanning *span = span_open(caller_span);
    if (span != NULL && attribute != NULL) {
        attribute_set(span, attribute);
    }
}

void dwell_span_text(struct dwell_span *caller_span, const char *key, const char *value)
{
    struct dwell_attribute attribute = dwell_text(key, value);
    dwell_span_attribute(caller_span, &attribute);
}

void dwell_span_int(struct dwell_span *caller_span, const char *key, int64_t value)
{
    struct dwell_attribute attribute = dwell_int(key, value);
    dwell_span_attribute(caller_span, &attribute);
}

void dwell_span_double(struct dwell_span *caller_span, const char *key, double value)
{
    struct dwell_attribute attribute = dwell_double(key, value);
    dwell_span_attribute(caller_span, &attribute);
}

void dwell_span_bool(struct dwell_span *caller_span, const char *key, bool value)
{
    struct dwell_attribute attribute = dwell_bool(key, value);
    dwell_span_attribute(caller_span, &attribute);
}

void dwell_span_event(struct dwell_span *caller_span, const char *name,
                      const struct dwell_attribute *attributes, size_t attribute_count)
{
    struct spanning *span = span_open(caller_span);
    if (span == NULL) {
        return;
    }
    size_t name_bytes = key_length(name);
    uint8_t *out = NULL;
    if (name_bytes > 0) {
        struct few few = few_measure(attributes, attribute_count);
        size_t bytes = 1 + sizeof(uint64_t) + field_bytes(name_bytes) + few.bytes;
        out = part_begin(span, SPAN_EVENTS, bytes, span->events, span->dwell->events_max);
        if (out != NULL) {
            out = put_fixed64(out, EVENT_TIME, span_now(span));
            out = put_bytes(out, EVENT_NAME, name, name_bytes);
            span_took(span, few_put(out, EVENT_ATTRIBUTES, &few));
            span->events++;
        }
    }
    span->dropped_events += out == NULL ? 1 : 0;
}

void dwell_span_link(struct dwell_span *caller_span, const struct dwell_link *link)
{
    struct spanning *span = span_open(caller_span);
    if (span != NULL && link != NULL) {
        link_add(span, link);
    }
}

void dwell_span_exception(struct dwell_span *caller_span, const char *type, const char *message,
                          const char *stacktrace)
{
    struct spanning *span = span_open(caller_span);
    if (span == NULL) {
        return;
    }
    uint64_t hash = hash_text(hash_text(0xCBF29CE484222325ULL, type), message);
    if (hash == span->exception) {
        return;
    }
    span->exception = hash;
    struct thrown thrown = {.type = type, .message = message, .stacktrace = stacktrace};
    thrown.type_bytes = type != NULL ? text_cut(type, NAME_MAX_BYTES) : 0;
    bool is_ok = span->status == DWELL_STATUS_OK;
    if (!is_ok) {
        status_set(span, DWELL_STATUS_ERROR, NULL, 0); /* makes room */
    }
    bool fits = thrown_cut(&thrown, span_room(span));
    if (!is_ok) {
        status_set(span, DWELL_STATUS_ERROR, message, thrown.message_bytes);
    }
    exception_add(span, &thrown, fits);
}

void dwell_span_status(struct dwell_span *caller_span, enum dwell_status status,
                       const char *message)
{
    struct spanning *span = span_open(caller_span);
    if (span == NULL || span->status == DWELL_STATUS_OK ||
        (status != DWELL_STATUS_OK && status != DWELL_STATUS_ERROR)) {
        return;
    }
    status_set(span, status, message, message != NULL ? strlen(message) : 0);
}

static void context_make(struct dwell_context *ret_context, const struct ids *ids,
                         const void *state, size_t state_bytes)
{
    memcpy(ret_context->trace_id, ids->trace_id, TRACE_ID_BYTES);
    memcpy(ret_context->span_id, ids->span_id, SPAN_ID_BYTES);
    ret_context->flags = ids->flags;
    memcpy(ret_context->trace_state, state, state_bytes);
    ret_context->trace_state[state_bytes] = '\0';
}

void dwell_span_context(const struct dwell_span *caller_span, struct dwell_context *ret_context)
{
    static const struct ids none;
    const struct spanning *span = (const struct spanning *)caller_span;
    if (ret_context == NULL) {
        return;
    }
    if (span == NULL) {
        context_make(ret_context, &none, "", 0);
        return;
    }
    const uint8_t *bytes = span->memory != NULL ? span->memory : span->inline_bytes;
    context_make(ret_context, &span->ids, bytes + span->state_at, span->state_bytes);
}

bool dwell_span_current(dwell_t *dwell, struct dwell_context *ret_context)
{
    static const struct ids none;
    struct lane *lane = dwell != NULL ? lane_known(dwell) : NULL;
    const struct level *level = lane != NULL ? level_current(lane) : NULL;
    if (ret_context != NULL) {
        context_make(ret_context, level != NULL ? &level->ids : &none,
                     level != NULL ? level->state : "", level != NULL ? level->state_bytes : 0);
    }
    return level != NULL;
}

/* ---- Time budgets ----
 *
 *   word of a layer     63      52 51     44 43                              0
 *                      +----------+---------+---------------------------------+
 *                      |  starts  |    0    | ns it has taken                 |   nothing runs
 *                      +----------+---------+---------------------------------+
 *                      |  starts  |    n    | clock when that time was 0, as  |   n operations run
 *                      | mod 2^12 |         | if it had run ever since,       |
 *                      |          |         | mod 2^44                        |
 *                      +----------+---------+---------------------------------+
 *
 * The time taken while operations run is the clock less the low part. Only the first start and the
 * last stop need the clock. It is read between the load of a word and its exchange, which fails if
 * another thread has started something in between: no time is counted from before somebody's stop,
 * and none is lost that was up to it. (It would have to be a multiple of 4096 starts, within the few
 * ns of one stop, to be overlooked.)
 */

#define WORD_TIME     ((UINT64_C(1) << 44) - 1)
#define WORD_ONE      (UINT64_C(1) << 44)
#define WORD_COUNT    (UINT64_C(255) << 44)
#define WORD_START    (UINT64_C(1) << 52)
#define WORD_STARTS   (~(WORD_START - 1))
#define WORD_TIME_MAX (WORD_TIME - (WORD_TIME >> 4)) /* 4.5 h; what seems more is negative */

#define BUDGET_MS_MIN  0.001
#define BUDGET_MS_MAX  14400000.0 /* 4 h */
#define TOTAL_MS       50.0
#define SOFT_LIMIT_PCT 0.8

static const struct dwell_budget_layer known_layers[] = {
    [DWELL_LAYER1_VALIDATION] = {.name = "layer1_validation", .budget_ms = 5},
    [DWELL_LAYER2_DELIBERATION] = {.name = "layer2_deliberation", .budget_ms = 20},
    [DWELL_LAYER3_POLICY] = {.name = "layer3_policy", .budget_ms = 10},
    [DWELL_LAYER4_AUDIT] = {.name = "layer4_audit",
                            .budget_ms = 15,
                            .enforcement = DWELL_ENFORCEMENT_LENIENT},
};

enum { KNOWN_LAYERS = sizeof known_layers / sizeof known_layers[0] };

static const char total_name[] = "total";

/* What a layer is unless more is said of it. */
static struct dwell_budget_layer layer_known(const char *name)
{
    for (unsigned i = 0; i < KNOWN_LAYERS; i++) {
        if (strcmp(known_layers[i].name, name) == 0) {
            return known_layers[i];
        }
    }
    return (struct dwell_budget_layer){.name = name};
}

/* False: `from` makes no sense. */
static bool layer_init(struct budget_layer *layer, const struct dwell_budget_layer *from,
                       double total_ms)
{
    size_t name_bytes = from->name != NULL ? strnlen(from->name, sizeof layer->name + 1) : 0;
    if (name_bytes == 0 || name_bytes > sizeof layer->name ||
        (from->budget_ms != 0 && from->budget_share != 0)) {
        return false;
    }
    struct dwell_budget_layer known = layer_known(from->name);
    double ms = from->budget_ms != 0 ? from->budget_ms : known.budget_ms;
    if (from->budget_share != 0) {
        ms = from->budget_share > 0 && from->budget_share <= 1 ? from->budget_share * total_ms : 0;
    }
    double soft = from->soft_limit_pct != 0 ? from->soft_limit_pct : SOFT_LIMIT_PCT;
    bool in_range = ms >= BUDGET_MS_MIN && ms <= BUDGET_MS_MAX && soft > 0 && soft <= 1;
    if (!in_range || from->enforcement < DWELL_ENFORCEMENT_DEFAULT ||
        from->enforcement > DWELL_ENFORCEMENT_LENIENT) {
        return false; /* also for NaN */
    }
    enum dwell_enforcement enforcement =
        from->enforcement != DWELL_ENFORCEMENT_DEFAULT ? from->enforcement : known.enforcement;
    atomic_store_explicit(&layer->word, 0, memory_order_relaxed);
    atomic_store_explicit(&layer->recorded_ns, 0, memory_order_relaxed);
    layer->budget_ns = (uint64_t)(ms * 1e6 + 0.5);
    layer->soft_limit_ns = (uint64_t)(ms * soft * 1e6 + 0.5);
    layer->strict = enforcement != DWELL_ENFORCEMENT_LENIENT;
    layer->name_bytes = (uint8_t)name_bytes;
    memcpy(layer->name, from->name, name_bytes);
    return true;
}

static bool layer_is_named(const struct budget_layer *layer, const struct budget_layer *other)
{
    return layer->name_bytes == other->name_bytes &&
           memcmp(layer->name, other->name, layer->name_bytes) == 0;
}

/* Adds a layer whose name is new. */
static bool layer_add(struct budgeting *budget, const struct dwell_budget_layer *from,
                      double total_ms)
{
    struct budget_layer *layer = &budget->layers[budget->layer_count];
    if (!layer_init(layer, from, total_ms) || layer_is_named(layer, &budget->total)) {
        return false;
    }
    for (uint32_t i = 0; i < budget->layer_count; i++) {
        if (layer_is_named(layer, &budget->layers[i])) {
            return false;
        }
    }
    budget->layer_count++;
    return true;
}

static bool budget_fill(struct budgeting *budget, const struct dwell_budget_options *options)
{
    const struct dwell_budget_layer total = {
        .name = total_name,
        .budget_ms = options->total_ms != 0 ? options->total_ms : TOTAL_MS,
        .soft_limit_pct = options->total_soft_limit_pct,
        .enforcement = options->total_enforcement,
    };
    const struct dwell_budget_layer *layers =
        options->layers != NULL ? options->layers : known_layers;
    size_t count = options->layers != NULL ? options->layer_count : KNOWN_LAYERS;
    size_t id_bytes = options->request_id != NULL
                          ? strnlen(options->request_id, sizeof budget->request_id + 1)
                          : 0;
    if (count > DWELL_BUDGET_LAYERS_MAX || id_bytes > sizeof budget->request_id ||
        !layer_init(&budget->total, &total, 0)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!layer_add(budget, &layers[i], total.budget_ms)) {
            return false;
        }
    }
    memcpy(budget->request_id, id_bytes > 0 ? options->request_id : "", id_bytes);
    budget->request_id_bytes = (uint32_t)id_bytes;
    return true;
}

bool dwell_budget_init(dwell_t *dwell, struct dwell_budget *budget,
                       const struct dwell_budget_options *options)
{
    struct budgeting *own = (struct budgeting *)budget;
    struct dwell_budget_options said = {0};
    if (own == NULL) {
        return false;
    }
    if (options != NULL) {
        memcpy(&said, options, options->size < sizeof said ? options->size : sizeof said);
    }
    own->dwell = dwell;
    own->layer_count = 0;
    bool good = budget_fill(own, &said);
    if (!good) {
        own->layer_count = 0;
        own->total.budget_ns = 0;
    }
    return good;
}

static bool layer_is_there(const struct budgeting *budget, unsigned layer)
{
    if (budget == NULL) {
        return false;
    }
    return layer == DWELL_LAYER_TOTAL ? budget->total.budget_ns > 0 : layer < budget->layer_count;
}

/* NULL: there is no such layer. */
static struct budget_layer *layer_at(struct budgeting *budget, unsigned layer)
{
    if (!layer_is_there(budget, layer)) {
        return NULL;
    }
    return layer == DWELL_LAYER_TOTAL ? &budget->total : &budget->layers[layer];
}

static inline bool word_runs(uint64_t word)
{
    return (word & WORD_COUNT) != 0;
}

static inline uint64_t word_elapsed_ns(uint64_t word, uint64_t now)
{
    uint64_t elapsed_ns = (word_runs(word) ? now - word : word) & WORD_TIME;
    return elapsed_ns <= WORD_TIME_MAX ? elapsed_ns : 0;
}

/* A layer and the total at one moment. The words are older than the clock: see above. */
struct sight {
    const struct budget_layer *layer;
    const struct budget_layer *total;
    uint64_t word;
    uint64_t total_word;
    uint64_t now_ns;
};

/* The layer is there. */
static inline struct sight layer_look(const struct budgeting *budget, unsigned layer)
{
    struct sight sight = {.total = &budget->total};
    sight.layer = layer == DWELL_LAYER_TOTAL ? &budget->total : &budget->layers[layer];
    sight.word = atomic_load_explicit(&sight.layer->word, memory_order_acquire);
    sight.total_word = atomic_load_explicit(&budget->total.word, memory_order_acquire);
    sight.now_ns = now_ns();
    return sight;
}

static enum dwell_verdict layer_judge(const struct budget_layer *layer, uint64_t elapsed_ns)
{
    if (elapsed_ns > layer->budget_ns) {
        return layer->strict ? DWELL_EXCEEDED_STRICT : DWELL_EXCEEDED;
    }
    return elapsed_ns > layer->soft_limit_ns ? DWELL_SOFT_LIMIT : DWELL_WITHIN;
}

static enum dwell_verdict sight_judge(const struct sight *sight, double *ret_elapsed_ms)
{
    uint64_t elapsed_ns = word_elapsed_ns(sight->word, sight->now_ns);
    enum dwell_verdict verdict = layer_judge(sight->layer, elapsed_ns);
    enum dwell_verdict whole =
        layer_judge(sight->total, word_elapsed_ns(sight->total_word, sight->now_ns));
    if (ret_elapsed_ms != NULL) {
        *ret_elapsed_ms = (double)elapsed_ns / 1e6;
    }
    return whole >= DWELL_EXCEEDED && whole > verdict ? whole : verdict;
}

void dwell_budget_start(struct dwell_budget *budget, unsigned layer)
{
    struct budgeting *own = (struct budgeting *)budget;
    struct budget_layer *found = layer_at(own, layer);
    if (found == NULL) {
        return;
    }
    uint64_t word = atomic_load_explicit(&found->word, memory_order_acquire);
    uint64_t next;
    do {
        if ((word & WORD_COUNT) == WORD_COUNT) {
            return;
        }
        next = word + WORD_ONE + WORD_START;
        if (!word_runs(word)) {
            next = (next & ~WORD_TIME) | ((now_ns() - word) & WORD_TIME);
        }
    } while (!atomic_compare_exchange_weak_explicit(&found->word, &word, next, memory_order_acq_rel,
                                                    memory_order_acquire));
}

/* The span that a layer was part of, and when it was left; NULL: none that is shown. */
static uint8_t *budget_span_put(uint8_t *out, const struct level *level, uint64_t left_ns)
{
    if (level == NULL) {
        return out;
    }
    out = put_bytes(out, BUDGET_TRACE_ID, level->ids.trace_id, TRACE_ID_BYTES);
    out = put_bytes(out, BUDGET_SPAN_ID, level->ids.span_id, SPAN_ID_BYTES);
    out = put_fixed64(out, BUDGET_TIMESTAMP, left_ns + level->wall_offset_ns);
    if ((level->ids.flags & DWELL_CONTEXT_DECIDED) != 0) {
        out = put_fixed32(out, BUDGET_FLAGS, trace_flags(level->ids.flags));
    }
    return out;
}

/* The time up to `elapsed_ns`, which it is at `left_ns`, that is in no record yet is in this one. */
static void layer_record(struct budgeting *budget, struct budget_layer *layer, uint64_t elapsed_ns,
                         uint64_t left_ns, const char *operation)
{
    uint64_t before_ns = atomic_load_explicit(&layer->recorded_ns, memory_order_relaxed);
    do {
        if (before_ns > elapsed_ns) {
            return; /* another thread has ended a later operation, and recorded this one with it */
        }
    } while (!atomic_compare_exchange_weak_explicit(&layer->recorded_ns, &before_ns, elapsed_ns,
                                                    memory_order_relaxed, memory_order_relaxed));
    struct entry entry;
    uint64_t need = BUDGET_FIXED_BYTES + (uint64_t)layer->name_bytes + budget->request_id_bytes +
                    text_bytes_max(operation);
    uint8_t *out = entry_begin(budget->dwell, &entry, need);
    if (out == NULL) {
        return;
    }
    out = put_bytes(out, BUDGET_LAYER, layer->name, layer->name_bytes);
    out = put_double(out, BUDGET_ELAPSED, (double)(elapsed_ns - before_ns) / 1e6);
    if (operation != NULL) {
        out = put_text(out, BUDGET_OPERATION, operation);
    }
    if (budget->request_id_bytes > 0) {
        out = put_bytes(out, BUDGET_REQUEST_ID, budget->request_id, budget->request_id_bytes);
    }
    if (before_ns > 0) {
        out = put_double(out, BUDGET_BEFORE, (double)before_ns / 1e6);
    }
    out = budget_span_put(out, level_shown(entry.lane), left_ns);
    entry_end(budget->dwell, &entry, out, REF_BUDGET);
}

static enum dwell_verdict verdict_none(double *ret_elapsed_ms)
{
    if (ret_elapsed_ms != NULL) {
        *ret_elapsed_ms = 0;
    }
    return DWELL_WITHIN;
}

enum dwell_verdict dwell_budget_stop(struct dwell_budget *budget, unsigned layer,
                                     const char *operation, double *ret_elapsed_ms)
{
    struct budgeting *own = (struct budgeting *)budget;
    struct budget_layer *found = layer_at(own, layer);
    if (found == NULL) {
        return verdict_none(ret_elapsed_ms);
    }
    struct sight sight;
    uint64_t word;
    uint64_t next;
    do {
        sight = layer_look(own, layer);
        word = sight.word;
        if (!word_runs(word)) {
            return sight_judge(&sight, ret_elapsed_ms);
        }
        next = word - WORD_ONE;
        if (!word_runs(next)) {
            next = (word & WORD_STARTS) | word_elapsed_ns(word, sight.now_ns);
        }
    } while (!atomic_compare_exchange_weak_explicit(&found->word, &word, next, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (!word_runs(next) && own->dwell != NULL) {
        layer_record(own, found, next & WORD_TIME, sight.now_ns, operation);
    }
    return sight_judge(&sight, ret_elapsed_ms);
}

enum dwell_verdict dwell_budget_check(const struct dwell_budget *budget, unsigned layer,
                                      double *ret_elapsed_ms)
{
    const struct budgeting *own = (const struct budgeting *)budget;
    if (!layer_is_there(own, layer)) {
        return verdict_none(ret_elapsed_ms);
    }
    struct sight sight = layer_look(own, layer);
    return sight_judge(&sight, ret_elapsed_ms);
}

/* When the time of the layer is over, or of the total if that was started and is over sooner. */
static uint64_t sight_deadline(const struct sight *sight)
{
    uint64_t deadline_ns =
        sight->now_ns + sight->layer->budget_ns - word_elapsed_ns(sight->word, sight->now_ns);
    if (sight->total_word == 0) {
        return deadline_ns;
    }
    return at_most(deadline_ns, sight->now_ns + sight->total->budget_ns -
                                    word_elapsed_ns(sight->total_word, sight->now_ns));
}

double dwell_budget_remaining(const struct dwell_budget *budget, unsigned layer)
{
    const struct budgeting *own = (const struct budgeting *)budget;
    if (!layer_is_there(own, layer)) {
        return HUGE_VAL;
    }
    struct sight sight = layer_look(own, layer);
    return (double)less_or_zero(sight_deadline(&sight), sight.now_ns) / 1e6;
}

uint64_t dwell_budget_deadline(const struct dwell_budget *budget, unsigned layer)
{
    const struct budgeting *own = (const struct budgeting *)budget;
    if (!layer_is_there(own, layer)) {
        return UINT64_MAX;
    }
    struct sight sight = layer_look(own, layer);
    return sight_deadline(&sight);
}

static void layer_reset(struct budget_layer *layer)
{
    atomic_store_explicit(&layer->word, 0, memory_order_release);
    atomic_store_explicit(&layer->recorded_ns, 0, memory_order_relaxed);
}

void dwell_budget_reset(struct dwell_budget *budget, unsigned layer)
{
    struct budgeting *own = (struct budgeting *)budget;
    struct budget_layer *found = layer_at(own, layer);
    if (found != NULL) {
        layer_reset(found);
    }
    for (uint32_t i = 0; own != NULL && layer == DWELL_LAYER_ALL && i < own->layer_count; i++) {
        layer_reset(&own->layers[i]);
    }
    if (own != NULL && layer == DWELL_LAYER_ALL) {
        layer_reset(&own->total);
    }
}

/* ---- Propagation ---- */

enum { HEX_TRACE_ID = 2 * TRACE_ID_BYTES, HEX_SPAN_ID = 2 * SPAN_ID_BYTES };

static char *put_hex(char *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 0xF];
    }
    return out;
}

static int hex_digit(char digit, bool capitals)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return capitals && digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* False when one of the 2 * len characters is no digit, the end of the text included. */
static bool get_hex(const char *text, uint8_t *out, size_t len, bool capitals)
{
    for (size_t i = 0; i < len; i++) {
        int high = hex_digit(text[2 * i], capitals);
        int low = high >= 0 ? hex_digit(text[2 * i + 1], capitals) : -1;
        if (low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1"
 *  ^^^^^^^^^^^^^^^^ these are 0 in 64-bit trace ids, which are written without them */
static void inject_b3(const struct dwell_context *context, const char *state, dwell_set_fn set,
                      void *arg)
{
    char text[HEX_TRACE_ID + 1 + HEX_SPAN_ID + 1 + 1 + 1];
    char *out = text;
    if (context_has_span(context)) {
        out = put_hex(out, context->trace_id, TRACE_ID_BYTES);
        *out++ = '-';
        out = put_hex(out, context->span_id, SPAN_ID_BYTES);
        if (state[0] != '\0') {
            *out++ = '-';
        }
    }
    *out = state[0];
    out[state[0] != '\0' ? 1 : 0] = '\0';
    if (text[0] != '\0') {
        set(arg, "b3", text);
    }
}

static void inject_b3_multi(const struct dwell_context *context, const char *state,
                            dwell_set_fn set, void *arg)
{
    char text[HEX_TRACE_ID + 1];
    if (context_has_span(context)) {
        *put_hex(text, context->trace_id, TRACE_ID_BYTES) = '\0';
        set(arg, "X-B3-TraceId", text);
        *put_hex(text, context->span_id, SPAN_ID_BYTES) = '\0';
        set(arg, "X-B3-SpanId", text);
    }
    if (state[0] == 'd') {
        set(arg, "X-B3-Flags", "1"); /* which implies the other */
    } else if (state[0] != '\0') {
        set(arg, "X-B3-Sampled", state);
    }
}

/* "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" */
static void inject_w3c(const struct dwell_context *context, bool sampled, dwell_set_fn set,
                       void *arg)
{
    char text[TRACEPARENT_BYTES + 1] = "00-";
    if (!context_has_span(context)) {
        return;
    }
    char *out = put_hex(text + 3, context->trace_id, TRACE_ID_BYTES);
    *out++ = '-';
    out = put_hex(out, context->span_id, SPAN_ID_BYTES);
    memcpy(out, sampled ? "-01" : "-00", sizeof "-00");
    set(arg, "traceparent", text);
    size_t state_bytes = trace_state_length(context->trace_state);
    if (state_bytes > 0) {
        char state[DWELL_TRACE_STATE_MAX + 1];
        memcpy(state, context->trace_state, state_bytes);
        state[state_bytes] = '\0';
        set(arg, "tracestate", state);
    }
}

static unsigned formats_known(unsigned formats)
{
    formats &= DWELL_PROPAGATION_B3 | DWELL_PROPAGATION_B3_MULTI | DWELL_PROPAGATION_W3C |
               DWELL_PROPAGATION_NONE;
    return formats != 0 ? formats : atomic_load_explicit(&default_formats, memory_order_relaxed);
}

void dwell_inject(dwell_t *dwell, const struct dwell_context *context, unsigned formats,
                  dwell_set_fn set, void *arg)
{
    struct dwell_context current;
    if (context == NULL) {
        (void)dwell_span_current(dwell, &current); /* without one nothing comes of it */
        context = &current;
    }
    if (set == NULL) {
        return;
    }
    formats = formats_known(formats);
    uint32_t flags = flags_whole(context->flags);
    bool sampled = (flags & DWELL_CONTEXT_SAMPLED) != 0;
    bool unsaid = (flags & DWELL_CONTEXT_DECIDED) == 0 &&
                  ((flags & DWELL_CONTEXT_REMOTE) != 0 || !context_has_span(context));
    const char *state = unsaid                               ? ""
                        : (flags & DWELL_CONTEXT_DEBUG) != 0 ? "d"
                        : sampled                            ? "1"
                                                             : "0";
    if ((formats & DWELL_PROPAGATION_W3C) != 0) {
        /* It has no word for what B3 leaves open. */
        bool verdict = dwell == NULL || trace_is_sampled(dwell, context->trace_id);
        inject_w3c(context, unsaid ? verdict : sampled, set, arg);
    }
    if ((formats & DWELL_PROPAGATION_B3) != 0) {
        inject_b3(context, state, set, arg);
    }
    if ((formats & DWELL_PROPAGATION_B3_MULTI) != 0) {
        inject_b3_multi(context, state, set, arg);
    }
}

/* Asks for a header by its usual spelling, then in small letters. */
static const char *header_get(dwell_get_fn find, void *arg, const char *name)
{
    char small[HEADER_NAME_BYTES];
    const char *value = find(arg, name);
    if (value != NULL) {
        return value;
    }
    size_t len = strlen(name); /* one of ours, which all fit */
    for (size_t i = 0; i <= len; i++) {
        small[i] = small_letter(name[i]);
    }
    return strcmp(small, name) != 0 ? find(arg, small) : NULL;
}

/* 16 digits are the low half of an id; `out` is all zero before. False when it is none. */
static bool get_trace_id(const char *text, size_t digits, uint8_t out[TRACE_ID_BYTES])
{
    size_t bytes = digits / 2;
    return (digits == HEX_TRACE_ID || digits == HEX_TRACE_ID / 2) &&
           get_hex(text, out + TRACE_ID_BYTES - bytes, bytes, true) &&
           !id_is_zero(out, TRACE_ID_BYTES);
}

static bool get_span_id(const char *text, uint8_t out[SPAN_ID_BYTES], bool capitals)
{
    return get_hex(text, out, SPAN_ID_BYTES, capitals) && !id_is_zero(out, SPAN_ID_BYTES);
}

/* The flags that a sampling state of B3 stands for, or 0. */
static uint32_t state_flags(char state)
{
    switch (state) {
    case '0':
        return DWELL_CONTEXT_DECIDED;
    case '1':
        return DWELL_CONTEXT_DECIDED | DWELL_CONTEXT_SAMPLED;
    case 'd':
        return DWELL_CONTEXT_DECIDED | DWELL_CONTEXT_SAMPLED | DWELL_CONTEXT_DEBUG;
    default:
        return 0;
    }
}

/* "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1-05e3ac9a4f6e3b90", the last one or two parts
 * perhaps not there, or the third part alone. */
static bool extract_b3(const char *text, struct dwell_context *context)
{
    uint8_t parent[SPAN_ID_BYTES];
    context->flags = DWELL_CONTEXT_REMOTE;
    if (text[0] != '\0' && text[1] == '\0') {
        context->flags |= state_flags(text[0]);
        return state_flags(text[0]) != 0;
    }
    size_t digits = strcspn(text, "-");
    if (!get_trace_id(text, digits, context->trace_id) || text[digits] != '-' ||
        !get_span_id(text + digits + 1, context->span_id, true)) {
        return false;
    }
    const char *rest = text + digits + 1 + HEX_SPAN_ID;
    if (rest[0] == '\0') {
        return true; /* the decision is left to us */
    }
    if (rest[0] != '-' || state_flags(rest[1]) == 0) {
        return false;
    }
    context->flags |= state_flags(rest[1]);
    rest += 2;
    return rest[0] == '\0' || (rest[0] == '-' && get_hex(rest + 1, parent, sizeof parent, true) &&
                               rest[1 + HEX_SPAN_ID] == '\0');
}

/* X-B3-Sampled and X-B3-Flags; of values that are none, nothing is decided. */
static uint32_t multi_flags(dwell_get_fn find, void *arg)
{
    const char *debug = header_get(find, arg, "X-B3-Flags");
    if (debug != NULL && strcmp(debug, "1") == 0) {
        return state_flags('d');
    }
    const char *sampled = header_get(find, arg, "X-B3-Sampled");
    if (sampled == NULL) {
        return 0;
    }
    if (text_is(sampled, "true") || text_is(sampled, "false")) {
        return state_flags(text_is(sampled, "true") ? '1' : '0'); /* of senders before the rule */
    }
    bool is_one = (sampled[0] == '0' || sampled[0] == '1') && sampled[1] == '\0';
    return is_one ? state_flags(sampled[0]) : 0;
}

static bool extract_b3_multi(dwell_get_fn find, void *arg, struct dwell_context *context)
{
    const char *text = header_get(find, arg, "X-B3-TraceId");
    bool has_ids = text != NULL && get_trace_id(text, strlen(text), context->trace_id);
    text = has_ids ? header_get(find, arg, "X-B3-SpanId") : NULL;
    has_ids =
        text != NULL && get_span_id(text, context->span_id, true) && text[HEX_SPAN_ID] == '\0';
    if (!has_ids) {
        memset(context, 0, sizeof *context);
    }
    uint32_t flags = multi_flags(find, arg);
    context->flags = DWELL_CONTEXT_REMOTE | flags;
    return has_ids || flags != 0;
}

/* "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
 *  ^^ what later versions add comes after another "-" */
static bool extract_traceparent(const char *text, struct dwell_context *context)
{
    uint8_t version;
    uint8_t flags;
    if (strnlen(text, TRACEPARENT_BYTES) < TRACEPARENT_BYTES || text[2] != '-' || text[35] != '-' ||
        text[52] != '-' || !get_hex(text, &version, 1, false) ||
        !get_hex(text + 3, context->trace_id, TRACE_ID_BYTES, false) ||
        !get_span_id(text + 36, context->span_id, false) || !get_hex(text + 53, &flags, 1, false)) {
        return false;
    }
    char after = text[TRACEPARENT_BYTES];
    context->flags = DWELL_CONTEXT_REMOTE | DWELL_CONTEXT_DECIDED | (flags & 1U);
    return version != 0xFF && (after == '\0' || (version != 0 && after == '-')) &&
           !id_is_zero(context->trace_id, TRACE_ID_BYTES);
}

/* Keeps a trace state, without blanks around it. Of one that is too long, members are left out from
 * its end, as the specification wants. */
static void keep_trace_state(const char *text, struct dwell_context *context)
{
    text += strspn(text, " \t");
    size_t len = strnlen(text, DWELL_TRACE_STATE_MAX + 1);
    if (len > DWELL_TRACE_STATE_MAX) {
        do {
            len--;
        } while (len > 0 && text[len] != ',');
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t')) {
        len--;
    }
    memcpy(context->trace_state, text, len);
    context->trace_state[len] = '\0';
    if (trace_state_length(context->trace_state) == 0) {
        context->trace_state[0] = '\0'; /* it is no trace state: traceparent counts without it */
    }
}

static bool extract_w3c(dwell_get_fn find, void *arg, struct dwell_context *context)
{
    const char *text = header_get(find, arg, "traceparent");
    if (text == NULL || !extract_traceparent(text, context)) {
        return false;
    }
    text = header_get(find, arg, "tracestate");
    if (text != NULL) {
        keep_trace_state(text, context);
    }
    return true;
}

bool dwell_extract(unsigned formats, dwell_get_fn find, void *arg,
                   struct dwell_context *ret_context)
{
    if (ret_context == NULL) {
        return false;
    }
    struct dwell_context *context = ret_context;
    memset(context, 0, sizeof *context);
    if (find == NULL) {
        return false;
    }
    formats = formats_known(formats);
    if ((formats & DWELL_PROPAGATION_W3C) != 0) {
        if (extract_w3c(find, arg, context)) {
            return true;
        }
        memset(context, 0, sizeof *context);
    }
    if ((formats & (DWELL_PROPAGATION_B3 | DWELL_PROPAGATION_B3_MULTI)) != 0) {
        const char *text = header_get(find, arg, "b3");
        if (text != NULL && extract_b3(text, context)) {
            return true;
        }
        memset(context, 0, sizeof *context);
        if (extract_b3_multi(find, arg, context)) {
            return true;
        }
        memset(context, 0, sizeof *context);
    }
    return false;
}

const char *dwell_header_find(void *headers, const char *name)
{
    const struct dwell_headers *all_headers = headers;
    if (headers == NULL || name == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < all_headers->count; i++) {
        const struct dwell_header *header = &all_headers->header[i];
        if (header->name != NULL && text_is(header->name, name)) {
            return header->value;
        }
    }
    return NULL;
}

/* ---- Waiting for confirmations ---- */

static void flushes_answer(struct dwell *dwell, uint64_t ticket, bool failed)
{
    pthread_mutex_lock(&dwell->lock);
    if (ticket > dwell->flush_done) {
        dwell->flush_done = ticket;
        if (failed) {
            dwell->flush_failed = ticket;
        }
        pthread_cond_broadcast(&dwell->flushed);
    }
    pthread_mutex_unlock(&dwell->lock);
}

/* True when the ticket is answered, and how. */
static bool flush_is_done(struct dwell *dwell, uint64_t ticket, int *ret_result)
{
    pthread_mutex_lock(&dwell->lock);
    bool done = dwell->flush_done >= ticket;
    if (done) {
        *ret_result = dwell->flush_failed >= ticket ? DWELL_UNCONFIRMED : DWELL_OK;
    }
    pthread_mutex_unlock(&dwell->lock);
    return done;
}

/* ---- Batches: from lanes to bytes. The caller holds `pumping`. ---- */

/* Lanes that were ever claimed, and the shared one, which comes last. */
static uint32_t lanes_live(struct dwell *dwell)
{
    return atomic_load(&dwell->lanes_used) + 1;
}

static struct lane *lane_at(struct dwell *dwell, uint32_t i, uint32_t live)
{
    return &dwell->lanes[i + 1 < live ? i : dwell->lane_count];
}

static uint64_t lane_drops(struct dwell *dwell)
{
    uint64_t drops = get(&dwell->crowded);
    uint32_t live = lanes_live(dwell);
    for (uint32_t i = 0; i < live; i++) {
        drops += get(&lane_at(dwell, i, live)->dropped);
    }
    return drops;
}

static uint64_t calls_counted(struct dwell *dwell)
{
    uint64_t calls = get(&dwell->crowded);
    uint32_t live = lanes_live(dwell);
    for (uint32_t i = 0; i < live; i++) {
        calls += get(&lane_at(dwell, i, live)->recorded);
    }
    return calls;
}

/* What the sending side finds in a lane. */
struct found {
    uint32_t ref;        /* of its model, 1 + index, or 0; or REF_… */
    uint32_t bytes;      /* of its body */
    const uint8_t *body; /* in the lane, or below */
    uint8_t plain[PLAIN_BODY_BYTES];
};

/* Steps over one record or skip at `*tail`, before `head`. True when it was a record. */
static inline bool lane_step(const struct dwell *dwell, const struct lane *lane, uint64_t *tail,
                             struct found *ret_found)
{
    uint64_t at = *tail & (dwell->ring_bytes - 1);
    uint64_t head;
    memcpy(&head, lane->ring + at, sizeof head);
    uint32_t len = (uint32_t)head;
    if (len == LENGTH_SKIP) {
        *tail += dwell->ring_bytes - at;
        return false;
    }
    ret_found->ref = (uint32_t)(head >> 32);
    ret_found->body = lane->ring + at + RECORD_HEAD_BYTES;
    if (len == LENGTH_PLAIN || len == LENGTH_PLAIN_FAILED) {
        uint64_t wall_ns;
        memcpy(&wall_ns, ret_found->body, sizeof wall_ns);
        uint8_t *end = put_double(ret_found->plain, SAMPLE_EXECUTION_TIME, (double)wall_ns / 1e6);
        end = len == LENGTH_PLAIN_FAILED ? put_number(end, SAMPLE_ERROR, 1) : end;
        ret_found->body = ret_found->plain;
        ret_found->bytes = (uint32_t)(end - ret_found->plain);
        *tail += PLAIN_BYTES;
        return true;
    }
    ret_found->bytes = len;
    *tail += RECORD_HEAD_BYTES + padded(len);
    return true;
}

/* What a record is in the batch. */
static inline unsigned batch_field(uint32_t ref)
{
    switch (ref) {
    case REF_METRIC:
        return BATCH_METRIC;
    case REF_SPAN:
        return BATCH_SPAN;
    case REF_BUDGET:
        return BATCH_BUDGET;
    default:
        return BATCH_SAMPLE;
    }
}

/* Adds a record, and its model to the string table if it is the batch's first. False: no room. */
static inline bool batch_add(struct dwell *dwell, const struct found *found)
{
    struct outgoing *out = &dwell->out;
    bool is_sample = found->ref < REF_OTHERS;
    struct batch_ref *known = found->ref != 0 && is_sample ? &dwell->refs[found->ref - 1] : NULL;
    const struct dwell_model *model =
        known != NULL && known->batch != out->batch ? &dwell->models[found->ref - 1] : NULL;
    size_t need = 16 + (size_t)found->bytes + (model != NULL ? 4 + (size_t)model->name_bytes : 0);
    if ((model != NULL && out->string_count == STRINGS_MAX) ||
        out->strings_bytes + out->records_bytes + need >
            BATCH_BYTES - BATCH_HEAD_BYTES - BATCH_TAIL_BYTES) {
        return false;
    }
    if (model != NULL) {
        uint8_t *end = put_bytes(out->strings + out->strings_bytes, BATCH_STRINGS, model->name,
                                 model->name_bytes);
        out->strings_bytes = (size_t)(end - out->strings);
        *known = (struct batch_ref){.batch = out->batch, .ref = ++out->string_count};
    }
    uint8_t *at = put_tag(out->records + out->records_bytes, batch_field(found->ref), WIRE_BYTES);
    if (known != NULL) {
        at = put_varint(at, 1 + varint_bytes(known->ref) + found->bytes);
        at = put_number(at, SAMPLE_MODEL_REF, known->ref);
    } else {
        at = put_varint(at, found->bytes);
    }
    memcpy(at, found->body, found->bytes);
    out->records_bytes = (size_t)(at + found->bytes - out->records);
    out->record_count++;
    return true;
}

/* False when the batch is full before the lane is empty. */
static bool batch_add_lane(struct dwell *dwell, struct lane *lane)
{
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
    bool room = true;
    while (tail != head && room) {
        struct found found;
        uint64_t next = tail;
        room = !lane_step(dwell, lane, &next, &found) || batch_add(dwell, &found);
        tail = room ? next : tail;
    }
    atomic_store_explicit(&lane->tail, tail, memory_order_release);
    return room;
}

/* Takes up a flush that was asked for, unless the last one is still being worked on: what lanes hold
 * now has to be sent before it. */
static void flush_take_up(struct dwell *dwell)
{
    uint64_t wanted = atomic_load(&dwell->flush_wanted);
    if (dwell->flush_open != 0 || wanted == dwell->flush_asked) {
        return;
    }
    dwell->flush_open = wanted;
    dwell->flush_asked = wanted;
    uint32_t live = lanes_live(dwell);
    for (uint32_t i = 0; i < live; i++) {
        struct lane *lane = lane_at(dwell, i, live);
        lane->flush_target = atomic_load_explicit(&lane->head, memory_order_acquire);
    }
}

static bool flush_is_reached(struct dwell *dwell)
{
    uint32_t live = lanes_live(dwell);
    for (uint32_t i = 0; i < live; i++) {
        struct lane *lane = lane_at(dwell, i, live);
        if (atomic_load_explicit(&lane->tail, memory_order_relaxed) < lane->flush_target) {
            return false;
        }
    }
    return true;
}

/* The batch on its way is done with, sent or not. */
static void batch_clear(struct outgoing *out)
{
    out->head_bytes = 0;
    out->strings_bytes = 0;
    out->records_bytes = 0;
    out->record_count = 0;
    out->string_count = 0;
    out->has_flush = false;
    out->batch++; /* every model is new to the next string table */
}

/* Where the client stands in its numbers. */
static uint8_t *ledger_put(uint8_t *out, const struct dwell *dwell, uint64_t first,
                           uint64_t dropped)
{
    out = put_bytes(out, BATCH_CLIENT_ID, dwell->client_id, sizeof dwell->client_id);
    out = put_number(out, BATCH_FIRST_SEQUENCE, first);
    return put_number(out, BATCH_DROPPED, dropped);
}

/* Makes a batch of what waits. False: nothing does. */
static bool batch_make(struct dwell *dwell)
{
    struct outgoing *out = &dwell->out;
    bool last = dwell->closing && !dwell->said_goodbye;
    flush_take_up(dwell);
    uint32_t live = lanes_live(dwell);
    for (uint32_t i = 0; i < live; i++) {
        uint32_t turn = (dwell->next_lane + i) % live;
        if (!batch_add_lane(dwell, lane_at(dwell, turn, live))) {
            dwell->next_lane = turn; /* whose rest comes first */
            last = false;
            break;
        }
    }
    uint64_t drops = lane_drops(dwell);
    uint64_t first = get(&dwell->assembled) + drops;
    add(&dwell->assembled, out->record_count);

    /* A frame that is kept may be sent again, and what is said once may not: it has a batch alone. */
    bool alone = dwell->kept.bytes == 0 || out->record_count == 0;
    last = last && alone;
    uint8_t *end = out->records + out->records_bytes;
    if (alone && dwell->flush_open != 0 && dwell->flush_flying == 0 && flush_is_reached(dwell)) {
        end = put_varint(put_tag(end, BATCH_FLUSH, WIRE_BYTES), 0);
        out->has_flush = true;
        dwell->flush_flying = dwell->flush_open;
        dwell->flush_open = 0;
    }
    if (last) {
        dwell->said_goodbye = true;
        uint64_t calls = first + out->record_count;
        end = put_tag(end, BATCH_GOODBYE, WIRE_BYTES);
        end = put_varint(end, 1 + varint_bytes(calls));
        end = put_number(end, GOODBYE_SEQUENCE, calls);
    }
    out->records_bytes = (size_t)(end - out->records);
    if (out->records_bytes == 0) {
        return false;
    }
    out->first = first;
    out->dropped = drops + get(&dwell->given_up);
    uint8_t *head = ledger_put(out->head + sizeof(uint32_t), dwell, first, out->dropped);
    out->head_bytes = (size_t)(head - out->head);
    put_frame_length(out->head,
                     out->head_bytes - sizeof(uint32_t) + out->strings_bytes + out->records_bytes);
    return true;
}

/* The flush whose answer will not come is asked for again. */
static void flush_reopen(struct dwell *dwell)
{
    dwell->flush_open = dwell->flush_open != 0 ? dwell->flush_open : dwell->flush_flying;
    dwell->flush_flying = 0;
    dwell->flush_heard = false;
}

/* Gives up the batch on its way. A flush in it is asked for again: what it waits for is gone. */
static void batch_give_up(struct dwell *dwell)
{
    struct outgoing *out = &dwell->out;
    add(&dwell->given_up, out->record_count);
    if (out->has_flush) {
        flush_reopen(dwell);
    }
    batch_clear(out);
    out->sent_bytes = at_most(out->sent_bytes, out->preamble_bytes);
}

/* ---- Kept frames. The caller holds `pumping`. ----
 *
 *      ring     tail           next           fresh           head
 *                v              v              v               v
 *      | free .. | sent, not    | to be sent   | never sent    | free .. |
 *                | acknowledged | again        |               |
 *
 *   Positions count bytes ever taken up. A frame does not wrap: a skip, a head of zeros, fills the end of
 *   the ring. Acknowledged: tail goes on. The connection broke: next goes back to tail. Sent: next goes
 *   on, and fresh with it where it is the first time. Full: no batch is made.
 *
 *      | bytes, 4 | records, 4 | first, 8 | dropped, 8 | 8 | frame with its length, rounded up to 8 |
 */

struct kept_head {
    uint32_t bytes; /* of the frame with its length; 0: a skip */
    uint32_t records;
    uint64_t first;
    uint64_t dropped;
    uint64_t reserved;
};
_Static_assert(sizeof(struct kept_head) == KEPT_HEAD_BYTES, "as it is drawn");

/* The head of the frame at `*at`, which is before kept.head, past a skip. */
static struct kept_head kept_head_at(const struct kept *kept, uint64_t *at)
{
    struct kept_head head = {0};
    uint64_t place = *at & (kept->bytes - 1);
    if (kept->bytes - place >= sizeof head) {
        memcpy(&head, kept->ring + place, sizeof head);
    }
    if (head.bytes == 0) {
        *at += kept->bytes - place;
        memcpy(&head, kept->ring, sizeof head);
    }
    return head;
}

static uint64_t kept_step(const struct kept_head *head)
{
    return KEPT_HEAD_BYTES + padded(head->bytes);
}

/* Room for a frame of any length, and for the skip before it. */
static bool kept_has_room(const struct kept *kept)
{
    return kept->bytes - (kept->head - kept->tail) >= UINT64_C(2) * KEPT_MOST;
}

/* Moves the batch at hand into the ring, which has room. */
static void kept_take_up(struct dwell *dwell)
{
    struct kept *kept = &dwell->kept;
    struct outgoing *out = &dwell->out;
    struct kept_head head = {
        .bytes = (uint32_t)(out->head_bytes + out->strings_bytes + out->records_bytes),
        .records = (uint32_t)out->record_count,
        .first = out->first,
        .dropped = out->dropped};
    uint64_t left = kept->bytes - (kept->head & (kept->bytes - 1));
    if (left < kept_step(&head)) {
        memset(kept->ring + (kept->head & (kept->bytes - 1)), 0,
               left < KEPT_HEAD_BYTES ? left : KEPT_HEAD_BYTES);
        kept->head += left;
    }
    uint8_t *at = kept->ring + (kept->head & (kept->bytes - 1));
    memcpy(at, &head, sizeof head);
    at += sizeof head;
    memcpy(at, out->head, out->head_bytes);
    at += out->head_bytes;
    if (out->strings_bytes > 0) {
        memcpy(at, out->strings, out->strings_bytes);
        at += out->strings_bytes;
    }
    memcpy(at, out->records, out->records_bytes);
    kept->head += kept_step(&head);
    batch_clear(out);
}

/* Sets out the next frame that was not sent on this connection. False: there is none. */
static bool kept_set_out(struct dwell *dwell)
{
    struct kept *kept = &dwell->kept;
    if (kept->next == kept->head) {
        return false;
    }
    struct kept_head head = kept_head_at(kept, &kept->next);
    dwell->out.kept = kept->ring + (kept->next & (kept->bytes - 1)) + KEPT_HEAD_BYTES;
    dwell->out.kept_bytes = head.bytes;
    return true;
}

/* Lets go of frames that are acknowledged, but for one on its way: it has to be sent to its end. */
static void kept_release(struct dwell *dwell)
{
    struct kept *kept = &dwell->kept;
    uint64_t end = dwell->out.kept_bytes != 0 ? kept->next : kept->fresh;
    while (kept->tail < end) {
        uint64_t tail = kept->tail;
        struct kept_head head = kept_head_at(kept, &tail);
        if (tail >= end || head.first + head.records > kept->acknowledged) {
            break;
        }
        kept->tail = tail + kept_step(&head);
        add(&dwell->acknowledged, head.records);
    }
    kept->next = kept->next < kept->tail ? kept->tail : kept->next;
}

/* The frame that was set out is written. A daemon that acknowledges nothing has it, or it is lost. */
static void kept_sent(struct dwell *dwell)
{
    struct kept *kept = &dwell->kept;
    struct kept_head head = kept_head_at(kept, &kept->next);
    bool again = kept->next < kept->fresh;
    kept->next += kept_step(&head);
    kept->fresh = again ? kept->fresh : kept->next;
    dwell->conn_sent += head.records;
    add(again ? &dwell->resent : &dwell->sent, head.records);
    add(&dwell->batches, 1);
    add(&dwell->sent_bytes, head.bytes);
    dwell->out.kept_bytes = 0;
    if (kept->answer == ANSWER_NO) {
        kept->tail = kept->next;
    } else {
        kept_release(dwell);
    }
}

/* Gives up what lies before the position. What was sent once may have arrived: it is in doubt. */
static void kept_give_up(struct dwell *dwell, uint64_t before)
{
    struct kept *kept = &dwell->kept;
    while (kept->tail < before) {
        struct kept_head head = kept_head_at(kept, &kept->tail);
        add(kept->tail < kept->fresh ? &dwell->unconfirmed : &dwell->given_up, head.records);
        kept->tail += kept_step(&head);
    }
    kept->next = kept->next < kept->tail ? kept->tail : kept->next;
    kept->fresh = kept->fresh < kept->tail ? kept->tail : kept->fresh;
}

/* A connection begins, or is over: what is not acknowledged is sent again, and what is said once is said
 * anew. */
static void kept_rewind(struct dwell *dwell)
{
    struct kept *kept = &dwell->kept;
    kept->next = kept->tail;
    kept->acknowledged = 0;
    kept->answer = ANSWER_NONE;
    kept->greets = true;
    dwell->out.kept_bytes = 0;
    if (dwell->out.head_bytes != 0 && dwell->out.has_flush) {
        flush_reopen(dwell);
    }
    batch_clear(&dwell->out);
}

/* What is to be sent next, with acknowledgements: before their answer, nothing. */
static bool kept_next(struct dwell *dwell)
{
    struct kept *kept = &dwell->kept;
    if (kept->answer == ANSWER_NONE) {
        return false;
    }
    if (kept_set_out(dwell)) {
        return true;
    }
    if (!kept_has_room(kept) || !batch_make(dwell)) {
        return false;
    }
    if (dwell->out.record_count == 0) {
        return true;
    }
    kept_take_up(dwell);
    return kept_set_out(dwell);
}

/* What the daemon says to a hello that asks. One that is older than acknowledgements says nothing, and
 * would count twice what comes again: that is then in doubt. */
static void kept_answer(struct dwell *dwell, enum answer answer, bool understands)
{
    struct kept *kept = &dwell->kept;
    if (kept->bytes != 0 && kept->answer == ANSWER_NONE) {
        kept->answer = answer;
        if (!understands) {
            kept_give_up(dwell, kept->fresh);
        }
    }
}

/* Gives up what waits, because it is too old to be worth sending. */
static void waiting_give_up(struct dwell *dwell)
{
    if (dwell->out.head_bytes != 0) {
        batch_give_up(dwell);
    }
    kept_give_up(dwell, dwell->kept.head);
    uint32_t live = lanes_live(dwell);
    for (uint32_t i = 0; i < live; i++) {
        struct lane *lane = lane_at(dwell, i, live);
        uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
        uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_relaxed);
        uint64_t records = 0;
        while (tail != head) {
            struct found found;
            records += lane_step(dwell, lane, &tail, &found) ? 1 : 0;
        }
        add(&dwell->given_up, records);
        add(&dwell->assembled, records);
        atomic_store_explicit(&lane->tail, tail, memory_order_release);
    }
}

/* ---- The connection. The caller holds `pumping`. ---- */

/* The directory of a socket in /tmp must be ours, or anybody could listen there. */
static bool path_is_ours(const char *path)
{
    char directory[PATH_BYTES];
    struct stat status;
    size_t len = (size_t)(strrchr(path, '/') - path);
    memcpy(directory, path, len);
    directory[len] = '\0';
    return lstat(directory, &status) == 0 && S_ISDIR(status.st_mode) && status.st_uid == geteuid();
}

/* A socket that is connected to the first path that exists, or -1. */
static int socket_open(const struct dwell *dwell)
{
    for (unsigned i = 0; i < dwell->path_count; i++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, dwell->paths[i], sizeof address.sun_path);
        if (dwell->private_path[i] && !path_is_ours(dwell->paths[i])) {
            continue;
        }
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            return -1;
        }
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) {
            return fd;
        }
        int error = errno;
        close(fd);
        if (error != ENOENT && error != ENOTDIR) {
            return -1;
        }
    }
    return -1;
}

/* What opens a connection: the format, and a batch with nothing but a hello. It says where the next
 * batch begins, so that a daemon which was restarted does not take what is before it for lost. */
static void preamble_make(struct dwell *dwell)
{
    uint8_t hello[PREAMBLE_BYTES];
    uint8_t *end = put_text(hello, HELLO_SERVICE_NAME, dwell->service_name);
    end = put_text(end, HELLO_SERVICE_VERSION, dwell->service_version);
    end = put_number(end, HELLO_PID, (uint64_t)getpid());
    end = put_text(end, HELLO_HASH, dwell->constitutional_hash);
    end = put_text(end, HELLO_CLIENT, "libdwell/" DWELL_VERSION);
    if (dwell->kept.bytes != 0) {
        end = put_number(end, HELLO_ACKNOWLEDGE, 1);
    }

    struct outgoing *out = &dwell->out;
    memcpy(out->preamble, "DWL1", 4);
    uint8_t *frame = out->preamble + 4;
    uint64_t drops = lane_drops(dwell);
    bool waits = out->head_bytes != 0; /* the batch that the last connection did not take */
    uint64_t first = waits ? out->first : get(&dwell->assembled) + drops;
    uint64_t dropped = waits ? out->dropped : drops + get(&dwell->given_up);
    if (dwell->kept.tail != dwell->kept.head) {
        uint64_t tail = dwell->kept.tail;
        struct kept_head oldest = kept_head_at(&dwell->kept, &tail);
        first = oldest.first;
        dropped = oldest.dropped;
    }
    uint8_t *at = ledger_put(frame + sizeof(uint32_t), dwell, first, dropped);
    at = put_bytes(at, BATCH_HELLO, hello, (size_t)(end - hello));
    if (dwell->kept.bytes != 0) {
        /* Its answer comes after that to the hello. */
        at = put_varint(put_tag(at, BATCH_FLUSH, WIRE_BYTES), 0);
    }
    put_frame_length(frame, (size_t)(at - frame) - sizeof(uint32_t));
    out->preamble_bytes = (size_t)(at - out->preamble);
}

static void retry_later(struct dwell *dwell, uint64_t now)
{
    /* Between half of the interval and the whole, so that many clients do not come at once. */
    uint64_t half = dwell->backoff_ns / 2;
    dwell->retry_ns = now + half + random_next(dwell) % (half + 1);
    dwell->backoff_ns = at_most(dwell->backoff_ns * 2, BACKOFF_MAX_NS);
}

static void connection_try(struct dwell *dwell, uint64_t now)
{
    dwell->tried_ns = now;
    dwell->socket = socket_open(dwell);
    if (dwell->socket < 0) {
        dwell->gone_ns = at_most(dwell->gone_ns, now);
        retry_later(dwell, now);
        return;
    }
    dwell->connected_ns = now;
    dwell->conn_sent = 0;
    dwell->conn_confirmed = 0;
    dwell->reply_bytes = 0;
    dwell->out.sent_bytes = 0;
    if (dwell->kept.bytes != 0) {
        kept_rewind(dwell);
    }
    preamble_make(dwell);
    add(&dwell->connections, 1);
    atomic_store_explicit(&dwell->connected, true, memory_order_relaxed);
}

static void connection_break(struct dwell *dwell, uint64_t now)
{
    struct outgoing *out = &dwell->out;
    close_fd(&dwell->socket);
    atomic_store_explicit(&dwell->connected, false, memory_order_relaxed);
    bool steady = now - dwell->connected_ns >= STEADY_NS;
    if (dwell->kept.answer == ANSWER_YES) {
        dwell->gone_ns = NOT_GONE; /* who will acknowledge may have no room for now: it is there */
    } else if (steady || dwell->gone_ns == NOT_GONE) {
        dwell->gone_ns = now;
    }
    if (steady) {
        dwell->backoff_ns = BACKOFF_MIN_NS;
    }
    retry_later(dwell, now);

    /* What is kept is sent again. */
    uint64_t doubtful =
        dwell->kept.answer == ANSWER_YES ? 0 : dwell->conn_sent - dwell->conn_confirmed;
    add(&dwell->unconfirmed, doubtful);
    if (dwell->kept.bytes != 0) {
        kept_rewind(dwell);
    }
    if (dwell->flush_flying != 0 && !out->has_flush) {
        flush_reopen(dwell); /* it was sent and its answer will not come */
    }
    if (doubtful > 0) {
        flushes_answer(dwell, atomic_load(&dwell->flush_wanted), true);
    }
    out->sent_bytes = 0;
    out->preamble_bytes = 0;
    dwell->said_goodbye = dwell->said_goodbye && out->head_bytes != 0;
}

enum { PIECES = 5 };

/* What is still to be written. */
static int outgoing_pieces(struct outgoing *out, struct iovec pieces[PIECES])
{
    const struct iovec all_pieces[PIECES] = {
        {out->preamble, out->preamble_bytes}, {out->kept, out->kept_bytes},
        {out->head, out->head_bytes},         {out->strings, out->strings_bytes},
        {out->records, out->records_bytes},
    };
    size_t skip = out->sent_bytes;
    int count = 0;
    for (int i = 0; i < PIECES; i++) {
        size_t skipped = at_most(skip, all_pieces[i].iov_len);
        skip -= skipped;
        if (all_pieces[i].iov_len > skipped) {
            pieces[count].iov_base = (uint8_t *)all_pieces[i].iov_base + skipped;
            pieces[count].iov_len = all_pieces[i].iov_len - skipped;
            count++;
        }
    }
    return count;
}

static bool outgoing_waits(struct outgoing *out)
{
    struct iovec pieces[PIECES];
    return outgoing_pieces(out, pieces) > 0;
}

/* Writes what is on its way. True when all of it was; false when the socket is full or broke. */
static bool outgoing_write(struct dwell *dwell, uint64_t now)
{
    struct outgoing *out = &dwell->out;
    struct iovec pieces[PIECES];
    struct msghdr message = {.msg_iov = pieces};
    int count;
    while ((count = outgoing_pieces(out, pieces)) > 0) {
        message.msg_iovlen = (size_t)count;
        ssize_t written = sendmsg(dwell->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                connection_break(dwell, now);
            }
            return false;
        }
        out->sent_bytes += (size_t)written;
    }
    if (out->kept_bytes != 0) {
        kept_sent(dwell);
    }
    if (out->head_bytes != 0) {
        dwell->conn_sent += out->record_count;
        if (out->has_flush) {
            dwell->flush_mark = dwell->conn_sent;
            dwell->flush_kept = dwell->kept.next;
        }
        add(&dwell->sent, out->record_count);
        add(&dwell->batches, 1);
        add(&dwell->sent_bytes, out->head_bytes + out->strings_bytes + out->records_bytes);
        batch_clear(out);
    }
    out->preamble_bytes = 0;
    out->sent_bytes = 0;
    return true;
}

static int get_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (unsigned shift = 0; shift < 64 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        number |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *ret_number = number;
            return 0;
        }
    }
    return -1;
}

struct reply {
    bool flushed;
    bool has_acknowledged, has_acknowledging;
    uint64_t acknowledged, acknowledging;
};

static void reply_note(struct reply *reply, uint64_t field, uint64_t number)
{
    switch (field) {
    case REPLY_FLUSHED:
        reply->flushed = true;
        break;
    case REPLY_ACKNOWLEDGED:
        reply->has_acknowledged = true;
        reply->acknowledged = number;
        break;
    case REPLY_ACKNOWLEDGING:
        reply->has_acknowledging = true;
        reply->acknowledging = number;
        break;
    default:
        break;
    }
}

/* Looks for numbers in a Reply; whatever else it says is skipped: an error is followed by the end of
 * the connection, which is treated like any other. -1 when the bytes are no message. */
static int reply_read(const uint8_t *at, const uint8_t *end, struct reply *ret_reply)
{
    struct reply reply = {.flushed = false};
    while (at < end) {
        uint64_t tag = 0;
        uint64_t number = 0;
        if (get_varint(&at, end, &tag) != 0) {
            return -1;
        }
        uint64_t skip = 0;
        switch (tag & 7) {
        case WIRE_VARINT:
            if (get_varint(&at, end, &number) != 0) {
                return -1;
            }
            reply_note(&reply, tag >> 3, number);
            break;
        case WIRE_FIXED64:
            skip = 8;
            break;
        case WIRE_FIXED32:
            skip = 4;
            break;
        case WIRE_BYTES:
            if (get_varint(&at, end, &skip) != 0) {
                return -1;
            }
            break;
        default:
            return -1;
        }
        if (skip > (uint64_t)(end - at)) {
            return -1;
        }
        at += skip;
    }
    *ret_reply = reply;
    return 0;
}

/* A flush is answered when the daemon has applied all before it and, where it acknowledges, has it for
 * good. */
static void flush_settle(struct dwell *dwell)
{
    const struct kept *kept = &dwell->kept;
    bool is_kept = kept->answer != ANSWER_YES || kept->tail >= dwell->flush_kept;
    if (dwell->flush_heard && is_kept) {
        flushes_answer(dwell, dwell->flush_flying, false);
        dwell->flush_flying = 0;
        dwell->flush_heard = false;
    }
}

static void reply_obey(struct dwell *dwell, const struct reply *reply)
{
    if (reply->has_acknowledging) {
        kept_answer(dwell, reply->acknowledging != 0 ? ANSWER_YES : ANSWER_NO, true);
    }
    if (reply->has_acknowledged && dwell->kept.answer == ANSWER_YES) {
        dwell->kept.acknowledged = reply->acknowledged;
        kept_release(dwell);
        /* However short it lives, a connection that keeps what it is told was a good one. */
        dwell->gone_ns = now_ns();
        dwell->backoff_ns = BACKOFF_MIN_NS;
    }
    if (reply->flushed && dwell->kept.greets) {
        dwell->kept.greets = false;
        kept_answer(dwell, ANSWER_NO, false);
    } else if (reply->flushed && dwell->flush_flying != 0 && !dwell->out.has_flush) {
        dwell->conn_confirmed = dwell->flush_mark;
        dwell->flush_heard = true;
    }
    flush_settle(dwell);
}

/* Handles the whole replies that have come. -1 when they make no sense. */
static int replies_handle(struct dwell *dwell)
{
    size_t done = 0;
    uint32_t len = 0;
    while (dwell->reply_bytes - done >= sizeof len) {
        memcpy(&len, dwell->reply + done, sizeof len);
        len = le32toh(len);
        if (len > REPLY_BYTES - sizeof len) {
            return -1;
        }
        if (dwell->reply_bytes - done - sizeof len < len) {
            break;
        }
        const uint8_t *body = dwell->reply + done + sizeof len;
        struct reply reply;
        if (reply_read(body, body + len, &reply) != 0) {
            return -1;
        }
        reply_obey(dwell, &reply);
        done += sizeof len + len;
    }
    dwell->reply_bytes -= done;
    memmove(dwell->reply, dwell->reply + done, dwell->reply_bytes);
    return 0;
}

static void replies_read(struct dwell *dwell, uint64_t now)
{
    for (;;) {
        ssize_t len = recv(dwell->socket, dwell->reply + dwell->reply_bytes,
                           REPLY_BYTES - dwell->reply_bytes, MSG_DONTWAIT);
        if (len < 0 && errno == EINTR) {
            continue;
        }
        if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            return;
        }
        if (len > 0) {
            dwell->reply_bytes += (size_t)len;
        }
        if (len <= 0 || replies_handle(dwell) != 0) {
            connection_break(dwell, now);
            return;
        }
    }
}

/* ---- Pumping: from lanes to the socket, as far as goes without waiting ---- */

/* Makes or finds what is to be sent next. False: there is nothing. */
static bool outgoing_next(struct dwell *dwell)
{
    return dwell->kept.bytes != 0 ? kept_next(dwell) : batch_make(dwell);
}

/* Nothing of the lanes can be taken for now, and nobody need wake us for them. */
static bool outgoing_is_stuck(struct dwell *dwell)
{
    return dwell->socket < 0 || outgoing_waits(&dwell->out) ||
           (dwell->kept.bytes != 0 && !kept_has_room(&dwell->kept));
}

/* The caller holds `pumping`. Sends at most `batches`; true when there may be more to send now. */
static bool pump(struct dwell *dwell, unsigned batches)
{
    uint64_t now = now_ns();
    bool awaited = atomic_load(&dwell->awaiting) > 0;
    atomic_store_explicit(&dwell->muted, false, memory_order_relaxed);
    if (dwell->socket < 0 &&
        (now >= dwell->retry_ns || (awaited && now - dwell->tried_ns >= AWAITED_RETRY_NS))) {
        connection_try(dwell, now);
    }
    if (dwell->socket >= 0) {
        replies_read(dwell, now);
    }
    while (dwell->socket >= 0 && (outgoing_waits(&dwell->out) || outgoing_next(dwell))) {
        if (!outgoing_write(dwell, now)) {
            break;
        }
        if (--batches == 0) {
            return true;
        }
    }
    /* It may have been there after `now`. */
    if (dwell->socket < 0 && less_or_zero(now, dwell->gone_ns) >= dwell->keep_ns) {
        waiting_give_up(dwell);
    }
    if (outgoing_is_stuck(dwell)) {
        atomic_store_explicit(&dwell->muted, true, memory_order_relaxed);
    }
    return false;
}

static bool pumping_take(struct dwell *dwell)
{
    return !atomic_exchange_explicit(&dwell->pumping, true, memory_order_acquire);
}

static void pumping_give(struct dwell *dwell)
{
    atomic_store_explicit(&dwell->pumping, false, memory_order_release);
}

/* Without a sending thread: sends if it is time, and if nobody else is at it. */
static void caller_pump(struct dwell *dwell, bool heavy)
{
    uint64_t now = clock_ns(CLOCK_MONOTONIC_COARSE);
    if (!heavy && now - get(&dwell->last_pump_ns) < FLUSH_NS) {
        return;
    }
    if (pumping_take(dwell)) {
        struct calm calm = calm_begin();
        atomic_store_explicit(&dwell->last_pump_ns, now, memory_order_relaxed);
        (void)pump(dwell, BATCHES_OF_CALLER); /* the next call goes on */
        calm_end(calm);
        pumping_give(dwell);
    }
}

/* Milliseconds until the connection should be tried again or lanes looked at, rounded up. */
static int pause_ms(const struct dwell *dwell, uint64_t limit_ns)
{
    uint64_t pause_ns = limit_ns;
    if (dwell->socket < 0) {
        pause_ns = at_most(pause_ns, less_or_zero(dwell->retry_ns, now_ns()));
        if (atomic_load(&dwell->awaiting) > 0) {
            pause_ns = at_most(pause_ns, AWAITED_RETRY_NS);
        }
    }
    return (int)((pause_ns + NS_PER_MS - 1) / NS_PER_MS);
}

/* Waits for the daemon, for room in the socket, or for a wake-up. The caller holds `pumping`. */
static void pause_for(struct dwell *dwell, uint64_t limit_ns)
{
    struct pollfd polled[2] = {
        {.fd = dwell->socket, .events = POLLIN}, /* poll skips a negative one */
        {.fd = dwell->wake_fd, .events = POLLIN},
    };
    if (outgoing_waits(&dwell->out)) {
        polled[0].events |= POLLOUT;
    }
    if (poll(polled, 2, pause_ms(dwell, limit_ns)) > 0 && polled[1].revents != 0) {
        uint64_t wakes;
        (void)!read(dwell->wake_fd, &wakes, sizeof wakes); /* only to make it sleep again */
    }
}

static bool anything_waits(struct dwell *dwell)
{
    uint32_t live = lanes_live(dwell);
    for (uint32_t i = 0; i < live; i++) {
        struct lane *lane = lane_at(dwell, i, live);
        if (atomic_load(&lane->head) != atomic_load(&lane->tail)) {
            return true;
        }
    }
    return outgoing_waits(&dwell->out) || atomic_load(&dwell->awaiting) > 0 ||
           atomic_load(&dwell->stop);
}

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* Waits for the next record without a tick. A recording thread stores its record and then looks at
 * `dozing`; this one stores `dozing` and then looks for records. One of the two sees the other, if
 * neither CPU lets its load pass its store: that is enforced here for all threads at once, instead
 * of with a fence in each record. */
static void sender_doze(struct dwell *dwell)
{
    atomic_store(&dwell->dozing, true);
    if (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0) {
        pause_for(dwell, FLUSH_NS); /* not to be had: then there is a tick */
    } else if (!anything_waits(dwell)) {
        pause_for(dwell, DOZE_NS);
    }
    atomic_store(&dwell->dozing, false);
}

static void *sender_run(void *arg)
{
    struct dwell *dwell = arg;
    uint64_t calls = 0;
    uint64_t quiet_ns = now_ns(); /* since when there were no more calls */
    bool taken = pumping_take(dwell);
    (void)pthread_setname_np(pthread_self(), "dwell-send");      /* for those who look at threads */
    (void)membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED); /* sender_doze will find out */
    while (taken && !atomic_load(&dwell->stop)) {
        if (pump(dwell, BATCHES_AT_ONCE)) {
            continue;
        }
        uint64_t calls_before = calls;
        calls = calls_counted(dwell);
        quiet_ns = calls != calls_before ? now_ns() : quiet_ns;
        if (now_ns() - quiet_ns >= DOZE_AFTER_NS && !anything_waits(dwell)) {
            sender_doze(dwell);
        } else {
            pause_for(dwell, FLUSH_NS);
        }
    }
    pumping_give(dwell);
    return NULL;
}

/* 0, or -1 when there is no sending thread to be had. */
static int sender_start(struct dwell *dwell)
{
    sigset_t every;
    sigset_t before;
    pthread_attr_t attributes;
    dwell->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (dwell->wake_fd < 0 || pthread_attr_init(&attributes) != 0) {
        return -1;
    }
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    int error = pthread_attr_setstacksize(&attributes, SENDER_STACK_BYTES);
    error = error != 0 ? error : pthread_create(&dwell->sender, &attributes, sender_run, dwell);
    if (error == EINVAL) {
        /* Thread-local data of the process does not fit so small a stack. */
        error = pthread_create(&dwell->sender, NULL, sender_run, dwell);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : -1;
}

static void sender_ensure(struct dwell *dwell)
{
    if (atomic_load_explicit(&dwell->mode, memory_order_acquire) != MODE_UNSTARTED) {
        return;
    }
    pthread_mutex_lock(&dwell->lock);
    if (atomic_load(&dwell->mode) == MODE_UNSTARTED) {
        if (dwell->evidence == DWELL_EVIDENCE_FULL) {
            dwell->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
        }
        bool started = dwell->threaded && sender_start(dwell) == 0;
        atomic_store_explicit(&dwell->mode, started ? MODE_THREAD : MODE_CALLER,
                              memory_order_release);
    }
    pthread_mutex_unlock(&dwell->lock);
}

/* ---- Flushing ---- */

static int flush_by_sender(struct dwell *dwell, uint64_t ticket, uint64_t deadline_ns)
{
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / NS_PER_SECOND),
        .tv_nsec = (long)(deadline_ns % NS_PER_SECOND),
    };
    int error = 0;
    sender_wake(dwell);
    pthread_mutex_lock(&dwell->lock);
    while (dwell->flush_done < ticket && error == 0) {
        error = pthread_cond_timedwait(&dwell->flushed, &dwell->lock, &deadline);
    }
    pthread_mutex_unlock(&dwell->lock);
    int result = DWELL_TIMEOUT;
    (void)flush_is_done(dwell, ticket, &result);
    return result;
}

static int flush_by_caller(struct dwell *dwell, uint64_t ticket, uint64_t deadline_ns)
{
    int result = DWELL_TIMEOUT;
    for (;;) {
        bool taken = pumping_take(dwell);
        bool more = taken && pump(dwell, BATCHES_OF_CALLER);
        bool done = flush_is_done(dwell, ticket, &result);
        uint64_t left_ns = at_most(less_or_zero(deadline_ns, now_ns()), FLUSH_NS);
        if (taken && !more && !done && left_ns > 0) {
            pause_for(dwell, left_ns);
        }
        if (taken) {
            pumping_give(dwell);
        } else if (!done && left_ns > 0) {
            poll(NULL, 0, 1); /* another flush is at it */
        }
        if (done || left_ns == 0) {
            return result;
        }
    }
}

int dwell_flush(dwell_t *dwell, int timeout_ms)
{
    if (dwell == NULL) {
        return DWELL_OK;
    }
    struct calm calm = calm_begin();
    uint64_t deadline_ns = now_ns() + (timeout_ms > 0 ? (uint64_t)timeout_ms * NS_PER_MS : 0);
    sender_ensure(dwell);
    atomic_fetch_add(&dwell->awaiting, 1);
    uint64_t ticket = atomic_fetch_add(&dwell->flush_wanted, 1) + 1;
    int result = atomic_load(&dwell->mode) == MODE_THREAD
                     ? flush_by_sender(dwell, ticket, deadline_ns)
                     : flush_by_caller(dwell, ticket, deadline_ns);
    atomic_fetch_sub(&dwell->awaiting, 1);
    calm_end(calm);
    return result;
}

/* ---- Fork ---- */

/* Puts everything but options and models at its beginning: for open, and for the child of a fork,
 * where the caller has closed what was open. No other thread knows the handle. */
static void state_reset(struct dwell *dwell)
{
    dwell->generation = ++all.generations;
    identity_make(dwell);

    for (uint32_t i = 0; i <= dwell->lane_count; i++) {
        struct lane *lane = &dwell->lanes[i];
        atomic_store(&lane->head, 0);
        atomic_store(&lane->tail, 0);
        atomic_store(&lane->recorded, 0);
        atomic_store(&lane->dropped, 0);
        atomic_store(&lane->evidence, 0);
        atomic_store(&lane->owned, false);
        lane->tail_seen = 0;
        lane->flush_target = 0;
        lane->schedstat_fd = -1;
        lane->random_left = 0; /* a child never makes an id of its parent's */
    }
    atomic_store(&dwell->mode, MODE_UNSTARTED);
    atomic_store(&dwell->dozing, false);
    atomic_store(&dwell->muted, false);
    atomic_store(&dwell->lanes_used, 0);
    atomic_store(&dwell->lanes_free, dwell->lane_count);
    atomic_store(&dwell->crowded, 0);
    atomic_store(&dwell->last_pump_ns, clock_ns(CLOCK_MONOTONIC_COARSE));
    dwell->wake_fd = -1;
    dwell->statm_fd = -1;

    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes); /* these three cannot fail with glibc and musl */
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&dwell->flushed, &attributes);
    pthread_condattr_destroy(&attributes);
    atomic_store(&dwell->flush_wanted, 0);
    atomic_store(&dwell->awaiting, 0);
    dwell->flush_done = 0;
    dwell->flush_failed = 0;
    dwell->flush_open = 0;
    dwell->flush_asked = 0;
    dwell->flush_flying = 0;
    dwell->flush_heard = false;
    atomic_store(&dwell->stop, false);

    atomic_store(&dwell->pumping, false);
    dwell->socket = -1;
    dwell->gone_ns = now_ns();
    dwell->retry_ns = 0;
    dwell->tried_ns = 0;
    dwell->backoff_ns = BACKOFF_MIN_NS;
    dwell->next_lane = 0;
    batch_clear(&dwell->out);
    dwell->out.preamble_bytes = 0;
    dwell->out.sent_bytes = 0;
    dwell->out.kept_bytes = 0;
    dwell->kept.tail = 0;
    dwell->kept.next = 0;
    dwell->kept.fresh = 0;
    dwell->kept.head = 0;
    dwell->kept.acknowledged = 0;
    dwell->kept.answer = ANSWER_NONE;
    dwell->kept.greets = false;
    atomic_store(&dwell->acknowledged, 0);
    atomic_store(&dwell->resent, 0);
    atomic_store(&dwell->assembled, 0);
    atomic_store(&dwell->given_up, 0);
    atomic_store(&dwell->sent, 0);
    atomic_store(&dwell->unconfirmed, 0);
    atomic_store(&dwell->batches, 0);
    atomic_store(&dwell->sent_bytes, 0);
    atomic_store(&dwell->connections, 0);
    atomic_store(&dwell->connected, false);
}

static void descriptors_close(struct dwell *dwell)
{
    for (uint32_t i = 0; i < dwell->lane_count; i++) {
        close_fd(&dwell->lanes[i].schedstat_fd);
    }
    close_fd(&dwell->socket);
    close_fd(&dwell->wake_fd);
    close_fd(&dwell->statm_fd);
}

/* No lock is held by another thread while a process forks, or its child could never take it. */
static void fork_prepare(void)
{
    pthread_mutex_lock(&all.lock);
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        if (all.open[i] != NULL) {
            pthread_mutex_lock(&all.open[i]->lock);
        }
    }
}

static void fork_parent(void)
{
    for (unsigned i = HANDLES_MAX; i-- > 0;) {
        if (all.open[i] != NULL) {
            pthread_mutex_unlock(&all.open[i]->lock);
        }
    }
    pthread_mutex_unlock(&all.lock);
}

/* Leaves the thread that forked its lane, for the spans in it. */
static void lane_inherit(struct dwell *dwell, struct lane *lane)
{
    places[dwell->index] = (struct place){0};
    if (lane != NULL) {
        atomic_store(&lane->owned, true);
        atomic_fetch_sub(&dwell->lanes_free, 1);
        atomic_store(&dwell->lanes_used, (uint32_t)(lane - dwell->lanes) + 1);
        places[dwell->index] = (struct place){.generation = ~dwell->generation, .lane = lane};
    }
}

/* The child has one thread. What the others were in the middle of is begun anew. */
static void fork_child(void)
{
    struct calm calm = calm_begin();
    for (unsigned i = 0; i < HANDLES_MAX; i++) {
        if (all.open[i] != NULL) {
            struct lane *lane = lane_known(all.open[i]);
            descriptors_close(all.open[i]);
            state_reset(all.open[i]);
            lane_inherit(all.open[i], lane);
        }
    }
    calm_end(calm);
    fork_parent();
}

static void all_prepare(void)
{
    all.ready = pthread_key_create(&all.key, thread_ended) == 0 &&
                pthread_atfork(fork_prepare, fork_parent, fork_child) == 0;
}

/* ---- What options say ---- */

/* Copies a text that fits, else leaves "not given". */
static void text_keep(char *out, const char *text)
{
    size_t len = text != NULL ? strlen(text) : 0;
    if (len < TEXT_BYTES) {
        memcpy(out, text != NULL ? text : "", len);
        out[len] = '\0';
    }
}

static void path_add(struct dwell *dwell, const char *directory, const char *below, bool private)
{
    char *path = dwell->paths[dwell->path_count];
    int len = snprintf(path, PATH_BYTES, "%s%s/ingest.sock", directory, below);
    if (len > 0 && (size_t)len < PATH_BYTES) {
        dwell->private_path[dwell->path_count] = private;
        dwell->path_count++;
    }
}

/* The environment is read once: another thread may change it later. */
static void paths_find(struct dwell *dwell, const char *directory)
{
    const char *set = directory != NULL ? directory : getenv("DWELL_DIR");
    if (set != NULL && set[0] != '\0') {
        path_add(dwell, set, "", false);
        return;
    }
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char uid[32];
    snprintf(uid, sizeof uid, "-%lu", (unsigned long)geteuid());
    if (runtime != NULL && runtime[0] != '\0') {
        path_add(dwell, runtime, "/dwell", false);
    }
    path_add(dwell, "/run/dwell", "", false);
    path_add(dwell, "/tmp/dwell", uid, true);
}

static uint32_t in_range(uint32_t value, uint32_t standard, uint32_t min, uint32_t max)
{
    value = value == 0 ? standard : value;
    value = value < min ? min : value;
    return value > max ? max : value;
}

/* ---- What OpenTelemetry's variables say; what makes no sense there is as if unset ---- */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static uint32_t count_limit(const char *name)
{
    const char *text = variable(name);
    uint32_t limit = 0;
    if (text == NULL) {
        return SPAN_PARTS_MAX;
    }
    for (; *text >= '0' && *text <= '9'; text++) {
        limit = (uint32_t)at_most(limit * 10 + (uint32_t)(*text - '0'), SPAN_PARTS_MAX);
    }
    return *text == '\0' ? limit : SPAN_PARTS_MAX;
}

/* A number from 0 to 1, whatever the locale of the process; else 1. */
static double share_read(const char *text)
{
    double share = 1;
    locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (text != NULL && plain != (locale_t)0) {
        char *end = NULL;
        double number = strtod_l(text, &end, plain);
        share = *end == '\0' && number >= 0 && number <= 1 ? number : 1;
    }
    if (plain != (locale_t)0) {
        freelocale(plain);
    }
    return share;
}

/* The word with and without "parentbased_": a decision from outside counts either way, as it does
 * for the daemon. */
static double sampler_share(void)
{
    static const char based[] = "parentbased_";
    const char *word = variable("OTEL_TRACES_SAMPLER");
    if (word == NULL) {
        return 1;
    }
    word += strncmp(word, based, sizeof based - 1) == 0 ? sizeof based - 1 : 0;
    if (strcmp(word, "traceidratio") == 0) {
        return share_read(variable("OTEL_TRACES_SAMPLER_ARG"));
    }
    return strcmp(word, "always_off") == 0 ? 0 : 1;
}

static void sampling_set(struct dwell *dwell, double rate)
{
    double share = rate < 0 ? 0 : rate > 0 ? rate : sampler_share(); /* NaN is not said */
    dwell->sample_all = share >= 1;
    if (share < 1) {
        double bound = share * 18446744073709551616.0; /* 2^64: exact */
        uint64_t whole = (uint64_t)bound;
        double rest = bound - (double)whole;
        bool up = rest > 0.5 || (rest == 0.5 && whole % 2 == 1); /* as Python rounds */
        dwell->sample_bound = whole + (up ? 1 : 0);
    }
}

/* Reads a list such as "tracecontext,b3". Words that we do not know say nothing. */
static void propagators_read(void)
{
    static const struct {
        const char *word;
        unsigned format;
    } known[] = {
        {"tracecontext", DWELL_PROPAGATION_W3C},
        {"b3", DWELL_PROPAGATION_B3},
        {"b3multi", DWELL_PROPAGATION_B3_MULTI},
        {"none", DWELL_PROPAGATION_NONE},
    };
    unsigned formats = 0;
    for (const char *at = variable("OTEL_PROPAGATORS"); at != NULL && *at != '\0';) {
        at += strspn(at, ", \t");
        size_t len = strcspn(at, ", \t");
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            bool is_it = strlen(known[i].word) == len && strncmp(known[i].word, at, len) == 0;
            formats |= is_it ? known[i].format : 0;
        }
        at += len;
    }
    atomic_store(&default_formats, formats != 0 ? formats : DWELL_PROPAGATION_B3);
}

/* ---- Open ---- */

/* Lays out one part of the mapping: returns its offset. */
static size_t part_add(size_t *bytes, size_t count, size_t size)
{
    size_t at = (*bytes + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    *bytes = at + count * size; /* all counts have ceilings: far below SIZE_MAX */
    return at;
}

/* Maps all memory of a handle. Pages cost nothing until they are written to. */
static struct dwell *memory_map(uint32_t lanes, uint32_t models, size_t ring_bytes,
                                size_t kept_bytes)
{
    size_t bytes = 0;
    part_add(&bytes, 1, sizeof(struct dwell));
    size_t lanes_at = part_add(&bytes, lanes + 1, sizeof(struct lane));
    size_t models_at = part_add(&bytes, models, sizeof(struct dwell_model));
    size_t refs_at = part_add(&bytes, models, sizeof(struct batch_ref));
    size_t strings_at = part_add(&bytes, 1, BATCH_BYTES);
    size_t records_at = part_add(&bytes, 1, BATCH_BYTES);
    size_t since_at = part_add(&bytes, ((size_t)lanes + 1) * models, sizeof(uint64_t));
    size_t levels_at = part_add(&bytes, (size_t)lanes * LEVELS_MAX, sizeof(struct level));
    size_t rings_at = part_add(&bytes, (size_t)lanes + 1, ring_bytes);
    size_t kept_at = part_add(&bytes, 1, kept_bytes);
    uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    (void)madvise(map, bytes, MADV_NOHUGEPAGE); /* only saves memory */

    struct dwell *dwell = (struct dwell *)map;
    dwell->map_bytes = bytes;
    dwell->lane_count = lanes;
    dwell->models_max = models;
    dwell->ring_bytes = ring_bytes;
    dwell->lanes = (struct lane *)(map + lanes_at);
    dwell->models = (struct dwell_model *)(map + models_at);
    dwell->refs = (struct batch_ref *)(map + refs_at);
    dwell->out.strings = map + strings_at;
    dwell->out.records = map + records_at;
    dwell->kept.ring = map + kept_at;
    dwell->kept.bytes = kept_bytes;
    for (uint32_t i = 0; i <= lanes; i++) {
        dwell->lanes[i].ring = map + rings_at + i * ring_bytes;
        dwell->lanes[i].since = (uint64_t *)(map + since_at) + (size_t)i * models;
        dwell->lanes[i].levels =
            i < lanes ? (struct level *)(map + levels_at) + (size_t)i * LEVELS_MAX : NULL;
    }
    return dwell;
}

/* The least power of two that is not less. */
static size_t power_of_two(size_t bytes)
{
    size_t power = 1;
    while (power < bytes) {
        power *= 2;
    }
    return power;
}

static struct dwell *handle_make(const struct dwell_options *options)
{
    uint32_t lanes = in_range(options->threads_max, 64, 1, 1024);
    uint32_t models = in_range(options->models_max, 1024, 1, 65536);
    size_t ring_bytes = power_of_two(in_range(options->buffer_bytes, 1U << 18, 1U << 16, 1U << 24));
    size_t kept_bytes =
        power_of_two(in_range(options->unacknowledged_bytes, 1U << 22, 1U << 18, 1U << 26));
    struct dwell *dwell =
        memory_map(lanes, models, ring_bytes, options->acknowledge ? kept_bytes : 0);
    if (dwell == NULL) {
        return NULL;
    }
    double percent = options->evidence_percent;
    percent = percent > 0 ? percent : 1; /* also for NaN */
    dwell->cost_factor = COST_MARGIN * 100 / (percent < 100 ? percent : 100);
    bool known =
        options->evidence >= DWELL_EVIDENCE_NONE && options->evidence <= DWELL_EVIDENCE_FULL;
    dwell->evidence = known ? options->evidence : DWELL_EVIDENCE_CPU;
    dwell->keep_ns = in_range(options->keep_ms, 10000, 1, UINT32_MAX) * NS_PER_MS;
    dwell->close_timeout_ns = in_range(options->close_timeout_ms, 1000, 1, UINT32_MAX) * NS_PER_MS;
    dwell->threaded = !options->no_thread;
    dwell->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    text_keep(dwell->service_name, options->service_name);
    text_keep(dwell->service_version, options->service_version);
    text_keep(dwell->constitutional_hash, options->constitutional_hash);
    paths_find(dwell, options->directory);
    sampling_set(dwell, options->sample_rate);
    dwell->attributes_max = count_limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT");
    dwell->events_max = count_limit("OTEL_SPAN_EVENT_COUNT_LIMIT");
    dwell->links_max = count_limit("OTEL_SPAN_LINK_COUNT_LIMIT");
    pthread_mutex_init(&dwell->lock, NULL); /* cannot fail without attributes */
    return dwell;
}

/* Makes the handle known to forks and ending threads. -1 when there are too many. */
static int handle_register(struct dwell *dwell)
{
    int result = -1;
    pthread_mutex_lock(&all.lock);
    for (uint32_t i = 0; i < HANDLES_MAX && result != 0; i++) {
        if (all.open[i] == NULL) {
            dwell->index = i;
            state_reset(dwell);
            all.open[i] = dwell;
            result = 0;
        }
    }
    pthread_mutex_unlock(&all.lock);
    return result;
}

static void handle_free(struct dwell *dwell)
{
    descriptors_close(dwell);
    pthread_cond_destroy(&dwell->flushed);
    pthread_mutex_destroy(&dwell->lock);
    munmap(dwell, dwell->map_bytes);
}

dwell_t *dwell_open(const struct dwell_options *options)
{
    struct dwell_options own = {0};
    propagators_read();
    const char *disabled = getenv("DWELL_DISABLED");
    if (disabled != NULL && strcmp(disabled, "1") == 0) {
        return NULL;
    }
    if (options != NULL) {
        memcpy(&own, options, options->size < sizeof own ? options->size : sizeof own);
    }
    struct calm calm = calm_begin();
    pthread_once(&all.once, all_prepare);
    struct dwell *dwell = all.ready ? handle_make(&own) : NULL;
    if (dwell != NULL && handle_register(dwell) != 0) {
        munmap(dwell, dwell->map_bytes);
        dwell = NULL;
    }
    if (dwell != NULL) {
        sender_ensure(dwell);
    }
    calm_end(calm);
    return dwell;
}

/* ---- Close ---- */

/* Without a connection: true when the last one left nothing open, so that only the Goodbye is lost. */
static bool all_is_confirmed(struct dwell *dwell)
{
    uint64_t kept = calls_counted(dwell) - lane_drops(dwell) - get(&dwell->given_up);
    return kept > 0 && kept == get(&dwell->sent) && get(&dwell->unconfirmed) == 0 &&
           dwell->kept.tail == dwell->kept.head;
}

/* There are records for a daemon that acknowledges, and it may come back. */
static bool is_worth_waiting(struct dwell *dwell)
{
    uint64_t kept = calls_counted(dwell) - lane_drops(dwell) - get(&dwell->given_up);
    return dwell->kept.bytes != 0 &&
           (dwell->kept.tail != dwell->kept.head || kept > get(&dwell->sent));
}

/* Sends all that waits, a Flush and a Goodbye, and waits for the answer. */
static int farewell(struct dwell *dwell)
{
    uint64_t deadline_ns = now_ns() + dwell->close_timeout_ns;
    int result = DWELL_OK;
    int answer = DWELL_OK;
    unsigned failures = 0;
    dwell->closing = true;
    dwell->backoff_ns = BACKOFF_MIN_NS;
    uint64_t ticket = atomic_fetch_add(&dwell->flush_wanted, 1) + 1;
    for (;;) {
        if (failures < 2) {
            dwell->retry_ns = 0; /* a connection that broke is tried again at once, once */
        }
        bool more = pump(dwell, BATCHES_AT_ONCE);
        failures += dwell->socket < 0 ? 1 : 0;
        if (failures >= 2 && !is_worth_waiting(dwell)) {
            return all_is_confirmed(dwell) ? result : DWELL_UNCONFIRMED;
        }
        if (flush_is_done(dwell, ticket, &answer)) {
            if (answer == DWELL_OK && dwell->kept.tail == dwell->kept.head) {
                return result;
            }
            if (answer != DWELL_OK) {
                result = answer; /* what was sent before is in doubt; the rest can still go */
                ticket = atomic_fetch_add(&dwell->flush_wanted, 1) + 1;
            }
        }
        uint64_t left_ns = less_or_zero(deadline_ns, now_ns());
        if (left_ns == 0) {
            return DWELL_TIMEOUT;
        }
        if (!more && (dwell->socket >= 0 || failures >= 2)) {
            pause_for(dwell, left_ns);
        }
    }
}

int dwell_close(dwell_t *dwell)
{
    if (dwell == NULL) {
        return DWELL_OK;
    }
    struct calm calm = calm_begin();
    pthread_mutex_lock(&all.lock);
    all.open[dwell->index] = NULL;
    pthread_mutex_unlock(&all.lock);

    if (atomic_load(&dwell->mode) == MODE_THREAD) {
        atomic_store(&dwell->stop, true);
        sender_wake(dwell);
        pthread_join(dwell->sender, NULL);
    }
    bool silent = calls_counted(dwell) == 0 && dwell->socket < 0;
    int result = silent ? DWELL_OK : farewell(dwell);
    handle_free(dwell);
    calm_end(calm);
    return result;
}

/* ---- Models, figures ---- */

const struct dwell_model *dwell_model(dwell_t *dwell, const char *name)
{
    size_t len = name != NULL ? strlen(name) : 0;
    if (dwell == NULL || len == 0 || len > NAME_MAX_BYTES) {
        return NULL;
    }
    struct calm calm = calm_begin();
    uint64_t hash = 0xCBF29CE484222325ULL; /* FNV-1a, 64 bit: only spares most comparisons */
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t)name[i]) * 0x100000001B3ULL;
    }
    struct dwell_model *found = NULL;
    pthread_mutex_lock(&dwell->lock);
    for (uint32_t i = 0; i < dwell->model_count && found == NULL; i++) {
        struct dwell_model *model = &dwell->models[i];
        if (model->hash == hash && model->name_bytes == len &&
            memcmp(model->name, name, len) == 0) {
            found = model;
        }
    }
    if (found == NULL && dwell->model_count < dwell->models_max) {
        found = &dwell->models[dwell->model_count];
        found->dwell = dwell;
        found->index = dwell->model_count++;
        found->name_bytes = (uint32_t)len;
        found->hash = hash;
        memcpy(found->name, name, len);
    }
    pthread_mutex_unlock(&dwell->lock);
    calm_end(calm);
    return found;
}

void dwell_stats(dwell_t *dwell, struct dwell_stats *ret_stats)
{
    if (ret_stats == NULL) {
        return;
    }
    struct dwell_stats stats = {.size = ret_stats->size};
    if (dwell != NULL) {
        uint32_t live = lanes_live(dwell);
        for (uint32_t i = 0; i < live; i++) {
            stats.evidence += get(&lane_at(dwell, i, live)->evidence);
        }
        stats.sent = get(&dwell->sent);
        stats.dropped = lane_drops(dwell) + get(&dwell->given_up);
        stats.recorded = calls_counted(dwell);
        stats.unconfirmed = get(&dwell->unconfirmed);
        stats.batches = get(&dwell->batches);
        stats.sent_bytes = get(&dwell->sent_bytes);
        stats.connections = get(&dwell->connections);
        stats.acknowledged = get(&dwell->acknowledged);
        stats.resent = get(&dwell->resent);
        stats.connected = atomic_load_explicit(&dwell->connected, memory_order_relaxed);
    }
    memcpy(ret_stats, &stats, stats.size < sizeof stats ? stats.size : sizeof stats);
}

const char *dwell_version(void)
{
    return DWELL_VERSION;
}
