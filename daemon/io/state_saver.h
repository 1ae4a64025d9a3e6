/*
 * Saves the state: every few seconds, whenever somebody asks for a checkpoint, and at the end. What is
 * frozen on the loop is rendered and written on a thread that lives for this one save. It does not restore.
 * Loop thread only.
 *
 *            timer, checkpoint, stop              rendered              on the disk, or not
 *     [idle] -----------------------> [rendering] ---------> [writing] --------------------+
 *        ^                                                                                 |
 *        +---- who asked is told; who asked meanwhile begins the next one ------<----------+
 *
 * A thread for each save, and none in between: nothing waits, nothing is handed over but the save itself,
 * and one that hangs in a disk that does not answer can be left behind at the end. libuv's pool was the
 * other design: it has four threads for it, and joins them at exit however long a disk takes.
 */
#ifndef DWELL_IO_STATE_SAVER_H
#define DWELL_IO_STATE_SAVER_H

#include <uv.h>

#include "core/saved.h"
#include "io/handover.h"
#include "io/self.h"
#include "io/state_file.h"

/* Somebody's wish that what has been counted so far be on the disk. */
struct checkpoint {
    struct checkpoint *next;
    void (*done)(void *ctx,
                 int err); /* 0: it is durable; ERR_…: it is not, and may be asked for again */
    void *ctx;
};

struct state_saver_options {
    struct state_file *file; /* borrowed, as all below; nobody else uses it meanwhile */
    uint64_t interval_ms;
    uint64_t max_bytes; /* of a body */
    struct handover *handover;
    struct self *self;
    struct saved_moment machine; /* as state_machine_init has it */
};

/* Where a journal is at this moment: writes at most SAVED_JOURNAL_MAX bytes and returns their number.
 * Called right before a freeze: what counts then is before that position, all of it and nothing else. */
typedef size_t state_journal_fn(void *ctx, char *ret_position);

/* The file with this position is on the disk: what comes before it is in the state. */
typedef void state_covered_fn(void *ctx, struct str position);

struct save;

struct state_saver {
    struct state_saver_options options;
    state_journal_fn *journal; /* NULL: there is none */
    state_covered_fn *covered;
    void *journal_ctx;
    uv_timer_t timer;
    uv_async_t async;
    struct save *save;          /* in progress; NULL: none */
    struct checkpoint *saving;  /* whom it answers */
    struct checkpoint *waiting; /* who came after it began */
    struct checkpoint last;     /* at the end */
    bool is_started;
    bool is_stopping;
    bool is_last_done;
    bool is_left;          /* the thread, in a disk that hangs: it is not heard any more */
    bool is_failing;       /* the last save failed, which was told in the log */
    bool has_saved;        /* at least once: */
    uint64_t lasting_hash; /* of what the last one wrote */
};

/* Returns 0 or ERR_SYSTEM. All zero is one that was not started: the rest does nothing then. */
int state_saver_start(struct state_saver *saver, uv_loop_t *loop,
                      const struct state_saver_options *options);

/* From the next save on the file says where this journal is, and the journal is told what it covers
 * (NULL: there is nobody to tell). */
void state_saver_set_journal(struct state_saver *saver, state_journal_fn *journal,
                             state_covered_fn *covered, void *ctx);

/* Asks for a save of what is counted now, and calls back from the loop when that is on the disk or could
 * not be. The checkpoint is the saver's until then. */
void state_saver_checkpoint(struct state_saver *saver, struct checkpoint *checkpoint);

/* Nothing more will be counted: begins the last save. May be called again. */
void state_saver_stop(struct state_saver *saver);

/* After a stop: true when that save is over. */
bool state_saver_is_done(const struct state_saver *saver);

/* Before the handover closes. A save that is still being written has a quarter of a second left, and is
 * then left behind: its thread may hang in a disk, and ends with the process. */
void state_saver_close(struct state_saver *saver);

#endif
