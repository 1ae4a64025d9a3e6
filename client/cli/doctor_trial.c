/*
 * Happy path
 *   1. connect, within the time that there is
 *   2. send {"type":"flush"}; with a sample: a hello, the sample, the flush
 *   3. the daemon answers {"flushed": N} when N records of this connection were applied
 *
 * What can fail: nobody takes the connection or answers in time; the daemon answers an error instead, such
 * as that we may not send. Each becomes the row's text, with what to do.
 */
#include "cli/doctor_trial.h"

#include <errno.h>
#include <math.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/doctor_reason.h"
#include "cli/figure.h"
#include "cli/place.h"
#include "cli/record.h"

enum {
    ANSWER_MAX = 4096, /* bytes: a flush and an error or two */
    LINES_MAX = 1024,
};

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* there always is one */
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* Whatever waits on the socket ends after so long. A unix socket waits in connect, too, where it does so
 * for room to send. */
static bool set_timeout(int fd, double seconds)
{
    double whole = floor(seconds);
    struct timeval limit = {.tv_sec = (time_t)whole,
                            .tv_usec = (suseconds_t)((seconds - whole) * 1e6)};
    if (limit.tv_sec == 0 && limit.tv_usec == 0) {
        limit.tv_usec = 1; /* 0 would be for ever */
    }
    return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
           setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0;
}

static bool send_all(int fd, struct str text)
{
    while (text.len > 0) {
        ssize_t sent = send(fd, text.ptr, text.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR) {
            return false;
        }
        text.ptr += sent > 0 ? sent : 0;
        text.len -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

static void put_lines(const struct doctor_trial *trial, struct buf *out)
{
    if (trial->hash != NULL) {
        record_hello(trial->hash, out);
        buf_puts(out, "{\"model_name\":\"" DOCTOR_MODEL "\",\"execution_time_ms\":0}\n");
    }
    buf_puts(out, "{\"type\":\"flush\"}\n");
}

/* Reads up to the line that ends the exchange, the end, or the time. */
static void read_answer(int fd, double until_ms, struct buf *answer)
{
    while (now_ms() < until_ms) {
        char *room = buf_reserve(answer, 512);
        ssize_t got = room == NULL ? 0 : recv(fd, room, 512, 0);
        answer->len += got > 0 ? (size_t)got : 0;
        if (got == 0 || (got < 0 && errno != EINTR) ||
            (answer->len > 0 && answer->data[answer->len - 1] == '\n')) {
            return;
        }
    }
}

/* 0, or the errno value of what failed. */
static int exchange(const struct doctor_trial *trial, int fd, struct buf *answer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct buf lines;
    double until_ms = now_ms() + trial->timeout * 1e3;
    memcpy(address.sun_path, trial->path, strlen(trial->path) + 1);
    if (!set_timeout(fd, trial->timeout) ||
        connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        return errno;
    }
    buf_init(&lines, LINES_MAX);
    put_lines(trial, &lines);
    bool sent = lines.err == 0 && send_all(fd, (struct str){lines.data, lines.len});
    int reason = sent ? 0 : errno;
    buf_fini(&lines);
    read_answer(fd, until_ms, answer); /* also when it was not taken: why may be in it */
    return answer->len > 0 ? 0 : reason;
}

void doctor_try(const struct doctor_trial *trial, struct findings *findings)
{
    struct buf answer;
    buf_init(&answer, ANSWER_MAX);
    double began_ms = now_ms();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int reason = fd < 0 ? errno : exchange(trial, fd, &answer);
    if (reason != 0 && reason != EAGAIN) {
        struct finding *finding = finding_add(findings, "ingest");
        finding_say(finding, "%s", strerror(reason));
        finding_mend(finding, FINDING_FAIL, "Try again; if it stays so restart dwelld");
    } else {
        doctor_trial_judge(trial, (struct str){answer.data, answer.len}, now_ms() - began_ms,
                           findings);
    }
    if (fd >= 0) {
        (void)close(fd); /* the answer is there, or will not come */
    }
    buf_fini(&answer);
}

/* --- judging ----------------------------------------------------------------------------------- */

/* The first line that decides, as a tree; NULL: there is none. */
static json_t *find_line(struct str answer, const char *key)
{
    while (answer.len > 0) {
        const char *end = memchr(answer.ptr, '\n', answer.len);
        size_t len = end == NULL ? answer.len : (size_t)(end - answer.ptr);
        json_t *line = json_loadb(answer.ptr, len, 0, NULL);
        if (line != NULL && json_object_get(line, key) != NULL) {
            return line;
        }
        json_decref(line);
        size_t used = len + (end == NULL ? 0 : 1);
        answer.ptr += used;
        answer.len -= used;
    }
    return NULL;
}

static void judge_flush(const struct doctor_trial *trial, double applied, double ms,
                        struct finding *finding)
{
    if (trial->hash == NULL) {
        finding_say(finding, "a flush was answered in ");
        figure_time(&finding->found, ms);
    } else if (applied >= 1) {
        finding_say(finding, "a sample of the model " DOCTOR_MODEL " was counted in ");
        figure_time(&finding->found, ms);
    } else {
        finding_say(finding, "a sample was taken and not counted");
        finding_mend(finding, FINDING_FAIL, "See the daemon's log for what it rejects");
    }
}

void doctor_trial_judge(const struct doctor_trial *trial, struct str answer, double ms,
                        struct findings *findings)
{
    struct finding *finding = finding_add(findings, "ingest");
    json_t *error = find_line(answer, "error");
    json_t *flushed = find_line(answer, "flushed");
    if (error != NULL) {
        const char *reason = answer_text(error, "reason");
        finding_say(finding, "refused: %s (%s)", answer_text(error, "error"), reason);
        finding_mend(finding, FINDING_FAIL, "%s", doctor_reason_mend(reason));
    } else if (flushed != NULL) {
        judge_flush(trial, answer_number(flushed, "flushed"), ms, finding);
    } else if (answer.len > 0) {
        finding_say(finding, "the answer is none that a dwelld gives");
        finding_mend(finding, FINDING_FAIL, "See who listens there: ss -xlp");
    } else {
        finding_say(finding, "no answer in ");
        figure_time(&finding->found, ms);
        finding_mend(finding, FINDING_FAIL,
                     "See what holds the daemon up (its log, top); if nothing does, restart it");
    }
    json_decref(error);
    json_decref(flushed);
}
