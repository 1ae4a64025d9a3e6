/*
 * dwell doctor: what is wrong with a daemon, as a client comes by it, and what to do.
 *
 * Happy path
 *   1. the place: the environment, the directory, each socket in it and whether somebody listens
 *   2. ingest.sock: a flush is answered, or with --send a sample is counted
 *   3. query.sock: /api/v1/status; and the HTTP address that it names leads to the same daemon
 *   4. what the status tells is judged
 *   5. all rows are printed; the exit status is 0 when there is nothing to mend
 *
 * What can fail: anything, and that is a row. What takes a daemon that answers is left out where none does.
 * By --url only 3 and 4 can be done.
 */
#include <sysexits.h>
#include <time.h>

#include "cli/answer.h"
#include "cli/doctor_export.h"
#include "cli/doctor_place.h"
#include "cli/doctor_status.h"
#include "cli/doctor_store.h"
#include "cli/doctor_system.h"
#include "cli/doctor_trial.h"
#include "cli/tool.h"

static const char status_path[] = "/api/v1/status";

static struct str text_of(const struct buf *buf)
{
    return (struct str){buf->data, buf->len};
}

/* The status of a daemon as a tree, the caller's to json_decref; or NULL, with the reason in `problem`. */
static json_t *ask(const struct fetch_target *target, struct buf *problem)
{
    struct buf body;
    json_t *root = NULL;
    long status = 0;
    buf_init(&body, FETCH_BYTES_MAX);
    int failed = tool_fetch(target, "GET", status_path, &status, &body, problem);
    struct str text = text_of(&body);
    if (failed == 0 && status != 200) {
        (void)answer_refused(status_path, status, text, problem); /* what counts is the sentence */
    } else if (failed == 0) {
        (void)answer_read(text, &root, problem); /* likewise */
    }
    buf_fini(&body);
    return root;
}

/* Whether HTTP over TCP leads to the daemon of the socket. */
static void judge_http(const struct tool *tool, const json_t *root, struct findings *findings)
{
    const char *address = answer_text(root, "http_address");
    const char *instance = answer_text(root, "process.instance");
    struct fetch_target target = {.url = address, .timeout = tool->arguments.timeout};
    struct finding *finding = finding_add(findings, "http");
    struct buf problem;
    if (address[0] == '\0') {
        finding_say(finding, "the daemon tells no address");
        finding->state = FINDING_UNKNOWN;
        return;
    }
    buf_init(&problem, TOOL_PROBLEM_MAX);
    json_t *other = ask(&target, &problem);
    const char *there = answer_text(other, "process.instance");
    if (other == NULL) {
        finding_say(finding, "%.*s", (int)problem.len, problem.len > 0 ? problem.data : "");
        finding_mend(finding, FINDING_WARN,
                     "Let Prometheus ask where the daemon's network is, or set http.listen to an "
                     "address that leads there");
    } else if (instance[0] == '\0') {
        finding_say(finding, "%s answers; an older daemon does not tell whether it is this one",
                    address);
        finding->state = FINDING_UNKNOWN;
    } else if (strcmp(instance, there) != 0) {
        finding_say(finding, "another daemon answers at %s", address);
        finding_mend(finding, FINDING_FAIL,
                     "Give each daemon an http.listen of its own; port 0 takes any that is free");
    } else {
        finding_say(finding, "%s leads to the same daemon", address);
    }
    json_decref(other);
    buf_fini(&problem);
}

/* /readyz is what others decide by. */
static void judge_ready(const struct fetch_target *target, struct findings *findings)
{
    static const char *const mends[][2] = {
        {"stopping", "Start dwelld again when it has ended"},
        {"loop_late", "See what holds the daemon up (its log, top); if nothing does, restart it"},
        {"socket_lost", "Restart dwelld: it makes its sockets again"},
        {"no_descriptors", "Raise LimitNOFILE= and restart dwelld, or let fewer clients connect"},
    };
    struct buf body;
    struct buf problem;
    json_t *root = NULL;
    long status = 0;
    buf_init(&body, FETCH_BYTES_MAX);
    buf_init(&problem, TOOL_PROBLEM_MAX);
    struct finding *finding = finding_add(findings, "ready");
    int failed = tool_fetch(target, "GET", "/readyz", &status, &body, &problem);
    if (failed == 0) {
        failed = answer_read(text_of(&body), &root, &problem);
    }
    if (failed != 0) {
        finding_say(finding, "%.*s", (int)problem.len, problem.len > 0 ? problem.data : "");
        finding_mend(finding, FINDING_FAIL, "%s", mends[1][1]);
    } else if (status == 200) {
        finding_say(finding, "it can do its work (/readyz)");
    } else {
        const char *reason = answer_text(root, "reason");
        const char *mend = "See the daemon's log";
        for (size_t i = 0; i < sizeof mends / sizeof mends[0]; i++) {
            mend = strcmp(reason, mends[i][0]) == 0 ? mends[i][1] : mend;
        }
        finding_say(finding, "no: %s (%s)", answer_text(root, "error"), reason);
        finding_mend(finding, FINDING_FAIL, "%s", mend);
    }
    json_decref(root);
    buf_fini(&body);
    buf_fini(&problem);
}

/* What our own clock shows, as the daemon's answer has just come. */
static double wall_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* there always is one */
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void judge_system(const json_t *root, struct findings *findings)
{
    struct doctor_system system;
    double pid = answer_number(root, "process.pid");
    doctor_system_look(&system, &doctor_roots_real, pid > 0 ? (int64_t)pid : 0);
    doctor_system_judge(&system, root, findings);
}

static void judge_daemon(const struct tool *tool, const struct fetch_target *target,
                         struct findings *findings)
{
    struct finding *finding = finding_add(findings, "query");
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    json_t *root = ask(target, &problem);
    if (root == NULL) {
        struct str said = text_of(&problem);
        finding_say(finding, "%.*s", (int)said.len, said.len > 0 ? said.ptr : "");
        finding_mend(finding, FINDING_FAIL,
                     "See what holds the daemon up (its log, top); if nothing does, restart it");
    } else {
        finding_say(finding, "%s answers",
                    target->socket[0] != '\0' ? target->socket : target->url);
        judge_ready(target, findings);
        if (target->socket[0] != '\0') {
            judge_http(tool, root, findings);
        }
        doctor_status_judge(root, wall_seconds(), findings);
        doctor_export_judge(root, findings);
        doctor_store_judge(root, findings);
        if (target->socket[0] != '\0') {
            judge_system(root, findings);
        }
    }
    json_decref(root);
    buf_fini(&problem);
}

/* By the sockets, as clients do. */
static int look(const struct tool *tool, struct findings *findings)
{
    const struct arguments *arguments = &tool->arguments;
    struct doctor_place place;
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    int status = doctor_place_look(&place, arguments->dir, &problem);
    if (status != 0) {
        tool_say(&problem);
    } else {
        doctor_place_judge(&place, findings);
    }
    buf_fini(&problem);
    if (status == 0 && doctor_place_answers(&place, DOCTOR_INGEST)) {
        char path[PLACE_BYTES];
        doctor_place_socket(&place, DOCTOR_INGEST, path);
        struct doctor_trial trial = {.path = path,
                                     .hash = arguments->send ? tool_hash(tool) : NULL,
                                     .timeout = arguments->timeout};
        doctor_try(&trial, findings);
    }
    if (status == 0 && doctor_place_answers(&place, DOCTOR_QUERY)) {
        struct fetch_target target = {.timeout = arguments->timeout};
        doctor_place_socket(&place, DOCTOR_QUERY, target.socket);
        judge_daemon(tool, &target, findings);
    }
    return status;
}

int doctor_run(struct tool *tool)
{
    const struct arguments *arguments = &tool->arguments;
    struct findings findings;
    struct buf out;
    int status = 0;
    if (arguments->send && arguments->url != NULL) {
        tool_complain("--send goes by ingest.sock alone, on the daemon's machine: leave out --url");
        return EX_USAGE;
    }
    findings_init(&findings, tool->terminal.utf8);
    buf_init(&out, TOOL_TEXT_MAX);
    if (arguments->url != NULL) {
        struct fetch_target target = {.url = arguments->url, .timeout = arguments->timeout};
        judge_daemon(tool, &target, &findings);
    } else {
        status = look(tool, &findings);
    }
    if (status == 0) {
        status = findings_are_well(&findings) ? 0 : EXIT_NO;
        if (arguments->json) {
            findings_render_json(&findings, &out);
        } else {
            findings_render(&findings, tool->terminal.columns, &out);
        }
    }
    findings_fini(&findings);
    if (status <= EXIT_NO && arguments->json) {
        int failed = terminal_write(&out);
        buf_fini(&out);
        return failed != 0 ? failed : status;
    }
    return tool_print(tool, &out, status);
}
