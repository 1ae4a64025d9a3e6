/*
 * Happy path:
 *   1. read_object goes through the object once: a key is looked up in the key table, its row says
 *      how the value is read and where it goes;
 *
 *          {"model_name": "resnet50", "execution_time_ms": 12.5, "host": "a1"}
 *           ^^^^^^^^^^^^  row NAME     row FIGURE                 no row: noted and skipped
 *
 *   2. unknown keys are told, then the record is handed to the sink.
 *
 * A line is read as a sample until its `type` says otherwise: it is then read once more as that.
 *
 * What can fail, through sink->reject: the text is no JSON object or goes past a ceiling (reading
 * stops there); a value is wrong (the first one is noted, reading goes on, since the rest may show
 * that the text is no JSON); a required key is missing; the sink refuses.
 */
#include "wire/line.h"

#include <stddef.h>

#include "base/err.h"
#include "base/num.h"
#include "wire/iso8601.h"
#include "wire/lexer.h"

enum {
    KEEP_BYTES = 4096, /* scratch above it is given back after the line */
    NEAR_DISTANCE = 3, /* edits between a key and what may be meant by it */
    NEAR_KEYS = 16,    /* unknown keys of a line that are tried, so that a bad line stays cheap */
    HELLO_TEXT_MAX = RECORD_NAME_MAX,
};

/* Types of records; those of the second list are known but not taken. */
#define TAKEN_TYPES(X)                                                                             \
    X(SAMPLE, "sample")                                                                            \
    X(HELLO, "hello")                                                                              \
    X(FLUSH, "flush")                                                                              \
    X(GOODBYE, "goodbye")

#define OTHER_TYPES(X)                                                                             \
    X(COUNTER, "counter")                                                                          \
    X(GAUGE, "gauge")                                                                              \
    X(HISTOGRAM, "histogram")                                                                      \
    X(INFO, "info")                                                                                \
    X(SPAN, "span")                                                                                \
    X(SPAN_START, "span_start")                                                                    \
    X(SPAN_END, "span_end")                                                                        \
    X(BUDGET, "budget")

enum type {
#define X(type, name) TYPE_##type,
    TAKEN_TYPES(X) TYPE_TAKEN_COUNT,
    TYPE_BEFORE_OTHERS = TYPE_TAKEN_COUNT - 1, /* so that the numbers go on */
    OTHER_TYPES(X) TYPE_COUNT
#undef X
};

static const struct str type_names[] = {
#define X(type, name) {name, sizeof name - 1},
    TAKEN_TYPES(X) OTHER_TYPES(X)
#undef X
};
_Static_assert(sizeof type_names / sizeof type_names[0] == TYPE_COUNT, "a name for each type");

/* Which types a key belongs to. */
enum { OF_SAMPLE = 1 << TYPE_SAMPLE, OF_HELLO = 1 << TYPE_HELLO };
enum { OF_CONTROL = OF_HELLO | 1 << TYPE_FLUSH | 1 << TYPE_GOODBYE };
enum { OF_ALL = OF_SAMPLE | OF_CONTROL };

/* How a value is read. */
enum kind {
    KIND_FIGURE,    /* number from 0 to a maximum */
    KIND_NAME,      /* text of 1 to RECORD_NAME_MAX bytes */
    KIND_TEXT,      /* text up to HELLO_TEXT_MAX bytes */
    KIND_INTEGER,   /* 64-bit integer, or its decimal digits as text */
    KIND_ID,        /* two hex digits for each byte */
    KIND_TIMESTAMP, /* ISO 8601 */
    KIND_ERROR,     /* true, false or text */
    KIND_LABELS,    /* object of texts */
    KIND_TYPE,
};

/* What a record has, beside the parts of struct sample. */
enum {
    PART_MODEL_NAME = SAMPLE_PART_COUNT,
    PART_EXECUTION_TIME,
    PART_CLIENT_ID,
    PART_SEQUENCE,
    PART_DROPPED,
    PART_ANY, /* nobody asks */
    PART_COUNT
};
_Static_assert(PART_COUNT <= 32, "parts are bits of a uint32_t");

#define BIT(part)    (UINT32_C(1) << (part))
#define SAMPLE_PARTS (BIT(SAMPLE_PART_COUNT) - 1)

/* A line while it is read. Large, so only what reset() touches is set for each. */
struct reader {
    struct lexer in;
    struct line_memory *memory;
    enum type type;
    uint8_t last;               /* 1 + row of the last known key, 0 at the beginning */
    uint64_t seen;              /* rows of the key table */
    uint32_t has;               /* parts that hold a good value */
    struct str key;             /* of the value being read */
    struct rejection rejection; /* the first thing that was wrong */
    size_t unknown_count;
    struct str unknown[LINE_UNKNOWN_MAX]; /* below: keys of the line; above: of open objects */
    struct sample sample;
    struct hello hello;
    struct mark mark;
};

/*
 * The keys: name, kind, types, part, place in struct reader, and the largest figure or the bytes of
 * an id. The ones that most lines have stand first, since the search begins there.
 */
#define KEY_TABLE(X)                                                                               \
    X(model_name, NAME, OF_SAMPLE, PART_MODEL_NAME, sample.model_name, 0)                          \
    X(execution_time_ms, FIGURE, OF_SAMPLE, PART_EXECUTION_TIME, sample.execution_time_ms,         \
      RECORD_MS_MAX)                                                                               \
    X(cpu_percent_during, FIGURE, OF_SAMPLE, SAMPLE_CPU_DURING, sample.cpu_percent_during,         \
      RECORD_PERCENT_MAX)                                                                          \
    X(memory_mb_after, FIGURE, OF_SAMPLE, SAMPLE_MEMORY_AFTER, sample.memory_mb_after,             \
      RECORD_MB_MAX)                                                                               \
    X(type, TYPE, OF_ALL, PART_ANY, type, 0)                                                       \
    X(error, ERROR, OF_SAMPLE, PART_ANY, sample.error, 0)                                          \
    X(labels, LABELS, OF_SAMPLE, PART_ANY, sample.labels, 0)                                       \
    X(device, NAME, OF_SAMPLE, SAMPLE_DEVICE, sample.device, 0)                                    \
    X(timestamp, TIMESTAMP, OF_SAMPLE, SAMPLE_TIMESTAMP, sample.timestamp_wall_ns, 0)              \
    X(trace_id, ID, OF_SAMPLE, SAMPLE_TRACE_ID, sample.trace_id, RECORD_TRACE_ID_BYTES)            \
    X(span_id, ID, OF_SAMPLE, SAMPLE_SPAN_ID, sample.span_id, RECORD_SPAN_ID_BYTES)                \
    X(cpu_percent_before, FIGURE, OF_SAMPLE, SAMPLE_CPU_BEFORE, sample.cpu_percent_before,         \
      RECORD_PERCENT_MAX)                                                                          \
    X(memory_mb_before, FIGURE, OF_SAMPLE, SAMPLE_MEMORY_BEFORE, sample.memory_mb_before,          \
      RECORD_MB_MAX)                                                                               \
    X(queue_ms, FIGURE, OF_SAMPLE, SAMPLE_QUEUE, sample.queue_ms, RECORD_MS_MAX)                   \
    X(batch_size, FIGURE, OF_SAMPLE, SAMPLE_BATCH_SIZE, sample.batch_size, RECORD_COUNT_MAX)       \
    X(user_ms, FIGURE, OF_SAMPLE, SAMPLE_USER, sample.user_ms, RECORD_MS_MAX)                      \
    X(system_ms, FIGURE, OF_SAMPLE, SAMPLE_SYSTEM, sample.system_ms, RECORD_MS_MAX)                \
    X(runqueue_ms, FIGURE, OF_SAMPLE, SAMPLE_RUNQUEUE, sample.runqueue_ms, RECORD_MS_MAX)          \
    X(minor_faults, FIGURE, OF_SAMPLE, SAMPLE_MINOR_FAULTS, sample.minor_faults, RECORD_COUNT_MAX) \
    X(major_faults, FIGURE, OF_SAMPLE, SAMPLE_MAJOR_FAULTS, sample.major_faults, RECORD_COUNT_MAX) \
    X(voluntary_switches, FIGURE, OF_SAMPLE, SAMPLE_SWITCHES, sample.voluntary_switches,           \
      RECORD_COUNT_MAX)                                                                            \
    X(bytes_moved, FIGURE, OF_SAMPLE, SAMPLE_BYTES_MOVED, sample.bytes_moved, RECORD_COUNT_MAX)    \
    X(flops, FIGURE, OF_SAMPLE, SAMPLE_FLOPS, sample.flops, RECORD_COUNT_MAX)                      \
    X(threads, FIGURE, OF_SAMPLE, SAMPLE_THREADS, sample.threads, RECORD_COUNT_MAX)                \
    X(service_name, TEXT, OF_HELLO, PART_ANY, hello.service_name, 0)                               \
    X(service_version, TEXT, OF_HELLO, PART_ANY, hello.service_version, 0)                         \
    X(pid, INTEGER, OF_HELLO, PART_ANY, hello.pid, 0)                                              \
    X(constitutional_hash, TEXT, OF_HELLO, PART_ANY, hello.constitutional_hash, 0)                 \
    X(client, TEXT, OF_HELLO, PART_ANY, hello.client, 0)                                           \
    X(client_id, ID, OF_HELLO, PART_CLIENT_ID, hello.client_id, RECORD_CLIENT_ID_BYTES)            \
    X(sequence, INTEGER, OF_CONTROL, PART_SEQUENCE, mark.sequence, 0)                              \
    X(dropped, INTEGER, OF_CONTROL, PART_DROPPED, mark.dropped, 0)

enum {
#define X(name, kind, types, part, place, max) KEY_##name,
    KEY_TABLE(X) KEY_COUNT
#undef X
};
_Static_assert(KEY_COUNT <= 64, "rows are bits of a uint64_t");
_Static_assert((int)KEY_COUNT < (int)LINE_KEYS_MAX,
               "a guess for each row and one for the beginning");

static const struct key {
    struct str name;
    enum kind kind;
    unsigned types;
    uint32_t bit;
    size_t offset;
    double max;
} keys[] = {
#define X(name, kind, types, part, place, max)                                                     \
    {{#name, sizeof #name - 1}, KIND_##kind, types, BIT(part), offsetof(struct reader, place), max},
    KEY_TABLE(X)
#undef X
};

/* The row of a key, or KEY_COUNT. */
static unsigned find_key(struct str text)
{
#define X(name, kind, types, part, place, max)                                                     \
    if (text.len == sizeof #name - 1 && memcmp(text.ptr, #name, sizeof #name - 1) == 0) {          \
        return KEY_##name;                                                                         \
    }
    KEY_TABLE(X)
#undef X
    return KEY_COUNT;
}

/* Where a row's value goes; the offset is that of a member of the right type. */
static void *place_of(struct reader *reader, const struct key *key)
{
    return (char *)reader + key->offset;
}

/* What good lines do not need is kept apart from what they do: the common way stays short. */
#define RARE __attribute__((cold, noinline))

/* Ends the reading of the line. */
RARE static int fail(struct reader *reader, int err, struct str key)
{
    reader->rejection = (struct rejection){.err = err, .key = key};
    return err;
}

/* Notes a wrong value; the first one is the one that is told. */
RARE static void note(struct reader *reader, int err)
{
    if (reader->rejection.err == 0) {
        (void)fail(reader, err, reader->key); /* the code is known here */
    }
}

/* A text where a key or value is; reader->in.at is past its first quote. */
static inline int read_text(struct reader *reader, struct str *ret_text)
{
    int err = lexer_read_text(&reader->in, ret_text);
    return err == 0 ? 0 : fail(reader, err, reader->key);
}

/* Values that nobody wants */

/* Remembers an unknown key of the object whose keys begin at `first`. */
static int add_unknown(struct reader *reader, size_t first, struct str key)
{
    for (size_t i = first; i < reader->unknown_count; i++) {
        if (str_equal(reader->unknown[i], key)) {
            return fail(reader, ERR_DUPLICATE_KEY, key);
        }
    }
    if (reader->unknown_count == LINE_UNKNOWN_MAX) {
        return fail(reader, ERR_LIMIT, key);
    }
    reader->unknown[reader->unknown_count++] = key;
    return 0;
}

static int skip_value(struct reader *reader, unsigned depth);

/* A colon between blanks. */
static inline int skip_colon(struct reader *reader)
{
    lexer_skip_blanks(&reader->in);
    if (*reader->in.at != ':') {
        return fail(reader, ERR_SYNTAX, reader->key);
    }
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    return 0;
}

/* A text where only its being one matters. */
static int skip_text(struct reader *reader, struct str *ret_text)
{
    if (*reader->in.at != '"') {
        return fail(reader, ERR_SYNTAX, reader->key);
    }
    reader->in.at++;
    int err = read_text(reader, ret_text);
    if (err == 0 && reader->in.zero) {
        note(reader, ERR_RANGE);
    }
    return err;
}

/* After a member or element: true at `close`, which is skipped; false at a comma, which is too. */
static inline int skip_separator(struct reader *reader, char close, bool *ret_closed)
{
    lexer_skip_blanks(&reader->in);
    if (*reader->in.at != ',' && *reader->in.at != close) {
        return fail(reader, ERR_SYNTAX, reader->key);
    }
    *ret_closed = *reader->in.at == close;
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    return 0;
}

static int skip_member(struct reader *reader, size_t first, unsigned depth)
{
    struct str key;
    int err = skip_text(reader, &key);
    if (err == 0) {
        err = add_unknown(reader, first, key);
    }
    if (err == 0) {
        err = skip_colon(reader);
    }
    return err != 0 ? err : skip_value(reader, depth);
}

/* An array or object; reader->in.at is past its bracket. */
static int skip_nested(struct reader *reader, char close, unsigned depth)
{
    if (depth == LINE_DEPTH_MAX) {
        return fail(reader, ERR_TOO_DEEP, reader->key);
    }
    size_t first = reader->unknown_count;
    lexer_skip_blanks(&reader->in);
    bool closed = *reader->in.at == close;
    if (closed) {
        reader->in.at++;
    }
    while (!closed) {
        int err =
            close == '}' ? skip_member(reader, first, depth + 1) : skip_value(reader, depth + 1);
        if (err == 0) {
            err = skip_separator(reader, close, &closed);
        }
        if (err != 0) {
            return err;
        }
    }
    reader->unknown_count = first;
    return 0;
}

static int skip_number(struct reader *reader)
{
    double number;
    int err = num_scan_double(&reader->in.at, reader->in.end, &number);
    if (err == ERR_RANGE) {
        note(reader, err);
        return 0;
    }
    return err == 0 ? 0 : fail(reader, ERR_SYNTAX, reader->key);
}

/* Any value; `depth` arrays and objects are open around it. Recursion ends at LINE_DEPTH_MAX. */
static int skip_value(struct reader *reader, unsigned depth)
{
    struct str text;
    switch (*reader->in.at) {
    case '"':
        return skip_text(reader, &text);
    case '{':
        reader->in.at++;
        return skip_nested(reader, '}', depth);
    case '[':
        reader->in.at++;
        return skip_nested(reader, ']', depth);
    case 't':
    case 'f':
    case 'n':
        return lexer_take_word(&reader->in, STR_LITERAL("true")) ||
                       lexer_take_word(&reader->in, STR_LITERAL("false")) ||
                       lexer_take_word(&reader->in, STR_LITERAL("null"))
                   ? 0
                   : fail(reader, ERR_SYNTAX, reader->key);
    default:
        return skip_number(reader);
    }
}

/* Values of known keys */

RARE static int skip_wrong_type(struct reader *reader, unsigned depth)
{
    note(reader, ERR_WRONG_TYPE);
    return skip_value(reader, depth);
}

static inline bool begins_number(const struct reader *reader)
{
    return *reader->in.at == '-' || (*reader->in.at >= '0' && *reader->in.at <= '9');
}

static inline int read_figure(struct reader *reader, const struct key *key)
{
    if (!begins_number(reader)) {
        return skip_wrong_type(reader, 0);
    }
    double figure = 0;
    int err = 0;
    const char *after = num_scan_usual(reader->in.at, reader->in.end, &figure);
    if (after != NULL) {
        reader->in.at = after;
    } else {
        err = num_scan_double(&reader->in.at, reader->in.end, &figure);
    }
    if (err == ERR_SYNTAX) {
        return fail(reader, err, reader->key);
    }
    if (err != 0 || !(figure >= 0 && figure <= key->max)) {
        note(reader, ERR_RANGE);
        return 0;
    }
    /* Adding 0 makes -0 a 0: its sign bit would mislead the histogram. */
    *(double *)place_of(reader, key) = figure + 0.0;
    reader->has |= key->bit;
    return 0;
}

/* A text for a known key. Not one: noted and skipped, and `ret_is_text` is false. */
static int read_known_text(struct reader *reader, struct str *ret_text, bool *ret_is_text)
{
    *ret_is_text = *reader->in.at == '"';
    if (!*ret_is_text) {
        return skip_wrong_type(reader, 0);
    }
    reader->in.at++;
    return read_text(reader, ret_text);
}

/* Not by read_known_text: a text that a call returns through memory, in halves, is slow to read back as
 * a whole. */
static int read_name(struct reader *reader, const struct key *key)
{
    if (*reader->in.at != '"') {
        return skip_wrong_type(reader, 0);
    }
    struct str text = {NULL, 0};
    reader->in.at++;
    int err = read_text(reader, &text);
    if (err != 0) {
        return err;
    }
    if (text.len == 0 || text.len > RECORD_NAME_MAX || reader->in.zero) {
        note(reader, ERR_NAME);
        return 0;
    }
    *(struct str *)place_of(reader, key) = text;
    reader->has |= key->bit;
    return 0;
}

static int read_hello_text(struct reader *reader, const struct key *key)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = read_known_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    if (text.len > HELLO_TEXT_MAX || reader->in.zero) {
        note(reader, ERR_RANGE);
        return 0;
    }
    *(struct str *)place_of(reader, key) = text;
    return 0;
}

/* Digits are a count; a fraction or an exponent make it another type, a sign leads out of range
 * (but -0 is 0). */
static int read_count_number(struct reader *reader, uint64_t *ret_count)
{
    struct str digits = {reader->in.at, 0};
    double number = 0;
    int err = num_scan_double(&reader->in.at, reader->in.end, &number);
    if (err == ERR_SYNTAX) {
        return fail(reader, err, reader->key);
    }
    digits.len = (size_t)(reader->in.at - digits.ptr);
    if (str_is(digits, "-0")) {
        *ret_count = 0;
        return 0;
    }
    int read = num_read_u64(digits, ret_count);
    if (err == ERR_RANGE || read == ERR_RANGE || digits.ptr[0] == '-') {
        note(reader, ERR_RANGE);
    } else if (read != 0) {
        note(reader, ERR_WRONG_TYPE);
    }
    return 0;
}

static int read_count(struct reader *reader, const struct key *key)
{
    uint64_t count = 0;
    int err = 0;
    if (begins_number(reader)) {
        err = read_count_number(reader, &count);
    } else {
        struct str text = {NULL, 0};
        bool is_text = false;
        err = read_known_text(reader, &text, &is_text);
        int read = err == 0 && is_text ? num_read_u64(text, &count) : 0;
        if (read != 0) {
            note(reader, read == ERR_RANGE ? ERR_RANGE : ERR_WRONG_TYPE);
        }
    }
    if (err == 0) {
        /* What was noted rejects the record: a 0 does no harm. */
        *(uint64_t *)place_of(reader, key) = count;
        reader->has |= key->bit;
    }
    return err;
}

static bool read_hex(struct str text, uint8_t *out, size_t bytes)
{
    if (text.len != 2 * bytes) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        int high = lexer_hex_digit(text.ptr[2 * i]);
        int low = lexer_hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static int read_id(struct reader *reader, const struct key *key)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = read_known_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    if (!read_hex(text, place_of(reader, key), (size_t)key->max)) {
        note(reader, ERR_RANGE);
        return 0;
    }
    reader->has |= key->bit;
    return 0;
}

static int read_timestamp(struct reader *reader, const struct key *key)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = read_known_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    if (iso8601_read(text, place_of(reader, key)) != 0) {
        note(reader, ERR_RANGE);
        return 0;
    }
    reader->has |= key->bit;
    return 0;
}

static int read_error(struct reader *reader)
{
    if (lexer_take_word(&reader->in, STR_LITERAL("true"))) {
        reader->sample.error = true;
        return 0;
    }
    if (lexer_take_word(&reader->in, STR_LITERAL("false"))) {
        return 0;
    }
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = read_known_text(reader, &text, &is_text);
    if (err != 0 || !is_text) {
        return err;
    }
    if (reader->in.zero) {
        note(reader, ERR_RANGE);
    }
    reader->sample.error = true;
    reader->sample.error_text = text;
    return 0;
}

/* One label. Its key is remembered as an unknown one is, until all labels are read. */
static int read_label(struct reader *reader, size_t first)
{
    struct label label;
    if (*reader->in.at != '"') {
        return fail(reader, ERR_SYNTAX, reader->key);
    }
    reader->in.at++;
    int err = read_text(reader, &label.key);
    bool zero = reader->in.zero;
    if (err == 0) {
        err = add_unknown(reader, first, label.key);
    }
    if (err == 0) {
        err = skip_colon(reader);
    }
    if (err != 0 || lexer_take_word(&reader->in, STR_LITERAL("null"))) {
        return err;
    }
    if (*reader->in.at != '"') {
        return skip_wrong_type(reader, 1);
    }
    reader->in.at++;
    err = read_text(reader, &label.value);
    if (err != 0) {
        return err;
    }
    struct sample *sample = &reader->sample;
    if (zero || reader->in.zero) {
        note(reader, ERR_NAME);
    } else if (label.key.len == 0 || label.key.len > RECORD_NAME_MAX ||
               label.value.len > RECORD_NAME_MAX || sample->label_count == RECORD_LABELS_MAX) {
        note(reader, ERR_RANGE);
    } else {
        sample->labels[sample->label_count++] = label;
    }
    return 0;
}

static int read_labels(struct reader *reader)
{
    if (*reader->in.at != '{') {
        return skip_wrong_type(reader, 0);
    }
    size_t first = reader->unknown_count;
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    bool closed = *reader->in.at == '}';
    if (closed) {
        reader->in.at++;
    }
    while (!closed) {
        int err = read_label(reader, first);
        if (err == 0) {
            err = skip_separator(reader, '}', &closed);
        }
        if (err != 0) {
            return err;
        }
    }
    reader->unknown_count = first;
    return 0;
}

/* The word of a list that is nearest to a text and near enough, or an empty one. */
static struct str find_near(struct str text, const struct str *words, size_t count)
{
    struct str near = {NULL, 0};
    size_t best = NEAR_DISTANCE + 1;
    for (size_t i = 0; i < count; i++) {
        size_t distance = str_distance(text, words[i], NEAR_DISTANCE);
        if (distance < best && distance < text.len) {
            best = distance;
            near = words[i];
        }
    }
    return near;
}

enum { READ_AGAIN = 1 }; /* the line is of another type than thought */

static int read_type(struct reader *reader)
{
    struct str text = {NULL, 0};
    bool is_text = false;
    int err = read_known_text(reader, &text, &is_text);
    if (err != 0 || !is_text || str_equal(text, type_names[reader->type])) {
        return err;
    }
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        if (str_equal(text, type_names[i])) {
            reader->type = (enum type)i;
            return i < TYPE_TAKEN_COUNT ? READ_AGAIN : fail(reader, ERR_UNSUPPORTED, text);
        }
    }
    (void)fail(reader, ERR_UNKNOWN_TYPE, text); /* the code is known here */
    reader->rejection.near = find_near(text, type_names, TYPE_COUNT);
    return ERR_UNKNOWN_TYPE;
}

/* Objects */

static inline int read_value(struct reader *reader, const struct key *key)
{
    if (key->kind == KIND_FIGURE && begins_number(reader)) {
        return read_figure(reader, key);
    }
    if (lexer_take_word(&reader->in, STR_LITERAL("null"))) {
        return 0;
    }
    switch (key->kind) {
    case KIND_FIGURE:
        return skip_wrong_type(reader, 0);
    case KIND_NAME:
        return read_name(reader, key);
    case KIND_TEXT:
        return read_hello_text(reader, key);
    case KIND_INTEGER:
        return read_count(reader, key);
    case KIND_ID:
        return read_id(reader, key);
    case KIND_TIMESTAMP:
        return read_timestamp(reader, key);
    case KIND_ERROR:
        return read_error(reader);
    case KIND_LABELS:
        return read_labels(reader);
    case KIND_TYPE:
        return read_type(reader);
    }
    return 0;
}

static int read_unknown(struct reader *reader)
{
    if (reader->in.zero) {
        note(reader, ERR_RANGE);
    }
    int err = add_unknown(reader, 0, reader->key);
    if (err == 0) {
        err = skip_colon(reader);
    }
    return err != 0 ? err : skip_value(reader, 0);
}

/* Peers write the keys of their lines in the same order, so the key that last came after this one is
 * tried before a search. Returns its row, or KEY_COUNT. */
static inline unsigned guess_key(struct reader *reader)
{
    unsigned row = reader->memory->follows[reader->last];
    const struct key *key = &keys[row];
    size_t len = key->name.len;
    if ((size_t)(reader->in.end - reader->in.at) <= len ||
        !str_same(reader->in.at, key->name.ptr, len) || reader->in.at[len] != '"') {
        return KEY_COUNT;
    }
    reader->in.at += len + 1;
    reader->key = key->name;
    reader->in.zero = false;
    return row;
}

static inline int read_member(struct reader *reader)
{
    if (*reader->in.at != '"') {
        return fail(reader, ERR_SYNTAX, (struct str){NULL, 0});
    }
    reader->in.at++;
    int err = 0;
    unsigned row = guess_key(reader);
    if (row == KEY_COUNT) {
        err = read_text(reader, &reader->key);
        if (err != 0) {
            return err;
        }
        row = find_key(reader->key);
        if (row != KEY_COUNT) {
            reader->memory->follows[reader->last] = (uint8_t)row;
        }
    }
    if (row == KEY_COUNT || (keys[row].types & 1U << reader->type) == 0) {
        return read_unknown(reader);
    }
    reader->last = (uint8_t)(row + 1);
    if ((reader->seen & UINT64_C(1) << row) != 0) {
        return fail(reader, ERR_DUPLICATE_KEY, reader->key);
    }
    reader->seen |= UINT64_C(1) << row;
    err = skip_colon(reader);
    return err != 0 ? err : read_value(reader, &keys[row]);
}

static void reset(struct reader *reader, const char *at, const char *newline)
{
    lexer_start(&reader->in, at, newline, &reader->memory->scratch);
    reader->last = 0;
    reader->seen = 0;
    reader->has = 0;
    reader->key = (struct str){NULL, 0};
    reader->rejection = (struct rejection){.err = 0};
    reader->unknown_count = 0;
    reader->sample.error = false;
    reader->sample.error_text = (struct str){NULL, 0};
    reader->sample.label_count = 0;
    if (reader->type != TYPE_SAMPLE) {
        reader->hello = (struct hello){.pid = 0};
        reader->mark = (struct mark){.sequence = 0};
    }
}

/* The object at reader->in.at, and nothing but blanks after it. Returns 0, a code, or READ_AGAIN. */
static int read_object(struct reader *reader)
{
    if (*reader->in.at != '{') {
        return fail(reader, ERR_SYNTAX, (struct str){NULL, 0});
    }
    reader->in.at++;
    lexer_skip_blanks(&reader->in);
    bool closed = *reader->in.at == '}';
    if (closed) {
        reader->in.at++;
        lexer_skip_blanks(&reader->in);
    }
    while (!closed) {
        int err = read_member(reader);
        if (err == 0) {
            err = skip_separator(reader, '}', &closed);
        }
        if (err != 0) {
            return err;
        }
    }
    return reader->in.at == reader->in.end ? 0 : fail(reader, ERR_SYNTAX, (struct str){NULL, 0});
}

/* Records */

static int miss(struct reader *reader, int row)
{
    struct str name = keys[row].name;
    (void)fail(reader, ERR_MISSING_KEY, name); /* the code is known here */
    size_t count = reader->unknown_count < NEAR_KEYS ? reader->unknown_count : NEAR_KEYS;
    reader->rejection.near = find_near(name, reader->unknown, count);
    return ERR_MISSING_KEY;
}

/* The key that a sample must have and has not; 0 when it has both. */
static int check_sample(struct reader *reader)
{
    if ((reader->has & BIT(PART_MODEL_NAME)) == 0) {
        return miss(reader, KEY_model_name);
    }
    if ((reader->has & BIT(PART_EXECUTION_TIME)) == 0) {
        return miss(reader, KEY_execution_time_ms);
    }
    return 0;
}

static int deliver_sample(struct reader *reader, const struct record_sink *sink)
{
    int err = check_sample(reader);
    if (err != 0) {
        return err;
    }
    reader->sample.has = reader->has & SAMPLE_PARTS;
    reader->sample.model_ref = 0;
    return sink->sample(sink->ctx, &reader->sample);
}

/* Hands over what was read; 0 or why it was refused. */
static int deliver(struct reader *reader, const struct record_sink *sink)
{
    if (reader->type == TYPE_SAMPLE) {
        return deliver_sample(reader, sink);
    }
    reader->mark.has_sequence = (reader->has & BIT(PART_SEQUENCE)) != 0;
    reader->mark.has_dropped = (reader->has & BIT(PART_DROPPED)) != 0;
    if (reader->type == TYPE_FLUSH) {
        return sink->flush(sink->ctx, &reader->mark);
    }
    if (reader->type == TYPE_GOODBYE) {
        return sink->goodbye(sink->ctx, &reader->mark);
    }
    reader->hello.has_client_id = (reader->has & BIT(PART_CLIENT_ID)) != 0;
    return sink->hello(sink->ctx, &reader->hello, &reader->mark);
}

/* --- usual samples ----------------------------------------------------------------------------- */

static void reject_line(struct rejection rejection, uint64_t line, const struct record_sink *sink)
{
    rejection.line = line;
    sink->reject(sink->ctx, &rejection);
}

void line_flush(struct line_batch *batch, const struct record_sink *sink)
{
    int errs[RECORD_BRIEFS_MAX];
    if (batch == NULL || batch->count == 0) {
        return;
    }
    unsigned refused = sink->briefs(sink->ctx, batch->briefs, batch->count, errs);
    for (unsigned i = 0; refused > 0 && i < batch->count; i++) {
        if (errs[i] != 0) {
            reject_line((struct rejection){.err = errs[i]}, batch->lines[i], sink);
        }
    }
    batch->count = 0;
}

#define BRIEF_PARTS                                                                                \
    (BIT(PART_MODEL_NAME) | BIT(PART_EXECUTION_TIME) | BIT(SAMPLE_CPU_DURING) |                    \
     BIT(SAMPLE_MEMORY_AFTER))

/* A sound sample of name and figures whose name stands in the line as it is. */
static inline bool is_usual(const struct reader *reader)
{
    const struct sample *sample = &reader->sample;
    uint32_t needed = BIT(PART_MODEL_NAME) | BIT(PART_EXECUTION_TIME);
    return reader->type == TYPE_SAMPLE && reader->rejection.err == 0 &&
           reader->unknown_count == 0 && reader->in.out == NULL &&
           (reader->has & ~BRIEF_PARTS) == 0 && (reader->has & needed) == needed &&
           !sample->error && sample->label_count == 0;
}

static void put_into_batch(struct line_batch *batch, const struct sample *sample, uint32_t has,
                           uint64_t line, const struct record_sink *sink)
{
    struct brief *brief = &batch->briefs[batch->count];
    *brief = record_brief(sample);
    brief->has = has & SAMPLE_PARTS;
    brief->model_ref = 0;
    batch->lines[batch->count++] = line;
    if (batch->count == RECORD_BRIEFS_MAX) {
        line_flush(batch, sink);
    }
}

static void read_record(struct line_memory *memory, const char *at, const char *newline,
                        uint64_t line, struct line_batch *batch, const struct record_sink *sink)
{
    struct reader reader;
    reader.memory = memory;
    reader.type = TYPE_SAMPLE;
    int err = READ_AGAIN;
    while (err == READ_AGAIN) {
        reset(&reader, at, newline);
        err = read_object(&reader);
    }
    if (err == 0 && batch != NULL && sink->briefs != NULL && is_usual(&reader)) {
        put_into_batch(batch, &reader.sample, reader.has, line, sink);
        return;
    }
    line_flush(batch, sink);
    if (err == 0) {
        for (size_t i = 0; i < reader.unknown_count; i++) {
            sink->unknown_key(sink->ctx, reader.unknown[i]);
        }
        err = reader.rejection.err != 0 ? reader.rejection.err : deliver(&reader, sink);
    }
    if (err != 0) {
        reader.rejection.err = err;
        reader.rejection.control = ((1U << reader.type) & OF_CONTROL) != 0;
        reject_line(reader.rejection, line, sink);
    }
}

void line_read(struct line_memory *memory, const char *start, const char *newline, uint64_t line,
               struct line_batch *batch, const struct record_sink *sink)
{
    const char *at = start;
    while (*at == ' ' || *at == '\t' || *at == '\r') {
        at++;
    }
    if (at != newline) {
        read_record(memory, at, newline, line, batch, sink);
    }
    if (memory->scratch.cap > KEEP_BYTES) {
        buf_fini(&memory->scratch);
    }
}

void line_init(struct line_memory *memory, size_t max_line_bytes)
{
    *memory = (struct line_memory){.follows = {0}};
    buf_init(&memory->scratch, max_line_bytes);
}

void line_fini(struct line_memory *memory)
{
    buf_fini(&memory->scratch);
}
