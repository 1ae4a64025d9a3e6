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

int names_init(struct names *names, uint32_t max, uint64_t seed)
{
    uint32_t cells = 32;
    while (cells / 2 < max) {
        cells *= 2;
    }
    *names = (struct names){.mask = cells - 1, .max = max, .seed = seed};
    names->cells = mem_zalloc(cells, sizeof *names->cells);
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

/* The cell of a name, or the free one where it would be. */
static struct names_cell *find_cell(const struct names *names, struct str name)
{
    uint32_t at = (uint32_t)XXH3_64bits_withSeed(name.ptr, name.len, names->seed);
    for (;; at++) {
        struct names_cell *cell = &names->cells[at & names->mask];
        if (cell->text == NULL || str_equal((struct str){cell->text, cell->len}, name)) {
            return cell;
        }
    }
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
    char *text = mem_alloc(name.len + 1);
    if (text == NULL) {
        return ERR_NOMEM;
    }
    memcpy(text, name.ptr, name.len);
    text[name.len] = '\0';
    *find_cell(names, name) = (struct names_cell){text, (uint32_t)name.len, number};
    names->count++;
    return 0;
}

/* Nobody was put behind it since, so no search passes its cell. */
void names_take_back(struct names *names, struct str name)
{
    struct names_cell *cell = find_cell(names, name);
    assert(cell->text != NULL);
    mem_free(cell->text);
    *cell = (struct names_cell){0};
    names->count--;
}
