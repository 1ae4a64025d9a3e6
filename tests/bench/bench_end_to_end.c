/*
 * Spans from one process to another through the daemon: libdwell makes them, dwelld takes them in, counts
 * their durations and sends them on by OTLP/gRPC, a receiver takes them. Nothing may be lost: what was
 * recorded is accepted, exported and received, and nothing is dropped. The queue holds a second of them,
 * as README says for a receiver that may pause as long.
 *
 *     bench_end_to_end [SPANS A SECOND [SECONDS]]
 *
 * All processes together have two CPUs. CPU times are for a span, of all threads of each process.
 */
#include <sched.h>

#include "bench.h"
#include "bench_daemon.h"
#include "sender.h"
#include "sink.h"

enum { RATE = 200000, SECONDS = 5, LEAST_RATE = 150000, DRAIN_MS = 30000 };

#define ACCOUNT(name) "dwelld_export_" name "{signal=\"traces\""

/* All that is started later inherits it. */
static void stay_on_two_cpus(void)
{
    cpu_set_t all;
    cpu_set_t two;
    CPU_ZERO(&two);
    if (sched_getaffinity(0, sizeof all, &all) == 0) {
        for (size_t cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&two) < 2; cpu++) {
            if (CPU_ISSET(cpu, &all)) {
                CPU_SET(cpu, &two);
            }
        }
        (void)sched_setaffinity(0, sizeof two, &two); /* no more than permitted */
    }
}

/* Waits until nothing waits. Returns /metrics as it is then. */
static const char *drain(void)
{
    uint64_t until = now_ns() + DRAIN_MS * UINT64_C(1000000);
    const char *metrics;
    do {
        usleep(2000);
        metrics = bench_metrics();
    } while (bench_sum(metrics, ACCOUNT("queue_size")) + bench_sum(metrics, ACCOUNT("inflight")) >
                 0 &&
             now_ns() < until);
    return metrics;
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct sink sink;
    struct sender sender;
    struct sender_report report;
    double rate = argc > 1 ? strtod(argv[1], NULL) : RATE;
    double seconds = argc > 2 ? strtod(argv[2], NULL) : SECONDS;
    char endpoint[64];
    char queue[64];
    stay_on_two_cpus();
    sink_start(&sink, 0);
    snprintf(endpoint, sizeof endpoint, "otlp.endpoint=http://127.0.0.1:%d", sink.port);
    snprintf(queue, sizeof queue, "otlp.max_queue_spans=%.0f", rate);
    const char *const settings[] = {endpoint, queue, "otlp.max_queue_bytes=134217728",
                                    "otlp.schedule_delay_ms=50", NULL};
    pid_t daemon = bench_start_daemon_with(settings);
    uint64_t daemon_began = bench_process_cpu_ns(daemon);
    uint64_t sink_began = bench_process_cpu_ns(sink.child);
    uint64_t began = now_ns();
    sender_start(&sender, bench_directory, rate);
    usleep((useconds_t)(seconds * 1e6));
    sender_stop(&sender, &report);
    const char *metrics = drain();
    double took = (double)(now_ns() - began) / 1e9;
    double daemon_us = (double)(bench_process_cpu_ns(daemon) - daemon_began) / 1000;
    double sink_us = (double)(bench_process_cpu_ns(sink.child) - sink_began) / 1000;
    double recorded = (double)report.recorded;
    double accepted = bench_sum(metrics, ACCOUNT("accepted_total"));
    double exported = bench_sum(metrics, ACCOUNT("exported_total"));
    double dropped = bench_sum(metrics, ACCOUNT("dropped_total"));
    double resident = bench_resident_mb(daemon);
    bench_stop_daemon(daemon);
    double received = (double)sink_stop(&sink);
    bench_begin(&bench, "end_to_end", 1);
    bench_number(&bench, "seconds", took);
    bench_number(&bench, "recorded", recorded);
    bench_limit(&bench, "dropped_by_client", (double)report.dropped, 0);
    bench_limit(&bench, "not_accepted", recorded - accepted, 0);
    bench_limit(&bench, "dropped", dropped, 0);
    bench_limit(&bench, "not_exported", accepted - exported, 0);
    bench_limit(&bench, "not_received", exported - received, 0);
    bench_limit(&bench, "received_twice", received - exported, 0);
    bench_least(&bench, "spans_a_second", exported / took, LEAST_RATE);
    bench_number(&bench, "client_us", (double)report.cpu_ns / 1000 / recorded);
    bench_number(&bench, "daemon_us", daemon_us / recorded);
    bench_number(&bench, "sink_us", sink_us / recorded);
    bench_number(&bench, "resident_mb", resident);
    return bench_end(&bench);
}
