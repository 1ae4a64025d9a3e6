/*
 * One pass over a Batch: a run of fields (wire/field), each a tag and a value:
 *
 *      42 29  0a 08 72 65 73 6e 65 74 35 30  19 00 00 00 00 00 00 29 40  …
 *      |  |   |  |  r  e  s  n  e  t  5  0   |  12.5
 *      |  |   |  8 bytes of text             field 3, kind 1: execution_time_ms
 *      |  |   field 1, kind 2: model_name
 *      |  41 bytes
 *      field 8, kind 2: a sample
 *
 * Happy path:
 *   1. fields 1 to 5 fill the head and the string table;
 *   2. before the first record, or at the end without one, sink->batch is told the head;
 *   3. each record is read as a whole, then judged, then handed over; a metric by wire/batch_metric,
 *      a span by wire/batch_span, a budget by wire/batch_budget.
 *
 * What can fail: damage, that is bytes that are no message, ends the batch with ERR_FRAME and the
 * record it was found in is not handed over. A wrong value rejects its record alone. The sink may
 * refuse a record: it is rejected with the sink's reason.
 *
 * Where a field comes twice the last one counts, as for every reader of this format. Text is not
 * looked at: the sink checks a name when it sees it for the first time.
 */
#include "wire/batch.h"

#include "base/err.h"
#include "wire/batch_budget.h"
#include "wire/batch_metric.h"
#include "wire/batch_span.h"
#include "wire/field.h"

enum {
    FIGURE_BYTES = 9, /* a tag below 128 and a double */
    HELLO_TEXT_MAX = RECORD_NAME_MAX,
};

/* Sets of known field numbers. */
#define BATCH_HEAD_FIELDS FIELDS(1, 6) /* 6 is reserved, and its place is before the records */
#define BATCH_FIELDS      (FIELDS(1, 5) | FIELDS(8, 11) | FIELDS(13, 15))
#define SAMPLE_FIELDS     FIELDS(1, 29)
#define LABEL_FIELDS      FIELDS(1, 2)
#define HELLO_FIELDS      FIELDS(1, 6)
#define GOODBYE_FIELDS    FIELDS(1, 1)

/* Figures of a sample that may be left out: field number, member, part, largest value. */
#define SAMPLE_FIGURES(X)                                                                          \
    X(4, cpu_percent_during, CPU_DURING, RECORD_PERCENT_MAX)                                       \
    X(5, memory_mb_after, MEMORY_AFTER, RECORD_MB_MAX)                                             \
    X(6, cpu_percent_before, CPU_BEFORE, RECORD_PERCENT_MAX)                                       \
    X(7, memory_mb_before, MEMORY_BEFORE, RECORD_MB_MAX)                                           \
    X(9, queue_ms, QUEUE, RECORD_MS_MAX)                                                           \
    X(10, batch_size, BATCH_SIZE, RECORD_COUNT_MAX)                                                \
    X(17, user_ms, USER, RECORD_MS_MAX)                                                            \
    X(18, system_ms, SYSTEM, RECORD_MS_MAX)                                                        \
    X(19, runqueue_ms, RUNQUEUE, RECORD_MS_MAX)                                                    \
    X(20, minor_faults, MINOR_FAULTS, RECORD_COUNT_MAX)                                            \
    X(21, major_faults, MAJOR_FAULTS, RECORD_COUNT_MAX)                                            \
    X(22, voluntary_switches, SWITCHES, RECORD_COUNT_MAX)                                          \
    X(23, bytes_moved, BYTES_MOVED, RECORD_COUNT_MAX)                                              \
    X(24, flops, FLOPS, RECORD_COUNT_MAX)                                                          \
    X(25, threads, THREADS, RECORD_COUNT_MAX)                                                      \
    X(26, process_cpu_ms, PROCESS_CPU, RECORD_MS_MAX)                                              \
    X(27, involuntary_switches, INVOLUNTARY_SWITCHES, RECORD_COUNT_MAX)                            \
    X(28, disk_bytes, DISK_BYTES, RECORD_COUNT_MAX)

/* Beside the parts of struct sample: what every sample has. */
enum { PART_EXECUTION_TIME = SAMPLE_PART_COUNT, PART_COUNT };
_Static_assert(PART_COUNT <= 32, "parts are bits of a uint32_t");

#define BIT(part) (UINT32_C(1) << (part))

static const struct str part_keys[] = {[SAMPLE_TIMESTAMP] = {"timestamp_unix_nano", 19},
                                       [SAMPLE_DEVICE] = {"device", 6},
                                       [SAMPLE_TRACE_ID] = {"trace_id", 8},
                                       [SAMPLE_SPAN_ID] = {"span_id", 7},
                                       [SAMPLE_THREAD_ID] = {"thread_id", 9},
                                       [PART_EXECUTION_TIME] = {"execution_time_ms", 17},
#define X(number, member, part, max) [SAMPLE_##part] = {#member, sizeof #member - 1},
                                       SAMPLE_FIGURES(X)
#undef X
};
_Static_assert(sizeof part_keys / sizeof part_keys[0] == PART_COUNT, "a key for each part");

static void reject(const struct record_sink *sink, int err, struct str key, bool control)
{
    struct rejection rejection = {.err = err, .key = key, .control = control};
    sink->reject(sink->ctx, &rejection);
}

/* What the fields of a sample say besides the values, which go to decoder->sample. */
struct findings {
    uint32_t has;          /* parts that came */
    uint32_t out_of_range; /* parts whose last value was none */
    bool has_name;
    bool has_ref;
    bool has_error_text;
    uint32_t ref;
    int label_err; /* of the first bad label */
    struct str label_key;
};

/* The last value of a part counts, and so does the verdict on it. */
static inline uint32_t judge(uint32_t out_of_range, uint32_t bit, bool good)
{
    return good ? out_of_range & ~bit : out_of_range | bit;
}

static inline const uint8_t *read_figure(const uint8_t *at, const uint8_t *end, double max,
                                         bool *ret_good, double *ret_figure)
{
    double figure = 0;
    at = field_read_double(at, end, &figure);
    if (at != NULL) {
        *ret_good = figure >= 0 && figure <= max;
        *ret_figure = figure + 0.0; /* makes -0 a 0: its sign bit would mislead the histogram */
    }
    return at;
}

static int judge_label(const struct label *label, bool has_key, bool has_value, struct str *ret_key)
{
    if (!has_key || !has_value) {
        *ret_key = has_key ? STR_LITERAL("label.value") : STR_LITERAL("label.key");
        return ERR_MISSING_KEY;
    }
    *ret_key = STR_LITERAL("label");
    bool good = label->key.len > 0 && label->key.len <= RECORD_NAME_MAX &&
                label->value.len <= RECORD_NAME_MAX;
    return good ? 0 : ERR_RANGE;
}

/* Reads one label. NULL for damage; a label that is merely wrong goes to the findings. */
static const uint8_t *read_label(struct batch_decoder *decoder, const uint8_t *at,
                                 const uint8_t *end, struct findings *findings,
                                 const struct record_sink *sink)
{
    struct piece piece;
    at = field_read_bytes(at, end, &piece);
    if (at == NULL) {
        return NULL;
    }
    struct label label = {{NULL, 0}, {NULL, 0}};
    bool has_key = false;
    bool has_value = false;
    while (piece.at < piece.end) {
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return NULL;
        }
        switch (tag) {
        case TAG(1, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &label.key);
            has_key = true;
            break;
        case TAG(2, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &label.value);
            has_value = true;
            break;
        default:
            piece.at = field_skip_unknown(piece.at, piece.end, tag, "Label", LABEL_FIELDS, sink);
        }
        if (piece.at == NULL) {
            return NULL;
        }
    }
    struct str key;
    int err = judge_label(&label, has_key, has_value, &key);
    struct sample *sample = &decoder->sample;
    if (err == 0 && sample->label_count == RECORD_LABELS_MAX) {
        err = ERR_RANGE;
    }
    if (err == 0) {
        sample->labels[sample->label_count++] = label;
    } else if (findings->label_err == 0) {
        findings->label_err = err;
        findings->label_key = key;
    }
    return at;
}

/* Reads the fields of a sample. Returns 0 or ERR_FRAME. */
static inline int read_sample(struct batch_decoder *decoder, struct piece piece,
                              struct findings *findings, const struct record_sink *sink)
{
    struct sample *sample = &decoder->sample;
    const uint8_t *at = piece.at;
    const uint8_t *end = piece.end;
    uint32_t has = 0; /* these two live in registers: a sample is 10 ns */
    uint32_t out_of_range = 0;
    while (at < end) {
        uint32_t tag = 0;
        uint64_t number = 0;
        bool good = true;
        at = field_read_tag(at, end, &tag);
        if (at == NULL) {
            return ERR_FRAME;
        }
        switch (tag) {
        case TAG(1, KIND_BYTES):
            at = field_read_text(at, end, &sample->model_name);
            findings->has_name = true;
            break;
        case TAG(2, KIND_VARINT):
            at = field_read_number(at, end, &number);
            findings->ref = (uint32_t)number;
            findings->has_ref = true;
            break;
        case TAG(3, KIND_FIXED64):
            at = read_figure(at, end, RECORD_MS_MAX, &good, &sample->execution_time_ms);
            has |= BIT(PART_EXECUTION_TIME);
            out_of_range = judge(out_of_range, BIT(PART_EXECUTION_TIME), good);
            break;
#define X(number, member, part, max)                                                               \
    case TAG(number, KIND_FIXED64):                                                                \
        at = read_figure(at, end, max, &good, &sample->member);                                    \
        has |= BIT(SAMPLE_##part);                                                                 \
        out_of_range = judge(out_of_range, BIT(SAMPLE_##part), good);                              \
        break;
            SAMPLE_FIGURES(X)
#undef X
        case TAG(8, KIND_VARINT):
            at = field_read_number(at, end, &number);
            sample->error = number != 0;
            break;
        case TAG(11, KIND_BYTES):
            at = field_read_text(at, end, &sample->device);
            has |= BIT(SAMPLE_DEVICE);
            break;
        case TAG(12, KIND_BYTES):
            at = field_read_id(at, end, sizeof sample->trace_id, &good, sample->trace_id);
            has |= BIT(SAMPLE_TRACE_ID);
            out_of_range = judge(out_of_range, BIT(SAMPLE_TRACE_ID), good);
            break;
        case TAG(13, KIND_BYTES):
            at = field_read_id(at, end, sizeof sample->span_id, &good, sample->span_id);
            has |= BIT(SAMPLE_SPAN_ID);
            out_of_range = judge(out_of_range, BIT(SAMPLE_SPAN_ID), good);
            break;
        case TAG(14, KIND_FIXED64):
            at = field_read_fixed64(at, end, &sample->timestamp_wall_ns);
            has |= BIT(SAMPLE_TIMESTAMP);
            break;
        case TAG(15, KIND_BYTES):
            at = read_label(decoder, at, end, findings, sink);
            break;
        case TAG(16, KIND_BYTES):
            at = field_read_text(at, end, &sample->error_text);
            findings->has_error_text = true;
            break;
        case TAG(29, KIND_VARINT):
            at = field_read_number(at, end, &sample->thread_id);
            good = at != NULL && sample->thread_id - 1 < RECORD_THREAD_ID_MAX;
            has |= BIT(SAMPLE_THREAD_ID);
            out_of_range = judge(out_of_range, BIT(SAMPLE_THREAD_ID), good);
            break;
        default:
            at = field_skip_unknown(at, end, tag, "Sample", SAMPLE_FIELDS, sink);
        }
        if (at == NULL) {
            return ERR_FRAME;
        }
    }
    findings->has = has;
    findings->out_of_range = out_of_range;
    return 0;
}

/* Settles the name and says what is wrong with a sample: 0, or a code and its key. */
static inline int judge_sample(struct batch_decoder *decoder, const struct findings *findings,
                               struct str *ret_key)
{
    struct sample *sample = &decoder->sample;
    if (findings->has_ref) {
        *ret_key = STR_LITERAL("model_ref");
        if (findings->ref - 1 >= decoder->string_count) {
            return ERR_REFERENCE;
        }
        sample->model_name = decoder->strings[findings->ref - 1];
    } else if (!findings->has_name) {
        *ret_key = STR_LITERAL("model_name");
        return ERR_MISSING_KEY;
    }
    if ((findings->has & BIT(PART_EXECUTION_TIME)) == 0) {
        *ret_key = part_keys[PART_EXECUTION_TIME];
        return ERR_MISSING_KEY;
    }
    if (findings->out_of_range != 0) {
        *ret_key = part_keys[__builtin_ctz(findings->out_of_range)];
        return ERR_RANGE;
    }
    *ret_key = findings->label_key;
    return findings->label_err;
}

/* Only what says whether the rest holds a value is reset: the struct is large. */
static inline void forget_all_but_figures(struct sample *sample)
{
    sample->error = false;
    sample->error_text = (struct str){NULL, 0};
    sample->label_count = 0;
}

static int decode_sample(struct batch_decoder *decoder, struct piece piece,
                         const struct record_sink *sink)
{
    struct sample *sample = &decoder->sample;
    forget_all_but_figures(sample);
    struct findings findings = {.has = 0};
    if (read_sample(decoder, piece, &findings, sink) != 0) {
        return ERR_FRAME;
    }
    struct str key = {NULL, 0};
    int err = judge_sample(decoder, &findings, &key);
    if (err == 0) {
        sample->model_ref = findings.has_ref ? findings.ref : 0;
        sample->has = findings.has & ~BIT(PART_EXECUTION_TIME);
        sample->error |= findings.has_error_text;
        err = sink->sample(sink->ctx, sample);
        key = (struct str){NULL, 0};
    }
    if (err != 0) {
        reject(sink, err, key, false);
    }
    return 0;
}

/* --- the short cut ----------------------------------------------------------------------------- */

/* A figure >= 0 has the order of its bits; -0, negative ones and NaN lie above all bounds. */
static inline bool take_figure(const uint8_t *at, uint8_t tag, uint64_t max_bits,
                               double *ret_figure)
{
    uint64_t bits;
    memcpy(&bits, at + 1, sizeof bits);
    bits = le64toh(bits);
    memcpy(ret_figure, &bits, sizeof bits);
    return at[0] == tag && bits <= max_bits;
}

static inline uint64_t bits_of(double figure)
{
    uint64_t bits;
    memcpy(&bits, &figure, sizeof bits);
    return bits;
}

/* The name of a sample that begins in a usual way; returns what follows, or NULL. */
static inline const uint8_t *take_name(const struct batch_decoder *decoder, const uint8_t *at,
                                       size_t len, struct brief *brief)
{
    if (at[0] == TAG(1, KIND_BYTES) && at[1] < 0x80 && at[1] + 2u <= len) {
        brief->model_name = (struct str){(const char *)at + 2, at[1]};
        brief->model_ref = 0;
        return at + 2 + at[1];
    }
    if (at[0] == TAG(2, KIND_VARINT) && at[1] < 0x80 && at[1] - 1u < decoder->string_count) {
        brief->model_name = decoder->strings[at[1] - 1];
        brief->model_ref = at[1];
        return at + 2;
    }
    return NULL;
}

/* The figures, one of the usual sets: field 3, or 3 and 4, or 3, 4 and 5, all in range. */
static inline bool take_figures(const uint8_t *at, size_t len, struct brief *brief)
{
    if (len == 3 * FIGURE_BYTES) {
        brief->has = BIT(SAMPLE_CPU_DURING) | BIT(SAMPLE_MEMORY_AFTER);
    } else if (len == 2 * FIGURE_BYTES) {
        brief->has = BIT(SAMPLE_CPU_DURING);
    } else if (len == FIGURE_BYTES) {
        brief->has = 0;
    } else {
        return false;
    }
    return take_figure(at, TAG(3, KIND_FIXED64), bits_of(RECORD_MS_MAX),
                       &brief->execution_time_ms) &&
           (len < 2 * FIGURE_BYTES ||
            take_figure(at + FIGURE_BYTES, TAG(4, KIND_FIXED64), bits_of(RECORD_PERCENT_MAX),
                        &brief->cpu_percent_during)) &&
           (len < 3 * FIGURE_BYTES || take_figure(at + 2 * FIGURE_BYTES, TAG(5, KIND_FIXED64),
                                                  bits_of(RECORD_MB_MAX), &brief->memory_mb_after));
}

static void deliver_briefs(struct batch_decoder *decoder, unsigned count,
                           const struct record_sink *sink)
{
    int errs[RECORD_BRIEFS_MAX];
    if (count == 0) {
        return;
    }
    if (sink->briefs != NULL && sink->briefs(sink->ctx, decoder->briefs, count, errs) == 0) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (sink->briefs == NULL) {
            decoder->sample = record_sample(&decoder->briefs[i]);
            errs[i] = sink->sample(sink->ctx, &decoder->sample);
        }
        if (errs[i] != 0) {
            reject(sink, errs[i], (struct str){NULL, 0}, false);
        }
    }
}

/* Samples as nearly all are, one after the other, with nothing in them but name and figures in the
 * order of their numbers. Stops at the first field that is anything else, which is then read the
 * long way. Half of a sample's decoding time is saved, and the sink gets many at once. */
static const uint8_t *take_usual_samples(struct batch_decoder *decoder, const uint8_t *at,
                                         const uint8_t *end, const struct record_sink *sink)
{
    struct brief *brief = decoder->briefs;
    while (end - at > 2 + 2 + FIGURE_BYTES && at[0] == TAG(8, KIND_BYTES) && at[1] < 0x80 &&
           at[1] >= 2 + FIGURE_BYTES && at[1] <= end - at - 2) {
        const uint8_t *stop = at + 2 + at[1];
        const uint8_t *figures = take_name(decoder, at + 2, at[1], brief);
        if (figures == NULL || !take_figures(figures, (size_t)(stop - figures), brief)) {
            break;
        }
        at = stop;
        if (++brief == decoder->briefs + RECORD_BRIEFS_MAX) {
            deliver_briefs(decoder, RECORD_BRIEFS_MAX, sink);
            brief = decoder->briefs;
        }
    }
    deliver_briefs(decoder, (unsigned)(brief - decoder->briefs), sink);
    return at;
}

/* --- other records ----------------------------------------------------------------------------- */

static int read_hello(struct piece piece, struct hello *hello, const struct record_sink *sink)
{
    uint64_t acknowledge = 0;
    while (piece.at < piece.end) {
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
        switch (tag) {
        case TAG(1, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &hello->service_name);
            break;
        case TAG(2, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &hello->service_version);
            break;
        case TAG(3, KIND_VARINT):
            piece.at = field_read_number(piece.at, piece.end, &hello->pid);
            break;
        case TAG(4, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &hello->constitutional_hash);
            break;
        case TAG(5, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &hello->client);
            break;
        case TAG(6, KIND_VARINT):
            piece.at = field_read_number(piece.at, piece.end, &acknowledge);
            hello->acknowledge = acknowledge != 0;
            break;
        default:
            piece.at = field_skip_unknown(piece.at, piece.end, tag, "Hello", HELLO_FIELDS, sink);
        }
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
    }
    return 0;
}

static int decode_hello(struct piece piece, const struct record_sink *sink)
{
    struct hello hello = {.pid = 0};
    if (read_hello(piece, &hello, sink) != 0) {
        return ERR_FRAME;
    }
    const struct {
        struct str text;
        struct str key;
    } texts[] = {
        {hello.service_name, STR_LITERAL("service_name")},
        {hello.service_version, STR_LITERAL("service_version")},
        {hello.constitutional_hash, STR_LITERAL("constitutional_hash")},
        {hello.client, STR_LITERAL("client")},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].text.len > HELLO_TEXT_MAX) {
            reject(sink, ERR_RANGE, texts[i].key, true);
            return 0;
        }
    }
    struct mark mark = {.has_sequence = false};
    int err = sink->hello(sink->ctx, &hello, &mark);
    if (err != 0) {
        reject(sink, err, (struct str){NULL, 0}, true);
    }
    return 0;
}

/* A Flush, which has no fields, or a Goodbye. */
static int decode_mark(struct piece piece, const char *message, uint32_t known,
                       int (*deliver)(void *ctx, const struct mark *mark),
                       const struct record_sink *sink)
{
    struct mark mark = {.has_sequence = false};
    while (piece.at < piece.end) {
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
        if (tag == TAG(1, KIND_VARINT) && known == GOODBYE_FIELDS) {
            piece.at = field_read_number(piece.at, piece.end, &mark.sequence);
            mark.has_sequence = true;
        } else {
            piece.at = field_skip_unknown(piece.at, piece.end, tag, message, known, sink);
        }
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
    }
    int err = deliver(sink->ctx, &mark);
    if (err != 0) {
        reject(sink, err, (struct str){NULL, 0}, true);
    }
    return 0;
}

static int decode_record(struct batch_decoder *decoder, uint32_t tag, struct piece piece,
                         const struct record_sink *sink)
{
    switch (tag) {
    case TAG(8, KIND_BYTES):
        return decode_sample(decoder, piece, sink);
    case TAG(9, KIND_BYTES):
        return decode_hello(piece, sink);
    case TAG(10, KIND_BYTES):
        return decode_mark(piece, "Flush", 0, sink->flush, sink);
    case TAG(13, KIND_BYTES):
        return batch_span_decode(decoder, piece, sink);
    case TAG(14, KIND_BYTES):
        return batch_metric_decode(decoder, piece, sink);
    case TAG(15, KIND_BYTES):
        return batch_budget_decode(piece, sink);
    default:
        return decode_mark(piece, "Goodbye", GOODBYE_FIELDS, sink->goodbye, sink);
    }
}

static bool is_record(uint32_t tag)
{
    return tag == TAG(8, KIND_BYTES) || tag == TAG(9, KIND_BYTES) || tag == TAG(10, KIND_BYTES) ||
           tag == TAG(11, KIND_BYTES) || tag == TAG(13, KIND_BYTES) || tag == TAG(14, KIND_BYTES) ||
           tag == TAG(15, KIND_BYTES);
}

static const uint8_t *read_client_id(const uint8_t *at, const uint8_t *end, struct batch *head)
{
    struct piece piece;
    at = field_read_bytes(at, end, &piece);
    if (at == NULL || piece.end - piece.at != sizeof head->client_id) {
        return NULL;
    }
    memcpy(head->client_id, piece.at, sizeof head->client_id);
    head->has_client_id = true;
    return at;
}

static const uint8_t *read_string(struct batch_decoder *decoder, const uint8_t *at,
                                  const uint8_t *end)
{
    if (decoder->string_count == BATCH_STRINGS_MAX) {
        return NULL;
    }
    return field_read_text(at, end, &decoder->strings[decoder->string_count++]);
}

/* Reads one field that is no record. */
static const uint8_t *read_head(struct batch_decoder *decoder, const uint8_t *at,
                                const uint8_t *end, uint32_t tag, struct batch *head,
                                const struct record_sink *sink)
{
    switch (tag) {
    case TAG(1, KIND_BYTES):
        return read_client_id(at, end, head);
    case TAG(2, KIND_VARINT):
        head->mark.has_sequence = true;
        return field_read_number(at, end, &head->mark.sequence);
    case TAG(3, KIND_VARINT):
        head->mark.has_dropped = true;
        return field_read_number(at, end, &head->mark.dropped);
    case TAG(4, KIND_BYTES):
        return read_string(decoder, at, end);
    case TAG(5, KIND_BYTES):
        return field_read_text(at, end, &head->constitutional_hash);
    default:
        return field_skip_unknown(at, end, tag, "Batch", BATCH_FIELDS, sink);
    }
}

static bool belongs_to_head(uint32_t tag)
{
    return tag >> 3 < 32 && (BATCH_HEAD_FIELDS & UINT32_C(1) << (tag >> 3)) != 0;
}

int batch_decode(struct batch_decoder *decoder, struct str bytes, const struct record_sink *sink)
{
    struct batch head = {.has_client_id = false};
    bool told = false;
    const uint8_t *at = (const uint8_t *)(bytes.len > 0 ? bytes.ptr : "");
    const uint8_t *end = at + bytes.len;
    decoder->string_count = 0;
    while (at < end) {
        uint32_t tag = 0;
        at = field_read_tag(at, end, &tag);
        if (at == NULL || (told && belongs_to_head(tag))) {
            return ERR_FRAME;
        }
        if (is_record(tag)) {
            if (!told) {
                sink->batch(sink->ctx, &head);
                told = true;
            }
            struct piece piece;
            at = field_read_bytes(at, end, &piece);
            if (at == NULL || decode_record(decoder, tag, piece, sink) != 0) {
                return ERR_FRAME;
            }
            at = take_usual_samples(decoder, at, end, sink);
            at = batch_budget_take_usual(decoder, at, end, sink);
        } else {
            at = read_head(decoder, at, end, tag, &head, sink);
            if (at == NULL) {
                return ERR_FRAME;
            }
        }
    }
    if (!told) {
        sink->batch(sink->ctx, &head);
    }
    return 0;
}
