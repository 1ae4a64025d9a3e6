#include "core/index.h"

#include <assert.h>

#include "base/err.h"
#include "base/mem.h"

struct index_leaf {
    uint32_t depth; /* bits that all hashes in it share */
    uint32_t count;
    struct series_id *ids[INDEX_CELLS]; /* open addressing by the lower bits; NULL: free */
    uint64_t hashes[INDEX_CELLS];
};

enum { MASK = INDEX_CELLS - 1 };
_Static_assert((INDEX_CELLS & MASK) == 0, "a power of two");

/* The upper bits of a hash; with none of them 0. */
static size_t place_of(uint64_t hash, uint32_t depth)
{
    return depth == 0 ? 0 : (size_t)(hash >> (64 - depth));
}

static struct index_leaf *leaf_of(const struct series_index *index, uint64_t hash)
{
    return index->directory[place_of(hash, index->depth)];
}

int index_init(struct series_index *index)
{
    *index = (struct series_index){.directory = mem_alloc(sizeof(struct index_leaf *))};
    struct index_leaf *leaf = mem_zalloc(1, sizeof *leaf);
    if (index->directory == NULL || leaf == NULL) {
        mem_free(leaf);
        mem_free((void *)index->directory);
        *index = (struct series_index){0};
        return ERR_NOMEM;
    }
    index->directory[0] = leaf;
    return 0;
}

void index_fini(struct series_index *index)
{
    size_t places = index->directory == NULL ? 0 : (size_t)1 << index->depth;
    for (size_t i = 0; i < places;) {
        struct index_leaf *leaf = index->directory[i];
        i += (size_t)1 << (index->depth - leaf->depth); /* places that lead to it */
        mem_free(leaf);
    }
    mem_free((void *)index->directory);
    *index = (struct series_index){0};
}

struct series_id *index_find(const struct series_index *index, uint64_t hash, uint32_t family,
                             struct str pairs)
{
    const struct index_leaf *leaf = leaf_of(index, hash);
    for (uint32_t at = (uint32_t)hash & MASK; leaf->ids[at] != NULL; at = (at + 1) & MASK) {
        struct series_id *id = leaf->ids[at];
        if (leaf->hashes[at] == hash && id->family == family &&
            str_equal((struct str){id->pairs, id->len}, pairs)) {
            return id;
        }
    }
    return NULL;
}

static void put(struct index_leaf *leaf, struct series_id *id, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & MASK;
    while (leaf->ids[at] != NULL) {
        at = (at + 1) & MASK;
    }
    leaf->ids[at] = id;
    leaf->hashes[at] = hash;
    leaf->count++;
}

static int double_directory(struct series_index *index)
{
    size_t places = (size_t)1 << index->depth;
    if (places > INDEX_PLACES_SPARE + (size_t)index->count) {
        return ERR_LIMIT;
    }
    struct index_leaf **doubled =
        mem_realloc((void *)index->directory, 2 * places * sizeof *doubled);
    if (doubled == NULL) {
        return ERR_NOMEM;
    }
    for (size_t i = places; i-- > 0;) {
        doubled[2 * i + 1] = doubled[i];
        doubled[2 * i] = doubled[i];
    }
    index->directory = doubled;
    index->depth++;
    return 0;
}

/* Makes two leaves of one: the next bit of the hash says which. */
static int split(struct series_index *index, struct index_leaf *leaf, uint64_t hash)
{
    struct index_leaf *low = mem_zalloc(1, sizeof *low);
    struct index_leaf *high = mem_zalloc(1, sizeof *high);
    if (low == NULL || high == NULL) {
        mem_free(low);
        mem_free(high);
        return ERR_NOMEM;
    }
    low->depth = high->depth = leaf->depth + 1;
    for (uint32_t at = 0; at < INDEX_CELLS; at++) {
        if (leaf->ids[at] != NULL) {
            bool is_high = (leaf->hashes[at] >> (63 - leaf->depth) & 1) != 0;
            put(is_high ? high : low, leaf->ids[at], leaf->hashes[at]);
        }
    }
    size_t half = (size_t)1 << (index->depth - low->depth);
    size_t first = place_of(hash, leaf->depth) << (index->depth - leaf->depth);
    for (size_t i = 0; i < half; i++) {
        index->directory[first + i] = low;
        index->directory[first + half + i] = high;
    }
    mem_free(leaf);
    return 0;
}

int index_reserve(struct series_index *index, uint64_t hash)
{
    int err = 0;
    for (struct index_leaf *leaf = leaf_of(index, hash); err == 0 && leaf->count >= INDEX_FULL;
         leaf = leaf_of(index, hash)) {
        err = leaf->depth == index->depth ? double_directory(index) : split(index, leaf, hash);
    }
    return err;
}

void index_add(struct series_index *index, struct series_id *id)
{
    struct index_leaf *leaf = leaf_of(index, id->hash);
    assert(leaf->count < INDEX_FULL);
    put(leaf, id, id->hash);
    index->count++;
}

/* What follows the hole moves up where it may (Knuth, The Art of Computer Programming 3, 6.4,
 * algorithm R). */
void index_remove(struct series_index *index, const struct series_id *id)
{
    struct index_leaf *leaf = leaf_of(index, id->hash);
    uint32_t hole = (uint32_t)id->hash & MASK;
    while (leaf->ids[hole] != id) {
        assert(leaf->ids[hole] != NULL);
        hole = (hole + 1) & MASK;
    }
    for (uint32_t at = (hole + 1) & MASK; leaf->ids[at] != NULL; at = (at + 1) & MASK) {
        uint32_t home = (uint32_t)leaf->hashes[at] & MASK;
        if (((at - home) & MASK) >= ((at - hole) & MASK)) {
            leaf->ids[hole] = leaf->ids[at];
            leaf->hashes[hole] = leaf->hashes[at];
            hole = at;
        }
    }
    leaf->ids[hole] = NULL;
    leaf->count--;
    index->count--;
}
