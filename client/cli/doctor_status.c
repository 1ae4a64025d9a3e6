#include "cli/doctor_status.h"

#include <math.h>
#include <stdio.h>

#include "cli/answer.h"
#include "cli/doctor_lately.h"
#include "cli/doctor_reason.h"
#include "cli/figure.h"
#include "cli/status.h"

#define NEARLY_FULL 0.9 /* of a ceiling */
#define LATE_SHARE                                                                                 \
    1e-3 /* of the loop's turns; and LATE_LEAST of them, so that a start does not count */
#define AWAY_SECONDS 2.0 /* that two clocks may differ, the answer's way included */

enum { LATE_LEAST = 10, STEPS_MANY = 2, REJECTED_PATH_BYTES = 64 };

static double number_or_zero(const json_t *root, const char *path)
{
    double number = answer_number(root, path);
    return isfinite(number) ? number : 0;
}

/* --- versions ---------------------------------------------------------------------------------- */

static void judge_version(const json_t *root, struct findings *findings)
{
    const char *version = answer_text(root, "version");
    struct finding *finding = finding_add(findings, "version");
    if (strcmp(version, DWELL_VERSION) == 0) {
        finding_say(finding, "dwelld %s, as this tool, up ", version);
        figure_since(&finding->found, answer_number(root, "uptime_seconds"));
    } else {
        finding_say(finding, "dwelld %s, and this tool is %s", version, DWELL_VERSION);
        finding_mend(finding, FINDING_WARN, "Upgrade the older of the two, and restart dwelld");
    }
}

/* Of clients that are versioned with the daemon. */
static bool is_ours(const char *client)
{
    static const char *const names[] = {"libdwell/", "dwell/", "dwell-python/", "dwell-node/",
                                        "dwell-go/"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strncmp(client, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void judge_clients(const json_t *root, struct findings *findings)
{
    const json_t *clients = json_object_get(root, "clients");
    const json_t *client;
    size_t i;
    size_t named = 0;
    size_t others = 0;
    if (!json_is_array(clients)) {
        return;
    }
    struct finding *finding = finding_add(findings, "clients");
    json_array_foreach((json_t *)(uintptr_t)clients, i, client)
    {
        const char *name = answer_text(client, "client");
        if (strcmp(name, "unknown") == 0) {
            continue; /* all that did not say */
        }
        bool same = strcmp(strchr(name, '/') == NULL ? "" : strchr(name, '/') + 1,
                           answer_text(root, "version")) == 0;
        others += is_ours(name) && !same ? 1 : 0;
        finding_say(finding, "%s%s", named++ == 0 ? "" : ", ", name);
    }
    if (named == 0) {
        finding_say(finding, "none has said who it is");
    }
    if (others > 0) {
        finding_mend(finding, FINDING_WARN,
                     "Upgrade the clients, or the daemon, to one version: an older side leaves out "
                     "what it does not know");
    }
}

/* --- records ----------------------------------------------------------------------------------- */

static void judge_rejected(const json_t *root, struct findings *findings)
{
    double rejected = status_rejected(root);
    double all = status_accepted(root) + rejected;
    const char *reason;
    json_t *count;
    char path[REJECTED_PATH_BYTES];
    if (rejected == 0) {
        struct finding *finding = finding_add(findings, "records");
        figure_count(&finding->found, all);
        finding_say(finding, " accepted, none rejected");
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)answer_at(root, "records.rejected"), reason, count)
    {
        if (json_number_value(count) > 0) {
            struct finding *finding = finding_add(findings, "rejected");
            figure_count(&finding->found, json_number_value(count));
            finding_say(finding, " of ");
            figure_plural(&finding->found, all, "record", "records");
            finding_say(finding, ": %s", reason);
            (void)snprintf(path, sizeof path, "rejected.%s", reason); /* ours are short */
            if (doctor_is_lately(root, path, finding)) {
                finding_mend(finding, FINDING_WARN, "%s", doctor_reason_mend(reason));
            }
        }
    }
}

/* They are skipped, so a figure that somebody means to send may be missing. */
static void judge_keys(const json_t *root, struct findings *findings)
{
    double count = number_or_zero(root, "counters.unknown_keys_total");
    if (count > 0) {
        struct finding *finding = finding_add(findings, "keys");
        figure_plural(&finding->found, count, "unknown key was", "unknown keys were");
        finding_say(finding, " ignored; the log names %s", count == 1 ? "it" : "them");
        if (doctor_is_lately(root, "counters.unknown_keys_total", finding)) {
            finding_mend(finding, FINDING_WARN,
                         "Correct the names of keys by proto/WIRE.md, or upgrade dwelld where the "
                         "client is newer");
        }
    }
}

static double sum_of(const json_t *numbers)
{
    double sum = 0;
    const char *name;
    json_t *number;
    json_object_foreach((json_t *)(uintptr_t)numbers, name, number)
    {
        sum += json_number_value(number);
    }
    return sum;
}

/* `name` is that of the row, and of the term. */
static void judge_missing(const json_t *root, const char *name, double count, const char *why,
                          const char *mend, struct findings *findings)
{
    double sent = number_or_zero(root, "ledger.sent");
    if (count > 0) {
        struct finding *finding = finding_add(findings, name);
        figure_count(&finding->found, count);
        finding_say(finding, " of ");
        figure_plural(&finding->found, sent, "record", "records");
        finding_say(finding, " that clients numbered: %s", why);
        if (doctor_is_lately(root, name, finding)) {
            finding_mend(finding, FINDING_WARN, "%s", mend);
        }
    }
}

/* sent = accepted + rejected + dropped + lost */
static void judge_account(const json_t *root, struct findings *findings)
{
    double sent = number_or_zero(root, "ledger.sent");
    double accepted = number_or_zero(root, "ledger.accepted");
    double rejected = sum_of(answer_at(root, "ledger.rejected"));
    double dropped = number_or_zero(root, "ledger.dropped");
    double lost = number_or_zero(root, "ledger.lost");
    double unledgered = number_or_zero(root, "ledger.unledgered");
    double open = sent - accepted - rejected - dropped - lost;
    judge_missing(root, "dropped", dropped, "they found no daemon, or filled their queues",
                  "Start dwelld before its clients; where its lag is high give it more CPU",
                  findings);
    judge_missing(root, "lost", lost, "they left their client and never came here",
                  "Stop dwelld by SIGTERM, which takes in what has come: look for kill -9 and for "
                  "out of memory, journalctl -k",
                  findings);
    struct finding *finding = finding_add(findings, "account");
    figure_count(&finding->found, sent);
    finding_say(finding, " sent = ");
    figure_count(&finding->found, accepted);
    finding_say(finding, " accepted + ");
    figure_count(&finding->found, rejected);
    finding_say(finding, " rejected + ");
    figure_count(&finding->found, dropped);
    finding_say(finding, " dropped + ");
    figure_count(&finding->found, lost);
    finding_say(finding, " lost");
    if (open != 0) {
        finding_say(finding, ", and %.0f more", open);
        finding_mend(finding, FINDING_FAIL,
                     "Report it, with what dwell status --json prints: it should come out even");
    } else if (unledgered > 0) {
        finding_say(finding, "; ");
        figure_count(&finding->found, unledgered);
        finding_say(finding, " of clients that do not number them");
    }
}

/* --- ceilings ---------------------------------------------------------------------------------- */

static const struct ceiling {
    const char *name;
    const char *used; /* path in the status */
    const char *limit;
    const char *over; /* path of what went past it */
    const char *lost; /* what became of that */
    const char *mend;
} ceilings[] = {
    {"models", "counters.models", "profiling.max_models", "counters.overflow_samples_total",
     "samples of more are counted as one model",
     "Name models by what they are and not by request, or raise profiling.max_models"},
    {"series", "counters.metric_series", "metrics.max_series", "counters.overflow_records_total",
     "records of more are counted in overflow series",
     "Take away labels whose values never end, such as ids, or raise metrics.max_series and "
     "metrics.max_series_per_family"},
    {"connections", "counters.connections", "ingest.max_connections",
     "counters.connections_refused_total", "connections were refused",
     "Look into the log for who and why, and raise ingest.max_connections if it was too many"},
};

static void judge_ceiling(const struct ceiling *ceiling, const json_t *root,
                          struct findings *findings)
{
    double used = answer_number(root, ceiling->used);
    double limit = answer_limit(root, ceiling->limit);
    double over = number_or_zero(root, ceiling->over);
    if (!isfinite(used) || limit <= 0) {
        return;
    }
    bool is_past = false;
    struct finding *finding = finding_add(findings, ceiling->name);
    figure_count(&finding->found, used);
    finding_say(finding, " of at most ");
    figure_count(&finding->found, limit);
    if (over > 0) {
        finding_say(finding, "; ");
        figure_count(&finding->found, over);
        finding_say(finding, " %s", ceiling->lost);
        is_past = doctor_is_lately(root, ceiling->over, finding);
    }
    if (is_past || used >= NEARLY_FULL * limit) {
        finding_mend(finding, FINDING_WARN, "%s", ceiling->mend);
    }
}

/* --- the daemon itself ------------------------------------------------------------------------- */

static void judge_descriptors(const json_t *root, struct findings *findings)
{
    double open = answer_number(root, "process.descriptors.open");
    double limit = answer_number(root, "process.descriptors.limit");
    double wanted = answer_number(root, "process.descriptors.wanted");
    if (!isfinite(limit)) {
        return;
    }
    struct finding *finding = finding_add(findings, "descriptors");
    if (isfinite(open)) {
        figure_count(&finding->found, open);
        finding_say(finding, " open, ");
    }
    figure_count(&finding->found, limit);
    finding_say(finding, " may be");
    if (limit < wanted) {
        finding_say(finding, ", and all connections would take ");
        figure_count(&finding->found, wanted);
        finding_mend(finding, FINDING_WARN,
                     "Allow %.0f and restart dwelld: LimitNOFILE=, or ulimit -n; until then "
                     "ingest.max_connections is taken as less",
                     wanted);
    } else if (open > NEARLY_FULL * limit) {
        finding_mend(finding, FINDING_WARN,
                     "Allow more and restart dwelld: LimitNOFILE=, or "
                     "ulimit -n");
    }
}

static void judge_loop(const json_t *root, struct findings *findings)
{
    double turns = answer_number(root, "loop.turns");
    double late = answer_number(root, "loop.late_turns");
    if (!isfinite(turns)) {
        return;
    }
    struct finding *finding = finding_add(findings, "loop");
    figure_count(&finding->found, late);
    finding_say(finding, " of ");
    figure_plural(&finding->found, turns, "turn", "turns");
    finding_say(finding, " took over 100 ms, the longest ");
    figure_time(&finding->found, answer_number(root, "loop.max_seconds") * 1e3);
    if (late >= LATE_LEAST && late > LATE_SHARE * turns) {
        finding_mend(finding, FINDING_WARN,
                     "Give the daemon more CPU (CPUQuota=, nice), or send less at once: dwell top "
                     "shows who sends");
    }
}

static void judge_clock(const json_t *root, double here, struct findings *findings)
{
    double there = answer_number(root, "clock.wall_seconds");
    double steps = number_or_zero(root, "clock.steps");
    if (!isfinite(there)) {
        return;
    }
    struct finding *finding = finding_add(findings, "clock");
    if (fabs(there - here) > AWAY_SECONDS) {
        finding_say(finding, "it is %.1f s %s ours", fabs(there - here),
                    there < here ? "behind" : "ahead of");
        finding_mend(finding, FINDING_FAIL,
                     "Let both machines keep time: timedatectl set-ntp true");
    } else {
        finding_say(finding, "within %.0f s of ours", AWAY_SECONDS);
    }
    if (steps > 0) {
        finding_say(finding, "; it was set ");
        figure_plural(&finding->found, steps, "time", "times");
        finding_say(finding, ", by %+.1f s the last time",
                    answer_number(root, "clock.step_seconds"));
    }
    if (steps >= STEPS_MANY && finding->state == FINDING_OK &&
        doctor_is_lately(root, "counters.clock_steps_total", finding)) {
        finding_mend(finding, FINDING_WARN,
                     "Let one service keep the time, by small steps: timedatectl set-ntp true");
    }
}

/* Sources that every kernel has: another user or another namespace keeps the daemon from them. */
static bool is_forbidden(const char *source)
{
    static const char *const optional[] = {"throttling", "pressure"};
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++) {
        if (strcmp(source, optional[i]) == 0) {
            return false;
        }
    }
    return true;
}

static void judge_evidence(const json_t *root, struct findings *findings)
{
    const json_t *missing = answer_at(root, "evidence.missing");
    const json_t *source;
    size_t i;
    bool forbidden = false;
    if (!json_is_array(missing)) {
        return;
    }
    struct finding *finding = finding_add(findings, "evidence");
    json_array_foreach((json_t *)(uintptr_t)missing, i, source)
    {
        const char *name = json_is_string(source) ? json_string_value(source) : "";
        forbidden = forbidden || is_forbidden(name);
        finding_say(finding, "%s%s", i == 0 ? "of some process not to be had: " : ", ", name);
    }
    if (json_array_size(missing) == 0) {
        finding_say(finding, "all that was asked for could be read");
    } else {
        finding_say(finding, "; verdicts go without");
    }
    if (forbidden) {
        finding_mend(finding, FINDING_WARN,
                     "Run dwelld as the service's own user (dwelld@.service) and where it sees its "
                     "processes (shareProcessNamespace), or set profiling.probe to \"off\"");
    }
}

static const struct {
    const char *counter;
    const char *found;
    const char *mend;
} losses[] = {
    {"counters.probe_refused_samples_total", "samples whose thread found no place to be watched",
     "Raise profiling.max_watched_threads"},
    {"counters.lost_evidence_total", "samples whose evidence found no memory",
     "Give the daemon more memory: raise MemoryMax=, or the container's limit"},
    {"counters.snapshots_refused_total", "scrapes that were turned away: too many at once",
     "Ask less often, or let fewer scrapers ask slowly at the same time"},
};

static void judge_losses(const json_t *root, struct findings *findings)
{
    for (size_t i = 0; i < sizeof losses / sizeof losses[0]; i++) {
        double count = number_or_zero(root, losses[i].counter);
        if (count > 0) {
            struct finding *finding = finding_add(findings, "left out");
            figure_count(&finding->found, count);
            finding_say(finding, " %s", losses[i].found);
            if (doctor_is_lately(root, losses[i].counter, finding)) {
                finding_mend(finding, FINDING_WARN, "%s", losses[i].mend);
            }
        }
    }
}

void doctor_status_judge(const json_t *root, double wall_seconds, struct findings *findings)
{
    judge_version(root, findings);
    judge_clients(root, findings);
    judge_rejected(root, findings);
    judge_keys(root, findings);
    judge_account(root, findings);
    for (size_t i = 0; i < sizeof ceilings / sizeof ceilings[0]; i++) {
        judge_ceiling(&ceilings[i], root, findings);
    }
    judge_losses(root, findings);
    judge_descriptors(root, findings);
    judge_loop(root, findings);
    judge_clock(root, wall_seconds, findings);
    judge_evidence(root, findings);
}
