#include "render/json_self.h"

#include <stdio.h>

#include "base/clock.h"
#include "render/json_write.h"

static void put_known(struct json_writer *writer, const char *key, uint64_t number)
{
    if (number > 0) {
        json_put_u64(writer, key, number);
    } else {
        json_put_null(writer, key);
    }
}

static void put_process(struct json_writer *writer, const struct json_process *process)
{
    char instance[sizeof "0123456789abcdef"];
    (void)snprintf(instance, sizeof instance, "%016llx", (unsigned long long)process->instance);
    json_put_open(writer, "process", '{');
    put_known(writer, "pid", process->pid);
    json_put_u64(writer, "uid", process->uid);
    if (process->instance != 0) {
        json_put_text(writer, "instance", str_of(instance));
    } else {
        json_put_null(writer, "instance");
    }
    json_put_open(writer, "descriptors", '{');
    put_known(writer, "open", process->descriptors_open);
    put_known(writer, "limit", process->descriptors_limit);
    put_known(writer, "wanted", process->descriptors_wanted);
    json_close(writer, '}');
    json_close(writer, '}');
}

/* A late turn took longer than the last bound, 100 ms. */
static void put_loop(struct json_writer *writer, const struct timing *lag)
{
    json_put_open(writer, "loop", '{');
    json_put_u64(writer, "turns", lag->count);
    json_put_u64(writer, "late_turns", lag->bucket[TIMING_BOUNDS]);
    json_put_double(writer, "max_seconds", (double)lag->max_ns / (double)NS_PER_SECOND);
    json_close(writer, '}');
}

static void put_clock(struct json_writer *writer, const struct snapshot *snapshot)
{
    const struct clock_watch *clock = &snapshot->counters.clock;
    json_put_open(writer, "clock", '{');
    json_put_double(writer, "wall_seconds", (double)snapshot->wall_ns / (double)NS_PER_SECOND);
    json_put_u64(writer, "steps", clock->steps);
    json_put_double(writer, "step_seconds", clock->step_seconds);
    json_close(writer, '}');
}

/* What of some process cannot be read, and verdicts go without. */
static void put_evidence(struct json_writer *writer, unsigned missing)
{
    json_put_open(writer, "evidence", '{');
    json_put_open(writer, "missing", '[');
    for (unsigned source = 0; source < SEEN_COUNT; source++) {
        if ((missing & 1u << source) != 0) {
            json_text(writer, str_of(seen_source_names[source]));
        }
    }
    json_close(writer, ']');
    json_close(writer, '}');
}

static void put_client(struct json_writer *writer, const struct ledger_library *library)
{
    const struct ledger_terms *terms = &library->terms;
    uint64_t rejected = 0;
    for (int row = 0; row < ERR_ROW_COUNT; row++) {
        rejected += terms->rejected[row];
    }
    json_open(writer, '{');
    json_put_text(writer, "client", str_of(library->name));
    json_put_u64(writer, "sent", terms->sent);
    json_put_u64(writer, "accepted", terms->accepted);
    json_put_u64(writer, "rejected", rejected);
    json_put_u64(writer, "dropped", terms->dropped);
    json_put_u64(writer, "lost", terms->lost);
    json_close(writer, '}');
}

void json_put_self(struct json_writer *writer, const struct snapshot *snapshot,
                   const struct json_process *process)
{
    put_process(writer, process);
    put_loop(writer, &snapshot->counters.loop_lag);
    put_clock(writer, snapshot);
    put_evidence(writer, snapshot->counters.missing_sources);
    json_put_open(writer, "clients", '[');
    for (uint32_t i = 0; i < snapshot->ledger.library_count; i++) {
        put_client(writer, &snapshot->ledger.libraries[i]);
    }
    json_close(writer, ']');
}
