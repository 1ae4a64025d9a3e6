#include "core/looks.h"

#include <assert.h>

#include "base/err.h"
#include "base/mem.h"

enum {
    TICK_BITS = 14, /* of ns: 16.4 µs, a fraction of what a look takes to be made */
    KIND_BITS = 2,
    KIND_MASK = (1 << KIND_BITS) - 1,
};

/* 4.9 hours: past it the ring begins anew, and half a minute is lost. */
#define TICK_MAX (UINT32_MAX >> KIND_BITS)

_Static_assert((int)LOOK_COUNT <= (int)KIND_MASK + 1, "a kind fits its bits");

void looks_fini(struct looks *looks)
{
    mem_free(looks->cells);
    *looks = (struct looks){.cells = NULL};
}

static uint32_t cell_at(const struct looks *looks, uint32_t at)
{
    return looks->cells[(looks->first + at) % LOOKS_MAX];
}

static uint32_t tick_at(const struct looks *looks, uint32_t at)
{
    return cell_at(looks, at) >> KIND_BITS;
}

/* Whether the ring can go on with this time. */
static bool is_next(const struct looks *looks, uint64_t wall_ns)
{
    if (looks->count == 0 || wall_ns < looks->base_ns) {
        return false;
    }
    uint64_t tick = (wall_ns - looks->base_ns) >> TICK_BITS;
    return tick <= TICK_MAX && tick >= tick_at(looks, looks->count - 1U);
}

int looks_add(struct looks *looks, uint64_t wall_ns, enum look_at look_at)
{
    assert(look_at < LOOK_COUNT);
    if (looks->cells == NULL) {
        looks->cells = mem_alloc(LOOKS_MAX * sizeof *looks->cells);
        if (looks->cells == NULL) {
            return ERR_NOMEM;
        }
    }
    if (!is_next(looks, wall_ns)) {
        looks->base_ns = wall_ns;
        looks->first = 0;
        looks->count = 0;
    }
    uint32_t tick = (uint32_t)((wall_ns - looks->base_ns) >> TICK_BITS);
    looks->cells[(looks->first + looks->count) % LOOKS_MAX] = tick << KIND_BITS | look_at;
    if (looks->count < LOOKS_MAX) {
        looks->count++;
    } else {
        looks->first = (uint16_t)((looks->first + 1) % LOOKS_MAX);
    }
    return 0;
}

/* The place of the first look that is not before `tick`. */
static uint32_t find(const struct looks *looks, uint64_t tick)
{
    uint32_t low = 0;
    uint32_t high = looks->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (tick_at(looks, middle) < tick) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

void looks_count(const struct looks *looks, uint64_t from_ns, uint64_t to_ns,
                 double counts[LOOK_COUNT])
{
    if (looks->count == 0 || to_ns < looks->base_ns) {
        return;
    }
    uint64_t from = from_ns <= looks->base_ns ? 0 : (from_ns - looks->base_ns) >> TICK_BITS;
    uint64_t to = (to_ns - looks->base_ns) >> TICK_BITS;
    for (uint32_t at = find(looks, from); at < looks->count && tick_at(looks, at) <= to; at++) {
        counts[cell_at(looks, at) & KIND_MASK] += 1;
    }
}
