/*
 *     7a 18  0a 0d 6c 61 79 65 72 33 5f 70 6f 6c 69 63 79  11 00 00 00 00 00 00 29 40
 *     |      |     l  a  y  e  r  3  _  p  o  l  i  c  y   |  12.5
 *     |      layer                                         elapsed_ms
 *     field 15 of the batch
 *
 * The last value of a field counts, and so does the verdict on it. Whether a layer is a name is the
 * sink's to say, when it sees it for the first time.
 */
#include "wire/batch_budget.h"

#include "base/err.h"

#define BUDGET_FIELDS FIELDS(1, 9)

enum { LAYER = 1, ELAPSED = 2, TRACE_ID = 5, SPAN_ID = 6, BEFORE = 9 };

/* Numbers of fields, as sets. */
struct findings {
    uint32_t has;    /* of the required ones */
    uint32_t bad_id; /* whose last value was none */
};

static inline const uint8_t *read_id(struct piece piece, unsigned number, size_t len,
                                     struct findings *findings, uint8_t *id)
{
    bool good = true;
    const uint8_t *at = field_read_id(piece.at, piece.end, len, &good, id);
    findings->bad_id = good ? findings->bad_id & ~FIELD(number) : findings->bad_id | FIELD(number);
    return at;
}

static int read_fields(struct piece piece, struct budget *budget, struct findings *findings,
                       const struct record_sink *sink)
{
    while (piece.at < piece.end) {
        uint32_t tag = 0;
        piece.at = field_read_tag(piece.at, piece.end, &tag);
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
        switch (tag) {
        case TAG(LAYER, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &budget->layer);
            findings->has |= FIELD(LAYER);
            break;
        case TAG(ELAPSED, KIND_FIXED64):
            piece.at = field_read_double(piece.at, piece.end, &budget->elapsed_ms);
            findings->has |= FIELD(ELAPSED);
            break;
        case TAG(3, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &budget->operation);
            break;
        case TAG(4, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &budget->request_id);
            break;
        case TAG(TRACE_ID, KIND_BYTES):
            piece.at =
                read_id(piece, TRACE_ID, sizeof budget->trace_id, findings, budget->trace_id);
            budget->has |= BUDGET_HAS_TRACE_ID;
            break;
        case TAG(SPAN_ID, KIND_BYTES):
            piece.at = read_id(piece, SPAN_ID, sizeof budget->span_id, findings, budget->span_id);
            budget->has |= BUDGET_HAS_SPAN_ID;
            break;
        case TAG(7, KIND_FIXED64):
            piece.at = field_read_fixed64(piece.at, piece.end, &budget->timestamp_wall_ns);
            budget->has |= BUDGET_HAS_TIMESTAMP;
            break;
        case TAG(8, KIND_FIXED32):
            piece.at = field_read_fixed32(piece.at, piece.end, &budget->flags);
            budget->has |= BUDGET_HAS_FLAGS;
            break;
        case TAG(BEFORE, KIND_FIXED64):
            piece.at = field_read_double(piece.at, piece.end, &budget->before_ms);
            budget->has |= BUDGET_HAS_BEFORE;
            break;
        default:
            piece.at = field_skip_unknown(piece.at, piece.end, tag, "Budget", BUDGET_FIELDS, sink);
        }
        if (piece.at == NULL) {
            return ERR_FRAME;
        }
    }
    return 0;
}

/* 0, or what is wrong and its key. */
static int judge(const struct budget *budget, const struct findings *findings, struct str *ret_key)
{
    *ret_key = STR_LITERAL("layer");
    if ((findings->has & FIELD(LAYER)) == 0) {
        return ERR_MISSING_KEY;
    }
    *ret_key = STR_LITERAL("elapsed_ms");
    if ((findings->has & FIELD(ELAPSED)) == 0) {
        return ERR_MISSING_KEY;
    }
    if (!(budget->elapsed_ms >= 0 && budget->elapsed_ms <= RECORD_MS_MAX)) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("before_ms");
    if ((budget->has & BUDGET_HAS_BEFORE) != 0 &&
        !(budget->before_ms >= 0 && budget->before_ms <= RECORD_MS_MAX)) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("operation");
    if (budget->operation.len > RECORD_NAME_MAX) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("request_id");
    if (budget->request_id.len > RECORD_NAME_MAX) {
        return ERR_RANGE;
    }
    *ret_key = (findings->bad_id & FIELD(TRACE_ID)) != 0 ? STR_LITERAL("trace_id")
                                                         : STR_LITERAL("span_id");
    return findings->bad_id != 0 ? ERR_RANGE : 0;
}

int batch_budget_decode(struct piece piece, const struct record_sink *sink)
{
    struct budget budget = {.elapsed_ms = 0};
    struct rejection rejection = {.err = 0};
    struct findings findings = {0};
    if (read_fields(piece, &budget, &findings, sink) != 0) {
        return ERR_FRAME;
    }
    rejection.err = judge(&budget, &findings, &rejection.key);
    if (rejection.err == 0) {
        budget.before_ms += 0.0;
        budget.elapsed_ms += 0.0; /* makes -0 a 0: its sign bit would mislead the histogram */
        rejection.key = (struct str){NULL, 0};
        rejection.err = sink->budget(sink->ctx, &budget);
    }
    if (rejection.err != 0) {
        sink->reject(sink->ctx, &rejection);
    }
    return 0;
}

/* --- the short cut ----------------------------------------------------------------------------- */

enum { FIGURE_BYTES = 9 }; /* a tag and a double */

/* A text of a field with this tag, if there is one; without it, `at`. NULL: it is cut off. */
static inline const uint8_t *take_text(const uint8_t *at, const uint8_t *end, uint8_t tag,
                                       struct str *ret_text)
{
    *ret_text = (struct str){NULL, 0};
    if (end - at < 2 || at[0] != tag || at[1] >= 0x80) {
        return at;
    }
    *ret_text = (struct str){(const char *)at + 2, at[1]};
    return at[1] <= end - at - 2 ? at + 2 + at[1] : NULL;
}

/* A time in range has the order of its bits; -0, negative ones and NaN lie above all of them. */
static inline bool take_time(const uint8_t *at, double *ret_ms)
{
    const double max = RECORD_MS_MAX;
    uint64_t max_bits;
    uint64_t bits;
    memcpy(&max_bits, &max, sizeof max_bits);
    memcpy(&bits, at + 1, sizeof bits);
    bits = le64toh(bits);
    memcpy(ret_ms, &bits, sizeof bits);
    return at[0] == TAG(ELAPSED, KIND_FIXED64) && bits <= max_bits;
}

/* The fields of one, [at, end); false when it is no usual one. */
static inline bool take_fields(const uint8_t *at, const uint8_t *end, struct budget *budget)
{
    if (at[0] != TAG(LAYER, KIND_BYTES)) {
        return false;
    }
    at = take_text(at, end, TAG(LAYER, KIND_BYTES), &budget->layer);
    if (at == NULL || end - at < FIGURE_BYTES || !take_time(at, &budget->elapsed_ms)) {
        return false;
    }
    at = take_text(at + FIGURE_BYTES, end, TAG(3, KIND_BYTES), &budget->operation);
    if (at == NULL) {
        return false;
    }
    at = take_text(at, end, TAG(4, KIND_BYTES), &budget->request_id);
    budget->has = 0;
    return at == end;
}

static void deliver(const struct budget *budgets, unsigned count, const struct record_sink *sink)
{
    int errs[RECORD_BUDGETS_MAX];
    if (count == 0 || sink->budgets(sink->ctx, budgets, count, errs) == 0) {
        return;
    }
    for (unsigned i = 0; i < count; i++) {
        if (errs[i] != 0) {
            struct rejection rejection = {.err = errs[i]};
            sink->reject(sink->ctx, &rejection);
        }
    }
}

const uint8_t *batch_budget_take_usual(struct batch_decoder *decoder, const uint8_t *at,
                                       const uint8_t *end, const struct record_sink *sink)
{
    unsigned count = 0;
    while (sink->budgets != NULL && end - at > 2 && at[0] == TAG(15, KIND_BYTES) && at[1] < 0x80 &&
           at[1] > 2 && at[1] <= end - at - 2 &&
           take_fields(at + 2, at + 2 + at[1], &decoder->budgets[count])) {
        at += 2 + at[1];
        if (++count == RECORD_BUDGETS_MAX) {
            deliver(decoder->budgets, count, sink);
            count = 0;
        }
    }
    deliver(decoder->budgets, count, sink);
    return at;
}
