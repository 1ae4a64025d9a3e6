/*
 * A program that uses libdwell as an application does, told what to do line by line on standard input:
 *
 *     track NAME COUNT FAILED   inferences that take next to no time
 *     spin NAME COUNT MS        inferences that compute for so long
 *     full                      one sample with everything in it
 *     budget COUNT MS           operations of layer1_validation that take so long, and the total
 *     fork NAME COUNT           the same as track, in a child that closes its handle
 *     storm NAME COUNT          so many inferences every millisecond, from a thread, until calm
 *     calm                      ends that
 *     flush MS, stats, close
 *
 * Each line is answered by one line. Options come from the environment, as dwell_open finds them, and
 * DRIVER_ACKNOWLEDGE=1 asks for acknowledgements.
 */
#define _POSIX_C_SOURCE 200809L

#include "dwell.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void track(dwell_t *dwell, const char *name, long count, long failed)
{
    const struct dwell_model *model = dwell_model(dwell, name);
    for (long i = 0; i < count; i++) {
        struct dwell_track one;
        dwell_track_begin(&one, model);
        dwell_track_end(&one, i < failed);
    }
}

/* A thread that goes on recording. */
static struct {
    dwell_t *dwell;
    char name[64];
    long count;
    pthread_t thread;
    pthread_mutex_t mutex;
    bool blows;
} storm = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static bool storm_blows(void)
{
    (void)pthread_mutex_lock(&storm.mutex);
    bool blows = storm.blows;
    (void)pthread_mutex_unlock(&storm.mutex);
    return blows;
}

static void *run_storm(void *arg)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    while (storm_blows()) {
        track(storm.dwell, storm.name, storm.count, 0);
        (void)nanosleep(&pause, NULL);
    }
    return arg;
}

static void begin_storm(dwell_t *dwell, const char *name, long count)
{
    storm.dwell = dwell;
    (void)snprintf(storm.name, sizeof storm.name, "%s", name);
    storm.count = count;
    storm.blows = true;
    if (pthread_create(&storm.thread, NULL, run_storm, NULL) != 0) {
        abort();
    }
}

static void end_storm(void)
{
    (void)pthread_mutex_lock(&storm.mutex);
    storm.blows = false;
    (void)pthread_mutex_unlock(&storm.mutex);
    (void)pthread_join(storm.thread, NULL);
}

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void spin(dwell_t *dwell, const char *name, long count, double ms)
{
    const struct dwell_model *model = dwell_model(dwell, name);
    for (long i = 0; i < count; i++) {
        struct dwell_track one;
        dwell_track_begin(&one, model);
        double until = now_ms() + ms;
        while (now_ms() < until) {
        }
        dwell_track_end(&one, false);
    }
}

/* `count` counts of one series, a gauge's part of this process, and an observation with its trace. */
static void send_metrics(dwell_t *dwell, long count)
{
    static const uint8_t trace_id[16] = {1, 2, 3};
    struct dwell_label attributes[] = {{"path", "/v1"}};
    struct dwell_metric metric;
    memset(&metric, 0, sizeof metric);
    metric.size = sizeof metric;
    metric.attributes = attributes;
    metric.attribute_count = 1;
    metric.name = "driver.calls";
    metric.op = DWELL_COUNT;
    metric.value = 2;
    for (long i = 0; i < count; i++) {
        dwell_metric(dwell, &metric);
    }
    metric.name = "driver.busy";
    metric.op = DWELL_ADD;
    dwell_metric(dwell, &metric);
    metric.name = "driver.time";
    metric.op = DWELL_OBSERVE;
    metric.unit = "ms";
    metric.trace_id = trace_id;
    dwell_metric(dwell, &metric);
}

static void keep_budget(dwell_t *dwell, long count, double ms)
{
    struct dwell_budget budget;
    struct dwell_budget_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.request_id = "r-17";
    (void)dwell_budget_init(dwell, &budget, &options);
    dwell_budget_start(&budget, DWELL_LAYER_TOTAL);
    for (long i = 0; i < count; i++) {
        dwell_budget_start(&budget, DWELL_LAYER1_VALIDATION);
        double until = now_ms() + ms;
        while (now_ms() < until) {
        }
        (void)dwell_budget_stop(&budget, DWELL_LAYER1_VALIDATION, "check", NULL);
    }
    (void)dwell_budget_stop(&budget, DWELL_LAYER_TOTAL, NULL, NULL);
}

static void send_full(dwell_t *dwell)
{
    static const uint8_t trace_id[16] = {1, 2, 3};
    static const uint8_t span_id[8] = {9};
    struct dwell_label labels[] = {{"region", "eu"}, {"other", "x"}};
    struct dwell_sample sample;
    memset(&sample, 0, sizeof sample);
    sample.size = sizeof sample;
    sample.has = (DWELL_HAS_THREAD_ID << 1) - 1;
    sample.model_name = "full";
    sample.execution_time_ms = 10;
    sample.cpu_percent_before = 5;
    sample.cpu_percent_during = 80;
    sample.memory_mb_before = 100;
    sample.memory_mb_after = 128.5;
    sample.queue_ms = 2.5;
    sample.batch_size = 8;
    sample.user_ms = 4;
    sample.system_ms = 2;
    sample.runqueue_ms = 1;
    sample.voluntary_switches = 3;
    sample.bytes_moved = 1e6;
    sample.flops = 2e9;
    sample.threads = 1;
    sample.process_cpu_ms = 6.5;
    sample.involuntary_switches = 2;
    sample.disk_bytes = 4096;
    sample.thread_id = 4711;
    sample.timestamp_unix_nano = 1709204400250000000u;
    sample.trace_id = trace_id;
    sample.span_id = span_id;
    sample.device = "cuda:0";
    sample.error_text = "out of memory";
    sample.labels = labels;
    sample.label_count = 2;
    dwell_sample(dwell, &sample);
}

static void fork_and_track(dwell_t *dwell, const char *name, long count)
{
    pid_t pid = fork();
    if (pid == 0) {
        track(dwell, name, count, 0);
        _exit(dwell_close(dwell) == DWELL_OK ? 0 : 1);
    }
    int status = -1;
    (void)waitpid(pid, &status, 0);
    printf("%d\n", status);
}

static void print_stats(dwell_t *dwell)
{
    struct dwell_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    dwell_stats(dwell, &stats);
    printf("{\"recorded\": %llu, \"sent\": %llu, \"dropped\": %llu, \"unconfirmed\": %llu, "
           "\"connections\": %llu, \"acknowledged\": %llu, \"resent\": %llu, \"connected\": %s}\n",
           (unsigned long long)stats.recorded, (unsigned long long)stats.sent,
           (unsigned long long)stats.dropped, (unsigned long long)stats.unconfirmed,
           (unsigned long long)stats.connections, (unsigned long long)stats.acknowledged,
           (unsigned long long)stats.resent, stats.connected ? "true" : "false");
}

enum { WORDS_MAX = 4 };

/* Does what a line says, whose words these are; absent ones are "". False: not understood. */
static bool obey(dwell_t **dwell, char *const words[WORDS_MAX])
{
    long numbers[WORDS_MAX];
    for (int i = 0; i < WORDS_MAX; i++) {
        numbers[i] = strtol(words[i], NULL, 10);
    }
    if (strcmp(words[0], "track") == 0) {
        track(*dwell, words[1], numbers[2], numbers[3]);
        puts("done");
    } else if (strcmp(words[0], "spin") == 0) {
        spin(*dwell, words[1], numbers[2], (double)numbers[3]);
        puts("done");
    } else if (strcmp(words[0], "full") == 0) {
        send_full(*dwell);
        puts("done");
    } else if (strcmp(words[0], "budget") == 0) {
        keep_budget(*dwell, numbers[1], (double)numbers[2]);
        puts("done");
    } else if (strcmp(words[0], "metrics") == 0) {
        send_metrics(*dwell, numbers[1]);
        puts("done");
    } else if (strcmp(words[0], "fork") == 0) {
        fork_and_track(*dwell, words[1], numbers[2]);
    } else if (strcmp(words[0], "storm") == 0) {
        begin_storm(*dwell, words[1], numbers[2]);
        puts("done");
    } else if (strcmp(words[0], "calm") == 0) {
        end_storm();
        puts("done");
    } else if (strcmp(words[0], "flush") == 0) {
        printf("%d\n", dwell_flush(*dwell, (int)numbers[1]));
    } else if (strcmp(words[0], "stats") == 0) {
        print_stats(*dwell);
    } else if (strcmp(words[0], "close") == 0) {
        printf("%d\n", dwell_close(*dwell));
        *dwell = NULL;
    } else {
        return false;
    }
    return fflush(stdout) == 0;
}

int main(void)
{
    struct dwell_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.service_name = "driver";
    options.evidence_percent = 100;
    options.acknowledge = getenv("DRIVER_ACKNOWLEDGE") != NULL;
    options.keep_ms = options.close_timeout_ms = 60000; /* a busy machine starts daemons slowly */
    dwell_t *dwell = dwell_open(&options);
    char line[512];
    bool understood = true;
    while (understood && fgets(line, sizeof line, stdin) != NULL) {
        char nothing[] = "";
        char *words[WORDS_MAX] = {nothing, nothing, nothing, nothing};
        char *rest = NULL;
        char *word = strtok_r(line, " \n", &rest);
        for (int i = 0; i < WORDS_MAX && word != NULL; i++) {
            words[i] = word;
            word = strtok_r(NULL, " \n", &rest);
        }
        understood = obey(&dwell, words);
    }
    (void)dwell_close(dwell);
    return understood ? 0 : 1;
}
