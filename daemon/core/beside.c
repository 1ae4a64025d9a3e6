#include "core/beside.h"

#include "base/err.h"
#include "base/mem.h"

/* How much there will be at most. */
struct room {
    uint64_t processes, parts, sets, values, idle, clients;
};

static struct room measure(const struct intake *intake)
{
    const struct metrics *metrics = intake->metrics;
    struct room room = {.processes = intake->processes->count + 1,
                        .parts = metrics->parts.count,
                        .values = metrics->members.pool.kept,
                        .clients = (uint64_t)intake->ledger->used};
    for (uint32_t i = 0; i < metrics->family_count; i++) {
        const struct series_set *set = &metrics->sets[i];
        room.sets += set->distinct == NULL ? 0 : set->count;
        room.idle += set->touched == NULL ? 0 : series_places(set);
    }
    return room;
}

/* One more than there is: an empty piece of memory is none, and distinct_copy wants it. */
static void *make(uint64_t count, size_t size)
{
    return count < SIZE_MAX / size ? mem_alloc(((size_t)count + 1) * size) : NULL;
}

static struct beside *new_beside(const struct intake *intake)
{
    struct room room = measure(intake);
    struct beside *beside = mem_zalloc(1, sizeof *beside);
    if (beside == NULL) {
        return NULL;
    }
    beside->families = make(intake->metrics->family_count, sizeof *beside->families);
    beside->processes = make(room.processes, sizeof *beside->processes);
    beside->parts = make(room.parts, sizeof *beside->parts);
    beside->sets = make(room.sets, sizeof *beside->sets);
    beside->hashes = make(room.values, sizeof *beside->hashes);
    beside->ages = make(room.values, sizeof *beside->ages);
    beside->idle = make(room.idle, sizeof *beside->idle);
    beside->clients = make(room.clients, sizeof *beside->clients);
    if (beside->families == NULL || beside->processes == NULL || beside->parts == NULL ||
        beside->sets == NULL || beside->hashes == NULL || beside->ages == NULL ||
        beside->idle == NULL || beside->clients == NULL) {
        beside_free(beside);
        return NULL;
    }
    return beside;
}

void beside_free(struct beside *beside)
{
    if (beside != NULL) {
        mem_free(beside->families);
        mem_free(beside->processes);
        mem_free(beside->parts);
        mem_free(beside->sets);
        mem_free(beside->hashes);
        mem_free(beside->ages);
        mem_free(beside->idle);
        mem_free(beside->clients);
        mem_free(beside);
    }
}

/* Numbers all processes from 1, the newest last: whoever adds them again in this order has them as they
 * were. One more, without pids, stands for what is gone though its parts are still there. */
static void copy_processes(struct beside *beside, const struct processes *processes)
{
    uint32_t number = processes->count;
    beside->process_count = number + 1;
    for (struct process *process = processes->first; process != NULL; process = process->next) {
        process->number = number--;
        beside->processes[number] = (struct saved_process){process->said_pid, process->kernel_pid};
    }
    beside->processes[processes->count] = (struct saved_process){0, 0};
}

static void copy_parts(struct beside *beside, const struct series_set *set, uint32_t place)
{
    for (const struct part *part = set->parts[place]; part != NULL; part = part->next) {
        uint32_t process = 0;
        if (part->process != NULL) {
            process = part->process->number != 0 ? part->process->number : beside->process_count;
        }
        beside->parts[beside->part_count++] = (struct beside_part){
            .family = set->family->number, .place = place, .part = {process, part->value}};
    }
}

static void copy_values(struct beside *beside, const struct series_set *set, uint32_t place)
{
    uint32_t count = distinct_copy(&set->distinct[place], beside->hashes + beside->value_count,
                                   beside->ages + beside->value_count);
    if (count > 0) {
        beside->sets[beside->set_count++] = (struct beside_set){set->family->number, place, count};
        beside->value_count += count;
    }
}

static void copy_family(struct beside *beside, const struct metrics *metrics,
                        const struct series_set *set, uint32_t *idle)
{
    struct beside_family *family = &beside->families[beside->family_count++];
    uint32_t places = series_places(set);
    *family = (struct beside_family){.overflow = metrics->overflow[set->family->number],
                                     .places = places,
                                     .idle = set->touched == NULL ? NULL : idle};
    for (uint32_t place = 0; place < places; place++) {
        if (set->touched != NULL) {
            idle[place] = (uint32_t)metrics->now_seconds - set->touched[place];
        }
        if (set->parts != NULL) {
            copy_parts(beside, set, place);
        }
        if (set->distinct != NULL) {
            copy_values(beside, set, place);
        }
    }
}

static void copy_clients(struct beside *beside, const struct ledger *ledger)
{
    for (int at = ledger->oldest; at != LEDGER_NOBODY; at = ledger->clients[at].newer) {
        beside->clients[beside->client_count++] = ledger->clients[at];
    }
}

int beside_take(const struct intake *intake, struct beside **ret_beside)
{
    const struct metrics *metrics = intake->metrics;
    struct beside *beside = new_beside(intake);
    if (beside == NULL) {
        return ERR_NOMEM;
    }
    uint32_t *idle = beside->idle;
    beside->set_seed = metrics->members.seed;
    copy_processes(beside, intake->processes);
    for (uint32_t i = 0; i < metrics->family_count; i++) {
        copy_family(beside, metrics, &metrics->sets[i], idle);
        idle += beside->families[i].idle == NULL ? 0 : beside->families[i].places;
    }
    copy_clients(beside, intake->ledger);
    *ret_beside = beside;
    return 0;
}
