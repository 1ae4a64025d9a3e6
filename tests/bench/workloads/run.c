/*
 * Runs one workload and tracks its inferences by libdwell, for one or more daemons at once.
 *
 *     run --list                                      what there is, a JSON object a line
 *     run --measure NAME                              what a unit costs by the size of its memory
 *     run --hog                                       keeps a CPU busy until it is killed
 *     run NAME MODEL SECONDS ROUNDS DIRECTORY:EVIDENCE…
 *
 *   1. prepare    memory, files, processes and threads; then the number of units that makes an
 *                 inference as long as it is to be
 *   2. `ready`    is printed; a line of input begins the next round
 *   3. a round    inferences for SECONDS, of the model MODEL.ROUND at every daemon: EVIDENCE is cpu or
 *                 full. The tracks lie in one another, so that all daemons see the same inferences
 *   4. flush      and one line with what the process itself has measured of the round
 *
 * What can fail: what the machine does not have is said by `skipped: why` and status 77; a daemon that
 * did not take every sample is status 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "dwell.h"
#include "workload.h"

enum {
    DAEMONS_MAX = 8,
    FLUSH_MS = 20000,
    TRIES = 3, /* of which the quickest counts: others may have disturbed the rest */
};

struct watcher {
    dwell_t *dwell;
    const struct dwell_model *model;
};

static const struct workload *const tables[] = {compute_workloads, memory_workloads, wait_workloads,
                                                thread_workloads, mixed_workloads};
enum { TABLES = sizeof tables / sizeof tables[0] };

static size_t units[WORKLOAD_PARTS];

static double clock_ms(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* cannot fail */
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* How long this thread has waited for a CPU; 0 where the kernel does not say. */
static double runqueue_ms(void)
{
    double waited_ns = 0;
    FILE *file = fopen("/proc/thread-self/schedstat", "re");
    char line[96], *end = NULL;
    if (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)strtod(line, &end); /* the time on a CPU comes first */
        waited_ns = strtod(end, NULL);
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return waited_ns * 1e-6;
}

/* Time without that wait: what a part lasts on an idle machine, also on one that is not. */
static double own_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC) - runqueue_ms();
}

static const struct workload *find(const char *name)
{
    for (size_t i = 0; i < TABLES; i++) {
        for (const struct workload *workload = tables[i]; workload->name != NULL; workload++) {
            if (strcmp(workload->name, name) == 0) {
                return workload;
            }
        }
    }
    return NULL;
}

/* Texts of the tables are plain: nothing in them needs an escape. */
static void list_text(const char *key, const char *value)
{
    if (value != NULL) {
        (void)printf(", \"%s\": \"%s\"", key, value);
    }
}

static int list(void)
{
    for (size_t i = 0; i < TABLES; i++) {
        for (const struct workload *workload = tables[i]; workload->name != NULL; workload++) {
            (void)printf("{\"name\": \"%s\"", workload->name);
            list_text("truth", workload->truth);
            list_text("reason", workload->reason);
            list_text("also", workload->also);
            list_text("argument", workload->argument);
            list_text("setting", workload->setting);
            (void)printf("}\n");
        }
    }
    return 0;
}

static void prepare(const struct workload *workload, enum size size)
{
    room_bytes = size_bytes(size);
    room = room_bytes == 0 ? NULL : room_take(room_bytes, workload->huge);
    if (workload->prepare != NULL) {
        workload->prepare();
    }
}

static double unit_ms(void (*run)(size_t), size_t count)
{
    double best = 1e300;
    for (int i = 0; i < TRIES; i++) {
        double begin = own_ms();
        run(count);
        double took = own_ms() - begin;
        best = took < best ? took : best;
    }
    return best;
}

/* How many units last that long. */
static size_t count_units(const struct part *part)
{
    if (part->ms <= 0) {
        return 1;
    }
    for (size_t count = 1; count < SIZE_MAX / 4; count *= 2) {
        double took = unit_ms(part->run, count);
        if (took >= part->ms / 2) {
            double wanted = (double)count * part->ms / took;
            return wanted < 1 ? 1 : (size_t)wanted;
        }
    }
    return 1;
}

static void infer(const struct workload *workload)
{
    for (int i = 0; i < WORKLOAD_PARTS && workload->parts[i].run != NULL; i++) {
        workload->parts[i].run(units[i]);
    }
}

static void tracked(const struct workload *workload, struct watcher *watchers, int count)
{
    struct dwell_track tracks[DAEMONS_MAX];
    for (int i = 0; i < count; i++) {
        dwell_track_begin(&tracks[i], watchers[i].model);
    }
    infer(workload);
    for (int i = count - 1; i >= 0; i--) {
        dwell_track_end(&tracks[i], false);
    }
}

static void round_run(const struct workload *workload, double seconds, struct watcher *watchers,
                      int count)
{
    struct rusage before, after;
    unsigned long inferences = 0;
    double slowest = 0;
    (void)getrusage(RUSAGE_THREAD, &before); /* cannot fail */
    double begin_waited = runqueue_ms();
    double begin_cpu = clock_ms(CLOCK_THREAD_CPUTIME_ID);
    double begin_process = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
    double begin = clock_ms(CLOCK_MONOTONIC), now = begin;
    do {
        tracked(workload, watchers, count);
        double last = now;
        now = clock_ms(CLOCK_MONOTONIC);
        slowest = now - last > slowest ? now - last : slowest;
        inferences++;
    } while (now - begin < seconds * 1e3);
    double cpu = clock_ms(CLOCK_THREAD_CPUTIME_ID) - begin_cpu;
    double process = clock_ms(CLOCK_PROCESS_CPUTIME_ID) - begin_process;
    double waited = runqueue_ms() - begin_waited;
    (void)getrusage(RUSAGE_THREAD, &after); /* cannot fail */
    (void)printf(
        "{\"inferences\": %lu, \"wall_ms\": %.3f, \"mean_ms\": %.3f, \"max_ms\": %.3f, "
        "\"cpu_ms\": %.3f, \"process_cpu_ms\": %.3f, \"runqueue_ms\": %.3f, \"minor_faults\": %ld, "
        "\"major_faults\": %ld, \"voluntary\": %ld, \"involuntary\": %ld}\n",
        inferences, now - begin, (now - begin) / (double)inferences, slowest, cpu, process, waited,
        after.ru_minflt - before.ru_minflt, after.ru_majflt - before.ru_majflt,
        after.ru_nvcsw - before.ru_nvcsw, after.ru_nivcsw - before.ru_nivcsw);
}

/* DIRECTORY:EVIDENCE. False when it is none, or there is no handle. */
static bool watcher_open(struct watcher *watcher, const char *text)
{
    char directory[128];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof directory) {
        return false;
    }
    memcpy(directory, text, (size_t)(colon - text));
    directory[colon - text] = 0;
    bool full = strcmp(colon + 1, "full") == 0;
    struct dwell_options options = {.size = sizeof options,
                                    .directory = directory,
                                    .service_name = "workload",
                                    .evidence = full ? DWELL_EVIDENCE_FULL : DWELL_EVIDENCE_CPU};
    watcher->dwell = dwell_open(&options);
    return watcher->dwell != NULL;
}

static int run(const struct workload *workload, const char *model, double seconds, int rounds,
               int count, char **daemons)
{
    struct watcher watchers[DAEMONS_MAX] = {0};
    prepare(workload, workload->size);
    for (int i = 0; i < WORKLOAD_PARTS && workload->parts[i].run != NULL; i++) {
        units[i] = count_units(&workload->parts[i]);
    }
    for (int i = 0; i < count; i++) {
        if (!watcher_open(&watchers[i], daemons[i])) {
            (void)fprintf(stderr, "run: no handle for %s\n", daemons[i]);
            return 1;
        }
    }
    (void)printf("ready\n");
    (void)fflush(stdout);
    char line[16];
    for (int round = 1; round <= rounds && fgets(line, sizeof line, stdin) != NULL; round++) {
        char name[128];
        (void)snprintf(name, sizeof name, "%s.%d", model, round);
        for (int i = 0; i < count; i++) {
            watchers[i].model = dwell_model(watchers[i].dwell, name);
        }
        round_run(workload, seconds, watchers, count);
        for (int i = 0; i < count; i++) {
            struct dwell_stats stats = {.size = sizeof stats};
            int flushed = dwell_flush(watchers[i].dwell, FLUSH_MS);
            dwell_stats(watchers[i].dwell, &stats);
            if (flushed != DWELL_OK || stats.dropped > 0) {
                (void)fprintf(stderr, "run: %s did not take every sample\n", daemons[i]);
                return 1;
            }
        }
        (void)fflush(stdout);
    }
    return 0;
}

/* The time of a unit with its memory in each of the sizes, of which the smaller ones say how much of it
 * the memory costs. */
static int measure(const struct workload *workload)
{
    static const char *const names[SIZE_COUNT] = {"without", "L1", "L2", "L3", "DRAM"};
    enum size first = workload->size == SIZE_NONE ? SIZE_NONE : SIZE_L1;
    enum size last = workload->size == SIZE_NONE ? SIZE_NONE : SIZE_DRAM;
    for (enum size size = first; size <= last; size++) {
        prepare(workload, size);
        size_t count = 1;
        const double enough_ms = 50;
        while (unit_ms(workload->parts[0].run, count) < enough_ms && count < SIZE_MAX / 4) {
            count *= 2;
        }
        (void)printf("%-24s %-8s %12.3f us a unit\n", workload->name, names[size],
                     unit_ms(workload->parts[0].run, count) * 1e3 / (double)count);
    }
    return 0;
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: run --list | --hog | --measure NAME |\n"
                          "       run NAME MODEL SECONDS ROUNDS DIRECTORY:cpu|full…\n");
    return 64;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        return list();
    }
    if (argc == 2 && strcmp(argv[1], "--hog") == 0) {
        for (;;) {
            compute_spin(1000);
        }
    }
    bool measures = argc == 3 && strcmp(argv[1], "--measure") == 0;
    if (!measures && (argc < 5 || argc - 5 > DAEMONS_MAX)) {
        return usage();
    }
    const struct workload *workload = find(argv[measures ? 2 : 1]);
    if (workload == NULL) {
        (void)fprintf(stderr, "run: no workload %s\n", argv[measures ? 2 : 1]);
        return 64;
    }
    if (measures) {
        return measure(workload);
    }
    double seconds = strtod(argv[3], NULL);
    long rounds = strtol(argv[4], NULL, 10);
    if (!(seconds > 0 && seconds <= 3600) || rounds < 1 || rounds > 1000) {
        return usage();
    }
    return run(workload, argv[2], seconds, (int)rounds, argc - 5, argv + 5);
}
