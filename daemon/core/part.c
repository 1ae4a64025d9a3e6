#include "core/part.h"

#include <float.h>
#include <math.h>
#include <stddef.h>

#include "base/err.h"
#include "base/mem.h"

static void link_part(struct part *part, struct part **first)
{
    part->next = *first;
    part->link = first;
    if (part->next != NULL) {
        part->next->link = &part->next;
    }
    *first = part;
}

static void unlink_part(struct part *part)
{
    *part->link = part->next;
    if (part->next != NULL) {
        part->next->link = part->link;
    }
}

static void link_own(struct part *part, struct process *process)
{
    part->process = process;
    if (process == NULL) {
        return;
    }
    part->next_own = process->parts;
    part->link_own = &process->parts;
    if (part->next_own != NULL) {
        part->next_own->link_own = &part->next_own;
    }
    process->parts = part;
}

static void unlink_own(struct part *part)
{
    if (part->process != NULL) {
        *part->link_own = part->next_own;
        if (part->next_own != NULL) {
            part->next_own->link_own = part->link_own;
        }
    }
}

/* A part that was found goes to the front: the next record is likely to be of the same process. */
static struct part *find(struct part **first, const struct process *process)
{
    struct part *part = *first;
    while (part != NULL && part->process != process) {
        part = part->next;
    }
    if (part != NULL && part != *first) {
        unlink_part(part);
        link_part(part, first);
    }
    return part;
}

int part_take(struct part_pool *parts, const struct part_owner *owner, struct part **ret_part)
{
    struct part *part = find(owner->first, owner->process);
    if (part == NULL) {
        if (parts->count == PARTS_MAX) {
            return ERR_LIMIT;
        }
        part = mem_zalloc(1, sizeof *part);
        if (part == NULL) {
            return ERR_NOMEM;
        }
        part->family = owner->family;
        part->place = owner->place;
        link_part(part, owner->first);
        link_own(part, owner->process);
        parts->count++;
    }
    *ret_part = part;
    return 0;
}

void part_give(struct part *part, struct process *process)
{
    unlink_own(part);
    link_own(part, process);
}

void part_drop(struct part_pool *parts, struct part *part)
{
    unlink_part(part);
    unlink_own(part);
    parts->count--;
    mem_free(part);
}

void part_follow(struct part **first)
{
    if (*first != NULL) {
        (*first)->link = first;
    }
}

void part_drop_all(struct part_pool *parts, struct part **first)
{
    while (*first != NULL) {
        part_drop(parts, *first);
    }
}

/* NaN, which a gauge may be, is neither larger nor smaller, but makes a sum NaN. */
double part_fold(const struct part *first, enum aggregation aggregation)
{
    double total = first == NULL ? 0 : first->value;
    for (const struct part *part = first == NULL ? NULL : first->next; part != NULL;
         part = part->next) {
        total = aggregation == AGGREGATION_MAX   ? fmax(total, part->value)
                : aggregation == AGGREGATION_MIN ? fmin(total, part->value)
                                                 : total + part->value;
    }
    return total;
}

/* The parts are added anew only where the difference would not do: when one of them was no number, and
 * when the total shrinks to less than half. What a large part had pushed out of the last digits comes
 * back with that, and rounding never adds up to more than it is in a sum that grows. */
static int apply_sum(struct part_pool *parts, const struct part_owner *owner, enum metric_op op,
                     double value, double total, double *ret_total)
{
    struct part *part;
    int err = part_take(parts, owner, &part);
    if (err != 0) {
        return err;
    }
    double before = part->value;
    part->value = op == METRIC_SET ? value : before + value;
    double change = part->value - before;
    double sum = total + change;
    bool simple = isfinite(sum) && 2 * fabs(sum) >= fmax(fabs(total), fabs(change));
    *ret_total = simple ? sum : part_fold(*owner->first, AGGREGATION_SUM);
    return 0;
}

static int apply_extreme(struct part_pool *parts, const struct part_owner *owner,
                         enum aggregation aggregation, enum metric_op op, double value,
                         double *ret_total)
{
    struct part *part;
    int err = part_take(parts, owner, &part);
    if (err != 0) {
        return err;
    }
    part->value = op == METRIC_SET ? value : part->value + value;
    *ret_total = part_fold(*owner->first, aggregation);
    return 0;
}

/* Nobody's part holds what was set, once there are parts of processes beside it. */
static int apply_unsaid(struct part_pool *parts, const struct part_owner *owner, enum metric_op op,
                        double value, double total, double *ret_total)
{
    if (op == METRIC_SET) {
        part_drop_all(parts, owner->first);
        *ret_total = value;
        return 0;
    }
    if (*owner->first == NULL && owner->process != NULL) {
        struct part_owner nobody = *owner;
        struct part *rest;
        nobody.process = NULL;
        int err = part_take(parts, &nobody, &rest);
        if (err != 0) {
            return err;
        }
        rest->value = total;
    } else if (*owner->first == NULL) {
        *ret_total = total + value;
        return 0;
    }
    return apply_sum(parts, owner, op, value, total, ret_total);
}

int part_apply(struct part_pool *parts, const struct part_owner *owner,
               enum aggregation aggregation, enum metric_op op, double value, double total,
               double *ret_total)
{
    switch (aggregation) {
    case AGGREGATION_SUM:
        return apply_sum(parts, owner, op, value, total, ret_total);
    case AGGREGATION_MAX:
    case AGGREGATION_MIN:
        return apply_extreme(parts, owner, aggregation, op, value, ret_total);
    case AGGREGATION_PER_PID:
        return apply_sum(parts, owner, op, value, total, ret_total);
    case AGGREGATION_UNSAID:
        return apply_unsaid(parts, owner, op, value, total, ret_total);
    case AGGREGATION_LAST:
    case AGGREGATION_COUNT:
        break;
    }
    *ret_total = op == METRIC_SET ? value : total + value;
    return 0;
}
