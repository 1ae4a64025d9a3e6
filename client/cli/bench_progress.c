#include "cli/bench_progress.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "cli/figure.h"
#include "cli/text.h"

#define REDRAW_NS UINT64_C(100000000) /* ten times a second: smooth, and no load */

enum {
    LINE_BYTES_MAX = 512,
    BAR_COLUMNS_MAX = 30,
    OTHER_COLUMNS = 46, /* all of the line but the bar */
    QUARTERS = 4,
};

static const char *const stage_names[] = {"warm-up", "sequential", "concurrent"};

_Static_assert(sizeof stage_names / sizeof stage_names[0] == DWELL_BENCH_STAGES, "one each");

void progress_init(struct progress *progress, enum progress_kind kind, unsigned columns,
                   const uint64_t total[DWELL_BENCH_STAGES])
{
    *progress = (struct progress){.kind = kind, .columns = columns};
    memcpy(progress->total, total, sizeof progress->total);
}

static void put_bar(struct buf *out, uint64_t done, uint64_t total, unsigned columns)
{
    unsigned full = (unsigned)((double)columns * (double)done / (double)total);
    buf_puts(out, "  [");
    text_repeat(out, "#", full);
    text_repeat(out, "-", columns - full);
    buf_char(out, ']');
}

void progress_draw(enum dwell_bench_stage stage, uint64_t done, uint64_t total, double seconds,
                   unsigned bar_columns, struct buf *out)
{
    total = total > 0 ? total : 1;
    done = done < total ? done : total;
    double rate = seconds > 0 ? (double)done / seconds : (double)NAN;
    buf_printf(out, "%-10s", stage_names[stage]);
    if (bar_columns > 0) {
        put_bar(out, done, total, bar_columns);
    }
    buf_printf(out, "  %3u %%  ", (unsigned)(100 * done / total));
    figure_rate(out, rate);
    if (done < total && rate > 0) {
        buf_puts(out, "  ");
        figure_since(out, ceil((double)(total - done) / rate));
        buf_puts(out, " left");
    }
}

static void print(const struct progress *progress, const struct buf *line)
{
    if (line->err == 0) {
        (void)fprintf(stderr, progress->kind == PROGRESS_BAR ? "\r%.*s\033[K" : "%.*s\n",
                      (int)line->len, line->data); /* nowhere to tell that it failed */
    }
}

static void draw(const struct progress *progress, enum dwell_bench_stage stage, uint64_t done,
                 double seconds)
{
    struct buf line;
    unsigned bar = 0;
    buf_init(&line, LINE_BYTES_MAX);
    if (progress->kind == PROGRESS_BAR && progress->columns > OTHER_COLUMNS) {
        bar = progress->columns - OTHER_COLUMNS;
        bar = bar < BAR_COLUMNS_MAX ? bar : BAR_COLUMNS_MAX;
    }
    progress_draw(stage, done, progress->total[stage], seconds, bar, &line);
    if (progress->kind == PROGRESS_BAR && line.len >= progress->columns) {
        line.len = progress->columns - 1; /* it is ASCII; a line that wraps cannot be drawn again */
    }
    print(progress, &line);
    buf_fini(&line);
}

/* Whether this thread is to draw the bar now: one of those that step at the same time. */
static bool is_due(struct progress *progress, uint64_t now_ns, bool last)
{
    uint64_t due_ns = atomic_load(&progress->next_ns);
    return last || (now_ns >= due_ns && atomic_compare_exchange_strong(&progress->next_ns, &due_ns,
                                                                       now_ns + REDRAW_NS));
}

static void step(struct progress *progress, enum dwell_bench_stage stage, uint64_t now_ns,
                 double latency_ms)
{
    uint64_t total = progress->total[stage];
    uint64_t begun_ns = 0;
    uint64_t done = atomic_fetch_add(&progress->done[stage], 1) + 1;
    if (progress->kind == PROGRESS_NONE || total == 0) {
        return;
    }
    uint64_t first_ns = now_ns - (uint64_t)(latency_ms * 1e6);
    if (atomic_compare_exchange_strong(&progress->begun_ns[stage], &begun_ns, first_ns)) {
        begun_ns = first_ns;
    }
    double seconds = (double)(now_ns - begun_ns) / 1e9;
    bool drawn = progress->kind == PROGRESS_BAR
                     ? is_due(progress, now_ns, done == total)
                     : QUARTERS * done / total != QUARTERS * (done - 1) / total;
    if (drawn) {
        draw(progress, stage, done, seconds);
    }
}

/* Lines come in the order of what they say. */
void progress_step(struct progress *progress, enum dwell_bench_stage stage, uint64_t now_ns,
                   double latency_ms)
{
    static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
    (void)pthread_mutex_lock(&one_at_a_time); /* cannot fail as used */
    step(progress, stage, now_ns, latency_ms);
    (void)pthread_mutex_unlock(&one_at_a_time);
}

void progress_end(const struct progress *progress)
{
    if (progress->kind == PROGRESS_BAR) {
        (void)fputs("\r\033[K", stderr); /* likewise */
    }
}
