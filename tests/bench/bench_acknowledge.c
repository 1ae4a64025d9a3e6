/*
 * What acknowledgements cost: CPU of the daemon and of the client for each inference with them, against
 * the same without, in turns; and how long one inference takes until it is acknowledged, against until
 * it is applied (a flush).
 */
#include "bench.h"
#include "bench_daemon.h"
#include "dwell.h"

enum {
    CALLS = 200000, /* of a round */
    BURST = 5000,   /* a frame of 64 kB; a third of what a lane holds */
    SINGLES = 100,
    PATIENT_MS = 30000,
};

/* One copy, one write() and two wake-ups a frame more, and one copy at the client; of a single record
 * two more hand-overs between threads. On a machine that does much else they were 2.1, 1.1 and 3.0. */
#define DAEMON_RATIO_LIMIT 3.0
#define CLIENT_RATIO_LIMIT 2.0
#define WAIT_RATIO_LIMIT   6.0

struct subject {
    dwell_t *dwell;
    const struct dwell_model *model;
    bool asks;
    double daemon_ns[BENCH_ROUNDS]; /* for each call */
    double client_ns[BENCH_ROUNDS];
};

static struct dwell_stats stats_of(const struct subject *subject)
{
    struct dwell_stats stats = {.size = sizeof stats};
    dwell_stats(subject->dwell, &stats);
    return stats;
}

static void open_subject(struct subject *subject, bool asks)
{
    struct dwell_options options = {.size = sizeof options,
                                    .directory = bench_directory,
                                    .evidence = DWELL_EVIDENCE_NONE,
                                    .acknowledge = asks};
    subject->dwell = dwell_open(&options);
    subject->model = dwell_model(subject->dwell, "m");
    subject->asks = asks;
}

static void track(const struct subject *subject, int times)
{
    struct dwell_track tracked;
    for (int i = 0; i < times; i++) {
        dwell_track_begin(&tracked, subject->model);
        dwell_track_end(&tracked, false);
    }
}

/* All that was recorded has come, and is kept where that was asked for. */
static void wait_until_there(const struct subject *subject)
{
    if (dwell_flush(subject->dwell, PATIENT_MS) != DWELL_OK) {
        exit(1);
    }
    while (subject->asks && stats_of(subject).acknowledged < stats_of(subject).sent) {
        usleep(20);
    }
}

static void run_round(struct subject *subject, pid_t daemon, unsigned round)
{
    uint64_t daemon_before = bench_process_cpu_ns(daemon);
    uint64_t client_before = cpu_ns();
    for (int sent = 0; sent < CALLS; sent += BURST) {
        track(subject, BURST);
        if (dwell_flush(subject->dwell, PATIENT_MS) != DWELL_OK) {
            exit(1);
        }
    }
    wait_until_there(subject);
    subject->client_ns[round] = (double)(cpu_ns() - client_before) / CALLS;
    subject->daemon_ns[round] = (double)(bench_process_cpu_ns(daemon) - daemon_before) / CALLS;
}

static double single_us(const struct subject *subject)
{
    double waits[SINGLES];
    for (int i = 0; i < SINGLES; i++) {
        uint64_t begun_ns = now_ns();
        track(subject, 1);
        wait_until_there(subject);
        waits[i] = (double)(now_ns() - begun_ns) / 1e3;
    }
    return median(waits, SINGLES);
}

int main(void)
{
    char journal[] = "/tmp/dwell-bench-journal-XXXXXX";
    char setting[128];
    char command[128];
    static struct subject subjects[2];
    double ratios[2][BENCH_ROUNDS];
    struct bench bench;
    if (mkdtemp(journal) == NULL) {
        return 1;
    }
    snprintf(setting, sizeof setting, "journal.directory=%s", journal);
    const char *const settings[] = {setting, "journal.max_bytes=1073741824", NULL};
    pid_t daemon = bench_start_daemon_with(settings);
    bench_begin(&bench, "acknowledge", BENCH_ROUNDS);
    for (unsigned i = 0; i < 2; i++) {
        open_subject(&subjects[i], i == 1);
        track(&subjects[i], 1);
        wait_until_there(&subjects[i]);
    }
    for (unsigned round = 0; round < BENCH_ROUNDS; round++) {
        run_round(&subjects[0], daemon, round);
        run_round(&subjects[1], daemon, round);
        ratios[0][round] = subjects[1].daemon_ns[round] / subjects[0].daemon_ns[round];
        ratios[1][round] = subjects[1].client_ns[round] / subjects[0].client_ns[round];
    }
    double applied_us = single_us(&subjects[0]);
    double kept_us = single_us(&subjects[1]);
    bool is_whole = true;
    for (unsigned i = 0; i < 2; i++) {
        is_whole = stats_of(&subjects[i]).dropped == 0 && is_whole;
        is_whole = dwell_close(subjects[i].dwell) == DWELL_OK && is_whole;
    }
    bench_stop_daemon(daemon);
    snprintf(command, sizeof command, "rm -rf '%s'", journal);
    bench_number(&bench, "daemon_ns", median(subjects[0].daemon_ns, BENCH_ROUNDS));
    bench_number(&bench, "daemon_acknowledged_ns", median(subjects[1].daemon_ns, BENCH_ROUNDS));
    bench_limit(&bench, "daemon_ratio", median(ratios[0], BENCH_ROUNDS), DAEMON_RATIO_LIMIT);
    bench_number(&bench, "client_ns", median(subjects[0].client_ns, BENCH_ROUNDS));
    bench_number(&bench, "client_acknowledged_ns", median(subjects[1].client_ns, BENCH_ROUNDS));
    bench_limit(&bench, "client_ratio", median(ratios[1], BENCH_ROUNDS), CLIENT_RATIO_LIMIT);
    bench_number(&bench, "applied_us", applied_us);
    bench_number(&bench, "acknowledged_us", kept_us);
    bench_limit(&bench, "wait_ratio", kept_us / applied_us, WAIT_RATIO_LIMIT);
    return system(command) == 0 && is_whole ? bench_end(&bench) : 1;
}
