#include "cli/doctor_store.h"

#include <math.h>

#include "cli/answer.h"
#include "cli/doctor_lately.h"
#include "cli/figure.h"

#define NEARLY_FULL 0.9

static double counter(const json_t *root, const char *name)
{
    return json_number_value(json_object_get(json_object_get(root, "counters"), name));
}

/* What there may be to complain of, the worst first. */
static const struct complaint {
    const char *counter;
    const char *one, *many;
    const char *what;
    const char *mend;
} complaints[] = {
    {"state_save_failures_total", "save", "saves", "failed",
     "See the log for what failed: make the directory of state.file, let the daemon's user write "
     "in "
     "it, or free its disk"},
    {"state_damaged_files_total", "file", "files",
     "of an earlier life could not be read; it is beside it as FILE.damaged, and counts began anew",
     "Look at the disk of state.file, and at the log of the last start, which says what was wrong"},
    {"state_left_out_total", "piece", "pieces", "of an earlier life did not fit in",
     "Give the daemon the options that it had: the log of the last start says what did not fit"},
};

/* Saves that failed are no news when a later one did not; what a start found stays one. */
static bool is_news(const json_t *root, const struct complaint *complaint, struct finding *finding)
{
    double failed = answer_number(root, "seconds_since.counters.state_save_failures_total");
    double saved = answer_number(root, "seconds_since.counters.state_saves_total");
    bool is_last = failed < saved || (isnan(saved) && !isnan(failed));
    if (complaint != &complaints[0] || is_last) {
        return true;
    }
    return doctor_is_lately(root, "counters.state_save_failures_total", finding);
}

static void judge_state(const json_t *root, const char *path, struct findings *findings)
{
    struct finding *finding = finding_add(findings, "state");
    double saves = counter(root, "state_saves_total");
    if (saves > 0) {
        figure_plural(&finding->found, saves, "save", "saves");
        finding_say(finding, " to %s, the last of ", path);
        figure_bytes(&finding->found, counter(root, "state_bytes"));
    } else {
        finding_say(finding, "nothing saved to %s so far", path);
    }
    for (size_t i = 0; i < sizeof complaints / sizeof complaints[0]; i++) {
        const struct complaint *complaint = &complaints[i];
        double count = counter(root, complaint->counter);
        if (count > 0) {
            finding_say(finding, "; ");
            figure_plural(&finding->found, count, complaint->one, complaint->many);
            finding_say(finding, " %s", complaint->what);
            if (is_news(root, complaint, finding) && finding->state == FINDING_OK) {
                finding_mend(finding, FINDING_WARN, "%s", complaint->mend);
            }
        }
    }
}

static void judge_journal(const json_t *root, const char *path, struct findings *findings)
{
    struct finding *finding = finding_add(findings, "journal");
    double bytes = counter(root, "journal_bytes");
    double limit = answer_limit(root, "journal.max_bytes");
    figure_bytes(&finding->found, bytes);
    finding_say(finding, " of at most ");
    figure_bytes(&finding->found, limit);
    finding_say(finding, " in %s", path);
    double damaged = counter(root, "journal_damaged_total");
    if (damaged > 0) {
        finding_say(finding, "; ");
        figure_plural(&finding->found, damaged, "piece", "pieces");
        finding_say(finding, " of an earlier life did not come back");
    }
    if (counter(root, "journal_stopped") > 0) {
        finding_say(finding, ", and nothing is acknowledged");
        finding_mend(finding, FINDING_FAIL,
                     "Free its disk, or set state.file, whose saves make room in it, or raise "
                     "journal.max_bytes; the log says what failed");
    } else if (bytes > NEARLY_FULL * limit) {
        finding_mend(finding, FINDING_WARN,
                     "Set state.file, whose saves make room in it, or raise journal.max_bytes, "
                     "before acknowledgements stop");
    } else if (damaged > 0 && doctor_is_lately(root, "counters.journal_damaged_total", finding)) {
        finding_mend(finding, FINDING_WARN,
                     "Look at the disk of journal.directory, and at the log of the last start, "
                     "which says what was wrong");
    }
}

void doctor_store_judge(const json_t *root, struct findings *findings)
{
    const char *state = answer_text(root, "files.state");
    const char *journal = answer_text(root, "files.journal");
    if (state[0] != '\0') {
        judge_state(root, state, findings);
    }
    if (journal[0] != '\0') {
        judge_journal(root, journal, findings);
    }
}
