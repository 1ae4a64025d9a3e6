#include "render/own.h"

#include <stddef.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/name.h"

enum {
    LABELS_MAX = 1 << 20,
    FAMILY_MAX = 1 << 20, /* bytes of one family: client libraries are few */
};

/* A family is put together in `samples` behind its head, then goes to the answer. */
struct own {
    const struct form *form;
    struct str hash;
    struct buf target;         /* labels of target_info, rendered once */
    struct buf build;          /* of dwelld_build_info */
    struct family_shape shape; /* of the family at hand, as all below */
    struct buf head;
    struct buf labels;
    struct buf samples;
    const struct snapshot *snapshot;          /* of the answer at hand, as all below */
    const struct exposition_process *process; /* or NULL */
    struct buf *out;
};

static int render_target_labels(const struct own_options *options, struct buf *out)
{
    for (uint32_t i = 0; i < options->resource_count; i++) {
        const struct label *label = &options->resource[i];
        char *name = mem_alloc(label->key.len + 2);
        if (name == NULL) {
            return ERR_NOMEM;
        }
        name[name_sanitise(label->key, name)] = '\0';
        options->form->label(name, label->value, out);
        mem_free(name);
    }
    return out->err;
}

struct own *own_new(const struct own_options *options)
{
    struct own *own = mem_zalloc(1, sizeof *own);
    if (own == NULL) {
        return NULL;
    }
    *own = (struct own){.form = options->form, .hash = options->hash};
    buf_init(&own->target, LABELS_MAX);
    buf_init(&own->build, LABELS_MAX);
    buf_init(&own->head, FAMILY_MAX);
    buf_init(&own->labels, LABELS_MAX);
    buf_init(&own->samples, FAMILY_MAX);
    own->form->label("version", options->version, &own->build);
    if (own->hash.len > 0) {
        own->form->label("constitutional_hash", own->hash, &own->build);
    }
    if (render_target_labels(options, &own->target) != 0 || own->build.err != 0) {
        own_free(own);
        return NULL;
    }
    return own;
}

void own_free(struct own *own)
{
    if (own != NULL) {
        buf_fini(&own->target);
        buf_fini(&own->build);
        buf_fini(&own->head);
        buf_fini(&own->labels);
        buf_fini(&own->samples);
        mem_free(own);
    }
}

/* --- a family ---------------------------------------------------------------------------------- */

static void begin_family(struct own *own, enum family_type type, const char *name, const char *help)
{
    own->shape = form_shape(type, str_of(name), help);
    buf_clear(&own->samples);
    buf_clear(&own->head);
    own->form->head(own->form, &own->shape, &own->head);
}

static void end_family(struct own *own)
{
    own->form->begin(own->form, &own->shape, (struct str){own->head.data, own->head.len},
                     own->samples.len, own->out);
    buf_append(own->out, own->samples.data, own->samples.len);
    if (own->out->err == 0) {
        own->out->err = own->head.err != 0 ? own->head.err : own->samples.err;
    }
}

/* The labels of a series: so many pairs, and the hash. */
static struct str render_labels(struct own *own, const struct label *labels, unsigned count)
{
    buf_clear(&own->labels);
    for (unsigned i = 0; i < count; i++) {
        own->form->label(labels[i].key.ptr, labels[i].value, &own->labels);
    }
    if (own->hash.len > 0) {
        own->form->label("constitutional_hash", own->hash, &own->labels);
    }
    own->samples.err = own->samples.err == 0 ? own->labels.err : own->samples.err;
    return (struct str){own->labels.data, own->labels.len};
}

static void add(struct own *own, const struct label *labels, unsigned count, double number)
{
    struct str rendered = render_labels(own, labels, count);
    struct form_scalar scalar = {.number = number};
    (void)own->form->scalar(own->form, &own->shape, rendered, &scalar, &own->samples);
}

/* A family of one series without labels. */
static void render_single(struct own *own, enum family_type type, const char *name,
                          const char *help, double number)
{
    begin_family(own, type, name, help);
    add(own, NULL, 0, number);
    end_family(own);
}

/* --- service ----------------------------------------------------------------------------------- */

/* A family of one series that is always 1. */
static void render_info(struct own *own, const char *name, const char *help,
                        const struct buf *labels)
{
    struct form_scalar scalar = {.number = 1};
    begin_family(own, FAMILY_INFO, name, help);
    (void)own->form->scalar(own->form, &own->shape, (struct str){labels->data, labels->len},
                            &scalar, &own->samples);
    end_family(own);
}

/* What Prometheus' users join everything with. OpenMetrics has a rule for it; protobuf has it because
 * a Prometheus that is told to read native histograms must not lose it. */
static void render_target(struct own *own)
{
    if (own->form->target) {
        render_info(own, "target_info", "The service that dwelld runs beside.", &own->target);
    }
}

/* --- records and the ledger -------------------------------------------------------------------- */

static void add_records(struct own *own, struct str outcome, struct str reason, uint64_t count)
{
    struct label labels[] = {{STR_LITERAL("outcome"), outcome}, {STR_LITERAL("reason"), reason}};
    add(own, labels, 2, (double)count);
}

static void render_records(struct own *own)
{
    static const char *const reasons[ERR_ROW_COUNT] = {
#define X(code, label, sentence) label,
        ERR_TABLE(X)
#undef X
    };
    begin_family(own, FAMILY_COUNTER, "dwelld_records_total",
                 "Records that arrived, by what became of them and why.");
    add_records(own, STR_LITERAL("accepted"), STR_LITERAL(""), own->snapshot->accepted);
    for (unsigned row = 0; row < ERR_ROW_COUNT; row++) {
        add_records(own, STR_LITERAL("rejected"), str_of(reasons[row]),
                    own->snapshot->rejected[row]);
    }
    end_family(own);
}

enum term { TERM_SENT, TERM_ACCEPTED, TERM_REJECTED, TERM_DROPPED, TERM_LOST, TERM_COUNT };

static const struct term_row {
    const char *name;
    const char *help;
} term_rows[] = {
    {"dwelld_client_sent_total",
     "Records that clients say they sent, of clients that number them."},
    {"dwelld_client_accepted_total", "Records of numbering clients that were accepted."},
    {"dwelld_client_rejected_total", "Records of numbering clients that were rejected."},
    {"dwelld_client_dropped_total", "Records that clients say they dropped themselves."},
    {"dwelld_client_lost_total", "Records that are missing in the numbers of clients."},
};

_Static_assert(sizeof term_rows / sizeof term_rows[0] == TERM_COUNT, "one each");

static uint64_t term_value(const struct ledger_terms *terms, enum term term)
{
    uint64_t rejected = 0;
    switch (term) {
    case TERM_SENT:
        return terms->sent;
    case TERM_ACCEPTED:
        return terms->accepted;
    case TERM_DROPPED:
        return terms->dropped;
    case TERM_LOST:
        return terms->lost;
    case TERM_REJECTED:
    case TERM_COUNT:
        break;
    }
    for (unsigned row = 0; row < ERR_ROW_COUNT; row++) {
        rejected += terms->rejected[row];
    }
    return rejected;
}

static void render_ledger(struct own *own)
{
    const struct ledger_view *ledger = &own->snapshot->ledger;
    for (unsigned term = 0; term < TERM_COUNT; term++) {
        begin_family(own, FAMILY_COUNTER, term_rows[term].name, term_rows[term].help);
        for (uint32_t i = 0; i < ledger->library_count; i++) {
            struct label client = {STR_LITERAL("client"), str_of(ledger->libraries[i].name)};
            add(own, &client, 1, (double)term_value(&ledger->libraries[i].terms, (enum term)term));
        }
        end_family(own);
    }
}

/* --- counters and timings ---------------------------------------------------------------------- */

static const struct counter_row {
    enum family_type type;
    const char *name;
    const char *help;
} counter_rows[] = {
#define X(code, name, kind, help) {FAMILY_##kind, "dwelld_" name, help},
    COUNTER_TABLE(X)
#undef X
};

_Static_assert(sizeof counter_rows / sizeof counter_rows[0] == COUNTER_COUNT, "one each");

/* Some rows count on the HTTP side, where the loop does not see it. */
static bool is_of_process(enum counter counter)
{
    return counter == COUNTER_SCRAPES || counter == COUNTER_HTTP_ERRORS ||
           counter == COUNTER_HTTP_FOREIGN_HOSTS || counter == COUNTER_HTTP_REFUSED ||
           counter == COUNTER_HTTP_SLOW;
}

static uint64_t counter_value(const struct own *own, enum counter counter)
{
    switch (counter) {
    case COUNTER_SCRAPES:
        return own->process->scrapes;
    case COUNTER_HTTP_ERRORS:
        return own->process->http_errors;
    case COUNTER_HTTP_FOREIGN_HOSTS:
        return own->process->http_foreign_hosts;
    case COUNTER_HTTP_REFUSED:
        return own->process->http_refused;
    case COUNTER_HTTP_SLOW:
        return own->process->http_slow;
    default:
        return own->snapshot->counters.value[counter];
    }
}

static void render_counters(struct own *own)
{
    for (unsigned i = 0; i < COUNTER_COUNT; i++) {
        const struct counter_row *row = &counter_rows[i];
        if (own->process != NULL || !is_of_process((enum counter)i)) {
            render_single(own, row->type, row->name, row->help,
                          (double)counter_value(own, (enum counter)i));
        }
    }
}

static double seconds(uint64_t ns)
{
    return (double)ns / (double)NS_PER_SECOND;
}

/* A series of a histogram in the family at hand. */
static void add_timing(struct own *own, const struct label *labels, unsigned count,
                       const struct timing *timing)
{
    double bounds[TIMING_BOUNDS];
    struct form_bound rendered[TIMING_BOUNDS + 1];
    for (unsigned i = 0; i < TIMING_BOUNDS; i++) {
        bounds[i] = seconds(timing_bounds_ns[i]);
    }
    form_bounds(bounds, TIMING_BOUNDS, 1, rendered);
    struct form_histogram histogram = {.bounds = rendered,
                                       .bound_count = TIMING_BOUNDS,
                                       .counts = timing->bucket,
                                       .count = timing->count,
                                       .sum = seconds(timing->sum_ns)};
    own->form->histogram(own->form, &own->shape, render_labels(own, labels, count), &histogram,
                         &own->samples);
}

static void render_timing(struct own *own, const char *name, const char *help,
                          const struct timing *timing)
{
    begin_family(own, FAMILY_HISTOGRAM, name, help);
    add_timing(own, NULL, 0, timing);
    end_family(own);
}

static void render_timings(struct own *own)
{
    const struct counters *counters = &own->snapshot->counters;
    render_timing(own, "dwelld_loop_lag_seconds",
                  "How long one turn of the loop kept everything else waiting.",
                  &counters->loop_lag);
    render_single(own, FAMILY_GAUGE, "dwelld_loop_lag_max_seconds",
                  "The longest turn of the loop since the start.",
                  seconds(counters->loop_lag.max_ns));
    render_timing(own, "dwelld_snapshot_seconds", "Time to freeze a snapshot, on the loop.",
                  &counters->snapshot);
    render_single(own, FAMILY_GAUGE, "dwelld_snapshot_max_seconds",
                  "The longest freeze since the start.", seconds(counters->snapshot.max_ns));
}

/* --- reloads ----------------------------------------------------------------------------------- */

static void render_reloads(struct own *own)
{
    const struct reloads *reloads = &own->snapshot->counters.reloads;
    begin_family(own, FAMILY_COUNTER, "dwelld_reloads_total",
                 "Reloads of the configuration, by what became of them.");
    for (unsigned i = 0; i < RELOAD_OUTCOME_COUNT; i++) {
        struct label label = {STR_LITERAL("outcome"), str_of(reload_outcome_words[i])};
        add(own, &label, 1, (double)reloads->count[i]);
    }
    end_family(own);
    begin_family(own, FAMILY_GAUGE, "dwelld_last_reload_timestamp_seconds",
                 "When the configuration was last reloaded, or that was refused.");
    if (reloads->last_wall_ns > 0) {
        add(own, NULL, 0, seconds(reloads->last_wall_ns));
    }
    end_family(own);
}

/* --- exports ----------------------------------------------------------------------------------- */

static const struct figure_row {
    enum family_type type;
    const char *name;
    const char *help;
    size_t offset; /* in struct export_view */
} figure_rows[] = {
#define X(member, name, metric, kind, help)                                                        \
    {FAMILY_##kind, "dwelld_export_" metric, help, offsetof(struct export_view, member)},
    EXPORT_FIGURE_TABLE(X)
#undef X
};

static struct label signal_of(const struct export_view *view)
{
    return (struct label){STR_LITERAL("signal"), str_of(view->signal)};
}

/* Where no spool is to be, one that does not work would be an alarm for nothing. */
static bool is_told(const struct figure_row *row, const struct export_view *view)
{
    return row->offset != offsetof(struct export_view, spool_works) || view->spool_limit_bytes > 0;
}

static void render_figure(struct own *own, const struct figure_row *row)
{
    begin_family(own, row->type, row->name, row->help);
    for (unsigned i = 0; i < own->process->export_count; i++) {
        const struct export_view *view = &own->process->exports[i];
        struct label label = signal_of(view);
        uint64_t number;
        if (is_told(row, view)) {
            memcpy(&number, (const char *)view + row->offset, sizeof number);
            add(own, &label, 1, (double)number);
        }
    }
    end_family(own);
}

static void render_drops(struct own *own)
{
    static const char *const reasons[] = {
#define X(code, word) word,
        EXPORT_DROP_TABLE(X)
#undef X
    };
    begin_family(own, FAMILY_COUNTER, "dwelld_export_dropped_total",
                 "Of what was accepted, what will never be exported, by reason.");
    for (unsigned i = 0; i < own->process->export_count; i++) {
        const struct export_view *view = &own->process->exports[i];
        for (unsigned reason = 0; reason < EXPORT_DROP_COUNT; reason++) {
            struct label labels[] = {signal_of(view),
                                     {STR_LITERAL("reason"), str_of(reasons[reason])}};
            add(own, labels, 2, (double)view->dropped[reason]);
        }
    }
    end_family(own);
}

/* There without an endpoint would be lines that stay at zero for ever. */
static void render_exports(struct own *own)
{
    if (own->process == NULL || own->process->export_count == 0) {
        return;
    }
    for (size_t i = 0; i < sizeof figure_rows / sizeof figure_rows[0]; i++) {
        render_figure(own, &figure_rows[i]);
    }
    render_drops(own);
    begin_family(own, FAMILY_HISTOGRAM, "dwelld_export_operation_duration_seconds",
                 "Time of one call, with all that the receiver and the network take.");
    for (unsigned i = 0; i < own->process->export_count; i++) {
        struct label label = signal_of(&own->process->exports[i]);
        add_timing(own, &label, 1, &own->process->exports[i].duration);
    }
    end_family(own);
}

/* --- the process ------------------------------------------------------------------------------- */

static void render_process(struct own *own)
{
    uint64_t resident = own->process == NULL ? 0 : own->process->resident_bytes;
    begin_family(own, FAMILY_GAUGE, "dwelld_resident_memory_bytes",
                 "Resident memory of the daemon.");
    if (resident > 0) {
        add(own, NULL, 0, (double)resident);
    }
    end_family(own);
    render_info(own, "dwelld_build_info", "The daemon's version.", &own->build);
}

int own_render(struct own *own, const struct snapshot *snapshot,
               const struct exposition_process *process, struct buf *out)
{
    own->snapshot = snapshot;
    own->process = process;
    own->out = out;
    render_target(own);
    render_records(own);
    render_ledger(own);
    render_counters(own);
    render_timings(own);
    render_reloads(own);
    render_exports(own);
    render_process(own);
    return out->err;
}
