/*
 * A collector that goes away and comes back, under 10,000 spans a second by libdwell: what the daemon's
 * loop and memory make of that, and what becomes of every span.
 *
 *     bench_outage [SECONDS]          make bench-outage SECONDS=600
 *
 *     before      the collector is there                     the loop's turns, for comparison
 *     outage      it is gone: the queue fills, then drops    account, memory, turns: every second
 *     after       it is back on the same port, and the sender stops once the queue was empty
 *
 * At every reading accepted = exported + held + waiting + in flight + spooled + dropped; at the end, with
 * what the sender and the collector say, the balance is closed. A collector that ends in the middle of a
 * call may have taken it: those spans are sent again, and are more than were exported, by one request at
 * most.
 */
#include <math.h>

#include "bench.h"
#include "bench_daemon.h"
#include "sender.h"
#include "sink.h"

enum {
    RATE = 10000,
    SECONDS = 5,        /* of the outage: more than fills the queue */
    BEFORE_SECONDS = 3, /* at least, and after: a tenth of the outage, BEFORE_MOST at most */
    BEFORE_MOST = 30,
    BACK_SECONDS = 90, /* until the queue is empty: retries are up to 30 s apart */
    BATCH = 512,
};

/* In MB: what memory may grow by once the queue is full: what calls that fail use for the first time. */
#define GROWTH_LIMIT 1
/* Of the mean turn, during and before: other processes make half of a difference. */
#define LAG_RATIO_LIMIT 1.5
/* Share of turns that take longer than 10 ms: a turn of the collector's absence would. */
#define SLOW_TURNS_LIMIT 0.01

#define ACCOUNT(name) "dwelld_export_" name "{signal=\"traces\""
#define LAG           "dwelld_loop_lag_seconds"

struct account {
    double accepted, exported, held, waiting, in_flight, spooled, dropped, queue_full;
    double bytes, capacity_bytes;
    double turns, turns_s, quick_turns; /* of the loop; quick: up to 10 ms */
};

static struct account read_account(void)
{
    const char *text = bench_metrics();
    struct account account = {
        .accepted = bench_sum(text, ACCOUNT("accepted_total")),
        .exported = bench_sum(text, ACCOUNT("exported_total")),
        .held = bench_sum(text, ACCOUNT("held")),
        .waiting = bench_sum(text, ACCOUNT("queue_size")),
        .in_flight = bench_sum(text, ACCOUNT("inflight")),
        .spooled = bench_sum(text, ACCOUNT("spooled")),
        .dropped = bench_sum(text, ACCOUNT("dropped_total")),
        .queue_full =
            bench_sum(text, "dwelld_export_dropped_total{signal=\"traces\",reason=\"queue_full\""),
        .bytes = bench_sum(text, ACCOUNT("queue_bytes")),
        .capacity_bytes = bench_sum(text, ACCOUNT("queue_limit_bytes")),
        .turns = bench_sum(text, LAG "_count"),
        .turns_s = bench_sum(text, LAG "_sum"),
        .quick_turns = bench_sum(text, LAG "_bucket{le=\"0.01\"}"),
    };
    return account;
}

static double unaccounted(const struct account *account)
{
    return account->accepted - account->exported - account->held - account->waiting -
           account->in_flight - account->spooled - account->dropped;
}

/* What the loop did between two readings. */
struct turns {
    double mean_us;
    double slow; /* share of those that took longer than 10 ms */
};

static struct turns turns_between(const struct account *from, const struct account *to)
{
    double count = to->turns - from->turns;
    return (struct turns){(to->turns_s - from->turns_s) / count * 1e6,
                          1 - (to->quick_turns - from->quick_turns) / count};
}

/* The outage as it was seen every second. */
struct outage {
    struct account end;
    double worst_imbalance;
    double filled_mb; /* resident when the queue first dropped; 0: it did not */
    double most_mb;
    double most_bytes;
};

static void watch_outage(pid_t daemon, double seconds, struct outage *outage)
{
    uint64_t until = now_ns() + (uint64_t)(seconds * 1e9);
    *outage = (struct outage){.filled_mb = 0};
    while (now_ns() < until) {
        usleep(now_ns() + 1000000000U < until ? 1000000 : 200000);
        struct account account = read_account();
        double resident = bench_resident_mb(daemon);
        double imbalance = fabs(unaccounted(&account));
        if (outage->filled_mb <= 0 && account.queue_full > 0) {
            outage->filled_mb = resident;
        }
        outage->worst_imbalance = fmax(outage->worst_imbalance, imbalance);
        outage->most_mb = fmax(outage->most_mb, resident);
        outage->most_bytes = fmax(outage->most_bytes, account.bytes);
        outage->end = account;
    }
}

/* Until nothing waits, which ends well before BACK_SECONDS. Returns the account then, and the seconds. */
static struct account drain(double *ret_seconds)
{
    struct account account;
    uint64_t began = now_ns();
    uint64_t until = began + BACK_SECONDS * UINT64_C(1000000000);
    do {
        usleep(20000);
        account = read_account();
    } while (account.waiting + account.in_flight > BATCH && now_ns() < until);
    *ret_seconds = (double)(now_ns() - began) / 1e9;
    return account;
}

static void print_balance(struct bench *bench, const struct sender_report *report,
                          const struct account *end, double received)
{
    char text[512];
    double others = end->dropped - end->queue_full;
    snprintf(text, sizeof text,
             "recorded %.0f = dropped by the client %.0f + accepted %.0f; accepted %.0f = exported "
             "%.0f + held %.0f + waiting %.0f + in flight %.0f + spooled %.0f + dropped %.0f "
             "(queue_full %.0f, others %.0f); received %.0f = exported %.0f + sent again %.0f",
             (double)report->recorded, (double)report->dropped, end->accepted, end->accepted,
             end->exported, end->held, end->waiting, end->in_flight, end->spooled, end->dropped,
             end->queue_full, others, received, end->exported, received - end->exported);
    bench_text(bench, "balance", text);
    bench_limit(bench, "not_accepted",
                fabs((double)report->recorded - (double)report->dropped - end->accepted), 0);
    bench_limit(bench, "unaccounted", fabs(unaccounted(end)), 0);
    bench_limit(bench, "left_over", end->held + end->waiting + end->in_flight + end->spooled, 0);
    bench_limit(bench, "dropped_by_client", (double)report->dropped, 0);
    bench_limit(bench, "dropped_for_other_reasons", others, 0);
    bench_limit(bench, "not_received", end->exported - received, 0);
    bench_limit(bench, "sent_again", received - end->exported, BATCH);
}

int main(int argc, char **argv)
{
    struct bench bench;
    struct sink sink;
    struct sender sender;
    struct sender_report report;
    struct outage outage;
    double drain_s;
    double rest_s;
    double seconds = argc > 1 ? strtod(argv[1], NULL) : SECONDS;
    double before_s = fmin(fmax(seconds / 10, BEFORE_SECONDS), BEFORE_MOST);
    char endpoint[64];
    int port = sink_hold_port();
    snprintf(endpoint, sizeof endpoint, "otlp.endpoint=http://127.0.0.1:%d", port);
    const char *const settings[] = {endpoint, "otlp.schedule_delay_ms=200", NULL};
    sink_start(&sink, port);
    pid_t daemon = bench_start_daemon_with(settings);
    sender_start(&sender, bench_directory, RATE);
    sleep(1); /* everything is there and has been used */
    struct account started = read_account();
    usleep((useconds_t)(before_s * 1e6));
    struct account before = read_account();
    double before_mb = bench_resident_mb(daemon);
    double received = (double)sink_stop(&sink);
    watch_outage(daemon, seconds, &outage);
    sink_start(&sink, port);
    struct account drained = drain(&drain_s);
    usleep((useconds_t)(before_s * 1e6));
    struct account after = read_account();
    sender_stop(&sender, &report);
    struct account end = drain(&rest_s);
    while (end.waiting + end.in_flight > 0 && rest_s < BACK_SECONDS) {
        double more_s;
        usleep(20000);
        end = drain(&more_s);
        rest_s += more_s;
    }
    double after_mb = bench_resident_mb(daemon);
    bench_stop_daemon(daemon);
    received += (double)sink_stop(&sink);

    struct turns calm = turns_between(&started, &before);
    struct turns gone = turns_between(&before, &outage.end);
    struct turns back = turns_between(&drained, &after);
    bench_begin(&bench, "outage", 1);
    bench_number(&bench, "outage_seconds", seconds);
    bench_number(&bench, "spans_a_second", RATE);
    print_balance(&bench, &report, &end, received);
    bench_limit(&bench, "unaccounted_in_the_outage", outage.worst_imbalance, 0);
    bench_least(&bench, "dropped_queue_full", end.queue_full, 1);
    bench_limit(&bench, "queue_bytes", outage.most_bytes, before.capacity_bytes);
    bench_number(&bench, "before_mb", before_mb);
    bench_number(&bench, "full_mb", outage.filled_mb);
    bench_number(&bench, "after_mb", after_mb);
    bench_limit(&bench, "growth_when_full_mb", outage.most_mb - outage.filled_mb, GROWTH_LIMIT);
    bench_number(&bench, "turn_before_us", calm.mean_us);
    bench_number(&bench, "turn_in_the_outage_us", gone.mean_us);
    bench_number(&bench, "turn_after_us", back.mean_us);
    bench_limit(&bench, "turn_ratio", gone.mean_us / calm.mean_us, LAG_RATIO_LIMIT);
    bench_number(&bench, "slow_turns_before", calm.slow);
    bench_limit(&bench, "slow_turns_in_the_outage", gone.slow, SLOW_TURNS_LIMIT);
    bench_limit(&bench, "empty_after_seconds", drain_s, BACK_SECONDS);
    return bench_end(&bench);
}
