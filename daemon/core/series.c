#include "core/series.h"

#include <assert.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"
#include "core/distinct.h"
#include "core/part.h"

enum { FIRST_PAGES = 1 };

void series_init(struct series_set *set, const struct family *family)
{
    *set = (struct series_set){.family = family};
}

static bool has_buckets(const struct series_set *set)
{
    return set->family->shape.type == FAMILY_HISTOGRAM;
}

static void retire_series(const struct series_set *set, const struct series_page *page,
                          uint32_t slot, struct limbo *limbo)
{
    const struct series_id *id = page->who[slot];
    if (id != NULL) {
        if (has_buckets(set)) {
            buckets_retire(page->value[slot].buckets, limbo);
        }
        limbo_retire(limbo,
                     &((struct series_id *)(uintptr_t)id)->block); /* here an identity ends */
    }
}

void series_fini(struct series_set *set, struct limbo *limbo)
{
    for (uint32_t i = 0; i < set->page_count; i++) {
        struct series_page *page = set->pages[i];
        for (uint32_t slot = 0; slot < SERIES_PER_PAGE; slot++) {
            retire_series(set, page, slot, limbo);
        }
        limbo_retire(limbo, page->exemplars == NULL ? NULL : &page->exemplars->block);
        limbo_retire(limbo, &page->block);
    }
    mem_free(set->pages);
    mem_free(set->taken);
    mem_free(set->touched);
    mem_free(set->hidden);
    mem_free((void *)set->parts);
    mem_free(set->distinct);
    *set = (struct series_set){0};
}

/* An array by place, if the family wants it, with room for all places of so many pages. */
static int grow_places(void **array, bool wanted, size_t item, uint32_t old_pages, uint32_t pages)
{
    size_t old = (size_t)old_pages * SERIES_PER_PAGE * item;
    size_t size = (size_t)pages * SERIES_PER_PAGE * item;
    char *grown = wanted ? mem_realloc(*array, size) : NULL;
    if (grown != NULL) {
        memset(grown + old, 0, size - old);
        *array = grown;
    }
    return wanted && grown == NULL ? ERR_NOMEM : 0;
}

static int grow_beside(struct series_set *set, uint32_t room)
{
    const struct family_shape *shape = &set->family->shape;
    bool expires = shape->expire_seconds > 0;
    bool has_parts = shape->type == FAMILY_GAUGE || shape->type == FAMILY_INFO;
    void *touched = set->touched;
    void *hidden = set->hidden;
    void *parts = (void *)set->parts;
    void *distinct = set->distinct;
    int err = grow_places(&touched, expires, sizeof *set->touched, set->page_room, room);
    if (err == 0) {
        err = grow_places(&hidden, expires || has_parts, sizeof *set->hidden, set->page_room, room);
    }
    if (err == 0) {
        err = grow_places(&parts, has_parts, sizeof *set->parts, set->page_room, room);
    }
    if (err == 0) {
        err = grow_places(&distinct, shape->type == FAMILY_SET, sizeof *set->distinct,
                          set->page_room, room);
    }
    set->touched = touched;
    set->hidden = hidden;
    set->parts = parts;
    set->distinct = distinct;
    for (uint32_t place = 0; parts != NULL && place < series_places(set); place++) {
        part_follow(&set->parts[place]);
    }
    return err;
}

static int reserve_pages(struct series_set *set)
{
    if (set->page_count < set->page_room) {
        return 0;
    }
    uint32_t room = set->page_room == 0 ? FIRST_PAGES : set->page_room * 2;
    struct series_page **pages = mem_realloc(set->pages, room * sizeof *pages);
    if (pages == NULL) {
        return ERR_NOMEM;
    }
    set->pages = pages;
    uint64_t *taken = mem_realloc(set->taken, room * sizeof *taken);
    if (taken == NULL) {
        return ERR_NOMEM;
    }
    set->taken = taken;
    int err = grow_beside(set, room);
    if (err == 0) {
        set->page_room = room;
    }
    return err;
}

static int add_page(struct series_set *set, const struct limbo *limbo)
{
    struct series_page *page = reserve_pages(set) == 0 ? mem_zalloc(1, sizeof *page) : NULL;
    if (page == NULL) {
        return ERR_NOMEM;
    }
    page->block.epoch = limbo->epoch;
    page->stamp = limbo->epoch;
    set->taken[set->page_count] = 0;
    set->pages[set->page_count++] = page;
    return 0;
}

struct series_page *series_own(struct series_set *set, uint32_t place, struct limbo *limbo)
{
    struct series_page *page = set->pages[place / SERIES_PER_PAGE];
    if (page->block.epoch <= limbo->shared_epoch) {
        struct series_page *copy = mem_alloc(sizeof *copy);
        if (copy == NULL) {
            return NULL;
        }
        *copy = *page;
        copy->block.epoch = limbo->epoch;
        set->pages[place / SERIES_PER_PAGE] = copy;
        limbo_retire(limbo, &page->block);
        page = copy;
    }
    page->stamp = limbo->epoch;
    return page;
}

struct exemplar_set *series_own_exemplars(struct series_page *page, struct limbo *limbo)
{
    struct exemplar_set *old = page->exemplars;
    if (old != NULL && old->block.epoch > limbo->shared_epoch) {
        return old;
    }
    size_t size = sizeof *old + SERIES_PER_PAGE * sizeof old->marks[0];
    struct exemplar_set *fresh = mem_zalloc(1, size);
    if (fresh == NULL) {
        return NULL;
    }
    if (old != NULL) {
        memcpy(fresh, old, size);
        limbo_retire(limbo, &old->block);
    }
    fresh->block.epoch = limbo->epoch;
    page->exemplars = fresh;
    return fresh;
}

/* The first free place. */
static int find_place(struct series_set *set, const struct limbo *limbo, uint32_t *ret_place)
{
    while (set->hint < set->page_count && set->taken[set->hint] == UINT64_MAX) {
        set->hint++;
    }
    if (set->hint == set->page_count && add_page(set, limbo) != 0) {
        return ERR_NOMEM;
    }
    unsigned slot = (unsigned)__builtin_ctzll(~set->taken[set->hint]);
    *ret_place = set->hint * SERIES_PER_PAGE + slot;
    return 0;
}

int series_add(struct series_set *set, struct series_id *id, struct limbo *limbo)
{
    uint32_t place;
    union series_value value = {.number = 0};
    if (find_place(set, limbo, &place) != 0) {
        return ERR_NOMEM;
    }
    if (has_buckets(set)) {
        const struct family_shape *shape = &set->family->shape;
        value.buckets = buckets_new(limbo, (uint16_t)shape->bound_count, shape->native);
        if (value.buckets == NULL) {
            return ERR_NOMEM;
        }
    }
    struct series_page *page = series_own(set, place, limbo);
    if (page == NULL) {
        buckets_retire(has_buckets(set) ? value.buckets : NULL, limbo);
        return ERR_NOMEM;
    }
    id->block.epoch = limbo->epoch;
    id->place = place;
    page->who[place % SERIES_PER_PAGE] = id;
    page->value[place % SERIES_PER_PAGE] = value;
    series_show(page, place, true);
    set->taken[place / SERIES_PER_PAGE] |= UINT64_C(1) << place % SERIES_PER_PAGE;
    set->count++;
    return 0;
}

/* The exemplar of a counter must not be taken for that of the next one in its place. */
static int forget_exemplar(struct series_page *page, uint32_t slot, struct limbo *limbo)
{
    if (page->exemplars == NULL || !page->exemplars->marks[slot].set) {
        return 0;
    }
    struct exemplar_set *exemplars = series_own_exemplars(page, limbo);
    if (exemplars == NULL) {
        return ERR_NOMEM;
    }
    exemplars->marks[slot] = (struct exemplar_mark){0};
    return 0;
}

/* Those at the end. */
static void drop_empty_pages(struct series_set *set, struct limbo *limbo)
{
    while (set->page_count > 0 && set->taken[set->page_count - 1] == 0) {
        struct series_page *page = set->pages[--set->page_count];
        limbo_retire(limbo, page->exemplars == NULL ? NULL : &page->exemplars->block);
        limbo_retire(limbo, &page->block);
    }
    set->hint = set->page_count < set->hint ? set->page_count : set->hint;
}

int series_remove(struct series_set *set, uint32_t place, struct limbo *limbo)
{
    struct series_page *page = series_own(set, place, limbo);
    uint32_t slot = place % SERIES_PER_PAGE;
    if (page == NULL || forget_exemplar(page, slot, limbo) != 0) {
        return ERR_NOMEM;
    }
    assert(page->who[slot] != NULL);
    retire_series(set, page, slot, limbo);
    page->who[slot] = NULL;
    page->value[slot] = (union series_value){.number = 0};
    series_show(page, place, false);
    set->taken[place / SERIES_PER_PAGE] &= ~(UINT64_C(1) << slot);
    set->count--;
    set->hint = place / SERIES_PER_PAGE < set->hint ? place / SERIES_PER_PAGE : set->hint;
    drop_empty_pages(set, limbo);
    return 0;
}

const char *series_next_pair(const struct series_id *id, const char *at, struct str *ret_name,
                             struct str *ret_value)
{
    const char *end = id->pairs + id->len;
    at = at == NULL ? id->pairs : at;
    if (at == end) {
        return NULL;
    }
    size_t name = strlen(at);
    size_t value = strlen(at + name + 1);
    *ret_name = (struct str){at, name};
    *ret_value = (struct str){at + name + 1, value};
    return at + name + 1 + value + 1;
}

size_t series_bytes(const struct series_set *set)
{
    size_t places = (size_t)set->page_room * SERIES_PER_PAGE;
    size_t bytes = set->page_room * (sizeof *set->pages + sizeof *set->taken) +
                   (set->touched == NULL ? 0 : places * sizeof *set->touched) +
                   (set->hidden == NULL ? 0 : places * sizeof *set->hidden) +
                   (set->parts == NULL ? 0 : places * sizeof *set->parts) +
                   (set->distinct == NULL ? 0 : places * sizeof *set->distinct);
    for (uint32_t place = 0; set->distinct != NULL && place < series_places(set); place++) {
        bytes += distinct_bytes(&set->distinct[place]);
    }
    for (uint32_t i = 0; i < set->page_count; i++) {
        const struct series_page *page = set->pages[i];
        bytes += sizeof *page;
        for (uint32_t slot = 0; slot < SERIES_PER_PAGE; slot++) {
            const struct series_id *id = page->who[slot];
            bytes += id == NULL ? 0 : sizeof *id + id->len;
            bytes += id != NULL && has_buckets(set) ? buckets_bytes(page->value[slot].buckets) : 0;
        }
    }
    return bytes;
}
