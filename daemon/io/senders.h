/*
 * Who sends: the processes behind connections and datagrams, and what each of them has taken of the
 * daemon lately. It reads nothing, refuses nobody and asks nobody for the time. Loop thread only.
 *
 * A sender is a process, by the pid that the kernel tells (SO_PEERCRED, SO_PASSCRED): one that opens a
 * hundred connections is still one. Where the kernel tells none (pid 0: a process of another PID
 * namespace), all such processes of a user are one sender, as no more is known of them.
 * A sender is known while it has connections. Of those without, SENDERS_ABSENT_MAX are remembered, so
 * that nobody becomes new, with all that is due to the new, by connecting again.
 *
 *     known --- its last connection closes, or it sent but a datagram ---> absent (a queue)
 *       ^                                                                    |
 *       +---------------------- it comes again ------------------------------+---> forgotten: the
 *                                                                                  oldest, past the ceiling
 */
#ifndef DWELL_IO_SENDERS_H
#define DWELL_IO_SENDERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "core/maker.h"

enum {
    SENDERS_ABSENT_MAX = 1024, /* of some 200 bytes each */
    SENDERS_CELLS = 1024, /* of the hash table: few senders share one, up to thousands of them */
};

struct turn;
TAILQ_HEAD(turn_queue, turn);

struct sender;
TAILQ_HEAD(sender_queue, sender);

struct sender {
    TAILQ_ENTRY(sender) cell;  /* in its cell of the table */
    TAILQ_ENTRY(sender) place; /* in `queue`: absent, or io/turns' */
    uint64_t key;
    pid_t pid; /* 0: not told */
    uid_t uid;
    unsigned connections;
    struct maker *maker; /* owned: the series of metrics that it made */
    size_t held_bytes;   /* kept for it: what it sent but half of, answers that it does not read */
    /* Loop time that it took, halved with every age: what was long ago counts no more. */
    uint64_t used_ns;
    uint64_t age;
    double credit;      /* records that it may send now; less than 0: it is ahead of its rate */
    uint64_t credit_ns; /* as of then */
    uint64_t seen_age;  /* io/shed's own: 1 + when a datagram of it came last */
    /* io/turns' own. */
    struct turn_queue turns;    /* its connections with input, the one that waits longest first */
    struct sender_queue *queue; /* that it is in; NULL: none */
};

/* Of one sender. */
struct senders_options {
    uint64_t max_connections;
    uint64_t max_bytes;            /* held */
    uint64_t max_records_a_second; /* on average, and in one go. 0: no limit */
};

struct senders {
    struct senders_options options;
    struct sender_queue *cells;
    struct sender_queue absent; /* the longest first */
    unsigned count, absent_count;
    uint64_t age;
};

/* Returns 0 or ERR_NOMEM. */
int senders_init(struct senders *senders, const struct senders_options *options);
void senders_fini(struct senders *senders);

/* The sender that the kernel calls so. Valid until another one is met, or while it has connections;
 * NULL without memory. */
struct sender *senders_meet(struct senders *senders, const struct ucred *who, uint64_t now_ns);

/* True when the one that the kernel calls so has all the connections that it may have. */
bool senders_are_full(const struct senders *senders, const struct ucred *who);

/* One more connection, and one less. */
void senders_enter(struct senders *senders, struct sender *sender);
void senders_leave(struct senders *senders, struct sender *sender);

/* Time goes on: by so many ages, each of which halves what was used. */
void senders_age(struct senders *senders, uint64_t ages);

/* What it used lately, and more. */
uint64_t senders_used_ns(const struct senders *senders, struct sender *sender);
void senders_use(const struct senders *senders, struct sender *sender, uint64_t ns);

/* It sent records. Returns true when with these it went past its rate. */
bool senders_charge(const struct senders *senders, struct sender *sender, uint64_t records,
                    uint64_t now_ns);

/* Nanoseconds until it is back within its rate; 0: it is. */
uint64_t senders_ahead_ns(const struct senders *senders, struct sender *sender, uint64_t now_ns);

#endif
