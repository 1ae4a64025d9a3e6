#include "render/otlp_delta.h"

#include "base/err.h"
#include "base/mem.h"

enum { FIRST_ROOM = 64 };

static uint32_t room_for(uint32_t room, uint32_t needed)
{
    room = room < FIRST_ROOM ? FIRST_ROOM : room;
    while (room < needed) {
        room *= 2; /* places and series are below 2^31 */
    }
    return room;
}

static void clear_cells(struct otlp_set *set, uint32_t from)
{
    for (uint32_t i = from; i < set->room; i++) {
        mem_free(set->cells[i].state);
        set->cells[i] = (struct otlp_cell){0};
    }
}

void otlp_delta_fini(struct otlp_delta *delta)
{
    for (uint32_t i = 0; i < delta->room; i++) {
        clear_cells(&delta->sets[i], 0);
        mem_free(delta->sets[i].cells);
    }
    mem_free(delta->sets);
    *delta = (struct otlp_delta){0};
}

const struct otlp_cell *otlp_delta_find(const struct otlp_delta *delta,
                                        const struct otlp_series *series)
{
    if (series->set >= delta->room || series->place >= delta->sets[series->set].room) {
        return NULL;
    }
    const struct otlp_cell *cell = &delta->sets[series->set].cells[series->place];
    return cell->serial == series->serial ? cell : NULL;
}

/* --- changes ----------------------------------------------------------------------------------- */

static int reserve_set(struct otlp_delta *delta, uint32_t number)
{
    if (number < delta->room) {
        return 0;
    }
    uint32_t room = room_for(delta->room, number + 1);
    struct otlp_set *sets = mem_realloc(delta->sets, room * sizeof *sets);
    if (sets == NULL) {
        return ERR_NOMEM;
    }
    memset(sets + delta->room, 0, (room - delta->room) * sizeof *sets);
    delta->sets = sets;
    delta->room = room;
    return 0;
}

static int reserve_cell(struct otlp_set *set, uint32_t place)
{
    if (place < set->room) {
        return 0;
    }
    uint32_t room = room_for(set->room, place + 1);
    struct otlp_cell *cells = mem_realloc(set->cells, room * sizeof *cells);
    if (cells == NULL) {
        return ERR_NOMEM;
    }
    memset(cells + set->room, 0, (room - set->room) * sizeof *cells);
    set->cells = cells;
    set->room = room;
    return 0;
}

static int reserve_change(struct otlp_changes *changes)
{
    if (changes->count < changes->room) {
        return 0;
    }
    uint32_t room = room_for(changes->room, changes->count + 1);
    struct otlp_change *list = mem_realloc(changes->list, room * sizeof *list);
    if (list == NULL) {
        return ERR_NOMEM;
    }
    changes->list = list;
    changes->room = room;
    return 0;
}

/* The cell's place is made now, so that a commit needs no memory. */
int otlp_delta_change(struct otlp_delta *delta, const struct otlp_series *series,
                      const struct otlp_cell *cell, struct otlp_changes *changes)
{
    int err = reserve_set(delta, series->set);
    if (err == 0) {
        err = reserve_cell(&delta->sets[series->set], series->place);
    }
    if (err == 0) {
        err = reserve_change(changes);
    }
    if (err != 0) {
        mem_free(cell->state);
        return err;
    }
    changes->list[changes->count++] = (struct otlp_change){*series, *cell};
    return 0;
}

void otlp_changes_cut(struct otlp_changes *changes, uint32_t count)
{
    while (changes->count > count) {
        mem_free(changes->list[--changes->count].cell.state);
    }
}

void otlp_delta_abort(struct otlp_changes *changes)
{
    otlp_changes_cut(changes, 0);
    mem_free(changes->list);
    *changes = (struct otlp_changes){0};
}

void otlp_delta_commit(struct otlp_delta *delta, struct otlp_changes *changes)
{
    for (uint32_t i = 0; i < changes->count; i++) {
        const struct otlp_change *change = &changes->list[i];
        struct otlp_cell *cell = &delta->sets[change->series.set].cells[change->series.place];
        mem_free(cell->state);
        *cell = change->cell;
    }
    mem_free(changes->list);
    *changes = (struct otlp_changes){0};
}

void otlp_delta_trim(struct otlp_delta *delta, uint32_t number, uint32_t places)
{
    if (number >= delta->room || places >= delta->sets[number].room) {
        return;
    }
    struct otlp_set *set = &delta->sets[number];
    clear_cells(set, places);
    if (places <= set->room / 4) {
        struct otlp_cell *cells =
            places == 0 ? NULL : mem_realloc(set->cells, places * sizeof *cells);
        if (places == 0) {
            mem_free(set->cells);
        }
        set->room = cells != NULL || places == 0 ? places : set->room;
        set->cells = cells != NULL || places == 0 ? cells : set->cells;
    }
}
