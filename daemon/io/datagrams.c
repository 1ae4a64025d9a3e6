/*
 * Happy path
 *   1. the socket is readable: it waits for its turn, as a connection does (io/turns)
 *   2. recvmmsg takes up to DATAGRAMS_A_READ of them, each with the credentials that the kernel
 *      attached (SO_PASSCRED); fewer, when those before were long
 *   3. a datagram is a peer that lives for one call: format, decoder, sink
 *   4. its sender has used the time that this took
 *
 * What can fail: longer than max_frame_bytes (too_long), a sender who may not (not_allowed), bytes of
 * no format (unknown_format), a broken batch (bad_frame): counted under the reason, logged now and
 * then, and the next datagram is read. A sender that takes more than its share has datagrams dropped
 * unread (io/shed).
 */
#include "io/datagrams.h"

#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "wire/ndjson.h"
#include "wire/sniff.h"

enum {
    DATAGRAMS_A_READ = 16,
    LONG_READ_BYTES = 65536, /* as a read of a connection: no turn is to be much longer */
    READS_AT_END = 64,       /* more than a socket holds, even while others go on sending */
    MOST_BYTES = 262144,     /* more than the kernel's default send buffer lets through */
    ROOM_BYTES = WIRE_MAGIC_BYTES + MOST_BYTES, /* for one; what none needs is never touched */
};

/* A line number of 0 is none, and "%.0llu" prints nothing of it. */
static void complain(struct datagrams *datagrams, const struct ucred *who, const char *what,
                     const struct rejection *rejection)
{
    struct log_about about = {err_label(rejection->err), who->pid, who->uid};
    log_limited_about(&datagrams->ingest->rejections, &about,
                      "rejected a datagram's %s of process %ld, user %u: %s%s%.*s%s%.0llu", what,
                      (long)who->pid, (unsigned)who->uid, err_sentence(rejection->err),
                      rejection->key.len > 0 ? ": " : "", (int)rejection->key.len,
                      rejection->key.len > 0 ? rejection->key.ptr : "",
                      rejection->line > 0 ? ", line " : "", (unsigned long long)rejection->line);
}

/* What events of one datagram need. */
struct context {
    struct datagrams *datagrams;
    const struct ucred *who;
    uint64_t records;
};

static void on_rejected(void *ctx, const struct rejection *rejection)
{
    struct context *context = ctx;
    context->records++;
    complain(context->datagrams, context->who, "record", rejection);
}

static void on_unknown_key(void *ctx, struct str key)
{
    const struct context *context = ctx;
    if (!context->datagrams->told_unknown_key) {
        context->datagrams->told_unknown_key = true;
        log_info("process %ld, user %u sends datagrams with the unknown key %.*s, which is "
                 "ignored; it is told once",
                 (long)context->who->pid, (unsigned)context->who->uid, (int)key.len, key.ptr);
    }
}

static void on_violation(void *ctx, struct str service)
{
    const struct context *context = ctx;
    log_limited(&context->datagrams->ingest->violations,
                "service %.*s, process %ld, user %u: its constitutional hash differs",
                (int)service.len, service.ptr, (long)context->who->pid,
                (unsigned)context->who->uid);
}

static void on_over_budget(void *ctx, const struct budget *budget, double budget_ms)
{
    const struct context *context = ctx;
    ingest_tell_over_budget(context->datagrams->ingest, context->who->pid, budget, budget_ms);
}

static int decode_ndjson(struct ingest *ingest, struct str bytes, const struct record_sink *sink)
{
    struct ndjson ndjson;
    ndjson_init(&ndjson, ingest->options.max_line_bytes);
    int err = ndjson_feed(&ndjson, bytes, sink);
    if (err == 0) {
        ndjson_end(&ndjson, sink);
    }
    ndjson_fini(&ndjson);
    return err;
}

static int decode_statsd(struct statsd *statsd, struct str bytes, const struct record_sink *sink)
{
    statsd->line = 1;
    return statsd_feed_last(statsd, bytes, sink);
}

static int decode(struct datagrams *datagrams, struct str bytes, const struct record_sink *sink)
{
    struct ingest *ingest = datagrams->ingest;
    switch (sniff_datagram(bytes)) {
    case WIRE_FRAMES:
        return batch_decode(
            ingest->decoder,
            (struct str){bytes.ptr + WIRE_MAGIC_BYTES, bytes.len - WIRE_MAGIC_BYTES}, sink);
    case WIRE_NDJSON:
        return decode_ndjson(ingest, bytes, sink);
    case WIRE_STATSD:
        return decode_statsd(&datagrams->statsd, bytes, sink);
    default:
        return ERR_FORMAT;
    }
}

static int take(struct datagrams *datagrams, struct str bytes, const struct ucred *who,
                struct sender *sender, uint64_t *ret_records)
{
    struct ingest *ingest = datagrams->ingest;
    struct context context = {datagrams, who, 0};
    struct peer_events events = {.ctx = &context,
                                 .rejected = on_rejected,
                                 .unknown_key = on_unknown_key,
                                 .violation = on_violation,
                                 .over_budget = on_over_budget};
    struct peer peer;
    if (!ingest_may_send(ingest, who)) {
        return ERR_DENIED;
    }
    peer_init(&peer, ingest->intake, &events, who->pid);
    peer.is_datagram = true;
    peer.maker = sender == NULL ? NULL : sender->maker;
    struct record_sink sink = peer_sink(&peer);
    peer_begin(&peer);
    int err = decode(datagrams, bytes, &sink);
    peer_end(&peer);
    peer_fini(&peer);
    context.records += peer.applied;
    *ret_records = context.records;
    return err;
}

/* What its sender has to answer for. One that finds no memory has no limits, for once. */
static int take_for_sender(struct datagrams *datagrams, struct str bytes, const struct ucred *who)
{
    struct ingest *ingest = datagrams->ingest;
    const struct clock *clock = &ingest->clock;
    uint64_t began_ns = clock->mono_ns(clock->ctx);
    uint64_t records = 0;
    struct sender *sender = senders_meet(&ingest->senders, who, began_ns);
    if (sender != NULL && shed_wants(&datagrams->shed, sender, began_ns)) {
        shed_drop(&datagrams->shed, sender, bytes, began_ns);
        return 0;
    }
    int err = take(datagrams, bytes, who, sender, &records);
    if (sender != NULL) {
        uint64_t now_ns = clock->mono_ns(clock->ctx);
        senders_use(&ingest->senders, sender, now_ns - began_ns);
        ingest->intake->counters->value[COUNTER_PEER_PAUSES] +=
            senders_charge(&ingest->senders, sender, records, now_ns);
    }
    return err;
}

/* The sender as the kernel saw it; nobody when it did not say. */
static struct ucred sender(struct msghdr *header)
{
    struct ucred who = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part != NULL;
         part = CMSG_NXTHDR(header, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&who, CMSG_DATA(part), sizeof who);
        }
    }
    return who;
}

static void take_message(struct datagrams *datagrams, struct mmsghdr *message)
{
    struct intake *intake = datagrams->ingest->intake;
    struct str bytes = {message->msg_hdr.msg_iov->iov_base, message->msg_len};
    struct ucred who = sender(&message->msg_hdr);
    bool cut = (message->msg_hdr.msg_flags & MSG_TRUNC) != 0;
    intake->counters->value[COUNTER_DATAGRAMS]++;
    intake->counters->value[COUNTER_RECEIVED_BYTES] += bytes.len;
    int err = cut ? ERR_TOO_LONG : take_for_sender(datagrams, bytes, &who);
    if (err != 0) {
        intake->rejected[err_row(err)]++;
        complain(datagrams, &who, "content", &(struct rejection){.err = err});
    }
}

/* A datagram cannot be read in part, so the number of them has to change. */
static void choose_number(struct datagrams *datagrams, size_t bytes)
{
    if (bytes > LONG_READ_BYTES) {
        datagrams->at_once = (datagrams->at_once + 1) / 2;
    } else if (datagrams->at_once < DATAGRAMS_A_READ) {
        datagrams->at_once *= 2;
    }
}

/* Returns true when the read was full: there may be more. */
static bool read_once(struct datagrams *datagrams)
{
    struct mmsghdr messages[DATAGRAMS_A_READ] = {0};
    struct iovec parts[DATAGRAMS_A_READ];
    _Alignas(struct cmsghdr) char control[DATAGRAMS_A_READ][CMSG_SPACE(sizeof(struct ucred))];
    for (unsigned i = 0; i < DATAGRAMS_A_READ; i++) {
        parts[i] = (struct iovec){datagrams->memory + i * (size_t)ROOM_BYTES, datagrams->max_bytes};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = control[i];
        messages[i].msg_hdr.msg_controllen = sizeof control[i];
    }
    unsigned wanted = datagrams->at_once;
    int got = recvmmsg(datagrams->fd, messages, wanted, MSG_DONTWAIT, NULL);
    if (got <= 0) {
        return false; /* nothing there; errors of a datagram socket pass */
    }
    const struct clock *clock = &datagrams->ingest->clock;
    size_t bytes = 0;
    shed_look(&datagrams->shed, clock->mono_ns(clock->ctx));
    ingest_set_time(datagrams->ingest);
    for (int i = 0; i < got; i++) {
        bytes += messages[i].msg_len;
        take_message(datagrams, &messages[i]);
    }
    choose_number(datagrams, bytes);
    return (unsigned)got == wanted;
}

static bool on_turn(struct turn *turn)
{
    return read_once(turn->owner);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct datagrams *datagrams = poll->data;
    (void)status;
    (void)events;
    turns_wait(&datagrams->ingest->turns, &datagrams->turn);
}

static void take_ceilings(struct datagrams *datagrams)
{
    size_t ceiling = datagrams->ingest->options.max_frame_bytes;
    datagrams->max_bytes = WIRE_MAGIC_BYTES + (ceiling < MOST_BYTES ? ceiling : MOST_BYTES);
}

int datagrams_start(struct datagrams *datagrams, struct ingest *ingest, int fd)
{
    int on = 1;
    *datagrams = (struct datagrams){.fd = fd, .ingest = ingest, .at_once = DATAGRAMS_A_READ};
    datagrams->turn =
        (struct turn){.sender = &datagrams->sender, .owner = datagrams, .take = on_turn};
    TAILQ_INIT(&datagrams->sender.turns);
    shed_init(&datagrams->shed, ingest, &datagrams->sender);
    statsd_init(&datagrams->statsd, ingest->options.max_line_bytes,
                &ingest->options.statsd_samples);
    take_ceilings(datagrams);
    datagrams->memory = mem_alloc((size_t)DATAGRAMS_A_READ * ROOM_BYTES);
    if (datagrams->memory == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0 ||
        uv_poll_init(ingest->loop, &datagrams->poll, fd) != 0) {
        mem_free(datagrams->memory);
        (void)close(fd);
        return ERR_SYSTEM;
    }
    datagrams->poll.data = datagrams;
    return uv_poll_start(&datagrams->poll, UV_READABLE, on_readable) == 0 ? 0 : ERR_SYSTEM;
}

void datagrams_obey(struct datagrams *datagrams)
{
    take_ceilings(datagrams);
    statsd_limit(&datagrams->statsd, datagrams->ingest->options.max_line_bytes);
}

void datagrams_drain(struct datagrams *datagrams)
{
    for (int i = 0; i < READS_AT_END && read_once(datagrams); i++) {
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct datagrams *datagrams = handle->data;
    (void)close(datagrams->fd);
    statsd_fini(&datagrams->statsd);
    mem_free(datagrams->memory);
}

void datagrams_close(struct datagrams *datagrams)
{
    turns_cancel(&datagrams->ingest->turns, &datagrams->turn);
    uv_close((uv_handle_t *)&datagrams->poll, on_closed);
}
