/*
 * The account of what clients say they sent and what became of it (proto/WIRE.md, "Ledger"):
 *
 *     sent = accepted + rejected + dropped by the client + lost
 *
 * for every client that names itself and numbers its calls. A gap in the numbers is `dropped` as far
 * as the client owned up to drops, and `lost` beyond that; neither is ever taken back, so all terms
 * only grow. Terms are kept for each client library and in all; of a single client only where it
 * stands is remembered, for the LEDGER_CLIENTS_MAX that spoke last; of clients that ask for
 * acknowledgements longest, since what a forgotten one sends again counts again.
 * Dropped and lost together end at SAVED_LEAPS_MAX (core/saved.h): a gap that would pass it is not
 * accounted for.
 * A client met in the middle of its numbers (the daemon was restarted), or that leaps ahead by more
 * than LEDGER_GAP_MAX, is accounted for from there.
 * Loop thread only.
 */
#ifndef DWELL_CORE_LEDGER_H
#define DWELL_CORE_LEDGER_H

#include "base/err.h"
#include "core/record.h"

enum {
    LEDGER_CLIENTS_MAX = 4096,
    LEDGER_LIBRARIES_MAX = 32, /* the last one stands for all others */
    LEDGER_LIBRARY_BYTES = 64,
    LEDGER_NOBODY = -1,
};

/* A wider gap in a client's numbers is not believed: it is taken as a new beginning. A million calls
 * a second take twelve days for it. What many of them come to is SAVED_LEAPS_MAX's to end. */
#define LEDGER_GAP_MAX (UINT64_C(1) << 40)

struct ledger_terms {
    uint64_t sent;
    uint64_t accepted;
    uint64_t rejected[ERR_ROW_COUNT];
    uint64_t dropped;
    uint64_t lost;
};

struct ledger_library {
    char name[LEDGER_LIBRARY_BYTES]; /* terminated */
    struct ledger_terms terms;
};

/* What readers get. */
struct ledger_view {
    struct ledger_terms all;
    uint64_t unledgered; /* records of clients that keep no numbers */
    uint32_t library_count;
    struct ledger_library libraries[LEDGER_LIBRARIES_MAX];
};

struct ledger_client {
    uint8_t id[RECORD_CLIENT_ID_BYTES];
    uint64_t next;        /* number that comes next */
    uint64_t credited;    /* drops reported and already taken into account */
    int16_t older, newer; /* by last use; LEDGER_NOBODY at the ends */
    int16_t chain;        /* next with the same hash */
    uint8_t library;
    bool asks; /* for acknowledgements */
};

/* Where a client stands, for what is to outlive the process. */
struct ledger_standing {
    uint8_t id[RECORD_CLIENT_ID_BYTES];
    uint64_t next;
    uint64_t credited;
    bool asks;
    struct str library; /* its name; borrowed */
};

struct ledger {
    struct ledger_view view;
    uint64_t hash_seed;
    struct ledger_client *clients; /* LEDGER_CLIENTS_MAX, owned */
    int16_t *heads;                /* hash table of chains, owned */
    int16_t used;                  /* clients ever filled */
    int16_t oldest, newest;
};

int ledger_init(struct ledger *ledger, uint64_t hash_seed);
void ledger_fini(struct ledger *ledger);

/* Number of a library by name, made on first use; past the ceiling that of "other". Bytes that are
 * not printable ASCII become "?"; an empty name is "unknown". */
uint8_t ledger_library(struct ledger *ledger, struct str name);

/* The place of a client; it is now the one used last. A client not met before is entered as one of
 * `library` that stands at `mark`. Valid until the next call. */
int ledger_client(struct ledger *ledger, const uint8_t id[RECORD_CLIENT_ID_BYTES], uint8_t library,
                  const struct mark *mark);

/* What the client counts for from here on. */
void ledger_set_library(struct ledger *ledger, int client, uint8_t library);

/* The client asks for acknowledgements: it is forgotten after all those that do not. */
void ledger_ask(struct ledger *ledger, int client);

/* Number that the client's next record will have. */
uint64_t ledger_next(const struct ledger *ledger, int client);

/* Drops of the client that are accounted for. */
uint64_t ledger_credited(const struct ledger *ledger, int client);

/* The client stands at `mark`: what lies between is dropped or lost. Returns false when its number
 * is lower than one already seen: then nothing changes, and what follows is a repetition. */
bool ledger_advance(struct ledger *ledger, int client, const struct mark *mark);

/* Records of the client that were applied or refused, in the order of its numbers. */
void ledger_count(struct ledger *ledger, int client, uint64_t accepted);
void ledger_reject(struct ledger *ledger, int client, int err);

/* Enters a client as it stood, as the one used last; the terms stay as they are. One that is
 * known already is left where it stands. */
void ledger_restore(struct ledger *ledger, const struct ledger_standing *standing);

#endif
