/*
 * Happy path:
 *   1. split cuts the line; the rate is looked for only where clients put it, after the type;
 *
 *          http.time:17:3.5|ms|@0.1|#code:200,path:/v1|c:in-7
 *          ^^^^^^^^^ ^^^^^^ ^^  ^^^  ^^^^^^^^^^^^^^^^^ ^^^^^^
 *          name      values     rate tags              ignored
 *                           type
 *          ^^^^^^^^^       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
 *          head            tail
 *
 *   2. tell_spelled shows head and tail to the sink, which knows them from before: most lines end here;
 *   3. else read_fields reads the rest, and each value goes to the sink as a metric or as a sample.
 *
 * A sink remembers only what came by 3, so whatever 3 rejects is rejected each time it comes. What
 * cannot be seen without reading the whole tail has no spelling: a rate in another place, a time.
 * Neither has a gauge with a sign, since nothing but the value tells that it adds; nor an inference;
 * nor a set, whose value is no number.
 *
 * What can fail, through sink->reject: any part of the line, whole lines at a time; or the sink
 * refuses one of the values. Events and service checks are told by sink->ignored.
 */
#include "wire/statsd_line.h"

#include <stddef.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/name.h"
#include "base/num.h"

#define TIMESTAMP_MAX (UINT64_MAX / NS_PER_SECOND)
/* 1 / 0.00001 is 99999.99999999999 in doubles, and means 100000. */
#define NEARLY_WHOLE 1e-6

#define NO_PART    ((struct str){NULL, 0})
#define PART(name) STR_LITERAL(name)

/* A line while it is read. Large, so only what a step needs is set by it. */
struct reader {
    struct str name;
    struct str tail;
    const char *rest; /* of the values, behind the first one; the tail when there is but one */
    const char *at;   /* in the tail: what is not read yet; a '|' or the end */
    double first;     /* value */
    double low, high; /* of all values */
    bool first_signed;
    bool any_signed;
    bool has_rate;
    bool has_tags;
    bool has_late_rate; /* it stands somewhere behind */
    bool is_listed;     /* the name is one of an inference, and the type one that can be */
    enum metric_op op;  /* METRIC_SET for all gauges */
    struct str member;  /* of a set */
    struct str unit;
    double rate;       /* 1 without one */
    double stands_for; /* 1 / rate, where there is one */
    double *carried;   /* where the fraction is kept; NULL when there is none */
    double carry;
    struct str part; /* that was wrong */
    struct metric metric;
    struct sample sample;
};

static bool begins(struct str text, struct str with)
{
    return text.len >= with.len && memcmp(text.ptr, with.ptr, with.len) == 0;
}

static bool is_name(struct str text)
{
    return text.len >= 1 && text.len <= RECORD_NAME_MAX;
}

static int fail(struct reader *reader, int err, struct str part)
{
    reader->part = part;
    return err;
}

static void reject(const struct record_sink *sink, int err, struct str part, uint64_t line)
{
    struct rejection rejection = {.err = err, .key = part, .line = line};
    sink->reject(sink->ctx, &rejection);
}

/* --- the list of inferences -------------------------------------------------------------------- */

void statsd_samples_add(struct statsd_samples *samples, struct str name)
{
    samples->names[samples->count++] = name;
    samples->lengths |= UINT64_C(1) << name.len % 64;
}

static bool is_in_list(const struct statsd_samples *samples, struct str name)
{
    for (unsigned i = 0; i < samples->count; i++) {
        if (str_equal(samples->names[i], name)) {
            return true;
        }
    }
    return false;
}

static inline bool is_listed(const struct statsd_samples *samples, struct str name)
{
    return samples != NULL && (samples->lengths >> name.len % 64 & 1) != 0 &&
           is_in_list(samples, name);
}

/* --- values ------------------------------------------------------------------------------------ */

static bool ends_value(const char *at, const char *end)
{
    return at == end || *at == ':' || *at == '|';
}

/* "nan", "-inf", "Infinity": what some languages print. */
static bool is_no_number(const char *at, const char *end)
{
    static const char *const words[] = {"nan", "inf", "infinity"};
    at += at < end && (*at == '-' || *at == '+');
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t len = 0;
        while (words[i][len] != '\0' && at + len < end && (at[len] | 0x20) == words[i][len]) {
            len++;
        }
        if (words[i][len] == '\0' && ends_value(at + len, end)) {
            return true;
        }
    }
    return false;
}

__attribute__((noinline)) static int scan_odd_value(const char **at, const char *end,
                                                    double *ret_value, bool *ret_signed)
{
    const char *after = *at;
    double value;
    int err = num_scan_lenient(&after, end, &value);
    if (err != 0) {
        return is_no_number(*at, end) ? ERR_RANGE : err;
    }
    if (!ends_value(after, end)) {
        return ERR_SYNTAX;
    }
    *ret_signed = **at == '-' || **at == '+';
    *ret_value = value + 0.0; /* -0 is 0 */
    *at = after;
    return 0;
}

static inline int scan_value(const char **at, const char *end, double *ret_value, bool *ret_signed)
{
    const char *after = num_scan_usual(*at, end, ret_value);
    if (after == NULL || !ends_value(after, end)) {
        return scan_odd_value(at, end, ret_value, ret_signed);
    }
    *ret_signed = false;
    *at = after;
    return 0;
}

/* One value after the other. */
struct cursor {
    const char *at; /* behind the value */
    double value;
    bool is_signed;
};

static inline struct cursor first_value(const struct reader *reader)
{
    return (struct cursor){reader->rest, reader->first, reader->first_signed};
}

static inline bool next_value(struct cursor *cursor, const struct reader *reader)
{
    if (cursor->at == reader->tail.ptr) {
        return false;
    }
    cursor->at++;
    /* They are all good: this is the second time. */
    (void)scan_value(&cursor->at, reader->tail.ptr, &cursor->value, &cursor->is_signed);
    return true;
}

/* --- cutting ----------------------------------------------------------------------------------- */

/* "|ms", the beginning of the tail. */
static inline int read_type(struct reader *reader)
{
    const char *end = reader->tail.ptr + reader->tail.len;
    const char *at = reader->tail.ptr + 1;
    if (at == end || *at == '|') {
        return fail(reader, ERR_MISSING_KEY, PART("type"));
    }
    reader->unit = (struct str){NULL, 0};
    switch (*at++) {
    case 'c':
        reader->op = METRIC_COUNT;
        break;
    case 'g':
        reader->op = METRIC_SET;
        break;
    case 'm':
        if (at == end || *at++ != 's') {
            return fail(reader, ERR_UNKNOWN_TYPE, PART("type"));
        }
        reader->unit = STR_LITERAL("ms");
        reader->op = METRIC_OBSERVE;
        break;
    case 'h':
    case 'd':
        reader->op = METRIC_OBSERVE;
        break;
    default: /* a set's among them: see read_set */
        return fail(reader, ERR_UNKNOWN_TYPE, PART("type"));
    }
    reader->at = at;
    return at == end || *at == '|' ? 0 : fail(reader, ERR_UNKNOWN_TYPE, PART("type"));
}

static inline uint64_t mix_word(uint64_t state, uint64_t word)
{
    state = (state ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    return state ^ state >> 32;
}

/* Eight bytes at a time; the last ones of a longer text overlap. */
static uint64_t mix(uint64_t state, struct str text)
{
    uint64_t word = 0;
    size_t at = 0;
    for (; at + sizeof word <= text.len; at += sizeof word) {
        memcpy(&word, text.ptr + at, sizeof word);
        state = mix_word(state, word);
    }
    if (text.len >= sizeof word) {
        memcpy(&word, text.ptr + text.len - sizeof word, sizeof word);
    } else {
        for (; at < text.len; at++) {
            word = word << 8 | (uint8_t)text.ptr[at];
        }
    }
    return mix_word(state, word);
}

/* Finds what is left over from lines like this one. */
static void find_carry(struct reader *reader, struct statsd_memory *memory)
{
    uint64_t hash = mix(mix(reader->name.len, reader->name), reader->tail);
    reader->carried = &memory->carry[hash % STATSD_CARRIES];
    reader->carry = *reader->carried;
}

static int read_rate(struct reader *reader, struct statsd_memory *memory, struct str text)
{
    const char *at = text.ptr;
    const char *end = text.ptr + text.len;
    const char *after = num_scan_usual(at, end, &reader->rate);
    if (after != end) {
        int err = num_scan_lenient(&at, end, &reader->rate);
        if (err != 0 || at != end) {
            return fail(reader, err != 0 ? err : ERR_SYNTAX, PART("rate"));
        }
    }
    reader->stands_for = 1 / reader->rate;
    if (!(reader->rate > 0 && reader->rate <= 1 && reader->stands_for <= RECORD_WEIGHT_MAX)) {
        return fail(reader, ERR_RANGE, PART("rate"));
    }
    reader->has_rate = true;
    if (reader->op == METRIC_OBSERVE && reader->rate < 1) {
        find_carry(reader, memory);
    }
    return 0;
}

/* The field that begins behind the '|' at `at`. */
static struct str field_at(const char *at, const char *end)
{
    const char *bar = memchr(at + 1, '|', (size_t)(end - at - 1));
    return (struct str){at + 1, (size_t)((bar == NULL ? end : bar) - at - 1)};
}

/* The rate, if it stands right behind the type. */
static inline int read_early_rate(struct reader *reader, struct statsd_memory *memory)
{
    const char *end = reader->tail.ptr + reader->tail.len;
    if (end - reader->at < 2 || reader->at[1] != '@') {
        return 0;
    }
    struct str field = field_at(reader->at, end);
    reader->at = field.ptr + field.len;
    return read_rate(reader, memory, (struct str){field.ptr + 1, field.len - 1});
}

static inline int check_values(struct reader *reader)
{
    bool good = reader->op == METRIC_COUNT
                    ? reader->low >= 0 && reader->high / reader->rate <= RECORD_AMOUNT_MAX
                    : reader->low >= -RECORD_AMOUNT_MAX && reader->high <= RECORD_AMOUNT_MAX;
    return good ? 0 : fail(reader, ERR_RANGE, PART("value"));
}

static inline int read_values(struct reader *reader, const char *at, const char *end)
{
    int err = scan_value(&at, end, &reader->first, &reader->first_signed);
    if (err != 0) {
        return fail(reader, err, PART("value"));
    }
    reader->rest = at;
    reader->low = reader->first;
    reader->high = reader->first;
    reader->any_signed = reader->first_signed;
    while (at < end && *at == ':') {
        double value;
        bool is_signed;
        at++;
        err = scan_value(&at, end, &value, &is_signed);
        if (err != 0) {
            return fail(reader, err, PART("value"));
        }
        reader->low = value < reader->low ? value : reader->low;
        reader->high = value > reader->high ? value : reader->high;
        reader->any_signed |= is_signed;
    }
    reader->tail = (struct str){at, (size_t)(end - at)};
    return at < end ? 0 : fail(reader, ERR_MISSING_KEY, PART("type"));
}

/*
 * The value of a set may be any text, and is one whatever colons are in it:
 *
 *     seen.urls:http://x:80/|s|#code:200
 *               ^^^^^^^^^^^^ ^
 *               member       type
 *
 * Looked for where a line is not one of numbers, so that those do not pay for it. Returns 0, or `err`
 * for what is no set either, or why this one is none.
 */
__attribute__((noinline)) static int read_set(struct reader *reader, const char *at,
                                              const char *end, int err)
{
    const char *bar = memchr(at, '|', (size_t)(end - at));
    if (bar == NULL || end - bar < 2 || bar[1] != 's' || (end - bar > 2 && bar[2] != '|')) {
        return err;
    }
    reader->member = (struct str){at, (size_t)(bar - at)};
    if (!is_name(reader->member) || !name_is_text(reader->member)) {
        return fail(reader, ERR_NAME, PART("value"));
    }
    reader->op = METRIC_MEMBER;
    reader->unit = (struct str){NULL, 0};
    reader->tail = (struct str){bar, (size_t)(end - bar)};
    reader->rest = bar;
    reader->at = bar + 2;
    reader->first = 0; /* for it is none of a number's ranges that it must be in */
    reader->first_signed = false;
    reader->any_signed = false;
    reader->low = 0;
    reader->high = 0;
    return 0;
}

static inline int split(struct reader *reader, struct statsd_memory *memory, struct str text)
{
    const char *colon = memchr(text.ptr, ':', text.len);
    if (colon == NULL) {
        return fail(reader, ERR_SYNTAX, NO_PART);
    }
    reader->name = (struct str){text.ptr, (size_t)(colon - text.ptr)};
    if (reader->name.len == 0 || reader->name.len > RECORD_NAME_MAX) {
        return fail(reader, ERR_NAME, PART("name"));
    }
    reader->rate = 1;
    reader->carried = NULL;
    reader->carry = 0;
    reader->has_rate = false;
    const char *end = text.ptr + text.len;
    int err = read_values(reader, colon + 1, end);
    err = err != 0 ? err : read_type(reader);
    err = err == 0 ? 0 : read_set(reader, colon + 1, end, err);
    err = err != 0 ? err : read_early_rate(reader, memory);
    return err != 0 ? err : check_values(reader);
}

/* --- the rest of a line that is new ------------------------------------------------------------ */

/* "code:200" or "canary": the first colon splits, and of a key that comes twice the last value counts. */
static int add_tag(struct metric *metric, struct str text)
{
    const char *colon = memchr(text.ptr, ':', text.len);
    struct label tag = {text, STR_LITERAL("true")};
    if (colon != NULL) {
        tag.key.len = (size_t)(colon - text.ptr);
        tag.value = (struct str){colon + 1, text.len - tag.key.len - 1};
    }
    if (tag.key.len == 0 || tag.key.len > RECORD_NAME_MAX || tag.value.len > RECORD_VALUE_MAX) {
        return ERR_RANGE;
    }
    uint32_t at = 0;
    while (at < metric->attribute_count && !str_equal(metric->attributes[at].key, tag.key)) {
        at++;
    }
    if (at == RECORD_ATTRIBUTES_MAX) {
        return ERR_RANGE;
    }
    metric->attributes[at] = tag;
    metric->attribute_count += at == metric->attribute_count;
    return 0;
}

static int read_tags(struct reader *reader, struct str text)
{
    const char *end = text.ptr + text.len;
    if (reader->has_tags) {
        return fail(reader, ERR_DUPLICATE_KEY, PART("tags"));
    }
    reader->has_tags = true;
    if (memchr(text.ptr, '\0', text.len) != NULL) {
        return fail(reader, ERR_NAME, PART("tags"));
    }
    for (const char *at = text.ptr; at < end;) {
        if (*at == ',') {
            at++;
            continue;
        }
        const char *comma = memchr(at, ',', (size_t)(end - at));
        comma = comma == NULL ? end : comma;
        int err = add_tag(&reader->metric, (struct str){at, (size_t)(comma - at)});
        if (err != 0) {
            return fail(reader, err, PART("tags"));
        }
        at = comma;
    }
    return 0;
}

static int read_timestamp(struct reader *reader, struct str text)
{
    uint64_t seconds;
    if (reader->metric.has != 0) {
        return fail(reader, ERR_DUPLICATE_KEY, PART("timestamp"));
    }
    if (num_read_u64(text, &seconds) != 0 || seconds > TIMESTAMP_MAX) {
        return fail(reader, ERR_RANGE, PART("timestamp"));
    }
    reader->metric.has = METRIC_HAS_TIMESTAMP;
    reader->metric.timestamp_wall_ns = seconds * NS_PER_SECOND;
    return 0;
}

static int read_field(struct reader *reader, struct statsd_memory *memory, struct str field)
{
    struct str content = {field.ptr + 1, field.len - 1};
    switch (*field.ptr) {
    case '#':
        return read_tags(reader, content);
    case '@':
        if (reader->has_rate) {
            return fail(reader, ERR_DUPLICATE_KEY, PART("rate"));
        }
        reader->has_late_rate = true;
        return read_rate(reader, memory, content);
    case 'T':
        return reader->op == METRIC_OBSERVE || reader->op == METRIC_MEMBER
                   ? 0
                   : read_timestamp(reader, content);
    default:
        return 0; /* what newer clients say */
    }
}

static bool has(struct str text, char c)
{
    return memchr(text.ptr, c, text.len) != NULL;
}

static int read_fields(struct reader *reader, struct statsd_memory *memory)
{
    const char *end = reader->tail.ptr + reader->tail.len;
    if (has(reader->name, '\0')) {
        return fail(reader, ERR_NAME, PART("name"));
    }
    if (has(reader->name, '|')) {
        return fail(reader, ERR_SYNTAX, PART("name"));
    }
    reader->has_tags = false;
    reader->has_late_rate = false;
    reader->metric.has = 0;
    reader->metric.attribute_count = 0;
    while (reader->at < end) {
        struct str field = field_at(reader->at, end);
        int err = field.len == 0 ? 0 : read_field(reader, memory, field);
        if (err != 0) {
            return err;
        }
        reader->at = field.ptr + field.len;
    }
    return reader->has_late_rate ? check_values(reader) : 0;
}

/* --- handing over ------------------------------------------------------------------------------ */

/* Values that the next one stands for. */
static inline uint64_t next_weight(struct reader *reader)
{
    if (reader->carried == NULL) {
        return 1;
    }
    double due = reader->carry + reader->stands_for;
    uint64_t weight = (uint64_t)(due + NEARLY_WHOLE);
    weight = weight < 1 ? 1 : weight < RECORD_WEIGHT_MAX ? weight : RECORD_WEIGHT_MAX;
    reader->carry = due - (double)weight;
    return weight;
}

static inline double amount(const struct reader *reader, double value)
{
    return reader->op == METRIC_COUNT ? value / reader->rate : value;
}

/* What no part of a line but the values tells apart must not be known by the others. */
static inline bool has_spelling(const struct reader *reader)
{
    return !reader->is_listed && !(reader->op == METRIC_SET && reader->any_signed) &&
           reader->op != METRIC_MEMBER;
}

static inline struct spelling spelling_of(const struct reader *reader)
{
    return (struct spelling){SPELLING_STATSD, reader->name, reader->tail};
}

/* Returns true when there was nothing left to tell; else `cursor` is at the first value that is. */
static inline bool tell_spelled(struct reader *reader, struct cursor *cursor,
                                const struct record_sink *sink)
{
    struct spelling spelling = spelling_of(reader);
    do {
        double carry = reader->carry;
        uint64_t weight = next_weight(reader);
        if (!sink->spelled(sink->ctx, &spelling, amount(reader, cursor->value), weight)) {
            reader->carry = carry;
            return false;
        }
    } while (next_value(cursor, reader));
    return true;
}

static void tell_metric(struct reader *reader, struct cursor *cursor, uint64_t line,
                        const struct record_sink *sink)
{
    struct metric *metric = &reader->metric;
    metric->name = reader->name;
    metric->unit = reader->unit;
    metric->aggregation = AGGREGATION_UNSAID;
    metric->spelling = (struct spelling){.format = SPELLING_NONE};
    if (has_spelling(reader) && !reader->has_late_rate && metric->has == 0) {
        metric->spelling = spelling_of(reader);
    }
    if (reader->op == METRIC_MEMBER) {
        metric->member = reader->member;
    }
    do {
        bool adds = reader->op == METRIC_SET && cursor->is_signed;
        metric->op = adds ? METRIC_ADD : reader->op;
        metric->value = amount(reader, cursor->value);
        metric->weight = next_weight(reader);
        int err = sink->metric(sink->ctx, metric);
        if (err != 0) {
            reject(sink, err, NO_PART, line);
        }
    } while (next_value(cursor, reader));
}

static bool is_model(struct str key)
{
    return str_equal(key, STR_LITERAL("model_name")) || str_equal(key, STR_LITERAL("model"));
}

/* The tag that names the model, or NULL. The longer name is the surer one. */
static const struct label *find_model(const struct metric *metric)
{
    const struct label *model = NULL;
    for (uint32_t i = 0; i < metric->attribute_count; i++) {
        const struct label *tag = &metric->attributes[i];
        if (is_model(tag->key) && (model == NULL || tag->key.len > model->key.len)) {
            model = tag;
        }
    }
    return model;
}

/* Tags become what they say of a sample. */
static int read_sample(struct reader *reader, const struct label *model)
{
    struct sample *sample = &reader->sample;
    if (reader->low < 0 || reader->high > RECORD_MS_MAX) {
        return fail(reader, ERR_RANGE, PART("value"));
    }
    if (!is_name(model->value)) {
        return fail(reader, ERR_NAME, model->key);
    }
    sample->model_name = model->value;
    sample->model_ref = 0;
    sample->has = 0;
    sample->error = false;
    sample->error_text = (struct str){NULL, 0};
    sample->label_count = 0;
    for (uint32_t i = 0; i < reader->metric.attribute_count; i++) {
        const struct label *tag = &reader->metric.attributes[i];
        if (tag == model) {
            continue;
        }
        if (str_equal(tag->key, STR_LITERAL("device"))) {
            if (!is_name(tag->value)) {
                return fail(reader, ERR_NAME, tag->key);
            }
            sample->has |= 1U << SAMPLE_DEVICE;
            sample->device = tag->value;
        } else if (tag->value.len > RECORD_NAME_MAX || sample->label_count == RECORD_LABELS_MAX) {
            return fail(reader, ERR_RANGE, PART("tags"));
        } else {
            sample->labels[sample->label_count++] = *tag;
        }
    }
    return 0;
}

static void tell_sample(struct reader *reader, struct cursor *cursor, uint64_t line,
                        const struct record_sink *sink)
{
    struct sample *sample = &reader->sample;
    const uint32_t weighed = 1U << SAMPLE_WEIGHT;
    do {
        sample->execution_time_ms = cursor->value;
        sample->weight = next_weight(reader);
        sample->has = sample->weight > 1 ? sample->has | weighed : sample->has & ~weighed;
        int err = sink->sample(sink->ctx, sample);
        if (err != 0) {
            reject(sink, err, NO_PART, line);
        }
    } while (next_value(cursor, reader));
}

/* Step 3, for the values from `cursor` on. */
__attribute__((noinline)) static int tell_wholly(struct reader *reader,
                                                 struct statsd_memory *memory,
                                                 struct cursor *cursor, uint64_t line,
                                                 const struct record_sink *sink)
{
    int err = read_fields(reader, memory);
    if (err != 0) {
        return err;
    }
    const struct label *model = reader->is_listed ? find_model(&reader->metric) : NULL;
    if (model == NULL) {
        tell_metric(reader, cursor, line, sink);
        return 0;
    }
    err = read_sample(reader, model);
    if (err == 0) {
        tell_sample(reader, cursor, line, sink);
    }
    return err;
}

static inline int read_record(struct reader *reader, struct statsd_memory *memory, struct str text,
                              uint64_t line, const struct record_sink *sink)
{
    int err = split(reader, memory, text);
    if (err != 0) {
        return err;
    }
    reader->is_listed = reader->op == METRIC_OBSERVE && is_listed(memory->samples, reader->name);
    struct cursor cursor = first_value(reader);
    if (sink->spelled == NULL || !has_spelling(reader) || !tell_spelled(reader, &cursor, sink)) {
        err = tell_wholly(reader, memory, &cursor, line, sink);
    }
    if (err == 0 && reader->carried != NULL) {
        *reader->carried = reader->carry;
    }
    return err;
}

static void ignore(const struct record_sink *sink, enum ignored what)
{
    if (sink->ignored != NULL) {
        sink->ignored(sink->ctx, what);
    }
}

/* What is neither blank nor a metric. */
static bool read_other(struct str text, const struct record_sink *sink)
{
    if (begins(text, STR_LITERAL("_e{"))) {
        ignore(sink, IGNORED_EVENT);
        return true;
    }
    if (begins(text, STR_LITERAL("_sc|"))) {
        ignore(sink, IGNORED_CHECK);
        return true;
    }
    return false;
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

void statsd_line_read(struct statsd_memory *memory, struct str text, uint64_t line,
                      const struct record_sink *sink)
{
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    if (text.len > 0 && text.ptr[text.len - 1] == '\r') {
        text.len--;
    }
    if (text.len == 0 || (text.ptr[0] == '_' && read_other(text, sink))) {
        return;
    }
    struct reader reader;
    int err = read_record(&reader, memory, text, line, sink);
    if (err != 0) {
        reject(sink, err, reader.part, line);
    }
}

/* --- lines as nearly all are ------------------------------------------------------------------- */

/* What can be read of a line behind its name without a look at where the input ends: the value, and
 * type and newline with a '\r', or with what follows the type. */
enum { VALUE_BYTES = 1 + NUM_WIDE_BYTES, END_BYTES = 5 };
_Static_assert(STATSD_MARGIN_BYTES >= VALUE_BYTES + END_BYTES && STATSD_MARGIN_BYTES >= 8,
               "the margin is there for them, and for what finds the colon");

/* The first colon, if no newline is before it, nor one of two bytes that look like them without two of
 * their bits: all four are found in one go. NULL without one before `end`, which eight bytes follow. */
static inline const char *find_colon(const char *at, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    _Static_assert((':' & 0xCF) == '\n' && ('\n' & 0xCF) == '\n', "one search finds both");
    for (; at < end; at += 8) {
        uint64_t bytes;
        memcpy(&bytes, at, sizeof bytes);
        bytes = (le64toh(bytes) & ones * 0xCF) ^ ones * '\n';
        uint64_t found = (bytes - ones) & ~bytes & ones * 0x80; /* the lowest one is right */
        if (found != 0) {
            at += __builtin_ctzll(found) / 8;
            return *at == ':' ? at : NULL;
        }
    }
    return NULL;
}

/* Bytes of "|c" or "|ms", 0 for what it is not. */
static inline unsigned type_bytes(const char *at)
{
    if (at[1] == 'm') {
        return at[2] == 's' ? 3 : 0;
    }
    return at[1] == 'c' || at[1] == 'g' || at[1] == 'h' || at[1] == 'd' ? 2 : 0;
}

/* Finds the newline behind a type, and the end of the line's text. NULL: the rate is here, or there is
 * no newline. */
static inline const char *find_newline(const char *at, const char *end, const char **ret_text_end)
{
    const char *newline = at;
    if (*at == '|' && at[1] != '@') {
        newline = memchr(at, '\n', (size_t)(end - at));
        if (newline == NULL) {
            return NULL;
        }
        newline -= newline[-1] == '\r';
    }
    *ret_text_end = newline;
    newline += *newline == '\r';
    return *newline == '\n' ? newline : NULL;
}

/* Takes one line. Returns what follows, or NULL when it is none of those. */
static inline const char *take_usual(const struct statsd_memory *memory, const char *at,
                                     const char *end, size_t max_line_bytes,
                                     const struct record_sink *sink)
{
    const char *colon = find_colon(at, end - STATSD_MARGIN_BYTES);
    if (colon == NULL || end - colon < STATSD_MARGIN_BYTES ||
        (size_t)(colon - at) - 1 >= RECORD_NAME_MAX || is_blank(*at) || *at == '_') {
        return NULL;
    }
    double value;
    const char *bar = num_scan_wide(colon + 1, &value);
    if (bar == NULL || *bar != '|') {
        return NULL;
    }
    unsigned type = type_bytes(bar);
    const char *text_end;
    const char *newline = type == 0 ? NULL : find_newline(bar + type, end, &text_end);
    if (newline == NULL || (size_t)(newline - at) > max_line_bytes) {
        return NULL;
    }
    struct spelling spelling = {
        SPELLING_STATSD, {at, (size_t)(colon - at)}, {bar, (size_t)(text_end - bar)}};
    return !is_listed(memory->samples, spelling.head) &&
                   sink->spelled(sink->ctx, &spelling, value, 1)
               ? newline + 1
               : NULL;
}

const char *statsd_line_take_usual(const struct statsd_memory *memory, struct str bytes,
                                   size_t max_line_bytes, uint64_t *lines,
                                   const struct record_sink *sink)
{
    const char *at = bytes.ptr;
    const char *end = bytes.ptr + bytes.len;
    while (end - at > STATSD_MARGIN_BYTES) {
        const char *next = take_usual(memory, at, end, max_line_bytes, sink);
        if (next == NULL) {
            break;
        }
        at = next;
        ++*lines;
    }
    return at;
}
