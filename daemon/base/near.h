/*
 * The known word that was probably meant by one that is not known, for "did you mean". It keeps what it
 * was shown borrowed, and says nothing itself. Any thread.
 */
#ifndef DWELL_BASE_NEAR_H
#define DWELL_BASE_NEAR_H

#include "base/str.h"

struct near {
    struct str word;  /* what was said */
    size_t edits;     /* from there to `best` */
    const char *best; /* NULL: nothing is near */
};

void near_init(struct near *near, struct str word);

/* One that is known. Of several as near as each other the first one counts. */
void near_try(struct near *near, const char *known);

#endif
