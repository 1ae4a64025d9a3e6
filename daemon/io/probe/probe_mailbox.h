/*
 * What the loop and the probe's thread hand to one another, behind a mutex that is held for copying.
 * The one never waits for the other: where there is no room, what is new is dropped and counted.
 *
 *     loop                                         probe
 *     order (who is watched) ──> [orders] ───────> read_orders
 *     take_looks <────────────── [looks]  <─────── put_looks   ┐ and wake
 *     take_facts <────────────── [facts]  <─────── put_fact    ┘
 *     view       <────────────── [view]   <─────── say
 *     stop ────────────────────> stopping ───────> wait is over
 *
 * Functions say which thread may call them.
 */
#ifndef DWELL_PROBE_PROBE_MAILBOX_H
#define DWELL_PROBE_PROBE_MAILBOX_H

#include <pthread.h>

#include "core/shares.h"
#include "core/witness.h"

struct probe_look {
    int64_t pid;
    uint64_t thread_id;
    uint64_t wall_ns;
    enum look_at look_at;
};

enum probe_fact_kind { FACT_FIGURES, FACT_TOUCH, FACT_GONE };

struct probe_fact {
    int64_t pid;
    enum probe_fact_kind kind;
    struct process_figures figures; /* FACT_FIGURES */
    double touch;                   /* FACT_TOUCH: as a multiple of the reference's */
};

/* What the probe says of itself; counts are since it began. */
struct probe_view {
    struct machine machine;
    uint64_t looks;
    uint64_t touches;
    uint64_t dropped; /* for want of room in the mailbox */
    unsigned looks_hertz;
    unsigned missing; /* set of 1 << SEEN_…: of some process they could not be had */
};

struct probe_orders {
    struct watched_thread *threads; /* owned; max_threads of them */
    uint32_t max_threads, thread_count;
    struct watched_process processes[WITNESS_PROCESSES_MAX];
    uint32_t process_count;
};

enum { FACTS_MAX = 3 * WITNESS_PROCESSES_MAX }; /* a round of each kind */

struct probe_mailbox {
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* orders, or stopping */
    struct probe_orders orders;
    bool has_orders; /* that were not read */
    bool stopping;
    struct probe_look *looks; /* owned; looks_max of them, what came first is first */
    uint32_t looks_max, look_count;
    struct probe_fact *facts; /* owned; FACTS_MAX of them */
    uint32_t fact_count;
    struct probe_view view;
    void (*wake)(void *ctx); /* the loop; called by the probe, without the mutex */
    void *ctx;
};

/* Loop, before the thread begins and after it ended. Returns 0, ERR_NOMEM or ERR_SYSTEM. */
int probe_mailbox_init(struct probe_mailbox *mailbox, uint32_t max_threads, void (*wake)(void *ctx),
                       void *ctx);
void probe_mailbox_fini(struct probe_mailbox *mailbox);

/* Loop. */
void probe_mailbox_order(struct probe_mailbox *mailbox, const struct probe_orders *orders);
uint32_t probe_mailbox_take_looks(struct probe_mailbox *mailbox, struct probe_look *ret,
                                  uint32_t max);
uint32_t probe_mailbox_take_facts(struct probe_mailbox *mailbox, struct probe_fact *ret,
                                  uint32_t max);
struct probe_view probe_mailbox_view(struct probe_mailbox *mailbox);
void probe_mailbox_stop(struct probe_mailbox *mailbox);

/* The probe. Copies the orders when there are new ones. */
bool probe_mailbox_read_orders(struct probe_mailbox *mailbox, struct probe_orders *orders);
void probe_mailbox_put_looks(struct probe_mailbox *mailbox, const struct probe_look *looks,
                             uint32_t count);
void probe_mailbox_put_fact(struct probe_mailbox *mailbox, const struct probe_fact *fact);
/* All of the view but `dropped`, which is the mailbox's own. */
void probe_mailbox_say(struct probe_mailbox *mailbox, const struct probe_view *view);

/* Waits until a monotonic time, or for orders as well. False when it is time to stop. */
bool probe_mailbox_wait(struct probe_mailbox *mailbox, uint64_t until_ns, bool or_orders);

/* Orders alone, for both sides. Returns 0 or ERR_NOMEM. */
int probe_orders_init(struct probe_orders *orders, uint32_t max_threads);
void probe_orders_fini(struct probe_orders *orders);
bool probe_orders_equal(const struct probe_orders *a, const struct probe_orders *b);

#endif
