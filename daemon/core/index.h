/*
 * Finds series by who they are. Extendible hashing (Fagin, Nievergelt, Pippenger, Strong, 1979): the
 * upper bits of the hash choose a leaf through a directory, the lower ones a cell in it. A leaf that is
 * full is split in two, so no step ever touches more than a leaf, and memory grows with the series.
 * It owns no series and makes no keys. Loop thread only.
 *
 *     directory, depth 2      leaves of INDEX_CELLS
 *     00 --------------------> depth 2  | id | - | id | …
 *     01 --------------------> depth 2
 *     10 ---+----------------> depth 1
 *     11 ---+
 *
 * One table for all that may ever come was the other design: it is simpler, and a few thousand series
 * that come and go leave all of its 4 MB in use.
 */
#ifndef DWELL_CORE_INDEX_H
#define DWELL_CORE_INDEX_H

#include "base/str.h"
#include "core/series.h"

enum {
    INDEX_CELLS = 128,
    INDEX_FULL = 96, /* cells in use at most: a probe stays short */
    /* A directory with more places than series and these serves hashes that are hardly different, which
     * do not come by chance. */
    INDEX_PLACES_SPARE = 64,
};

struct series_index {
    struct index_leaf **directory; /* 1 << depth; owned, the leaves too */
    uint32_t depth;
    uint32_t count;
};

/* Returns 0 or ERR_NOMEM. */
int index_init(struct series_index *index);
void index_fini(struct series_index *index);

/* The series of a family with these labels, `hash` being theirs; or NULL. */
struct series_id *index_find(const struct series_index *index, uint64_t hash, uint32_t family,
                             struct str pairs);

/* Makes room for a series of this hash, so that adding it cannot fail. Returns 0, ERR_NOMEM, or
 * ERR_LIMIT where more hashes are the same in their upper bits than a leaf takes. */
int index_reserve(struct series_index *index, uint64_t hash);

/* Adds a series that is not there, after index_reserve. */
void index_add(struct series_index *index, struct series_id *id);

/* Takes out a series that is there. */
void index_remove(struct series_index *index, const struct series_id *id);

#endif
