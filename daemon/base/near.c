#include "base/near.h"

enum { EDITS_MAX = 2 }; /* a slip of the pen, or two letters that changed places */

void near_init(struct near *near, struct str word)
{
    *near = (struct near){.word = word, .edits = EDITS_MAX + 1};
}

void near_try(struct near *near, const char *known)
{
    size_t edits = str_distance(near->word, str_of(known), EDITS_MAX);
    if (edits < near->edits && edits < near->word.len) { /* another word altogether is not near */
        near->edits = edits;
        near->best = known;
    }
}
