/*
 * The export mailbox: what the loop hands over to an exporting thread, and the account of it. One
 * mutex, held for pointer moves and sums only. It knows no formats, no network and no retries.
 * All of the account is in weights (io/export_item.h): spans, or data points.
 *
 *     adding thread                   exporting thread
 *     add     -> [ waiting … ]   ->   take: the oldest ones are now in flight
 *                                     settle: they are exported or dropped
 *                                     or in files of the spool, and exported or dropped later
 *     a full queue drops what is new, counted; nothing ever waits for room
 *
 * Full is counted over what waits and what is in flight, as both take memory. At every moment
 * accepted = exported + held + waiting + in flight + spooled + dropped; what is held is somebody else's,
 * and only in the account.
 *
 * The adding thread is the loop's for spans; metrics are added by the exporting one itself. Functions say
 * which thread may call them.
 */
#ifndef DWELL_EXPORT_EXPORT_QUEUE_H
#define DWELL_EXPORT_EXPORT_QUEUE_H

#include <pthread.h>

#include "base/clock.h"
#include "io/export/export_item.h"
#include "io/export/spool.h"

struct export_queue_options {
    const struct export_signal *signal; /* constant */
    void *signal_ctx;                   /* borrowed; for the signal's functions */
    const char *address; /* of the receiver, for the account; borrowed, may be NULL */
    uint64_t max_items;
    uint64_t max_weight;
    uint64_t max_bytes;
    uint64_t batch_items; /* so many are worth a request: wake the other side; 1: at once */
    struct clock clock;
};

struct export_queue {
    struct export_queue_options options;
    pthread_mutex_t mutex; /* guards what is below */
    pthread_cond_t changed;
    struct export_item *first, *last;
    uint64_t items; /* from first to last */
    uint64_t held;  /* items that wait or are in flight */
    struct export_view view;
    struct spool_account spool; /* as last told */
    uint64_t failing_ns; /* when the first of the calls failed that all have since; 0: none did */
    uint64_t since_ns; /* when the oldest of what waits came, or when others were taken before it */
    uint64_t stop_ns;  /* end of the shutdown; 0: now */
    bool is_stopping;
    bool is_woken; /* something happened that the other side did not see yet */
    bool is_done;  /* the other side has ended */
};

/* Any thread, while there is one. Returns 0 or ERR_SYSTEM. */
int export_queue_init(struct export_queue *queue, const struct export_queue_options *options);

/* When both sides are done. What still waits ends as dropped (shutdown). */
void export_queue_fini(struct export_queue *queue);

/* Adding thread. Takes the item, which must be complete; counts it as accepted, and as dropped when
 * there is no room. */
void export_queue_add(struct export_queue *queue, struct export_item *item);

/* Adding thread. Counts what was never queued as accepted and dropped. */
void export_queue_refuse(struct export_queue *queue, uint64_t weight, enum export_drop reason);

/* Loop thread. Counts what is held by somebody else as accepted. It comes as an item that was held, or
 * ends here. */
void export_queue_hold(struct export_queue *queue, uint64_t weight);
void export_queue_give_up(struct export_queue *queue, uint64_t weight, enum export_drop reason);

/* Loop thread. The other side shall finish until `stop_ns` (monotonic); may be called again. */
void export_queue_stop(struct export_queue *queue, uint64_t stop_ns);

/* Any thread. A copy of the account. */
void export_queue_view(struct export_queue *queue, struct export_view *ret_view);

/* Loop thread. True when the other side has said that it ended. */
bool export_queue_is_done(struct export_queue *queue);

/* What the exporting thread decides by. */
struct export_state {
    uint64_t items; /* that wait */
    uint64_t since_ns;
    bool is_stopping;
    uint64_t stop_ns;
    uint64_t accepted;   /* weight */
    uint64_t room;       /* weight that may still be added */
    bool is_crowded;     /* more than half of what may wait and be in flight does */
    uint64_t queue_full; /* dropped for this reason so far */
};

/* Exporting thread, as all below. */
void export_queue_state(struct export_queue *queue, struct export_state *ret_state);

/* Moves at most `max_items` of the oldest into flight. Returns them as a list, oldest first, and
 * their number; the caller ends each of them by the signal's function. */
struct export_item *export_queue_take(struct export_queue *queue, uint64_t max_items,
                                      uint64_t *ret_count);

/* What became of items in flight, or of some in a file of the spool. */
struct export_settlement {
    uint64_t items;
    uint64_t exported;                 /* weight */
    uint64_t dropped;                  /* weight */
    enum export_drop reason;           /* of all that were dropped */
    uint64_t spooled;                  /* weight: went into a file */
    uint64_t bytes;                    /* export_item_size of all */
    bool was_spooled;                  /* they were in a file, not in flight */
    const struct spool_account *spool; /* as it is after that; NULL: as before */
};

/* Ends their flight in the account, or their stay in the spool. */
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
