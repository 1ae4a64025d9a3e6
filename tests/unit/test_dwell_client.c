/*
 * The C client against a daemon played by a thread (client_server.h): what arrives, what is counted,
 * and what a service that uses it never has to notice.
 */
#include "child_thread.h"
#include "client_server.h"
#include "dwell.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENT_MS = 30000, TOO_MANY_LABELS = 1000 };

static struct dwell_options options_for(const struct server *server)
{
    return (struct dwell_options){
        .size = sizeof(struct dwell_options),
        .directory = server->directory,
        .evidence = DWELL_EVIDENCE_NONE,
        .close_timeout_ms = PATIENT_MS,
        .keep_ms = PATIENT_MS,
    };
}

static dwell_t *must_open(const struct dwell_options *options)
{
    dwell_t *dwell = dwell_open(options);
    assert_non_null(dwell);
    return dwell;
}

static const struct dwell_model *must_have_model(dwell_t *dwell, const char *name)
{
    const struct dwell_model *model = dwell_model(dwell, name);
    assert_non_null(model);
    return model;
}

static void must_flush(dwell_t *dwell)
{
    assert_int_equal(dwell_flush(dwell, PATIENT_MS), DWELL_OK);
}

static void must_close(dwell_t *dwell)
{
    assert_int_equal(dwell_close(dwell), DWELL_OK);
}

static struct dwell_stats stats_of(dwell_t *dwell)
{
    struct dwell_stats stats = {.size = sizeof stats};
    dwell_stats(dwell, &stats);
    return stats;
}

static void track(const struct dwell_model *model, unsigned times)
{
    struct dwell_track tracked;
    for (unsigned i = 0; i < times; i++) {
        dwell_track_begin(&tracked, model);
        dwell_track_end(&tracked, false);
    }
}

static void must_hold_account(struct server *server, unsigned client, uint64_t calls,
                              uint64_t dropped)
{
    struct server_client account = server_client(server, client);
    assert_int_equal(account.lost, 0);
    assert_int_equal(account.dropped, dropped);
    assert_int_equal(account.records + account.dropped, calls);
    assert_true(account.has_goodbye);
    assert_int_equal(account.goodbye, calls);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Uses that much CPU time of this thread. */
static void compute_for_ns(uint64_t ns)
{
    uint64_t begun_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) - begun_ns < ns) {
    }
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* ---- Nothing there ---- */

static void test_dwell_client_takes_null_for_everything(void **state)
{
    (void)state;
    struct dwell_track tracked;
    struct dwell_stats stats = {.size = sizeof stats, .recorded = 7};
    struct dwell_sample sample = {.size = sizeof sample, .model_name = "m"};
    assert_null(dwell_model(NULL, "m"));
    dwell_track_begin(&tracked, NULL);
    dwell_track_end(&tracked, true);
    dwell_track_end_with(&tracked, &sample);
    dwell_track_begin(NULL, NULL);
    dwell_track_end(NULL, false);
    dwell_track_end_with(NULL, NULL);
    dwell_sample(NULL, &sample);
    dwell_sample(NULL, NULL);
    dwell_stats(NULL, &stats);
    dwell_stats(NULL, NULL);
    assert_int_equal(stats.recorded, 0);
    assert_int_equal(dwell_flush(NULL, 1000), DWELL_OK);
    assert_int_equal(dwell_close(NULL), DWELL_OK);
    assert_string_equal(dwell_version(), DWELL_VERSION);
}

static void test_dwell_client_is_off_when_the_environment_says_so(void **state)
{
    (void)state;
    setenv("DWELL_DISABLED", "1", 1);
    assert_null(dwell_open(NULL));
    setenv("DWELL_DISABLED", "0", 1);
    dwell_t *dwell = must_open(NULL);
    unsetenv("DWELL_DISABLED");
    must_close(dwell);
}

static void test_dwell_client_records_without_a_daemon(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    errno = 4711;
    track(must_have_model(dwell, "m"), 100);
    assert_int_equal(dwell_flush(dwell, 0), DWELL_TIMEOUT);
    assert_int_equal(dwell_flush(dwell, -1), DWELL_TIMEOUT);
    assert_int_equal(dwell_flush(dwell, 30), DWELL_TIMEOUT);
    assert_int_equal(errno, 4711);
    struct dwell_stats stats = stats_of(dwell);
    assert_int_equal(stats.recorded, 100);
    assert_int_equal(stats.sent, 0);
    assert_int_equal(stats.dropped, 0);
    assert_false(stats.connected);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED);
    assert_int_equal(errno, 4711);
    server_fini(&server);
}

static void test_dwell_client_finds_a_daemon_that_comes_later(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    track(must_have_model(dwell, "m"), 5);
    assert_int_equal(dwell_flush(dwell, 10), DWELL_TIMEOUT);
    server_start(&server, SERVER_POLITE);
    must_flush(dwell);
    assert_int_equal(server.records, 5);
    must_close(dwell);
    must_hold_account(&server, 0, 5, 0);
    server_fini(&server);
}

static void test_dwell_client_finds_the_directory_by_the_environment(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.directory = NULL;
    setenv("DWELL_DIR", server.directory, 1);
    dwell_t *dwell = must_open(&options);
    unsetenv("DWELL_DIR");
    track(must_have_model(dwell, "m"), 1);
    must_close(dwell);
    assert_int_equal(server.records, 1);
    server_fini(&server);
}

static void test_dwell_client_has_a_ceiling_on_handles(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = options_for(&server);
    options.buffer_bytes = 1; /* the nearest that is in range */
    unsigned descriptors = open_descriptors();
    dwell_t *handles[16];
    for (int i = 0; i < 16; i++) {
        handles[i] = must_open(&options);
        track(must_have_model(handles[i], "m"), 1);
    }
    assert_null(dwell_open(&options));
    for (int i = 0; i < 16; i++) {
        assert_int_equal(stats_of(handles[i]).recorded, 1);
        assert_int_equal(dwell_close(handles[i]), DWELL_UNCONFIRMED);
    }
    dwell_t *again = must_open(&options);
    assert_int_equal(stats_of(again).recorded, 0);
    must_close(again);
    assert_int_equal(open_descriptors(), descriptors);
    server_fini(&server);
}

/* ---- What arrives ---- */

static void test_dwell_client_says_hello_first(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.service_name = "bus";
    options.service_version = "2.0.0";
    options.constitutional_hash = "cdd01ef066bc6cf2";
    dwell_t *dwell = must_open(&options);
    must_flush(dwell);
    assert_string_equal(server.hello->service_name, "bus");
    assert_string_equal(server.hello->service_version, "2.0.0");
    assert_string_equal(server.hello->constitutional_hash, "cdd01ef066bc6cf2");
    assert_string_equal(server.hello->client, "libdwell/" DWELL_VERSION);
    assert_int_equal(server.hello->pid, getpid());
    must_close(dwell);
    must_hold_account(&server, 0, 0, 0);
    server_fini(&server);
}

static void test_dwell_client_leaves_out_what_is_not_said(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    char text[257];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct dwell_options options = options_for(&server);
    options.service_name = text;        /* 256 bytes are too long */
    options.service_version = text + 1; /* 255 are not */
    dwell_t *dwell = must_open(&options);
    must_flush(dwell);
    assert_null(server.hello->service_name);
    assert_string_equal(server.hello->service_version, text + 1);
    assert_null(server.hello->constitutional_hash);
    must_close(dwell);
    server_fini(&server);
}

static void test_dwell_client_tracks_an_inference(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "resnet50");
    struct dwell_track tracked;
    dwell_track_begin(&tracked, model);
    compute_for_ns(3000000);
    dwell_track_end(&tracked, false);
    dwell_track_end(&tracked, false); /* a second end is none */
    dwell_track_begin(&tracked, model);
    dwell_track_end(&tracked, true);
    must_flush(dwell);
    assert_int_equal(server.records, 2);

    const char *name = NULL;
    const Dwell__Sample *sample = server_sample(&server, 0, &name);
    assert_string_equal(name, "resnet50");
    assert_true(sample->execution_time_ms >= 3 && sample->execution_time_ms < PATIENT_MS);
    assert_false(sample->has_error || sample->has_cpu_percent_during || sample->has_user_ms);
    sample = server_sample(&server, 1, &name);
    assert_true(sample->has_error && sample->error);
    must_close(dwell);
    must_hold_account(&server, 0, 2, 0);
    server_fini(&server);
}

static void test_dwell_client_sends_every_part_of_a_sample(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    const uint8_t trace_id[16] = {0xA0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint8_t span_id[8] = {0xB0, 1, 2, 3, 4, 5, 6, 7};
    const struct dwell_label labels[] = {{"region", "eu"}, {"empty", ""}};
    struct dwell_sample sample = {
        .size = sizeof sample,
        .has = (DWELL_HAS_THREAD_ID << 1) - 1, /* all there are */
        .model_name = "m",
        .execution_time_ms = 1.5,
        .cpu_percent_before = 2.5,
        .cpu_percent_during = 3.5,
        .memory_mb_before = 4.5,
        .memory_mb_after = 5.5,
        .queue_ms = 6.5,
        .batch_size = 7.5,
        .user_ms = 8.5,
        .system_ms = 9.5,
        .runqueue_ms = 10.5,
        .minor_faults = 11,
        .major_faults = 12,
        .voluntary_switches = 13,
        .bytes_moved = 14,
        .flops = 15,
        .threads = 16,
        .process_cpu_ms = 17.5,
        .involuntary_switches = 18,
        .disk_bytes = 19,
        .thread_id = INT32_MAX,
        .timestamp_unix_nano = 1700000000123456789,
        .trace_id = trace_id,
        .span_id = span_id,
        .device = "cuda:0",
        .error_text = "out of memory",
        .labels = labels,
        .label_count = 2,
    };
    dwell_sample(dwell, &sample);
    dwell_sample(
        dwell, &(struct dwell_sample){.size = sizeof sample, .model_name = "bare", .error = true});
    must_flush(dwell);

    const char *name = NULL;
    const Dwell__Sample *came = server_sample(&server, 0, &name);
    assert_string_equal(name, "m");
    assert_true(came->execution_time_ms == 1.5);
    assert_true(came->has_cpu_percent_before && came->cpu_percent_before == 2.5);
    assert_true(came->has_cpu_percent_during && came->cpu_percent_during == 3.5);
    assert_true(came->has_memory_mb_before && came->memory_mb_before == 4.5);
    assert_true(came->has_memory_mb_after && came->memory_mb_after == 5.5);
    assert_true(came->has_queue_ms && came->queue_ms == 6.5);
    assert_true(came->has_batch_size && came->batch_size == 7.5);
    assert_true(came->has_user_ms && came->user_ms == 8.5);
    assert_true(came->has_system_ms && came->system_ms == 9.5);
    assert_true(came->has_runqueue_ms && came->runqueue_ms == 10.5);
    assert_true(came->has_minor_faults && came->minor_faults == 11);
    assert_true(came->has_major_faults && came->major_faults == 12);
    assert_true(came->has_voluntary_switches && came->voluntary_switches == 13);
    assert_true(came->has_bytes_moved && came->bytes_moved == 14);
    assert_true(came->has_flops && came->flops == 15);
    assert_true(came->has_threads && came->threads == 16);
    assert_true(came->has_process_cpu_ms && came->process_cpu_ms == 17.5);
    assert_true(came->has_involuntary_switches && came->involuntary_switches == 18);
    assert_true(came->has_disk_bytes && came->disk_bytes == 19);
    assert_true(came->has_thread_id && came->thread_id == INT32_MAX);
    assert_true(came->timestamp_unix_nano == 1700000000123456789);
    assert_int_equal(came->trace_id.len, 16);
    assert_memory_equal(came->trace_id.data, trace_id, 16);
    assert_int_equal(came->span_id.len, 8);
    assert_memory_equal(came->span_id.data, span_id, 8);
    assert_string_equal(came->device, "cuda:0");
    assert_true(came->error);
    assert_string_equal(came->error_text, "out of memory");
    assert_int_equal(came->n_label, 2);
    assert_string_equal(came->label[0]->key, "region");
    assert_string_equal(came->label[0]->value, "eu");
    assert_string_equal(came->label[1]->key, "empty");
    assert_string_equal(came->label[1]->value, "");

    came = server_sample(&server, 1, &name);
    assert_string_equal(name, "bare");
    assert_true(came->error && came->error_text == NULL && came->device == NULL);
    assert_true(!came->has_cpu_percent_during && !came->has_trace_id && !came->has_threads &&
                !came->has_thread_id && !came->has_timestamp_unix_nano);
    must_close(dwell);
    server_fini(&server);
}

/* A program that was compiled with the first version's struct: what lies behind it is not its. */
static void test_dwell_client_reads_the_first_struct_of_a_sample(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    struct dwell_sample first = {.size = offsetof(struct dwell_sample, process_cpu_ms),
                                 .has = UINT32_MAX,
                                 .model_name = "m",
                                 .threads = 16,
                                 .process_cpu_ms = 99,
                                 .thread_id = 99};
    struct dwell_track tracked;
    dwell_sample(dwell, &first);
    dwell_track_begin(&tracked, must_have_model(dwell, "m"));
    dwell_track_end_with(&tracked, &first);
    must_flush(dwell);
    for (uint64_t i = 0; i < 2; i++) {
        const char *name = NULL;
        const Dwell__Sample *came = server_sample(&server, i, &name);
        assert_string_equal(name, "m");
        assert_true(came->has_threads && came->threads == 16);
        assert_false(came->has_process_cpu_ms || came->has_involuntary_switches ||
                     came->has_disk_bytes || came->has_thread_id);
    }
    must_close(dwell);
    must_hold_account(&server, 0, 2, 0);
    server_fini(&server);
}

static void test_dwell_client_sends_metrics_between_samples(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    const uint8_t trace_id[16] = {0xA0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const uint8_t span_id[8] = {0xB0, 1, 2, 3, 4, 5, 6, 7};
    const struct dwell_label attributes[] = {{"path", "/v1"}, {"empty", ""}};
    struct dwell_metric full = {.size = sizeof full,
                                .op = DWELL_OBSERVE,
                                .name = "http.time",
                                .value = -12.5,
                                .unit = "ms",
                                .attributes = attributes,
                                .attribute_count = 2,
                                .timestamp_unix_nano = 1700000000123456789,
                                .trace_id = trace_id,
                                .span_id = span_id};
    struct dwell_metric gauge = {.size = sizeof gauge,
                                 .op = DWELL_SET,
                                 .aggregation = DWELL_AGGREGATION_PER_PID,
                                 .name = "up",
                                 .value = 1};
    struct dwell_metric info = {.size = sizeof info, .op = DWELL_INFO, .name = "build"};
    struct dwell_sample sample = {.size = sizeof sample, .model_name = "m"};
    dwell_metric(dwell, &full);
    dwell_sample(dwell, &sample);
    dwell_metric(dwell, &gauge);
    dwell_metric(dwell, &info);
    must_flush(dwell);

    const Dwell__Metric *came = server_metric(&server, 0);
    assert_string_equal(came->name, "http.time");
    assert_int_equal(came->op, DWELL__METRIC__OP__OBSERVE);
    assert_true(came->value == -12.5);
    assert_string_equal(came->unit, "ms");
    assert_true(!came->has_aggregation && !came->has_weight);
    assert_int_equal(came->n_attribute, 2);
    assert_string_equal(came->attribute[0]->key, "path");
    assert_string_equal(came->attribute[0]->value, "/v1");
    assert_string_equal(came->attribute[1]->value, "");
    assert_memory_equal(came->trace_id.data, trace_id, 16);
    assert_memory_equal(came->span_id.data, span_id, 8);
    assert_true(came->timestamp_unix_nano == 1700000000123456789);
    came = server_metric(&server, 1);
    assert_int_equal(came->op, DWELL__METRIC__OP__SET);
    assert_int_equal(came->aggregation, DWELL__METRIC__AGGREGATION__PER_PID);
    assert_true(came->unit == NULL && came->n_attribute == 0 && !came->has_trace_id);
    came = server_metric(&server, 2);
    assert_int_equal(came->op, DWELL__METRIC__OP__INFO);
    must_close(dwell);
    must_hold_account(&server, 0, 4, 0);
    server_fini(&server);
}

static void test_dwell_client_drops_metrics_that_it_cannot_send(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    struct dwell_metric good = {.size = sizeof good, .op = DWELL_COUNT, .name = "c", .value = 1};
    struct dwell_metric bad = good;
    dwell_metric(NULL, &good);
    dwell_metric(dwell, NULL); /* no call at all */
    bad.size = sizeof bad - 1; /* of an older header that never was */
    dwell_metric(dwell, &bad);
    struct dwell_label many[TOO_MANY_LABELS];
    for (size_t i = 0; i < TOO_MANY_LABELS; i++) {
        many[i] = (struct dwell_label){"a key of some length", "and a value"};
    }
    bad = good;
    bad.attributes = many;
    bad.attribute_count = TOO_MANY_LABELS;
    dwell_metric(dwell, &bad);
    dwell_metric(dwell, &good);
    must_close(dwell);
    must_hold_account(&server, 0, 3, 2);
    server_fini(&server);
}

static void test_dwell_client_adds_to_a_tracked_inference(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.evidence = DWELL_EVIDENCE_CPU;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    struct dwell_sample more = {
        .size = sizeof more,
        .has = DWELL_HAS_BATCH_SIZE | DWELL_HAS_CPU_PERCENT_DURING,
        .model_name = "not this one",
        .execution_time_ms = 99999,
        .batch_size = 32,
        .cpu_percent_during = 12345,
        .device = "cpu",
    };
    struct dwell_track tracked;
    dwell_track_begin(&tracked, model);
    compute_for_ns(1000000);
    dwell_track_end_with(&tracked, &more);
    dwell_track_begin(&tracked, model);
    dwell_track_end_with(&tracked, NULL);
    must_flush(dwell);
    const char *name = NULL;
    const Dwell__Sample *came = server_sample(&server, 0, &name);
    assert_string_equal(name, "m");
    assert_true(came->execution_time_ms < 99999 && came->batch_size == 32);
    assert_true(came->cpu_percent_during <= 100); /* measured wins over given */
    assert_string_equal(came->device, "cpu");
    assert_int_equal(server.records, 2);
    must_close(dwell);
    server_fini(&server);
}

static void test_dwell_client_names_models_in_each_batch_anew(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *a = must_have_model(dwell, "a");
    const struct dwell_model *b = must_have_model(dwell, "b");
    for (int i = 0; i < 3; i++) {
        track(b, 1);
        track(a, 2);
        must_flush(dwell);
    }
    const char *expected[] = {"b", "a", "a", "b", "a", "a", "b", "a", "a"};
    for (uint64_t i = 0; i < 9; i++) {
        const char *name = NULL;
        server_sample(&server, i, &name);
        assert_string_equal(name, expected[i]);
    }
    must_close(dwell);
    server_fini(&server);
}

static void test_dwell_client_keeps_many_models_apart(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.models_max = 5000;
    dwell_t *dwell = must_open(&options);
    char name[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "m%d", i);
        track(must_have_model(dwell, name), 1);
    }
    assert_null(dwell_model(dwell, "one more"));
    must_flush(dwell);
    for (uint64_t i = 0; i < 5000; i++) {
        const char *came = NULL;
        server_sample(&server, i, &came);
        snprintf(name, sizeof name, "m%d", (int)i);
        assert_string_equal(came, name);
    }
    must_close(dwell);
    must_hold_account(&server, 0, 5000, 0);
    server_fini(&server);
}

static void test_dwell_client_takes_names_of_1_to_256_bytes(void **state)
{
    (void)state;
    char name[258];
    memset(name, 'n', sizeof name);
    dwell_t *dwell = must_open(NULL);
    assert_null(dwell_model(dwell, NULL));
    assert_null(dwell_model(dwell, ""));
    name[257] = '\0';
    assert_null(dwell_model(dwell, name));
    name[256] = '\0';
    const struct dwell_model *longest = must_have_model(dwell, name);
    name[1] = '\0';
    const struct dwell_model *shortest = must_have_model(dwell, name);
    assert_ptr_not_equal(longest, shortest);
    assert_ptr_equal(dwell_model(dwell, "n"), shortest);
    must_close(dwell);
}

/* ---- What is dropped ---- */

static void test_dwell_client_drops_what_it_cannot_send(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    dwell_t *other = must_open(&options);
    static char text[20000];
    memset(text, 'x', sizeof text - 1);
    struct dwell_sample good = {.size = sizeof good, .model_name = "m"};
    struct dwell_sample bad = good;
    dwell_sample(dwell, &good);
    bad.error_text = text; /* over 16 kB */
    dwell_sample(dwell, &bad);
    bad = good;
    bad.size--; /* of no version */
    dwell_sample(dwell, &bad);
    bad = good;
    bad.model = must_have_model(other, "m"); /* of another handle */
    dwell_sample(dwell, &bad);
    dwell_sample(dwell, &good);
    dwell_sample(dwell, NULL); /* no call at all */
    must_flush(dwell);
    struct dwell_stats stats = stats_of(dwell);
    assert_int_equal(stats.recorded, 5);
    assert_int_equal(stats.dropped, 3);
    assert_int_equal(stats.sent, 2);
    must_close(other);
    must_close(dwell);
    server_fini(&server);
}

static void test_dwell_client_sends_a_sample_of_nearly_16_kilobytes(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.buffer_bytes = 65536;
    dwell_t *dwell = must_open(&options);
    static char text[16001];
    memset(text, 'x', sizeof text - 1);
    struct dwell_sample sample = {.size = sizeof sample, .model_name = "m", .error_text = text};
    for (int i = 0; i < 40; i++) { /* ten times around the lane, with every remainder at its end */
        sample.error_text = text + 37 * i;
        dwell_sample(dwell, &sample);
        must_flush(dwell);
    }
    for (uint64_t i = 0; i < 40; i++) {
        const char *name = NULL;
        const Dwell__Sample *came = server_sample(&server, i, &name);
        assert_int_equal(strlen(came->error_text), 16000 - 37 * i);
        assert_string_equal(came->error_text, text + 37 * i);
    }
    must_close(dwell);
    must_hold_account(&server, 0, 40, 0);
    server_fini(&server);
}

static void test_dwell_client_never_waits_for_a_deaf_daemon(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_DEAF);
    struct dwell_options options = options_for(&server);
    options.buffer_bytes = 65536;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    uint64_t calls = 0;
    while (stats_of(dwell).dropped < 1000) { /* socket, batch and lane are full */
        track(model, 1000);
        calls += 1000;
    }
    assert_int_equal(dwell_flush(dwell, 20), DWELL_TIMEOUT);
    server_set_manner(&server, SERVER_POLITE);
    must_flush(dwell);
    track(model, 10);
    calls += 10;
    must_flush(dwell);
    struct dwell_stats stats = stats_of(dwell);
    assert_int_equal(stats.recorded, calls);
    assert_int_equal(stats.sent + stats.dropped, calls);
    assert_int_equal(stats.unconfirmed, 0);
    must_close(dwell);
    must_hold_account(&server, 0, calls, stats.dropped);
    server_fini(&server);
}

static void test_dwell_client_does_not_keep_records_for_ever(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = options_for(&server);
    options.keep_ms = 1;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    track(model, 40000); /* more than a lane holds */
    while (stats_of(dwell).dropped < 40000) {
        poll(NULL, 0, 1);
    }
    server_start(&server, SERVER_POLITE);
    must_flush(dwell);
    track(model, 3);
    must_flush(dwell);
    must_close(dwell);
    must_hold_account(&server, 0, 40003, 40000);
    server_fini(&server);
}

/* ---- Connections that break ---- */

static atomic_uint refusals; /* by a socket that is full */
static ssize_t (*real_sendmsg)(int fd, const struct msghdr *message, int flags);

/* Not by a system call of our own: TSan must see who heard of what. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t sent = real_sendmsg(fd, message, flags);
    if (sent < 0 && errno == EAGAIN) {
        atomic_fetch_add(&refusals, 1);
    }
    return sent;
}

/* Every connection breaks in the middle of its first batch, while more batches are on their way: they
 * are lost, the one that was cut comes again, and account() lets nothing come twice. */
static void must_survive_breaks(unsigned breaks, bool no_thread)
{
    struct server server;
    server_init(&server);
    server.breaks_left = breaks;
    server_start(&server, SERVER_DEAF);
    struct dwell_options options = options_for(&server);
    options.no_thread = no_thread;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    uint64_t calls = 0;
    atomic_store(&refusals, 0);
    while (atomic_load(&refusals) == 0) { /* until the socket is full, and a batch cut */
        track(model, 1000);
        calls += 1000;
        (void)dwell_flush(dwell, 1);
    }
    server_set_manner(&server, SERVER_BREAKS);
    int result = DWELL_UNCONFIRMED;
    for (unsigned i = 0; i <= breaks && result != DWELL_OK; i++) {
        result = dwell_flush(dwell, PATIENT_MS);
    }
    assert_int_equal(result, DWELL_OK);
    track(model, 10);
    calls += 10;
    must_flush(dwell);
    struct dwell_stats stats = stats_of(dwell);
    assert_int_equal(stats.connections, breaks + 1);
    assert_int_equal(stats.sent + stats.dropped, calls);
    must_close(dwell);
    struct server_client account = server_client(&server, 0);
    assert_true(account.lost > 0 && account.records >= 10);
    assert_int_equal(account.lost, stats.unconfirmed);
    assert_int_equal(account.dropped, stats.dropped);
    assert_int_equal(account.records + account.lost + account.dropped, calls);
    assert_int_equal(account.goodbye, calls);
    server_fini(&server);
}

static void test_dwell_client_sends_a_cut_batch_again(void **state)
{
    (void)state;
    must_survive_breaks(1, false);
    must_survive_breaks(3, false);
    must_survive_breaks(2, true);
}

static void test_dwell_client_says_when_it_cannot_know(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server.breaks_left = 1;
    server_start(&server, SERVER_BREAKS_ASKED);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    track(must_have_model(dwell, "m"), 7);
    assert_int_equal(dwell_flush(dwell, PATIENT_MS), DWELL_UNCONFIRMED);
    assert_int_equal(stats_of(dwell).unconfirmed, 7);
    must_flush(dwell);
    must_close(dwell);
    struct server_client account = server_client(&server, 0);
    assert_int_equal(account.records, 7); /* which nobody could know */
    assert_int_equal(account.lost, 0);
    server_fini(&server);
}

static void test_dwell_client_flush_times_out_on_a_mute_daemon(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_MUTE);
    struct dwell_options options = options_for(&server);
    options.close_timeout_ms = 1;
    for (int no_thread = 0; no_thread < 2; no_thread++) {
        options.no_thread = no_thread == 1;
        dwell_t *dwell = must_open(&options);
        track(must_have_model(dwell, "m"), 3);
        assert_int_equal(dwell_flush(dwell, 40), DWELL_TIMEOUT);
        server_wait_records(&server, no_thread == 0 ? 3 : 6);
        assert_int_equal(dwell_close(dwell), DWELL_TIMEOUT);
    }
    server_fini(&server);
}

static void test_dwell_client_outlives_the_daemon(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    for (uint64_t i = 1; i <= 3; i++) {
        server_start(&server, SERVER_POLITE);
        track(model, 100);
        must_flush(dwell);
        assert_int_equal(server.records, i * 100);
        server_stop(&server);
        while (stats_of(dwell).connected) {
            poll(NULL, 0, 1);
        }
    }
    assert_int_equal(stats_of(dwell).connections, 3);
    assert_int_equal(stats_of(dwell).unconfirmed, 0);
    server_start(&server, SERVER_POLITE);
    must_close(dwell);
    must_hold_account(&server, 0, 300, 0);
    server_fini(&server);
}

static void test_dwell_client_closes_well_when_all_was_confirmed_before(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    track(model, 3);
    must_flush(dwell);
    server_stop(&server);
    must_close(dwell);

    server_start(&server, SERVER_POLITE);
    dwell = must_open(&options);
    model = must_have_model(dwell, "m");
    track(model, 3);
    must_flush(dwell);
    server_stop(&server);
    track(model, 1);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED);
    server_fini(&server);
}

static void test_dwell_client_tells_a_new_daemon_where_it_stands(void **state)
{
    (void)state;
    struct server servers[2];
    for (int i = 0; i < 2; i++) {
        server_init(&servers[i]);
    }
    server_start(&servers[0], SERVER_POLITE);
    struct dwell_options options = options_for(&servers[0]);
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    track(model, 100);
    must_flush(dwell);
    server_stop(&servers[0]);
    memcpy(servers[1].path, servers[0].path, sizeof servers[1].path); /* there, another daemon */
    server_start(&servers[1], SERVER_POLITE);
    track(model, 1);
    must_flush(dwell);
    assert_int_equal(servers[1].greeting->first_sequence, 100);
    assert_int_equal(servers[1].greeting->dropped, 0);
    must_close(dwell);
    server_fini(&servers[1]); /* its socket lies in the other's directory */
    server_fini(&servers[0]);
}

/* ---- Without the sending thread ---- */

static void test_dwell_client_sends_from_recording_calls(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.no_thread = true;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    uint64_t calls = 0;
    errno = 4711;
    while (stats_of(dwell).sent < 10000) { /* by 64 kB or by 50 ms */
        track(model, 100);
        calls += 100;
    }
    assert_int_equal(errno, 4711);
    must_flush(dwell);
    must_close(dwell);
    struct server_client account = server_client(&server, 0);
    must_hold_account(&server, 0, calls, account.dropped);
    server_fini(&server);
}

/* ---- Threads ---- */

struct worker {
    dwell_t *dwell;
    const struct dwell_model *model;
    unsigned calls;
    unsigned flushes;
};

static void *work(void *arg)
{
    const struct worker *worker = arg;
    struct dwell_sample sample = {
        .size = sizeof sample, .model_name = "inline", .execution_time_ms = 1};
    for (unsigned i = 0; i < worker->calls; i++) {
        if (i % 16 == 0) {
            dwell_sample(worker->dwell, &sample);
        } else {
            track(worker->model, 1);
        }
        if (worker->flushes > 0 && i % (worker->calls / worker->flushes) == 0) {
            assert_int_equal(dwell_flush(worker->dwell, PATIENT_MS), DWELL_OK);
            (void)stats_of(worker->dwell);
            (void)dwell_model(worker->dwell, "another");
        }
    }
    return NULL;
}

static void must_count_all(enum dwell_evidence evidence, unsigned threads_max, bool no_thread)
{
    enum { WORKERS = 8, CALLS = 4000 };
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.evidence = evidence;
    options.threads_max = threads_max;
    options.no_thread = no_thread;
    dwell_t *dwell = must_open(&options);
    struct worker worker = {dwell, must_have_model(dwell, "m"), CALLS, 4};
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, &worker), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    must_flush(dwell);
    struct dwell_stats stats = stats_of(dwell);
    assert_int_equal(stats.recorded, WORKERS * CALLS);
    assert_int_equal(stats.sent + stats.dropped, WORKERS * CALLS);
    must_close(dwell);
    must_hold_account(&server, 0, WORKERS * CALLS, stats.dropped);
    server_fini(&server);
}

static void test_dwell_client_counts_right_from_many_threads(void **state)
{
    (void)state;
    must_count_all(DWELL_EVIDENCE_NONE, 64, false);
    must_count_all(DWELL_EVIDENCE_FULL, 64, false);
    must_count_all(DWELL_EVIDENCE_NONE, 64, true);
}

static void test_dwell_client_counts_right_when_lanes_run_out(void **state)
{
    (void)state;
    must_count_all(DWELL_EVIDENCE_NONE, 1, false);
    must_count_all(DWELL_EVIDENCE_CPU, 2, false);
    must_count_all(DWELL_EVIDENCE_NONE, 2, true);
}

static void test_dwell_client_gives_lanes_of_ended_threads_to_others(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.evidence = DWELL_EVIDENCE_FULL;
    options.threads_max = 1;
    dwell_t *dwell = must_open(&options);
    struct worker worker = {dwell, must_have_model(dwell, "m"), 16, 0};
    unsigned descriptors = 0;
    for (unsigned i = 0; i < 200; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, work, &worker), 0);
        pthread_join(thread, NULL);
        if (i == 10) {
            must_flush(dwell); /* the connection is there */
            descriptors = open_descriptors();
        }
    }
    assert_int_equal(open_descriptors(), descriptors);
    must_flush(dwell);
    /* Evidence is taken only by a thread that has a lane: the first inference of each had it. */
    assert_true(stats_of(dwell).evidence >= 1);
    must_close(dwell);
    must_hold_account(&server, 0, 3200, 0);
    server_fini(&server);
}

static void *end_track(void *arg)
{
    dwell_track_end(arg, false);
    return NULL;
}

static void test_dwell_client_lets_another_thread_end_a_track(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.evidence = DWELL_EVIDENCE_CPU;
    dwell_t *dwell = must_open(&options);
    struct dwell_track tracked;
    pthread_t thread;
    dwell_track_begin(&tracked, must_have_model(dwell, "m"));
    assert_int_equal(pthread_create(&thread, NULL, end_track, &tracked), 0);
    pthread_join(thread, NULL);
    must_flush(dwell);
    const char *name = NULL;
    const Dwell__Sample *sample = server_sample(&server, 0, &name);
    assert_true(sample->has_execution_time_ms && !sample->has_cpu_percent_during);
    must_close(dwell);
    server_fini(&server);
}

/* A line of the sending thread's status, as the kernel shows it. */
static uint64_t sender_status(const char *key, int base)
{
    uint64_t value = 0;
    bool found = false;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        char path[300];
        char line[256];
        bool ours = false;
        snprintf(path, sizeof path, "/proc/self/task/%s/status", task->d_name);
        FILE *status = fopen(path, "re");
        while (status != NULL && fgets(line, sizeof line, status) != NULL) {
            ours = ours || strcmp(line, "Name:\tdwell-send\n") == 0;
            if (ours && strncmp(line, key, strlen(key)) == 0) {
                value = strtoull(line + strlen(key), NULL, base);
                found = true;
            }
        }
        if (status != NULL) {
            fclose(status);
        }
    }
    closedir(tasks);
    assert_true(found);
    return value;
}

static void test_dwell_client_dozes_until_the_next_record(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    for (uint64_t i = 1; i <= 2; i++) {
        track(model, 1);
        server_wait_records(&server, i); /* woken, for nobody flushes */
        uint64_t switches = 0;
        int quiet = 0;
        for (int j = 0; j < 30 && quiet < 2; j++) { /* a tick would show twice in this time */
            uint64_t before = switches;
            poll(NULL, 0, 150);
            switches = sender_status("voluntary_ctxt_switches:", 10);
            quiet = switches == before ? quiet + 1 : 0;
        }
        if (quiet < 2) {
            must_close(dwell);
            server_fini(&server);
            skip(); /* a kernel without membarrier */
        }
    }
    track(model, 1);
    server_wait_records(&server, 3);
    must_close(dwell);
    must_hold_account(&server, 0, 3, 0);
    server_fini(&server);
}

static void test_dwell_client_takes_no_signals(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    sigset_t before;
    sigset_t after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    dwell_t *dwell = must_open(&options);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    for (int i = 1; i < SIGRTMIN; i++) {
        assert_int_equal(sigismember(&before, i), sigismember(&after, i));
    }
    must_flush(dwell); /* so that it runs */
    const int asked[] = {SIGTERM, SIGINT, SIGALRM, SIGUSR1, SIGPIPE, SIGCHLD, SIGHUP};
    uint64_t mask = sender_status("SigBlk:", 16);
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        assert_true((mask & UINT64_C(1) << (asked[i] - 1)) != 0);
    }
    must_close(dwell);
    server_fini(&server);
}

static void test_dwell_client_allocates_nothing_to_record(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = options_for(&server);
    options.evidence = DWELL_EVIDENCE_FULL;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    struct dwell_sample sample = {.size = sizeof sample, .model_name = "n"};
    size_t before = mallinfo2().uordblks;
    track(model, 1000);
    for (int i = 0; i < 100; i++) {
        dwell_sample(dwell, &sample);
    }
    assert_int_equal(mallinfo2().uordblks, before);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED);
    server_fini(&server);
}

/* ---- Evidence ---- */

static void test_dwell_client_takes_evidence_of_the_first_inference(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.evidence = DWELL_EVIDENCE_FULL;
    dwell_t *dwell = must_open(&options);
    struct dwell_track tracked;
    dwell_track_begin(&tracked, must_have_model(dwell, "busy"));
    compute_for_ns(20000000);
    dwell_track_end(&tracked, false);
    dwell_track_begin(&tracked, must_have_model(dwell, "waits"));
    poll(NULL, 0, 20);
    dwell_track_end(&tracked, false);
    /* Of two short ones the first does not pay for the second's reading, if it was not held up. */
    uint64_t pairs = 0;
    for (uint64_t paid = 2; paid == 2; pairs++) {
        char name[16];
        assert_true(pairs < 100);
        (void)snprintf(name, sizeof name, "short%d", (int)pairs);
        uint64_t before = stats_of(dwell).evidence;
        track(must_have_model(dwell, name), 2);
        paid = stats_of(dwell).evidence - before;
    }
    assert_int_equal(stats_of(dwell).evidence, 2 + 2 * pairs - 1);
    must_flush(dwell);

    const char *name = NULL;
    const Dwell__Sample *busy = server_sample(&server, 0, &name);
    assert_true(busy->has_cpu_percent_during && busy->has_user_ms && busy->has_system_ms);
    assert_true(busy->cpu_percent_during > 0 && busy->cpu_percent_during <= 100);
    double cpu_ms = busy->user_ms + busy->system_ms;
    double used_ms = busy->cpu_percent_during / 100 * busy->execution_time_ms;
    assert_true(cpu_ms >= 18 && cpu_ms <= busy->execution_time_ms * 1.000001);
    assert_true(cpu_ms - used_ms < 1e-6 && used_ms - cpu_ms < 1e-6);
    assert_true(busy->has_memory_mb_after && busy->memory_mb_after > 0.5);
    if (access("/proc/thread-self/schedstat", R_OK) == 0) {
        assert_true(busy->has_runqueue_ms);
        assert_true(busy->runqueue_ms >= 0 &&
                    busy->runqueue_ms <= busy->execution_time_ms - cpu_ms + 1e-6);
    }
    const Dwell__Sample *waits = server_sample(&server, 1, &name);
    assert_string_equal(name, "waits");
    assert_true(waits->cpu_percent_during < 20 && waits->voluntary_switches >= 1);
    assert_true(waits->has_minor_faults && waits->has_major_faults);

    const Dwell__Sample *unread = server_sample(&server, 1 + 2 * pairs, &name);
    assert_false(
        unread->has_cpu_percent_during || unread->has_user_ms || unread->has_memory_mb_after ||
        unread->has_runqueue_ms || unread->has_process_cpu_ms || unread->has_involuntary_switches ||
        unread->has_disk_bytes || unread->has_thread_id || unread->has_timestamp_unix_nano);
    must_close(dwell);
    server_fini(&server);
}

/* What this thread has used, by the same calls that the library makes. */
struct used {
    uint64_t wall_ns, unix_ns, thread_ns, process_ns;
    struct rusage usage;
};

static struct used used_now(void)
{
    struct used used;
    used.unix_ns = clock_ns(CLOCK_REALTIME);
    used.wall_ns = clock_ns(CLOCK_MONOTONIC);
    used.thread_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    used.process_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    getrusage(RUSAGE_THREAD, &used.usage); /* cannot fail with this argument */
    return used;
}

/* An inference, looked at from just outside of the library's readings and from just within. */
struct witnessed {
    struct used before, begun, ended, after;
    Dwell__Sample sample; /* its figures: texts went with the server */
};

static void must_lie_between(double got, int64_t within, int64_t around)
{
    assert_true(got >= (double)within);
    assert_true(got <= (double)around);
}

static int64_t blocks_between(const struct used *from, const struct used *to)
{
    return to->usage.ru_inblock - from->usage.ru_inblock + to->usage.ru_oublock -
           from->usage.ru_oublock;
}

/* Clocks are read one after the other, and what that costs is taken off as the first readings had it: so
 * much may lie between. */
#define WITNESS_MS  0.1
#define ROUNDING_MS 1e-9 /* of user and system, which are shares of one number */

static void must_tell_what_was_seen(const struct witnessed *seen, bool full)
{
    const Dwell__Sample *sample = &seen->sample;
    const struct rusage *from[] = {&seen->before.usage, &seen->begun.usage};
    const struct rusage *to[] = {&seen->after.usage, &seen->ended.usage};
    assert_true(sample->has_thread_id && sample->thread_id == (uint64_t)gettid());
    assert_true(sample->has_timestamp_unix_nano &&
                sample->timestamp_unix_nano >= seen->ended.unix_ns &&
                sample->timestamp_unix_nano <= seen->after.unix_ns);
    assert_true(sample->has_involuntary_switches);
    must_lie_between(sample->voluntary_switches, to[1]->ru_nvcsw - from[1]->ru_nvcsw,
                     to[0]->ru_nvcsw - from[0]->ru_nvcsw);
    must_lie_between(sample->involuntary_switches, to[1]->ru_nivcsw - from[1]->ru_nivcsw,
                     to[0]->ru_nivcsw - from[0]->ru_nivcsw);
    assert_true(sample->has_disk_bytes);
    must_lie_between(sample->disk_bytes, 512 * blocks_between(&seen->begun, &seen->ended),
                     512 * blocks_between(&seen->before, &seen->after));
    double cpu_ms = sample->user_ms + sample->system_ms;
    double truth_ms = (double)(seen->ended.thread_ns - seen->begun.thread_ns) / 1e6;
    double around_ms = (double)(seen->after.thread_ns - seen->before.thread_ns) / 1e6;
    assert_true(cpu_ms >= truth_ms - WITNESS_MS && cpu_ms <= around_ms);
    assert_int_equal(sample->has_process_cpu_ms, full);
    if (full) {
        truth_ms = (double)(seen->ended.process_ns - seen->begun.process_ns) / 1e6;
        around_ms = (double)(seen->after.process_ns - seen->before.process_ns) / 1e6;
        assert_true(sample->process_cpu_ms >= cpu_ms - ROUNDING_MS);
        assert_true(sample->process_cpu_ms >= truth_ms - WITNESS_MS);
        assert_true(sample->process_cpu_ms <= around_ms);
    }
}

/* The CPU share that was said, in points. Whoever is put off its CPU between two readings makes the true
 * one a range. */
static void must_say_the_share(const struct witnessed *seen)
{
    double within_ns = (double)(seen->ended.thread_ns - seen->begun.thread_ns);
    double around_ns = (double)(seen->after.thread_ns - seen->before.thread_ns);
    double within_wall_ns = (double)(seen->ended.wall_ns - seen->begun.wall_ns);
    double around_wall_ns = (double)(seen->after.wall_ns - seen->before.wall_ns);
    assert_true(seen->sample.cpu_percent_during >= 100 * within_ns / around_wall_ns - 5);
    assert_true(seen->sample.cpu_percent_during <= 100 * around_ns / within_wall_ns + 5);
}

struct work {
    uint64_t compute_ns;
    int sleep_ms;
};

static struct witnessed must_witness(enum dwell_evidence level, struct work work)
{
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.evidence = level;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    struct dwell_track tracked;
    struct witnessed seen;
    track(must_have_model(dwell, "first"), 1); /* opens files, and tries out what a reading costs */
    seen.before = used_now();
    dwell_track_begin(&tracked, model);
    seen.begun = used_now();
    compute_for_ns(work.compute_ns);
    if (work.sleep_ms > 0) {
        poll(NULL, 0, work.sleep_ms);
    }
    seen.ended = used_now();
    dwell_track_end(&tracked, false);
    seen.after = used_now();
    must_flush(dwell);
    const char *name = NULL;
    seen.sample = *server_sample(&server, 1, &name);
    assert_string_equal(name, "m");
    must_tell_what_was_seen(&seen, level == DWELL_EVIDENCE_FULL);
    must_close(dwell);
    server_fini(&server);
    return seen;
}

/* Against the thread's own clock and not the wall's: on a busy machine the truth is not 100 or 0. */
static void test_dwell_client_tells_the_cpu_share_of_a_single_call(void **state)
{
    (void)state;
    const enum dwell_evidence levels[] = {DWELL_EVIDENCE_CPU, DWELL_EVIDENCE_FULL};
    const struct work works[] = {
        {.compute_ns = 5000000}, {.sleep_ms = 5}, {.compute_ns = 2500000, .sleep_ms = 3}};
    for (size_t i = 0; i < 2; i++) {
        for (size_t k = 0; k < sizeof works / sizeof works[0]; k++) {
            struct witnessed seen = must_witness(levels[i], works[k]);
            must_say_the_share(&seen);
        }
    }
}

struct beside {
    atomic_bool stop;
    _Atomic uint64_t thread_ns; /* that it has used */
};

static void *be_busy(void *arg)
{
    struct beside *beside = arg;
    while (!atomic_load(&beside->stop)) {
        atomic_store(&beside->thread_ns, clock_ns(CLOCK_THREAD_CPUTIME_ID));
    }
    return NULL;
}

/* The time of a busy neighbour thread is the process's and not the inference's. */
static void test_dwell_client_tells_a_thread_from_its_process(void **state)
{
    (void)state;
    struct beside beside = {.stop = false};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, be_busy, &beside), 0);
    while (atomic_load(&beside.thread_ns) == 0) {
        poll(NULL, 0, 1);
    }
    struct witnessed asleep = must_witness(DWELL_EVIDENCE_FULL, (struct work){.sleep_ms = 5});
    struct witnessed busy = must_witness(DWELL_EVIDENCE_FULL, (struct work){.compute_ns = 5000000});
    atomic_store(&beside.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    must_say_the_share(&asleep);
    must_say_the_share(&busy);
}

static void test_dwell_client_counts_bytes_of_disks(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.evidence = DWELL_EVIDENCE_CPU;
    dwell_t *dwell = must_open(&options);
    FILE *file = tmpfile();
    static char block[1 << 16];
    assert_non_null(file);
    struct dwell_track tracked;
    dwell_track_begin(&tracked, must_have_model(dwell, "m"));
    struct used begun = used_now();
    for (int i = 0; i < 16; i++) {
        assert_int_equal(fwrite(block, sizeof block, 1, file), 1);
    }
    assert_int_equal(fflush(file), 0);
    struct used ended = used_now();
    dwell_track_end(&tracked, false);
    fclose(file);
    must_flush(dwell);
    const char *name = NULL;
    /* Where files live in memory it is 0, and the kernel says so as well. */
    assert_true(server_sample(&server, 0, &name)->disk_bytes >=
                512 * (double)blocks_between(&begun, &ended));
    must_close(dwell);
    server_fini(&server);
}

/* Every reading ends with waiting for the CPU, as it often does beside busy neighbours. */
static atomic_bool readings_wait;

int getrusage(__rusage_who_t who, struct rusage *usage)
{
    if (atomic_load(&readings_wait)) {
        poll(NULL, 0, 2);
    }
    return (int)syscall(SYS_getrusage, who, usage);
}

/* That wait is no cost: 1 % of 640 ms pays for many readings of some µs, and for one of 2 ms. */
static void test_dwell_client_does_not_take_waiting_for_a_cost(void **state)
{
    (void)state;
    enum { INFERENCES = 160, MEASURED_MIN = 4 };
    struct server server;
    server_init(&server);
    struct dwell_options options = options_for(&server);
    options.evidence = DWELL_EVIDENCE_FULL;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    atomic_store(&readings_wait, true);
    for (int i = 0; i < INFERENCES && stats_of(dwell).evidence < MEASURED_MIN; i++) {
        struct dwell_track tracked;
        dwell_track_begin(&tracked, model);
        compute_for_ns(4000000);
        dwell_track_end(&tracked, false);
    }
    atomic_store(&readings_wait, false);
    assert_in_range(stats_of(dwell).evidence, MEASURED_MIN, INFERENCES);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED);
    server_fini(&server);
}

static void test_dwell_client_keeps_evidence_within_its_share(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    struct dwell_options options = options_for(&server);
    options.evidence = DWELL_EVIDENCE_CPU;
    options.evidence_percent = 2;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    uint64_t inside_ns = 0;
    unsigned calls = 0;
    while (stats_of(dwell).evidence < 5) { /* it does come again */
        struct dwell_track tracked;
        dwell_track_begin(&tracked, model);
        uint64_t begun_ns = clock_ns(CLOCK_MONOTONIC);
        compute_for_ns(5000);
        inside_ns += clock_ns(CLOCK_MONOTONIC) - begun_ns;
        dwell_track_end(&tracked, false);
        calls++;
    }
    /* A reading is four system calls, 400 ns at the very least; the first one is free. */
    assert_true((double)inside_ns * 1.1 * 0.02 >= 4 * 400);
    assert_true(calls > 5);
    assert_int_equal(dwell_close(dwell), DWELL_UNCONFIRMED);
    server_fini(&server);
}

/* ---- Fork ---- */

/* What a child does must not show in the cmocka of its parent: it tells by its exit status. */
static int child_of(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static void must_fork_well(bool no_thread)
{
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.no_thread = no_thread;
    options.evidence = DWELL_EVIDENCE_FULL;
    dwell_t *dwell = must_open(&options);
    const struct dwell_model *model = must_have_model(dwell, "m");
    struct dwell_track tracked;
    dwell_track_begin(&tracked, model);
    track(model, 10); /* not sent yet, or only just: the child has no part in them */

    pid_t pid = fork();
    if (pid == 0) {
        bool clean = stats_of(dwell).recorded == 0 && stats_of(dwell).connections == 0;
        dwell_track_end(&tracked, false);
        track(model, 4);
        bool flushed = dwell_flush(dwell, PATIENT_MS) == DWELL_OK;
        bool counted = stats_of(dwell).recorded == 5 && stats_of(dwell).sent == 5;
        bool same = dwell_model(dwell, "m") == model;
        bool closed = dwell_close(dwell) == DWELL_OK;
        _exit(clean && flushed && counted && same && closed ? 0 : 1);
    }
    assert_int_equal(child_of(pid), 0);
    server_wait_goodbyes(&server, 1);
    unsigned child = server.clients[0].pid == (uint64_t)pid ? 0 : 1;

    dwell_track_end(&tracked, false);
    track(model, 2);
    must_flush(dwell);
    must_close(dwell);
    server_wait_goodbyes(&server, 2);
    assert_int_equal(server.client_count, 2);
    must_hold_account(&server, child, 5, 0);
    must_hold_account(&server, 1 - child, 13, 0);
    assert_int_equal(server_client(&server, 1 - child).pid, getpid());
    server_fini(&server);
}

static void test_dwell_client_is_another_client_in_a_child(void **state)
{
    (void)state;
    must_fork_well(true);
    if (child_has_thread) {
        must_fork_well(false);
    }
}

static void test_dwell_client_leaves_an_idle_child_alone(void **state)
{
    (void)state;
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    dwell_t *dwell = must_open(&options);
    track(must_have_model(dwell, "m"), 3);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(dwell_close(dwell) == DWELL_OK ? 0 : 1); /* nothing of its own: says nothing */
    }
    assert_int_equal(child_of(pid), 0);
    must_close(dwell);
    assert_int_equal(server.client_count, 1);
    must_hold_account(&server, 0, 3, 0);
    server_fini(&server);
}

/* Forks while other threads record: no lock may stay taken in the child. */
static void test_dwell_client_forks_in_the_middle_of_recording(void **state)
{
    (void)state;
    enum { WORKERS = 3, CHILDREN = 10 };
    struct server server;
    server_init(&server);
    server_start(&server, SERVER_POLITE);
    struct dwell_options options = options_for(&server);
    options.threads_max = 2; /* the third uses the shared lane */
    options.no_thread = !child_has_thread;
    dwell_t *dwell = must_open(&options);
    struct worker worker = {dwell, must_have_model(dwell, "m"), 2000, 5};
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, work, &worker), 0);
    }
    for (int i = 0; i < CHILDREN; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            track(worker.model, 1);
            _exit(stats_of(dwell).recorded == 1 && dwell_flush(dwell, PATIENT_MS) == DWELL_OK ? 0
                                                                                              : 1);
        }
        assert_int_equal(child_of(pid), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(threads[i], NULL);
    }
    must_flush(dwell);
    struct dwell_stats stats = stats_of(dwell);
    assert_int_equal(stats.recorded, WORKERS * 2000);
    must_close(dwell);
    server_fini(&server);
}

/* ---- Figures ---- */

static void test_dwell_client_fills_no_more_of_stats_than_there_is(void **state)
{
    (void)state;
    dwell_t *dwell = must_open(NULL);
    struct dwell_stats stats;
    memset(&stats, 0xAB, sizeof stats);
    stats.size = offsetof(struct dwell_stats, sent);
    dwell_stats(dwell, &stats);
    assert_int_equal(stats.recorded, 0);
    assert_int_equal(stats.sent, 0xABABABABABABABAB);
    assert_int_equal(stats.size, offsetof(struct dwell_stats, sent));
    must_close(dwell);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dwell_client_takes_null_for_everything),
        cmocka_unit_test(test_dwell_client_is_off_when_the_environment_says_so),
        cmocka_unit_test(test_dwell_client_records_without_a_daemon),
        cmocka_unit_test(test_dwell_client_finds_a_daemon_that_comes_later),
        cmocka_unit_test(test_dwell_client_finds_the_directory_by_the_environment),
        cmocka_unit_test(test_dwell_client_has_a_ceiling_on_handles),
        cmocka_unit_test(test_dwell_client_says_hello_first),
        cmocka_unit_test(test_dwell_client_leaves_out_what_is_not_said),
        cmocka_unit_test(test_dwell_client_tracks_an_inference),
        cmocka_unit_test(test_dwell_client_sends_every_part_of_a_sample),
        cmocka_unit_test(test_dwell_client_reads_the_first_struct_of_a_sample),
        cmocka_unit_test(test_dwell_client_sends_metrics_between_samples),
        cmocka_unit_test(test_dwell_client_drops_metrics_that_it_cannot_send),
        cmocka_unit_test(test_dwell_client_adds_to_a_tracked_inference),
        cmocka_unit_test(test_dwell_client_names_models_in_each_batch_anew),
        cmocka_unit_test(test_dwell_client_keeps_many_models_apart),
        cmocka_unit_test(test_dwell_client_takes_names_of_1_to_256_bytes),
        cmocka_unit_test(test_dwell_client_drops_what_it_cannot_send),
        cmocka_unit_test(test_dwell_client_sends_a_sample_of_nearly_16_kilobytes),
        cmocka_unit_test(test_dwell_client_never_waits_for_a_deaf_daemon),
        cmocka_unit_test(test_dwell_client_does_not_keep_records_for_ever),
        cmocka_unit_test(test_dwell_client_sends_a_cut_batch_again),
        cmocka_unit_test(test_dwell_client_says_when_it_cannot_know),
        cmocka_unit_test(test_dwell_client_flush_times_out_on_a_mute_daemon),
        cmocka_unit_test(test_dwell_client_outlives_the_daemon),
        cmocka_unit_test(test_dwell_client_closes_well_when_all_was_confirmed_before),
        cmocka_unit_test(test_dwell_client_tells_a_new_daemon_where_it_stands),
        cmocka_unit_test(test_dwell_client_sends_from_recording_calls),
        cmocka_unit_test(test_dwell_client_counts_right_from_many_threads),
        cmocka_unit_test(test_dwell_client_counts_right_when_lanes_run_out),
        cmocka_unit_test(test_dwell_client_gives_lanes_of_ended_threads_to_others),
        cmocka_unit_test(test_dwell_client_lets_another_thread_end_a_track),
        cmocka_unit_test(test_dwell_client_takes_no_signals),
        cmocka_unit_test(test_dwell_client_dozes_until_the_next_record),
        cmocka_unit_test(test_dwell_client_allocates_nothing_to_record),
        cmocka_unit_test(test_dwell_client_takes_evidence_of_the_first_inference),
        cmocka_unit_test(test_dwell_client_tells_the_cpu_share_of_a_single_call),
        cmocka_unit_test(test_dwell_client_tells_a_thread_from_its_process),
        cmocka_unit_test(test_dwell_client_counts_bytes_of_disks),
        cmocka_unit_test(test_dwell_client_does_not_take_waiting_for_a_cost),
        cmocka_unit_test(test_dwell_client_keeps_evidence_within_its_share),
        cmocka_unit_test(test_dwell_client_is_another_client_in_a_child),
        cmocka_unit_test(test_dwell_client_leaves_an_idle_child_alone),
        cmocka_unit_test(test_dwell_client_forks_in_the_middle_of_recording),
        cmocka_unit_test(test_dwell_client_fills_no_more_of_stats_than_there_is),
    };
    *(void **)&real_sendmsg = dlsym(RTLD_NEXT, "sendmsg");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
