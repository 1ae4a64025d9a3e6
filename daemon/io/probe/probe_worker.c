/*
 * Happy path
 *   1. orders say whom to watch: files of new ones are opened, of others closed
 *   2. about every 50 ms: each thread is looked at, the looks go to the loop
 *   3. every second: the figures of each process go to the loop
 *   4. eight times a minute, for a process that needs it: its memory is probed, after the reference was
 *      measured; the ratio goes to the loop
 *   5. nobody is watched: it sleeps until there are orders
 *
 * What can fail: a thread or process is gone (of a process the loop is told, of whom nothing more comes);
 * files cannot be read (said once for each kind in the log; tried again every RETRY_NS); looks cost too
 * much (they become rarer); probes cost too much (they wait until they are earned).
 */
#include "io/probe/probe_worker.h"

#include <errno.h>
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/probe/machine_reader.h"

#define RETRY_NS   (10 * NS_PER_SECOND)
#define READ_NS    NS_PER_SECOND
#define TOUCHES    8 /* a minute: of verdicts with two, 8 % were wrong */
#define TOUCH_NS   (WITNESS_TOUCH_SECONDS * NS_PER_SECOND / TOUCHES)
#define TOUCH_SOON (2 * NS_PER_SECOND) /* the first ones, and after one in which it hardly ran */
#define REFERENCE_NS                                                                               \
    (300 * NS_PER_SECOND)              /* of a virtual machine it changes by a third in an hour */
#define IDLE_NS (3600 * NS_PER_SECOND) /* as long as any: orders wake it */

/* What probing a MB costs where nothing was measured: clearing 40 µs, counting 55. */
#define TOUCH_MB_MS 0.1

int probe_worker_init(struct probe_worker *worker, const struct probe_options *options,
                      struct probe_mailbox *mailbox)
{
    *worker = (struct probe_worker){.options = *options, .mailbox = mailbox};
    worker->threads = mem_zalloc(options->max_threads, sizeof *worker->threads);
    worker->processes = mem_zalloc(WITNESS_PROCESSES_MAX, sizeof *worker->processes);
    worker->looks = mem_zalloc(options->max_threads, sizeof *worker->looks);
    if (probe_orders_init(&worker->orders, options->max_threads) != 0 || worker->threads == NULL ||
        worker->processes == NULL || worker->looks == NULL) {
        probe_worker_fini(worker);
        return ERR_NOMEM;
    }
    return 0;
}

static void close_thread(struct worker_thread *thread)
{
    if (thread->is_open) {
        look_close(&thread->look);
        thread->is_open = false;
    }
}

static void close_process(struct worker_process *process)
{
    if (process->is_open) {
        process_reader_close(&process->reader);
        process->is_open = false;
    }
}

void probe_worker_fini(struct probe_worker *worker)
{
    for (uint32_t i = 0; i < worker->thread_count; i++) {
        close_thread(&worker->threads[i]);
    }
    for (uint32_t i = 0; i < worker->process_count; i++) {
        close_process(&worker->processes[i]);
    }
    probe_orders_fini(&worker->orders);
    mem_free(worker->threads);
    mem_free(worker->processes);
    mem_free(worker->looks);
    *worker = (struct probe_worker){.threads = NULL};
}

static uint64_t now(const struct probe_worker *worker)
{
    return worker->options.clock.mono_ns(worker->options.clock.ctx);
}

static double own_cpu_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* this clock is always there */
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* One line for each kind of source, whichever process is the first. */
static void say_missing(struct probe_worker *worker, enum seen_source source, int64_t pid,
                        int reason)
{
    unsigned bit = 1U << source;
    if ((worker->told & bit) == 0) {
        worker->told |= bit;
        log_info("of process %" PRIi64
                 " the source \"%s\" cannot be had%s%s: verdicts on its models go "
                 "without; of other processes this is not said again",
                 pid, seen_source_names[source], reason == 0 ? "" : ": ",
                 reason == 0 ? "" : strerrordesc_np(reason));
    }
}

/* --- who is watched ---------------------------------------------------------------------------- */

static bool is_ordered_thread(const struct probe_orders *orders, const struct watched_thread *who)
{
    for (uint32_t i = 0; i < orders->thread_count; i++) {
        if (orders->threads[i].kernel_pid == who->kernel_pid &&
            orders->threads[i].thread_id == who->thread_id) {
            return true;
        }
    }
    return false;
}

static void drop_threads(struct probe_worker *worker)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < worker->thread_count; i++) {
        if (is_ordered_thread(&worker->orders, &worker->threads[i].who)) {
            worker->threads[kept++] = worker->threads[i];
        } else {
            close_thread(&worker->threads[i]);
        }
    }
    worker->thread_count = kept;
}

static void add_threads(struct probe_worker *worker)
{
    uint32_t before = worker->thread_count;
    for (uint32_t i = 0; i < worker->orders.thread_count; i++) {
        const struct watched_thread *who = &worker->orders.threads[i];
        uint32_t at = 0;
        while (at < before && (worker->threads[at].who.kernel_pid != who->kernel_pid ||
                               worker->threads[at].who.thread_id != who->thread_id)) {
            at++;
        }
        if (at == before) {
            worker->threads[worker->thread_count++] = (struct worker_thread){.who = *who};
        }
    }
}

static const struct watched_process *find_order(const struct probe_orders *orders, int64_t pid)
{
    for (uint32_t i = 0; i < orders->process_count; i++) {
        if (orders->processes[i].kernel_pid == pid) {
            return &orders->processes[i];
        }
    }
    return NULL;
}

static void drop_processes(struct probe_worker *worker)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < worker->process_count; i++) {
        struct worker_process *process = &worker->processes[i];
        const struct watched_process *who = find_order(&worker->orders, process->who.kernel_pid);
        if (who != NULL) {
            process->who = *who;
            worker->processes[kept++] = *process;
        } else {
            close_process(process);
        }
    }
    worker->process_count = kept;
}

static void add_processes(struct probe_worker *worker)
{
    uint32_t before = worker->process_count;
    for (uint32_t i = 0; i < worker->orders.process_count; i++) {
        const struct watched_process *who = &worker->orders.processes[i];
        uint32_t at = 0;
        while (at < before && worker->processes[at].who.kernel_pid != who->kernel_pid) {
            at++;
        }
        if (at == before) {
            worker->processes[worker->process_count++] = (struct worker_process){.who = *who};
        }
    }
}

static void follow_orders(struct probe_worker *worker)
{
    drop_threads(worker);
    add_threads(worker);
    drop_processes(worker);
    add_processes(worker);
}

/* --- looks ------------------------------------------------------------------------------------- */

static void open_thread(struct probe_worker *worker, struct worker_thread *thread, uint64_t at_ns)
{
    int reason = look_open(&thread->look, &worker->options.roots, thread->who.kernel_pid,
                           thread->who.thread_id);
    thread->is_open = reason == 0;
    thread->retry_ns = at_ns + RETRY_NS;
    if (reason != 0 && !proc_is_gone(reason)) {
        say_missing(worker, SEEN_LOOKS, thread->who.kernel_pid, reason);
    }
}

/* Returns whether there is a look. */
static bool look_at_thread(struct probe_worker *worker, struct worker_thread *thread,
                           uint64_t at_ns, struct probe_look *ret_look)
{
    struct proc_text room;
    const struct clock *clock = &worker->options.clock;
    if (!thread->is_open && at_ns >= thread->retry_ns) {
        open_thread(worker, thread, at_ns);
    }
    if (!thread->is_open) {
        return false;
    }
    *ret_look = (struct probe_look){.pid = thread->who.kernel_pid,
                                    .thread_id = thread->who.thread_id,
                                    .wall_ns = clock->wall_ns(clock->ctx)};
    int reason = look_take(&thread->look, &room, &ret_look->look_at);
    if (reason > 0) {
        close_thread(thread);
    }
    return reason == 0;
}

/* splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators). */
static uint64_t draw(struct probe_worker *worker)
{
    uint64_t number = worker->random += UINT64_C(0x9E3779B97F4A7C15);
    number = (number ^ number >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    number = (number ^ number >> 27) * UINT64_C(0x94D049BB133111EB);
    return number ^ number >> 31;
}

/* Half the time to half as much again: a service with a beat of its own must not be seen always at the
 * same point of it. */
static uint64_t pause_ns(struct probe_worker *worker)
{
    uint64_t mean_ns = NS_PER_SECOND / worker->allowance.looks_hertz;
    return mean_ns / 2 + draw(worker) % mean_ns;
}

static void look_at_all(struct probe_worker *worker, uint64_t at_ns)
{
    double from_ms = own_cpu_ms();
    uint32_t count = 0;
    for (uint32_t i = 0; i < worker->thread_count; i++) {
        count += look_at_thread(worker, &worker->threads[i], at_ns, &worker->looks[count]);
    }
    if (count > 0) {
        probe_mailbox_put_looks(worker->mailbox, worker->looks, count);
    }
    worker->view.looks += count;
    allowance_spend_on_looks(&worker->allowance, own_cpu_ms() - from_ms, at_ns);
    worker->look_ns = at_ns + pause_ns(worker);
}

/* --- figures ----------------------------------------------------------------------------------- */

static void put_fact(struct probe_worker *worker, const struct worker_process *process,
                     struct probe_fact fact)
{
    fact.pid = process->who.kernel_pid;
    probe_mailbox_put_fact(worker->mailbox, &fact);
}

/* Its number may be another's, or will be: what is remembered of it is over. */
static void lose_process(struct probe_worker *worker, struct worker_process *process, int reason)
{
    close_process(process);
    if (proc_is_gone(reason)) {
        put_fact(worker, process, (struct probe_fact){.kind = FACT_GONE});
    } else {
        say_missing(worker, SEEN_CPU, process->who.kernel_pid, reason);
    }
}

static void open_process(struct probe_worker *worker, struct worker_process *process,
                         uint64_t at_ns)
{
    int reason = process_reader_open(&process->reader, &worker->options.roots,
                                     process->who.kernel_pid, at_ns);
    process->is_open = reason == 0;
    process->retry_ns = at_ns + RETRY_NS;
    process->read_ns = at_ns + READ_NS;
    process->touch_ns = at_ns + READ_NS;
    process->cannot_touch = false;
    process->touches = 0;
    if (reason != 0 && !proc_is_gone(reason)) {
        say_missing(worker, SEEN_CPU, process->who.kernel_pid, reason);
    }
}

static void say_what_is_missing(struct probe_worker *worker, const struct worker_process *process,
                                unsigned sources)
{
    static const enum seen_source expected[] = {SEEN_IO, SEEN_MEMORY, SEEN_THROTTLE, SEEN_PRESSURE,
                                                SEEN_RUNQUEUE};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        if ((sources & 1U << expected[i]) == 0) {
            say_missing(worker, expected[i], process->who.kernel_pid, 0);
        }
    }
}

/* A process of many threads takes milliseconds: where that is too much now, the next figure has this
 * second's waits, too. */
static void read_waits(struct probe_worker *worker, struct worker_process *process,
                       struct process_figures *figures)
{
    if (!allowance_affords(&worker->allowance, process->waits_cost_ms)) {
        return;
    }
    double from_ms = own_cpu_ms();
    if (!process_reader_take_waits(&process->reader, figures)) {
        say_missing(worker, SEEN_RUNQUEUE, process->who.kernel_pid, 0);
    }
    process->waits_cost_ms = own_cpu_ms() - from_ms;
}

static void read_process(struct probe_worker *worker, struct worker_process *process,
                         uint64_t at_ns)
{
    struct probe_fact fact = {.kind = FACT_FIGURES};
    if (!process->is_open) {
        if (at_ns >= process->retry_ns) {
            open_process(worker, process, at_ns);
        }
        return;
    }
    if (at_ns < process->read_ns) {
        return;
    }
    process->read_ns = at_ns + READ_NS;
    int reason =
        process_reader_take(&process->reader, &worker->options.roots, at_ns, &fact.figures);
    if (reason != 0) {
        lose_process(worker, process, reason);
        return;
    }
    say_what_is_missing(worker, process, fact.figures.sources);
    read_waits(worker, process, &fact.figures);
    put_fact(worker, process, fact);
}

static void read_all(struct probe_worker *worker, uint64_t at_ns)
{
    double from_ms = own_cpu_ms();
    for (uint32_t i = 0; i < worker->process_count; i++) {
        read_process(worker, &worker->processes[i], at_ns);
    }
    allowance_spend(&worker->allowance, own_cpu_ms() - from_ms);
}

/* --- probes of memory -------------------------------------------------------------------------- */

static bool wait_for(void *ctx, uint64_t ns)
{
    struct probe_worker *worker = ctx;
    return probe_mailbox_wait(worker->mailbox, now(worker) + ns, false);
}

static struct touch_waiter waiter_of(struct probe_worker *worker)
{
    return (struct touch_waiter){.wait = wait_for, .ctx = worker};
}

/* A process that fits a quarter of the cache does not wait for memory. */
static bool is_worth_touching(const struct probe_worker *worker,
                              const struct worker_process *process)
{
    double bytes = process->reader.resident_bytes;
    return process->is_open && process->who.wants_touch && !process->cannot_touch &&
           bytes >= worker->view.machine.cache_bytes / 4 &&
           bytes <= worker->options.touch_max_bytes;
}

/* Whose probe is due for the longest time, or NULL. */
static struct worker_process *choose(struct probe_worker *worker, uint64_t at_ns)
{
    struct worker_process *best = NULL;
    for (uint32_t i = 0; i < worker->process_count; i++) {
        struct worker_process *process = &worker->processes[i];
        if (is_worth_touching(worker, process) && process->touch_ns <= at_ns &&
            (best == NULL || process->touch_ns < best->touch_ns)) {
            best = process;
        }
    }
    return best;
}

static void measure_reference(struct probe_worker *worker, uint64_t at_ns, int64_t pid)
{
    struct touch_waiter waiter = waiter_of(worker);
    struct reference fresh = {0};
    double from_ms = own_cpu_ms();
    int reason = reference_measure(&worker->options.roots, worker->view.machine.cache_bytes,
                                   &waiter, at_ns, &fresh);
    allowance_spend(&worker->allowance, own_cpu_ms() - from_ms);
    worker->reference_ns = at_ns + (reason == 0 ? REFERENCE_NS : 60 * RETRY_NS);
    if (reason == 0) {
        worker->reference = fresh;
        worker->has_reference = true;
        worker->view.machine.bandwidth_bytes = fresh.bandwidth_bytes;
        worker->view.machine.touch_bytes = fresh.rate * 1e3;
    } else if (reason != ECANCELED && !worker->has_reference) {
        say_missing(worker, SEEN_TOUCH, pid, reason);
    }
}

static double touch_price_ms(const struct worker_process *process)
{
    double guess_ms = process->reader.resident_bytes / (1024 * 1024) * TOUCH_MB_MS;
    return process->touch_cost_ms > 0 ? process->touch_cost_ms : guess_ms;
}

/* Eight a minute; the first eight soon, so that there is a verdict after a quarter of one. Half of the
 * pause to half as much again, as for looks. */
static uint64_t touch_pause_ns(struct probe_worker *worker, const struct worker_process *process)
{
    uint64_t mean_ns = process->touches < TOUCHES ? TOUCH_SOON : TOUCH_NS;
    return mean_ns / 2 + draw(worker) % mean_ns;
}

static void touch_process(struct probe_worker *worker, struct worker_process *process,
                          uint64_t at_ns)
{
    struct touch_waiter waiter = waiter_of(worker);
    struct touch touch;
    double from_ms = own_cpu_ms();
    int reason = touch_take(&process->reader, &waiter, &touch);
    process->touch_cost_ms = own_cpu_ms() - from_ms;
    allowance_spend(&worker->allowance, process->touch_cost_ms);
    process->touch_ns = at_ns + touch_pause_ns(worker, process);
    if (reason != 0) {
        process->cannot_touch = reason != ECANCELED;
        if (process->cannot_touch && !proc_is_gone(reason)) {
            say_missing(worker, SEEN_TOUCH, process->who.kernel_pid, reason);
        }
        return;
    }
    process->reader.huge_bytes = touch.huge_bytes;
    process->reader.knows_huge = true;
    if (touch.rate < 0) {
        process->touch_ns = at_ns + TOUCH_SOON;
        return;
    }
    process->touches++;
    worker->view.touches++;
    put_fact(worker, process,
             (struct probe_fact){.kind = FACT_TOUCH, .touch = touch.rate / worker->reference.rate});
}

static void touch_one(struct probe_worker *worker, uint64_t at_ns)
{
    struct worker_process *process = worker->options.touches ? choose(worker, at_ns) : NULL;
    if (process == NULL || !allowance_affords(&worker->allowance, touch_price_ms(process))) {
        return;
    }
    if (at_ns >= worker->reference_ns) {
        measure_reference(worker, at_ns, process->who.kernel_pid);
        return; /* what is due is done with the next turn */
    }
    if (worker->has_reference) {
        touch_process(worker, process, at_ns);
    }
}

/* ----------------------------------------------------------------------------------------------- */

static void turn(struct probe_worker *worker)
{
    uint64_t at_ns = now(worker);
    allowance_earn(&worker->allowance, at_ns);
    look_at_all(worker, at_ns);
    read_all(worker, at_ns);
    touch_one(worker, at_ns);
    worker->view.looks_hertz = worker->allowance.looks_hertz;
    worker->view.missing = worker->told;
    probe_mailbox_say(worker->mailbox, &worker->view);
}

void *probe_worker_run(void *ctx)
{
    struct probe_worker *worker = ctx;
    if (worker->options.enter != NULL) {
        worker->options.enter(worker->options.enter_ctx);
    }
    worker->random = now(worker);
    allowance_init(&worker->allowance, now(worker));
    bool knows_machine = false; /* it is read with the first process to watch */
    bool goes_on = true;
    while (goes_on) {
        if (probe_mailbox_read_orders(worker->mailbox, &worker->orders)) {
            follow_orders(worker);
        }
        if (worker->process_count + worker->thread_count > 0) {
            if (!knows_machine) {
                machine_read(&worker->options.roots, &worker->view.machine);
                knows_machine = true;
                /* Before what is seen wakes the loop. */
                probe_mailbox_say(worker->mailbox, &worker->view);
            }
            turn(worker);
            goes_on = probe_mailbox_wait(worker->mailbox, worker->look_ns, false);
        } else {
            goes_on = probe_mailbox_wait(worker->mailbox, now(worker) + IDLE_NS, true);
        }
    }
    return NULL;
}
