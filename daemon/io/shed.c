#include "io/shed.h"

#include "wire/record_count.h"

void shed_init(struct shed *shed, struct ingest *ingest, struct sender *socket)
{
    *shed = (struct shed){.ingest = ingest, .socket = socket};
}

/* A sender of datagrams is one that was seen in the present age or the last. */
static void count_sender(struct shed *shed, struct sender *sender)
{
    uint64_t age = shed->ingest->senders.age;
    if (age != shed->age) {
        shed->seen_before = age == shed->age + 1 ? shed->seen : 0;
        shed->seen = 0;
        shed->age = age;
    }
    if (sender->seen_age != age + 1) {
        sender->seen_age = age + 1;
        shed->seen++;
    }
}

/* By more than a quarter: of equals none is greedy. */
static bool is_greedy(const struct shed *shed, struct sender *sender)
{
    const struct senders *senders = &shed->ingest->senders;
    uint64_t all_ns = senders_used_ns(senders, shed->socket);
    uint64_t others = shed->seen > shed->seen_before ? shed->seen : shed->seen_before;
    return others > 1 && all_ns > SHED_BUSY_MS * NS_PER_MS &&
           senders_used_ns(senders, sender) / 5 > all_ns / others / 4;
}

bool shed_wants(struct shed *shed, struct sender *sender, uint64_t now_ns)
{
    count_sender(shed, sender);
    return senders_ahead_ns(&shed->ingest->senders, sender, now_ns) > 0 || is_greedy(shed, sender);
}

void shed_drop(struct shed *shed, const struct sender *sender, struct str datagram, uint64_t now_ns)
{
    struct counters *counters = shed->ingest->intake->counters;
    size_t records = record_count(datagram);
    if (shed->last_ns == 0) {
        shed->datagrams = 0;
        shed->records = 0;
        log_limited(&shed->ingest->dropped,
                    "dropping datagrams of process %ld, user %u: it sends more than its share",
                    (long)sender->pid, (unsigned)sender->uid);
    }
    shed->last_ns = now_ns;
    shed->datagrams++;
    shed->records += records;
    counters->value[COUNTER_SHED_DATAGRAMS]++;
    counters->value[COUNTER_SHED_RECORDS] += records;
}

void shed_look(struct shed *shed, uint64_t now_ns)
{
    if (shed->last_ns != 0 && now_ns - shed->last_ns > SHED_QUIET_MS * NS_PER_MS) {
        log_limited(&shed->ingest->dropped,
                    "no more datagrams are dropped: it was %llu, with %llu records",
                    (unsigned long long)shed->datagrams, (unsigned long long)shed->records);
        shed->last_ns = 0;
    }
}
