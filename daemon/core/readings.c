#include "core/readings.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

const char *const seen_source_names[SEEN_COUNT] = {
    [SEEN_CPU] = "cpu",
    [SEEN_IO] = "io",
    [SEEN_MEMORY] = "memory",
    [SEEN_HUGE] = "huge_pages",
    [SEEN_THROTTLE] = "throttling",
    [SEEN_PRESSURE] = "pressure",
    [SEEN_RUNQUEUE] = "runqueue",
    [SEEN_LOOKS] = "looks",
    [SEEN_TOUCH] = "touch",
};

void readings_fini(struct readings *readings)
{
    mem_free(readings->list);
    *readings = (struct readings){.list = NULL};
}

static float max_of(float a, float b)
{
    return a > b ? a : b;
}

/* What cannot be is nothing. */
static float sound(double figure)
{
    return figure > 0 && isfinite(figure) ? (float)figure : 0;
}

static void merge(struct reading *into, const struct reading *later)
{
    into->end_ns = later->end_ns;
    into->sources |= later->sources;
    into->between_ms += later->between_ms;
    into->user_ms += later->user_ms;
    into->system_ms += later->system_ms;
    into->faults += later->faults;
    into->io_bytes += later->io_bytes;
    into->disk_bytes += later->disk_bytes;
    into->throttled_ms += later->throttled_ms;
    into->memory_stall_ms += later->memory_stall_ms;
    into->runqueue_ms += later->runqueue_ms;
    into->resident_bytes = max_of(into->resident_bytes, later->resident_bytes);
    into->huge_bytes = max_of(into->huge_bytes, later->huge_bytes);
    into->touch_probes += later->touch_probes;
    into->touch_sum += later->touch_sum;
    into->touch_squares += later->touch_squares;
}

/* Between the end of the reading before this one and its own end, per age of its end. */
static double length_for_age(const struct readings *readings, uint32_t at, uint64_t now_ns)
{
    const struct reading *first = &readings->list[at];
    const struct reading *second = &readings->list[at + 1];
    double begin_ns = (double)first->end_ns - (double)first->between_ms * (double)NS_PER_MS;
    double age_ns = (double)(now_ns - second->end_ns) + (double)NS_PER_SECOND;
    return ((double)second->end_ns - begin_ns) / age_ns;
}

/* Two neighbours become one. */
static void thin(struct readings *readings, uint64_t now_ns)
{
    uint32_t best = 0;
    double least = length_for_age(readings, 0, now_ns);
    for (uint32_t i = 1; i + 1 < readings->count; i++) {
        double length = length_for_age(readings, i, now_ns);
        if (length < least) {
            least = length;
            best = i;
        }
    }
    merge(&readings->list[best], &readings->list[best + 1]);
    memmove(&readings->list[best + 1], &readings->list[best + 2],
            (readings->count - best - 2) * sizeof readings->list[0]);
    readings->count--;
}

static int add(struct readings *readings, const struct reading *reading)
{
    if (readings->list == NULL) {
        readings->list = mem_zalloc(READINGS_MAX, sizeof *readings->list);
        if (readings->list == NULL) {
            return ERR_NOMEM;
        }
    }
    assert(readings->count == 0 || readings->list[readings->count - 1].end_ns <= reading->end_ns);
    if (readings->count == READINGS_MAX) {
        thin(readings, reading->end_ns);
    }
    readings->list[readings->count++] = *reading;
    return 0;
}

/* The newest reading with figures, or NULL: probes stand between them. */
static const struct reading *last_figures(const struct readings *readings)
{
    for (uint32_t i = readings->count; i > 0; i--) {
        if (readings->list[i - 1].between_ms > 0) {
            return &readings->list[i - 1];
        }
    }
    return NULL;
}

int readings_add(struct readings *readings, uint64_t now_ns, const struct process_figures *figures)
{
    const struct reading *last = last_figures(readings);
    double between_ms = sound(figures->between_ms);
    if (last != NULL) {
        between_ms = fmin(between_ms, (double)(now_ns - last->end_ns) / (double)NS_PER_MS);
    }
    if (between_ms <= 0) {
        return 0; /* nothing can have been seen in no time */
    }
    struct reading reading = {.end_ns = now_ns,
                              .sources = figures->sources,
                              .between_ms = (float)between_ms,
                              .user_ms = sound(figures->user_ms),
                              .system_ms = sound(figures->system_ms),
                              .faults = sound(figures->faults),
                              .io_bytes = sound(figures->io_bytes),
                              .disk_bytes = sound(figures->disk_bytes),
                              .throttled_ms = sound(figures->throttled_ms),
                              .memory_stall_ms = sound(figures->memory_stall_ms),
                              .runqueue_ms = sound(figures->runqueue_ms),
                              .resident_bytes = sound(figures->resident_bytes),
                              .huge_bytes = sound(figures->huge_bytes)};
    return add(readings, &reading);
}

int readings_add_touch(struct readings *readings, uint64_t now_ns, double ratio)
{
    struct reading reading = {.end_ns = now_ns,
                              .sources = 1U << SEEN_TOUCH,
                              .touch_probes = 1,
                              .touch_sum = sound(ratio),
                              .touch_squares = sound(ratio * ratio)};
    return add(readings, &reading);
}

/* How much of a reading is after `since_ns`, 0 to 1. One of probes alone has no length. */
static double share_after(const struct reading *reading, uint64_t since_ns)
{
    double after_ms = ((double)reading->end_ns - (double)since_ns) / (double)NS_PER_MS;
    double between_ms = (double)reading->between_ms;
    return after_ms <= 0 ? 0 : after_ms >= between_ms ? 1 : after_ms / between_ms;
}

static void add_figures(const struct reading *reading, double share, struct evidence *evidence)
{
    evidence->seen_ms += share * (double)reading->between_ms;
    evidence->seen_user_ms += share * (double)reading->user_ms;
    evidence->seen_system_ms += share * (double)reading->system_ms;
    evidence->seen_faults += share * (double)reading->faults;
    evidence->seen_io_bytes += share * (double)reading->io_bytes;
    evidence->seen_disk_bytes += share * (double)reading->disk_bytes;
    evidence->throttled_ms += share * (double)reading->throttled_ms;
    evidence->seen_runqueue_ms += share * (double)reading->runqueue_ms;
    evidence->memory_stall_ms += share * (double)reading->memory_stall_ms;
    evidence->resident_bytes = fmax(evidence->resident_bytes, (double)reading->resident_bytes);
    evidence->huge_bytes = fmax(evidence->huge_bytes, (double)reading->huge_bytes);
}

unsigned readings_collect(const struct readings *readings, uint64_t since_ns,
                          uint64_t touched_since_ns, struct evidence *evidence)
{
    unsigned sources = 0;
    for (uint32_t i = 0; i < readings->count; i++) {
        const struct reading *reading = &readings->list[i];
        double share = share_after(reading, since_ns);
        if (share > 0) {
            add_figures(reading, share, evidence);
            sources |= reading->sources & ~(1U << SEEN_TOUCH);
        }
        if (reading->touch_probes > 0 && reading->end_ns >= touched_since_ns) {
            evidence->touch_probes += (double)reading->touch_probes;
            evidence->touch_sum += (double)reading->touch_sum;
            evidence->touch_squares += (double)reading->touch_squares;
            sources |= 1U << SEEN_TOUCH;
        }
    }
    return sources;
}
