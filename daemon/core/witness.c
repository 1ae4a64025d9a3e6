/*
 * Happy path
 *   1. a sample that is evidence: its thread and process get places, or have them
 *   2. io/probe asks who is watched, looks at these threads and reads of these processes
 *   3. the next sample of the thread: the looks from its beginning to its end are counted
 *   4. a round of a model is over: what was seen of its processes since it began is added up
 *
 * What can fail: no place (the one that was silent for long enough, or else held its place for long
 * enough, gives way; if there is none, the sample has no looks), no memory for looks or readings (they
 * are lost and counted). Samples come from outside: ids, times and durations may be anything in range.
 */
#include "core/witness.h"

#include <assert.h>
#include <math.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* In which the CPU time of inferences counts less by e: a little longer than most inferences take, so
 * that those of other threads that are not over yet are known by those before. */
#define BURNED_NS (10 * NS_PER_SECOND)

/* A thread whose inferences are long is watched for twice as long as the last one took. */
#define WATCH_MIN_NS (WITNESS_WATCH_SECONDS * NS_PER_SECOND)
#define WATCH_MAX_NS (LOOKS_SECONDS * NS_PER_SECOND)

/* Held so long, a place has shown what it can: others may have it. */
#define HOLD_NS (LOOKS_SECONDS * NS_PER_SECOND)

int witness_init(struct witness *witness, uint32_t max_threads)
{
    assert(max_threads >= 1 && max_threads <= WITNESS_THREADS_MAX);
    *witness = (struct witness){.max_threads = max_threads};
    witness->threads = mem_zalloc(max_threads, sizeof *witness->threads);
    return witness->threads == NULL ? ERR_NOMEM : 0;
}

static void free_thread(struct witness_thread *thread)
{
    looks_fini(&thread->looks);
    *thread = (struct witness_thread){.thread_id = 0};
}

static void free_process(struct witness_process *process)
{
    readings_fini(&process->readings);
    *process = (struct witness_process){.looked_ns = 0};
}

void witness_fini(struct witness *witness)
{
    for (uint32_t i = 0; witness->threads != NULL && i < witness->max_threads; i++) {
        free_thread(&witness->threads[i]);
    }
    for (uint32_t i = 0; i < WITNESS_PROCESSES_MAX; i++) {
        free_process(&witness->processes[i]);
    }
    mem_free(witness->threads);
    *witness = (struct witness){.threads = NULL};
}

void witness_set_time(struct witness *witness, uint64_t mono_ns)
{
    witness->now_ns = mono_ns > witness->now_ns ? mono_ns : witness->now_ns;
}

/* --- places ------------------------------------------------------------------------------------ */

/* Where the process is, or WITNESS_PROCESSES_MAX. */
static uint32_t find_process(const struct witness *witness, int64_t kernel_pid)
{
    uint32_t at = kernel_pid > 0 ? 0 : WITNESS_PROCESSES_MAX;
    while (at < WITNESS_PROCESSES_MAX && witness->processes[at].place.kernel_pid != kernel_pid) {
        at++;
    }
    return at;
}

static struct witness_process *get_process(struct witness *witness, int64_t kernel_pid)
{
    uint32_t at = find_process(witness, kernel_pid);
    return at == WITNESS_PROCESSES_MAX ? NULL : &witness->processes[at];
}

static bool is_thread(const struct witness_thread *thread, int64_t kernel_pid, uint64_t thread_id)
{
    return thread->place.kernel_pid == kernel_pid && thread->thread_id == thread_id;
}

static struct witness_thread *get_thread(struct witness *witness, int64_t kernel_pid,
                                         uint64_t thread_id)
{
    if (kernel_pid <= 0) {
        return NULL;
    }
    if (is_thread(&witness->threads[witness->last], kernel_pid, thread_id)) {
        return &witness->threads[witness->last];
    }
    for (uint32_t i = 0; i < witness->max_threads; i++) {
        if (is_thread(&witness->threads[i], kernel_pid, thread_id)) {
            witness->last = i;
            return &witness->threads[i];
        }
    }
    return NULL;
}

static bool is_watched(const struct witness_place *place, uint64_t now_ns)
{
    return place->kernel_pid != 0 && now_ns < place->until_ns;
}

/* Whom to ask for a place first: a free one, then who has been silent the longest, then who has held
 * it the longest. 0: it is not given. */
static uint64_t rank(const struct witness_place *place, uint64_t now_ns)
{
    if (place->kernel_pid == 0) {
        return UINT64_MAX;
    }
    if (now_ns >= place->until_ns) {
        return UINT64_MAX / 2 + (now_ns - place->until_ns) / 2;
    }
    return now_ns - place->began_ns < HOLD_NS ? 0 : (now_ns - place->began_ns) / 2;
}

static struct witness_place place_of(int64_t kernel_pid, uint64_t now_ns)
{
    return (struct witness_place){
        .kernel_pid = kernel_pid, .began_ns = now_ns, .burned = {.at_ns = now_ns}};
}

static struct witness_thread *place_thread(struct witness *witness, int64_t kernel_pid,
                                           uint64_t thread_id)
{
    struct witness_thread *best = NULL;
    uint64_t highest = 0;
    for (uint32_t i = 0; i < witness->max_threads && highest < UINT64_MAX; i++) {
        uint64_t ranked = rank(&witness->threads[i].place, witness->now_ns);
        if (ranked > highest) {
            highest = ranked;
            best = &witness->threads[i];
        }
    }
    if (best != NULL) {
        witness->replaced += best->place.kernel_pid != 0;
        free_thread(best);
        best->place = place_of(kernel_pid, witness->now_ns);
        best->thread_id = thread_id;
    }
    return best;
}

static struct witness_process *place_process(struct witness *witness, int64_t kernel_pid)
{
    struct witness_process *best = NULL;
    uint64_t highest = 0;
    for (uint32_t i = 0; i < WITNESS_PROCESSES_MAX && highest < UINT64_MAX; i++) {
        uint64_t ranked = rank(&witness->processes[i].place, witness->now_ns);
        if (ranked > highest) {
            highest = ranked;
            best = &witness->processes[i];
        }
    }
    if (best != NULL) {
        witness->replaced += best->place.kernel_pid != 0;
        witness_forget(witness, best->place.kernel_pid);
        best->place = place_of(kernel_pid, witness->now_ns);
    }
    return best;
}

/* --- CPU time of inferences -------------------------------------------------------------------- */

/* The sum as of now. */
static double left_of(const struct decayed *burned, uint64_t now_ns)
{
    return burned->cpu_ms * exp(-(double)(now_ns - burned->at_ns) / (double)BURNED_NS);
}

/* An inference that is just over used CPU time evenly: its beginning counts less already. */
static void burn(struct decayed *burned, uint64_t now_ns, double cpu_ms, double wall_ms)
{
    double lengths = wall_ms * (double)NS_PER_MS / (double)BURNED_NS;
    double counts = lengths > 0 ? -expm1(-lengths) / lengths : 1;
    burned->cpu_ms = left_of(burned, now_ns) + cpu_ms * counts;
    burned->at_ns = now_ns;
}

/* What other inferences of the process use, in CPUs: those of other threads, as a thread's own clock
 * counts all that runs on it. A thread without a place is known by its last inference alone. */
static double others_rate(const struct witness *witness, const struct witness_process *process,
                          const struct witness_thread *thread, double wall_ms)
{
    double since_ns =
        (double)(witness->now_ns - process->place.began_ns) + wall_ms * (double)NS_PER_MS;
    double full_ms = (double)BURNED_NS / (double)NS_PER_MS * -expm1(-since_ns / (double)BURNED_NS);
    double others_ms = left_of(&process->place.burned, witness->now_ns) -
                       (thread == NULL ? 0 : left_of(&thread->place.burned, witness->now_ns));
    return full_ms > 0 ? fmax(others_ms / full_ms, 0) : 0;
}

/* CPU time of the thread, as it can have been. */
static double cpu_of(const struct sample *sample)
{
    double threads = SAMPLE_HAS(sample, THREADS) ? fmax(sample->threads, 1) : 1;
    return fmin(sample->user_ms + sample->system_ms, sample->execution_time_ms * threads);
}

static double beside(const struct witness *witness, const struct witness_process *process,
                     const struct witness_thread *thread, const struct sample *sample)
{
    double wall_ms = sample->execution_time_ms;
    double cpu_ms = others_rate(witness, process, thread, wall_ms) * wall_ms;
    cpu_ms -= thread == NULL ? cpu_of(sample) : 0;
    return fmax(fmin(cpu_ms, sample->process_cpu_ms - cpu_of(sample)), 0);
}

/* --- samples ----------------------------------------------------------------------------------- */

static void watch(struct witness_place *place, uint64_t now_ns, const struct sample *sample)
{
    double wanted_ns = 2 * sample->execution_time_ms * (double)NS_PER_MS;
    uint64_t until_ns = now_ns + (wanted_ns < (double)WATCH_MIN_NS   ? WATCH_MIN_NS
                                  : wanted_ns > (double)WATCH_MAX_NS ? WATCH_MAX_NS
                                                                     : (uint64_t)wanted_ns);
    place->until_ns = until_ns > place->until_ns ? until_ns : place->until_ns;
}

static struct witness_process *use_process(struct witness *witness, int64_t kernel_pid,
                                           const struct sample *sample)
{
    struct witness_process *process = get_process(witness, kernel_pid);
    if (process == NULL) {
        process = place_process(witness, kernel_pid);
    }
    if (process != NULL) {
        watch(&process->place, witness->now_ns, sample);
    }
    return process;
}

static struct witness_thread *use_thread(struct witness *witness, int64_t kernel_pid,
                                         const struct sample *sample)
{
    struct witness_thread *thread = get_thread(witness, kernel_pid, sample->thread_id);
    if (thread == NULL) {
        thread = place_thread(witness, kernel_pid, sample->thread_id);
    }
    if (thread != NULL) {
        watch(&thread->place, witness->now_ns, sample);
    } else {
        witness->refused++;
    }
    return thread;
}

static void count_looks(const struct witness_thread *thread, const struct sample *sample,
                        struct evidence *evidence)
{
    uint64_t end_ns = sample->timestamp_wall_ns;
    double length_ns = sample->execution_time_ms * (double)NS_PER_MS;
    uint64_t from_ns = length_ns < (double)end_ns ? end_ns - (uint64_t)length_ns : 0;
    looks_count(&thread->looks, from_ns, end_ns, evidence->looks);
}

void witness_sample(struct witness *witness, int64_t kernel_pid, const struct sample *sample,
                    struct evidence *evidence)
{
    if (kernel_pid <= 0) {
        return;
    }
    struct witness_process *process = use_process(witness, kernel_pid, sample);
    if (process == NULL) {
        witness->refused++;
        return;
    }
    struct witness_thread *thread =
        SAMPLE_HAS(sample, THREAD_ID) ? use_thread(witness, kernel_pid, sample) : NULL;
    double cpu_ms = cpu_of(sample) * (double)record_weight(sample);
    burn(&process->place.burned, witness->now_ns, cpu_ms, sample->execution_time_ms);
    if (thread != NULL) {
        burn(&thread->place.burned, witness->now_ns, cpu_ms, sample->execution_time_ms);
        if (SAMPLE_HAS(sample, TIMESTAMP)) {
            count_looks(thread, sample, evidence);
        }
    }
    if (SAMPLE_HAS(sample, PROCESS_CPU)) {
        evidence->process_beside_ms += beside(witness, process, thread, sample);
    }
}

/* --- what was seen ----------------------------------------------------------------------------- */

void witness_look(struct witness *witness, int64_t kernel_pid, uint64_t thread_id, uint64_t wall_ns,
                  enum look_at look_at)
{
    struct witness_thread *thread = get_thread(witness, kernel_pid, thread_id);
    struct witness_process *process = get_process(witness, kernel_pid);
    if (thread == NULL || process == NULL) {
        return;
    }
    if (looks_add(&thread->looks, wall_ns, look_at) == 0) {
        process->looked_ns = witness->now_ns;
    } else {
        witness->lost++;
    }
}

void witness_process(struct witness *witness, int64_t kernel_pid,
                     const struct process_figures *figures)
{
    struct witness_process *process = get_process(witness, kernel_pid);
    if (process != NULL && readings_add(&process->readings, witness->now_ns, figures) != 0) {
        witness->lost++;
    }
}

void witness_touch(struct witness *witness, int64_t kernel_pid, double ratio)
{
    struct witness_process *process = get_process(witness, kernel_pid);
    if (process != NULL && readings_add_touch(&process->readings, witness->now_ns, ratio) != 0) {
        witness->lost++;
    }
}

void witness_forget(struct witness *witness, int64_t kernel_pid)
{
    struct witness_process *process = get_process(witness, kernel_pid);
    if (process == NULL) {
        return;
    }
    for (uint32_t i = 0; i < witness->max_threads; i++) {
        if (witness->threads[i].place.kernel_pid == kernel_pid) {
            free_thread(&witness->threads[i]);
        }
    }
    free_process(process);
}

void witness_wants_touch(struct witness *witness, int64_t kernel_pid, bool wants)
{
    struct witness_process *process = get_process(witness, kernel_pid);
    if (process != NULL) {
        process->wants_touch = wants;
    }
}

unsigned witness_collect(const struct witness *witness, int64_t kernel_pid, uint64_t since_ns,
                         struct evidence *evidence)
{
    uint32_t at = find_process(witness, kernel_pid);
    if (at == WITNESS_PROCESSES_MAX) {
        return 0;
    }
    const struct witness_process *process = &witness->processes[at];
    uint64_t minute_ns = WITNESS_TOUCH_SECONDS * NS_PER_SECOND;
    uint64_t minute_ago_ns = witness->now_ns > minute_ns ? witness->now_ns - minute_ns : 0;
    unsigned sources =
        readings_collect(&process->readings, since_ns,
                         since_ns < minute_ago_ns ? since_ns : minute_ago_ns, evidence);
    bool was_looked_at = process->looked_ns != 0 && process->looked_ns >= since_ns;
    return sources | (was_looked_at ? 1U << SEEN_LOOKS : 0);
}

uint32_t witness_list_processes(const struct witness *witness, struct watched_process *ret)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < WITNESS_PROCESSES_MAX; i++) {
        const struct witness_process *process = &witness->processes[i];
        if (is_watched(&process->place, witness->now_ns)) {
            ret[count++] =
                (struct watched_process){process->place.kernel_pid, process->wants_touch};
        }
    }
    return count;
}

uint32_t witness_list_threads(const struct witness *witness, struct watched_thread *ret)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < witness->max_threads; i++) {
        const struct witness_thread *thread = &witness->threads[i];
        if (is_watched(&thread->place, witness->now_ns)) {
            ret[count++] = (struct watched_thread){thread->place.kernel_pid, thread->thread_id};
        }
    }
    return count;
}
