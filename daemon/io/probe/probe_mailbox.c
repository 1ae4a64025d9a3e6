#include "io/probe/probe_mailbox.h"

#include <assert.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* --- orders ------------------------------------------------------------------------------------ */

int probe_orders_init(struct probe_orders *orders, uint32_t max_threads)
{
    *orders = (struct probe_orders){.max_threads = max_threads};
    orders->threads = mem_zalloc(max_threads, sizeof *orders->threads);
    return orders->threads == NULL ? ERR_NOMEM : 0;
}

void probe_orders_fini(struct probe_orders *orders)
{
    mem_free(orders->threads);
    *orders = (struct probe_orders){.threads = NULL};
}

bool probe_orders_equal(const struct probe_orders *a, const struct probe_orders *b)
{
    bool equal = a->thread_count == b->thread_count && a->process_count == b->process_count;
    for (uint32_t i = 0; equal && i < a->thread_count; i++) {
        equal = a->threads[i].kernel_pid == b->threads[i].kernel_pid &&
                a->threads[i].thread_id == b->threads[i].thread_id;
    }
    for (uint32_t i = 0; equal && i < a->process_count; i++) {
        equal = a->processes[i].kernel_pid == b->processes[i].kernel_pid &&
                a->processes[i].wants_touch == b->processes[i].wants_touch;
    }
    return equal;
}

static void copy_orders(struct probe_orders *to, const struct probe_orders *from)
{
    assert(from->thread_count <= to->max_threads);
    memcpy(to->threads, from->threads, from->thread_count * sizeof *to->threads);
    memcpy(to->processes, from->processes, from->process_count * sizeof *to->processes);
    to->thread_count = from->thread_count;
    to->process_count = from->process_count;
}

/* --- begin and end ----------------------------------------------------------------------------- */

/* Waits are until times of the monotonic clock. */
static int init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return ERR_SYSTEM;
    }
    bool is_good = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
                   pthread_cond_init(condition, &attributes) == 0;
    (void)pthread_condattr_destroy(&attributes); /* was initialised */
    return is_good ? 0 : ERR_SYSTEM;
}

int probe_mailbox_init(struct probe_mailbox *mailbox, uint32_t max_threads, void (*wake)(void *ctx),
                       void *ctx)
{
    *mailbox = (struct probe_mailbox){.wake = wake, .ctx = ctx, .looks_max = 2 * max_threads};
    if (pthread_mutex_init(&mailbox->mutex, NULL) != 0) {
        return ERR_SYSTEM;
    }
    if (init_condition(&mailbox->changed) != 0) {
        (void)pthread_mutex_destroy(&mailbox->mutex); /* nobody has it */
        return ERR_SYSTEM;
    }
    mailbox->looks = mem_zalloc(mailbox->looks_max, sizeof *mailbox->looks);
    mailbox->facts = mem_zalloc(FACTS_MAX, sizeof *mailbox->facts);
    if (probe_orders_init(&mailbox->orders, max_threads) != 0 || mailbox->looks == NULL ||
        mailbox->facts == NULL) {
        probe_mailbox_fini(mailbox);
        return ERR_NOMEM;
    }
    return 0;
}

void probe_mailbox_fini(struct probe_mailbox *mailbox)
{
    (void)pthread_mutex_destroy(&mailbox->mutex); /* nobody has them any more */
    (void)pthread_cond_destroy(&mailbox->changed);
    probe_orders_fini(&mailbox->orders);
    mem_free(mailbox->looks);
    mem_free(mailbox->facts);
    mailbox->looks = NULL;
    mailbox->facts = NULL;
}

/* Locking a plain mutex cannot fail, nor can signalling. */
static void lock(struct probe_mailbox *mailbox)
{
    (void)pthread_mutex_lock(&mailbox->mutex);
}

static void unlock(struct probe_mailbox *mailbox)
{
    (void)pthread_mutex_unlock(&mailbox->mutex);
}

/* --- the loop ---------------------------------------------------------------------------------- */

void probe_mailbox_order(struct probe_mailbox *mailbox, const struct probe_orders *orders)
{
    lock(mailbox);
    copy_orders(&mailbox->orders, orders);
    mailbox->has_orders = true;
    (void)pthread_cond_signal(&mailbox->changed);
    unlock(mailbox);
}

uint32_t probe_mailbox_take_looks(struct probe_mailbox *mailbox, struct probe_look *ret,
                                  uint32_t max)
{
    lock(mailbox);
    uint32_t count = mailbox->look_count < max ? mailbox->look_count : max;
    memcpy(ret, mailbox->looks, count * sizeof *ret);
    memmove(mailbox->looks, mailbox->looks + count,
            (mailbox->look_count - count) * sizeof *mailbox->looks);
    mailbox->look_count -= count;
    unlock(mailbox);
    return count;
}

uint32_t probe_mailbox_take_facts(struct probe_mailbox *mailbox, struct probe_fact *ret,
                                  uint32_t max)
{
    lock(mailbox);
    uint32_t count = mailbox->fact_count < max ? mailbox->fact_count : max;
    memcpy(ret, mailbox->facts, count * sizeof *ret);
    memmove(mailbox->facts, mailbox->facts + count,
            (mailbox->fact_count - count) * sizeof *mailbox->facts);
    mailbox->fact_count -= count;
    unlock(mailbox);
    return count;
}

struct probe_view probe_mailbox_view(struct probe_mailbox *mailbox)
{
    lock(mailbox);
    struct probe_view view = mailbox->view;
    unlock(mailbox);
    return view;
}

void probe_mailbox_stop(struct probe_mailbox *mailbox)
{
    lock(mailbox);
    mailbox->stopping = true;
    (void)pthread_cond_signal(&mailbox->changed);
    unlock(mailbox);
}

/* --- the probe --------------------------------------------------------------------------------- */

bool probe_mailbox_read_orders(struct probe_mailbox *mailbox, struct probe_orders *orders)
{
    lock(mailbox);
    bool are_new = mailbox->has_orders;
    if (are_new) {
        copy_orders(orders, &mailbox->orders);
        mailbox->has_orders = false;
    }
    unlock(mailbox);
    return are_new;
}

void probe_mailbox_put_looks(struct probe_mailbox *mailbox, const struct probe_look *looks,
                             uint32_t count)
{
    lock(mailbox);
    uint32_t room = mailbox->looks_max - mailbox->look_count;
    uint32_t put = count < room ? count : room;
    memcpy(mailbox->looks + mailbox->look_count, looks, put * sizeof *looks);
    mailbox->look_count += put;
    mailbox->view.dropped += count - put;
    unlock(mailbox);
    mailbox->wake(mailbox->ctx);
}

void probe_mailbox_put_fact(struct probe_mailbox *mailbox, const struct probe_fact *fact)
{
    lock(mailbox);
    bool has_room = mailbox->fact_count < FACTS_MAX;
    if (has_room) {
        mailbox->facts[mailbox->fact_count++] = *fact;
    }
    mailbox->view.dropped += !has_room;
    unlock(mailbox);
    mailbox->wake(mailbox->ctx);
}

void probe_mailbox_say(struct probe_mailbox *mailbox, const struct probe_view *view)
{
    lock(mailbox);
    uint64_t dropped = mailbox->view.dropped;
    mailbox->view = *view;
    mailbox->view.dropped = dropped;
    unlock(mailbox);
}

bool probe_mailbox_wait(struct probe_mailbox *mailbox, uint64_t until_ns, bool or_orders)
{
    const struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_SECOND),
                                   .tv_nsec = (long)(until_ns % NS_PER_SECOND)};
    lock(mailbox);
    int reason = 0;
    while (reason == 0 && !mailbox->stopping && !(or_orders && mailbox->has_orders)) {
        reason = pthread_cond_timedwait(&mailbox->changed, &mailbox->mutex, &until);
    }
    bool goes_on = !mailbox->stopping;
    unlock(mailbox);
    return goes_on;
}
