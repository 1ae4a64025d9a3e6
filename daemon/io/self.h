/*
 * What the daemon tells of itself that is in no snapshot: its memory, the counts of its HTTP server,
 * the accounts of its exports. It renders nothing. Filled before other threads begin; then any thread
 * may view it, and the HTTP thread counts.
 */
#ifndef DWELL_IO_SELF_H
#define DWELL_IO_SELF_H

#include <stdatomic.h>

#include "io/export/export_queue.h"
#include "render/exposition.h"

enum { SELF_EXPORTS_MAX = 2 }; /* traces and metrics */

struct self {
    atomic_uint_fast64_t scrapes;
    atomic_uint_fast64_t http_errors;
    atomic_uint_fast64_t http_foreign_hosts;
    atomic_uint_fast64_t http_refused;
    atomic_uint_fast64_t http_slow;
    struct export_queue *exports[SELF_EXPORTS_MAX]; /* borrowed */
    unsigned export_count;
};

/* HTTP thread, which alone writes. */
static inline void self_count(atomic_uint_fast64_t *counter, uint64_t more)
{
    (void)atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

/* One more signal; `queue` must outlive the struct's use. */
void self_add_export(struct self *self, struct export_queue *queue);

/* All of it at this moment. */
struct self_view {
    struct exposition_process process; /* points into the view */
    struct export_view exports[SELF_EXPORTS_MAX];
};

void self_view(struct self *self, struct self_view *ret_view);

/* Descriptors that are open, counted; 0 when that cannot be known. */
uint64_t self_descriptors(void);

#endif
