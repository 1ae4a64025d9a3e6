#include "core/names.h"

#include <assert.h>

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <xxhash.h>

#include "base/err.h"
#include "base/mem.h"

struct names_cell {
    char *text; /* owned; NULL: free */
    uint32_t len;
    uint32_t number;
};

enum { FIRST_CELLS = 64 };

int names_init(struct names *names, uint32_t max, uint64_t seed)
{
    *names = (struct names){.mask = FIRST_CELLS - 1, .max = max, .seed = seed};
    names->cells = mem_zalloc(FIRST_CELLS, sizeof *names->cells);
    return names->cells == NULL ? ERR_NOMEM : 0;
}

void names_fini(struct names *names)
{
    for (uint32_t i = 0; names->cells != NULL && i <= names->mask; i++) {
        mem_free(names->cells[i].text);
    }
    mem_free(names->cells);
    *names = (struct names){0};
}

static uint32_t home_of(const struct names *names, struct str name)
{
    return (uint32_t)XXH3_64bits_withSeed(name.ptr, name.len, names->seed) & names->mask;
}

/* The cell of a name, or the free one where it would be. */
static struct names_cell *find_cell(const struct names *names, struct str name)
{
    for (uint32_t at = home_of(names, name);; at++) {
        struct names_cell *cell = &names->cells[at & names->mask];
        if (cell->text == NULL || str_equal((struct str){cell->text, cell->len}, name)) {
            return cell;
        }
    }
}

/* Twice as many cells once half of them are in use. */
static int grow(struct names *names)
{
    if (names->count * 2 <= names->mask) {
        return 0;
    }
    struct names grown = *names;
    grown.mask = names->mask * 2 + 1;
    grown.cells = mem_zalloc(grown.mask + 1, sizeof *grown.cells);
    if (grown.cells == NULL) {
        return ERR_NOMEM;
    }
    for (uint32_t i = 0; i <= names->mask; i++) {
        const struct names_cell *cell = &names->cells[i];
        if (cell->text != NULL) {
            *find_cell(&grown, (struct str){cell->text, cell->len}) = *cell;
        }
    }
    mem_free(names->cells);
    *names = grown;
    return 0;
}

uint32_t names_find(const struct names *names, struct str name)
{
    const struct names_cell *cell = find_cell(names, name);
    return cell->text == NULL ? NAMES_NONE : cell->number;
}

int names_add(struct names *names, struct str name, uint32_t number)
{
    if (names->count == names->max) {
        return ERR_LIMIT;
    }
    char *text = grow(names) == 0 ? mem_alloc(name.len + 1) : NULL;
    if (text == NULL) {
        return ERR_NOMEM;
    }
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    *find_cell(names, name) = (struct names_cell){text, (uint32_t)name.len, number};
    names->count++;
    return 0;
}

/* What follows the hole moves up where it may (Knuth, The Art of Computer Programming 3, 6.4,
 * algorithm R). */
void names_take_back(struct names *names, struct str name)
{
    uint32_t mask = names->mask;
    uint32_t hole = (uint32_t)(find_cell(names, name) - names->cells);
    assert(names->cells[hole].text != NULL);
    mem_free(names->cells[hole].text);
    for (uint32_t at = (hole + 1) & mask; names->cells[at].text != NULL; at = (at + 1) & mask) {
        const struct names_cell *cell = &names->cells[at];
        uint32_t home = home_of(names, (struct str){cell->text, cell->len});
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            names->cells[hole] = *cell;
            hole = at;
        }
    }
    names->cells[hole] = (struct names_cell){0};
    names->count--;
}
