/*
 * What each process gave to a gauge or an info, and how it becomes one value (DESIGN.md, section 5):
 *
 *     last      the value that was set last; nobody owns a part of it
 *     sum       of the parts; a process that ends takes its own away
 *     max, min  of the parts; without any the series ends
 *     per_pid   the process's own series, which ends with it
 *     unsaid    setting sets the whole, adding adds a part that ends with its process
 *     an info   holds while somebody says it
 *
 * A part without a process belongs to nobody and stays. It does not know names or pages.
 * Loop thread only.
 */
#ifndef DWELL_CORE_PART_H
#define DWELL_CORE_PART_H

#include "core/process.h"
#include "core/record.h"

enum { PARTS_MAX = 1 << 20 }; /* 80 bytes each */

struct part {
    struct part *next, **link;         /* of the same series */
    struct part *next_own, **link_own; /* of the same process */
    struct process *process;           /* NULL: nobody's */
    uint32_t family;
    uint32_t place;
    double value;
};

struct part_pool {
    uint32_t count;
};

/* Where the parts of a series are, and whose the new one is. */
struct part_owner {
    struct part **first; /* the series' list */
    uint32_t family;
    uint32_t place;
    struct process *process; /* NULL: nobody */
};

/* The owner's part of the series, made with value 0 when there is none. Returns 0; ERR_LIMIT past
 * PARTS_MAX, ERR_NOMEM. */
int part_take(struct part_pool *parts, const struct part_owner *owner, struct part **ret_part);

/* Gives a part to another process. */
void part_give(struct part *part, struct process *process);

/* Frees a part. */
void part_drop(struct part_pool *parts, struct part *part);

/* The series' list begins at another address now: what it was in has moved. */
void part_follow(struct part **first);

/* Frees all parts of a series. */
void part_drop_all(struct part_pool *parts, struct part **first);

/* The value that the parts make together; 0 without any. */
double part_fold(const struct part *first, enum aggregation aggregation);

/* What a gauge of value `total` becomes by SET or ADD. Returns 0 and the new value, or as part_take
 * with nothing changed. */
int part_apply(struct part_pool *parts, const struct part_owner *owner,
               enum aggregation aggregation, enum metric_op op, double value, double total,
               double *ret_total);

#endif
