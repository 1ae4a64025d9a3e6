/*
 * What evidence takes of the time of inferences of 0.1, 1 and 10 ms: levels cpu and full against none,
 * and full at a fifth of the usual share. An inference is the same loop each time, and the levels take
 * turns, each turn beginning with another one:
 *
 *     none  cpu  full  fifth | cpu  full  fifth  none | full  fifth  none  cpu | …
 *
 * What evidence takes is the difference to none's inference of the same turn, from before
 * dwell_track_begin until after dwell_track_end, so that everything that comes with it counts: readings,
 * a longer sample, and a loop that goes on with colder caches. It is taken by the thread's clock, since
 * evidence computes and waits for nothing, and by medians, since what neighbours do to the machine
 * (caches, interrupts) comes in lumps. Not each inference has a reading:
 *
 *     share = (readings * median difference with one + others * median difference without)
 *             / wall time of the level's inferences
 *
 * The sending thread does not count: it is no part of an inference.
 */
#include "subject.h"

enum { LEVELS = 4, DURATIONS = 3, TURNS_MAX = 6000, WARM_UP_TURNS = 20 };

#define SHARE_LIMIT   0.01 /* dwell_options.evidence_percent, its default */
#define FIFTH_PERCENT 0.2

static const char *const level_names[LEVELS] = {"none", "cpu", "full", "full_fifth"};

static const struct duration {
    const char *name;
    double ms;
    int turns;
    int levels; /* a fifth of the share is not told from noise with fewer turns */
} durations[DURATIONS] = {
    {"100us", 0.1, TURNS_MAX, LEVELS}, {"1ms", 1, 1000, LEVELS - 1}, {"10ms", 10, 400, LEVELS - 1}};

static uint64_t thread_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Arithmetic, and a table of 16 kB of which system calls push parts out of the nearest cache. */
static void infer(uint64_t steps)
{
    static uint32_t table[4096];
    uint32_t state = 1;
    for (uint64_t i = 0; i < steps; i++) {
        state = state * 1664525 + 1013904223;
        table[state >> 20] += state;
    }
    bench_keep(table[0]);
}

static uint64_t steps_of(double ms)
{
    const uint64_t steps = 100000;
    double best_ns = 1e18;
    for (int i = 0; i < 50; i++) {
        uint64_t begun_ns = thread_ns();
        infer(steps);
        double ns = (double)(thread_ns() - begun_ns);
        best_ns = ns < best_ns ? ns : best_ns;
    }
    return (uint64_t)(ms * 1e6 / best_ns * (double)steps);
}

static double tracked_ns(const struct dwell_model *model, uint64_t steps, double *ret_wall_ns)
{
    struct dwell_track track;
    uint64_t wall_ns = now_ns();
    uint64_t begun_ns = thread_ns();
    dwell_track_begin(&track, model);
    infer(steps);
    dwell_track_end(&track, false);
    uint64_t ended_ns = thread_ns();
    *ret_wall_ns = (double)(now_ns() - wall_ns);
    return (double)(ended_ns - begun_ns);
}

static uint64_t readings_of(const struct subject *subject)
{
    struct dwell_stats stats = {.size = sizeof stats};
    dwell_stats(subject->dwell, &stats);
    return stats.evidence;
}

/* The times of one duration, by level and turn. */
struct times {
    double ns[LEVELS][TURNS_MAX];
    double wall_ns[LEVELS]; /* of all turns */
    bool with_reading[LEVELS][TURNS_MAX];
};

static void measure(struct subject *subjects, const struct duration *duration,
                    struct times *ret_times)
{
    uint64_t steps = steps_of(duration->ms);
    uint64_t readings[LEVELS];
    double wall_ns = 0;
    for (int i = 0; i < duration->levels; i++) {
        subjects[i].model = dwell_model(subjects[i].dwell, duration->name);
        for (int turn = 0; turn < WARM_UP_TURNS; turn++) {
            (void)tracked_ns(subjects[i].model, steps, &wall_ns); /* only for the caches */
        }
        readings[i] = readings_of(&subjects[i]);
    }
    for (int turn = 0; turn < duration->turns; turn++) {
        for (int k = 0; k < duration->levels; k++) {
            int i = (turn + k) % duration->levels;
            ret_times->ns[i][turn] = tracked_ns(subjects[i].model, steps, &wall_ns);
            ret_times->wall_ns[i] += wall_ns;
            uint64_t now = readings_of(&subjects[i]);
            ret_times->with_reading[i][turn] = now != readings[i];
            readings[i] = now;
        }
    }
    for (int i = 0; i < duration->levels; i++) {
        wait_until_sent(subjects[i].dwell);
    }
}

/* Median of what a level takes more than none, of the inferences with a reading or of the others. */
static double difference_ns(const struct times *times, int level, int turns, bool with_reading,
                            int *ret_count)
{
    static double differences[TURNS_MAX];
    int count = 0;
    for (int turn = 0; turn < turns; turn++) {
        if (times->with_reading[level][turn] == with_reading) {
            differences[count++] = times->ns[level][turn] - times->ns[0][turn];
        }
    }
    *ret_count = count;
    return count > 0 ? median(differences, (size_t)count) : 0;
}

static void print(struct bench *bench, const struct duration *duration, struct times *times)
{
    char key[64];
    for (int i = 1; i < duration->levels; i++) {
        int readings = 0;
        int others = 0;
        double reading_ns = difference_ns(times, i, duration->turns, true, &readings);
        double other_ns = difference_ns(times, i, duration->turns, false, &others);
        snprintf(key, sizeof key, "%s_%s_share", level_names[i], duration->name);
        bench_limit(bench, key, (readings * reading_ns + others * other_ns) / times->wall_ns[i],
                    i == LEVELS - 1 ? FIFTH_PERCENT / 100 : SHARE_LIMIT);
        snprintf(key, sizeof key, "%s_%s_readings", level_names[i], duration->name);
        bench_number(bench, key, readings);
        snprintf(key, sizeof key, "%s_%s_reading_ns", level_names[i], duration->name);
        bench_number(bench, key, reading_ns);
        snprintf(key, sizeof key, "%s_%s_other_ns", level_names[i], duration->name);
        bench_number(bench, key, other_ns);
    }
}

int main(void)
{
    static struct times times[DURATIONS];
    struct subject subjects[LEVELS] = {
        {.evidence = DWELL_EVIDENCE_NONE, .directory = SUBJECT_TEMPLATE},
        {.evidence = DWELL_EVIDENCE_CPU, .directory = SUBJECT_TEMPLATE},
        {.evidence = DWELL_EVIDENCE_FULL, .directory = SUBJECT_TEMPLATE},
        {.evidence = DWELL_EVIDENCE_FULL, .percent = FIFTH_PERCENT, .directory = SUBJECT_TEMPLATE},
    };
    for (int i = 0; i < LEVELS; i++) {
        subject_open(&subjects[i]);
    }
    for (int i = 0; i < DURATIONS; i++) {
        measure(subjects, &durations[i], &times[i]);
    }
    for (int i = 0; i < LEVELS; i++) {
        subject_close(&subjects[i]);
    }
    struct bench bench;
    bench_begin(&bench, "evidence", TURNS_MAX);
    for (int i = 0; i < DURATIONS; i++) {
        print(&bench, &durations[i], &times[i]);
    }
    return bench_end(&bench);
}
