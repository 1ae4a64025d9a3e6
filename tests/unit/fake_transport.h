/*
 * A transport played by a list: each call is answered by the next row, and remembered. It can hold a
 * call until it is cancelled or let go. The functions of the transport may run on another thread.
 */
#ifndef DWELL_TESTS_FAKE_TRANSPORT_H
#define DWELL_TESTS_FAKE_TRANSPORT_H

#include <pthread.h>

#include "io/export/transport.h"

enum { FAKE_CALLS_MAX = 4096, FAKE_ROWS_MAX = 64 };

struct fake_row {
    struct transport_reply reply;
    uint64_t takes_ns; /* added to *fake_transport_clock */
    bool holds;        /* until fake_transport_release or a cancel, which answers CANCELLED */
};

struct fake_call {
    size_t len;
    uint64_t deadline_ns;
    uint64_t at_ns; /* *fake_transport_clock then */
    char *body;     /* owned */
};

struct fake_transport {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct fake_row rows[FAKE_ROWS_MAX]; /* past the last one, the last one holds; none: OK */
    unsigned row_count;
    struct fake_call calls[FAKE_CALLS_MAX];
    unsigned call_count;
    bool is_cancelled;
    bool is_released;
    bool is_open;
    int open_err;       /* what open returns */
    uint64_t *clock_ns; /* NULL: none is moved */
};

/* The one that the functions below belong to. */
extern struct fake_transport fake_transport;
extern const struct transport fake_transport_functions;

/* Forgets all calls and rows. */
void fake_transport_reset(uint64_t *clock_ns);

/* Adds a row. */
void fake_transport_then(enum transport_status status);
void fake_transport_then_row(const struct fake_row *row);

/* Waits until so many calls have begun. */
void fake_transport_await_calls(unsigned count);

void fake_transport_release(void);

#endif
