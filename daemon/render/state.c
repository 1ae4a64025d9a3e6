#include "render/state.h"

#include "render/state_part.h"

static struct str bytes_of(const void *bytes, size_t len)
{
    return (struct str){bytes, len};
}

void state_packed(struct buf *out, unsigned field, const uint64_t *numbers, size_t count)
{
    if (count == 0) {
        return;
    }
    size_t packed = message_begin(out, field);
    for (size_t i = 0; i < count; i++) {
        message_varint(out, numbers[i]);
    }
    message_end(out, packed);
}

static void append_moment(struct buf *out, const struct state_source *source)
{
    size_t moment = message_begin(out, STATE_MOMENT);
    message_fixed64(out, MOMENT_WALL, source->snapshot->wall_ns);
    message_fixed64(out, MOMENT_MONO, source->snapshot->mono_ns);
    message_fixed64(out, MOMENT_BOOT, source->moment.boot_ns);
    if (source->moment.has_boot_id) {
        message_str(out, MOMENT_BOOT_ID,
                    bytes_of(source->moment.boot_id, sizeof source->moment.boot_id));
    }
    message_u64(out, MOMENT_SLOT, source->snapshot->window_ns / WINDOW_SLOTS);
    message_fixed64(out, MOMENT_SET_SEED, source->beside->set_seed);
    message_fixed64(out, MOMENT_SINCE, source->moment.since_wall_ns);
    message_end(out, moment);
}

static void append_processes(struct buf *out, const struct beside *beside)
{
    for (uint32_t i = 0; i < beside->process_count; i++) {
        size_t process = message_begin(out, STATE_PROCESS);
        state_u64(out, PROCESS_SAID_PID, beside->processes[i].said_pid);
        state_u64(out, PROCESS_KERNEL_PID, (uint64_t)beside->processes[i].kernel_pid);
        message_end(out, process);
    }
}

/* --- figures ----------------------------------------------------------------------------------- */

static void append_figure(struct buf *out, unsigned field, struct str name, struct str of,
                          uint64_t number)
{
    if (number != 0) {
        size_t figure = message_begin(out, field);
        state_str(out, FIGURE_NAME, name);
        state_str(out, FIGURE_OF, of);
        message_u64(out, FIGURE_NUMBER, number);
        message_end(out, figure);
    }
}

enum kind { COUNTER, GAUGE };

/* What counts the saves themselves. */
static bool is_of_saving(unsigned counter)
{
    return counter == COUNTER_STATE_SAVES || counter == COUNTER_STATE_FAILURES;
}

static void append_counters(struct buf *out, const struct state_source *source, bool of_saving)
{
    static const struct {
        const char *name;
        enum kind kind;
    } rows[] = {
#define X(code, name, kind, help) {name, kind},
        COUNTER_TABLE(X)
#undef X
    };
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        uint64_t number = i == COUNTER_SCRAPES       ? source->scrapes
                          : i == COUNTER_HTTP_ERRORS ? source->http_errors
                                                     : source->snapshot->counters.value[i];
        bool is_counted_here = i != COUNTER_UNLEDGERED_RECORDS; /* the ledger's */
        if (rows[i].kind == COUNTER && is_counted_here && is_of_saving(i) == of_saving) {
            append_figure(out, STATE_FIGURE, str_of(rows[i].name), (struct str){0}, number);
        }
    }
}

static void append_rejected(struct buf *out, unsigned field, const uint64_t *rejected)
{
    static const char *const reasons[ERR_ROW_COUNT] = {
#define X(code, label, sentence) label,
        ERR_TABLE(X)
#undef X
    };
    for (unsigned row = 0; row < ERR_ROW_COUNT; row++) {
        append_figure(out, field, STR_LITERAL("rejected"), str_of(reasons[row]), rejected[row]);
    }
}

static void append_timing(struct buf *out, const char *name, const struct timing *timing)
{
    size_t message = message_begin(out, STATE_TIMING);
    message_str(out, TIMING_NAME, str_of(name));
    state_u64(out, TIMING_COUNT, timing->count);
    state_u64(out, TIMING_SUM, timing->sum_ns);
    state_packed(out, TIMING_BUCKETS, timing->bucket, TIMING_BOUNDS + 1);
    message_end(out, message);
}

static void append_figures(struct buf *out, const struct state_source *source)
{
    const struct snapshot *snapshot = source->snapshot;
    append_counters(out, source, false);
    append_figure(out, STATE_FIGURE, STR_LITERAL("accepted"), (struct str){0}, snapshot->accepted);
    append_figure(out, STATE_FIGURE, STR_LITERAL("unledgered"), (struct str){0},
                  snapshot->ledger.unledgered);
    append_rejected(out, STATE_FIGURE, snapshot->rejected);
}

/* --- the ledger -------------------------------------------------------------------------------- */

static void append_terms(struct buf *out, struct str library, const struct ledger_terms *terms)
{
    size_t message = message_begin(out, STATE_TERMS);
    state_str(out, TERMS_LIBRARY, library);
    state_u64(out, TERMS_SENT, terms->sent);
    state_u64(out, TERMS_ACCEPTED, terms->accepted);
    state_u64(out, TERMS_DROPPED, terms->dropped);
    state_u64(out, TERMS_LOST, terms->lost);
    append_rejected(out, TERMS_REASON, terms->rejected);
    message_end(out, message);
}

static void append_ledger(struct buf *out, const struct state_source *source)
{
    const struct ledger_view *ledger = &source->snapshot->ledger;
    append_terms(out, (struct str){0}, &ledger->all);
    for (uint32_t i = 0; i < ledger->library_count; i++) {
        append_terms(out, str_of(ledger->libraries[i].name), &ledger->libraries[i].terms);
    }
    for (uint32_t i = 0; i < source->beside->client_count; i++) {
        const struct ledger_client *client = &source->beside->clients[i];
        size_t message = message_begin(out, STATE_CLIENT);
        message_str(out, CLIENT_ID, bytes_of(client->id, sizeof client->id));
        state_u64(out, CLIENT_NEXT, client->next);
        state_u64(out, CLIENT_CREDITED, client->credited);
        state_u64(out, CLIENT_LIBRARY, client->library);
        state_u64(out, CLIENT_ASKS, client->asks);
        message_end(out, message);
    }
}

int state_render(const struct state_source *source, struct buf *out, size_t *ret_lasting)
{
    append_moment(out, source);
    append_timing(out, "loop_lag", &source->snapshot->counters.loop_lag);
    append_timing(out, "snapshot", &source->snapshot->counters.snapshot);
    append_counters(out, source, true);
    *ret_lasting = out->len;
    append_processes(out, source->beside);
    append_figures(out, source);
    append_ledger(out, source);
    state_str(out, STATE_JOURNAL, source->journal);
    state_models(out, source->snapshot);
    state_families(out, source);
    state_layers(out, source->snapshot);
    return out->err;
}
