#include "core/growth.h"

#include <stddef.h>

static void look_at(const uint64_t *now, size_t count, uint64_t mono_ns, uint64_t *last,
                    uint64_t *grown_ns)
{
    for (size_t i = 0; i < count; i++) {
        grown_ns[i] = now[i] > last[i] ? mono_ns : grown_ns[i];
        last[i] = now[i];
    }
}

void growth_begin(struct growth *growth, const struct growth_counts *now)
{
    *growth = (struct growth){.last = *now};
}

void growth_look(struct growth *growth, const struct growth_counts *now, uint64_t mono_ns)
{
    struct growth_counts *last = &growth->last;
    struct growth_counts *grown_ns = &growth->grown_ns;
    look_at(now->rejected, ERR_ROW_COUNT, mono_ns, last->rejected, grown_ns->rejected);
    look_at(&now->dropped, 1, mono_ns, &last->dropped, &grown_ns->dropped);
    look_at(&now->lost, 1, mono_ns, &last->lost, &grown_ns->lost);
    look_at(now->counters, COUNTER_COUNT, mono_ns, last->counters, grown_ns->counters);
}
