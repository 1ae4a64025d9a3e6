#include "core/hist.h"

#include <assert.h>
#include <math.h>

#include "base/err.h"
#include "base/mem.h"

_Static_assert(HIST_CHUNKS *HIST_CHUNK_BUCKETS == HIST_BUCKETS, "whole chunks");

uint64_t hist_shifts[256];

/* 2^(step/128) as a 52-bit mantissa, rounded down. */
static uint64_t boundary_mantissa(int step)
{
    long double boundary = exp2l((long double)step / HIST_PER_OCTAVE) - 1.0L;
    return (uint64_t)floorl(ldexpl(boundary, 52));
}

void hist_init_tables(void)
{
    /* Bucket -1 of an octave ends with its power of two: mantissas above `boundary` are in `step`. */
    int step = 0;
    uint64_t base = (uint64_t)(1023 + HIST_EXPONENT_MIN) << 52;
    for (uint64_t cell = 0; cell < 256; cell++) {
        uint64_t boundary = (cell + 1) << 44; /* none in this cell: all of it below */
        int below = step - 1;
        if (step < HIST_PER_OCTAVE && boundary_mantissa(step) >> 44 == cell) {
            boundary = boundary_mantissa(step);
            step++;
        }
        /* mantissa + addend reaches (below + 1) << 45 just above the boundary. */
        hist_shifts[cell] = ((uint64_t)(below + 1) << 45) - boundary - 1 - base;
    }
    assert(step ==
           HIST_PER_OCTAVE); /* cells are narrower than buckets: one boundary each at most */
}

double hist_lower_bound(int position)
{
    int index = position + HIST_INDEX_MIN;
    int octave =
        index >= 0 ? index / HIST_PER_OCTAVE : -((-index + HIST_PER_OCTAVE - 1) / HIST_PER_OCTAVE);
    return ldexp(exp2((double)(index - octave * HIST_PER_OCTAVE) / HIST_PER_OCTAVE), octave);
}

/* How far below its chunk a word points. */
static uintptr_t bytes_below(unsigned number)
{
    return number * sizeof((struct hist_chunk *)NULL)->low;
}

static struct hist_chunk *chunk_at(const struct hist *hist, unsigned number)
{
    uintptr_t word = hist->chunks[number] & ~HIST_WRITABLE;
    return word == 0 ? NULL : (struct hist_chunk *)(word + bytes_below(number));
}

static void retire_chunk(struct hist_chunk *chunk, struct limbo *limbo)
{
    if (chunk != NULL) {
        limbo_retire(limbo, chunk->carry == NULL ? NULL : &chunk->carry->block);
        limbo_retire(limbo, &chunk->block);
    }
}

void hist_retire(const struct hist *hist, struct limbo *limbo)
{
    for (unsigned number = 0; number < HIST_CHUNKS; number++) {
        retire_chunk(chunk_at(hist, number), limbo);
    }
}

void hist_unshare(const struct hist *hist, struct hist *ret_copy)
{
    ret_copy->zero = hist->zero;
    for (unsigned number = 0; number < HIST_CHUNKS; number++) {
        ret_copy->chunks[number] = hist->chunks[number] & ~HIST_WRITABLE;
    }
}

static struct hist_chunk *copy_chunk(const struct hist_chunk *old)
{
    struct hist_chunk *chunk = mem_alloc(sizeof *chunk);
    if (chunk == NULL) {
        return NULL;
    }
    *chunk = *old;
    if (old->carry != NULL) {
        chunk->carry = mem_alloc(sizeof *chunk->carry);
        if (chunk->carry == NULL) {
            mem_free(chunk);
            return NULL;
        }
        *chunk->carry = *old->carry;
    }
    return chunk;
}

/* The chunk `number`, made or copied if need be so that it may be written. NULL without memory. */
static struct hist_chunk *own_chunk(struct hist *hist, struct limbo *limbo, unsigned number)
{
    struct hist_chunk *old = chunk_at(hist, number);
    if ((hist->chunks[number] & HIST_WRITABLE) != 0) {
        return old;
    }
    struct hist_chunk *chunk = old == NULL ? mem_zalloc(1, sizeof *chunk) : copy_chunk(old);
    if (chunk != NULL) {
        chunk->block.epoch = limbo->epoch;
        hist->chunks[number] = ((uintptr_t)chunk - bytes_below(number)) | HIST_WRITABLE;
        retire_chunk(old, limbo);
    }
    return chunk;
}

/* Room for sums past 2^32 - 1 in an owned chunk. */
static int own_carry(struct hist_chunk *chunk)
{
    if (chunk->carry == NULL) {
        chunk->carry = mem_zalloc(1, sizeof *chunk->carry);
    }
    return chunk->carry == NULL ? ERR_NOMEM : 0;
}

static uint64_t read_count(const struct hist_chunk *chunk, unsigned at)
{
    uint64_t high = chunk->carry == NULL ? 0 : chunk->carry->high[at];
    return high << 32 | chunk->low[at];
}

static void write_count(struct hist_chunk *chunk, unsigned at, uint64_t count)
{
    chunk->low[at] = (uint32_t)count;
    if (chunk->carry != NULL) {
        chunk->carry->high[at] = (uint32_t)(count >> 32);
    }
}

int hist_add_weighted(struct hist *hist, struct limbo *limbo, int position, uint64_t weight)
{
    if (position < 0) {
        hist->zero += weight;
        return 0;
    }
    struct hist_chunk *chunk = own_chunk(hist, limbo, (unsigned)position / HIST_CHUNK_BUCKETS);
    if (chunk == NULL) {
        return ERR_NOMEM;
    }
    unsigned at = (unsigned)position % HIST_CHUNK_BUCKETS;
    uint64_t count = read_count(chunk, at) + weight;
    if (count > UINT32_MAX && own_carry(chunk) != 0) {
        return ERR_NOMEM;
    }
    write_count(chunk, at, count);
    return 0;
}

static bool sum_needs_carry(const struct hist_chunk *a, const struct hist_chunk *b)
{
    for (unsigned at = 0; at < HIST_CHUNK_BUCKETS; at++) {
        if (read_count(a, at) + read_count(b, at) > UINT32_MAX) {
            return true;
        }
    }
    return false;
}

int hist_merge(struct hist *into, const struct hist *from, struct limbo *limbo)
{
    /* First everything that can fail, then the counts. */
    for (unsigned number = 0; number < HIST_CHUNKS; number++) {
        const struct hist_chunk *source = chunk_at(from, number);
        if (source == NULL) {
            continue;
        }
        struct hist_chunk *target = own_chunk(into, limbo, number);
        if (target == NULL || (sum_needs_carry(target, source) && own_carry(target) != 0)) {
            return ERR_NOMEM;
        }
    }
    for (unsigned number = 0; number < HIST_CHUNKS; number++) {
        const struct hist_chunk *source = chunk_at(from, number);
        if (source == NULL) {
            continue;
        }
        struct hist_chunk *target = own_chunk(into, limbo, number);
        for (unsigned at = 0; at < HIST_CHUNK_BUCKETS; at++) {
            write_count(target, at, read_count(target, at) + read_count(source, at));
        }
    }
    into->zero += from->zero;
    return 0;
}

uint64_t hist_count_at(const struct hist *hist, int position)
{
    const struct hist_chunk *chunk = chunk_at(hist, (unsigned)position / HIST_CHUNK_BUCKETS);
    return chunk == NULL ? 0 : read_count(chunk, (unsigned)position % HIST_CHUNK_BUCKETS);
}

void hist_sum_into(const struct hist *hist, uint64_t counts[HIST_BUCKETS])
{
    for (unsigned number = 0; number < HIST_CHUNKS; number++) {
        const struct hist_chunk *chunk = chunk_at(hist, number);
        uint64_t *target = counts + (size_t)number * HIST_CHUNK_BUCKETS;
        for (unsigned at = 0; chunk != NULL && at < HIST_CHUNK_BUCKETS; at++) {
            target[at] += read_count(chunk, at);
        }
    }
}

uint64_t hist_total(const struct hist *hist)
{
    uint64_t total = hist->zero;
    for (unsigned number = 0; number < HIST_CHUNKS; number++) {
        const struct hist_chunk *chunk = chunk_at(hist, number);
        for (unsigned at = 0; chunk != NULL && at < HIST_CHUNK_BUCKETS; at++) {
            total += read_count(chunk, at);
        }
    }
    return total;
}

size_t hist_bytes(const struct hist *hist)
{
    size_t bytes = 0;
    for (unsigned number = 0; number < HIST_CHUNKS; number++) {
        const struct hist_chunk *chunk = chunk_at(hist, number);
        if (chunk != NULL) {
            bytes += sizeof *chunk + (chunk->carry == NULL ? 0 : sizeof *chunk->carry);
        }
    }
    return bytes;
}

int hist_range(const struct hist *hist, int *ret_end)
{
    int first = HIST_BUCKETS;
    int end = 0;
    for (int number = 0; number < HIST_CHUNKS; number++) {
        if (hist->chunks[number] != 0) {
            first = first < HIST_BUCKETS ? first : number * HIST_CHUNK_BUCKETS;
            end = (number + 1) * HIST_CHUNK_BUCKETS;
        }
    }
    *ret_end = end;
    return first;
}
