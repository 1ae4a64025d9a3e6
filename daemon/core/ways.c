#include "core/ways.h"

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"
#include "core/recall.h"

_Static_assert((WAYS & (WAYS - 1)) == 0, "a power of two");

int ways_init(struct ways *ways, uint64_t seed)
{
    *ways = (struct ways){.seed = seed, .generation = 1};
    ways->places = mem_zalloc(WAYS, sizeof *ways->places);
    return ways->places == NULL ? ERR_NOMEM : 0;
}

void ways_fini(struct ways *ways)
{
    mem_free(ways->places);
    *ways = (struct ways){0};
}

/* A tail of at most eight bytes, as most of plain StatsD are, is mixed in whole. */
static uint64_t hash_of(const struct ways *ways, const struct spelling *spelling)
{
    struct str head = spelling->head;
    struct str tail = spelling->tail;
    uint64_t seed = ways->seed + spelling->format + (tail.len << 8);
    if (tail.len <= 8) {
        uint64_t hash = XXH3_64bits_withSeed(head.ptr, head.len, seed);
        hash = (hash ^ recall_head(tail.ptr, tail.len)) * UINT64_C(0x9E3779B97F4A7C15);
        return hash ^ hash >> 32;
    }
    uint64_t hash = XXH3_64bits_withSeed(head.ptr, head.len, seed);
    return XXH3_64bits_withSeed(tail.ptr, tail.len, hash);
}

static struct way *place_of(const struct ways *ways, uint64_t hash)
{
    return &ways->places[hash & (WAYS - 1)];
}

static bool fits(const struct spelling *spelling)
{
    return spelling->format != SPELLING_NONE && spelling->head.len <= WAY_BYTES &&
           spelling->tail.len <= WAY_BYTES - spelling->head.len;
}

/* An empty text may have no pointer. */
static bool is_at(const char *bytes, struct str text)
{
    return text.len == 0 || str_same(bytes, text.ptr, text.len);
}

static void copy(char *to, struct str text)
{
    if (text.len > 0) {
        memcpy(to, text.ptr, text.len);
    }
}

struct way *ways_find(const struct ways *ways, const struct spelling *spelling)
{
    if (!fits(spelling)) {
        return NULL;
    }
    uint64_t hash = hash_of(ways, spelling);
    struct way *way = place_of(ways, hash);
    bool same = way->hash == hash && way->generation == ways->generation &&
                way->format == spelling->format && way->head_len == spelling->head.len &&
                way->tail_len == spelling->tail.len && is_at(way->bytes, spelling->head) &&
                is_at(way->bytes + way->head_len, spelling->tail);
    return same ? way : NULL;
}

void ways_keep(struct ways *ways, const struct spelling *spelling, const struct way *way)
{
    if (!fits(spelling)) {
        return;
    }
    uint64_t hash = hash_of(ways, spelling);
    struct way *place = place_of(ways, hash);
    place->generation = ways->generation;
    place->family = way->family;
    place->place = way->place;
    place->scale = way->scale;
    place->op = way->op;
    place->hash = hash;
    place->ready = way->ready;
    place->at = way->at;
    place->format = spelling->format;
    place->head_len = (uint16_t)spelling->head.len;
    place->tail_len = (uint16_t)spelling->tail.len;
    copy(place->bytes, spelling->head);
    copy(place->bytes + spelling->head.len, spelling->tail);
}
