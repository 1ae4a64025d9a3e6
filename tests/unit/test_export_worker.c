/* The worker turned by hand, with a clock that stands still and a transport that is a list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <otlp.pb-c.h>

#include "base/mem.h"
#include "fake_transport.h"
#include "io/export/export_spans.h"
#include "io/export/export_worker.h"
#include "mem_fault.h"
#include "render/otlp_resource.h"

enum { DELAY_S = 5, TIMEOUT_S = 10, SERVICES = 3, LOG_BYTES = 1 << 16 };

static struct world {
    uint64_t now_ns;
    uint64_t random;
    struct export_queue queue;
    struct export_worker worker;
    struct export_service services[SERVICES];
    struct buf resources[SERVICES];
    struct buf scope;
    struct export_spans spans;
    unsigned next_name;           /* spans are named by a number */
    unsigned delivered, given_up; /* of whole requests */
    enum export_drop reason;      /* of the last one that was given up */
} world;

static int log_fd = -1;

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

static void make_services(void)
{
    static const char *const names[SERVICES] = {"own", "one", "two"};
    for (unsigned i = 0; i < SERVICES; i++) {
        struct otlp_resource_options options = {.service_name = str_of(names[i]),
                                                .dwelld_version = STR_LITERAL("1")};
        buf_init(&world.resources[i], 1 << 16);
        otlp_resource_render(&options, (struct str){NULL, 0}, &world.resources[i]);
        world.services[i] =
            (struct export_service){.index = i,
                                    .name = str_of(names[i]),
                                    .resource = {world.resources[i].data, world.resources[i].len}};
    }
    buf_init(&world.scope, 1 << 16);
    otlp_scope_render(STR_LITERAL("1"), &world.scope);
}

struct how {
    uint64_t batch, max_items, max_bytes, max_request, retry_timeout_s;
    bool whole; /* items are whole requests, not spans */
};

/* --- items that are whole requests ------------------------------------------------------------- */

static uint64_t choose_whole(void *ctx, const struct export_item *first, uint64_t most)
{
    assert_ptr_equal(ctx, &world);
    assert_non_null(first);
    assert_true(most > 0);
    return 1;
}

static int write_whole(void *ctx, const struct export_item *first, uint64_t count, struct buf *out,
                       struct str *ret_request)
{
    assert_ptr_equal(ctx, &world);
    assert_int_equal(count, 1);
    assert_int_equal(out->len, 0);
    *ret_request = (struct str){first->bytes, first->len};
    return 0;
}

static void end_whole(void *ctx, struct export_item *item, const struct export_end *end)
{
    assert_ptr_equal(ctx, &world);
    world.delivered += end->is_delivered;
    world.given_up += !end->is_delivered;
    world.reason = end->reason;
    mem_free(item);
}

static const struct export_signal whole_signal = {.name = "metrics",
                                                  .noun = "data points",
                                                  .gone = "were given up",
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

static void open_world(const struct how *how)
{
    world = (struct world){.now_ns = seconds(1000)};
    fake_transport_reset(&world.now_ns);
    make_services();
    uint64_t batch = how->batch == 0 ? 512 : how->batch;
    uint64_t max_request = how->max_request == 0 ? 4 << 20 : how->max_request;
    world.spans = (struct export_spans){.scope = {world.scope.data, world.scope.len},
                                        .max_request_bytes = max_request};
    struct export_queue_options queue = {
        .signal = how->whole ? &whole_signal : &export_spans_signal,
        .signal_ctx = how->whole ? (void *)&world : &world.spans,
        .max_items = UINT64_MAX,
        .max_weight = how->max_items == 0 ? 10000 : how->max_items,
        .max_bytes = how->max_bytes == 0 ? 1 << 30 : how->max_bytes,
        .batch_items = batch,
        .clock = clock_of_world};
    assert_int_equal(export_queue_init(&world.queue, &queue), 0);
    struct export_worker_options worker = {.transport = &fake_transport_functions,
                                           .address = "receiver",
                                           .clock = clock_of_world,
                                           .random = read_random,
                                           .batch_items = batch,
                                           .delay_ns = seconds(DELAY_S),
                                           .timeout_ns = seconds(TIMEOUT_S),
                                           .retry_timeout_ns = seconds(how->retry_timeout_s),
                                           .max_request_bytes = max_request};
    export_worker_init(&world.worker, &world.queue, &worker);
    assert_int_equal(ftruncate(log_fd, 0), 0);
    assert_int_equal(lseek(log_fd, 0, SEEK_SET), 0);
}

static void close_world(void)
{
    export_worker_fini(&world.worker);
    export_queue_fini(&world.queue);
    for (unsigned i = 0; i < SERVICES; i++) {
        buf_fini(&world.resources[i]);
    }
    buf_fini(&world.scope);
    fake_transport_reset(NULL);
    assert_int_equal(mem_count_live(), 0);
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

/* A span of `len` bytes in all, at least 8, with a number for its name. */
static void add_long(unsigned service, size_t len)
{
    struct export_item *item = export_item_new(&world.services[service], len);
    assert_non_null(item);
    memset(item->bytes, '.', len);
    char head[16];
    size_t rest = len - 2 < 128 ? len - 2 : len - 3; /* tag and length of one or two bytes */
    assert_true(rest < 16384);
    item->bytes[0] = 5 << 3 | 2;
    item->bytes[1] = (char)(rest < 128 ? rest : rest % 128 | 128);
    if (rest >= 128) {
        item->bytes[2] = (char)(rest / 128);
    }
    int digits = snprintf(head, sizeof head, "%u", world.next_name++);
    memcpy(item->bytes + len - rest, head, (size_t)digits);
    export_queue_add(&world.queue, item);
}

static void add(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        add_long(0, 20);
    }
}

static struct export_view view(void)
{
    struct export_view view;
    export_queue_view(&world.queue, &view);
    uint64_t dropped = 0;
    for (unsigned i = 0; i < EXPORT_DROP_COUNT; i++) {
        dropped += view.dropped[i];
    }
    assert_int_equal(view.accepted, view.exported + view.waiting + view.in_flight + dropped);
    assert_true(view.waiting + view.in_flight <= view.capacity);
    assert_true(view.bytes <= view.capacity_bytes);
    assert_true(view.waiting + view.in_flight > 0 || view.bytes == 0);
    return view;
}

/* One turn, which goes on and says when the next one is due. */
static uint64_t turn(void)
{
    uint64_t wake_ns;
    assert_true(export_worker_turn(&world.worker, &wake_ns));
    (void)view();
    return wake_ns;
}

/* Turns until a wait; the clock stands still but for what calls take. */
static uint64_t settle(void)
{
    uint64_t wake_ns = turn();
    while (wake_ns <= world.now_ns) {
        wake_ns = turn();
    }
    return wake_ns;
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

static void must_have_calls(unsigned count)
{
    assert_int_equal(fake_transport.call_count, count);
}

/* The spans of a call, by the number that is their name, as "own:0,1 one:2". */
static const char *spans_of(unsigned call)
{
    static char text[1 << 16];
    size_t len = 0;
    assert_true(call < fake_transport.call_count);
    Otlp__ExportTraceServiceRequest *request = otlp__export_trace_service_request__unpack(
        NULL, fake_transport.calls[call].len, (const uint8_t *)fake_transport.calls[call].body);
    assert_non_null(request);
    for (size_t i = 0; i < request->n_resource_spans; i++) {
        const Otlp__ResourceSpans *group = request->resource_spans[i];
        assert_int_equal(group->n_scope_spans, 1);
        assert_string_equal(group->resource->attributes[0]->key, "service.name");
        len += (size_t)snprintf(text + len, sizeof text - len, "%s%s:", i == 0 ? "" : " ",
                                group->resource->attributes[0]->value->string_value);
        for (size_t j = 0; j < group->scope_spans[0]->n_spans; j++) {
            const char *name = group->scope_spans[0]->spans[j]->name;
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%.*s", j == 0 ? "" : ",",
                                    (int)strspn(name, "0123456789"), name);
        }
    }
    otlp__export_trace_service_request__free_unpacked(request, NULL);
    return text;
}

/* --- batches ----------------------------------------------------------------------------------- */

static void test_export_worker_sends_when_the_delay_is_over(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    assert_int_equal(turn(), UINT64_MAX);
    add(2);
    uint64_t due = world.now_ns + seconds(DELAY_S);
    assert_int_equal(turn(), due);
    world.now_ns = due - 1;
    add(1);
    assert_int_equal(turn(), due);
    must_have_calls(0);
    world.now_ns = due;
    assert_int_equal(settle(), UINT64_MAX);
    must_have_calls(1);
    assert_string_equal(spans_of(0), "own:0,1,2");
    assert_int_equal(fake_transport.calls[0].deadline_ns, due + seconds(TIMEOUT_S));
    assert_int_equal(view().exported, 3);
    close_world();
}

static void test_export_worker_sends_a_full_batch_at_once(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 4});
    add(3);
    (void)settle();
    must_have_calls(0);
    add(6);
    assert_int_equal(settle(), world.now_ns + seconds(DELAY_S));
    must_have_calls(2);
    assert_string_equal(spans_of(0), "own:0,1,2,3");
    assert_string_equal(spans_of(1), "own:4,5,6,7");
    assert_int_equal(view().waiting, 1);
    close_world();
}

static void test_export_worker_sends_each_span_alone_if_told(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 1});
    add(2);
    assert_int_equal(settle(), UINT64_MAX);
    must_have_calls(2);
    assert_string_equal(spans_of(1), "own:1");
    close_world();
}

static void test_export_worker_groups_by_service(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 5});
    static const unsigned services[] = {1, 0, 2, 1, 1};
    for (size_t i = 0; i < 5; i++) {
        add_long(services[i], 20);
    }
    (void)settle();
    assert_string_equal(spans_of(0), "own:1 one:0,3,4 two:2");
    close_world();
}

/* --- the ceiling of a request ------------------------------------------------------------------ */

/* Bytes of a request of so many spans of 20 bytes. */
static size_t size_of(unsigned spans)
{
    open_world(&(struct how){.batch = spans});
    add(spans);
    (void)settle();
    must_have_calls(1);
    size_t len = fake_transport.calls[0].len;
    close_world();
    return len;
}

static void test_export_worker_fills_a_request_to_its_last_byte(void **state)
{
    (void)state;
    size_t exact = size_of(300);
    size_t one = size_of(1);
    open_world(&(struct how){.batch = 300, .max_request = exact});
    add(300);
    (void)settle();
    must_have_calls(1);
    assert_int_equal(fake_transport.calls[0].len, exact);
    close_world();

    open_world(&(struct how){.batch = 300, .max_request = exact - 1});
    add(300);
    (void)settle();
    must_have_calls(2);
    assert_int_equal(fake_transport.calls[1].len, one);
    assert_int_equal(fake_transport.calls[0].len + 22, exact); /* tag, length, 20 bytes */
    assert_int_equal(view().exported, 300);
    assert_int_equal(view().splits, 0); /* nobody refused anything */
    close_world();
}

static void test_export_worker_drops_a_span_that_fits_no_request(void **state)
{
    (void)state;
    size_t exact = size_of(1);
    open_world(&(struct how){.batch = 3, .max_request = exact});
    add_long(0, 20);
    add_long(0, 21);
    add_long(0, 20);
    (void)settle();
    must_have_calls(2);
    assert_string_equal(spans_of(1), "own:2");
    assert_int_equal(view().exported, 2);
    assert_int_equal(view().dropped[EXPORT_DROP_TOO_LARGE], 1);
    close_world();
}

static void test_export_worker_halves_what_the_receiver_finds_too_large(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 5});
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED); /* 5 */
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED); /* 2 */
    fake_transport_then(TRANSPORT_RESOURCE_EXHAUSTED); /* 1: dropped */
    fake_transport_then(TRANSPORT_OK);
    add(5);
    (void)settle();
    must_have_calls(7);
    assert_string_equal(spans_of(1), "own:0,1");
    assert_string_equal(spans_of(2), "own:0");
    assert_string_equal(spans_of(3), "own:1");
    assert_string_equal(spans_of(6), "own:4");
    assert_int_equal(view().exported, 4);
    assert_int_equal(view().dropped[EXPORT_DROP_TOO_LARGE], 1);
    assert_int_equal(view().splits, 2);
    assert_int_equal(view().failures, 3);
    /* The next batch is tried whole. */
    add(5);
    (void)settle();
    must_have_calls(8);
    close_world();
}

static void test_export_worker_gives_back_the_memory_of_a_long_request(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 64});
    for (unsigned i = 0; i < 64; i++) {
        add_long(0, 16000);
    }
    (void)settle();
    must_have_calls(1);
    assert_int_equal(world.worker.written.cap, 0);
    add(64);
    (void)settle();
    assert_true(world.worker.written.cap > 0);
    close_world();
}

/* --- failures ---------------------------------------------------------------------------------- */

static void test_export_worker_sends_the_same_again(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 3});
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    fake_transport_then(TRANSPORT_OK);
    world.random = NS_PER_SECOND / 2;
    add(3);
    uint64_t due = settle();
    assert_int_equal(due, world.now_ns + NS_PER_SECOND / 2);
    assert_int_equal(view().in_flight, 3);
    world.now_ns = due - 1;
    assert_int_equal(turn(), due);
    must_have_calls(1);
    world.now_ns = due;
    world.random = seconds(2);
    due = settle();
    assert_int_equal(due, world.now_ns + seconds(2)); /* the ceiling has doubled */
    world.now_ns = due;
    assert_int_equal(settle(), UINT64_MAX);
    must_have_calls(3);
    assert_int_equal(fake_transport.calls[0].len, fake_transport.calls[2].len);
    assert_memory_equal(fake_transport.calls[0].body, fake_transport.calls[2].body,
                        fake_transport.calls[0].len);
    assert_int_equal(view().exported, 3);
    assert_int_equal(view().retries, 2);
    assert_int_equal(view().failures, 2);
    must_log("export to receiver: UNAVAILABLE: ; 3 spans will be sent again");
    must_log("works again after 2 failed calls; 0 spans were lost");
    close_world();
}

static void test_export_worker_comes_back_when_the_receiver_says(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 1});
    fake_transport_then_row(&(struct fake_row){.reply = {.status = TRANSPORT_RESOURCE_EXHAUSTED,
                                                         .has_retry_delay = true,
                                                         .retry_delay_ns = seconds(17)}});
    fake_transport_then(TRANSPORT_OK);
    add(1);
    assert_int_equal(settle(), world.now_ns + seconds(17));
    world.now_ns += seconds(17);
    (void)settle();
    assert_int_equal(view().exported, 1);
    close_world();
}

/* Ten minutes without a receiver: the batch in flight is kept, the queue is full, what is new is
 * dropped, memory stays where it is; then all that was kept goes out. */
static void test_export_worker_survives_a_receiver_that_is_gone(void **state)
{
    (void)state;
    enum { ITEMS = 1000, BATCH = 100, MINUTES = 10 };
    open_world(&(struct how){.batch = BATCH, .max_items = ITEMS});
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    uint64_t end = world.now_ns + seconds(MINUTES * 60);
    size_t most = 0;
    unsigned added = 0;
    world.random = UINT64_C(0x123456789ABCDEF);
    while (world.now_ns < end) {
        world.random = world.random * 6364136223846793005U + 1;
        add(10);
        added += 10;
        (void)turn();
        world.now_ns += NS_PER_SECOND;
        if (added >= ITEMS) {
            most = most == 0 ? mem_count_live() : most;
            assert_true(mem_count_live() <= most);
        }
    }
    assert_true(view().in_flight > 0);
    assert_int_equal(view().in_flight + view().waiting, ITEMS);
    assert_int_equal(view().dropped[EXPORT_DROP_QUEUE_FULL], added - ITEMS);
    unsigned failed = fake_transport.call_count;
    assert_true(failed > 20 && failed < 600);
    must_log("the queue is full, new spans are dropped");
    fake_transport.row_count = 0; /* it is back */
    world.now_ns += seconds(30);
    world.now_ns = settle(); /* the last one is not full */
    (void)settle();
    assert_int_equal(view().exported, ITEMS);
    assert_memory_equal(fake_transport.calls[0].body, fake_transport.calls[failed].body,
                        fake_transport.calls[0].len);
    char line[200];
    (void)snprintf(line, sizeof line, "works again after %u failed calls; %u spans were lost",
                   failed, added - ITEMS);
    must_log(line);
    close_world();
}

static void test_export_worker_gives_a_batch_up_after_its_time(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 2, .retry_timeout_s = 20});
    fake_transport_then_row(&(struct fake_row){.reply = {.status = TRANSPORT_DEADLINE_EXCEEDED},
                                               .takes_ns = seconds(TIMEOUT_S)});
    add(2);
    world.random = 0;
    uint64_t began = world.now_ns;
    (void)turn(); /* 10 s */
    assert_int_equal(view().in_flight, 2);
    (void)turn(); /* 20 s: no time is left */
    assert_int_equal(world.now_ns - began, seconds(20));
    assert_int_equal(view().dropped[EXPORT_DROP_TIMEOUT], 2);
    must_have_calls(2);
    /* The next one has its own time. */
    add(2);
    (void)turn();
    assert_int_equal(view().in_flight, 2);
    close_world();
}

static void test_export_worker_drops_what_is_refused_for_good(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 2});
    fake_transport_then(TRANSPORT_UNAUTHENTICATED);
    fake_transport_then(TRANSPORT_OK);
    add(4);
    (void)settle();
    must_have_calls(2);
    assert_int_equal(view().dropped[EXPORT_DROP_FAILED], 2);
    assert_int_equal(view().exported, 2);
    must_log("UNAUTHENTICATED: ; 2 spans are dropped");
    must_log("works again after 1 failed calls; 2 spans were lost");
    close_world();
}

static void test_export_worker_never_repeats_a_partial_success(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 3});
    fake_transport_then_row(
        &(struct fake_row){.reply = {.rejected = 2, .message = "no such \n tenant"}});
    fake_transport_then_row(&(struct fake_row){.reply = {.rejected = UINT64_MAX}});
    fake_transport_then_row(&(struct fake_row){.reply = {.message = "slow down"}});
    fake_transport_then_row(&(struct fake_row){.reply = {.is_garbled = true}});
    add(3);
    (void)settle();
    assert_int_equal(view().exported, 1);
    assert_int_equal(view().dropped[EXPORT_DROP_REJECTED], 2);
    must_log("2 of 3 spans were rejected: no such \\n tenant");
    add(3);
    (void)settle();
    assert_int_equal(view().exported, 1);
    assert_int_equal(view().dropped[EXPORT_DROP_REJECTED], 5);
    add(3);
    (void)settle();
    assert_int_equal(view().exported, 4);
    must_log("the receiver remarks: slow down");
    add(3);
    (void)settle();
    assert_int_equal(view().exported, 7);
    assert_int_equal(view().garbled, 1);
    assert_int_equal(view().failures, 0);
    must_have_calls(4);
    close_world();
}

static void test_export_worker_drops_a_part_without_memory(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 2});
    add(2);
    mem_fail_after(1);
    (void)settle();
    assert_true(mem_has_failed());
    must_have_calls(0);
    assert_int_equal(view().dropped[EXPORT_DROP_OUT_OF_MEMORY], 2);
    add(2);
    (void)settle();
    assert_int_equal(view().exported, 2);
    close_world();
}

static void test_export_worker_logs_few_lines_of_a_long_failure(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 1, .max_items = 1000});
    fake_transport_then(TRANSPORT_INTERNAL);
    add(500);
    (void)settle();
    must_have_calls(500);
    unsigned lines = 0;
    for (const char *at = log_text(); (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_true(lines > 0 && lines <= 5);
    close_world();
}

/* --- the end ----------------------------------------------------------------------------------- */

static void test_export_worker_sends_everything_before_the_end(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 4});
    add(11);
    (void)settle();
    must_have_calls(2);
    export_queue_stop(&world.queue, world.now_ns + seconds(3));
    must_end();
    must_have_calls(3);
    assert_string_equal(spans_of(2), "own:8,9,10");
    assert_int_equal(fake_transport.calls[2].deadline_ns, seconds(1003)); /* not its usual 10 s */
    assert_int_equal(view().exported, 11);
    close_world();
}

static void test_export_worker_ends_at_once_without_work(void **state)
{
    (void)state;
    open_world(&(struct how){0});
    (void)settle();
    export_queue_stop(&world.queue, world.now_ns + seconds(3));
    uint64_t wake_ns;
    assert_false(export_worker_turn(&world.worker, &wake_ns));
    close_world();
}

static void test_export_worker_does_not_wait_out_a_retry_at_the_end(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 2});
    fake_transport_then_row(&(struct fake_row){.reply = {.status = TRANSPORT_UNAVAILABLE,
                                                         .has_retry_delay = true,
                                                         .retry_delay_ns = seconds(200)}});
    fake_transport_then(TRANSPORT_OK);
    add(2);
    assert_int_equal(settle(), world.now_ns + seconds(200));
    export_queue_stop(&world.queue, world.now_ns + seconds(3));
    uint64_t before = world.now_ns;
    must_end();
    assert_int_equal(world.now_ns, before);
    assert_int_equal(view().exported, 2);
    close_world();
}

static void test_export_worker_says_what_it_could_not_send(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 2});
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    world.random = NS_PER_SECOND;
    add(7);
    (void)settle();
    export_queue_stop(&world.queue, world.now_ns + seconds(3));
    uint64_t before = world.now_ns;
    must_end();
    assert_int_equal(world.now_ns, before + seconds(3)); /* it tried until then, and no longer */
    assert_true(fake_transport.call_count > 2);
    assert_int_equal(view().dropped[EXPORT_DROP_SHUTDOWN], 7);
    must_log("7 spans could not be sent before the end and are lost");
    close_world();
}

/* However long it would have waited by now. */
static void test_export_worker_tries_soon_again_at_the_end(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 2});
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    world.random = seconds(29);
    add(2);
    for (int i = 0; i < 10; i++) {
        world.now_ns = settle();
    }
    unsigned before = fake_transport.call_count;
    export_queue_stop(&world.queue, world.now_ns + seconds(9));
    must_end();
    assert_true(fake_transport.call_count >= before + 3);
    assert_int_equal(view().retries, fake_transport.call_count - 1);
    close_world();
}

/* What ended the call is the end itself: no failure of the receiver's. */
static void test_export_worker_blames_nobody_for_the_end(void **state)
{
    (void)state;
    static const enum transport_status statuses[] = {TRANSPORT_CANCELLED,
                                                     TRANSPORT_DEADLINE_EXCEEDED};
    for (size_t i = 0; i < 2; i++) {
        open_world(&(struct how){.batch = 2});
        fake_transport_then_row(
            &(struct fake_row){.reply = {.status = statuses[i]}, .takes_ns = seconds(3)});
        add(3);
        export_queue_stop(&world.queue, world.now_ns + seconds(3));
        must_end();
        must_have_calls(1);
        must_log("3 spans could not be sent before the end");
        assert_null(strstr(log_text(), "will be sent again"));
        close_world();
    }
}

static void test_export_worker_ends_when_the_time_is_over(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 2});
    add(5);
    export_queue_stop(&world.queue, world.now_ns);
    must_end();
    must_have_calls(0);
    assert_int_equal(view().dropped[EXPORT_DROP_SHUTDOWN], 5);
    close_world();
}

/* --- items that are whole requests ------------------------------------------------------------- */

static void must_send(unsigned call, const char *text)
{
    assert_true(call < fake_transport.call_count);
    assert_int_equal(fake_transport.calls[call].len, strlen(text));
    assert_memory_equal(fake_transport.calls[call].body, text, strlen(text));
}

static void test_export_worker_sends_whole_requests_by_weight(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 3, .whole = true});
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    fake_transport_then(TRANSPORT_OK);
    fake_transport_then_row(&(struct fake_row){.reply = {.rejected = 30, .message = "old"}});
    fake_transport_then_row(&(struct fake_row){.reply = {.rejected = 101, .message = "more"}});
    add_whole("one", 5);
    add_whole("two", 70);
    add_whole("three", 100);
    world.random = 1;
    world.now_ns = settle();
    assert_int_equal(view().in_flight, 175);
    (void)settle();
    must_have_calls(4);
    must_send(0, "one");
    must_send(1, "one");
    must_send(2, "two");
    must_send(3, "three");
    assert_int_equal(view().exported, 5 + 40);
    assert_int_equal(view().dropped[EXPORT_DROP_REJECTED], 30 + 100);
    assert_int_equal(world.delivered, 3);
    assert_int_equal(world.given_up, 0);
    must_log("UNAVAILABLE: ; 5 data points will be sent again");
    must_log("works again after 1 failed calls; 0 data points were given up");
    must_log("30 of 70 data points were rejected: old");
    close_world();
}

/* A whole request is not cut in two; its owner is told why it was given up. */
static void test_export_worker_tells_the_owner_of_an_end(void **state)
{
    (void)state;
    static const struct {
        enum transport_status status;
        enum export_drop reason;
    } rows[] = {{TRANSPORT_RESOURCE_EXHAUSTED, EXPORT_DROP_TOO_LARGE},
                {TRANSPORT_INTERNAL, EXPORT_DROP_FAILED}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        open_world(&(struct how){.batch = 2, .whole = true});
        fake_transport_then(rows[i].status);
        fake_transport_then(TRANSPORT_OK);
        add_whole("one", 9);
        add_whole("two", 4);
        (void)settle();
        must_have_calls(2);
        assert_int_equal(world.delivered, 1);
        assert_int_equal(world.given_up, 1);
        assert_int_equal(view().exported, 4);
        assert_int_equal(view().dropped[rows[i].reason], 9);
        assert_int_equal(view().splits, 0);
        must_log("9 data points are dropped");
        close_world();
    }
    open_world(&(struct how){.batch = 2, .whole = true});
    add_whole("one", 9);
    add_whole("two", 4);
    add_whole("three", 2);
    export_queue_stop(&world.queue, world.now_ns);
    must_end();
    assert_int_equal(world.given_up, 3);
    assert_int_equal(world.reason, EXPORT_DROP_SHUTDOWN);
    must_log("15 data points could not be sent before the end and are lost");
    close_world();
}

/* At the time that was set all that is left is given up, and no call lasts longer. */
static void test_export_worker_gives_up_at_a_time(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 1, .whole = true});
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    add_whole("one", 9);
    add_whole("two", 4);
    world.random = NS_PER_SECOND;
    uint64_t until = world.now_ns + seconds(4);
    export_worker_set_until(&world.worker, until);
    assert_true(!export_worker_is_idle(&world.worker));
    assert_false(export_worker_is_held_up(&world.worker));
    uint64_t due = settle();
    assert_true(export_worker_is_held_up(&world.worker));
    assert_true(due < until);
    assert_int_equal(fake_transport.calls[0].deadline_ns, until); /* not its usual 10 s */
    world.now_ns = until - 1;
    (void)turn(); /* no wait fits any more */
    assert_int_equal(view().dropped[EXPORT_DROP_TIMEOUT], 9);
    assert_int_equal(view().waiting, 4);
    unsigned calls = fake_transport.call_count;
    world.now_ns = until;
    assert_int_equal(settle(), UINT64_MAX);
    must_have_calls(calls);
    assert_int_equal(view().dropped[EXPORT_DROP_TIMEOUT], 13);
    assert_int_equal(world.given_up, 2);
    must_log("its time is over; 4 data points are dropped");
    assert_true(export_worker_is_idle(&world.worker));
    fake_transport.row_count = 0;
    add_whole("three", 1); /* has no such time */
    (void)settle();
    must_log("works again after 2 failed calls; 13 data points were given up");
    close_world();
}

static void test_export_worker_drops_what_gives_way(void **state)
{
    (void)state;
    open_world(&(struct how){.batch = 1, .whole = true});
    assert_int_equal(export_worker_drop(&world.worker, EXPORT_DROP_REPLACED), 0);
    fake_transport_then(TRANSPORT_UNAVAILABLE);
    add_whole("one", 9);
    add_whole("two", 4);
    world.random = NS_PER_SECOND;
    (void)settle();
    assert_int_equal(export_worker_drop(&world.worker, EXPORT_DROP_REPLACED), 13);
    assert_int_equal(view().dropped[EXPORT_DROP_REPLACED], 13);
    assert_int_equal(world.reason, EXPORT_DROP_REPLACED);
    assert_int_equal(view().waiting + view().in_flight, 0);
    fake_transport.row_count = 0;
    add_whole("three", 5); /* is not made to wait for what was there before */
    (void)settle();
    must_send(1, "three");
    close_world();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_worker_sends_when_the_delay_is_over),
        cmocka_unit_test(test_export_worker_sends_a_full_batch_at_once),
        cmocka_unit_test(test_export_worker_sends_each_span_alone_if_told),
        cmocka_unit_test(test_export_worker_groups_by_service),
        cmocka_unit_test(test_export_worker_fills_a_request_to_its_last_byte),
        cmocka_unit_test(test_export_worker_drops_a_span_that_fits_no_request),
        cmocka_unit_test(test_export_worker_halves_what_the_receiver_finds_too_large),
        cmocka_unit_test(test_export_worker_gives_back_the_memory_of_a_long_request),
        cmocka_unit_test(test_export_worker_sends_the_same_again),
        cmocka_unit_test(test_export_worker_comes_back_when_the_receiver_says),
        cmocka_unit_test(test_export_worker_survives_a_receiver_that_is_gone),
        cmocka_unit_test(test_export_worker_gives_a_batch_up_after_its_time),
        cmocka_unit_test(test_export_worker_drops_what_is_refused_for_good),
        cmocka_unit_test(test_export_worker_never_repeats_a_partial_success),
        cmocka_unit_test(test_export_worker_drops_a_part_without_memory),
        cmocka_unit_test(test_export_worker_logs_few_lines_of_a_long_failure),
        cmocka_unit_test(test_export_worker_sends_everything_before_the_end),
        cmocka_unit_test(test_export_worker_ends_at_once_without_work),
        cmocka_unit_test(test_export_worker_does_not_wait_out_a_retry_at_the_end),
        cmocka_unit_test(test_export_worker_says_what_it_could_not_send),
        cmocka_unit_test(test_export_worker_tries_soon_again_at_the_end),
        cmocka_unit_test(test_export_worker_blames_nobody_for_the_end),
        cmocka_unit_test(test_export_worker_ends_when_the_time_is_over),
        cmocka_unit_test(test_export_worker_sends_whole_requests_by_weight),
        cmocka_unit_test(test_export_worker_tells_the_owner_of_an_end),
        cmocka_unit_test(test_export_worker_gives_up_at_a_time),
        cmocka_unit_test(test_export_worker_drops_what_gives_way),
    };
    return cmocka_run_group_tests(tests, open_log, NULL);
}
