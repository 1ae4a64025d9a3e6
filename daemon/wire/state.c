#include "wire/state.h"

#include <math.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/name.h"
#include "wire/state_part.h"

enum { FIGURE_NAME_MAX = 128 };

#define TIME_MAX (UINT64_C(1) << 62) /* ns: the year 2116 */

/* --- fields ------------------------------------------------------------------------------------ */

static const uint8_t *read_value(const uint8_t *at, const uint8_t *end, struct state_field *field)
{
    uint32_t small = 0;
    switch (field->tag & 7) {
    case KIND_VARINT:
        return field_read_number(at, end, &field->number);
    case KIND_FIXED64:
        return field_read_fixed64(at, end, &field->number);
    case KIND_BYTES:
        return field_read_bytes(at, end, &field->bytes);
    case KIND_FIXED32:
        at = field_read_fixed32(at, end, &small);
        field->number = small;
        return at;
    default:
        return NULL;
    }
}

bool state_next(struct piece *rest, struct state_field *ret, int *ret_err)
{
    if (rest->at == rest->end) {
        return false;
    }
    *ret = (struct state_field){.tag = 0};
    const uint8_t *at = field_read_tag(rest->at, rest->end, &ret->tag);
    if (at != NULL) {
        at = ret->tag >> 3 == 0 ? NULL : read_value(at, rest->end, ret);
    }
    if (at == NULL) {
        *ret_err = ERR_FRAME;
        return false;
    }
    rest->at = at;
    return true;
}

int state_id(const struct state_field *field, size_t len, uint8_t *ret_id)
{
    struct str text = state_text(field);
    if (text.len != len) {
        return ERR_FRAME;
    }
    memcpy(ret_id, text.ptr, len);
    return 0;
}

int state_counts(struct piece bytes, uint64_t *counts, uint32_t max, uint32_t *count)
{
    while (bytes.at < bytes.end) {
        if (*count == max) {
            return ERR_LIMIT;
        }
        bytes.at = field_read_number(bytes.at, bytes.end, &counts[*count]);
        if (bytes.at == NULL) {
            return ERR_FRAME;
        }
        ++*count;
    }
    return 0;
}

bool state_is_text(struct str text, size_t least, size_t most)
{
    return text.len >= least && text.len <= most && name_is_text(text);
}

bool state_add(uint64_t *total, uint64_t number)
{
    bool fits = number <= SAVED_COUNT_MAX && *total + number <= SAVED_COUNT_MAX;
    *total += fits ? number : 0;
    return fits;
}

/* --- what is of the daemon as a whole ---------------------------------------------------------- */

static int read_moment(struct state_reading *reading, struct piece piece)
{
    struct saved_moment moment = {.wall_ns = 0};
    struct state_field field;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(MOMENT_WALL, KIND_FIXED64):
            moment.wall_ns = field.number;
            break;
        case TAG(MOMENT_MONO, KIND_FIXED64):
            moment.mono_ns = field.number;
            break;
        case TAG(MOMENT_BOOT, KIND_FIXED64):
            moment.boot_ns = field.number;
            break;
        case TAG(MOMENT_BOOT_ID, KIND_BYTES):
            err = state_id(&field, sizeof moment.boot_id, moment.boot_id);
            moment.has_boot_id = true;
            break;
        case TAG(MOMENT_SLOT, KIND_VARINT):
            moment.slot_ns = field.number;
            break;
        case TAG(MOMENT_SET_SEED, KIND_FIXED64):
            moment.set_seed = field.number;
            break;
        case TAG(MOMENT_SINCE, KIND_FIXED64):
            moment.since_wall_ns = field.number;
            break;
        }
    }
    bool good = !reading->has_moment && moment.slot_ns > 0 && moment.wall_ns <= TIME_MAX &&
                moment.mono_ns <= TIME_MAX && moment.boot_ns <= TIME_MAX &&
                moment.since_wall_ns <= TIME_MAX;
    if (err != 0 || !good) {
        return err != 0 ? err : ERR_FRAME;
    }
    reading->has_moment = true;
    const struct saved_sink *sink = reading->sink;
    return sink->moment == NULL ? 0 : sink->moment(sink->ctx, &moment);
}

static int read_process(struct state_reading *reading, struct piece piece)
{
    struct saved_process process = {.said_pid = 0};
    struct state_field field;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(PROCESS_SAID_PID, KIND_VARINT):
            process.said_pid = field.number;
            break;
        case TAG(PROCESS_KERNEL_PID, KIND_VARINT):
            process.kernel_pid = (int64_t)field.number;
            err = field.number <= RECORD_THREAD_ID_MAX ? 0 : ERR_FRAME;
            break;
        }
    }
    if (err == 0 && reading->process_count++ == SAVED_PROCESSES_MAX) {
        err = ERR_LIMIT;
    }
    const struct saved_sink *sink = reading->sink;
    return err != 0 || sink->process == NULL ? err : sink->process(sink->ctx, &process);
}

static int read_figure(struct piece piece, struct saved_figure *ret)
{
    struct state_field field;
    int err = 0;
    *ret = (struct saved_figure){.number = 0};
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(FIGURE_NAME, KIND_BYTES):
            ret->name = state_text(&field);
            break;
        case TAG(FIGURE_OF, KIND_BYTES):
            ret->of = state_text(&field);
            break;
        case TAG(FIGURE_NUMBER, KIND_VARINT):
            ret->number = field.number;
            break;
        }
    }
    bool good = state_is_text(ret->name, 1, FIGURE_NAME_MAX) &&
                state_is_text(ret->of, 0, FIGURE_NAME_MAX) && ret->number <= SAVED_COUNT_MAX;
    return err != 0 || good ? err : ERR_FRAME;
}

static int read_timing(struct piece piece, const struct saved_sink *sink)
{
    struct saved_timing timing = {.count = 0};
    struct state_field field;
    uint64_t total = 0;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(TIMING_NAME, KIND_BYTES):
            timing.name = state_text(&field);
            break;
        case TAG(TIMING_COUNT, KIND_VARINT):
            timing.count = field.number;
            break;
        case TAG(TIMING_SUM, KIND_VARINT):
            timing.sum_ns = field.number;
            break;
        case TAG(TIMING_BUCKETS, KIND_BYTES):
            err = state_counts(field.bytes, timing.buckets, SAVED_BOUNDS_MAX, &timing.bucket_count);
            break;
        }
    }
    for (uint32_t i = 0; err == 0 && i < timing.bucket_count; i++) {
        err = state_add(&total, timing.buckets[i]) ? 0 : ERR_FRAME;
    }
    if (err == 0 && (total != timing.count || timing.name.len == 0)) {
        err = ERR_FRAME;
    }
    return err != 0 || sink->timing == NULL ? err : sink->timing(sink->ctx, &timing);
}

/* --- the ledger -------------------------------------------------------------------------------- */

static int read_reason(struct saved_terms *terms, struct piece piece)
{
    if (terms->reason_count == SAVED_REASONS_MAX) {
        return ERR_LIMIT;
    }
    return read_figure(piece, &terms->reasons[terms->reason_count++]);
}

/* sent = accepted + rejected + dropped + lost */
static bool is_closed(const struct saved_terms *terms)
{
    uint64_t total = 0;
    bool fits = state_add(&total, terms->accepted) && state_add(&total, terms->dropped) &&
                state_add(&total, terms->lost);
    for (uint32_t i = 0; fits && i < terms->reason_count; i++) {
        fits = state_add(&total, terms->reasons[i].number);
    }
    return fits && total == terms->sent;
}

static int read_terms(struct state_reading *reading, struct piece piece)
{
    struct saved_terms terms = {.is_all = true};
    struct state_field field;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(TERMS_LIBRARY, KIND_BYTES):
            terms.library = state_text(&field);
            terms.is_all = false;
            break;
        case TAG(TERMS_SENT, KIND_VARINT):
            terms.sent = field.number;
            break;
        case TAG(TERMS_ACCEPTED, KIND_VARINT):
            terms.accepted = field.number;
            break;
        case TAG(TERMS_DROPPED, KIND_VARINT):
            terms.dropped = field.number;
            break;
        case TAG(TERMS_LOST, KIND_VARINT):
            terms.lost = field.number;
            break;
        case TAG(TERMS_REASON, KIND_BYTES):
            err = read_reason(&terms, field.bytes);
            break;
        }
    }
    if (err == 0 && !(is_closed(&terms) && state_is_text(terms.library, 0, FIGURE_NAME_MAX))) {
        err = ERR_FRAME;
    }
    reading->library_count += !terms.is_all;
    const struct saved_sink *sink = reading->sink;
    return err != 0 || sink->terms == NULL ? err : sink->terms(sink->ctx, &terms);
}

static int read_client(struct state_reading *reading, struct piece piece)
{
    struct saved_client client = {.next = 0};
    struct state_field field;
    bool has_id = false;
    int err = 0;
    while (err == 0 && state_next(&piece, &field, &err)) {
        switch (field.tag) {
        case TAG(CLIENT_ID, KIND_BYTES):
            err = state_id(&field, sizeof client.id, client.id);
            has_id = true;
            break;
        case TAG(CLIENT_NEXT, KIND_VARINT):
            client.next = field.number;
            break;
        case TAG(CLIENT_CREDITED, KIND_VARINT):
            client.credited = field.number;
            break;
        case TAG(CLIENT_LIBRARY, KIND_VARINT):
            client.library = (uint32_t)field.number;
            err = field.number < reading->library_count ? 0 : ERR_FRAME;
            break;
        case TAG(CLIENT_ASKS, KIND_VARINT):
            client.asks = field.number != 0;
            break;
        }
    }
    if (err == 0 && !(has_id && client.library < reading->library_count)) {
        err = ERR_FRAME;
    }
    const struct saved_sink *sink = reading->sink;
    return err != 0 || sink->client == NULL ? err : sink->client(sink->ctx, &client);
}

/* --- all of it --------------------------------------------------------------------------------- */

static int read_one_figure(struct piece piece, const struct saved_sink *sink)
{
    struct saved_figure figure;
    int err = read_figure(piece, &figure);
    return err != 0 || sink->figure == NULL ? err : sink->figure(sink->ctx, &figure);
}

static int read_journal(struct str position, const struct saved_sink *sink)
{
    if (position.len > SAVED_JOURNAL_MAX) {
        return ERR_LIMIT;
    }
    return sink->journal == NULL ? 0 : sink->journal(sink->ctx, position);
}

static int read_piece(struct state_reading *reading, const struct state_field *field)
{
    struct piece piece = field->bytes;
    switch (field->tag) {
    case TAG(STATE_MOMENT, KIND_BYTES):
        return read_moment(reading, piece);
    case TAG(STATE_PROCESS, KIND_BYTES):
        return read_process(reading, piece);
    case TAG(STATE_FIGURE, KIND_BYTES):
        return read_one_figure(piece, reading->sink);
    case TAG(STATE_TIMING, KIND_BYTES):
        return read_timing(piece, reading->sink);
    case TAG(STATE_TERMS, KIND_BYTES):
        return read_terms(reading, piece);
    case TAG(STATE_CLIENT, KIND_BYTES):
        return read_client(reading, piece);
    case TAG(STATE_JOURNAL, KIND_BYTES):
        return read_journal(state_text(field), reading->sink);
    case TAG(STATE_MODEL, KIND_BYTES):
        return state_read_model(reading, piece);
    case TAG(STATE_FAMILY, KIND_BYTES):
        return state_read_family(reading, piece);
    case TAG(STATE_LAYER, KIND_BYTES):
        return state_read_layer(reading, piece);
    default:
        return 0;
    }
}

int state_read(struct str body, const struct saved_sink *sink)
{
    struct state_reading *reading = mem_zalloc(1, sizeof *reading);
    struct piece rest = {(const uint8_t *)body.ptr, (const uint8_t *)body.ptr + body.len};
    struct state_field field;
    int err = 0;
    if (reading == NULL) {
        return ERR_NOMEM;
    }
    reading->sink = sink;
    while (err == 0 && state_next(&rest, &field, &err)) {
        bool in_order = reading->has_moment || field.tag == TAG(STATE_MOMENT, KIND_BYTES);
        err = in_order ? read_piece(reading, &field) : ERR_FRAME;
    }
    if (err == 0 && !reading->has_moment) {
        err = ERR_FRAME;
    }
    mem_free(reading);
    return err;
}
