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

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t mixed = (a ^ b) * UINT64_C(0x9E3779B97F4A7C15);
    return mixed ^ mixed >> 32;
}

/* Apart, so that the usual case has registers enough. */
__attribute__((noinline)) static uint64_t mix_long(uint64_t hash, struct str text)
{
    return XXH3_64bits_withSeed(text.ptr, text.len, hash);
}

/* Texts of at most sixteen bytes, as most of plain StatsD are, are mixed in whole. */
static inline uint64_t mix_text(uint64_t hash, struct str text)
{
    if (text.len > 16) {
        return mix_long(hash, text);
    }
    hash = mix(hash, recall_head(text.ptr, text.len));
    return text.len > 8 ? mix(hash, recall_head(text.ptr + text.len - 8, 8)) : hash;
}

static inline uint64_t hash_of(const struct ways *ways, const struct spelling *spelling)
{
    uint64_t hash =
        ways->seed + spelling->format + (spelling->head.len << 8) + (spelling->tail.len << 24);
    return mix_text(mix_text(hash, spelling->head), spelling->tail);
}

static bool fits(const struct spelling *spelling)
{
    return spelling->format != SPELLING_NONE && spelling->head.len <= WAY_BYTES &&
           spelling->tail.len <= WAY_BYTES - spelling->head.len;
}

static inline bool is_at(const char *bytes, struct str text)
{
    return str_same(bytes, text.ptr, text.len);
}

/* An empty text may have no pointer. */
static void copy(char *to, struct str text)
{
    if (text.len > 0) {
        memcpy(to, text.ptr, text.len);
    }
}

static inline bool leads(const struct way *way, const struct spelling *spelling, uint64_t hash)
{
    return way->hash == hash && way->format == spelling->format &&
           way->head_len == spelling->head.len && way->tail_len == spelling->tail.len &&
           is_at(way->bytes, spelling->head) && is_at(way->bytes + way->head_len, spelling->tail);
}

static inline struct way *place_at(const struct ways *ways, uint64_t place)
{
    return &ways->places[place & (WAYS - 1)];
}

/* Which of the places has it; the first that is free, if none before that has; WAY_PLACES without both. */
static unsigned search(const struct ways *ways, const struct spelling *spelling, uint64_t hash)
{
    unsigned i = 0;
    while (i < WAY_PLACES) {
        const struct way *way = place_at(ways, hash + i);
        if (way->generation != ways->generation || leads(way, spelling, hash)) {
            break;
        }
        i++;
    }
    return i;
}

__attribute__((noinline)) static struct way *find_further(const struct ways *ways,
                                                          const struct spelling *spelling,
                                                          uint64_t hash)
{
    unsigned i = search(ways, spelling, hash);
    struct way *way = place_at(ways, hash + i);
    return i < WAY_PLACES && way->generation == ways->generation ? way : NULL;
}

struct way *ways_find(const struct ways *ways, const struct spelling *spelling)
{
    if (!fits(spelling)) {
        return NULL;
    }
    uint64_t hash = hash_of(ways, spelling);
    struct way *way = place_at(ways, hash);
    bool is_first = way->generation == ways->generation && leads(way, spelling, hash);
    return __builtin_expect(is_first, 1) ? way : find_further(ways, spelling, hash);
}

void ways_keep(struct ways *ways, const struct spelling *spelling, const struct way *way)
{
    if (!fits(spelling)) {
        return;
    }
    uint64_t hash = hash_of(ways, spelling);
    unsigned which = search(ways, spelling, hash);
    which = which < WAY_PLACES ? which : (unsigned)(hash >> 32) % WAY_PLACES;
    struct way *place = place_at(ways, hash + which);
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
