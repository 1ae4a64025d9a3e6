/*
 * The oldest file of a spool as what is to be sent: whole, or part by part after the receiver found
 * it too large. It makes no calls and keeps no account. Exporting thread.
 *
 * Which parts are done is known in memory alone: after a restart such a file is sent whole again.
 */
#ifndef DWELL_EXPORT_EXPORT_FILE_H
#define DWELL_EXPORT_EXPORT_FILE_H

#include "io/export/export_item.h"
#include "io/export/spool.h"

struct export_file {
    struct spool *spool; /* NULL: there is none; borrowed */
    const struct export_signal *signal;
    void *signal_ctx;
    uint64_t id;      /* of the file that was read; 0: none */
    struct buf bytes; /* of it */
    struct str whole; /* its request, in them */
    struct buf slice; /* a part of it */
    uint64_t done;    /* its items that are settled */
    uint64_t most;    /* items of a part */
};

void export_file_init(struct export_file *file, struct spool *spool,
                      const struct export_signal *signal, void *signal_ctx);
void export_file_fini(struct export_file *file);

/* True when there is something to be sent. */
bool export_file_has_more(const struct export_file *file);

/* The request to be sent next, and what it weighs; valid until another function is called. There must
 * be more. Returns 0; ERR_SYNTAX: the file was of no use and is gone, there may be others; ERR_LIMIT:
 * it cannot be divided, the weight is that of all; ERR_NOMEM or ERR_SYSTEM: not now. */
int export_file_part(struct export_file *file, struct str *ret_request, uint64_t *ret_weight);

/* Items that such a part can be divided into. */
uint64_t export_file_items(const struct export_file *file, uint64_t weight);

/* The part is done with. */
void export_file_settle(struct export_file *file, uint64_t weight);

/* The part was too large: the next one has half of its items. */
void export_file_split(struct export_file *file, uint64_t weight);

#endif
