/*
 * The sink of all decoders: applies the records of one peer to the models, the metrics and the spans,
 * keeps the ledger and the counts by reason, and enforces governance (the constitutional hash). It does
 * not read sockets or write replies: what a peer should be told goes to its owner by callbacks.
 * Loop thread only.
 */
#ifndef DWELL_CORE_INTAKE_H
#define DWELL_CORE_INTAKE_H

#include "core/budgets.h"
#include "core/counters.h"
#include "core/growth.h"
#include "core/judge.h"
#include "core/ledger.h"
#include "core/metrics.h"
#include "core/registry.h"
#include "core/spans.h"

enum { INTAKE_SERVICE_BYTES = 128 }; /* of a service's name in a count of violations */

#define PEER_BARRED UINT64_MAX

struct intake {
    struct registry *registry; /* borrowed, as all below */
    struct metrics *metrics;
    struct spans *spans;
    struct budgets *budgets;
    struct judge *judge; /* NULL: evidence decides nothing */
    struct processes *processes;
    struct ledger *ledger;
    struct counters *counters;
    struct str constitutional_hash;
    bool enforce_hash;
    uint64_t accepted;
    uint64_t rejected[ERR_ROW_COUNT];
    struct growth growth; /* of these and of the above */
};

/* What the owner of a peer is told during decoding. Members may be NULL. */
struct peer_events {
    void *ctx;
    void (*rejected)(void *ctx, const struct rejection *rejection);
    void (*flushed)(void *ctx, uint64_t applied); /* an answer to a flush is due */
    void (*unknown_key)(void *ctx, struct str key);
    void (*violation)(void *ctx, struct str service); /* its hash differs */
    void (*over_budget)(void *ctx, const struct budget *budget, double budget_ms);
    void (*asked)(void *ctx); /* a hello asks for acknowledgements; the peer stands where it says */
    void (*raw)(void *ctx, struct str bytes); /* of a peer that asked: as in struct record_sink */
};

/* What a record of a peer needs besides its own bytes, to count as it did when it came. */
struct peer_identity {
    uint8_t client_id[RECORD_CLIENT_ID_BYTES];
    struct mark mark;  /* of what it sends next, which may have come before; drops accounted for */
    uint64_t said_pid; /* 0: no process */
    int64_t kernel_pid;
    bool said_hello;
    bool hash_differs;
    struct str library; /* borrowed, as the service; empty: not said */
    struct str service;
};

/* One connection, or one datagram. */
struct peer {
    struct intake *intake;
    struct peer_events events;
    /* Of the series and models that it makes, set by the owner; NULL: nobody. */
    struct maker *maker;
    uint64_t applied; /* records applied on this connection */
    uint64_t settled; /* of them, told to the ledger */
    uint64_t reached; /* number of the client's next record, as of the last settling */
    uint64_t clients; /* that it has named, one after another */
    bool said_hello;
    bool hash_differs;
    bool has_client_id;
    bool is_datagram; /* over with it, unlike the process that sent it */
    bool repeating;   /* its numbers went back: what it sends now is outside the ledger */
    bool asks;        /* for acknowledgements: what it sends again is passed over, by its numbers */
    uint64_t skip;    /* of such a peer: records that are still to be passed over; or PEER_BARRED */
    bool has_head;    /* `head` waits: a hello in the same batch may say whose numbers these are */
    struct mark head;
    uint8_t client_id[RECORD_CLIENT_ID_BYTES];
    uint8_t library;
    int client;              /* place in the ledger, valid within one call of a decoder */
    int64_t kernel_pid;      /* who is speaking, as the kernel sees it; 0: not known */
    struct process *process; /* entered; NULL until a hello has a pid */
    struct span_owner spans; /* left open while there is no process */
    uint16_t service_len;
    char service[RECORD_NAME_MAX]; /* of the last hello that named one */
};

/* A new peer. `intake` and the context of `events` must outlive it. */
void peer_init(struct peer *peer, struct intake *intake, const struct peer_events *events,
               int64_t kernel_pid);

/* The peer is over: what it said is applied, and its process may be. */
void peer_fini(struct peer *peer);

/* Who the peer is and where it stands, after peer_begin or a hello. It must have named its client. */
void peer_describe(const struct peer *peer, struct peer_identity *ret_identity);

/* After peer_init, and in place of peer_begin: the peer is one that was described so, and asks. What it
 * says now may have come before. */
void peer_resume(struct peer *peer, const struct peer_identity *identity);

/* Nothing that it says from now on is applied. */
void peer_bar(struct peer *peer);

/* The sink that applies records on behalf of `peer`. */
struct record_sink peer_sink(struct peer *peer);

/* Brackets every call of a decoder with this peer's sink: finds its place in the ledger, and tells
 * the ledger what was applied; peer_settle does the latter in between, as often as it matters. */
void peer_begin(struct peer *peer);
void peer_settle(struct peer *peer);
void peer_end(struct peer *peer);

#endif
