/* The worker with a spool, on real directories; its clock stands still and its transport is a list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <otlp.pb-c.h>

#include "base/mem.h"
#include "base/message.h"
#include "fake_transport.h"
#include "io/export/export_spans.h"
#include "io/export/export_spooling.h"
#include "io/export/export_worker.h"
#include "mem_fault.h"
#include "render/otlp_resource.h"

enum { DELAY_S = 5, TIMEOUT_S = 10, AFTER_S = 5, LOG_BYTES = 1 << 16, PATH_BYTES = 256, NAME = 5 };

static struct world {
    uint64_t now_ns;
    uint64_t random;
    bool has_worker;
    struct export_queue queue;
    struct export_worker worker;
    struct export_service service;
    struct buf resource;
    struct buf scope;
    struct export_spans spans;
    unsigned next_name;           /* spans are named by a number */
    unsigned delivered, given_up; /* of whole requests */
    char parent[PATH_BYTES];
    char path[2 * PATH_BYTES];
    /* What the options are next time. */
    uint64_t batch, max_items, max_bytes, max_files;
    const struct export_signal *signal;
} world;

/* Failures of the disk. */
static bool writes_fail;
static unsigned syncs;

static int log_fd = -1;

static ssize_t try_write(int fd, const void *bytes, size_t len)
{
    errno = ENOSPC;
    return writes_fail ? -1 : write(fd, bytes, len);
}

static int count_sync(int fd)
{
    (void)fd; /* nobody cuts the power */
    syncs++;
    return 0;
}

static const struct spool_calls calls = {try_write, count_sync, renameat};

static uint64_t read_clock(void *ctx)
{
    (void)ctx;
    return world.now_ns;
}

static uint64_t read_random(void *ctx)
{
    (void)ctx;
    return world.random;
}

static uint64_t seconds(uint64_t count)
{
    return count * NS_PER_SECOND;
}

static const struct clock clock_of_world = {read_clock, read_clock, NULL};

/* --- items that are whole requests ------------------------------------------------------------- */

static uint64_t choose_whole(void *ctx, const struct export_item *first, uint64_t most)
{
    (void)ctx;
    (void)first;
    (void)most;
    return 1;
}

static int write_whole(void *ctx, const struct export_item *first, uint64_t count, struct buf *out,
                       struct str *ret_request)
{
    (void)ctx;
    (void)count;
    (void)out;
    *ret_request = (struct str){first->bytes, first->len};
    return 0;
}

static void end_whole(void *ctx, struct export_item *item, const struct export_end *end)
{
    (void)ctx;
    world.delivered += end->is_delivered;
    world.given_up += !end->is_delivered;
    mem_free(item);
}

static const struct export_signal whole_signal = {.name = "metrics",
                                                  .noun = "data points",
                                                  .gone = "were lost",
                                                  .method = "/w",
                                                  .choose = choose_whole,
                                                  .write = write_whole,
                                                  .end = end_whole};

static void add_whole(const char *text, uint64_t weight)
{
    struct export_item *item = export_item_new(NULL, strlen(text));
    assert_non_null(item);
    memcpy(item->bytes, text, strlen(text));
    item->weight = weight;
    export_queue_add(&world.queue, item);
}

/* --- a daemon's life --------------------------------------------------------------------------- */

static void start(void)
{
    struct export_queue_options queue = {.signal = world.signal,
                                         .signal_ctx = &world.spans,
                                         .max_items = world.max_items,
                                         .max_weight = world.max_items,
                                         .max_bytes = 1 << 30,
                                         .batch_items = world.batch,
                                         .clock = clock_of_world};
    struct export_worker_options worker = {.transport = &fake_transport_functions,
                                           .address = "receiver",
                                           .clock = clock_of_world,
                                           .random = read_random,
                                           .batch_items = world.batch,
                                           .delay_ns = seconds(DELAY_S),
                                           .timeout_ns = seconds(TIMEOUT_S),
                                           .spool_after_ns = seconds(AFTER_S),
                                           .max_request_bytes = 4 << 20};
    struct spool_options spool = {.path = world.path,
                                  .signal =
                                      world.signal == &whole_signal ? SPOOL_METRICS : SPOOL_TRACES,
                                  .max_bytes = world.max_bytes,
                                  .max_files = world.max_files,
                                  .calls = &calls};
    assert_int_equal(export_queue_init(&world.queue, &queue), 0);
    export_worker_init(&world.worker, &world.queue, &worker);
    export_spooling_open(&world.worker, &spool);
    world.has_worker = true;
}

/* As a kill -9 would: what is in memory is gone. */
static void end_at_once(void)
{
    export_worker_fini(&world.worker);
    export_queue_fini(&world.queue);
    world.has_worker = false;
}

static int set_up(void **state)
{
    (void)state;
    world = (struct world){.now_ns = seconds(1000),
                           .batch = 2,
                           .max_items = 1000,
                           .max_bytes = 1 << 20,
                           .max_files = 10000,
                           .signal = &export_spans_signal};
    writes_fail = false;
    syncs = 0;
    fake_transport_reset(&world.now_ns);
    struct otlp_resource_options options = {.service_name = STR_LITERAL("own"),
                                            .dwelld_version = STR_LITERAL("1")};
    buf_init(&world.resource, 1 << 16);
    buf_init(&world.scope, 1 << 16);
    otlp_resource_render(&options, (struct str){NULL, 0}, &world.resource);
    otlp_scope_render(STR_LITERAL("1"), &world.scope);
    world.service = (struct export_service){.resource = {world.resource.data, world.resource.len}};
    world.spans = (struct export_spans){.scope = {world.scope.data, world.scope.len},
                                        .max_request_bytes = 4 << 20};
    const char *parent = getenv("TMPDIR");
    (void)snprintf(world.parent, sizeof world.parent, "%s/spooling-XXXXXX",
                   parent == NULL ? "/tmp" : parent);
    if (mkdtemp(world.parent) == NULL || ftruncate(log_fd, 0) != 0 ||
        lseek(log_fd, 0, SEEK_SET) != 0) {
        return -1;
    }
    (void)snprintf(world.path, sizeof world.path, "%s/spool", world.parent);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[2 * PATH_BYTES];
    if (world.has_worker) {
        end_at_once();
    }
    buf_fini(&world.resource);
    buf_fini(&world.scope);
    fake_transport_reset(NULL);
    (void)snprintf(command, sizeof command, "rm -rf '%s'", world.parent);
    return system(command) == 0 && mem_count_live() == 0 ? 0 : -1;
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

static void add(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        char name[16];
        struct buf span;
        buf_init(&span, 64);
        (void)snprintf(name, sizeof name, "%u", world.next_name++);
        message_str(&span, NAME, str_of(name));
        struct export_item *item = export_item_new(&world.service, span.len);
        assert_non_null(item);
        memcpy(item->bytes, span.data, span.len);
        buf_fini(&span);
        export_queue_add(&world.queue, item);
    }
}

/* The account, of which the sum is looked at. */
static struct export_view view(void)
{
    struct export_view view;
    export_queue_view(&world.queue, &view);
    uint64_t dropped = 0;
    for (unsigned i = 0; i < EXPORT_DROP_COUNT; i++) {
        dropped += view.dropped[i];
    }
    assert_int_equal(view.accepted,
                     view.exported + view.waiting + view.in_flight + view.spooled + dropped);
    assert_true(view.waiting + view.in_flight <= view.capacity);
    assert_true(view.spool_files <= world.max_files);
    assert_true(view.spool_bytes <= world.max_bytes);
    assert_int_equal(view.spool_files == 0, view.spool_bytes == 0);
    return view;
}

static uint64_t turn(void)
{
    uint64_t wake_ns;
    assert_true(export_worker_turn(&world.worker, &wake_ns));
    (void)view();
    return wake_ns;
}

/* Turns until a wait. */
static uint64_t settle(void)
{
    uint64_t wake_ns = turn();
    for (unsigned turns = 0; wake_ns <= world.now_ns; turns++) {
        assert_true(turns < 100000);
        wake_ns = turn();
    }
    return wake_ns;
}

/* Turns and moves the clock until then, and no further. */
static void live_until(uint64_t end_ns)
{
    uint64_t wake_ns = settle();
    while (wake_ns < end_ns) {
        world.now_ns = wake_ns;
        wake_ns = settle();
    }
    world.now_ns = end_ns;
}

static void must_end(void)
{
    uint64_t wake_ns;
    unsigned turns = 0;
    while (export_worker_turn(&world.worker, &wake_ns)) {
        assert_true(turns++ < 10000);
        world.now_ns = wake_ns > world.now_ns ? wake_ns : world.now_ns;
    }
    assert_int_equal(view().waiting + view().in_flight, 0);
}

static void stop_within(uint64_t count)
{
    export_queue_stop(&world.queue, world.now_ns + seconds(count));
    must_end();
    end_at_once();
}

static void must_have_calls(unsigned count)
{
    assert_int_equal(fake_transport.call_count, count);
}

/* The names of the spans of a call, as "0,1". */
static void must_send(unsigned call, const char *wanted)
{
    char text[4096] = "";
    size_t len = 0;
    assert_true(call < fake_transport.call_count);
    Otlp__ExportTraceServiceRequest *request = otlp__export_trace_service_request__unpack(
        NULL, fake_transport.calls[call].len, (const uint8_t *)fake_transport.calls[call].body);
    assert_non_null(request);
    assert_int_equal(request->n_resource_spans, 1);
    const Otlp__ScopeSpans *spans = request->resource_spans[0]->scope_spans[0];
    for (size_t i = 0; i < spans->n_spans; i++) {
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s", i == 0 ? "" : ",",
                                spans->spans[i]->name);
    }
    otlp__export_trace_service_request__free_unpacked(request, NULL);
    assert_string_equal(text, wanted);
}

/* What the receiver has taken, each span once and in their order, from this call on. */
static void must_send_all(unsigned call, unsigned first, unsigned count)
{
    for (; count > 0; call++, first += 2, count -= 2) {
        char wanted[32];
        (void)snprintf(wanted, sizeof wanted, "%u,%u", first, first + 1);
        must_send(call, wanted);
    }
    must_have_calls(call);
}

static void go_away(void)
{
    fake_transport.row_count = 0;
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    world.random = NS_PER_SECOND / 4; /* of the waits, all of which are as long */
}

static void come_back(void)
{
    fake_transport.row_count = 0;
}

/* The next rows are for the next calls. */
static void answer_next(void)
{
    go_away();
    while (fake_transport.row_count < fake_transport.call_count) {
        fake_transport_then(TRANSPORT_UNAVAILABLE);
    }
    fake_transport.row_count = fake_transport.call_count;
    world.worker.retry_ns = 0;
}

/* Two spans become a file, and the receiver is away. */
static void fill_one_file(void)
{
    uint64_t before = view().spool_files;
    go_away();
    add(2);
    live_until(world.now_ns + seconds(AFTER_S) + 1);
    assert_int_equal(view().spool_files, before + 1);
    assert_int_equal(view().waiting + view().in_flight, 0);
}

/* --- to the spool, and from there -------------------------------------------------------------- */

static void test_export_spooling_begins_after_its_time(void **state)
{
    (void)state;
    start();
    go_away();
    world.random = seconds(1) - 1; /* waits grow by the doubled ceilings, this is the same */
    uint64_t began = world.now_ns;
    add(2);
    live_until(began + seconds(AFTER_S));
    assert_int_equal(view().in_flight, 2);
    assert_int_equal(view().spooled, 0);
    unsigned tried = fake_transport.call_count;
    assert_true(tried >= 3);
    (void)turn();
    assert_int_equal(view().in_flight, 0);
    assert_int_equal(view().spooled, 2);
    assert_int_equal(view().spool_files, 1);
    assert_int_equal(view().spool_works, 1);
    assert_int_equal(syncs, 2);
    must_log("export to receiver: spans go to the spool");
    must_have_calls(tried);
    come_back();
    world.now_ns += seconds(30);
    (void)settle();
    must_have_calls(tried + 1);
    must_send(tried, "0,1");
    assert_int_equal(view().exported, 2);
    assert_int_equal(view().spool_files, 0);
    must_log("works again");
    must_log("export to receiver: the spool is empty");
}

static void test_export_spooling_is_not_for_a_short_outage(void **state)
{
    (void)state;
    start();
    go_away();
    add(2);
    live_until(world.now_ns + seconds(AFTER_S - 1));
    come_back();
    live_until(world.now_ns + seconds(30)); /* the next call is due before the spool is */
    assert_int_equal(view().exported, 2);
    assert_int_equal(syncs, 0);
}

static void test_export_spooling_at_the_first_failure_if_told(void **state)
{
    (void)state;
    start();
    world.worker.options.spool_after_ns = 0;
    go_away();
    add(2);
    (void)settle();
    must_have_calls(1);
    assert_int_equal(view().spooled, 2);
}

/* Ten minutes without a receiver: nothing is dropped, memory stays small, all of it comes in order. */
static void test_export_spooling_survives_a_receiver_that_is_gone(void **state)
{
    (void)state;
    enum { MINUTES = 10 };
    world.max_items = 20;
    start();
    go_away();
    uint64_t end = world.now_ns + seconds(MINUTES * 60);
    while (world.now_ns < end) {
        add(2);
        live_until(world.now_ns + seconds(1));
        assert_true(view().waiting + view().in_flight <= 12);
    }
    unsigned failed = fake_transport.call_count;
    assert_true(failed >= MINUTES * 2);
    assert_int_equal(view().spooled, world.next_name);
    come_back();
    live_until(world.now_ns + seconds(60));
    assert_int_equal(view().exported, MINUTES * 60 * 2);
    must_send_all(failed, 0, world.next_name);
}

static void test_export_spooling_keeps_the_order(void **state)
{
    (void)state;
    start();
    fill_one_file();
    add(2);
    (void)settle();
    assert_int_equal(view().spool_files, 2);
    add(2); /* waits in memory while the files are sent, and comes after them */
    unsigned failed = fake_transport.call_count;
    come_back();
    world.worker.retry_ns = 0;
    (void)settle();
    must_send_all(failed, 0, 6);
    assert_int_equal(view().exported, 6);
    assert_int_equal(syncs, 2 * 2);
}

/* The receiver is back, but more comes in than it takes: the queue spills before it is full. */
static void test_export_spooling_spills_a_crowded_queue(void **state)
{
    (void)state;
    world.max_items = 20;
    start();
    fill_one_file();
    add(2);
    (void)settle();
    for (unsigned i = 0; i < 50; i++) {
        add(2);
        (void)turn();
    }
    unsigned failed = fake_transport.call_count;
    come_back();
    world.worker.retry_ns = 0;
    unsigned most = 0;
    unsigned before = syncs;
    for (unsigned i = 0; i < 100; i++) {
        add(2);
        (void)turn();
        (void)turn();
        most = view().waiting > most ? (unsigned)view().waiting : most;
    }
    assert_true(most >= 10 && most <= 12);
    assert_true(syncs > before);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], 0);
    live_until(world.now_ns + seconds(60));
    assert_int_equal(view().exported, world.next_name);
    must_send_all(failed, 0, world.next_name);
}

/* A call that takes its whole time: all that came meanwhile is written before the next one. */
static void test_export_spooling_writes_before_it_calls_again(void **state)
{
    (void)state;
    start();
    fill_one_file();
    answer_next();
    fake_transport_then_row(&(struct fake_row){.reply = {.status = TRANSPORT_DEADLINE_EXCEEDED},
                                               .takes_ns = seconds(TIMEOUT_S)});
    world.random = 0; /* the next call is due at once */
    world.now_ns += seconds(30);
    (void)turn();
    unsigned before = fake_transport.call_count;
    add(8);
    world.worker.to_spool = 8;
    for (unsigned i = 0; i < 4; i++) {
        (void)turn();
    }
    must_have_calls(before);
    assert_int_equal(view().spool_files, 5);
    (void)turn();
    must_have_calls(before + 1);
}

/* Nothing is written during a call: it does not last longer than the queue has room for. */
static void test_export_spooling_is_as_patient_as_the_queue(void **state)
{
    (void)state;
    static const struct {
        unsigned per_second;
        uint64_t patience_ms;
    } rows[] = {
        {0, TIMEOUT_S * 1000}, {10, TIMEOUT_S * 1000}, {100, 5000}, {250, 2000}, {900, 1000}};
    start();
    fill_one_file();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world.worker.retry_ns = 0;
        live_until(world.now_ns + seconds(1)); /* a call, after which all begins anew */
        world.worker.retry_ns = world.now_ns + seconds(2);
        (void)settle();
        world.worker.call_ns = world.now_ns;
        unsigned before = fake_transport.call_count;
        add(rows[i].per_second);
        live_until(world.now_ns + seconds(1));
        must_have_calls(before);
        world.worker.retry_ns = 0;
        (void)turn();
        must_have_calls(before + 1);
        assert_int_equal(fake_transport.calls[before].deadline_ns - world.now_ns,
                         rows[i].patience_ms * NS_PER_MS);
    }
    /* All at once, but no more than in a second of the third row. */
    world.worker.call_ns = world.now_ns;
    world.worker.retry_ns = world.now_ns + 1;
    unsigned before = fake_transport.call_count;
    add(100);
    (void)settle();
    world.now_ns++;
    (void)turn();
    must_have_calls(before + 1);
    assert_int_equal(fake_transport.calls[before].deadline_ns - world.now_ns, seconds(5));
}

static void test_export_spooling_comes_back_when_the_receiver_says(void **state)
{
    (void)state;
    start();
    fill_one_file();
    answer_next();
    fake_transport_then_row(&(struct fake_row){.reply = {.status = TRANSPORT_UNAVAILABLE,
                                                         .has_retry_delay = true,
                                                         .retry_delay_ns = seconds(70)}});
    assert_int_equal(settle(), world.now_ns + seconds(70));
    assert_int_equal(view().spooled, 2);
}

/* --- over restarts ----------------------------------------------------------------------------- */

static void test_export_spooling_goes_on_after_a_restart(void **state)
{
    (void)state;
    start();
    fill_one_file();
    add(2);
    (void)settle();
    add(1); /* in memory alone */
    assert_int_equal(view().spooled, 4);
    unsigned failed = fake_transport.call_count;
    end_at_once();

    come_back();
    start();
    assert_int_equal(view().recovered, 4);
    assert_int_equal(view().accepted, 4);
    assert_int_equal(view().spooled, 4);
    assert_int_equal(view().spool_limit_bytes, 1 << 20);
    must_log("2 traces files with 4 spans or points wait to be sent");
    world.next_name = 4;
    add(2);
    (void)settle();
    must_send_all(failed, 0, 6);
    assert_int_equal(view().exported, 6);
    assert_int_equal(view().accepted, 6);
    end_at_once();
    start();
    assert_int_equal(view().accepted, 0);
}

static void test_export_spooling_of_all_at_the_end(void **state)
{
    (void)state;
    start();
    go_away();
    add(7);
    (void)settle();
    export_queue_stop(&world.queue, world.now_ns + seconds(3));
    uint64_t before = world.now_ns;
    must_end();
    assert_int_equal(world.now_ns, before + seconds(3)); /* it tried until then */
    assert_int_equal(view().spooled, 7);
    assert_int_equal(syncs, 0);
    assert_null(strstr(log_text(), "could not be sent"));
    unsigned failed = fake_transport.call_count;
    end_at_once();
    come_back();
    start();
    assert_int_equal(view().recovered, 7);
    (void)settle();
    must_send(failed, "0,1");
    must_send(failed + 1, "2,3,4,5,6");
    assert_int_equal(view().exported, 7);
}

static void test_export_spooling_ends_at_once_when_the_receiver_is_away(void **state)
{
    (void)state;
    start();
    fill_one_file();
    add(3);
    unsigned before_calls = fake_transport.call_count;
    uint64_t before_ns = world.now_ns;
    export_queue_stop(&world.queue, world.now_ns + seconds(100));
    must_end();
    assert_int_equal(world.now_ns, before_ns);
    must_have_calls(before_calls);
    assert_int_equal(view().spooled, 5);
}

static void test_export_spooling_sends_files_at_the_end_while_there_is_time(void **state)
{
    (void)state;
    start();
    fill_one_file();
    stop_within(100);
    come_back();
    start();
    unsigned failed = fake_transport.call_count;
    add(2);
    export_queue_stop(&world.queue, world.now_ns + seconds(100));
    must_end();
    must_send_all(failed, 0, 4);
    assert_int_equal(view().exported, 4);
}

static void test_export_spooling_ends_without_time(void **state)
{
    (void)state;
    start();
    add(5);
    export_queue_stop(&world.queue, world.now_ns);
    must_end();
    must_have_calls(0);
    assert_int_equal(view().spooled, 5);
    assert_int_equal(view().spool_files, 1); /* no reason to cut them into batches */
}

/* --- what the receiver says of a file ---------------------------------------------------------- */

static void test_export_spooling_drops_what_is_refused_for_good(void **state)
{
    (void)state;
    start();
    fill_one_file();
    add(2);
    (void)settle();
    answer_next();
    fake_transport_then(TRANSPORT_INVALID_ARGUMENT);
    fake_transport_then(TRANSPORT_OK);
    (void)settle();
    assert_int_equal(view().dropped[EXPORT_DROP_FAILED], 2);
    assert_int_equal(view().exported, 2);
    assert_int_equal(view().spool_files, 0);
    must_log("; 2 spans were lost");
}

static void test_export_spooling_counts_a_partial_success(void **state)
{
    (void)state;
    start();
    fill_one_file();
    answer_next();
    fake_transport_then_row(&(struct fake_row){.reply = {.rejected = 1, .message = "old"}});
    (void)settle();
    assert_int_equal(view().dropped[EXPORT_DROP_REJECTED], 1);
    assert_int_equal(view().exported, 1);
    must_log("1 of 2 spans were rejected: old");
}

static void test_export_spooling_divides_a_file_that_is_too_large(void **state)
{
    (void)state;
    world.batch = 5;
    start();
    go_away();
    add(5);
    live_until(world.now_ns + seconds(AFTER_S) + 1);
    unsigned failed = fake_transport.call_count;
    answer_next();
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED); /* 5 */
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED); /* 2 */
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED); /* 1: dropped */
    fake_transport_then(TRANSPORT_OK);
    (void)settle();
    must_have_calls(failed + 7);
    must_send(failed, "0,1,2,3,4");
    must_send(failed + 1, "0,1");
    must_send(failed + 2, "0");
    must_send(failed + 3, "1");
    must_send(failed + 6, "4");
    assert_int_equal(view().exported, 4);
    assert_int_equal(view().dropped[EXPORT_DROP_TOO_LARGE], 1);
    assert_int_equal(view().splits, 2);
    assert_int_equal(view().spool_files, 0);
}

/* Which half was sent is not on the disk: after a restart all of the file is. */
static void test_export_spooling_of_a_half_over_a_restart(void **state)
{
    (void)state;
    world.batch = 4;
    start();
    go_away();
    add(4);
    live_until(world.now_ns + seconds(AFTER_S) + 1);
    answer_next();
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED);
    fake_transport_then(TRANSPORT_OK);
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    (void)settle();
    assert_int_equal(view().exported, 2);
    assert_int_equal(view().spooled, 2);
    unsigned failed = fake_transport.call_count;
    must_send(failed - 1, "2,3");
    end_at_once();
    come_back();
    start();
    assert_int_equal(view().recovered, 4);
    (void)settle();
    must_send(failed, "0,1,2,3");
}

static void test_export_spooling_does_not_divide_whole_requests(void **state)
{
    (void)state;
    world.signal = &whole_signal;
    world.batch = 1;
    start();
    go_away();
    add_whole("one request", 9);
    live_until(world.now_ns + seconds(AFTER_S) + 1);
    assert_int_equal(view().spooled, 9);
    assert_int_equal(world.delivered, 1); /* whoever made it need not make it again */
    answer_next();
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED);
    (void)settle();
    assert_int_equal(view().dropped[EXPORT_DROP_TOO_LARGE], 9);
    assert_int_equal(view().splits, 0);
    assert_int_equal(view().spool_files, 0);
}

static void test_export_spooling_of_what_has_a_time(void **state)
{
    (void)state;
    world.signal = &whole_signal;
    world.batch = 1;
    start();
    go_away();
    add_whole("one request", 9);
    add_whole("another one", 4);
    (void)turn();
    export_worker_set_until(&world.worker, world.now_ns + seconds(1));
    world.now_ns += seconds(1);
    (void)turn();
    assert_int_equal(view().spooled, 13);
    assert_int_equal(view().dropped[EXPORT_DROP_TIMEOUT], 0);
    assert_int_equal(world.given_up, 0);
}

/* --- what the disk does ------------------------------------------------------------------------ */

static void test_export_spooling_goes_on_without_a_spool(void **state)
{
    (void)state;
    assert_int_equal(mkdir(world.path, 0700), 0);
    assert_int_equal(chmod(world.path, 0755), 0);
    start();
    must_log("there is no spool");
    must_log("has mode 0755, expected 0700");
    assert_int_equal(view().spool_works, 0);
    assert_int_equal(view().spool_limit_bytes, 1 << 20);
    assert_int_equal(view().spool_failures, 1);
    go_away();
    add(2);
    live_until(world.now_ns + seconds(60));
    assert_int_equal(view().in_flight, 2);
    come_back();
    live_until(world.now_ns + seconds(60));
    assert_int_equal(view().exported, 2);
}

static void test_export_spooling_keeps_in_memory_what_the_disk_refuses(void **state)
{
    (void)state;
    start();
    writes_fail = true;
    go_away();
    add(4);
    live_until(world.now_ns + seconds(60));
    assert_int_equal(view().in_flight, 2);
    assert_int_equal(view().waiting, 2);
    assert_int_equal(view().spool_works, 0);
    uint64_t failures = view().spool_failures;
    assert_true(failures >= 60 / 5 - 2 && failures <= 60 / 5 + 1);
    writes_fail = false;
    live_until(world.now_ns + seconds(6));
    assert_int_equal(view().spooled, 4);
    assert_int_equal(view().spool_works, 1);
    must_log("works again after");
    /* Now with files: what the disk refuses stays in memory, and comes after them. */
    writes_fail = true;
    add(2);
    live_until(world.now_ns + seconds(6));
    assert_int_equal(view().in_flight, 2);
    assert_int_equal(view().spooled, 4);
    unsigned failed = fake_transport.call_count;
    come_back();
    live_until(world.now_ns + seconds(60));
    must_send_all(failed, 0, 6);
    assert_int_equal(view().exported, 6);
}

static void test_export_spooling_says_what_the_disk_refused_at_the_end(void **state)
{
    (void)state;
    start();
    writes_fail = true;
    go_away();
    add(5);
    export_queue_stop(&world.queue, world.now_ns + seconds(3));
    must_end();
    assert_int_equal(view().dropped[EXPORT_DROP_SPOOL_FAILED], 5);
    assert_int_equal(view().dropped[EXPORT_DROP_SHUTDOWN], 0);
    must_log("5 spans could not be sent before the end and are lost");
}

static void test_export_spooling_gives_up_the_oldest(void **state)
{
    (void)state;
    world.max_files = 2;
    start();
    fill_one_file();
    add(4);
    (void)settle();
    assert_int_equal(view().spooled, 4);
    assert_int_equal(view().dropped[EXPORT_DROP_SPOOL_FULL], 2);
    unsigned failed = fake_transport.call_count;
    come_back();
    world.worker.retry_ns = 0;
    (void)settle();
    must_send_all(failed, 2, 4);
    must_log("; 2 spans were lost");
}

/* The oldest file was read and is waiting for its receiver when it is given up. */
static void test_export_spooling_gives_up_the_file_at_hand(void **state)
{
    (void)state;
    world.max_files = 1;
    start();
    fill_one_file();
    world.worker.retry_ns = 0;
    (void)settle(); /* tried */
    add(2);
    (void)settle();
    assert_int_equal(view().dropped[EXPORT_DROP_SPOOL_FULL], 2);
    unsigned failed = fake_transport.call_count;
    come_back();
    world.worker.retry_ns = 0;
    (void)settle();
    must_send_all(failed, 2, 2);
}

static void test_export_spooling_drops_what_is_larger_than_the_spool(void **state)
{
    (void)state;
    start();
    fill_one_file();
    uint64_t size = view().spool_bytes;
    stop_within(1);
    world.max_bytes = size;
    start();
    assert_int_equal(view().spooled, 2);
    stop_within(1);
    world.max_bytes = size - 1;
    start();
    assert_int_equal(view().dropped[EXPORT_DROP_SPOOL_FULL], 2);
    world.next_name = 0;
    go_away();
    add(2);
    live_until(world.now_ns + seconds(AFTER_S) + 1);
    assert_int_equal(view().dropped[EXPORT_DROP_SPOOL_FULL], 4);
    assert_int_equal(view().spool_files, 0);
}

static void test_export_spooling_goes_on_after_a_damaged_file(void **state)
{
    (void)state;
    char path[3 * PATH_BYTES];
    start();
    fill_one_file();
    add(2);
    (void)settle();
    (void)snprintf(path, sizeof path, "%s/000000000000000001.traces", world.path);
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    assert_int_equal(fseek(file, SPOOL_HEADER_BYTES + 20, SEEK_SET), 0);
    assert_int_equal(fputc('X', file), 'X');
    assert_int_equal(fclose(file), 0);
    end_at_once();
    come_back();
    unsigned failed = fake_transport.call_count;
    start();
    assert_int_equal(view().recovered, 4);
    (void)settle();
    must_send_all(failed, 2, 2);
    assert_int_equal(view().dropped[EXPORT_DROP_DAMAGED], 2);
    assert_int_equal(view().spool_damaged_files, 1);
    assert_int_equal(view().exported, 2);
}

static void test_export_spooling_goes_on_after_a_vanished_file(void **state)
{
    (void)state;
    char path[3 * PATH_BYTES];
    start();
    fill_one_file();
    stop_within(1);
    start();
    (void)snprintf(path, sizeof path, "%s/000000000000000001.traces", world.path);
    assert_int_equal(unlink(path), 0);
    (void)settle();
    assert_int_equal(view().dropped[EXPORT_DROP_SPOOL_FAILED], 2);
    assert_int_equal(view().spooled, 0);
}

static void test_export_spooling_waits_for_memory(void **state)
{
    (void)state;
    start();
    fill_one_file();
    stop_within(1);
    come_back();
    start();
    unsigned before = fake_transport.call_count;
    mem_fail_after(1);
    uint64_t wake_ns = settle();
    assert_true(mem_has_failed());
    assert_true(wake_ns > world.now_ns && wake_ns < UINT64_MAX);
    must_have_calls(before);
    assert_int_equal(view().spooled, 2);
    live_until(world.now_ns + seconds(10));
    assert_int_equal(view().exported, 2);
}

static int open_log(void **state)
{
    (void)state;
    log_fd = memfd_create("log", MFD_CLOEXEC);
    if (log_fd < 0) {
        return -1;
    }
    log_init(&(struct log_options){
        .fd = log_fd, .level = LOG_LEVEL_INFO, .hash = "h", .clock = clock_of_world});
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_export_spooling_begins_after_its_time),
        TEST(test_export_spooling_is_not_for_a_short_outage),
        TEST(test_export_spooling_at_the_first_failure_if_told),
        TEST(test_export_spooling_survives_a_receiver_that_is_gone),
        TEST(test_export_spooling_keeps_the_order),
        TEST(test_export_spooling_spills_a_crowded_queue),
        TEST(test_export_spooling_writes_before_it_calls_again),
        TEST(test_export_spooling_is_as_patient_as_the_queue),
        TEST(test_export_spooling_comes_back_when_the_receiver_says),
        TEST(test_export_spooling_goes_on_after_a_restart),
        TEST(test_export_spooling_of_all_at_the_end),
        TEST(test_export_spooling_ends_at_once_when_the_receiver_is_away),
        TEST(test_export_spooling_sends_files_at_the_end_while_there_is_time),
        TEST(test_export_spooling_ends_without_time),
        TEST(test_export_spooling_drops_what_is_refused_for_good),
        TEST(test_export_spooling_counts_a_partial_success),
        TEST(test_export_spooling_divides_a_file_that_is_too_large),
        TEST(test_export_spooling_of_a_half_over_a_restart),
        TEST(test_export_spooling_does_not_divide_whole_requests),
        TEST(test_export_spooling_of_what_has_a_time),
        TEST(test_export_spooling_goes_on_without_a_spool),
        TEST(test_export_spooling_keeps_in_memory_what_the_disk_refuses),
        TEST(test_export_spooling_says_what_the_disk_refused_at_the_end),
        TEST(test_export_spooling_gives_up_the_oldest),
        TEST(test_export_spooling_gives_up_the_file_at_hand),
        TEST(test_export_spooling_drops_what_is_larger_than_the_spool),
        TEST(test_export_spooling_goes_on_after_a_damaged_file),
        TEST(test_export_spooling_goes_on_after_a_vanished_file),
        TEST(test_export_spooling_waits_for_memory),
    };
    return cmocka_run_group_tests(tests, open_log, NULL);
}
