#include "exchange.h"

static void put(struct exchange *exchange, struct exchange_shelf *shelf, struct snapshot *snapshot)
{
    pthread_mutex_lock(&exchange->mutex);
    shelf->held[shelf->count++] = snapshot;
    pthread_cond_broadcast(&exchange->changed);
    pthread_mutex_unlock(&exchange->mutex);
}

static struct snapshot *take(struct exchange *exchange, struct exchange_shelf *shelf, bool wait)
{
    pthread_mutex_lock(&exchange->mutex);
    while (wait && shelf->count == 0 && !exchange->over) {
        pthread_cond_wait(&exchange->changed, &exchange->mutex);
    }
    struct snapshot *snapshot = shelf->count == 0 ? NULL : shelf->held[--shelf->count];
    pthread_mutex_unlock(&exchange->mutex);
    return snapshot;
}

void exchange_put(struct exchange *exchange, struct snapshot *snapshot)
{
    put(exchange, &exchange->todo, snapshot);
}

void exchange_release_done(struct exchange *exchange, struct registry *registry)
{
    for (struct snapshot *snapshot; (snapshot = take(exchange, &exchange->done, false)) != NULL;) {
        snapshot_release(snapshot, registry);
    }
}

void exchange_end(struct exchange *exchange)
{
    pthread_mutex_lock(&exchange->mutex);
    exchange->over = true;
    pthread_cond_broadcast(&exchange->changed);
    pthread_mutex_unlock(&exchange->mutex);
}

struct snapshot *exchange_take(struct exchange *exchange)
{
    return take(exchange, &exchange->todo, true);
}

void exchange_give_back(struct exchange *exchange, struct snapshot *snapshot)
{
    put(exchange, &exchange->done, snapshot);
}
