/*
 * In which order input is read when there is more than can be read at once: so that whoever sends
 * little is read soon, whatever others send, and those who send much share what is left evenly.
 * It reads nothing itself: whoever waits has a `struct turn`, and is called when it is on. Loop thread
 * only.
 *
 *     readable ──turns_wait──> its sender's turns ─┐  in the class of what the sender used lately:
 *                                                  v
 *       class 0   less than 65 µs of the loop     [s]─[s]            <- served first
 *       class 1   less than 131 µs                [s]
 *       …         doubled each time
 *       class 12  134 ms or more                  [s]                <- served last, but see below
 *       paused    ahead of its rate               [s]                <- after a while
 *
 * With every age, 100 ms, all that was used is halved. Classes double, so this moves everybody who waits
 * one class forward: nobody waits in a class for long.
 *
 * Two designs were weighed.
 *   A quantum for each connection, and reading paused for who has used it up. It is simple, and what there
 *   was: one read of 64 kB for each connection in a turn of the loop. But a hundred flooding connections
 *   are then a turn of a hundred reads, and a process has as many shares as it opens connections.
 *   Deficit round robin over senders (as RFC 8290 has it for packets), where new flows go before old
 *   ones. Who sends now and then is new each time; but so is everybody who floods with pauses, and a
 *   share in bytes is none in time: a kilobyte of one format costs ten times what it does of another.
 * What is here is the second with both mended: the currency is time of the loop, which is what runs short,
 * and for old and new there are classes of what was really used. A connection that waits costs no
 * system calls: what is in its socket stays there, and its sender waits in the kernel.
 */
#ifndef DWELL_IO_TURNS_H
#define DWELL_IO_TURNS_H

#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/counters.h"
#include "io/senders.h"

enum {
    TURNS_CLASSES = 13,
    TURNS_AGE_MS = 100, /* nobody notices, and it is 200 stretches */
    /* Then everybody else has a turn: timers, signals, scrapes, new connections. */
    TURNS_STRETCH_US = 500, /* a poll beside it costs 2 */
    TURNS_RESUME_MS =
        10, /* rates are kept to within it: looked at seldom, paused ones cost nothing */
    TURNS_OVERLOAD_MS = 1000, /* so long without an end of what waits is worth a line */
};

/* Of whoever reads: a connection, or the socket of datagrams. */
struct turn {
    TAILQ_ENTRY(turn) entry; /* in its sender's turns */
    struct sender *sender;
    void *owner;
    bool waits;
    /* Reads once. Returns true when there is more: it then waits again. It may cancel turns. */
    bool (*take)(struct turn *turn);
};

struct turns {
    struct senders *senders;
    struct clock clock;
    struct counters *counters;
    uv_idle_t idle;   /* active while somebody's turn can come */
    uv_timer_t timer; /* while somebody is paused */
    struct sender_queue classes[TURNS_CLASSES];
    struct sender_queue paused;
    unsigned ready; /* senders in classes */
    uint64_t aged_ns;
    uint64_t busy_ns;   /* since when somebody has always been waiting; 0: nobody is */
    bool is_overloaded; /* and has been for so long that it was told */
    struct log_limit overloads;
};

/* All borrowed. Cannot fail. */
void turns_start(struct turns *turns, uv_loop_t *loop, struct senders *senders,
                 struct counters *counters, const struct clock *clock);

/* When nobody waits any more. Memory may go when the loop has run the close callbacks. */
void turns_close(struct turns *turns);

/* There is input. A turn that waits already stays where it is. */
void turns_wait(struct turns *turns, struct turn *turn);

/* It will not be read. */
void turns_cancel(struct turns *turns, struct turn *turn);

/* True when others wait beside the one whose turn it is: it should be a short one. */
static inline bool turns_are_wanted(const struct turns *turns)
{
    return turns->ready > 0;
}

#endif
