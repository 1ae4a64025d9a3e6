/* The export of metrics turned by hand, with a clock that is moved and a transport that is a list. */
#include "core_helpers.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/err.h"
#include "fake_transport.h"
#include "io/export/metric_export.h"
#include "mem_fault.h"
#include "otlp_reader.h"

enum { INTERVAL_S = 60, TIMEOUT_S = 30, CALL_S = 10, AFTER_S = 5, LOG_BYTES = 1 << 16 };

static const char jobs_name[] = "acgs2.acgs2-agent-bus.jobs";

static struct world {
    struct core core;
    struct metric_export export;
    struct buf resource;
    uint64_t random;
    unsigned snapshots;
    unsigned stop_at; /* number of a reading of the clock at which a stop comes; 0: none */
    uint64_t take_ns; /* what a snapshot takes */
    char parent[256]; /* of the spool; empty: there is none */
    bool disk_fails;
} world;

static int log_fd = -1;

static uint64_t seconds(uint64_t count)
{
    return count * NS_PER_SECOND;
}

static uint64_t now_ns(void)
{
    return world.core.mono_ns;
}

static uint64_t read_clock(void *ctx)
{
    (void)ctx;
    if (world.stop_at > 0 && --world.stop_at == 0) {
        export_queue_stop(&world.export.queue, now_ns() + seconds(5));
    }
    return now_ns();
}

static uint64_t read_random(void *ctx)
{
    (void)ctx;
    return world.random;
}

struct how {
    enum otlp_temporality temporality;
    uint64_t interval_s, timeout_s, max_bytes;
    size_t max_request;
    bool spools;
    uint64_t after_s, spool_bytes;
};

static ssize_t try_write(int fd, const void *bytes, size_t len)
{
    errno = ENOSPC;
    return world.disk_fails ? -1 : write(fd, bytes, len);
}

static int no_sync(int fd)
{
    (void)fd; /* nobody cuts the power */
    return 0;
}

static void open_spool(const struct how *how)
{
    static const struct spool_calls calls = {try_write, no_sync, renameat};
    char path[300];
    (void)snprintf(path, sizeof path, "%s/spool", world.parent);
    metric_export_open_spool(
        &world.export,
        &(struct spool_options){.path = path,
                                .signal = SPOOL_METRICS,
                                .max_bytes = how->spool_bytes == 0 ? 64 << 20 : how->spool_bytes,
                                .max_files = 1000,
                                .calls = &calls});
    assert_non_null(world.export.worker.spool);
}

static int try_init(const struct how *how)
{
    struct otlp_metrics_options render = otlp_options(&world.resource);
    render.temporality = how->temporality;
    render.max_request = how->max_request;
    struct metric_export_options options = {
        .render = &render,
        .transport = &fake_transport_functions,
        .address = "receiver",
        .clock = {read_clock, read_clock, NULL},
        .random = read_random,
        .interval_ns = seconds(how->interval_s == 0 ? INTERVAL_S : how->interval_s),
        .timeout_ns = seconds(how->timeout_s == 0 ? TIMEOUT_S : how->timeout_s),
        .call_ns = seconds(CALL_S),
        .max_bytes = how->max_bytes == 0 ? 16 << 20 : how->max_bytes,
        .spool_after_ns = seconds(how->after_s == 0 ? AFTER_S : how->after_s)};
    int err = metric_export_init(&world.export, &options);
    buf_fini(&world.resource);
    return err;
}

static void open_world(const struct how *how)
{
    struct registry_options options = core_options();
    world = (struct world){.random = NS_PER_SECOND};
    core_open(&world.core, &options);
    fake_transport_reset(&world.core.mono_ns);
    assert_int_equal(try_init(how), 0);
    if (how->spools) {
        const char *temporary = getenv("TMPDIR");
        (void)snprintf(world.parent, sizeof world.parent, "%s/metrics-XXXXXX",
                       temporary == NULL ? "/tmp" : temporary);
        assert_non_null(mkdtemp(world.parent));
        open_spool(how);
    }
    assert_int_equal(ftruncate(log_fd, 0), 0);
    assert_int_equal(lseek(log_fd, 0, SEEK_SET), 0);
}

static void close_world(void)
{
    metric_export_fini(&world.export);
    fake_transport_reset(NULL);
    core_close(&world.core);
    if (world.parent[0] != '\0') {
        char command[300];
        (void)snprintf(command, sizeof command, "rm -rf '%s'", world.parent);
        assert_int_equal(system(command), 0);
    }
}

/* The next process: with other metrics. */
static void restart(const struct how *how)
{
    struct registry_options options = core_options();
    uint64_t mono_ns = world.core.mono_ns;
    uint64_t wall_ns = world.core.wall_ns;
    metric_export_fini(&world.export);
    core_close(&world.core);
    core_open(&world.core, &options);
    world.core.mono_ns = mono_ns;
    world.core.wall_ns = wall_ns;
    assert_int_equal(try_init(how), 0);
    open_spool(how);
}

static const char *log_text(void)
{
    static char text[LOG_BYTES];
    ssize_t len = pread(log_fd, text, sizeof text - 1, 0);
    assert_true(len >= 0);
    text[len] = '\0';
    return text;
}

static void must_log(const char *part)
{
    if (strstr(log_text(), part) == NULL) {
        fail_msg("not in the log: %s\n%s", part, log_text());
    }
}

static struct export_view view(void)
{
    struct export_view view;
    export_queue_view(&world.export.queue, &view);
    uint64_t dropped = 0;
    for (unsigned i = 0; i < EXPORT_DROP_COUNT; i++) {
        dropped += view.dropped[i];
    }
    assert_int_equal(view.accepted,
                     view.exported + view.waiting + view.in_flight + view.spooled + dropped);
    assert_true(view.waiting + view.in_flight <= view.capacity);
    assert_true(view.bytes <= view.capacity_bytes);
    assert_true((view.waiting + view.in_flight > 0) == (view.bytes > 0));
    return view;
}

static void take(void)
{
    struct snapshot *snapshot = must_take(&world.core);
    world.snapshots++;
    metric_export_take(&world.export, snapshot, &otlp_process);
    core_drop(&world.core, snapshot);
    world.core.mono_ns += world.take_ns;
}

/* Turns, and gives a snapshot when it is wanted, until there is a wait. Returns until when, or 0 for the
 * end. */
static uint64_t settle(void)
{
    for (;;) {
        uint64_t wake_ns;
        switch (metric_export_turn(&world.export, &wake_ns)) {
        case METRIC_TURN_SNAPSHOT:
            take();
            break;
        case METRIC_TURN_WAIT:
            if (wake_ns > now_ns()) {
                (void)view();
                return wake_ns;
            }
            break;
        case METRIC_TURN_END:
            assert_int_equal(view().waiting + view().in_flight, 0);
            return 0;
        }
    }
}

/* Moves the clock to each wait that ends before, and then there. */
static void settle_until(uint64_t until_ns)
{
    uint64_t wake_ns = settle();
    while (wake_ns != 0 && wake_ns <= until_ns) {
        world.core.wall_ns += wake_ns - now_ns();
        world.core.mono_ns = wake_ns;
        wake_ns = settle();
    }
    if (until_ns > now_ns()) {
        world.core.wall_ns += until_ns - now_ns();
        world.core.mono_ns = until_ns;
    }
}

/* To the next interval, whose export is then begun. */
static void pass_interval(void)
{
    settle_until(world.export.next_ns);
    (void)settle();
}

static void count_jobs(double more)
{
    struct metric jobs = metric_of(METRIC_COUNT, "jobs", more, "");
    must_count(&world.core, &jobs, NULL);
}

static void add_models(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "model %u", i);
        struct sample sample = sample_of(name, 1 + i);
        must_record(&world.core, &sample);
    }
}

/* With some 300 bytes each. */
static void add_counters(unsigned count)
{
    static char text[RECORD_NAME_MAX + 1];
    memset(text, 'x', RECORD_NAME_MAX);
    for (unsigned i = 0; i < count; i++) {
        char number[16];
        char name[16];
        (void)snprintf(name, sizeof name, "filler_%u", i % 10);
        struct metric filler = metric_of(METRIC_COUNT, name, 1, "");
        (void)snprintf(number, sizeof number, "%u", i);
        filler.attributes[filler.attribute_count++] =
            (struct label){STR_LITERAL("number"), str_of(number)};
        filler.attributes[filler.attribute_count++] =
            (struct label){STR_LITERAL("x"), str_of(text)};
        must_count(&world.core, &filler, NULL);
    }
}

static void must_have_calls(unsigned count)
{
    assert_int_equal(fake_transport.call_count, count);
}

/* What the calls from the first on have told of the jobs. Deltas are added up, of cumulative points there
 * is the last. NaN: nothing. */
static double jobs_of(unsigned from, unsigned to)
{
    double sum = NAN;
    for (unsigned call = from; call < to; call++) {
        Otlp__ExportMetricsServiceRequest *request = otlp__export_metrics_service_request__unpack(
            NULL, fake_transport.calls[call].len, (const uint8_t *)fake_transport.calls[call].body);
        assert_non_null(request);
        const Otlp__ScopeMetrics *all = request->resource_metrics[0]->scope_metrics[0];
        for (size_t i = 0; i < all->n_metrics; i++) {
            const Otlp__Metric *metric = all->metrics[i];
            if (strcmp(metric->name, jobs_name) == 0) {
                bool delta =
                    metric->sum->aggregation_temporality == OTLP__AGGREGATION_TEMPORALITY__DELTA;
                assert_int_equal(metric->sum->n_data_points, 1);
                double value = metric->sum->data_points[0]->as_double;
                sum = delta && !isnan(sum) ? sum + value : value;
            }
        }
        otlp__export_metrics_service_request__free_unpacked(request, NULL);
    }
    return sum;
}

/* --- intervals --------------------------------------------------------------------------------- */

static void test_metric_export_sends_after_each_interval(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    count_jobs(3);
    uint64_t began = now_ns();
    assert_int_equal(settle(), began + seconds(INTERVAL_S));
    settle_until(began + seconds(INTERVAL_S) - 1);
    assert_int_equal(world.snapshots, 0);
    settle_until(began + seconds(INTERVAL_S));
    assert_int_equal(settle(), began + seconds(2 * INTERVAL_S));
    assert_int_equal(world.snapshots, 1);
    must_have_calls(1);
    assert_true(jobs_of(0, 1) == 3);
    assert_int_equal(fake_transport.calls[0].at_ns, began + seconds(INTERVAL_S));
    assert_int_equal(fake_transport.calls[0].deadline_ns,
                     began + seconds(INTERVAL_S) + seconds(CALL_S));
    assert_true(view().exported > 10);
    assert_int_equal(view().exported, view().accepted);
    pass_interval();
    must_have_calls(2);
    close_world();
}

/* Who comes late is not late for ever. */
static void test_metric_export_does_not_make_up_for_intervals(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    world.core.mono_ns += seconds(10 * INTERVAL_S) + 5;
    assert_int_equal(settle(), now_ns() + seconds(INTERVAL_S));
    assert_int_equal(world.snapshots, 1);
    close_world();
}

static void test_metric_export_counts_points(void **state)
{
    (void)state;
    open_world(&(struct how){.temporality = OTLP_DELTA});
    fake_transport_then_row(&(struct fake_row){.reply = {.rejected = 3, .message = "too old"}});
    fake_transport_then(TRANSPORT_OK);
    count_jobs(2);
    pass_interval();
    uint64_t points = view().accepted;
    assert_int_equal(view().exported, points - 3);
    assert_int_equal(view().dropped[EXPORT_DROP_REJECTED], 3);
    char line[100];
    (void)snprintf(line, sizeof line, "3 of %u data points were rejected: too old",
                   (unsigned)points);
    must_log(line);
    /* It was delivered, and is not told again. */
    pass_interval();
    assert_true(isnan(jobs_of(1, 2)));
    close_world();
}

static void test_metric_export_goes_on_without_a_snapshot(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    settle_until(world.export.next_ns - 1);
    world.core.mono_ns++;
    uint64_t wake_ns;
    assert_int_equal(metric_export_turn(&world.export, &wake_ns), METRIC_TURN_SNAPSHOT);
    metric_export_miss(&world.export, ERR_LIMIT);
    must_log("export to receiver: no whole snapshot of the metrics: ");
    assert_int_equal(settle(), now_ns() + seconds(INTERVAL_S));
    must_have_calls(0);
    pass_interval();
    must_have_calls(1);
    close_world();
}

/* --- what waits -------------------------------------------------------------------------------- */

/* Hours without a receiver: there are never more requests than those of one snapshot. */
static void test_metric_export_newer_requests_replace_those_that_wait(void **state)
{
    (void)state;
    open_world(&(struct how){.timeout_s = 3600, .max_request = OTLP_REQUEST_MIN});
    add_models(300);
    world.random = seconds(29);
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    uint64_t bytes = 0;
    uint64_t points = 0;
    for (unsigned i = 0; i < 100; i++) {
        count_jobs(1);
        pass_interval();
        uint64_t held = view().waiting + view().in_flight;
        bytes = bytes == 0 ? view().bytes : bytes;
        points = points == 0 ? held : points;
        assert_true(held < points + points / 10 && view().bytes < bytes + bytes / 10);
        assert_int_equal(view().dropped[EXPORT_DROP_REPLACED] + held, view().accepted);
    }
    assert_true(view().waiting > 0 && view().in_flight > 0); /* several requests */
    assert_true(view().dropped[EXPORT_DROP_REPLACED] > 0);
    must_log("data points give way to newer ones");
    unsigned failed = fake_transport.call_count;
    fake_transport.row_count = 0; /* it is back */
    settle_until(now_ns() + seconds(31));
    assert_true(fake_transport.call_count > failed + 1);
    assert_true(jobs_of(failed, fake_transport.call_count) == 100);
    assert_int_equal(view().waiting + view().in_flight, 0);
    must_log("works again after");
    must_log("data points were given up");
    close_world();
}

/* Each call takes two intervals, and there are several. */
static void test_metric_export_does_not_interrupt_a_slow_receiver(void **state)
{
    (void)state;
    open_world(&(struct how){.interval_s = 1, .timeout_s = 3600, .max_request = OTLP_REQUEST_MIN});
    add_models(300);
    fake_transport_then_row(&(struct fake_row){.takes_ns = seconds(2)});
    core_move(&world.core, 1);
    unsigned turns = 0;
    while (world.snapshots < 3) {
        uint64_t wake_ns;
        assert_true(turns++ < 1000);
        if (metric_export_turn(&world.export, &wake_ns) == METRIC_TURN_SNAPSHOT) {
            assert_int_equal(view().waiting + view().in_flight, 0);
            take();
        }
    }
    assert_true(fake_transport.call_count > 2);
    assert_int_equal(view().dropped[EXPORT_DROP_REPLACED], 0);
    close_world();
}

static void test_metric_export_gives_up_after_its_time(void **state)
{
    (void)state;
    open_world(&(struct how){.max_request = OTLP_REQUEST_MIN});
    add_models(300);
    fake_transport_then_row(&(struct fake_row){.reply = {.status = TRANSPORT_DEADLINE_EXCEEDED},
                                               .takes_ns = seconds(CALL_S)});
    world.random = 0;
    uint64_t until = world.export.next_ns + seconds(TIMEOUT_S);
    settle_until(until);
    (void)settle();
    assert_int_equal(now_ns(), until); /* three calls of ten seconds */
    must_have_calls(3);
    for (unsigned i = 0; i < 3; i++) {
        assert_true(fake_transport.calls[i].deadline_ns <= until);
    }
    assert_int_equal(view().dropped[EXPORT_DROP_TIMEOUT], view().accepted);
    close_world();
}

/* --- deltas ------------------------------------------------------------------------------------ */

/* However an export ends badly: what it told is told again, once. */
static void test_metric_export_deltas_that_were_given_up_come_again(void **state)
{
    (void)state;
    static const struct {
        enum transport_status status;
        uint64_t timeout_s;
        enum export_drop reason;
    } rows[] = {
        {TRANSPORT_INTERNAL, 30, EXPORT_DROP_FAILED},
        {TRANSPORT_UNAVAILABLE, 30, EXPORT_DROP_TIMEOUT},
        {TRANSPORT_UNAVAILABLE, 600, EXPORT_DROP_REPLACED},
        {TRANSPORT_RESOURCE_EXHAUSTED, 30, EXPORT_DROP_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        open_world(&(struct how){.temporality = OTLP_DELTA, .timeout_s = rows[i].timeout_s});
        count_jobs(2);
        pass_interval();
        assert_true(jobs_of(0, 1) == 2);
        count_jobs(3);
        fake_transport_then(rows[i].status);
        pass_interval();
        count_jobs(4);
        settle_until(world.export.next_ns - 1);
        fake_transport.row_count = 0;
        unsigned before = fake_transport.call_count;
        assert_true(before > 1);
        assert_true(jobs_of(1, 2) == 3);
        pass_interval();
        assert_int_equal(fake_transport.call_count, before + 1);
        assert_true(jobs_of(before, before + 1) == 7);
        assert_true(view().dropped[rows[i].reason] > 0);
        pass_interval();
        assert_true(isnan(jobs_of(before + 1, before + 2)));
        close_world();
    }
}

/* What an earlier life had counted was told by it. */
static void test_metric_export_deltas_go_on(void **state)
{
    (void)state;
    static const struct {
        enum otlp_temporality temporality;
        double first; /* what the first request tells */
    } rows[] = {{OTLP_DELTA, 3}, {OTLP_LOWMEMORY, 3}, {OTLP_CUMULATIVE, 5}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        open_world(&(struct how){.temporality = rows[i].temporality});
        count_jobs(2);
        struct snapshot *snapshot = must_take(&world.core);
        assert_int_equal(metric_export_go_on(&world.export, snapshot, &otlp_process), 0);
        core_drop(&world.core, snapshot);
        assert_int_equal(view().accepted, 0);
        count_jobs(3);
        pass_interval();
        assert_true(jobs_of(0, 1) == rows[i].first);
        close_world();
    }
}

/* What the queue cannot hold comes with a later request. */
static void test_metric_export_deltas_survive_a_full_queue(void **state)
{
    (void)state;
    enum { ROOM = 340 << 10 }; /* for the first request, not for both */
    open_world(&(struct how){
        .temporality = OTLP_DELTA, .max_bytes = ROOM, .max_request = OTLP_REQUEST_MIN});
    add_counters(900);
    count_jobs(5);
    unsigned intervals = 0;
    do {
        pass_interval();
        assert_true(intervals++ < 20);
    } while (isnan(jobs_of(0, fake_transport.call_count)));
    assert_true(intervals > 1);
    assert_true(jobs_of(0, fake_transport.call_count) == 5);
    assert_true(view().dropped[EXPORT_DROP_QUEUE_FULL] > 0);
    must_log("are more than otlp.max_metric_bytes hold, and are dropped");
    close_world();
}

/* --- too large --------------------------------------------------------------------------------- */

static size_t longest_call(unsigned from)
{
    size_t most = 0;
    for (unsigned i = from; i < fake_transport.call_count; i++) {
        size_t len = fake_transport.calls[i].len;
        most = len > most ? len : most;
    }
    return most;
}

static void test_metric_export_makes_shorter_requests_for_who_wants_them(void **state)
{
    (void)state;
    open_world(&(struct how){.max_request = 3 * OTLP_REQUEST_MIN});
    add_models(1000);
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED);
    pass_interval();
    assert_true(longest_call(0) > 2 * OTLP_REQUEST_MIN);
    assert_int_equal(view().dropped[EXPORT_DROP_TOO_LARGE], view().accepted);
    assert_true(fake_transport.call_count > 1); /* of several, and all of them */
    unsigned before = fake_transport.call_count;
    pass_interval();
    must_log("a request is too large; the next ones are of at most 393216 bytes");
    assert_in_range(longest_call(before), OTLP_REQUEST_MIN, 3 * OTLP_REQUEST_MIN / 2);
    before = fake_transport.call_count;
    fake_transport.row_count = 0;
    pass_interval();
    must_log("a request is too large; the next ones are of at most 262144 bytes");
    assert_in_range(longest_call(before), OTLP_REQUEST_MIN / 2, OTLP_REQUEST_MIN);
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED);
    pass_interval();
    pass_interval();
    assert_int_equal(world.export.max_request, OTLP_REQUEST_MIN);
    must_log("a request is too large, and 262144 bytes are the least there may be");
    close_world();
}

/* A receiver that is busy and says when to come back is told the same again. */
static void test_metric_export_waits_for_who_is_busy(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    fake_transport_then_row(&(struct fake_row){.reply = {.status = TRANSPORT_RESOURCE_EXHAUSTED,
                                                         .has_retry_delay = true,
                                                         .retry_delay_ns = seconds(7)}});
    fake_transport_then(TRANSPORT_OK);
    settle_until(world.export.next_ns);
    assert_int_equal(settle(), now_ns() + seconds(7));
    settle_until(now_ns() + seconds(7));
    (void)settle();
    must_have_calls(2);
    assert_int_equal(world.snapshots, 1);
    assert_int_equal(fake_transport.calls[0].len, fake_transport.calls[1].len);
    assert_int_equal(view().exported, view().accepted);
    close_world();
}

static void test_metric_export_makes_room_for_a_long_resource(void **state)
{
    (void)state;
    static const struct {
        size_t resource, asked, wanted;
    } rows[] = {
        {100, 0, OTLP_REQUEST_MIN}, /* of the options it is never 0 */
        {100, OTLP_REQUEST_MIN - 1, OTLP_REQUEST_MIN},
        {100, OTLP_REQUEST_MIN + 1, OTLP_REQUEST_MIN + 1},
        {OTLP_REQUEST_MIN, OTLP_REQUEST_MIN, 2 * OTLP_REQUEST_MIN + 8192},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct otlp_metrics_options render = {.resource = {"", rows[i].resource},
                                              .max_request = rows[i].asked};
        assert_int_equal(metric_export_max_request(&render), rows[i].wanted);
    }
}

/* --- the spool --------------------------------------------------------------------------------- */

/* The jobs that the calls from the first on tell, as "1,2": each once, in the order of their times. */
static void must_tell_jobs(unsigned from, const char *wanted)
{
    char text[256] = "";
    size_t len = 0;
    uint64_t last = 0;
    for (unsigned call = from; call < fake_transport.call_count; call++) {
        Otlp__ExportMetricsServiceRequest *request = otlp__export_metrics_service_request__unpack(
            NULL, fake_transport.calls[call].len, (const uint8_t *)fake_transport.calls[call].body);
        assert_non_null(request);
        const Otlp__ScopeMetrics *all = request->resource_metrics[0]->scope_metrics[0];
        for (size_t i = 0; i < all->n_metrics; i++) {
            if (strcmp(all->metrics[i]->name, jobs_name) == 0) {
                const Otlp__NumberDataPoint *point = all->metrics[i]->sum->data_points[0];
                assert_true(point->time_unix_nano > last);
                assert_true(point->start_time_unix_nano <= point->time_unix_nano);
                last = point->time_unix_nano;
                len += (size_t)snprintf(text + len, sizeof text - len, "%s%.0f",
                                        len == 0 ? "" : ",", point->as_double);
            }
        }
        otlp__export_metrics_service_request__free_unpacked(request, NULL);
    }
    assert_string_equal(text, wanted);
}

/* The receiver goes; intervals pass, each with one job more than the one before. */
static void miss_intervals(unsigned count)
{
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    for (unsigned i = 1; i <= count; i++) {
        count_jobs(i);
        pass_interval();
        settle_until(world.export.next_ns - 1);
    }
}

/* It is back, for one more interval. Returns the number of the first call that it takes. */
static unsigned come_back(void)
{
    fake_transport.row_count = 0;
    unsigned before = fake_transport.call_count;
    settle_until(now_ns() + seconds(30));
    return before;
}

static void must_lose_nothing(void)
{
    assert_int_equal(view().exported, view().accepted);
    assert_int_equal(view().spooled + view().spool_files, 0);
}

static void test_metric_export_fills_the_gap_later(void **state)
{
    (void)state;
    static const char *const wanted[] = {[OTLP_CUMULATIVE] = "1,3,6,10,15,15,21",
                                         [OTLP_DELTA] = "1,2,3,4,5,6",
                                         [OTLP_LOWMEMORY] = "1,2,3,4,5,6"};
    for (unsigned i = 0; i < OTLP_TEMPORALITY_COUNT; i++) {
        open_world(&(struct how){.temporality = (enum otlp_temporality)i, .spools = true});
        miss_intervals(5);
        assert_true(view().spool_files >= 5);
        assert_int_equal(view().spooled, view().accepted);
        unsigned back = come_back();
        must_lose_nothing();
        count_jobs(6);
        pass_interval();
        must_tell_jobs(back, wanted[i]);
        must_log("data points go to the spool");
        must_log("the spool is empty");
        close_world();
    }
}

static void test_metric_export_fills_the_gap_after_a_restart(void **state)
{
    (void)state;
    static const char *const wanted[] = {[OTLP_CUMULATIVE] = "1,3,6,1,1,3",
                                         [OTLP_DELTA] = "1,2,3,1,2",
                                         [OTLP_LOWMEMORY] = "1,2,3,1,2"};
    for (unsigned i = 0; i < OTLP_TEMPORALITY_COUNT; i++) {
        struct how how = {.temporality = (enum otlp_temporality)i, .spools = true};
        open_world(&how);
        miss_intervals(3);
        restart(&how);
        assert_int_equal(view().recovered, view().accepted);
        miss_intervals(1);
        unsigned back = come_back();
        count_jobs(2);
        pass_interval();
        must_lose_nothing();
        must_tell_jobs(back, wanted[i]);
        close_world();
    }
}

/* A snapshot is no news of the receiver: it is not called more often for it. */
static void test_metric_export_spooling_keeps_its_distance(void **state)
{
    (void)state;
    enum { INTERVALS = 60 };
    open_world(&(struct how){.interval_s = 1, .spools = true});
    world.random = seconds(29);
    miss_intervals(INTERVALS);
    assert_true(view().spool_files >= INTERVALS - AFTER_S);
    assert_in_range(fake_transport.call_count, 2, INTERVALS / 4);
    (void)come_back();
    must_lose_nothing();
    close_world();
}

/* What waits when the next snapshot comes is kept, too, however short intervals are. */
static void test_metric_export_spools_what_gives_way(void **state)
{
    (void)state;
    open_world(&(struct how){.temporality = OTLP_DELTA, .after_s = 100000, .spools = true});
    miss_intervals(2);
    assert_int_equal(view().dropped[EXPORT_DROP_REPLACED], 0);
    unsigned back = come_back();
    must_lose_nothing();
    must_tell_jobs(back, "1,2");
    close_world();
}

static void test_metric_export_spools_what_has_no_time_left(void **state)
{
    (void)state;
    open_world(&(struct how){.after_s = 100000, .max_request = OTLP_REQUEST_MIN, .spools = true});
    add_models(300);
    count_jobs(1);
    fake_transport_then_row(&(struct fake_row){.takes_ns = seconds(CALL_S)});
    fake_transport_then_row(&(struct fake_row){.reply = {.status = TRANSPORT_DEADLINE_EXCEEDED},
                                               .takes_ns = seconds(TIMEOUT_S)});
    fake_transport_then(TRANSPORT_OK);
    pass_interval();
    settle_until(world.export.next_ns - 1);
    assert_int_equal(view().dropped[EXPORT_DROP_TIMEOUT], 0);
    must_lose_nothing();
    close_world();
}

/* Every snapshot takes longer than an interval; files are sent all the same. */
static void test_metric_export_sends_files_between_short_intervals(void **state)
{
    (void)state;
    open_world(&(struct how){.temporality = OTLP_DELTA, .interval_s = 1, .spools = true});
    miss_intervals(20);
    world.take_ns = seconds(2);
    fake_transport.row_count = 0;
    unsigned before = fake_transport.call_count;
    for (unsigned turns = 0; fake_transport.call_count < before + 10; turns++) {
        uint64_t wake_ns;
        assert_true(turns < 1000);
        if (metric_export_turn(&world.export, &wake_ns) == METRIC_TURN_SNAPSHOT) {
            take();
        } else if (wake_ns > now_ns()) {
            world.core.mono_ns = wake_ns;
        }
        (void)view();
    }
    close_world();
}

/* As without a spool: what waits gives way, and its deltas come again. */
static void test_metric_export_goes_on_when_the_disk_fails(void **state)
{
    (void)state;
    open_world(&(struct how){.temporality = OTLP_DELTA, .timeout_s = 600, .spools = true});
    world.disk_fails = true;
    miss_intervals(3);
    assert_true(view().dropped[EXPORT_DROP_REPLACED] > 0);
    assert_true(view().spool_failures > 0);
    assert_int_equal(view().spooled, 0);
    unsigned back = come_back();
    must_tell_jobs(back, "6");
    close_world();
}

/* What is given up for want of room is gone, and counted: its deltas do not come again. */
static void test_metric_export_gives_up_the_oldest_files(void **state)
{
    (void)state;
    struct how how = {.temporality = OTLP_DELTA, .spools = true};
    open_world(&how);
    miss_intervals(1);
    how.spool_bytes = view().spool_bytes * 5 / 2;
    close_world();
    open_world(&how);
    miss_intervals(4);
    uint64_t lost = view().dropped[EXPORT_DROP_SPOOL_FULL];
    assert_true(lost > 0);
    unsigned back = come_back();
    must_tell_jobs(back, "3,4");
    assert_int_equal(view().exported + lost, view().accepted);
    close_world();
}

/* A request that no spool holds waits in memory for its end, and its deltas come again. */
static void test_metric_export_keeps_deltas_that_no_spool_holds(void **state)
{
    (void)state;
    open_world(&(struct how){.temporality = OTLP_DELTA, .spool_bytes = 100, .spools = true});
    miss_intervals(3);
    assert_int_equal(view().dropped[EXPORT_DROP_SPOOL_FULL], view().accepted);
    unsigned back = come_back();
    pass_interval();
    must_tell_jobs(back, "6");
    close_world();
}

/* In the requests of these calls. */
static uint64_t count_points(unsigned from, unsigned to)
{
    uint64_t points = 0;
    for (unsigned call = from; call < to; call++) {
        Otlp__ExportMetricsServiceRequest *request = otlp__export_metrics_service_request__unpack(
            NULL, fake_transport.calls[call].len, (const uint8_t *)fake_transport.calls[call].body);
        assert_non_null(request);
        const Otlp__ScopeMetrics *all = request->resource_metrics[0]->scope_metrics[0];
        for (size_t i = 0; i < all->n_metrics; i++) {
            const Otlp__Metric *metric = all->metrics[i];
            switch (metric->data_case) {
            case OTLP__METRIC__DATA_SUM:
                points += metric->sum->n_data_points;
                break;
            case OTLP__METRIC__DATA_GAUGE:
                points += metric->gauge->n_data_points;
                break;
            case OTLP__METRIC__DATA_HISTOGRAM:
                points += metric->histogram->n_data_points;
                break;
            case OTLP__METRIC__DATA_EXPONENTIAL_HISTOGRAM:
                points += metric->exponential_histogram->n_data_points;
                break;
            default:
                fail();
            }
        }
        otlp__export_metrics_service_request__free_unpacked(request, NULL);
    }
    return points;
}

/* A file is told already, so a receiver that finds it too large gets it in halves. */
static void test_metric_export_divides_a_file_that_is_too_large(void **state)
{
    (void)state;
    open_world(&(struct how){.temporality = OTLP_DELTA, .spools = true});
    add_models(30);
    miss_intervals(1);
    uint64_t spooled = view().spooled;
    fake_transport.row_count = 0;
    unsigned before = fake_transport.call_count;
    for (unsigned i = 0; i <= before; i++) { /* rows count from the first call */
        fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED);
    }
    fake_transport_then(TRANSPORT_OK);
    settle_until(now_ns() + 1);
    settle_until(world.export.next_ns - 1);
    assert_int_equal(view().exported, view().accepted);
    assert_true(view().accepted > spooled); /* with a snapshot since */
    assert_int_equal(view().splits, 1);
    assert_true(fake_transport.calls[before + 1].len < fake_transport.calls[before].len);
    must_tell_jobs(before + 1, "1");
    assert_int_equal(count_points(before, before + 1), spooled);
    unsigned parts = 2 + spooled % 2; /* both halves, and what is left of an odd number */
    assert_int_equal(count_points(before + 1, before + 1 + parts), spooled);
    close_world();
}

static void test_metric_export_spools_the_end(void **state)
{
    (void)state;
    static const struct {
        bool is_away;
        uint64_t left_s; /* until the end */
        const char *wanted;
    } rows[] = {{true, 10, "1,7"}, {true, 0, "1,7"}, {false, 0, "7"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct how how = {.temporality = OTLP_DELTA, .spools = true};
        open_world(&how);
        if (rows[i].is_away) {
            miss_intervals(1);
        }
        count_jobs(7);
        export_queue_stop(&world.export.queue, now_ns() + seconds(rows[i].left_s));
        uint64_t before = now_ns();
        assert_int_equal(settle(), 0); /* at once */
        assert_int_equal(now_ns(), before);
        assert_int_equal(view().spooled, view().accepted);
        restart(&how);
        unsigned back = come_back();
        must_lose_nothing();
        must_tell_jobs(back, rows[i].wanted);
        close_world();
    }
}

/* Then the loop may not run, and would give no snapshot. */
static void test_metric_export_takes_none_when_it_must_end_at_once(void **state)
{
    (void)state;
    open_world(&(struct how){.spools = true});
    export_queue_stop(&world.export.queue, 0);
    assert_int_equal(settle(), 0);
    assert_int_equal(world.snapshots, 0);
    close_world();
}

/* --- the end ----------------------------------------------------------------------------------- */

static void test_metric_export_tells_of_the_end(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    count_jobs(2);
    pass_interval();
    count_jobs(3);
    settle_until(now_ns() + seconds(1));
    uint64_t stop = now_ns() + seconds(3);
    export_queue_stop(&world.export.queue, stop);
    assert_int_equal(settle(), 0);
    assert_int_equal(world.snapshots, 2);
    must_have_calls(2);
    assert_true(jobs_of(1, 2) == 5);
    assert_int_equal(fake_transport.calls[1].deadline_ns, stop);
    assert_int_equal(view().exported, view().accepted);
    close_world();
}

/* However the stop falls between what looks for it. */
static void test_metric_export_tells_of_an_end_at_any_moment(void **state)
{
    (void)state;
    for (unsigned at = 1; at <= 6; at++) {
        open_world(&(struct how){0});
        world.stop_at = at;
        while (settle() != 0) {
            assert_true(world.stop_at > 0 || world.export.queue.is_woken);
        }
        assert_int_equal(world.snapshots, 1);
        must_have_calls(1);
        close_world();
    }
}

static void test_metric_export_says_what_could_not_be_sent_at_the_end(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    pass_interval();
    export_queue_stop(&world.export.queue, now_ns() + seconds(3));
    uint64_t before = now_ns();
    settle_until(before + seconds(3));
    assert_int_equal(settle(), 0);
    assert_int_equal(now_ns(), before + seconds(3));
    assert_true(view().dropped[EXPORT_DROP_REPLACED] > 0); /* by those of the last snapshot */
    assert_true(view().dropped[EXPORT_DROP_SHUTDOWN] > 0);
    must_log("data points could not be sent before the end and are lost");
    close_world();
}

static void test_metric_export_ends_at_once_when_it_is_late(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    export_queue_stop(&world.export.queue, now_ns());
    assert_int_equal(settle(), 0);
    assert_int_equal(world.snapshots, 0);
    must_have_calls(0);
    close_world();
}

/* --- memory ------------------------------------------------------------------------------------ */

static void test_metric_export_init_without_memory(void **state)
{
    (void)state;
    world = (struct world){0};
    for (size_t n = 1;; n++) {
        mem_fail_after(n);
        int err = try_init(&(struct how){0});
        bool failed = mem_has_failed();
        mem_fail_after(0);
        if (!failed) {
            assert_int_equal(err, 0);
            assert_true(n > 3);
            break;
        }
        assert_true(err == ERR_NOMEM || err == 0); /* what was taken of the resource is enough */
        if (err == 0) {
            metric_export_fini(&world.export);
        }
    }
    metric_export_fini(&world.export);
}

/* At each place: nothing that was counted is lost, and the account holds. */
static void test_metric_export_without_memory_loses_no_delta(void **state)
{
    (void)state;
    open_world(&(struct how){.temporality = OTLP_DELTA});
    enum { ROUNDS = 60, PLACES = 12 }; /* what one call has made the next has */
    double counted = 0;
    for (size_t n = 0; n < ROUNDS; n++) {
        count_jobs(1);
        counted++;
        settle_until(world.export.next_ns - 1);
        world.core.mono_ns++;
        uint64_t wake_ns;
        assert_int_equal(metric_export_turn(&world.export, &wake_ns), METRIC_TURN_SNAPSHOT);
        struct snapshot *snapshot = must_take(&world.core);
        mem_fail_after(1 + n % PLACES);
        metric_export_take(&world.export, snapshot, &otlp_process);
        mem_fail_after(0);
        core_drop(&world.core, snapshot);
        (void)settle();
    }
    pass_interval();
    assert_true(jobs_of(0, fake_transport.call_count) == counted);
    assert_int_equal(view().accepted, view().exported + view().dropped[EXPORT_DROP_OUT_OF_MEMORY]);
    assert_true(view().dropped[EXPORT_DROP_OUT_OF_MEMORY] > 0);
    must_log("no whole snapshot of the metrics: ");
    close_world();
}

static uint64_t no_time(void *ctx)
{
    (void)ctx;
    return 0;
}

static int open_log(void **state)
{
    log_fd = memfd_create("log", MFD_CLOEXEC);
    if (log_fd < 0) {
        return -1;
    }
    log_init(&(struct log_options){
        .fd = log_fd, .level = LOG_LEVEL_INFO, .hash = "h", .clock = {no_time, no_time, NULL}});
    return core_tables(state);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, note_memory, must_be_clean)
    const struct CMUnitTest tests[] = {
        TEST(test_metric_export_sends_after_each_interval),
        TEST(test_metric_export_does_not_make_up_for_intervals),
        TEST(test_metric_export_counts_points),
        TEST(test_metric_export_goes_on_without_a_snapshot),
        TEST(test_metric_export_newer_requests_replace_those_that_wait),
        TEST(test_metric_export_does_not_interrupt_a_slow_receiver),
        TEST(test_metric_export_gives_up_after_its_time),
        TEST(test_metric_export_deltas_that_were_given_up_come_again),
        TEST(test_metric_export_deltas_go_on),
        TEST(test_metric_export_deltas_survive_a_full_queue),
        TEST(test_metric_export_makes_shorter_requests_for_who_wants_them),
        TEST(test_metric_export_waits_for_who_is_busy),
        TEST(test_metric_export_makes_room_for_a_long_resource),
        TEST(test_metric_export_fills_the_gap_later),
        TEST(test_metric_export_fills_the_gap_after_a_restart),
        TEST(test_metric_export_spooling_keeps_its_distance),
        TEST(test_metric_export_spools_what_gives_way),
        TEST(test_metric_export_spools_what_has_no_time_left),
        TEST(test_metric_export_sends_files_between_short_intervals),
        TEST(test_metric_export_goes_on_when_the_disk_fails),
        TEST(test_metric_export_gives_up_the_oldest_files),
        TEST(test_metric_export_keeps_deltas_that_no_spool_holds),
        TEST(test_metric_export_divides_a_file_that_is_too_large),
        TEST(test_metric_export_spools_the_end),
        TEST(test_metric_export_takes_none_when_it_must_end_at_once),
        TEST(test_metric_export_tells_of_the_end),
        TEST(test_metric_export_tells_of_an_end_at_any_moment),
        TEST(test_metric_export_says_what_could_not_be_sent_at_the_end),
        TEST(test_metric_export_ends_at_once_when_it_is_late),
        TEST(test_metric_export_init_without_memory),
        TEST(test_metric_export_without_memory_loses_no_delta),
    };
    return cmocka_run_group_tests_name("metric_export", tests, open_log, NULL);
}
