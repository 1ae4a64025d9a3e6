/*
 * Happy path
 *   1. every TICK_MS: whom does the witness want watched? With the first the thread is started, or at
 *      once, where it could not look later (io/sandbox)
 *   2. it is told when that has changed
 *   3. it has seen something: uv_async; the loop takes that in portions and tells the witness
 *
 * What can fail: the thread cannot be started. Then it is said, and nothing is seen.
 */
#include "io/probe/probe.h"

#include <signal.h>

#include "base/err.h"
#include "base/log.h"
#include "io/sandbox_denied.h"

enum {
    TICK_MS = 250,
    PORTION = 64,
    STACK_BYTES = 256 * 1024, /* the deepest call holds three texts of 4 kB; sanitizers take more */
};

static void on_wake(void *ctx)
{
    struct probe *probe = ctx;
    (void)uv_async_send(&probe->async); /* fails only for what is no such handle */
}

static int start_thread(struct probe *probe)
{
    sigset_t all;
    sigset_t before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return ERR_SYSTEM;
    }
    /* A size that is refused leaves the usual one. */
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sandbox_denied_fill(&all); /* signals are the loop's */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    probe->has_thread =
        pthread_create(&probe->thread, &attributes, probe_worker_run, &probe->worker) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes); /* was initialised */
    return probe->has_thread ? 0 : ERR_SYSTEM;
}

static int start(struct probe *probe)
{
    int err = probe_mailbox_init(&probe->mailbox, probe->options.max_threads, on_wake, probe);
    if (err != 0) {
        return err;
    }
    err = probe_worker_init(&probe->worker, &probe->options, &probe->mailbox);
    if (err == 0) {
        err = start_thread(probe);
        if (err != 0) {
            probe_worker_fini(&probe->worker);
        }
    }
    if (err != 0) {
        probe_mailbox_fini(&probe->mailbox);
    }
    return err;
}

static void start_or_say(struct probe *probe)
{
    int err = start(probe);
    probe->has_failed = err != 0;
    if (err != 0) {
        log_error("processes cannot be watched: %s; verdicts go without what only dwelld can see",
                  err_sentence(err));
    }
}

static void set_time(const struct probe *probe)
{
    const struct clock *clock = &probe->options.clock;
    witness_set_time(probe->witness, clock->mono_ns(clock->ctx));
}

static void give_orders(struct probe *probe)
{
    struct probe_orders *fresh = &probe->fresh;
    set_time(probe);
    fresh->process_count = witness_list_processes(probe->witness, fresh->processes);
    fresh->thread_count = witness_list_threads(probe->witness, fresh->threads);
    if (!probe_orders_equal(fresh, &probe->orders)) {
        probe_mailbox_order(&probe->mailbox, fresh);
        struct probe_orders given = probe->orders;
        probe->orders = *fresh;
        *fresh = given;
    }
}

static void on_tick(uv_timer_t *tick)
{
    struct probe *probe = tick->data;
    struct watched_process processes[WITNESS_PROCESSES_MAX];
    if (!probe->has_thread && !probe->has_failed) {
        set_time(probe);
        if (witness_list_processes(probe->witness, processes) == 0) {
            return;
        }
        start_or_say(probe);
    }
    if (probe->has_thread) {
        give_orders(probe);
    }
}

static void take_looks(struct probe *probe)
{
    struct probe_look looks[PORTION];
    uint32_t count = PORTION;
    while (count == PORTION) {
        count = probe_mailbox_take_looks(&probe->mailbox, looks, PORTION);
        for (uint32_t i = 0; i < count; i++) {
            witness_look(probe->witness, looks[i].pid, looks[i].thread_id, looks[i].wall_ns,
                         looks[i].look_at);
        }
    }
}

static void tell(struct probe *probe, const struct probe_fact *fact)
{
    switch (fact->kind) {
    case FACT_FIGURES:
        witness_process(probe->witness, fact->pid, &fact->figures);
        break;
    case FACT_TOUCH:
        witness_touch(probe->witness, fact->pid, fact->touch);
        break;
    case FACT_GONE:
        witness_forget(probe->witness, fact->pid);
        break;
    }
}

static void take_facts(struct probe *probe)
{
    struct probe_fact facts[PORTION];
    uint32_t count = PORTION;
    while (count == PORTION) {
        count = probe_mailbox_take_facts(&probe->mailbox, facts, PORTION);
        for (uint32_t i = 0; i < count; i++) {
            tell(probe, &facts[i]);
        }
    }
}

static void on_async(uv_async_t *async)
{
    struct probe *probe = async->data;
    if (!probe->has_thread) {
        return;
    }
    set_time(probe);
    take_looks(probe);
    take_facts(probe);
    struct probe_view view = probe_mailbox_view(&probe->mailbox);
    probe->machine = view.machine;
    probe->knows_machine = true; /* it is read before anything is seen */
    probe->counters->value[COUNTER_PROBE_LOOKS] = view.looks;
    probe->counters->value[COUNTER_PROBE_TOUCHES] = view.touches;
    probe->counters->value[COUNTER_PROBE_HERTZ] = view.looks_hertz;
    probe->counters->missing_sources = view.missing;
    probe->counters->value[COUNTER_PROBE_LOST] = view.dropped + probe->witness->lost;
    probe->counters->value[COUNTER_PROBE_REFUSED] = probe->witness->refused;
}

int probe_start(struct probe *probe, uv_loop_t *loop, struct witness *witness,
                struct counters *counters, const struct probe_options *options)
{
    *probe = (struct probe){
        .options = *options, .witness = witness, .counters = counters, .machine = machine_unknown};
    int err = probe_orders_init(&probe->orders, options->max_threads);
    if (err == 0) {
        err = probe_orders_init(&probe->fresh, options->max_threads);
    }
    if (err == 0 && uv_async_init(loop, &probe->async, on_async) != 0) {
        err = ERR_SYSTEM;
    }
    if (err != 0) {
        probe_orders_fini(&probe->orders);
        probe_orders_fini(&probe->fresh);
        return err;
    }
    (void)uv_timer_init(loop, &probe->tick); /* cannot fail */
    probe->async.data = probe;
    probe->tick.data = probe;
    probe->is_open = true;
    (void)uv_timer_start(&probe->tick, on_tick, TICK_MS, TICK_MS); /* a callback is given */
    if (options->starts_first) {
        start_or_say(probe);
    }
    return 0;
}

void probe_close(struct probe *probe)
{
    if (!probe->is_open) {
        return;
    }
    if (probe->has_thread) {
        probe_mailbox_stop(&probe->mailbox);
        (void)pthread_join(probe->thread, NULL); /* is joined once, by nobody else */
        probe_worker_fini(&probe->worker);
        probe_mailbox_fini(&probe->mailbox);
        probe->has_thread = false;
    }
    probe_orders_fini(&probe->orders);
    probe_orders_fini(&probe->fresh);
    uv_close((uv_handle_t *)&probe->tick, NULL);
    uv_close((uv_handle_t *)&probe->async, NULL);
    probe->is_open = false;
}
