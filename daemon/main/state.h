/*
 * From the configuration to a state that goes on: reads the state file before anything is bound, applies it
 * before the first record, saves from then on. Loop thread.
 */
#ifndef DWELL_MAIN_STATE_H
#define DWELL_MAIN_STATE_H

#include "conf/conf.h"
#include "io/journal.h"
#include "io/state_saver.h"

struct main_state {
    struct state_file file;
    struct saved_moment machine;
    struct buf bytes; /* of the file, checked; empty: it starts empty */
    struct str body;  /* in them */
    bool is_on;
    bool goes_on;                    /* something was applied */
    struct state_saver saver;        /* for who wants checkpoints */
    char journal[SAVED_JOURNAL_MAX]; /* what the file said of the position in a journal */
    size_t journal_len;
    struct checkpoint room; /* that a journal wants */
    bool is_asked, is_asked_again;
};

/* Reads and checks the file, if there is to be one; what is no good is set aside. Returns 0 or an exit
 * status: another daemon has it, or there is no memory. */
int main_state_load(struct main_state *state, const struct conf *conf, struct counters *counters);

/* Applies it to what is still empty, once the present time is set. Returns 0 or ERR_NOMEM. */
int main_state_apply(struct main_state *state, struct intake *intake, struct self *self);

/* When the daemon's own counters began to count. */
uint64_t main_state_since(const struct main_state *state, const struct clock *clock);

/* Returns 0 or ERR_SYSTEM. */
int main_state_start(struct main_state *state, const struct conf *conf, uv_loop_t *loop,
                     struct handover *handover, struct self *self);

/* Where the journal stood when the file was written; 0: it says nothing of that. */
uint64_t main_state_journal_position(const struct main_state *state);

/* After main_state_start: a save tells the journal what it may forget, and when it is full, or has brought
 * something back, a save is due at once. NULL: there is no journal,
 * and what the file said of one stays in it. */
void main_state_set_journal(struct main_state *state, struct journal *journal, bool brought_back);

/* As those of the saver. `is_late`: it is not waited for any more. */
bool main_state_stop(struct main_state *state, bool is_late);
void main_state_close(struct main_state *state);
void main_state_fini(struct main_state *state);

#endif
