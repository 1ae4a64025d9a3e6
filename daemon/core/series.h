/*
 * The series of one family: who each is, and its value. They lie in pages of 64, and a page is what a
 * snapshot shares and what is copied on the first write after it, so that freezing costs one pointer
 * for 64 series, and a reader sees from one number whether any of them changed.
 * It does not know names, labels or what a value means: core/metrics does.
 * The loop thread writes; anyone may read what belongs to a snapshot.
 *
 *     pages   [0] ------> stamp | shown 0110… | who[64] | value[64]
 *             [1] --+                            |          |
 *                   +---> …                    series_id   number, or buckets of a histogram
 *
 * A new series takes the first free place, and pages without series at the end go, so that what came
 * and went leaves no memory behind. A series ends in two steps. First it is no longer shown, but still
 * found and counted in; if nothing comes, its place is given back later, and taken by another. So no
 * reader sees half of one.
 */
#ifndef DWELL_CORE_SERIES_H
#define DWELL_CORE_SERIES_H

#include "core/buckets.h"
#include "core/family.h"

enum { SERIES_PER_PAGE = 64 };

struct maker;

/* Who a series is: constant, and the same in all snapshots. */
struct series_id {
    struct block block;
    uint64_t hash;            /* of family and pairs */
    uint64_t serial;          /* never the same for two series of a process's life */
    uint64_t created_wall_ns; /* when it was first counted in */
    struct maker *maker;      /* the loop's alone, no reader looks at it; NULL: nobody */
    uint32_t family;
    uint32_t place;
    uint32_t pair_count;
    uint32_t len; /* of `pairs` */
    char pairs[]; /* name, zero byte, value, zero byte, for each label, in order */
};

union series_value {
    double number;           /* of a set: its distinct values */
    struct buckets *buckets; /* owned */
};

struct series_page {
    struct block block;
    uint64_t stamp; /* epoch of the last change of anything in the page */
    uint64_t shown; /* bits of the series that are there to be read */
    const struct series_id *who[SERIES_PER_PAGE]; /* owned; NULL where there is no series */
    union series_value value[SERIES_PER_PAGE];
    struct exemplar_set *exemplars; /* of counters, one each; owned, NULL until there is one */
};

struct series_set {
    const struct family *family;
    struct series_page **pages;
    uint32_t page_count;
    uint32_t page_room;
    uint32_t count;  /* series there are, hidden ones too */
    uint32_t hint;   /* no page before it has a free place */
    uint64_t *taken; /* by page: places that have a series; owned, as all below */
    /* Below, by place, made when first needed, with room for all places of the pages. */
    uint32_t *touched;   /* seconds of the last record; families that expire */
    uint32_t *hidden;    /* while an end is pending: 1 + seconds of the last hiding; gauges, infos
                            and families that expire, as only their series end */
    struct part **parts; /* core/part; gauges and infos */
    struct distinct *distinct; /* core/distinct; sets */
};

void series_init(struct series_set *set, const struct family *family);
void series_fini(struct series_set *set, struct limbo *limbo);

/* Adds a series and shows it, with value 0, or no observations. `id` is taken. Returns its place in
 * id->place, or ERR_NOMEM: the id is then still the caller's. */
int series_add(struct series_set *set, struct series_id *id, struct limbo *limbo);

/* The page of a place as one that may be written, marked as changed; NULL without memory. */
struct series_page *series_own(struct series_set *set, uint32_t place, struct limbo *limbo);

/* The exemplars of an owned page of counters as ones that may be written; NULL without memory. */
struct exemplar_set *series_own_exemplars(struct series_page *page, struct limbo *limbo);

/* First step of an end, and back. The page must be owned. */
static inline void series_show(struct series_page *page, uint32_t place, bool shown)
{
    uint64_t bit = UINT64_C(1) << place % SERIES_PER_PAGE;
    page->shown = shown ? page->shown | bit : page->shown & ~bit;
}

static inline bool series_is_shown(const struct series_page *page, uint32_t place)
{
    return (page->shown >> place % SERIES_PER_PAGE & 1) != 0;
}

/* Second step: the place is free. Returns 0 or ERR_NOMEM with nothing done. */
int series_remove(struct series_set *set, uint32_t place, struct limbo *limbo);

/* Places there are, taken or not. */
static inline uint32_t series_places(const struct series_set *set)
{
    return set->page_count * SERIES_PER_PAGE;
}

/* NULL where the place is free. */
static inline const struct series_id *series_who(const struct series_set *set, uint32_t place)
{
    return set->pages[place / SERIES_PER_PAGE]->who[place % SERIES_PER_PAGE];
}

/* Goes on to the next label of a series: from NULL to the first, at the end NULL. */
const char *series_next_pair(const struct series_id *id, const char *at, struct str *ret_name,
                             struct str *ret_value);

/* Heap bytes behind the set. */
size_t series_bytes(const struct series_set *set);

#endif
