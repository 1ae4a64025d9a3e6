/*
 * Happy path
 *   1. connection_start    a timer of one second runs for the choice of the format
 *   2. on_event readable   its sender's turn comes (io/turns): one read of at most INGEST_READ_BYTES
 *   3. choose_format       the first bytes decide; what was held back is fed with what follows
 *   4. feed                decoder -> peer sink -> registry; answers gather in `replies`
 *   5. send_replies        written at once as far as the peer takes them, else when writable
 *   6. end of input        the decoder's rest is fed, the last answers go out, close
 *
 * What can fail, and where it ends
 *   unknown format, broken or over-long frame   one error answer, if its peers read any, then close
 *                                               (end_with)
 *   the peer does not read its answers          those past INGEST_REPLIES_MAX_BYTES are counted and
 *                                               dropped; at the end they wait INGEST_DRAIN_MS
 *   read error, peer gone                       close; what was decoded counts
 *   silence longer than ingest.idle_timeout_ms  close
 *   the journal has no room for a peer that     it is not read until there is; one that only now asks
 *   asks for acknowledgements                   is told limit_reached, and comes again
 *   more held for its sender than               one error answer, close: this one asked for more last
 *   ingest.max_peer_bytes
 *   more records than ingest.max_peer_records_per_second   it is not read for a while; nothing is lost
 */
#include "io/connection.h"

#include <errno.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/acknowledger.h"
#include "io/format.h"

enum {
    DRAIN_READS = 16, /* of 64 kB: more than a socket holds, whatever goes on writing */
    KEPT_SHARE = 4, /* of a read may be a kept part of a frame: copied in no time against a read */
};

enum connection_state {
    STATE_READING,
    STATE_ENDING, /* nothing more is read; answers go out */
    STATE_CLOSED, /* waiting for the loop to let go of the handles */
};

struct connection {
    struct connection *next, **link; /* in ingest->connections */
    struct ingest *ingest;
    uv_poll_t poll;
    int events; /* that `poll` waits for; 0 while it is stopped */
    struct turn turn;
    bool is_deaf; /* was told of input twice in the wait for its turn, and need not be told again */
    bool has_more; /* the last read was full */
    uv_timer_t timer;
    unsigned open_handles;
    int fd;
    pid_t pid; /* of the peer, for complaints */
    uid_t uid;
    gid_t gid;
    enum connection_state state;
    enum wire_format format;
    char first[WIRE_MAGIC_BYTES]; /* bytes held back until the format is chosen */
    size_t first_len;
    uint64_t last_read_ns;
    bool told_unknown_key;
    bool past_magic;   /* the bytes "DWL1" are behind us, or there were none */
    uint64_t refused;  /* records; with peer.applied, those that came */
    uint64_t charged;  /* of both, told to the sender */
    size_t held_bytes; /* likewise */
    struct peer peer;
    struct record_sink sink;
    struct acknowledger acknowledger;
    union decoder decoder;
    struct buf replies;
    size_t replies_sent; /* of `replies`, already taken by the peer */
    bool takes_no_more;  /* the peer's socket is full, in this turn */
};

static void close_now(struct connection *connection);
static void on_event(uv_poll_t *poll, int status, int events);

/* --- answers ----------------------------------------------------------------------------------- */

/* Sends what the peer takes. Returns false when the connection is broken. */
static bool send_replies(struct connection *connection)
{
    struct buf *replies = &connection->replies;
    while (connection->replies_sent < replies->len) {
        ssize_t sent = send(connection->fd, replies->data + connection->replies_sent,
                            replies->len - connection->replies_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        connection->replies_sent += (size_t)sent;
    }
    buf_clear(replies);
    connection->replies_sent = 0;
    return true;
}

/* Makes room by forgetting what was sent already. */
static void compact_replies(struct connection *connection)
{
    struct buf *replies = &connection->replies;
    if (connection->replies_sent > 0) {
        replies->len -= connection->replies_sent;
        memmove(replies->data, replies->data + connection->replies_sent, replies->len);
        connection->replies_sent = 0;
    }
}

/* Makes room for one more answer while the peer takes them: one read may bring thousands of bad lines.
 * Whoever takes no more is not asked again in this turn. Returns where the answer begins. */
static size_t begin_reply(struct connection *connection)
{
    if (connection->replies.len > INGEST_REPLIES_MAX_BYTES / 2 && !connection->takes_no_more) {
        (void)send_replies(connection); /* that it is broken shows again in settle */
        compact_replies(connection);
        connection->takes_no_more = connection->replies.len > 0;
    }
    return connection->replies.len;
}

/* Drops the answer that was just rendered when it did not fit: the buffer holds whole answers. */
static void finish_reply(struct connection *connection, size_t before)
{
    if (connection->replies.err != 0) {
        connection->replies.len = before;
        connection->replies.err = 0;
        connection->ingest->intake->counters->value[COUNTER_LOST_REPLIES]++;
    }
}

static void on_rejected(void *ctx, const struct rejection *rejection)
{
    struct connection *connection = ctx;
    const struct format *format = &formats[connection->format];
    struct log_about about = {err_label(rejection->err), connection->pid, connection->uid};
    connection->refused++;
    /* A line number of 0 is none, and "%.0llu" prints nothing of it. */
    log_limited_about(&connection->ingest->rejections, &about,
                      "rejected a record of process %ld, user %u: %s%s%.*s%s%.0llu%s%.*s",
                      (long)connection->pid, (unsigned)connection->uid,
                      err_sentence(rejection->err), rejection->key.len > 0 ? ": " : "",
                      (int)rejection->key.len, rejection->key.len > 0 ? rejection->key.ptr : "",
                      rejection->line > 0 ? ", line " : "", (unsigned long long)rejection->line,
                      rejection->expects.len > 0 ? "; expects " : "", (int)rejection->expects.len,
                      rejection->expects.len > 0 ? rejection->expects.ptr : "");
    if (format->render_rejection != NULL) {
        size_t before = begin_reply(connection);
        format->render_rejection(&connection->replies, rejection);
        finish_reply(connection, before);
    }
}

static void on_flushed(void *ctx, uint64_t applied)
{
    struct connection *connection = ctx;
    const struct format *format = &formats[connection->format];
    if (format->render_flushed != NULL) {
        size_t before = begin_reply(connection);
        format->render_flushed(&connection->replies, applied);
        finish_reply(connection, before);
    }
}

static void on_unknown_key(void *ctx, struct str key)
{
    struct connection *connection = ctx;
    if (!connection->told_unknown_key) {
        connection->told_unknown_key = true;
        log_info("process %ld, user %u sends the unknown key %.*s, which is ignored; it is told "
                 "once a connection",
                 (long)connection->pid, (unsigned)connection->uid, (int)key.len, key.ptr);
    }
}

static void on_violation(void *ctx, struct str service)
{
    struct connection *connection = ctx;
    log_limited(&connection->ingest->violations,
                "service %.*s, process %ld, user %u: its constitutional hash differs",
                (int)service.len, service.ptr, (long)connection->pid, (unsigned)connection->uid);
}

static void on_acknowledging(void *ctx, bool will)
{
    struct connection *connection = ctx;
    const struct format *format = &formats[connection->format];
    if (format->render_acknowledging != NULL) {
        size_t before = begin_reply(connection);
        format->render_acknowledging(&connection->replies, will);
        finish_reply(connection, before);
    }
}

static void on_acknowledged(void *ctx, uint64_t number)
{
    struct connection *connection = ctx;
    const struct format *format = &formats[connection->format];
    if (format->render_acknowledged != NULL) {
        size_t before = begin_reply(connection);
        format->render_acknowledged(&connection->replies, number);
        finish_reply(connection, before);
    }
}

static void on_asked(void *ctx)
{
    struct connection *connection = ctx;
    acknowledger_ask(&connection->acknowledger, connection->format);
}

static void on_raw(void *ctx, struct str bytes)
{
    struct connection *connection = ctx;
    acknowledger_take(&connection->acknowledger, bytes);
}

static void on_over_budget(void *ctx, const struct budget *budget, double budget_ms)
{
    struct connection *connection = ctx;
    ingest_tell_over_budget(connection->ingest, connection->pid, budget, budget_ms);
}

/* A peer that asks for acknowledgements waits while the journal has no room. */
static bool may_read(struct connection *connection)
{
    size_t kept = connection->format == WIRE_FRAMES   ? frames_kept(&connection->decoder.frames)
                  : connection->format == WIRE_NDJSON ? connection->decoder.ndjson.partial.len
                                                      : 0;
    return acknowledger_may_read(&connection->acknowledger, kept + INGEST_READ_BYTES);
}

/* After each step: send, close when all is said, or wait for what can happen next. */
static void settle(struct connection *connection)
{
    if (connection->state == STATE_CLOSED) {
        return;
    }
    connection->takes_no_more = false;
    if (!send_replies(connection)) {
        close_now(connection);
        return;
    }
    bool unsent = connection->replies.len > 0;
    if (connection->state == STATE_ENDING && !unsent &&
        !acknowledger_is_waiting(&connection->acknowledger)) {
        close_now(connection);
        return;
    }
    compact_replies(connection);
    bool reads = connection->state == STATE_READING && !connection->is_deaf && may_read(connection);
    int events = (reads ? UV_READABLE : 0) | (unsent ? UV_WRITABLE : 0);
    if (events == connection->events) {
        return; /* asking again for the same costs two system calls */
    }
    int err = events == 0 ? uv_poll_stop(&connection->poll)
                          : uv_poll_start(&connection->poll, events, on_event);
    if (err != 0) {
        close_now(connection);
        return;
    }
    connection->events = events;
}

/* --- time -------------------------------------------------------------------------------------- */

static void feed(struct connection *connection, struct str bytes);
static void end_input(struct connection *connection);

static void arm_idle_timer(struct connection *connection, uint64_t delay_ms);

static void on_journal_progress(void *ctx)
{
    settle(ctx);
}

static void on_timer(uv_timer_t *timer)
{
    struct connection *connection = timer->data;
    struct ingest *ingest = connection->ingest;
    if (connection->state != STATE_READING) {
        close_now(connection); /* the peer had its time to read the last answers */
        return;
    }
    if (connection->format == WIRE_UNDECIDED && connection->first_len > 0) {
        ingest_set_time(ingest);
        feed(connection, (struct str){0});
        settle(connection);
        return;
    }
    uint64_t limit_ms = ingest->options.idle_timeout_ms;
    uint64_t silent_ms =
        (ingest->clock.mono_ns(ingest->clock.ctx) - connection->last_read_ns) / NS_PER_MS;
    if (limit_ms == 0) {
        return;
    }
    if (connection->turn.waits || !may_read(connection)) { /* it is not silent: we do not listen */
        arm_idle_timer(connection, limit_ms);
        return;
    }
    if (silent_ms < limit_ms) {
        arm_idle_timer(connection, limit_ms - silent_ms);
        return;
    }
    log_debug("closing the connection of process %ld: silent for %llu ms", (long)connection->pid,
              (unsigned long long)silent_ms);
    end_input(connection);
    settle(connection);
}

static void arm_idle_timer(struct connection *connection, uint64_t delay_ms)
{
    if (delay_ms > 0) {
        (void)uv_timer_start(&connection->timer, on_timer, delay_ms, 0); /* a callback is given */
    } else {
        (void)uv_timer_stop(&connection->timer);
    }
}

/* --- input ------------------------------------------------------------------------------------- */

/* Nothing more is read; what is to be said is said within INGEST_DRAIN_MS. */
static void end_with(struct connection *connection, int err)
{
    const struct format *format = &formats[connection->format];
    if (err != 0 && format->render_end != NULL) {
        size_t before = begin_reply(connection);
        format->render_end(&connection->replies, err);
        finish_reply(connection, before);
    }
    if (err != 0) {
        connection->ingest->intake->rejected[err_row(err)]++;
        log_limited(&connection->ingest->broken, "ended the connection of process %ld, user %u: %s",
                    (long)connection->pid, (unsigned)connection->uid, err_sentence(err));
    }
    connection->state = STATE_ENDING;
    turns_cancel(&connection->ingest->turns, &connection->turn);
    (void)uv_timer_start(&connection->timer, on_timer, INGEST_DRAIN_MS, 0);
}

static void start_decoder(struct connection *connection)
{
    const struct ingest_options *options = &connection->ingest->options;
    const struct format *format = &formats[connection->format];
    if (format->init != NULL) {
        format->init(&connection->decoder, options);
    }
    arm_idle_timer(connection, options->idle_timeout_ms);
}

static int decode(struct connection *connection, struct str bytes)
{
    return formats[connection->format].feed(&connection->decoder, connection->ingest->decoder,
                                            bytes, &connection->sink);
}

/* Chooses from the bytes held back and `bytes`. `final`: now or never. */
static void choose_format(struct connection *connection, struct str bytes, bool final)
{
    char head[2 * WIRE_MAGIC_BYTES];
    size_t taken = bytes.len < WIRE_MAGIC_BYTES ? bytes.len : WIRE_MAGIC_BYTES;
    memcpy(head, connection->first, connection->first_len);
    if (taken > 0) {
        memcpy(head + connection->first_len, bytes.ptr, taken);
    }
    connection->format = sniff_stream((struct str){head, connection->first_len + taken}, final);
    if (connection->format == WIRE_UNDECIDED) {
        /* Undecided means fewer than WIRE_MAGIC_BYTES: all of them are kept. */
        memcpy(connection->first, head, connection->first_len + taken);
        connection->first_len += taken;
        return;
    }
    start_decoder(connection);
}

/* Decodes the bytes that were held back, and then `bytes`; the magic is nobody's data. */
static int decode_all(struct connection *connection, struct str bytes)
{
    struct str held = {connection->first, connection->first_len};
    connection->first_len = 0;
    if (connection->format == WIRE_FRAMES && !connection->past_magic) {
        size_t skip = WIRE_MAGIC_BYTES - held.len;
        bytes = (struct str){bytes.ptr + skip, bytes.len - skip};
        held.len = 0;
    }
    connection->past_magic = true;
    int err = held.len > 0 ? decode(connection, held) : 0;
    return err == 0 && bytes.len > 0 ? decode(connection, bytes) : err;
}

/* Around each call of the decoder. */
static void begin(struct connection *connection)
{
    peer_begin(&connection->peer);
    acknowledger_begin(&connection->acknowledger);
}

static void finish(struct connection *connection)
{
    peer_end(&connection->peer);
    acknowledger_finish(&connection->acknowledger);
}

/* Takes bytes that came. With no bytes: the time to choose is over. */
static void feed(struct connection *connection, struct str bytes)
{
    if (connection->format == WIRE_UNDECIDED) {
        choose_format(connection, bytes, bytes.len == 0);
        if (connection->format == WIRE_UNDECIDED) {
            return;
        }
    }
    if (connection->format == WIRE_UNKNOWN) {
        end_with(connection, ERR_FORMAT);
        return;
    }
    begin(connection);
    int err = decode_all(connection, bytes);
    finish(connection);
    err = err == 0 && connection->peer.skip == PEER_BARRED ? ERR_LIMIT : err;
    if (err != 0) {
        end_with(connection, err);
    }
}

static void end_input(struct connection *connection)
{
    if (connection->format == WIRE_UNDECIDED && connection->first_len > 0) {
        feed(connection, (struct str){0});
    }
    if (connection->state != STATE_READING) {
        return;
    }
    const struct format *format = &formats[connection->format];
    begin(connection);
    /* Without room a last line that has no end is left: its peer sends it again. */
    bool ends = format->end != NULL && may_read(connection);
    int err = ends ? format->end(&connection->decoder, &connection->sink) : 0;
    finish(connection);
    end_with(connection, err);
}

/* How many kept bytes go in front of the next read. More than `max` are continued where they are: a
 * peer that sends a byte at a time must not make us copy them to and fro. */
static size_t bytes_in_front(const struct connection *connection, size_t max)
{
    size_t kept = connection->format == WIRE_FRAMES ? frames_kept(&connection->decoder.frames) : 0;
    return kept <= max ? kept : 0;
}

/* Returns false when there is nothing more to read for now. */
static bool read_once(struct connection *connection)
{
    struct ingest *ingest = connection->ingest;
    if (!may_read(connection)) {
        return false;
    }
    size_t room = ingest_read_size(ingest);
    size_t kept = bytes_in_front(connection, room / KEPT_SHARE);
    ssize_t got = recv(connection->fd, ingest->read_buffer + kept, room - kept, MSG_DONTWAIT);
    if (got < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            end_input(connection);
        }
        return false;
    }
    ingest_set_time(ingest);
    if (got == 0) {
        end_input(connection);
        return false;
    }
    connection->last_read_ns = ingest->clock.mono_ns(ingest->clock.ctx);
    connection->has_more = (size_t)got == room - kept;
    ingest->intake->counters->value[COUNTER_RECEIVED_BYTES] += (uint64_t)got;
    if (kept > 0) {
        frames_steal_kept(&connection->decoder.frames, ingest->read_buffer);
    }
    feed(connection, (struct str){ingest->read_buffer, kept + (size_t)got});
    return connection->state == STATE_READING;
}

/* --- what its sender answers for --------------------------------------------------------------- */

static void charge_records(struct connection *connection)
{
    struct ingest *ingest = connection->ingest;
    uint64_t records = connection->peer.applied + connection->refused;
    bool is_ahead = senders_charge(&ingest->senders, connection->turn.sender,
                                   records - connection->charged, connection->last_read_ns);
    ingest->intake->counters->value[COUNTER_PEER_PAUSES] += is_ahead;
    connection->charged = records;
}

/* What is kept of input and answers counts for the sender. Returns false when that is too much. */
static bool charge_bytes(struct connection *connection, size_t held_bytes)
{
    struct sender *sender = connection->turn.sender;
    sender->held_bytes += held_bytes - connection->held_bytes; /* wraps around to less */
    connection->held_bytes = held_bytes;
    return sender->held_bytes <= connection->ingest->senders.options.max_bytes;
}

static void charge(struct connection *connection)
{
    const struct format *format = &formats[connection->format];
    if (connection->state != STATE_READING) {
        return;
    }
    size_t kept = format->kept == NULL ? 0 : format->kept(&connection->decoder);
    if (!charge_bytes(connection, kept + connection->replies.len)) {
        connection->ingest->intake->counters->value[COUNTER_PEER_BYTES_EXCEEDED]++;
        end_with(connection, ERR_LIMIT);
        settle(connection);
    }
}

/* Returns true when there may be more to read. */
static bool on_turn(struct turn *turn)
{
    struct connection *connection = turn->owner;
    connection->has_more = false;
    bool goes_on = read_once(connection);
    charge_records(connection);
    bool more = goes_on && connection->has_more;
    connection->is_deaf = connection->is_deaf && more;
    settle(connection);
    charge(connection);
    return more && connection->state == STATE_READING;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
    struct connection *connection = poll->data;
    if (status != 0) {
        connection->events = 0; /* libuv has stopped */
    }
    if (connection->state == STATE_READING && (status != 0 || (events & UV_READABLE) != 0)) {
        connection->is_deaf = connection->turn.waits;
        turns_wait(&connection->ingest->turns, &connection->turn);
    }
    settle(connection);
    charge(connection);
}

/* --- life -------------------------------------------------------------------------------------- */

static void on_handle_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;
    struct ingest *ingest = connection->ingest;
    if (--connection->open_handles > 0) {
        return;
    }
    (void)close(connection->fd);
    if (ingest->freed != NULL) {
        ingest->freed(ingest->freed_ctx);
    }
    if (formats[connection->format].fini != NULL) {
        formats[connection->format].fini(&connection->decoder);
    }
    buf_fini(&connection->replies);
    mem_free(connection);
}

static void close_now(struct connection *connection)
{
    struct ingest *ingest = connection->ingest;
    if (connection->state == STATE_CLOSED) {
        return;
    }
    connection->state = STATE_CLOSED;
    acknowledger_close(&connection->acknowledger);
    peer_fini(&connection->peer);
    turns_cancel(&ingest->turns, &connection->turn);
    (void)charge_bytes(connection, 0); /* that is never too much */
    senders_leave(&ingest->senders, connection->turn.sender);
    *connection->link = connection->next;
    if (connection->next != NULL) {
        connection->next->link = connection->link;
    }
    ingest->connection_count--;
    ingest->intake->counters->value[COUNTER_CONNECTIONS] = ingest->connection_count;
    uv_close((uv_handle_t *)&connection->poll, on_handle_closed);
    uv_close((uv_handle_t *)&connection->timer, on_handle_closed);
}

static void link_connection(struct ingest *ingest, struct connection *connection)
{
    connection->next = ingest->connections;
    connection->link = &ingest->connections;
    if (connection->next != NULL) {
        connection->next->link = &connection->next;
    }
    ingest->connections = connection;
    ingest->connection_count++;
    ingest->intake->counters->value[COUNTER_CONNECTIONS] = ingest->connection_count;
    ingest->intake->counters->value[COUNTER_CONNECTIONS_ACCEPTED]++;
}

int connection_start(struct ingest *ingest, int fd, const struct ucred *who)
{
    struct connection *connection = mem_zalloc(1, sizeof *connection);
    uint64_t now_ns = ingest->clock.mono_ns(ingest->clock.ctx);
    struct sender *sender = senders_meet(&ingest->senders, who, now_ns);
    if (connection == NULL || sender == NULL ||
        uv_poll_init(ingest->loop, &connection->poll, fd) != 0) {
        mem_free(connection);
        (void)close(fd);
        return ERR_NOMEM;
    }
    struct peer_events events = {.ctx = connection,
                                 .rejected = on_rejected,
                                 .flushed = on_flushed,
                                 .unknown_key = on_unknown_key,
                                 .violation = on_violation,
                                 .over_budget = on_over_budget,
                                 .asked = on_asked,
                                 .raw = on_raw};
    connection->ingest = ingest;
    connection->fd = fd;
    connection->pid = who->pid;
    connection->uid = who->uid;
    connection->gid = who->gid;
    connection->last_read_ns = now_ns;
    connection->turn = (struct turn){.sender = sender, .owner = connection, .take = on_turn};
    senders_enter(&ingest->senders, sender);
    buf_init(&connection->replies, INGEST_REPLIES_MAX_BYTES);
    peer_init(&connection->peer, ingest->intake, &events, who->pid);
    connection->peer.maker = sender->maker;
    connection->sink = peer_sink(&connection->peer);
    connection->acknowledger = (struct acknowledger){.journal = ingest->journal,
                                                     .peer = &connection->peer,
                                                     .clock = &ingest->clock,
                                                     .events = {.ctx = connection,
                                                                .acknowledging = on_acknowledging,
                                                                .acknowledged = on_acknowledged,
                                                                .progress = on_journal_progress}};
    connection->poll.data = connection;
    (void)uv_timer_init(ingest->loop, &connection->timer); /* cannot fail */
    connection->timer.data = connection;
    connection->open_handles = 2;
    link_connection(ingest, connection);
    (void)uv_timer_start(&connection->timer, on_timer, INGEST_SNIFF_MS, 0);
    settle(connection);
    return 0;
}

/* What was read counts. Whoever may no longer send is told so, and the connection ends; for everybody else
 * it goes on, a frame or line that has begun under its old ceiling. */
static void obey(struct connection *connection)
{
    const struct ingest_options *options = &connection->ingest->options;
    const struct format *format = &formats[connection->format];
    struct ucred who = {connection->pid, connection->uid, connection->gid};
    if (connection->state != STATE_READING) {
        return;
    }
    if (!ingest_may_send(connection->ingest, &who)) {
        end_with(connection, ERR_DENIED);
        settle(connection);
    } else if (format->limit != NULL) {
        format->limit(&connection->decoder, options);
        arm_idle_timer(connection, options->idle_timeout_ms);
    }
}

void connection_obey_all(struct ingest *ingest)
{
    struct connection *next;
    for (struct connection *connection = ingest->connections; connection != NULL;
         connection = next) {
        next = connection->next;
        obey(connection);
    }
}

void connection_drain_all(struct ingest *ingest)
{
    struct connection *next;
    for (struct connection *connection = ingest->connections; connection != NULL;
         connection = next) {
        next = connection->next;
        /* Nothing can come behind the last read: who still sends is told that it cannot be. Fails
         * where the peer has gone. */
        (void)shutdown(connection->fd, SHUT_RD);
        for (int i = 0; i < DRAIN_READS && connection->state == STATE_READING; i++) {
            if (!read_once(connection)) {
                break;
            }
        }
        if (connection->state == STATE_READING) {
            end_input(connection);
        }
        settle(connection);
    }
}

void connection_close_all(struct ingest *ingest)
{
    while (ingest->connections != NULL) {
        close_now(ingest->connections);
    }
}
