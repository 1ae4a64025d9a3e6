/*
 * Happy path of a value
 *   1. move      the window, when the slot is a new one
 *   2. descend   through forks, by the digits of the hash, to its leaf
 *   3. refresh   the leaf: what left the window since it was last touched is dropped
 *   4. find      a value that is there is marked with the present slot
 *   5. put       a new one takes a free cell; a full leaf is doubled first, or becomes a fork
 *
 * What can fail: a new value past the pool's ceiling; memory. Nothing is counted then.
 *
 * A cell's mark is 0 where it is free, else 1 + slot % 8: a window has less than 8 slots, so the mark
 * and the slot in which the leaf was last refreshed tell in which the value was seen.
 */
#include "core/distinct.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

enum {
    DIGIT_BITS = 4,
    DIGITS = 64 / DIGIT_BITS,
    WAYS = 1 << DIGIT_BITS,
    MARKS = 8,
    /* A fork with fewer values becomes a leaf: a quarter of what makes a leaf a fork, so that one does
     * not become the other again and again. */
    FORK_MIN = DISTINCT_LEAF_MAX * 3 / 16,
};
_Static_assert((int)WINDOW_SLOTS < (int)MARKS, "a mark tells the slot");

struct distinct_node {
    uint32_t kept;  /* values below */
    uint32_t cells; /* of a leaf, a power of two; 0: it is a fork */
};

struct fork {
    struct distinct_node node;
    struct distinct_node *way[WAYS]; /* NULL: no value begins so */
};

/* Linear probing, from the lowest bits of the hash. The marks lie behind the hashes. */
struct leaf {
    struct distinct_node node;
    uint64_t slot; /* in which it was refreshed */
    uint64_t hash[];
};

/* Where a node hangs. */
struct place {
    struct distinct_node **link;
    unsigned depth; /* digits that lead there */
};

static struct fork *as_fork(struct distinct_node *node)
{
    return (struct fork *)node;
}

static struct leaf *as_leaf(struct distinct_node *node)
{
    return (struct leaf *)node;
}

static bool is_fork(const struct distinct_node *node)
{
    return node != NULL && node->cells == 0;
}

static unsigned digit_of(uint64_t hash, unsigned depth)
{
    return (unsigned)(hash >> (64 - DIGIT_BITS * (depth + 1))) % WAYS;
}

static size_t leaf_bytes(uint32_t cells)
{
    return sizeof(struct leaf) + cells * (sizeof(uint64_t) + 1);
}

static uint8_t *marks_of(struct leaf *leaf)
{
    return (uint8_t *)(leaf->hash + leaf->node.cells);
}

static uint8_t mark_of(uint64_t slot)
{
    return (uint8_t)(1 + slot % MARKS);
}

/* The slot of a mark in a leaf: the latest one that it may be. */
static uint64_t slot_of(const struct leaf *leaf, uint8_t mark)
{
    return leaf->slot - (leaf->slot - (mark - 1U)) % MARKS;
}

static uint32_t room_of(uint32_t cells)
{
    return cells / 4 * 3;
}

static uint32_t cells_for(uint32_t values)
{
    uint32_t cells = DISTINCT_LEAF_MIN;
    while (room_of(cells) < values) {
        cells *= 2;
    }
    return cells;
}

/* --- a leaf ------------------------------------------------------------------------------------ */

static struct leaf *new_leaf(uint32_t cells, uint64_t slot)
{
    struct leaf *leaf = mem_zalloc(1, leaf_bytes(cells));
    if (leaf != NULL) {
        leaf->node.cells = cells;
        leaf->slot = slot;
    }
    return leaf;
}

/* The cell of a hash, or the free one where it would be. There is always a free one. */
static uint32_t find_cell(struct leaf *leaf, uint64_t hash)
{
    uint32_t at = (uint32_t)hash & (leaf->node.cells - 1);
    while (marks_of(leaf)[at] != 0 && leaf->hash[at] != hash) {
        at = (at + 1) & (leaf->node.cells - 1);
    }
    return at;
}

/* One that is not there. */
static void put(struct leaf *leaf, uint64_t hash, uint8_t mark)
{
    uint32_t at = find_cell(leaf, hash);
    leaf->hash[at] = hash;
    marks_of(leaf)[at] = mark;
    leaf->node.kept++;
}

/* Puts the values of a leaf that are still in the window into another one. */
static void pour(struct leaf *from, struct leaf *into)
{
    const uint8_t *marks = marks_of(from);
    for (uint32_t at = 0; at < from->node.cells; at++) {
        if (marks[at] != 0 && window_holds(slot_of(from, marks[at]), into->slot)) {
            put(into, from->hash[at], marks[at]);
        }
    }
}

/* Drops what is not in the window that ends with `slot`. Returns how many values that were. */
static uint32_t refresh(struct leaf *leaf, uint64_t slot)
{
    _Alignas(struct leaf) char copy[sizeof *leaf + DISTINCT_LEAF_MAX * (sizeof(uint64_t) + 1)];
    uint32_t kept = leaf->node.kept;
    if (leaf->slot == slot) {
        return 0;
    }
    memcpy(copy, leaf, leaf_bytes(leaf->node.cells));
    memset(marks_of(leaf), 0, leaf->node.cells);
    leaf->node.kept = 0;
    leaf->slot = slot;
    pour((struct leaf *)(void *)copy, leaf);
    return kept - leaf->node.kept;
}

/* --- the tree ---------------------------------------------------------------------------------- */

/* Where the leaf of a hash hangs, or would. */
static struct place find_place(struct distinct *distinct, uint64_t hash)
{
    struct place place = {&distinct->root, 0};
    while (is_fork(*place.link)) {
        place.link = &as_fork(*place.link)->way[digit_of(hash, place.depth++)];
    }
    return place;
}

/* Values came to the place of a hash, or went: to all forks above it, and to the pool. */
static void account(struct distinct *distinct, struct distinct_pool *pool, uint64_t hash,
                    unsigned depth, int64_t change)
{
    struct distinct_node *node = distinct->root;
    for (unsigned i = 0; i < depth; i++) {
        node->kept = (uint32_t)(node->kept + change);
        node = as_fork(node)->way[digit_of(hash, i)];
    }
    pool->kept += (uint64_t)change;
}

static void free_below(struct distinct_node *node)
{
    for (unsigned i = 0; is_fork(node) && i < WAYS; i++) {
        free_below(as_fork(node)->way[i]);
    }
    mem_free(node);
}

/* The same values with other room. Returns 0, or ERR_NOMEM with nothing done. */
static int resize(struct distinct_node **link, uint32_t cells)
{
    struct leaf *old = as_leaf(*link);
    struct leaf *leaf = new_leaf(cells, old->slot);
    if (leaf == NULL) {
        return ERR_NOMEM;
    }
    pour(old, leaf);
    mem_free(old);
    *link = &leaf->node;
    return 0;
}

/* Makes empty leaves of the right size for what is in a leaf, by the digit at `depth`. */
static int make_ways(struct leaf *leaf, unsigned depth, struct fork *fork)
{
    uint32_t values[WAYS] = {0};
    for (uint32_t at = 0; at < leaf->node.cells; at++) {
        values[digit_of(leaf->hash[at], depth)] += marks_of(leaf)[at] != 0;
    }
    for (unsigned i = 0; i < WAYS; i++) {
        if (values[i] > 0) {
            struct leaf *way = new_leaf(cells_for(values[i]), leaf->slot);
            if (way == NULL) {
                return ERR_NOMEM;
            }
            fork->way[i] = &way->node;
        }
    }
    return 0;
}

/* A leaf becomes a fork. Returns 0, or ERR_NOMEM with nothing done. */
static int split(struct place place)
{
    struct leaf *leaf = as_leaf(*place.link);
    struct fork *fork = mem_zalloc(1, sizeof *fork);
    if (fork == NULL || make_ways(leaf, place.depth, fork) != 0) {
        free_below(fork == NULL ? NULL : &fork->node);
        return ERR_NOMEM;
    }
    for (uint32_t at = 0; at < leaf->node.cells; at++) {
        if (marks_of(leaf)[at] != 0) {
            put(as_leaf(fork->way[digit_of(leaf->hash[at], place.depth)]), leaf->hash[at],
                marks_of(leaf)[at]);
        }
    }
    fork->node.kept = leaf->node.kept;
    mem_free(leaf);
    *place.link = &fork->node;
    return 0;
}

/* Makes room for one more value in the leaf at `place`, which may then be another. */
static int make_room(struct distinct *distinct, uint64_t hash, struct place *place)
{
    int err = 0;
    if (*place->link == NULL) {
        struct leaf *leaf = new_leaf(DISTINCT_LEAF_MIN, distinct->slot);
        *place->link = leaf == NULL ? NULL : &leaf->node;
        return leaf == NULL ? ERR_NOMEM : 0;
    }
    while (err == 0 && *place->link != NULL &&
           (*place->link)->kept == room_of((*place->link)->cells)) {
        uint32_t cells = (*place->link)->cells;
        err = cells < DISTINCT_LEAF_MAX ? resize(place->link, cells * 2) : split(*place);
        *place = find_place(distinct, hash);
    }
    return err != 0 || *place->link != NULL ? err : make_room(distinct, hash, place);
}

static uint32_t *seen_in(struct distinct *distinct, uint64_t slot)
{
    return &distinct->seen[slot % WINDOW_SLOTS];
}

static int add_new(struct distinct *distinct, struct distinct_pool *pool, uint64_t hash,
                   struct place place)
{
    if (pool->kept >= pool->max) {
        return ERR_LIMIT;
    }
    int err = make_room(distinct, hash, &place);
    if (err == 0) {
        put(as_leaf(*place.link), hash, mark_of(distinct->slot));
        account(distinct, pool, hash, place.depth, 1);
        ++*seen_in(distinct, distinct->slot);
    }
    return err;
}

int distinct_add(struct distinct *distinct, struct distinct_pool *pool, uint64_t hash,
                 uint64_t slot)
{
    distinct_move(distinct, slot);
    struct place place = find_place(distinct, hash);
    if (*place.link == NULL) {
        return add_new(distinct, pool, hash, place);
    }
    struct leaf *leaf = as_leaf(*place.link);
    account(distinct, pool, hash, place.depth, -(int64_t)refresh(leaf, slot));
    uint8_t *mark = &marks_of(leaf)[find_cell(leaf, hash)];
    if (*mark == 0) {
        return add_new(distinct, pool, hash, place);
    }
    --*seen_in(distinct, slot_of(leaf, *mark));
    ++*seen_in(distinct, slot);
    *mark = mark_of(slot);
    return 0;
}

/* --- the window -------------------------------------------------------------------------------- */

uint32_t distinct_count(const struct distinct *distinct)
{
    uint32_t count = 0;
    for (unsigned i = 0; i < WINDOW_SLOTS; i++) {
        count += distinct->seen[i];
    }
    return count;
}

bool distinct_is_clean(const struct distinct *distinct)
{
    return distinct->root == NULL || distinct->root->kept == distinct_count(distinct);
}

void distinct_move(struct distinct *distinct, uint64_t slot)
{
    if (distinct->slot == slot) {
        return;
    }
    if (!window_holds(distinct->slot, slot)) {
        memset(distinct->seen, 0, sizeof distinct->seen);
    }
    for (uint64_t entered = distinct->slot + 1;
         window_holds(distinct->slot, slot) && entered <= slot; entered++) {
        *seen_in(distinct, entered) = 0; /* what was last seen in the slot that makes way for it */
    }
    distinct->slot = slot;
}

/* --- giving back ------------------------------------------------------------------------------- */

static void pour_below(struct distinct_node *node, struct leaf *into)
{
    for (unsigned i = 0; is_fork(node) && i < WAYS; i++) {
        pour_below(as_fork(node)->way[i], into);
    }
    if (node != NULL && !is_fork(node)) {
        pour(as_leaf(node), into);
    }
}

/* A leaf that is far too large, or empty. */
static void shrink(struct distinct_node **link)
{
    uint32_t needed = cells_for((*link)->kept);
    if ((*link)->kept == 0) {
        mem_free(*link);
        *link = NULL;
    } else if (needed * 4 <= (*link)->cells) {
        (void)resize(link, needed * 2); /* fails: it stays as it is */
    }
}

/* A fork of few values becomes a leaf. Without memory it stays. Returns how many values were dropped. */
static uint32_t join(struct distinct_node **link, uint64_t slot)
{
    uint32_t kept = (*link)->kept;
    struct leaf *leaf = new_leaf(cells_for(kept), slot);
    if (leaf == NULL) {
        return 0;
    }
    pour_below(*link, leaf);
    free_below(*link);
    *link = &leaf->node;
    kept -= leaf->node.kept;
    shrink(link);
    return kept;
}

/* Forks on the way to a hash that are hardly needed, the lowest first. */
static void join_forks(struct distinct *distinct, struct distinct_pool *pool, uint64_t hash)
{
    struct place forks[DIGITS];
    unsigned count = 0;
    struct place place = {&distinct->root, 0};
    while (is_fork(*place.link)) {
        forks[count++] = place;
        place.link = &as_fork(*place.link)->way[digit_of(hash, place.depth++)];
    }
    while (count > 0 && (*forks[count - 1].link)->kept < FORK_MIN) {
        struct place fork = forks[--count];
        uint32_t dropped = join(fork.link, distinct->slot);
        account(distinct, pool, hash, fork.depth, -(int64_t)dropped);
    }
}

uint32_t distinct_sweep(struct distinct *distinct, struct distinct_pool *pool)
{
    uint64_t hash = distinct->next;
    struct place place = find_place(distinct, hash);
    uint32_t looked_at = WAYS;
    if (*place.link != NULL) {
        looked_at = (*place.link)->cells;
        uint32_t dropped = refresh(as_leaf(*place.link), distinct->slot);
        account(distinct, pool, hash, place.depth, -(int64_t)dropped);
        shrink(place.link);
    }
    join_forks(distinct, pool, hash);
    unsigned below = 64 - DIGIT_BITS * place.depth; /* bits that are not yet the leaf's own */
    distinct->next = below == 64 ? 0 : ((hash >> below) + 1) << below;
    return looked_at;
}

void distinct_fini(struct distinct *distinct, struct distinct_pool *pool)
{
    if (distinct->root != NULL) {
        pool->kept -= distinct->root->kept;
        free_below(distinct->root);
    }
    distinct->root = NULL;
    distinct->next = 0;
    memset(distinct->seen, 0, sizeof distinct->seen);
}

/* --- a copy ------------------------------------------------------------------------------------ */

struct copy {
    uint64_t slot; /* with which the window ends */
    uint64_t *hashes;
    uint8_t *ages;
    uint32_t count;
};

/* Every cell is written, and the next one over it if it does not count: whether it does is what processors
 * guess worst. */
static void copy_leaf(struct leaf *leaf, struct copy *copy)
{
    const uint8_t *marks = marks_of(leaf);
    uint8_t ages[MARKS + 1] = {0};
    uint8_t counts[MARKS + 1] = {0}; /* 1: in the window */
    for (uint8_t mark = MARKS; mark > 0; mark--) {
        uint64_t slot = slot_of(leaf, mark);
        counts[mark] = window_holds(slot, copy->slot);
        ages[mark] = (uint8_t)(copy->slot - slot);
    }
    for (uint32_t at = 0; at < leaf->node.cells; at++) {
        copy->hashes[copy->count] = leaf->hash[at];
        copy->ages[copy->count] = ages[marks[at]];
        copy->count += counts[marks[at]];
    }
}

static void copy_below(struct distinct_node *node, struct copy *copy)
{
    for (unsigned i = 0; is_fork(node) && i < WAYS; i++) {
        copy_below(as_fork(node)->way[i], copy);
    }
    if (node != NULL && !is_fork(node)) {
        copy_leaf(as_leaf(node), copy);
    }
}

uint32_t distinct_copy(const struct distinct *distinct, uint64_t *ret_hashes, uint8_t *ret_ages)
{
    struct copy copy = {.slot = distinct->slot, .hashes = ret_hashes, .ages = ret_ages};
    copy_below(distinct->root, &copy);
    return copy.count;
}

static size_t bytes_below(const struct distinct_node *node)
{
    size_t bytes = node == NULL ? 0 : is_fork(node) ? sizeof(struct fork) : leaf_bytes(node->cells);
    for (unsigned i = 0; is_fork(node) && i < WAYS; i++) {
        bytes += bytes_below(((const struct fork *)node)->way[i]);
    }
    return bytes;
}

size_t distinct_bytes(const struct distinct *distinct)
{
    return bytes_below(distinct->root);
}
