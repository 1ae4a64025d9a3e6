/*
 * A daemon played by a thread, for tests of the client library: listens in a directory of its own,
 * decodes what comes by the generated protobuf code, checks what every client must keep to, and
 * keeps the account of proto/WIRE.md. It misbehaves on request. It aggregates nothing and knows no
 * NDJSON. Start and stop it on one thread.
 */
#ifndef DWELL_TESTS_CLIENT_SERVER_H
#define DWELL_TESTS_CLIENT_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <dwell.pb-c.h>

enum { SERVER_BATCHES_MAX = 4096, SERVER_CLIENTS_MAX = 32 };

enum server_manner {
    SERVER_POLITE,
    SERVER_MUTE,        /* reads, and answers no Flush */
    SERVER_DEAF,        /* accepts, and does not read until told otherwise */
    SERVER_BREAKS,      /* closes each connection in the middle of its first batch with records */
    SERVER_BREAKS_LATE, /* closes each connection right after it, unless it ends in a Goodbye */
    SERVER_BREAKS_ASKED, /* closes each connection instead of answering the Flush behind its records */
    SERVER_GREETS,       /* closes each connection once it has said what it does with a hello */
    SERVER_MANNER_COUNT
};

/* What it says to a hello that asks for acknowledgements. */
enum server_answer {
    SERVER_KNOWS_NONE, /* nothing, as a daemon that is older than they are */
    SERVER_SAYS_NO,
    SERVER_SAYS_YES, /* and acknowledges each batch */
    SERVER_HOLDS,    /* says yes, and acknowledges nothing until it says yes */
};

/* What one client_id sent, and what became of it. */
struct server_client {
    uint8_t id[16];
    uint64_t expected; /* number of its next record */
    uint64_t records;
    uint64_t repeated; /* came once more, to a server that acknowledges; not in `records` */
    uint64_t dropped;  /* as last said */
    uint64_t lost;
    uint64_t goodbye; /* its last number, if has_goodbye */
    bool has_goodbye;
    uint64_t pid;
};

struct server {
    char directory[64];
    char path[80];
    int listener;
    int stop_pipe[2];
    pthread_t thread;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    enum server_manner manner;
    enum server_answer answer;
    unsigned connections;
    unsigned breaks_left; /* of SERVER_BREAKS*: polite after them */
    uint64_t records;
    uint64_t flushes;
    Dwell__Batch *batches[SERVER_BATCHES_MAX]; /* with records; the first ones */
    unsigned batch_count;
    Dwell__Hello *hello; /* the last one; borrowed from a kept batch */
    Dwell__Batch *greeting;
    struct server_client clients[SERVER_CLIENTS_MAX];
    unsigned client_count;
};

/* Makes the directory, not yet the socket. */
void server_init(struct server *server);

void server_start(struct server *server, enum server_manner manner);

/* Closes socket and connection, forgets nothing. It may be started again. */
void server_stop(struct server *server);

/* Stops it if need be, and frees everything. */
void server_fini(struct server *server);

void server_set_manner(struct server *server, enum server_manner manner);
void server_set_answer(struct server *server, enum server_answer answer);

/* Wait until that many records in all, or goodbyes of different clients, have come; they fail the
 * test after half a minute. */
void server_wait_records(struct server *server, uint64_t records);
void server_wait_goodbyes(struct server *server, unsigned count);

/* The n-th sample of all that came, and the name of its model. Borrowed. */
const Dwell__Sample *server_sample(struct server *server, uint64_t n, const char **ret_name);

/* The n-th metric. Borrowed. */
const Dwell__Metric *server_metric(struct server *server, uint64_t n);

/* The n-th span, or half of one. Borrowed. */
const Dwell__Span *server_span(struct server *server, uint64_t n);

/* The n-th record of a budget. Borrowed. */
const Dwell__Budget *server_budget(struct server *server, uint64_t n);

/* The account of the n-th client_id. */
struct server_client server_client(struct server *server, unsigned n);

#endif
