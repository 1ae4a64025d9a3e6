#include "main/state.h"

#include <string.h>
#include <sysexits.h>

#include "base/err.h"
#include "base/little.h"
#include "base/log.h"
#include "core/restore.h"
#include "io/state_head.h"
#include "io/state_machine.h"
#include "wire/state.h"

enum { READ_ROOM = 1 << 17, PROBLEM_MAX_BYTES = 8192 };

/* --- reading ----------------------------------------------------------------------------------- */

/* All of it is looked at before any of it counts. */
static int check(struct main_state *state, struct buf *problem)
{
    static const struct saved_sink nobody;
    int err = state_head_read((struct str){state->bytes.data, state->bytes.len}, &state->body);
    if (err == 0) {
        err = state_read(state->body, &nobody);
    }
    if (err != 0 && err != ERR_NOMEM) {
        buf_printf(problem, "%s: %s", state->file.path,
                   err == ERR_SYNTAX        ? "is no state file of dwelld"
                   : err == ERR_UNSUPPORTED ? "is of another version of the format"
                                            : "is damaged");
    }
    return err;
}

/* A file that cannot be moved away is not written over either. */
static void set_aside(struct main_state *state, struct str problem, struct counters *counters)
{
    const char *path = state->file.path;
    int reason = state_file_set_aside(&state->file);
    counters->value[COUNTER_STATE_DAMAGED]++;
    if (reason == 0) {
        log_error("state.file: %.*s; set aside as %s.damaged, nothing goes on from it",
                  (int)problem.len, problem.ptr, path);
    } else {
        log_error(
            "state.file: %.*s; cannot be set aside as %s.damaged: %s; nothing goes on from it, "
            "and nothing is saved",
            (int)problem.len, problem.ptr, path, strerror(reason));
        state->is_on = false;
    }
}

static int read_file(struct main_state *state, struct counters *counters)
{
    struct buf problem;
    buf_init(&problem, PROBLEM_MAX_BYTES);
    int err = state_file_read(&state->file, &state->bytes, &problem);
    if (err == 0) {
        err = check(state, &problem);
    }
    bool is_told = state->file.lock_fd < 0; /* there cannot be one, and why has been said */
    if (err == ERR_MISSING_KEY && !is_told) {
        log_info("state.file: %s is not there yet", state->file.path);
    } else if (err != 0 && err != ERR_NOMEM && err != ERR_MISSING_KEY) {
        set_aside(state, (struct str){problem.data, problem.len}, counters);
    }
    if (err != 0) {
        state->body = (struct str){NULL, 0};
    }
    buf_fini(&problem);
    return err == ERR_NOMEM ? err : 0;
}

/* Whoever cannot be locked for another reason than a daemon that has it is tried again with each save: a
 * disk that is full does not keep the daemon from its work. */
static int lock(struct main_state *state)
{
    struct buf problem;
    buf_init(&problem, PROBLEM_MAX_BYTES);
    int err = state_file_lock(&state->file, &problem);
    if (err != 0) {
        log_error("state.file: %.*s%s", (int)problem.len, problem.len > 0 ? problem.data : "",
                  err == ERR_CONFLICT ? "" : "; nothing is kept until that is mended");
    }
    buf_fini(&problem);
    return err == ERR_CONFLICT ? err : 0;
}

int main_state_load(struct main_state *state, const struct conf *conf, struct counters *counters)
{
    state->file = (struct state_file){.path = conf->state.file, .lock_fd = -1};
    state->is_on = conf->state.file[0] != '\0';
    if (!state->is_on) {
        return 0;
    }
    buf_init(&state->bytes, (size_t)conf->state.max_bytes + STATE_HEAD_BYTES + READ_ROOM);
    state_machine_init(&state->machine);
    state_machine_now(&state->machine);
    state->machine.since_wall_ns = state->machine.wall_ns;
    int err = lock(state);
    if (err == 0) {
        err = read_file(state, counters);
        if (err != 0) {
            log_error("state.file: %s: %s", state->file.path, err_sentence(err));
        }
    }
    return err == 0 ? 0 : EX_UNAVAILABLE;
}

/* --- applying ---------------------------------------------------------------------------------- */

static void say(const struct main_state *state, const struct restore_report *report)
{
    log_info("state.file: %llu models and %llu series go on from %s, of %.1f s ago%s",
             (unsigned long long)report->models, (unsigned long long)report->series,
             state->file.path, (double)report->away_ns / (double)NS_PER_SECOND,
             report->same_boot ? "" : " by the clock on the wall");
    if (report->left_out > 0) {
        log_warning(
            "state.file: %llu pieces do not fit the present configuration, or the processes "
            "that are there, and are left out",
            (unsigned long long)report->left_out);
    }
}

int main_state_apply(struct main_state *state, struct intake *intake, struct self *self)
{
    if (state->body.len == 0) {
        return 0;
    }
    struct restore_options options = {
        .intake = intake, .now = state->machine, .is_alive = state_machine_has};
    state_machine_now(&options.now);
    struct restore *restore = restore_new(&options);
    if (restore == NULL) {
        return ERR_NOMEM;
    }
    struct saved_sink sink = restore_sink(restore);
    int err = state_read(state->body, &sink);
    if (err == 0) {
        const struct restore_report *report = &restore->report;
        say(state, report);
        intake->counters->value[COUNTER_STATE_LEFT_OUT] += report->left_out;
        atomic_store(&self->scrapes, report->scrapes);
        atomic_store(&self->http_errors, report->http_errors);
        state->machine.since_wall_ns = report->since_wall_ns;
        state->goes_on = true;
        memcpy(state->journal, report->journal, report->journal_len);
        state->journal_len = report->journal_len;
    }
    restore_free(restore);
    buf_fini(&state->bytes);
    state->body = (struct str){NULL, 0};
    return err;
}

uint64_t main_state_since(const struct main_state *state, const struct clock *clock)
{
    return state->goes_on ? state->machine.since_wall_ns : clock->wall_ns(clock->ctx);
}

/* --- saving ------------------------------------------------------------------------------------ */

int main_state_start(struct main_state *state, const struct conf *conf, uv_loop_t *loop,
                     struct handover *handover, struct self *self)
{
    struct state_saver_options options = {.file = &state->file,
                                          .interval_ms = conf->state.interval_ms,
                                          .max_bytes = conf->state.max_bytes,
                                          .handover = handover,
                                          .self = self,
                                          .machine = state->machine};
    return state->is_on ? state_saver_start(&state->saver, loop, &options) : 0;
}

/* A position is a number; anything else says nothing. */
static uint64_t read_position(const char *bytes, size_t len)
{
    return len == sizeof(uint64_t) ? little_get(bytes, sizeof(uint64_t)) : 0;
}

static size_t put_position(void *ctx, char *ret_position)
{
    _Static_assert(sizeof(uint64_t) <= SAVED_JOURNAL_MAX, "there is room");
    little_put(ret_position, journal_position(ctx), sizeof(uint64_t));
    return sizeof(uint64_t);
}

static void forget(void *ctx, struct str position)
{
    journal_forget_before(ctx, read_position(position.ptr, position.len));
}

uint64_t main_state_journal_position(const struct main_state *state)
{
    return read_position(state->journal, state->journal_len);
}

/* A life without a journal: a later one, with it, goes on where the one before stood. */
static size_t put_restored(void *ctx, char *ret_position)
{
    const struct main_state *state = ctx;
    memcpy(ret_position, state->journal, state->journal_len);
    return state->journal_len;
}

static void make_room(void *ctx);

/* One that failed is tried again at its time. */
static void on_room(void *ctx, int err)
{
    struct main_state *state = ctx;
    bool again = state->is_asked_again && err == 0;
    state->is_asked = false;
    state->is_asked_again = false;
    if (again) {
        make_room(state);
    }
}

/* Asked while a checkpoint is on its way: it may have been frozen before what fills the journal now. */
static void make_room(void *ctx)
{
    struct main_state *state = ctx;
    if (!state->saver.is_started || state->saver.is_stopping) {
        return;
    }
    if (state->is_asked) {
        state->is_asked_again = true;
        return;
    }
    state->is_asked = true;
    state->room = (struct checkpoint){.done = on_room, .ctx = state};
    state_saver_checkpoint(&state->saver, &state->room);
}

void main_state_set_journal(struct main_state *state, struct journal *journal, bool brought_back)
{
    if (journal == NULL) {
        state_saver_set_journal(&state->saver, put_restored, NULL, state);
        return;
    }
    state_saver_set_journal(&state->saver, put_position, forget, journal);
    journal_on_full(journal, make_room, state);
    if (brought_back) {
        make_room(state);
    }
}

bool main_state_stop(struct main_state *state, bool is_late)
{
    state_saver_stop(&state->saver);
    return is_late || state_saver_is_done(&state->saver);
}

void main_state_close(struct main_state *state)
{
    state_saver_close(&state->saver);
}

void main_state_fini(struct main_state *state)
{
    buf_fini(&state->bytes);
    if (state->saver.save == NULL) { /* else it is still written to */
        state_file_unlock(&state->file);
    }
}
