#include "core/restore.h"

#include "base/err.h"
#include "base/mem.h"

struct restore *restore_new(const struct restore_options *options)
{
    struct restore *restore = mem_zalloc(1, sizeof *restore);
    if (restore != NULL) {
        restore->options = *options;
    }
    return restore;
}

void restore_free(struct restore *restore)
{
    mem_free(restore);
}

#define AWAY_MAX (UINT64_C(1) << 61) /* ns, 73 years: all windows are over long before */

/* --- time -------------------------------------------------------------------------------------- */

static bool is_same_boot(const struct saved_moment *then, const struct saved_moment *now)
{
    return then->has_boot_id && now->has_boot_id && now->boot_ns >= then->boot_ns &&
           memcmp(then->boot_id, now->boot_id, sizeof now->boot_id) == 0;
}

/* By the clock that counts through, if there is one. */
static uint64_t away(const struct saved_moment *then, const struct saved_moment *now,
                     bool same_boot)
{
    if (same_boot) {
        return now->boot_ns - then->boot_ns;
    }
    uint64_t ns = now->wall_ns > then->wall_ns ? now->wall_ns - then->wall_ns : 0;
    return ns < AWAY_MAX ? ns : AWAY_MAX;
}

/* To the nearest: with the same clock the outcome is 0, give or take what passes between two looks at
 * two clocks. */
static int64_t divide(int64_t ns, int64_t slot_ns)
{
    int64_t half = ns < 0 ? -(slot_ns / 2) : slot_ns / 2;
    return (ns + half) / slot_ns;
}

static int take_moment(void *ctx, const struct saved_moment *then)
{
    struct restore *restore = ctx;
    const struct saved_moment *now = &restore->options.now;
    struct metrics *metrics = restore->options.intake->metrics;
    struct restore_report *report = &restore->report;
    restore->then = *then;
    restore->fits_window = then->slot_ns == restore->options.intake->registry->slot_ns;
    report->since_wall_ns = then->since_wall_ns;
    report->same_boot = is_same_boot(then, now);
    report->away_ns = away(then, now, report->same_boot);
    int64_t then_now = (int64_t)(then->mono_ns + report->away_ns); /* as the old clock would go */
    restore->shift = divide((int64_t)now->mono_ns - then_now, (int64_t)then->slot_ns);
    metrics->members.seed = then->set_seed; /* nobody has counted a value yet */
    return 0;
}

uint64_t restore_slot(const struct restore *restore, uint64_t age)
{
    uint64_t present = restore->options.intake->registry->slot;
    if (!restore->fits_window || age >= WINDOW_SLOTS) {
        return 0;
    }
    int64_t then = (int64_t)window_slot(restore->then.mono_ns, restore->then.slot_ns);
    int64_t slot = then - (int64_t)age + restore->shift;
    return slot <= 0 ? 0 : (uint64_t)slot > present ? present : (uint64_t)slot;
}

/* --- figures ----------------------------------------------------------------------------------- */

/* The row of a reason, or -1: one that this version does not have. */
static int find_reason(struct str word)
{
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        if (str_is(word, err_label(-1 - row))) {
            return row;
        }
    }
    return -1;
}

enum kind { COUNTER, GAUGE };

/* Only what promises never to go back. */
static int find_counter(struct str name)
{
    static const struct {
        const char *name;
        enum kind kind;
    } rows[] = {
#define X(code, name, kind, help) {name, kind},
        COUNTER_TABLE(X)
#undef X
    };
    for (int i = 0; i < COUNTER_COUNT; i++) {
        if (rows[i].kind == COUNTER && str_is(name, rows[i].name)) {
            return i;
        }
    }
    return -1;
}

static void take_counter(struct restore *restore, const struct saved_figure *figure)
{
    int counter = find_counter(figure->name);
    if (counter == COUNTER_SCRAPES) {
        restore->report.scrapes = figure->number;
    } else if (counter == COUNTER_HTTP_ERRORS) {
        restore->report.http_errors = figure->number;
    } else if (counter >= 0) {
        restore->options.intake->counters->value[counter] += figure->number;
    }
}

static int take_figure(void *ctx, const struct saved_figure *figure)
{
    struct restore *restore = ctx;
    struct intake *intake = restore->options.intake;
    int reason = find_reason(figure->of);
    if (str_is(figure->name, "accepted")) {
        intake->accepted = figure->number;
    } else if (str_is(figure->name, "unledgered")) {
        intake->ledger->view.unledgered = figure->number;
    } else if (!str_is(figure->name, "rejected")) {
        take_counter(restore, figure);
    } else if (reason >= 0) {
        intake->rejected[reason] = figure->number;
    }
    return 0;
}

static int take_timing(void *ctx, const struct saved_timing *saved)
{
    struct restore *restore = ctx;
    struct counters *counters = restore->options.intake->counters;
    struct timing *timing = str_is(saved->name, "loop_lag")   ? &counters->loop_lag
                            : str_is(saved->name, "snapshot") ? &counters->snapshot
                                                              : NULL;
    if (timing != NULL && saved->bucket_count == TIMING_BOUNDS + 1) {
        timing->count = saved->count;
        timing->sum_ns = saved->sum_ns;
        memcpy(timing->bucket, saved->buckets, sizeof timing->bucket);
    }
    return 0;
}

/* --- the ledger -------------------------------------------------------------------------------- */

/* A reason that this version does not have is told as the last of the list, so that the sum holds. */
static void fill_terms(struct ledger_terms *terms, const struct saved_terms *saved)
{
    *terms = (struct ledger_terms){.sent = saved->sent,
                                   .accepted = saved->accepted,
                                   .dropped = saved->dropped,
                                   .lost = saved->lost};
    for (uint32_t i = 0; i < saved->reason_count; i++) {
        int row = find_reason(saved->reasons[i].of);
        terms->rejected[row < 0 ? ERR_ROW_SYSTEM : row] += saved->reasons[i].number;
    }
}

static int take_terms(void *ctx, const struct saved_terms *saved)
{
    struct restore *restore = ctx;
    struct ledger *ledger = restore->options.intake->ledger;
    if (saved->is_all) {
        fill_terms(&ledger->view.all, saved);
    } else {
        fill_terms(&ledger->view.libraries[ledger_library(ledger, saved->library)].terms, saved);
    }
    return 0;
}

static int take_client(void *ctx, const struct saved_client *saved)
{
    struct restore *restore = ctx;
    struct ledger *ledger = restore->options.intake->ledger;
    unsigned library = saved->library < ledger->view.library_count ? saved->library : 0;
    struct ledger_standing standing = {.next = saved->next,
                                       .credited = saved->credited,
                                       .asks = saved->asks,
                                       .library = str_of(ledger->view.libraries[library].name)};
    memcpy(standing.id, saved->id, sizeof standing.id);
    ledger_restore(ledger, &standing);
    restore->report.clients++;
    return 0;
}

/* --- processes, journal ------------------------------------------------------------------------ */

static int take_process(void *ctx, const struct saved_process *saved)
{
    struct restore *restore = ctx;
    const struct restore_options *options = &restore->options;
    bool lives = saved->kernel_pid > 0 && restore->report.same_boot &&
                 options->is_alive(options->ctx, saved->kernel_pid, restore->then.boot_ns);
    restore->processes[restore->process_count++] =
        lives ? process_adopt(options->intake->processes, saved->said_pid, saved->kernel_pid)
              : NULL;
    return 0;
}

static int take_journal(void *ctx, struct str position)
{
    struct restore *restore = ctx;
    memcpy(restore->report.journal, position.ptr, position.len);
    restore->report.journal_len = position.len;
    return 0;
}

struct saved_sink restore_sink(struct restore *restore)
{
    return (struct saved_sink){.ctx = restore,
                               .moment = take_moment,
                               .process = take_process,
                               .figure = take_figure,
                               .timing = take_timing,
                               .terms = take_terms,
                               .client = take_client,
                               .journal = take_journal,
                               .model = restore_take_model,
                               .tally = restore_take_tally,
                               .family = restore_take_family,
                               .series = restore_take_series,
                               .value = restore_take_value,
                               .exemplar = restore_take_exemplar,
                               .layer = restore_take_layer,
                               .slot = restore_take_slot};
}
