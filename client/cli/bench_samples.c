#include "cli/bench_samples.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cli/answer.h"
#include "cli/record.h"
#include "cli/text.h"

enum {
    LINE_BYTES_MAX = 16 << 10, /* of a sample: a name of 256 bytes, escaped, and twenty figures */
    REPLY_BYTES_MAX = 64 << 10,
    PATIENCE_S = 2, /* for a daemon that does not read */
};

static const char default_hash[] = "cdd01ef066bc6cf2"; /* of service.constitutional_hash */

static void be_patient(int fd)
{
    struct timeval wait = {.tv_sec = PATIENCE_S};
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait); /* else it waits longer */
}

int samples_connect(const struct sockaddr_un *daemon)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    be_patient(fd);
    if (connect(fd, (const struct sockaddr *)daemon, sizeof *daemon) != 0) {
        (void)close(fd); /* it holds nothing */
        return -1;
    }
    return fd;
}

/* All of the line, or no more at all: half a line would spoil the next. */
static void write_line(struct samples *samples)
{
    size_t at = 0;
    if (samples->line.err != 0) {
        samples->fd = -1;
    }
    while (samples->fd >= 0 && at < samples->line.len) {
        ssize_t len =
            send(samples->fd, samples->line.data + at, samples->line.len - at, MSG_NOSIGNAL);
        if (len < 0 && errno != EINTR) {
            samples->fd = -1;
        }
        at += len > 0 ? (size_t)len : 0;
    }
    buf_clear(&samples->line);
}

void samples_open(struct samples *samples, int fd, const char *model_name, pid_t pid)
{
    const char *hash = getenv("CONSTITUTIONAL_HASH");
    *samples = (struct samples){.fd = fd, .model_name = model_name, .pid = pid};
    buf_init(&samples->line, LINE_BYTES_MAX);
    if (fd >= 0) {
        be_patient(fd);
        record_hello(hash != NULL && hash[0] != '\0' ? hash : default_hash, &samples->line);
        write_line(samples);
    }
}

void samples_close(struct samples *samples)
{
    buf_fini(&samples->line);
}

/* --- a sample ---------------------------------------------------------------------------------- */

static void put_figure(json_t *sample, const char *key, double figure)
{
    if (isfinite(figure)) {
        (void)json_object_set_new(sample, key,
                                  json_real(figure)); /* seen as a key that is missing */
    }
}

static void put_spent(json_t *sample, const struct spent *spent)
{
    const struct {
        const char *key;
        double figure;
    } figures[] = {
        {"cpu_percent_during", spent->cpu_percent},
        {"memory_mb_before", spent->memory_mb_before},
        {"memory_mb_after", spent->memory_mb_after},
        {"user_ms", spent->user_ms},
        {"system_ms", spent->system_ms},
        {"runqueue_ms", spent->runqueue_ms},
        {"process_cpu_ms", spent->process_cpu_ms},
        {"minor_faults", spent->minor_faults},
        {"major_faults", spent->major_faults},
        {"voluntary_switches", spent->voluntary_switches},
        {"involuntary_switches", spent->involuntary_switches},
        {"disk_bytes", spent->disk_bytes},
        {"threads", spent->threads},
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        put_figure(sample, figures[i].key, figures[i].figure);
    }
}

void samples_put(const struct samples *samples, double latency_ms, bool failed,
                 const struct spent *spent, struct buf *out)
{
    json_t *sample =
        json_pack("{s:s, s:f}", "model_name", samples->model_name, "execution_time_ms", latency_ms);
    if (sample != NULL && failed) {
        (void)json_object_set_new(sample, "error", json_true()); /* likewise */
    }
    put_spent(sample, spent);
    if (samples->pid > 0) {
        (void)json_object_set_new(sample, "thread_id", json_integer(samples->pid)); /* likewise */
    }
    char *line = sample == NULL ? NULL : json_dumps(sample, JSON_COMPACT);
    if (line != NULL) {
        buf_puts(out, line);
        buf_char(out, '\n');
    }
    free(line);
    json_decref(sample);
}

void samples_send(struct samples *samples, double latency_ms, bool failed,
                  const struct spent *spent)
{
    if (samples->fd >= 0) {
        samples_put(samples, latency_ms, failed, spent, &samples->line);
        write_line(samples);
        samples->sent += samples->fd >= 0;
    }
}

/* --- the end ----------------------------------------------------------------------------------- */

/* Reads lines until one says "flushed". */
struct replies {
    struct buf text;
    uint64_t rejected;
    bool flushed;
};

static void take_reply(struct replies *replies, struct str line, struct buf *problem)
{
    json_error_t error;
    json_t *root = json_loadb(line.ptr, line.len, 0, &error);
    const char *said = answer_text(root, "error");
    replies->flushed = replies->flushed || json_object_get(root, "flushed") != NULL;
    if (said[0] != '\0' && replies->rejected++ == 0) {
        buf_puts(problem, "the daemon rejects samples: ");
        text_safe(problem, str_of(said), true);
    }
    json_decref(root);
}

static void take_lines(struct replies *replies, struct buf *problem)
{
    size_t at = 0;
    const char *newline;
    while (replies->text.len > at &&
           (newline = memchr(replies->text.data + at, '\n', replies->text.len - at)) != NULL) {
        size_t len = (size_t)(newline - replies->text.data) - at;
        take_reply(replies, (struct str){replies->text.data + at, len}, problem);
        at += len + 1;
    }
    if (at > 0) {
        memmove(replies->text.data, replies->text.data + at, replies->text.len - at);
        replies->text.len -= at;
    }
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* there is such a clock */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void read_replies(int fd, int timeout_ms, struct replies *replies, struct buf *problem)
{
    enum { PIECE_BYTES = 4096 };
    int64_t end_ms = now_ms() + timeout_ms;
    ssize_t len = 1;
    while (!replies->flushed && len > 0) {
        int64_t left_ms = end_ms - now_ms();
        struct pollfd waited = {.fd = fd, .events = POLLIN};
        char *room = buf_reserve(&replies->text, PIECE_BYTES);
        if (room == NULL || left_ms <= 0) {
            return;
        }
        if (poll(&waited, 1, (int)left_ms) > 0) {
            len = recv(fd, room, PIECE_BYTES, MSG_DONTWAIT);
            replies->text.len += len > 0 ? (size_t)len : 0;
            len = len < 0 && (errno == EAGAIN || errno == EINTR) ? 1 : len;
            take_lines(replies, problem);
        }
    }
}

bool samples_confirm(struct samples *samples, int timeout_ms, struct buf *problem)
{
    struct replies replies = {0};
    if (samples->fd < 0) {
        buf_puts(problem, "the daemon stopped reading samples");
        return false;
    }
    buf_puts(&samples->line, "{\"type\":\"flush\"}\n");
    write_line(samples);
    buf_init(&replies.text, REPLY_BYTES_MAX);
    if (samples->fd >= 0) {
        read_replies(samples->fd, timeout_ms, &replies, problem);
    }
    if (!replies.flushed && problem->len == 0) {
        buf_puts(problem, "the daemon did not confirm the samples");
    }
    buf_fini(&replies.text);
    return replies.flushed && replies.rejected == 0;
}
