/*
 * Happy path:
 *   1. read_head takes a metric that begins as nearly all do, up to its value:
 *
 *          0a 08 72 65 71 75 65 73 74 73  18 01  21 00 00 00 00 00 00 f0 3f  2a 0b 0a 04 63 6f 64 …
 *          |     r  e  q  u  e  s  t  s   |      |  value 1.0                |
 *          field 1: name                  |      field 4: value              field 5: an attribute
 *                                         field 3: op, COUNT
 *          |<--------------- head --------------->|       8 bytes            |<-- tail …
 *
 *   2. a sink that remembers where head and tail lead is done with the value alone: neither is read;
 *   3. else the rest is read, judged as a whole and handed over, with its spelling when the bytes of
 *      head and tail hold all that it says.
 *
 * What can fail: damage, which ends the batch; a wrong value, which rejects the metric alone. A field
 * that the metric's op has no use for is read and left: no value of an info is too large.
 */
#include "wire/batch_metric.h"

#include "base/err.h"

#define METRIC_FIELDS    FIELDS(1, 11)
#define ATTRIBUTE_FIELDS FIELDS(1, 4)

/* Fields of a metric. */
enum {
    NAME = 1,
    NAME_REF = 2,
    OP = 3,
    VALUE = 4,
    ATTRIBUTE = 5,
    UNIT = 6,
    AGGREGATION = 7,
    TRACE_ID = 8,
    SPAN_ID = 9,
    TIMESTAMP = 10,
    WEIGHT = 11,
};

#define HEAD_FIELDS (FIELD(NAME) | FIELD(OP) | FIELD(VALUE))

/* The numbers of Metric.Op follow the order of ours, from 1; those of Metric.Aggregation are ours. */
enum { OP_FIRST = 1, OP_LAST = METRIC_INFO + 1 };
_Static_assert(AGGREGATION_LAST == 1 && AGGREGATION_SUM == 2 && AGGREGATION_MAX == 3 &&
                   AGGREGATION_MIN == 4 && AGGREGATION_PER_PID == 5,
               "the numbers of proto/dwell.proto");

/* What an op has a use for, beside name and attributes. */
static const uint32_t fields_of[METRIC_OP_COUNT] = {
    [METRIC_COUNT] =
        FIELD(VALUE) | FIELD(UNIT) | FIELD(TRACE_ID) | FIELD(SPAN_ID) | FIELD(TIMESTAMP),
    [METRIC_SET] = FIELD(VALUE) | FIELD(UNIT) | FIELD(AGGREGATION) | FIELD(TIMESTAMP),
    [METRIC_ADD] = FIELD(VALUE) | FIELD(UNIT) | FIELD(AGGREGATION) | FIELD(TIMESTAMP),
    [METRIC_OBSERVE] = FIELD(VALUE) | FIELD(UNIT) | FIELD(TRACE_ID) | FIELD(SPAN_ID) |
                       FIELD(TIMESTAMP) | FIELD(WEIGHT),
    [METRIC_INFO] = 0,
};

/* What the fields of a metric say beside what goes straight to decoder->metric; of a field that comes
 * twice the last. */
struct findings {
    uint32_t has;    /* fields that came */
    uint32_t bad_id; /* of TRACE_ID and SPAN_ID: their last one has another length */
    uint32_t op;     /* these as the client numbers them */
    uint32_t aggregation;
    uint32_t name_ref;
    struct str name;
    uint64_t weight;
    bool plain;        /* the bytes around the value say the same in every batch, and all of it */
    int attribute_err; /* of the first bad attribute */
    struct str attribute_key;
};

/* --- attributes -------------------------------------------------------------------------------- */

/* What the fields of an attribute say. */
struct attribute {
    struct label label;
    uint32_t has;
    uint32_t key_ref;
    uint32_t value_ref;
};

/* Reads the fields of one attribute. Returns 0 or ERR_FRAME. */
static int read_attribute(struct piece piece, struct attribute *attribute, bool *plain,
                          const struct record_sink *sink)
{
    while (piece.at < piece.end) {
        uint32_t tag = 0;
        uint64_t number = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
        switch (tag) {
        case TAG(1, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &attribute->label.key);
            break;
        case TAG(2, KIND_VARINT):
            piece.at = field_read_number(piece.at, piece.end, &number);
            attribute->key_ref = (uint32_t)number;
            *plain = false;
            break;
        case TAG(3, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &attribute->label.value);
            break;
        case TAG(4, KIND_VARINT):
            piece.at = field_read_number(piece.at, piece.end, &number);
            attribute->value_ref = (uint32_t)number;
            *plain = false;
            break;
        default:
            piece.at =
                field_skip_unknown(piece.at, piece.end, tag, "Attribute", ATTRIBUTE_FIELDS, sink);
            *plain = false;
        }
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
        attribute->has |= tag >> 3 < 32 ? FIELD(tag >> 3) : 0;
    }
    return 0;
}

/* The text of a field that may come inline or as a reference, which wins. */
static int settle(const struct batch_decoder *decoder, bool is_ref, uint32_t ref, bool is_inline,
                  struct str *text)
{
    if (is_ref) {
        if (ref - 1 >= decoder->string_count) {
            return ERR_REFERENCE;
        }
        *text = decoder->strings[ref - 1];
    }
    return is_ref || is_inline ? 0 : ERR_MISSING_KEY;
}

static int judge_attribute(const struct batch_decoder *decoder, struct attribute *attribute,
                           struct str *ret_key)
{
    struct label *label = &attribute->label;
    bool has_ref = (attribute->has & FIELD(2)) != 0;
    *ret_key = has_ref ? STR_LITERAL("attribute.key_ref") : STR_LITERAL("attribute.key");
    int err =
        settle(decoder, has_ref, attribute->key_ref, (attribute->has & FIELD(1)) != 0, &label->key);
    if (err != 0) {
        return err;
    }
    has_ref = (attribute->has & FIELD(4)) != 0;
    *ret_key = has_ref ? STR_LITERAL("attribute.value_ref") : STR_LITERAL("attribute.value");
    err = settle(decoder, has_ref, attribute->value_ref, (attribute->has & FIELD(3)) != 0,
                 &label->value);
    if (err != 0) {
        return err;
    }
    *ret_key = STR_LITERAL("attribute");
    bool good = label->key.len > 0 && label->key.len <= RECORD_NAME_MAX &&
                label->value.len <= RECORD_VALUE_MAX &&
                decoder->metric.attribute_count < RECORD_ATTRIBUTES_MAX;
    return good ? 0 : ERR_RANGE;
}

/* Takes one attribute. NULL for damage; one that is merely wrong goes to the findings. */
static const uint8_t *take_attribute(struct batch_decoder *decoder, const uint8_t *at,
                                     const uint8_t *end, struct findings *findings,
                                     const struct record_sink *sink)
{
    struct piece piece;
    struct attribute attribute = {.has = 0};
    at = field_read_bytes(at, end, &piece);
    if (at == NULL || read_attribute(piece, &attribute, &findings->plain, sink) != 0) {
        return NULL;
    }
    struct str key;
    int err = judge_attribute(decoder, &attribute, &key);
    if (err == 0) {
        decoder->metric.attributes[decoder->metric.attribute_count++] = attribute.label;
    } else if (findings->attribute_err == 0) {
        findings->attribute_err = err;
        findings->attribute_key = key;
    }
    return at;
}

/* --- metrics ----------------------------------------------------------------------------------- */

static const uint8_t *read_id(const uint8_t *at, const uint8_t *end, size_t len, uint32_t field,
                              struct findings *findings, uint8_t *id)
{
    bool good = true;
    at = field_read_id(at, end, len, &good, id);
    findings->bad_id = good ? findings->bad_id & ~field : findings->bad_id | field;
    return at;
}

static inline const uint8_t *read_u32(const uint8_t *at, const uint8_t *end, uint32_t *ret_number)
{
    uint64_t number = 0;
    at = field_read_number(at, end, &number);
    *ret_number = (uint32_t)number; /* as all readers of this format: the rest is cut */
    return at;
}

/* Reads one field whose tag has been read. NULL for damage. */
static const uint8_t *read_field(struct batch_decoder *decoder, const uint8_t *at,
                                 const uint8_t *end, uint32_t tag, struct findings *findings,
                                 const struct record_sink *sink)
{
    struct metric *metric = &decoder->metric;
    switch (tag) {
    case TAG(NAME, KIND_BYTES):
        return field_read_text(at, end, &findings->name);
    case TAG(NAME_REF, KIND_VARINT):
        return read_u32(at, end, &findings->name_ref);
    case TAG(OP, KIND_VARINT):
        return read_u32(at, end, &findings->op);
    case TAG(VALUE, KIND_FIXED64):
        return field_read_double(at, end, &metric->value);
    case TAG(ATTRIBUTE, KIND_BYTES):
        return take_attribute(decoder, at, end, findings, sink);
    case TAG(UNIT, KIND_BYTES):
        return field_read_text(at, end, &metric->unit);
    case TAG(AGGREGATION, KIND_VARINT):
        return read_u32(at, end, &findings->aggregation);
    case TAG(TRACE_ID, KIND_BYTES):
        return read_id(at, end, sizeof metric->trace_id, FIELD(TRACE_ID), findings,
                       metric->trace_id);
    case TAG(SPAN_ID, KIND_BYTES):
        return read_id(at, end, sizeof metric->span_id, FIELD(SPAN_ID), findings, metric->span_id);
    case TAG(TIMESTAMP, KIND_FIXED64):
        return field_read_fixed64(at, end, &metric->timestamp_wall_ns);
    case TAG(WEIGHT, KIND_VARINT):
        return field_read_number(at, end, &findings->weight);
    default:
        return field_skip_unknown(at, end, tag, "Metric", METRIC_FIELDS, sink);
    }
}

/* Reads what is left of a metric. Returns 0 or ERR_FRAME. */
static int read_fields(struct batch_decoder *decoder, struct piece piece, struct findings *findings,
                       const struct record_sink *sink)
{
    while (piece.at < piece.end) {
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at != NULL) {
            piece.at = read_field(decoder, piece.at, piece.end, tag, findings, sink);
        }
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
        uint32_t number = tag >> 3;
        findings->has |= number < 32 ? FIELD(number) : 0;
        findings->plain &= number >= ATTRIBUTE && number <= AGGREGATION;
    }
    return 0;
}

static inline bool is_good_value(enum metric_op op, double value)
{
    bool good =
        value <= RECORD_AMOUNT_MAX && value >= (op == METRIC_COUNT ? 0 : -RECORD_AMOUNT_MAX);
    return good || op == METRIC_SET; /* not a number is neither above nor below */
}

static int judge_name(struct batch_decoder *decoder, const struct findings *findings,
                      struct str *ret_key)
{
    struct str *name = &decoder->metric.name;
    bool has_ref = (findings->has & FIELD(NAME_REF)) != 0;
    *ret_key = has_ref ? STR_LITERAL("name_ref") : STR_LITERAL("name");
    *name = findings->name;
    int err =
        settle(decoder, has_ref, findings->name_ref, (findings->has & FIELD(NAME)) != 0, name);
    return err == 0 && (name->len == 0 || name->len > RECORD_NAME_MAX) ? ERR_NAME : err;
}

static int judge_op(struct metric *metric, const struct findings *findings, struct str *ret_key)
{
    *ret_key = STR_LITERAL("op");
    if ((findings->has & FIELD(OP)) == 0) {
        return ERR_MISSING_KEY;
    }
    if (findings->op < OP_FIRST || findings->op > OP_LAST) {
        return ERR_RANGE;
    }
    metric->op = (enum metric_op)(findings->op - OP_FIRST);
    return 0;
}

/* An op without a use for weights takes the one that changes nothing: to drop another would make a
 * total wrong without a word. */
static int judge_weight(struct metric *metric, const struct findings *findings, bool used)
{
    metric->weight = (findings->has & FIELD(WEIGHT)) != 0 ? findings->weight : 1;
    uint64_t max = used ? RECORD_WEIGHT_MAX : 1;
    return metric->weight >= 1 && metric->weight <= max ? 0 : ERR_RANGE;
}

/* The fields that ops have different uses for. */
static int judge_rest(struct metric *metric, const struct findings *findings, struct str *ret_key)
{
    uint32_t used = fields_of[metric->op];
    uint32_t has = findings->has & used;
    *ret_key = STR_LITERAL("value");
    if ((used & FIELD(VALUE)) != 0 && (has & FIELD(VALUE)) == 0) {
        return ERR_MISSING_KEY;
    }
    if ((has & FIELD(VALUE)) != 0 && !is_good_value(metric->op, metric->value)) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("unit");
    if ((has & FIELD(UNIT)) == 0) {
        metric->unit = (struct str){NULL, 0};
    } else if (metric->unit.len > RECORD_UNIT_MAX) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("aggregation");
    metric->aggregation = AGGREGATION_UNSAID;
    if ((has & FIELD(AGGREGATION)) != 0) {
        if (findings->aggregation < 1 || findings->aggregation >= AGGREGATION_COUNT) {
            return ERR_RANGE;
        }
        metric->aggregation = (enum aggregation)findings->aggregation;
    }
    *ret_key = STR_LITERAL("trace_id");
    if ((has & findings->bad_id & FIELD(TRACE_ID)) != 0) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("span_id");
    if ((has & findings->bad_id & FIELD(SPAN_ID)) != 0) {
        return ERR_RANGE;
    }
    metric->has = ((has & FIELD(TIMESTAMP)) != 0 ? METRIC_HAS_TIMESTAMP : 0U) |
                  ((has & FIELD(TRACE_ID)) != 0 ? METRIC_HAS_TRACE_ID : 0U) |
                  ((has & FIELD(SPAN_ID)) != 0 ? METRIC_HAS_SPAN_ID : 0U);
    *ret_key = STR_LITERAL("weight");
    return judge_weight(metric, findings, (used & FIELD(WEIGHT)) != 0);
}

/* Makes a record of what was found: 0, or what is wrong with it and the key. */
static int judge(struct batch_decoder *decoder, const struct findings *findings,
                 struct str *ret_key)
{
    struct metric *metric = &decoder->metric;
    int err = judge_name(decoder, findings, ret_key);
    if (err == 0) {
        err = judge_op(metric, findings, ret_key);
    }
    if (err == 0) {
        err = judge_rest(metric, findings, ret_key);
    }
    if (err != 0) {
        return err;
    }
    *ret_key = findings->attribute_key;
    if (findings->attribute_err == 0 && metric->op == METRIC_INFO && metric->attribute_count == 0) {
        *ret_key = STR_LITERAL("attribute");
        return ERR_MISSING_KEY;
    }
    return findings->attribute_err;
}

/* Reads name, op and value when a metric begins with them in this order, and returns what follows
 * them; else NULL. */
static const uint8_t *read_head(struct batch_decoder *decoder, struct piece piece,
                                struct findings *findings)
{
    enum { REST_BYTES = 2 + 1 + 8 }; /* op, and the value with its tag */
    if (piece.at == piece.end || *piece.at != TAG(NAME, KIND_BYTES)) {
        return NULL;
    }
    const uint8_t *at = field_read_text(piece.at + 1, piece.end, &findings->name);
    if (at == NULL || piece.end - at < REST_BYTES || at[0] != TAG(OP, KIND_VARINT) ||
        at[1] >= 0x80 || at[2] != TAG(VALUE, KIND_FIXED64)) {
        return NULL;
    }
    findings->op = at[1];
    findings->has = HEAD_FIELDS;
    findings->plain = true;
    return field_read_double(at + 3, piece.end, &decoder->metric.value);
}

static struct spelling spell(struct piece piece, const uint8_t *tail)
{
    return (struct spelling){
        .format = SPELLING_BATCH,
        .head = {(const char *)piece.at, (size_t)(tail - 8 - piece.at)},
        .tail = {(const char *)tail, (size_t)(piece.end - tail)},
    };
}

/* Whether the sink did it without the tail being read. */
static bool is_done_in_short(const struct findings *findings, const struct spelling *spelling,
                             double value, const struct record_sink *sink)
{
    enum metric_op op = (enum metric_op)(findings->op - OP_FIRST);
    return sink->spelled != NULL && findings->op >= OP_FIRST && findings->op <= OP_LAST &&
           op != METRIC_INFO && is_good_value(op, value) &&
           sink->spelled(sink->ctx, spelling, value, 1);
}

int batch_metric_decode(struct batch_decoder *decoder, struct piece piece,
                        const struct record_sink *sink)
{
    struct metric *metric = &decoder->metric;
    struct findings findings = {.has = 0};
    struct spelling spelling = {.format = SPELLING_NONE};
    const uint8_t *tail = read_head(decoder, piece, &findings);
    if (tail != NULL) {
        spelling = spell(piece, tail);
        if (is_done_in_short(&findings, &spelling, metric->value + 0.0, sink)) {
            return 0;
        }
    }
    metric->attribute_count = 0; /* the struct is large: all else is set when it is judged */
    struct piece rest = {tail != NULL ? tail : piece.at, piece.end};
    if (read_fields(decoder, rest, &findings, sink) != 0) {
        return ERR_FRAME;
    }
    struct rejection rejection = {.err = 0};
    rejection.err = judge(decoder, &findings, &rejection.key);
    if (rejection.err == 0) {
        bool is_plain = findings.plain && metric->op != METRIC_INFO;
        metric->spelling = is_plain ? spelling : (struct spelling){.format = SPELLING_NONE};
        metric->value += 0.0; /* makes -0 a 0 */
        rejection.err = sink->metric(sink->ctx, metric);
        rejection.key = metric->name; /* what to look at when it is refused */
    }
    if (rejection.err != 0) {
        sink->reject(sink->ctx, &rejection);
    }
    return 0;
}
