#include "io/export/export_queue.h"

#include <time.h>

#include "base/err.h"

int export_queue_init(struct export_queue *queue, const struct export_queue_options *options)
{
    pthread_condattr_t attributes;
    *queue = (struct export_queue){.options = *options,
                                   .view = {.signal = options->signal->name,
                                            .endpoint = options->address,
                                            .capacity = options->max_weight,
                                            .capacity_bytes = options->max_bytes}};
    if (pthread_condattr_init(&attributes) != 0) {
        return ERR_SYSTEM;
    }
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* is a clock that there is */
    int err = pthread_cond_init(&queue->changed, &attributes) == 0 ? 0 : ERR_SYSTEM;
    (void)pthread_condattr_destroy(&attributes);
    if (err == 0 && pthread_mutex_init(&queue->mutex, NULL) != 0) {
        (void)pthread_cond_destroy(&queue->changed);
        err = ERR_SYSTEM;
    }
    return err;
}

static void end_item(struct export_queue *queue, struct export_item *item, enum export_drop reason)
{
    struct export_end end = {.reason = reason};
    queue->options.signal->end(queue->options.signal_ctx, item, &end);
}

void export_queue_fini(struct export_queue *queue)
{
    struct export_item *next;
    for (struct export_item *item = queue->first; item != NULL; item = next) {
        next = item->next;
        end_item(queue, item, EXPORT_DROP_SHUTDOWN);
    }
    (void)pthread_cond_destroy(&queue->changed); /* nobody is left */
    (void)pthread_mutex_destroy(&queue->mutex);
}

/* Plain mutexes: locking one cannot fail. */
static void lock(struct export_queue *queue)
{
    (void)pthread_mutex_lock(&queue->mutex);
}

static void unlock(struct export_queue *queue)
{
    (void)pthread_mutex_unlock(&queue->mutex);
}

/* With the mutex held. */
static void wake(struct export_queue *queue)
{
    queue->is_woken = true;
    (void)pthread_cond_signal(&queue->changed);
}

/* --- loop thread ------------------------------------------------------------------------------- */

static uint64_t now_ns(const struct export_queue *queue)
{
    return queue->options.clock.mono_ns(queue->options.clock.ctx);
}

static bool has_room(const struct export_queue *queue, const struct export_item *item)
{
    const struct export_view *view = &queue->view;
    return queue->held < queue->options.max_items &&
           item->weight <= view->capacity - view->waiting - view->in_flight &&
           export_item_size(item) <= view->capacity_bytes - view->bytes;
}

static void append(struct export_queue *queue, struct export_item *item)
{
    if (queue->first == NULL) {
        queue->first = item;
        queue->since_ns = now_ns(queue);
    } else {
        queue->last->next = item;
    }
    queue->last = item;
    queue->items++;
    queue->held++;
    queue->view.waiting += item->weight;
    queue->view.bytes += export_item_size(item);
    /* The first one starts a delay, the last one ends it; those between change nothing. */
    if (queue->items == 1 || queue->items == queue->options.batch_items) {
        wake(queue);
    }
}

void export_queue_add(struct export_queue *queue, struct export_item *item)
{
    lock(queue);
    queue->view.accepted += item->was_held ? 0 : item->weight;
    queue->view.held -= item->was_held ? item->weight : 0;
    bool fits = has_room(queue, item);
    if (fits) {
        append(queue, item);
    } else {
        queue->view.dropped[EXPORT_DROP_QUEUE_FULL] += item->weight;
    }
    unlock(queue);
    if (!fits) {
        end_item(queue, item, EXPORT_DROP_QUEUE_FULL);
    }
}

void export_queue_refuse(struct export_queue *queue, uint64_t weight, enum export_drop reason)
{
    lock(queue);
    queue->view.accepted += weight;
    queue->view.dropped[reason] += weight;
    unlock(queue);
}

void export_queue_hold(struct export_queue *queue, uint64_t weight)
{
    lock(queue);
    queue->view.accepted += weight;
    queue->view.held += weight;
    unlock(queue);
}

void export_queue_give_up(struct export_queue *queue, uint64_t weight, enum export_drop reason)
{
    lock(queue);
    queue->view.held -= weight;
    queue->view.dropped[reason] += weight;
    unlock(queue);
}

void export_queue_stop(struct export_queue *queue, uint64_t stop_ns)
{
    lock(queue);
    queue->is_stopping = true;
    queue->stop_ns = stop_ns;
    wake(queue);
    unlock(queue);
}

void export_queue_view(struct export_queue *queue, struct export_view *ret_view)
{
    lock(queue);
    *ret_view = queue->view;
    if (queue->failing_ns > 0) {
        ret_view->failing_seconds = 1 + (now_ns(queue) - queue->failing_ns) / NS_PER_SECOND;
    }
    unlock(queue);
}

bool export_queue_is_done(struct export_queue *queue)
{
    lock(queue);
    bool is_done = queue->is_done;
    unlock(queue);
    return is_done;
}

/* --- exporting thread -------------------------------------------------------------------------- */

/* With the mutex held. */
static bool is_crowded(const struct export_queue *queue)
{
    const struct export_view *view = &queue->view;
    return queue->held > queue->options.max_items / 2 ||
           view->waiting + view->in_flight > view->capacity / 2 ||
           view->bytes > view->capacity_bytes / 2;
}

void export_queue_state(struct export_queue *queue, struct export_state *ret_state)
{
    lock(queue);
    *ret_state = (struct export_state){.items = queue->items,
                                       .since_ns = queue->since_ns,
                                       .is_stopping = queue->is_stopping,
                                       .stop_ns = queue->stop_ns,
                                       .accepted = queue->view.accepted,
                                       .room = queue->view.capacity - queue->view.waiting -
                                               queue->view.in_flight,
                                       .is_crowded = is_crowded(queue),
                                       .queue_full = queue->view.dropped[EXPORT_DROP_QUEUE_FULL]};
    unlock(queue);
}

/* Walks to the last one outside of the lock, so that the loop does not wait for it: meanwhile the loop
 * only writes behind the last of all. */
struct export_item *export_queue_take(struct export_queue *queue, uint64_t max_items,
                                      uint64_t *ret_count)
{
    lock(queue);
    struct export_item *first = queue->first;
    uint64_t count = queue->items < max_items ? queue->items : max_items;
    unlock(queue);
    struct export_item *last = first;
    uint64_t weight = count > 0 ? first->weight : 0;
    for (uint64_t i = 1; i < count; i++) {
        last = last->next;
        weight += last->weight;
    }
    if (count > 0) {
        lock(queue);
        queue->first = last->next;
        last->next = NULL;
        queue->since_ns = now_ns(queue);
        queue->items -= count;
        queue->view.waiting -= weight;
        queue->view.in_flight += weight;
        unlock(queue);
    }
    *ret_count = count;
    return count > 0 ? first : NULL;
}

/* With the mutex held. */
static void tell_spool(struct export_queue *queue, const struct spool_account *now)
{
    const struct spool_account *before = &queue->spool;
    struct export_view *view = &queue->view;
    view->accepted += now->found - before->found;
    view->recovered += now->found - before->found;
    view->dropped[EXPORT_DROP_SPOOL_FULL] += now->given_up - before->given_up;
    view->dropped[EXPORT_DROP_SPOOL_FAILED] += now->vanished - before->vanished;
    view->dropped[EXPORT_DROP_DAMAGED] += now->damaged - before->damaged;
    view->spooled = now->items;
    view->spool_works = now->works;
    view->spool_files = now->files;
    view->spool_bytes = now->bytes;
    view->spool_damaged_files = now->damaged_files;
    view->spool_failures = now->failures;
    view->spool_limit_bytes = now->max_bytes;
    queue->spool = *now;
}

void export_queue_settle(struct export_queue *queue, const struct export_settlement *settlement)
{
    lock(queue);
    queue->held -= settlement->items;
    if (!settlement->was_spooled) {
        queue->view.in_flight -= settlement->exported + settlement->dropped + settlement->spooled;
    }
    queue->view.bytes -= settlement->bytes;
    queue->view.exported += settlement->exported;
    queue->view.dropped[settlement->reason] += settlement->dropped;
    if (settlement->spool != NULL) {
        tell_spool(queue, settlement->spool);
    }
    unlock(queue);
}

void export_queue_count_call(struct export_queue *queue, const struct export_call *call)
{
    lock(queue);
    timing_add(&queue->view.duration, call->duration_ns);
    queue->view.retries += call->is_retry;
    queue->view.failures += call->is_failure;
    queue->view.garbled += call->is_garbled;
    queue->view.splits += call->is_split;
    /* A request that was too large was answered, too. */
    bool failed = call->is_failure && !call->is_split;
    queue->failing_ns = !failed ? 0 : queue->failing_ns > 0 ? queue->failing_ns : now_ns(queue);
    unlock(queue);
}

void export_queue_wait(struct export_queue *queue, uint64_t until_ns)
{
    struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_SECOND),
                             .tv_nsec = (long)(until_ns % NS_PER_SECOND)};
    int err = 0;
    lock(queue);
    while (!queue->is_woken && err == 0) {
        err = until_ns == UINT64_MAX
                  ? pthread_cond_wait(&queue->changed, &queue->mutex)
                  : pthread_cond_timedwait(&queue->changed, &queue->mutex, &until);
    }
    queue->is_woken = false;
    unlock(queue);
}

void export_queue_end(struct export_queue *queue)
{
    lock(queue);
    queue->is_done = true;
    unlock(queue);
}
