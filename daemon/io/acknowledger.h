/*
 * One connection whose peer asks for acknowledgements: gathers what it sends for the journal, and says
 * what may be acknowledged when it is written. It reads no sockets and renders no answers. Loop thread
 * only.
 *
 *     numbers   ... told        flying          newest
 *     ----------------|-----------|---------------|--->
 *       acknowledged     flying.position is      what came meanwhile
 *                        being written
 *
 * Two places are enough: while one is written all that comes is one more. An acknowledgement takes the
 * latest that is written.
 *
 * An acknowledgement for each batch, or one number that stands for all before it? The first needs no
 * order, but a list of what is open on both sides, and an answer for each batch. With the second a lost
 * or late answer is made good by the next, there is one answer for a write, and both sides remember one
 * number. A client's records have an order already, by their numbers. The second won.
 */
#ifndef DWELL_IO_ACKNOWLEDGER_H
#define DWELL_IO_ACKNOWLEDGER_H

#include "io/journal.h"
#include "wire/sniff.h"

struct ack_mark {
    uint64_t position; /* of the journal: when all before it is written */
    uint64_t number;   /* all records of the client below it are kept */
};

/* Zero with its first four members is one whose peer did not ask. */
struct acknowledger {
    struct journal *journal; /* borrowed; NULL: there is none */
    struct peer *peer;       /* borrowed */
    const struct clock *clock;
    /* The answers. */
    struct {
        void *ctx;
        void (*acknowledging)(void *ctx, bool will); /* to a hello that asks */
        void (*acknowledged)(void *ctx, uint64_t number);
        void (*progress)(void *ctx); /* what waited may go on */
    } events;
    struct journal_client client;
    enum journal_kind kind;
    bool asked, is_staged;
    bool has_told; /* since the last hello */
    bool is_flying;
    uint64_t before;  /* number of the client's next record when the entry was begun */
    uint64_t clients; /* as the peer counted them then: numbers are of one client alone */
    uint64_t told;
    struct ack_mark flying, newest;
};

/* Brackets a call of the decoder, within peer_begin and peer_settle: begin after the one, finish after
 * the other. */
void acknowledger_begin(struct acknowledger *ack);
void acknowledger_finish(struct acknowledger *ack);

/* A hello asks, on a connection of this format; and what it and others after it came in. */
void acknowledger_ask(struct acknowledger *ack, enum wire_format format);
void acknowledger_take(struct acknowledger *ack, struct str bytes);

/* Whether `bytes` more may be read from the connection now. If not, `progress` tells when to ask
 * again. */
bool acknowledger_may_read(struct acknowledger *ack, size_t bytes);

/* An acknowledgement is still to come. */
bool acknowledger_is_waiting(const struct acknowledger *ack);

void acknowledger_close(struct acknowledger *ack);

#endif
