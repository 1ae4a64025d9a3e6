#include "main/journal.h"

#include "base/err.h"
#include "io/journal_replay.h"

enum { PROBLEM_MAX_BYTES = 1 << 14 };

int main_journal_open(const struct conf *conf, const struct ingest_options *ingest,
                      struct journal *journal, struct journal **ret_journal)
{
    *ret_journal = NULL;
    if (conf->journal.directory[0] == '\0') {
        return 0;
    }
    struct journal_options options = {.path = conf->journal.directory,
                                      .max_bytes = conf->journal.max_bytes,
                                      .max_entry_bytes = ingest_most_at_once(ingest)};
    struct buf problem;
    buf_init(&problem, PROBLEM_MAX_BYTES);
    int err = journal_open(journal, &options, &problem);
    if (err != 0) {
        if (problem.len == 0) {
            buf_puts(&problem, err_sentence(err));
        }
        log_error("journal.directory: %.*s", (int)problem.len,
                  problem.len == 0 ? "" : problem.data);
    }
    buf_fini(&problem);
    if (err != 0) {
        return err;
    }
    if (conf->state.file[0] == '\0') {
        log_warning("journal %s: without a state.file nothing ever makes room in it; after %llu "
                    "bytes acknowledgements stop",
                    conf->journal.directory, (unsigned long long)conf->journal.max_bytes);
    }
    *ret_journal = journal;
    return 0;
}

int main_journal_start(struct journal *journal, uint64_t from, struct intake *intake,
                       uv_loop_t *loop, const struct clock *clock, bool *ret_brought_back)
{
    uint64_t entries = 0;
    int err = journal_replay(journal, from, intake, clock, &entries);
    if (err == 0) {
        err = journal_start(journal, loop, intake->counters);
    }
    if (err != 0) {
        journal_close(journal);
        log_error("journal.directory: %s", err_sentence(err));
        return err;
    }
    journal_forget_before(journal, from);
    *ret_brought_back = entries > 0;
    return 0;
}
