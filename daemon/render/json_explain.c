/*
 *     {"rounds": 12, "round_bottleneck": "io_bound", "round_rule": "evidence",
 *      "sources": {"inferences": 120, "runqueue": 120, "looks": 96, …},
 *      "evidence": {"inferences": 120, "wall_ms": 1200, …},
 *      "machine": {"cache_bytes": 33554432, …},
 *      "steps": [{"name": "wall", "value": 1200, "unit": "ms", "how": "wall_ms"},
 *                {"name": "blocked", "low": 1000, "high": 1040, "unit": "ms", "how": "…"}, …]}
 *
 * Steps are in the order of struct shares. `how` names figures of the evidence and of the machine as they
 * are spelled there, and earlier steps by their names; the constants in it are those of core/shares,
 * which the test of this module compares by redoing the steps.
 */
#include "render/json_explain.h"

#include <math.h>

/* --- evidence ---------------------------------------------------------------------------------- */

#define EVIDENCE_COUNTS(X) X(runqueue_said) X(process_said) X(bytes_said) X(flops_said)

#define EVIDENCE_OF_SAMPLES(X)                                                                     \
    X(wall_ms)                                                                                     \
    X(user_ms)                                                                                     \
    X(system_ms)                                                                                   \
    X(runqueue_low_ms)                                                                             \
    X(runqueue_high_ms)                                                                            \
    X(minor_faults)                                                                                \
    X(major_faults)                                                                                \
    X(voluntary_switches)                                                                          \
    X(involuntary_switches)                                                                        \
    X(disk_bytes)                                                                                  \
    X(threads)                                                                                     \
    X(process_wall_ms)                                                                             \
    X(process_cpu_ms)                                                                              \
    X(process_thread_ms)                                                                           \
    X(process_beside_ms)                                                                           \
    X(bytes_moved)                                                                                 \
    X(bytes_wall_ms)                                                                               \
    X(flops)                                                                                       \
    X(flops_wall_ms)

#define EVIDENCE_SEEN(X)                                                                           \
    X(touch_probes)                                                                                \
    X(touch_sum)                                                                                   \
    X(touch_squares)                                                                               \
    X(seen_ms)                                                                                     \
    X(seen_user_ms)                                                                                \
    X(seen_system_ms)                                                                              \
    X(seen_faults)                                                                                 \
    X(seen_io_bytes)                                                                               \
    X(seen_disk_bytes)                                                                             \
    X(seen_runqueue_ms)                                                                            \
    X(throttled_ms)                                                                                \
    X(memory_stall_ms)                                                                             \
    X(resident_bytes)                                                                              \
    X(huge_bytes)                                                                                  \
    X(span_ms)

static double count_looks(const struct evidence *evidence)
{
    return evidence->looks[LOOK_RUNS] + evidence->looks[LOOK_FUTEX] + evidence->looks[LOOK_WAITS];
}

/* What the evidence is made of, and how much of each there was; 0: none. */
static void put_sources(struct json_writer *writer, const struct evidence *evidence)
{
    json_put_open(writer, "sources", '{');
    json_put_u64(writer, "inferences", evidence->inferences);
    json_put_u64(writer, "runqueue", evidence->runqueue_said);
    json_put_u64(writer, "process_cpu", evidence->process_said);
    json_put_u64(writer, "bytes_hints", evidence->bytes_said);
    json_put_u64(writer, "flops_hints", evidence->flops_said);
    json_put_double(writer, "looks", count_looks(evidence));
    json_put_double(writer, "touch_probes", evidence->touch_probes);
    json_put_double(writer, "process_ms", evidence->seen_ms);
    json_put_double(writer, "throttled_ms", evidence->throttled_ms);
    json_close(writer, '}');
}

static void put_evidence(struct json_writer *writer, const struct evidence *evidence)
{
    json_put_open(writer, "evidence", '{');
    json_put_u64(writer, "inferences", evidence->inferences);
#define X(figure) json_put_double(writer, #figure, evidence->figure);
    EVIDENCE_OF_SAMPLES(X)
#undef X
#define X(figure) json_put_u64(writer, #figure, evidence->figure);
    EVIDENCE_COUNTS(X)
#undef X
    json_put_open(writer, "looks", '{');
    json_put_double(writer, "runs", evidence->looks[LOOK_RUNS]);
    json_put_double(writer, "futex", evidence->looks[LOOK_FUTEX]);
    json_put_double(writer, "waits", evidence->looks[LOOK_WAITS]);
    json_close(writer, '}');
#define X(figure) json_put_double(writer, #figure, evidence->figure);
    EVIDENCE_SEEN(X)
#undef X
    json_close(writer, '}');
}

static double or_nan(double figure)
{
    return figure > 0 ? figure : (double)NAN;
}

static void put_machine(struct json_writer *writer, const struct machine *machine)
{
    json_put_open(writer, "machine", '{');
    json_put_double(writer, "cache_bytes", or_nan(machine->cache_bytes));
    json_put_double(writer, "page_fault_us", or_nan(machine->page_fault_us));
    json_put_double(writer, "bandwidth_bytes", or_nan(machine->bandwidth_bytes));
    json_put_double(writer, "touch_bytes", or_nan(machine->touch_bytes));
    json_put_double(writer, "cpus", or_nan(machine->cpus));
    json_close(writer, '}');
}

/* --- steps ------------------------------------------------------------------------------------- */

static void end_step(struct json_writer *writer, const char *unit, const char *how)
{
    json_put_text(writer, "unit", str_of(unit));
    json_put_text(writer, "how", str_of(how));
    json_close(writer, '}');
}

static void begin_step(struct json_writer *writer, const char *name)
{
    json_open(writer, '{');
    json_put_text(writer, "name", str_of(name));
}

static void put_value(struct json_writer *writer, const char *name, double value, const char *unit,
                      const char *how)
{
    begin_step(writer, name);
    json_put_double(writer, "value", value);
    end_step(writer, unit, how);
}

static void put_range(struct json_writer *writer, const char *name, struct range range,
                      const char *unit, const char *how)
{
    begin_step(writer, name);
    json_put_double(writer, "low", range.low);
    json_put_double(writer, "high", range.high);
    end_step(writer, unit, how);
}

static void put_word(struct json_writer *writer, const char *name, const char *word,
                     const char *how)
{
    begin_step(writer, name);
    json_put_text(writer, "value", str_of(word));
    end_step(writer, "", how);
}

/* A share of time has a middle, the bounds around it, and an error by chance. */
static void put_share(struct json_writer *writer, const struct shares *shares,
                      enum share_kind which, const char *name, const char *how)
{
    begin_step(writer, name);
    json_put_double(writer, "value", shares->share[which]);
    json_put_double(writer, "low", shares->bounds[which].low);
    json_put_double(writer, "high", shares->bounds[which].high);
    json_put_double(writer, "deviation", shares->deviation[which]);
    end_step(writer, "ratio", how);
}

static double count_waits(const struct evidence *evidence)
{
    return evidence->looks[LOOK_FUTEX] + evidence->looks[LOOK_WAITS];
}

static bool has_seen_cpu(const struct evidence *evidence)
{
    return evidence->seen_user_ms + evidence->seen_system_ms > 0;
}

/* --- who worked -------------------------------------------------------------------------------- */

static void put_work_of_thread(struct json_writer *writer, const struct shares *shares)
{
    put_value(writer, "user", shares->user, "ms", "user_ms");
    put_value(writer, "system", shares->system, "ms", "system_ms");
}

static void put_work_of_all(struct json_writer *writer, const struct evidence *evidence,
                            const struct shares *shares)
{
    bool seen = has_seen_cpu(evidence);
    double thread = evidence->user_ms + evidence->system_ms;
    put_value(writer, "others", shares->user + shares->system - thread, "ms",
              "(process_cpu_ms - process_thread_ms - process_beside_ms) * wall_ms / "
              "process_wall_ms");
    put_value(
        writer, "others_ready", shares->others_ready, "ms",
        "others * max(0, seen_runqueue_ms - part * (runqueue - throttled)) / max(seen_user_ms "
        "+ seen_system_ms - part * (user_ms + system_ms), part * others), part = min(1, "
        "seen_ms / span_ms), runqueue at its middle: of what was seen of the process, without "
        "the thread's own; 0 when not seen");
    put_value(writer, "user", shares->user, "ms",
              seen ? "(user_ms + system_ms + others) * seen_user_ms / (seen_user_ms + "
                     "seen_system_ms)"
                   : "(user_ms + system_ms + others) * user_ms / (user_ms + system_ms)");
    put_value(writer, "system", shares->system, "ms",
              seen ? "(user_ms + system_ms + others) * seen_system_ms / (seen_user_ms + "
                     "seen_system_ms)"
                   : "(user_ms + system_ms + others) * system_ms / (user_ms + system_ms)");
}

static void put_work(struct json_writer *writer, const struct evidence *evidence,
                     const struct shares *shares)
{
    put_value(writer, "wall", shares->wall, "ms", "wall_ms");
    if (shares->workers) {
        put_work_of_all(writer, evidence, shares);
    } else {
        put_work_of_thread(writer, shares);
    }
    begin_step(writer, "workers");
    json_key(writer, STR_LITERAL("value"));
    json_bool(writer, shares->workers);
    end_step(
        writer, "",
        shares->workers
            ? "user_ms + system_ms + others > 1.25 * (wall - runqueue) and others > 0.25 * "
              "wall, or others_ready > 0, user_ms + system_ms + runqueue + others + "
              "others_ready > 1.5 * wall, others > 0.1 * wall, and user_ms + system_ms < 0.1 * "
              "others or user_ms + system_ms + runqueue > wall / 2, and voluntary_switches * 0.025 "
              "< (user_ms + system_ms + others) / 2: threads of its process did the work"
            : "no other thread of its process is known to have done the work");
}

/* --- waits ------------------------------------------------------------------------------------- */

enum { LOOKS_MIN = 10 }; /* below, core/shares does not ask them how long */

static const char *how_of_runqueue(const struct evidence *evidence, const struct shares *shares)
{
    bool said = evidence->runqueue_said == evidence->inferences;
    if (shares->throttled > 0) {
        return "runqueue_low_ms to runqueue_high_ms, + throttled";
    }
    if (!said && count_looks(evidence) >= LOOKS_MIN) {
        return "wall - user_ms - system_ms - wall * waiting looks / looks, at the ends of 80 %, "
               "within runqueue_low_ms to runqueue_high_ms";
    }
    return said ? "runqueue_low_ms, at most wall - user_ms - system_ms"
                : "runqueue_low_ms to runqueue_high_ms, at most wall - user_ms - system_ms";
}

static const char *how_of_throttled(const struct evidence *evidence, const struct shares *shares)
{
    if (shares->throttled > 0) {
        return "wall - user_ms - system_ms - runqueue_high_ms - wall * waiting looks / looks: "
               "neither seen waiting nor in the run queue";
    }
    return count_looks(evidence) < LOOKS_MIN ? "not known: fewer than 10 looks"
                                             : "the looks show no sign of it";
}

static const char *how_of_blocked(const struct evidence *evidence, const struct shares *shares)
{
    if (!shares->workers) {
        return "wall - user_ms - system_ms - runqueue";
    }
    return count_waits(evidence) > 0
               ? "(wall - user_ms - system_ms - runqueue) * looks at waits that are no futex / "
                 "waiting looks, about: in a futex it waits for its workers"
               : "it waits for its workers";
}

static const char *how_of_futex(const struct evidence *evidence, const struct shares *shares)
{
    if (shares->workers) {
        return "locks are not told from its workers";
    }
    if (count_waits(evidence) > 0) {
        return "looks.futex / (looks.futex + looks.waits), at the ends of 80 %";
    }
    return evidence->disk_bytes > 0 ? "it used the disk, and no look saw it in a futex"
                                    : "nothing tells what it waits for";
}

static void put_waits(struct json_writer *writer, const struct evidence *evidence,
                      const struct shares *shares)
{
    put_range(writer, "runqueue", shares->runqueue, "ms", how_of_runqueue(evidence, shares));
    put_value(writer, "throttled", shares->throttled, "ms", how_of_throttled(evidence, shares));
    put_range(writer, "blocked", shares->blocked, "ms", how_of_blocked(evidence, shares));
    put_range(writer, "futex", shares->futex, "ratio", how_of_futex(evidence, shares));
}

/* --- system time ------------------------------------------------------------------------------- */

#define ALL_DISK                                                                                   \
    "; system - fault where that is less than disk_bytes * 2.4 / 1e6 and fault less than it"

static const char *how_of_system_io(bool seen, bool workers)
{
    if (workers) {
        return "min(system - fault, (disk_bytes * 0.6 + seen_io_bytes * 0.12 * min(1, (user + "
               "system) / "
               "(seen_user_ms + seen_system_ms))) / 1e6 + voluntary_switches * 0.03 * blocked / "
               "(wall - "
               "user_ms - system_ms - runqueue)), blocked and runqueue at their middle" ALL_DISK;
    }
    return seen ? "min(system - fault, (disk_bytes * 0.6 + seen_io_bytes * 0.12 * min(1, (user + "
                  "system) "
                  "/ (seen_user_ms + seen_system_ms))) / 1e6 + voluntary_switches * 0.03 * (1 - "
                  "futex)), futex at its middle" ALL_DISK
                : "min(system - fault, disk_bytes * 0.6 / 1e6 + voluntary_switches * 0.03 * (1 - "
                  "futex)), futex at its middle" ALL_DISK;
}

static void put_system(struct json_writer *writer, const struct evidence *evidence,
                       const struct shares *shares)
{
    bool seen = has_seen_cpu(evidence);
    put_value(
        writer, "fault", shares->fault, "ms",
        shares->workers && seen
            ? "faults * page_fault_us / 1000, at most system, with faults = max(minor_faults + "
              "major_faults, seen_faults * min(1, (user + system) / (seen_user_ms + "
              "seen_system_ms))); system - system_io where that is less than faults * 0.025 and "
              "system_io less than it"
            : "faults * page_fault_us / 1000, at most system, with faults = minor_faults + "
              "major_faults; system - system_io where that is less than faults * 0.025 and "
              "system_io less than it");
    put_value(writer, "system_io", shares->system_io, "ms",
              how_of_system_io(seen, shares->workers));
}

/* --- memory ------------------------------------------------------------------------------------ */

enum { PROBES_MIN = 4, CACHE_PART = 4 }; /* as core/shares has them */

static const char *how_of_memory(const struct evidence *evidence, const struct machine *machine,
                                 const struct shares *shares)
{
    if (evidence->resident_bytes > 0 &&
        evidence->resident_bytes * CACHE_PART < machine->cache_bytes) {
        return "0, as resident_bytes < cache_bytes / 4";
    }
    if (evidence->touch_probes < PROBES_MIN) {
        return "0 to 1, as there are fewer than 4 probes of memory";
    }
    return isnan(shares->streamed) ? "(touch -+ 1.5 * touch_deviation - 0.25) / 0.6, cut to 0 to 1"
                                   : "(touch -+ 1.5 * touch_deviation - 0.25) / 0.6, cut to 0 to "
                                     "1; as most of its memory is in huge "
                                     "pages, from 0 unless streamed * (1 -+ 1.5 * touch_deviation "
                                     "/ touch) is from 0.6 to 1.6 and "
                                     "touch * touch_bytes * 0.005 at most 0.6 * resident_bytes";
}

/* Bytes that hints say were moved, as a multiple of what one CPU could read in the user time. */
static double moved_by_hints(const struct evidence *evidence, const struct machine *machine,
                             const struct shares *shares)
{
    double user_s = shares->user / 1e3 * evidence->bytes_wall_ms / shares->wall;
    return evidence->bytes_moved / (machine->bandwidth_bytes * user_s);
}

static void put_memory(struct json_writer *writer, const struct evidence *evidence,
                       const struct machine *machine, const struct shares *shares)
{
    put_value(writer, "touch", shares->touch, "ratio", "touch_sum / touch_probes");
    put_value(writer, "touch_deviation", shares->touch_deviation, "ratio",
              "max(0.03, sqrt(touch_squares / touch_probes - touch^2)) / sqrt(touch_probes)");
    if (!isnan(shares->streamed)) {
        put_value(writer, "streamed", shares->streamed, "ratio",
                  "touch * touch_bytes / bandwidth_bytes, of huge pages as a whole");
    }
    if (evidence->bytes_said > 0 && machine->bandwidth_bytes > 0 && shares->user > 0) {
        put_value(
            writer, "moved", moved_by_hints(evidence, machine, shares), "ratio",
            "bytes_moved / (bandwidth_bytes * user / 1000 * bytes_wall_ms / wall): by it memory "
            "is at least (moved - 0.25) / 0.6, cut to 0 to 1");
    }
    put_value(writer, "hinted", shares->hinted, "ratio",
              "the least that memory is by hints of bytes; 0 without them");
    put_range(writer, "memory", shares->memory, "ratio", how_of_memory(evidence, machine, shares));
}

/* --- shares ------------------------------------------------------------------------------------ */

static void put_shares(struct json_writer *writer, const struct shares *shares)
{
    put_range(writer, "starved", shares->starved, "ratio",
              shares->workers ? "max(runqueue / (user_ms + system_ms + runqueue), others_ready / "
                                "(user + system + others_ready))"
                              : "runqueue / (user_ms + system_ms + runqueue)");
    put_value(writer, "total", shares->total, "ms", "user + system + blocked at its middle");
    put_share(writer, shares, SHARE_COMPUTE, "share_compute",
              "((1 - memory) * user + system - fault - system_io) / total");
    put_share(writer, shares, SHARE_MEMORY, "share_memory", "(memory * user + fault) / total");
    put_share(writer, shares, SHARE_IO, "share_io", "((1 - futex) * blocked + system_io) / total");
    put_share(writer, shares, SHARE_LOCK, "share_lock", "futex * blocked / total");
}

/* --- the label --------------------------------------------------------------------------------- */

static const char *const how_of_rule[RULE_COUNT] = {
    [RULE_EVIDENCE] = "its share is at least 0.6 and leads by 0.25, at the worst ends of the "
                      "ranges; a label that is shown already needs 0.5 and 0.1",
    [RULE_MIXED] = "no share is at least 0.6 and leads by 0.25, at the worst ends of the ranges",
    [RULE_STARVED] = "runqueue is at least 0.9 of wall",
    [RULE_INSUFFICIENT] = "there are fewer than 20 inferences, and not 5 that fill a quarter of "
                          "the time",
    [RULE_LOCK] = "share_lock is at least 0.4",
    [RULE_CPU] = "share_compute + share_memory is at least 0.6 and leads by 0.25, and nothing "
                 "tells memory",
    [RULE_WAIT] = "share_io may be 0.6, and nothing tells futex or blocked",
};

static void put_label(struct json_writer *writer, const struct opinion *opinion)
{
    static const char *const leads[] = {"lead_compute", "lead_memory", "lead_io"};
    static const char *const smoothed[] = {"smoothed_compute", "smoothed_memory", "smoothed_io",
                                           "smoothed_lock"};
    _Static_assert(sizeof smoothed / sizeof smoothed[0] == SHARE_COUNT, "one each");
    for (unsigned i = 0; i < sizeof leads / sizeof leads[0]; i++) {
        put_value(writer, leads[i], opinion->shares.lead[i], "ratio",
                  "over the largest other share, at the worst ends of the ranges");
    }
    for (unsigned i = 0; i < SHARE_COUNT; i++) {
        put_value(writer, smoothed[i], opinion->share[i], "ratio",
                  "the share, and those of the rounds before by an exponential of 10 s");
    }
    const char *how = how_of_rule[opinion->round_rule];
    put_word(writer, "round", bottleneck_names[opinion->round_bottleneck], how == NULL ? "" : how);
    put_word(writer, "label", bottleneck_names[opinion->bottleneck],
             "that of the rounds; it changes when three in a row say another, at once where it "
             "was unknown for want of evidence");
    put_value(writer, "confidence", opinion->confidence, "ratio",
              "0.9, with looks and run queues said 0.93, with memory told 0.03 more, at most 0.96, "
              "and 0.8 for a label of memory where hinted * user + fault < 0.6 * total; "
              "times the probability that the lead is no chance; half when the round differs");
}

void json_explain(struct json_writer *writer, const struct snapshot *snapshot,
                  const struct model *model)
{
    if (model->opinion == NULL) {
        json_put_null(writer, "explanation");
        return;
    }
    const struct opinion *opinion = &model->opinion->opinion;
    const struct evidence *evidence = &opinion->evidence;
    const struct machine *machine = &snapshot->machine;
    json_put_open(writer, "explanation", '{');
    json_put_u64(writer, "rounds", opinion->rounds);
    json_put_text(writer, "round_bottleneck", str_of(bottleneck_names[opinion->round_bottleneck]));
    json_put_text(writer, "round_rule", str_of(rule_names[opinion->round_rule]));
    put_sources(writer, evidence);
    put_evidence(writer, evidence);
    put_machine(writer, machine);
    json_put_open(writer, "steps", '[');
    put_work(writer, evidence, &opinion->shares);
    put_waits(writer, evidence, &opinion->shares);
    put_system(writer, evidence, &opinion->shares);
    put_memory(writer, evidence, machine, &opinion->shares);
    put_shares(writer, &opinion->shares);
    put_label(writer, opinion);
    json_close(writer, ']');
    json_close(writer, '}');
}
