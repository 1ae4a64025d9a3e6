/*
 * What clients that ask for acknowledgements have sent, on disk until a checkpoint covers it: queue and
 * thread between the loop and io/journal_disk. It does not know connections (io/acknowledger does), nor
 * how an entry is applied again (io/journal_replay).
 *
 *     loop                                       writer's thread
 *     append (copies an entry) ──> [front] ──swap──> [back] ──write()──> segments
 *     on_async <───────────────── written, begin <──┘
 *       every client's `progress`: what is written is acknowledged, and who waited reads on
 *     forget_before ────────────> forget ──────────> removes segments
 *
 * A mutex guards the two buffers' exchange and these numbers, and is held for copying and no longer. The
 * loop never waits for the disk: an entry that does not fit is not begun (journal_has_room), and until
 * there is room who asked is not read.
 *
 * Journal before or after applying? Considered were (a) write first, apply when it is written: nobody
 * sees what is not kept, but every record waits for a disk before it shows, decoding has to begin
 * anew, and a full disk stops the metrics, too; (b) apply at once, write after, acknowledge then. What
 * is applied and not yet written goes with the process, and so does all that it was applied to: the
 * client sends it again, and neither of both is counted twice. (b) won: it costs one copy.
 *
 * Functions of the loop's thread, but where they say otherwise.
 */
#ifndef DWELL_IO_JOURNAL_H
#define DWELL_IO_JOURNAL_H

#include <pthread.h>
#include <uv.h>

#include "core/counters.h"
#include "io/journal_disk.h"

struct journal_options {
    const char *path; /* borrowed */
    uint64_t max_bytes;
    size_t max_entry_bytes;            /* of what one connection sends at once */
    const struct journal_calls *calls; /* NULL: the system's */
};

/* Who wants to know what was written: one connection. The memory is the caller's. */
struct journal_client {
    struct journal_client *next, **link; /* link NULL: not entered */
    void (*progress)(void *ctx);         /* more is written, or there is room again */
    void *ctx;
};

struct journal {
    struct journal_options options;
    struct journal_disk disk; /* the writer's, while there is one */
    size_t queue_bytes;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct buf front;
    uint64_t written, begin, forget;
    bool works; /* the last write did not fail */
    uint64_t failures;
    bool stopping, ended;

    struct buf back; /* the writer's */

    pthread_t thread; /* from here on: the loop's */
    bool has_thread, is_open;
    uv_async_t async;
    struct counters *counters;
    struct journal_client *clients;
    uint64_t position; /* of the next entry */
    uint64_t seen_written, seen_begin;
    uint64_t asked_begin; /* `seen_begin` when a checkpoint was last asked for */
    bool told_full, wants_checkpoint;
    void (*full)(void *ctx); /* NULL: nobody can make room */
    void *full_ctx;
    struct journal_entry staged; /* being gathered, during one call of a decoder */
    char library[LEDGER_LIBRARY_BYTES];
    char service[RECORD_NAME_MAX];
    struct buf bytes; /* of it */
};

/* Opens the directory. Returns 0; ERR_SYSTEM or ERR_RANGE with a sentence in `problem`; ERR_NOMEM. */
int journal_open(struct journal *journal, const struct journal_options *options,
                 struct buf *problem);

/* Once, before journal_start: hands over what is there from the position on, which a checkpoint bears;
 * 0: all. Returns 0 or ERR_NOMEM. */
int journal_read(struct journal *journal, uint64_t from,
                 void (*take)(void *ctx, const struct journal_entry *entry), void *ctx);

/* Starts the thread. `counters` must outlive it. Returns 0 or ERR_SYSTEM. */
int journal_start(struct journal *journal, uv_loop_t *loop, struct counters *counters);

/* Writes what waits, tries that once, and ends; after journal_open, also without a thread. All clients
 * must have left, and the saver be closed. Memory may go when the loop has run its close callbacks.
 * A writer that does not end within a quarter of a second, as in a disk that hangs, is left behind and
 * keeps the memory until the process ends. */
void journal_close(struct journal *journal);

/* --- checkpoints ---
 * A checkpoint notes the position when it freezes what it will write: all that came before is in it, but
 * for what io/acknowledger has not finished, which is nothing between two callbacks. When it is on
 * disk, what lies before may be forgotten. */
uint64_t journal_position(const struct journal *journal);
void journal_forget_before(struct journal *journal, uint64_t position);

/* Who is to make a checkpoint when there is no room: called between two callbacks, once until there is room
 * again. */
void journal_on_full(struct journal *journal, void (*full)(void *ctx), void *ctx);

/* --- clients --- */

void journal_enter(struct journal *journal, struct journal_client *client);
void journal_leave(struct journal_client *client);

/* Whether `bytes` more that come at once can be kept. While they cannot, who asks is not read. */
bool journal_has_room(struct journal *journal, size_t bytes);

/* Begins an entry of `who`, whose texts are copied, and gathers its bytes. */
void journal_stage(struct journal *journal, enum journal_kind kind, const struct peer_identity *who,
                   uint64_t wall_ns);
void journal_gather(struct journal *journal, struct str bytes);

/* Appends what was gathered, if anything. Returns the position up to which everything must be written
 * before it may be acknowledged. */
uint64_t journal_append(struct journal *journal);

/* Everything before it is written. */
uint64_t journal_written(const struct journal *journal);

#endif
