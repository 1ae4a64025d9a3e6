/*
 * Happy path
 *   1. the socket is readable: accept at most ACCEPTS_A_TURN connections
 *   2. ask the kernel who it is (SO_PEERCRED), compare with the lists
 *   3. connection_start takes the descriptor
 *
 * What can fail: too many connections, in all or of one sender, or a peer that may not send: one line
 * that says why, close, count. Out of descriptors or memory: accepting pauses until a connection is
 * closed, or else for PAUSE_MS, as others take descriptors, too; the peers wait in the kernel's queue.
 */
#include "io/listener.h"

#include <errno.h>
#include <unistd.h>

#include "io/connection.h"
#include "wire/ndjson.h"

enum {
    ACCEPTS_A_TURN = 32,
    ACCEPTS_AT_END = 1024, /* more than can wait, even while others go on coming */
    PAUSE_MS = 100,
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void resume(void *ctx)
{
    struct listener *listener = ctx;
    listener->ingest->freed = NULL;
    (void)uv_timer_stop(&listener->pause);
    (void)uv_poll_start(&listener->poll, UV_READABLE, on_readable); /* an open, valid handle */
}

static void on_pause_over(uv_timer_t *timer)
{
    resume(timer->data);
}

static void pause_accepting(struct listener *listener, const char *why)
{
    log_limited(&listener->ingest->refusals, "cannot accept connections: %s", why);
    listener->ingest->freed = resume;
    listener->ingest->freed_ctx = listener;
    (void)uv_poll_stop(&listener->poll);
    (void)uv_timer_start(&listener->pause, on_pause_over, PAUSE_MS, 0);
}

/* The peer's format is not known, so it gets the line that a person can read. */
static void refuse(struct ingest *ingest, int fd, int err, const struct ucred *who)
{
    struct rejection rejection = {.err = err};
    struct buf line;
    buf_init(&line, INGEST_REPLIES_MAX_BYTES);
    ndjson_render_error(&line, &rejection);
    if (line.err == 0) {
        ssize_t sent = send(fd, line.data, line.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        (void)sent; /* told if possible */
    }
    buf_fini(&line);
    (void)close(fd);
    ingest->intake->counters->value[COUNTER_CONNECTIONS_REFUSED]++;
    struct log_about about = {err_label(err), who->pid, who->uid};
    log_limited_about(&ingest->refusals, &about, "refused a connection of process %ld, user %u: %s",
                      (long)who->pid, (unsigned)who->uid, err_sentence(err));
}

static int admit(struct listener *listener, int fd)
{
    struct ingest *ingest = listener->ingest;
    struct ucred who = {.uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0) {
        refuse(ingest, fd, ERR_SYSTEM, &who);
    } else if (!ingest_may_send(ingest, &who)) {
        refuse(ingest, fd, ERR_DENIED, &who);
    } else if (ingest->connection_count >= ingest->options.max_connections) {
        refuse(ingest, fd, ERR_LIMIT, &who);
    } else if (senders_are_full(&ingest->senders, &who)) {
        ingest->intake->counters->value[COUNTER_PEER_CONNECTIONS_REFUSED]++;
        refuse(ingest, fd, ERR_LIMIT, &who);
    } else {
        return connection_start(ingest, fd, &who);
    }
    return 0;
}

/* Returns false when nobody is waiting, or nobody can be let in for now. */
static bool accept_one(struct listener *listener)
{
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            pause_accepting(listener, strerror(errno));
        }
        return false;
    }
    if (admit(listener, fd) != 0) {
        pause_accepting(listener, "out of memory");
        return false;
    }
    return true;
}

static void accept_some(struct listener *listener, unsigned most)
{
    for (unsigned i = 0; i < most && accept_one(listener); i++) {
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status; /* an error shows again in accept */
    (void)events;
    accept_some(poll->data, ACCEPTS_A_TURN);
}

int listener_start(struct listener *listener, struct ingest *ingest, int fd)
{
    *listener = (struct listener){.fd = fd, .ingest = ingest};
    if (uv_poll_init(ingest->loop, &listener->poll, fd) != 0) {
        return ERR_SYSTEM;
    }
    listener->poll.data = listener;
    (void)uv_timer_init(ingest->loop, &listener->pause); /* cannot fail */
    listener->pause.data = listener;
    return uv_poll_start(&listener->poll, UV_READABLE, on_readable) == 0 ? 0 : ERR_SYSTEM;
}

void listener_drain(struct listener *listener)
{
    accept_some(listener, ACCEPTS_AT_END);
}

/* The socket goes at once, not when the loop comes around to it: who connected meanwhile would send to
 * nobody. */
void listener_close(struct listener *listener)
{
    (void)uv_poll_stop(&listener->poll); /* else it would watch a closed descriptor; cannot fail */
    (void)close(listener->fd);
    listener->ingest->freed = NULL;
    uv_close((uv_handle_t *)&listener->pause, NULL);
    uv_close((uv_handle_t *)&listener->poll, NULL);
}
