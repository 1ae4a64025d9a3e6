#include "cli/doctor_export.h"

#include <math.h>

#include "cli/answer.h"
#include "cli/figure.h"

#define SPOOL_NEARLY_FULL 0.8

/* What is dropped on purpose is not here: not_sampled, replaced. */
static const struct {
    const char *reason;
    const char *mend;
} drops[] = {
    {"hold_full",
     "Raise otlp.max_held_spans and otlp.max_held_bytes, or shorten otlp.keep_wait_ms"},
    {"queue_full", "Give what waits a place on a disk (otlp.spool_directory), or raise "
                   "otlp.max_queue_spans and otlp.max_queue_bytes"},
    {"too_large", "Raise otlp.max_request_bytes here and what the collector takes, or record less "
                  "in one span"},
    {"out_of_memory", "Give the daemon more memory: raise MemoryMax=, or the container's limit"},
    {"no_exporter", "Install dwell_otlp.so and dwell_otlp_insecure.so beside dwelld, or set "
                    "otlp.module_directory"},
    {"rejected", "See the collector's log for what it rejects"},
    {"failed", "See the daemon's log for the status that the collector answered with"},
    {"timeout", "Raise otlp.retry_timeout_ms or otlp.metric_timeout_ms, or make the collector "
                "faster"},
    {"shutdown", "Raise shutdown.timeout_ms, or set otlp.spool_directory: then what waits is kept"},
    {"spool_full", "Raise otlp.spool_max_bytes and otlp.spool_max_files, or bring the collector "
                   "back"},
    {"spool_failed", "Free the disk of otlp.spool_directory, and let nobody remove what is in it"},
    {"damaged", "Look at the disk of otlp.spool_directory: files of it came back damaged"},
};

static void judge_signal(const char *signal, const json_t *figures, struct findings *findings)
{
    double failing = answer_number(figures, "failing_seconds");
    struct finding *finding = finding_add(findings, "export");
    finding_say(finding, "%s: ", signal);
    figure_count(&finding->found, answer_number(figures, "exported"));
    finding_say(finding, " of ");
    figure_count(&finding->found, answer_number(figures, "accepted"));
    finding_say(finding, " went out");
    const char *endpoint = answer_text(figures, "endpoint");
    if (endpoint[0] != '\0') {
        finding_say(finding, " to %s", endpoint);
    }
    if (answer_number(figures, "loaded") == 0) {
        finding_say(finding, ": the module is missing, or cannot use the address");
        finding_mend(finding, FINDING_FAIL,
                     "Install dwell_otlp.so and dwell_otlp_insecure.so beside dwelld, or set "
                     "otlp.module_directory; the log says what is wrong");
    } else if (failing > 0) {
        finding_say(finding, "; every call has failed for ");
        figure_since(&finding->found, failing);
        finding_mend(finding, FINDING_WARN,
                     "Bring the collector back, or correct otlp.endpoint: the log has its last "
                     "answer");
    }
}

static void judge_drops(const char *signal, const json_t *figures, struct findings *findings)
{
    for (size_t i = 0; i < sizeof drops / sizeof drops[0]; i++) {
        double count = json_number_value(
            json_object_get(json_object_get(figures, "dropped"), drops[i].reason));
        if (count > 0) {
            struct finding *finding = finding_add(findings, "export drops");
            finding_say(finding, "%s: ", signal);
            figure_count(&finding->found, count);
            finding_say(finding, " of ");
            figure_count(&finding->found, answer_number(figures, "accepted"));
            finding_say(finding, ", %s", drops[i].reason);
            finding_mend(finding, FINDING_WARN, "%s", drops[i].mend);
        }
    }
}

static void judge_spool(const char *signal, const json_t *figures, struct findings *findings)
{
    double limit = answer_number(figures, "spool_limit_bytes");
    double bytes = answer_number(figures, "spool_bytes");
    if (!(limit > 0)) {
        return;
    }
    struct finding *finding = finding_add(findings, "spool");
    finding_say(finding, "%s: ", signal);
    figure_bytes(&finding->found, bytes);
    finding_say(finding, " of at most ");
    figure_bytes(&finding->found, limit);
    if (answer_number(figures, "spool_works") == 0) {
        finding_say(finding, ", and it cannot be written to");
        finding_mend(
            finding, FINDING_FAIL,
            "See the log for what failed: make the parent of otlp.spool_directory, give the "
            "directory to the daemon's user with mode 0700, or free its disk; where the log "
            "says that there is no spool, restart dwelld then");
    } else if (bytes > SPOOL_NEARLY_FULL * limit) {
        finding_mend(finding, FINDING_WARN,
                     "Bring the collector back, or raise otlp.spool_max_bytes before the oldest is "
                     "given up");
    }
}

void doctor_export_judge(const json_t *root, struct findings *findings)
{
    const json_t *exports = json_object_get(root, "export");
    const char *signal;
    json_t *figures;
    if (json_is_object(exports) && json_object_size(exports) == 0) {
        finding_say(finding_add(findings, "export"), "off: there is no otlp.endpoint");
    }
    json_object_foreach((json_t *)(uintptr_t)exports, signal, figures)
    {
        judge_signal(signal, figures, findings);
        judge_drops(signal, figures, findings);
        judge_spool(signal, figures, findings);
    }
}
