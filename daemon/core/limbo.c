#include "core/limbo.h"

#include <assert.h>

#include "base/err.h"
#include "base/mem.h"

void limbo_init(struct limbo *limbo)
{
    *limbo = (struct limbo){.epoch = 1};
    limbo->tail = &limbo->oldest;
}

void limbo_fini(struct limbo *limbo)
{
    while (limbo->oldest != NULL) {
        struct block *block = limbo->oldest;
        limbo->oldest = block->next;
        mem_free(block);
    }
    limbo_init(limbo);
}

int limbo_freeze(struct limbo *limbo, uint64_t *ret_epoch)
{
    for (size_t i = 0; i < LIMBO_SNAPSHOTS_MAX; i++) {
        if (limbo->alive[i] == 0) {
            limbo->alive[i] = limbo->epoch;
            limbo->shared_epoch = limbo->epoch;
            *ret_epoch = limbo->epoch++;
            return 0;
        }
    }
    return ERR_LIMIT;
}

void limbo_release(struct limbo *limbo, uint64_t epoch)
{
    bool found = false;
    uint64_t newest = 0;
    for (size_t i = 0; i < LIMBO_SNAPSHOTS_MAX; i++) {
        if (limbo->alive[i] == epoch) {
            limbo->alive[i] = 0;
            found = true;
        }
        newest = limbo->alive[i] > newest ? limbo->alive[i] : newest;
    }
    assert(found); /* a snapshot is released once */
    (void)found;
    limbo->shared_epoch = newest;
}

/* Epoch of the oldest live snapshot, or the current epoch: what was retired in it or before is free. */
static uint64_t horizon(const struct limbo *limbo)
{
    uint64_t oldest = limbo->epoch;
    for (size_t i = 0; i < LIMBO_SNAPSHOTS_MAX; i++) {
        if (limbo->alive[i] != 0 && limbo->alive[i] < oldest) {
            oldest = limbo->alive[i];
        }
    }
    return oldest;
}

void limbo_retire(struct limbo *limbo, struct block *block)
{
    if (block == NULL) {
        return;
    }
    if (block->epoch > limbo->shared_epoch || limbo->shared_epoch == 0) {
        mem_free(block);
        return;
    }
    block->next = NULL;
    block->epoch = limbo->epoch;
    *limbo->tail = block;
    limbo->tail = &block->next;
    limbo->waiting++;
}

bool limbo_sweep(struct limbo *limbo, size_t max)
{
    uint64_t free_up_to = horizon(limbo);
    while (limbo->oldest != NULL && limbo->oldest->epoch <= free_up_to) {
        if (max-- == 0) {
            return true;
        }
        struct block *block = limbo->oldest;
        limbo->oldest = block->next;
        if (limbo->oldest == NULL) {
            limbo->tail = &limbo->oldest;
        }
        limbo->waiting--;
        mem_free(block);
    }
    return false;
}
