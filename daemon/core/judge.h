/*
 * From samples with evidence to the opinion on each model that readers see: keeps the evidence of each
 * model's open round, closes rounds, and has the registry show what comes of them. What evidence means
 * is core/opinion's. It has no clock: the registry has the present time, the tick is told.
 * Loop thread only.
 *
 *                      its first evidence (as [LONGER], for a preview)
 *     (unknown to us) --------------------> [ROUND] <--------- evidence ---------+
 *            ^                                 | round_ns later                   |
 *            |             is a round          v    not yet one                   |
 *            |       +------------------- a look ----------------> [LONGER]       |
 *            |       v                         ^   a second later      |          |
 *            |   an opinion -----> [KEPT]      +-----------------------+          |
 *            |                       | |                                          |
 *            |  window_ns later      | +------------------------------------------+
 *            +-----------------------+  the opinion goes
 *
 * Until its first round has ended a model is looked at each second, and what is known so far is shown.
 * At the end of a window a round is closed whatever is in it. In each of the three queues everyone waits
 * equally long, so that the first in it is the first due, and a tick looks at nobody else.
 */
#ifndef DWELL_CORE_JUDGE_H
#define DWELL_CORE_JUDGE_H

#include "core/registry.h"
#include "core/witness.h"

/* A tick looks at no more models of each queue, which takes it up to a millisecond: with one each 250 ms,
 * 400 rounds a second may end, and of more models than that the rounds lengthen. */
enum { JUDGE_TICK_MODELS = 100 };

/* Processes of a model whose readings are added up in a round: the first that send samples in it. */
enum { JUDGE_PROCESSES_MAX = 8 };

/* Between two looks at a round that lengthens. */
#define JUDGE_LONGER_NS UINT64_C(1000000000)

struct judged;

struct judge_queue {
    struct judged *first, **end; /* the oldest; where the next one is linked */
};

enum judge_wait { JUDGE_ROUND, JUDGE_LONGER, JUDGE_KEPT, JUDGE_WAIT_COUNT };

struct judge {
    struct registry *registry;     /* borrowed */
    struct witness *witness;       /* likewise; NULL: samples are all the evidence there is */
    const struct machine *machine; /* likewise; may change at any time */
    uint64_t delay_ns[JUDGE_WAIT_COUNT];
    uint64_t window_ns;
    struct judge_queue queues[JUDGE_WAIT_COUNT];
    struct judged **models; /* by number; NULL where nothing is known */
    uint32_t capacity;
    uint64_t lost;       /* samples' evidence, and opinions, for want of memory */
    uint64_t impossible; /* samples whose evidence could not be, and was cut to what can */
};

/* Rounds are at least `round_ns` long, at most the registry's window. */
void judge_init(struct judge *judge, struct registry *registry, struct witness *witness,
                const struct machine *machine, uint64_t round_ns);
void judge_fini(struct judge *judge);

/* Another length of rounds, of open ones too. */
void judge_set_round(struct judge *judge, uint64_t round_ns);

/* A sample that is evidence, of the model of this number, was counted. `kernel_pid` sent it; 0: not
 * known. */
void judge_sample(struct judge *judge, uint32_t number, int64_t kernel_pid,
                  const struct sample *sample);

/* To be called now and then: closes rounds, forgets models that have gone silent. */
void judge_tick(struct judge *judge, uint64_t mono_ns);

/* Heap bytes behind it, opinions aside. */
size_t judge_bytes(const struct judge *judge);

#endif
