/*
 * Happy path
 *   1. acknowledger_ask      a hello asks: yes is answered, and an entry is begun
 *   2. acknowledger_take     each frame or line that was read is added to it
 *   3. acknowledger_finish   the entry is appended; up to which number, once it is written, is noted
 *   4. on_progress           it is written: that number is acknowledged
 *   5. acknowledger_begin    the next call of the decoder begins the next entry
 *
 * What can fail: there is no journal (no is answered, and nothing else happens); it has no room for what
 * came with the hello (the peer is barred, and its connection is to be ended: it comes again); it has no
 * room for more (the connection is not read until it has).
 */
#include "io/acknowledger.h"

static void stage(struct acknowledger *ack)
{
    struct peer_identity who;
    peer_describe(ack->peer, &who);
    journal_stage(ack->journal, ack->kind, &who, ack->clock->wall_ns(ack->clock->ctx));
    ack->before = who.mark.sequence + ack->peer->skip;
    ack->clients = ack->peer->clients;
    ack->is_staged = true;
}

/* The latest mark that is written. */
static void look(struct acknowledger *ack)
{
    uint64_t written = journal_written(ack->journal);
    uint64_t number = ack->told;
    bool tells = false;
    if (ack->is_flying && ack->flying.position <= written) {
        bool has_all = ack->newest.position <= written;
        number = has_all ? ack->newest.number : ack->flying.number;
        ack->is_flying = !has_all;
        ack->flying = ack->newest;
        tells = number != ack->told || !ack->has_told;
    }
    if (tells) {
        ack->has_told = true;
        ack->told = number;
        ack->events.acknowledged(ack->events.ctx, number);
    }
}

static void on_progress(void *ctx)
{
    struct acknowledger *ack = ctx;
    look(ack);
    ack->events.progress(ack->events.ctx);
}

void acknowledger_ask(struct acknowledger *ack, enum wire_format format)
{
    bool can = ack->journal != NULL && ack->peer->asks;
    ack->events.acknowledging(ack->events.ctx, can);
    ack->has_told = false;
    if (!can || ack->asked) {
        return;
    }
    if (!journal_has_room(ack->journal, ack->journal->options.max_entry_bytes)) {
        peer_bar(ack->peer);
        return;
    }
    ack->asked = true;
    ack->kind = format == WIRE_FRAMES ? JOURNAL_FRAMES : JOURNAL_LINES;
    ack->client.progress = on_progress;
    ack->client.ctx = ack;
    journal_enter(ack->journal, &ack->client);
    stage(ack);
}

void acknowledger_begin(struct acknowledger *ack)
{
    if (ack->asked) {
        stage(ack);
    }
}

void acknowledger_take(struct acknowledger *ack, struct str bytes)
{
    if (ack->is_staged) {
        journal_gather(ack->journal, bytes);
    }
}

/* What changed no number, as a flush or what had come before, need not be kept. Of the client before, what
 * is on its way is not told any more: the number would be taken for that of the one now. */
void acknowledger_finish(struct acknowledger *ack)
{
    if (!ack->is_staged) {
        return;
    }
    ack->is_staged = false;
    uint64_t number = ack->peer->reached;
    bool is_another = ack->clients != ack->peer->clients;
    bool is_news = number != ack->before || is_another;
    ack->newest.position = is_news ? journal_append(ack->journal) : journal_position(ack->journal);
    ack->newest.number = number;
    ack->has_told = ack->has_told && !is_another;
    if (!ack->is_flying || is_another) {
        ack->is_flying = true;
        ack->flying = ack->newest;
    }
    look(ack);
}

bool acknowledger_may_read(struct acknowledger *ack, size_t bytes)
{
    return !ack->asked || journal_has_room(ack->journal, bytes);
}

bool acknowledger_is_waiting(const struct acknowledger *ack)
{
    return ack->is_flying;
}

void acknowledger_close(struct acknowledger *ack)
{
    journal_leave(&ack->client);
}
