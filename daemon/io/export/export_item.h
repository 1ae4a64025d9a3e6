/*
 * What waits for export, and the few functions that know what it is: a table for each signal, handed
 * to the queue and to the worker, which move items and know nothing of spans or metrics. No threads,
 * no network.
 *
 *     spans     an item is a span, weighs 1; a request holds many of them, grouped by service
 *     metrics   an item is a whole request, weighs its data points; only in a file it is divided
 */
#ifndef DWELL_EXPORT_EXPORT_ITEM_H
#define DWELL_EXPORT_EXPORT_ITEM_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"
#include "render/export_view.h"

/* A header and its bytes, one allocation. */
struct export_item {
    struct export_item *next;
    const void *owner; /* whose it is, for the signal's functions; outlives the queue */
    uint64_t weight;   /* how much it is in the account, at least 1 */
    uint32_t len;      /* of bytes */
    uint32_t outside;  /* bytes of memory that it owns besides */
    bool was_held;     /* is in the account already, as held */
    char bytes[];
};

/* What an item takes of otlp.max_queue_bytes. */
size_t export_item_size(const struct export_item *item);

/* A new item of weight 1 with room for `len` bytes (below 4 GiB), or NULL. Of mem_alloc. */
struct export_item *export_item_new(const void *owner, size_t len);

/* How an item ended. */
struct export_end {
    bool
        is_delivered; /* the receiver took its request, and may have rejected this item; or it is in
                          the spool, and will be sent later */
    enum export_drop reason; /* else */
};

struct export_signal {
    const char *name;   /* "traces": the label on /metrics */
    const char *noun;   /* "spans": what weights count, for the log */
    const char *gone;   /* "were lost": what is said of those that were dropped */
    const char *method; /* of gRPC */

    /* Exporting thread. How many of the items from `first` on make a request together: at least one,
     * at most `most`. */
    uint64_t (*choose)(void *ctx, const struct export_item *first, uint64_t most);

    /* Exporting thread, directly after choose. The request of so many items: written into `out`,
     * which is empty and whose ceiling is that of a request, or borrowed from the item. Valid until
     * one of both changes. Returns 0, ERR_LIMIT for an item that fits no request, or ERR_NOMEM. */
    int (*write)(void *ctx, const struct export_item *first, uint64_t count, struct buf *out,
                 struct str *ret_request);

    /* Exporting thread. Of a request that `write` has made and that is in a file, so much weight after
     * the first `skip` as one of its own, appended to `out`; NULL: a request is not divided.
     * Returns 0, ERR_SYNTAX, ERR_LIMIT or ERR_NOMEM. */
    int (*slice)(void *ctx, struct str request, uint64_t skip, uint64_t count, struct buf *out);

    /* Takes the item, which has left the queue or never was in it; the account is settled apart.
     * Exporting thread; the adding one for what finds no room; any when the queue ends. */
    void (*end)(void *ctx, struct export_item *item, const struct export_end *end);
};

#endif
