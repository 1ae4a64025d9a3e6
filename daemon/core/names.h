/*
 * A set of names, each with a number: from text to a place in somebody's array. It only grows, but
 * for the last steps, up to a ceiling given at the start. Keyed by a seed, so that nobody can choose
 * names that clash. It does not look at what the names are. Loop thread only.
 */
#ifndef DWELL_CORE_NAMES_H
#define DWELL_CORE_NAMES_H

#include <stdint.h>

#include "base/str.h"

struct names {
    struct names_cell *cells; /* open addressing, at most half full */
    uint32_t mask;
    uint32_t count;
    uint32_t max;
    uint64_t seed;
};

#define NAMES_NONE UINT32_MAX

/* Returns 0 or ERR_NOMEM. */
int names_init(struct names *names, uint32_t max, uint64_t seed);
void names_fini(struct names *names);

/* The number of a name, or NAMES_NONE. */
uint32_t names_find(const struct names *names, struct str name);

/* Adds a name that is not there; the text is copied. Returns 0, ERR_LIMIT or ERR_NOMEM. */
int names_add(struct names *names, struct str name, uint32_t number);

/* Removes a name that is there. */
void names_take_back(struct names *names, struct str name);

#endif
