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

#define BUDGET_FIELDS FIELDS(1, 8)

enum { LAYER = 1, ELAPSED = 2, TRACE_ID = 5, SPAN_ID = 6 };

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
        budget.elapsed_ms += 0.0; /* makes -0 a 0: its sign bit would mislead the histogram */
        rejection.key = (struct str){NULL, 0};
        rejection.err = sink->budget(sink->ctx, &budget);
    }
    if (rejection.err != 0) {
        sink->reject(sink->ctx, &rejection);
    }
    return 0;
}
