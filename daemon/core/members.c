#include "core/members.h"

#include <assert.h>

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <xxhash.h>

#include "base/err.h"

void members_init(struct members *members, const struct members_options *options)
{
    *members = (struct members){.pool = {.max = options->max_values},
                                .seed = options->hash_seed,
                                .slot_ns = options->window_ns / WINDOW_SLOTS};
    assert(members->slot_ns > 0);
}

void members_set_time(struct members *members, uint64_t mono_ns)
{
    uint64_t slot = window_slot(mono_ns, members->slot_ns);
    members->slot = slot > members->slot ? slot : members->slot;
}

static double *number_of(struct series_page *page, uint32_t place)
{
    return &page->value[place % SERIES_PER_PAGE].number;
}

int members_add(struct members *members, struct series_set *set, uint32_t place,
                struct series_page *page, struct str value)
{
    struct distinct *distinct = &set->distinct[place];
    uint64_t hash = XXH3_64bits_withSeed(value.ptr, value.len, members->seed);
    int err = distinct_add(distinct, &members->pool, hash, members->slot);
    *number_of(page, place) =
        distinct_count(distinct); /* others may have left, whatever came of it */
    return err;
}

/* Returns 0 or ERR_NOMEM. */
static int age(struct members *members, struct series_set *set, uint32_t place, struct limbo *limbo)
{
    struct distinct *distinct = &set->distinct[place];
    distinct_move(distinct, members->slot);
    double count = distinct_count(distinct);
    if (*number_of(set->pages[place / SERIES_PER_PAGE], place) == count) {
        return 0;
    }
    struct series_page *page = series_own(set, place, limbo);
    if (page == NULL) {
        return ERR_NOMEM;
    }
    *number_of(page, place) = count;
    return 0;
}

int members_age(struct members *members, const struct members_series *series)
{
    int err = 0;
    if (members->aged == members->slot) {
        return 0;
    }
    for (uint32_t i = 0; i < series->count; i++) {
        struct series_set *set = &series->sets[i];
        for (uint32_t at = 0; err == 0 && set->distinct != NULL && at < series_places(set); at++) {
            err = age(members, set, at, series->limbo);
        }
    }
    members->aged = err == 0 ? members->slot : members->aged;
    return err;
}

/* Goes on where the last tick ended, within one family. Returns true when it is through with it. */
static bool tick_family(struct members *members, struct series_set *set, struct limbo *limbo,
                        uint32_t *places, uint32_t *cells)
{
    for (; set->distinct != NULL && members->tick_place < series_places(set);
         members->tick_place++, --*places) {
        struct distinct *distinct = &set->distinct[members->tick_place];
        if (*places == 0) {
            return false;
        }
        (void)age(members, set, members->tick_place, limbo); /* fails: members_age does it */
        while (!distinct_is_clean(distinct)) {
            if (*cells == 0) {
                return false;
            }
            uint32_t looked_at = distinct_sweep(distinct, &members->pool);
            *cells -= looked_at < *cells ? looked_at : *cells;
        }
    }
    return true;
}

void members_tick(struct members *members, const struct members_series *series)
{
    uint32_t places = MEMBERS_TICK_PLACES;
    uint32_t cells = MEMBERS_TICK_CELLS;
    for (uint32_t families = series->count; families > 0; families--) {
        if (members->tick_family >= series->count) {
            members->tick_family = 0;
            members->tick_place = 0;
        }
        if (!tick_family(members, &series->sets[members->tick_family], series->limbo, &places,
                         &cells)) {
            return;
        }
        members->tick_family++;
        members->tick_place = 0;
    }
}

void members_drop(struct members *members, struct series_set *set, uint32_t place)
{
    distinct_fini(&set->distinct[place], &members->pool);
}
