/*
 * Which datagrams are dropped unread, and how much that was. All who send datagrams share one queue of
 * the kernel's (net.unix.max_dgram_qlen), and whoever fills it takes the place of the others: nobody
 * can be made to wait alone, as a connection can. The kernel itself drops none of a Unix socket's: with
 * a full queue the sender's call blocks, or fails with EAGAIN, and who drops then is the sender, who
 * knows it. Here goes what is newest of the greediest:
 *
 *     of a sender ahead of its rate               its datagrams, until it is not
 *     while the socket takes most of the loop     those of a sender with more than a fair share of that
 *
 * A share is of loop time, as in io/turns. One sender alone is never greedy: there is nobody to spare
 * the place for. Loop thread only.
 */
#ifndef DWELL_IO_SHED_H
#define DWELL_IO_SHED_H

#include "base/str.h"
#include "io/ingest.h"

enum {
    /* Of the loop's time, halved every TURNS_AGE_MS: between one and two of these for all of it. */
    SHED_BUSY_MS = 120,
    SHED_QUIET_MS = 1000, /* so long without is the end of it */
};

struct shed {
    struct ingest *ingest;
    struct sender *socket; /* what all of them together used */
    uint64_t age;
    unsigned seen, seen_before;  /* senders of datagrams in this age, in the last */
    uint64_t last_ns;            /* 0: none is being dropped */
    uint64_t datagrams, records; /* since that began */
};

void shed_init(struct shed *shed, struct ingest *ingest, struct sender *socket);

/* Takes down that a datagram of the sender came. Returns true when it is to be dropped. */
bool shed_wants(struct shed *shed, struct sender *sender, uint64_t now_ns);

/* It is dropped: counts it, and says so in the log when this begins. */
void shed_drop(struct shed *shed, const struct sender *sender, struct str datagram,
               uint64_t now_ns);

/* Says so when it has ended. To be called now and then. */
void shed_look(struct shed *shed, uint64_t now_ns);

#endif
