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

#define BUDGET_FIELDS FIELDS(1, 4)

enum { LAYER = 1, ELAPSED = 2 };

static int read_fields(struct piece piece, struct budget *budget, uint32_t *ret_has,
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
            *ret_has |= FIELD(LAYER);
            break;
        case TAG(ELAPSED, KIND_FIXED64):
            piece.at = field_read_double(piece.at, piece.end, &budget->elapsed_ms);
            *ret_has |= FIELD(ELAPSED);
            break;
        case TAG(3, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &budget->operation);
            break;
        case TAG(4, KIND_BYTES):
            piece.at = field_read_text(piece.at, piece.end, &budget->request_id);
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
static int judge(const struct budget *budget, uint32_t has, struct str *ret_key)
{
    *ret_key = STR_LITERAL("layer");
    if ((has & FIELD(LAYER)) == 0) {
        return ERR_MISSING_KEY;
    }
    *ret_key = STR_LITERAL("elapsed_ms");
    if ((has & FIELD(ELAPSED)) == 0) {
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
    return budget->request_id.len > RECORD_NAME_MAX ? ERR_RANGE : 0;
}

int batch_budget_decode(struct piece piece, const struct record_sink *sink)
{
    struct budget budget = {.elapsed_ms = 0};
    struct rejection rejection = {.err = 0};
    uint32_t has = 0;
    if (read_fields(piece, &budget, &has, sink) != 0) {
        return ERR_FRAME;
    }
    rejection.err = judge(&budget, has, &rejection.key);
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
