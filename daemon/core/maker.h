/*
 * Who made a series of metrics, or a model: one of those that send records, and how many each has made
 * that are still there. It does not know who that is, nor what the ceilings are. It lives for as long as
 * somebody may make series through it, and then until the last of these is gone. Loop thread only.
 */
#ifndef DWELL_CORE_MAKER_H
#define DWELL_CORE_MAKER_H

#include <stdbool.h>
#include <stdint.h>

struct maker {
    uint32_t series;
    uint32_t models; /* which never go */
    bool is_gone;    /* makes no more */
};

/* NULL without memory. */
struct maker *maker_new(void);

/* It makes no more. NULL is permitted, here and below: what nobody made is not counted. */
void maker_end(struct maker *maker);

/* There is one more series, and one less. */
void maker_add(struct maker *maker);
void maker_remove(struct maker *maker);

void maker_add_model(struct maker *maker);

/* True when it may make no more. Nobody has no ceiling; 0 is none. */
bool maker_is_full(const struct maker *maker, uint32_t max_series);
bool maker_is_full_of_models(const struct maker *maker, uint32_t max_models);

#endif
