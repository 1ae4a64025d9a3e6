/*
 * The export mailbox: what the loop hands over to an exporting thread, and the account of it. One
 * mutex, held for pointer moves and sums only. It knows no formats, no network and no retries.
 *
 *     loop thread                     exporting thread
 *     add     -> [ waiting … ]   ->   take: the oldest ones are now in flight
 *                                     settle: they are exported or dropped
 *     a full queue drops what is new, counted; nothing ever waits for room
 *
 * Full is counted over what waits and what is in flight, as both take memory. At every moment
 * accepted = exported + waiting + in flight + dropped.
 *
 * Functions say which thread may call them.
 */
#ifndef DWELL_IO_EXPORT_QUEUE_H
#define DWELL_IO_EXPORT_QUEUE_H

#include <pthread.h>

#include "base/clock.h"
#include "base/str.h"
#include "render/export_view.h"

/* What waits: a header and its bytes, one allocation. */
struct export_item {
    struct export_item *next;
    const void *owner; /* whose it is, for the exporting thread; outlives the queue */
    size_t len;
    char bytes[];
};

/* What an item takes of otlp.max_queue_bytes. */
size_t export_item_size(const struct export_item *item);

/* A new item with room for `len` bytes, or NULL. */
struct export_item *export_item_new(const void *owner, size_t len);

struct export_queue_options {
    const char *signal; /* constant */
    uint64_t max_items;
    uint64_t max_bytes;
    uint64_t batch_items; /* so many are worth a request: wake the other side; 1: at once */
    struct clock clock;
};

struct export_queue {
    struct export_queue_options options;
    pthread_mutex_t mutex; /* guards what is below */
    pthread_cond_t changed;
    struct export_item *first, *last;
    struct export_view view;
    uint64_t since_ns; /* when the oldest of what waits came, or when others were taken before it */
    uint64_t stop_ns;  /* end of the shutdown; 0: now */
    bool is_stopping;
    bool is_woken; /* something happened that the other side did not see yet */
    bool is_done;  /* the other side has ended */
};

/* Any thread, while there is one. Returns 0 or ERR_SYSTEM. */
int export_queue_init(struct export_queue *queue, const struct export_queue_options *options);

/* When both sides are done. Frees what still waits. */
void export_queue_fini(struct export_queue *queue);

/* Loop thread. Takes the item, which must be complete; counts it as accepted, and as dropped when
 * there is no room. */
void export_queue_add(struct export_queue *queue, struct export_item *item);

/* Loop thread. Counts one that was never queued as accepted and dropped. */
void export_queue_refuse(struct export_queue *queue, enum export_drop reason);

/* Loop thread. The other side shall finish until `stop_ns` (monotonic); may be called again. */
void export_queue_stop(struct export_queue *queue, uint64_t stop_ns);

/* Any thread. A copy of the account. */
void export_queue_view(struct export_queue *queue, struct export_view *ret_view);

/* Loop thread. True when the other side has said that it ended. */
bool export_queue_is_done(struct export_queue *queue);

/* What the exporting thread decides by. */
struct export_state {
    uint64_t waiting;
    uint64_t since_ns;
    bool is_stopping;
    uint64_t stop_ns;
    uint64_t queue_full; /* dropped for this reason so far */
};

/* Exporting thread, as all below. */
void export_queue_state(struct export_queue *queue, struct export_state *ret_state);

/* Moves at most `max_items` of the oldest into flight. Returns them as a list, oldest first, and
 * their number. */
struct export_item *export_queue_take(struct export_queue *queue, uint64_t max_items,
                                      uint64_t *ret_count);

/* What became of items in flight. */
struct export_settlement {
    uint64_t exported;
    uint64_t dropped;
    enum export_drop reason; /* of all that were dropped */
    uint64_t bytes;          /* export_item_size of all */
};

/* Ends their flight in the account; the caller frees them. */
void export_queue_settle(struct export_queue *queue, const struct export_settlement *settlement);

/* How a call went. */
struct export_call {
    uint64_t duration_ns;
    bool is_retry;
    bool is_failure;
    bool is_garbled;
    bool is_split; /* and will be sent again in two halves */
};

void export_queue_count_call(struct export_queue *queue, const struct export_call *call);

/* Waits until something is new, or until the time (monotonic; UINT64_MAX: never). Real time only. */
void export_queue_wait(struct export_queue *queue, uint64_t until_ns);

/* The exporting thread ends. */
void export_queue_end(struct export_queue *queue);

#endif
