/*
 * Workloads that go through memory, in turn or at random. Each loop serves several sizes: out of all
 * caches it is bound by memory, in the second level by computing. `run --measure NAME` shows what a
 * unit costs in each (units of the first level may be shorter, as their blocks are); the
 * arguments quote a machine with 1 MB of second and 32 MB of last level.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "workload.h"

enum {
    BLOCK = 64 * 1024, /* bytes of a unit that goes through memory in turn */
    LINE = 64,
    LANES = 16,     /* sums that do not wait for one another */
    ROW_LANES = 64, /* the same for products, which take four times as long as additions */
    ROW = 256,      /* bytes of an embedding */
    BUCKETS = 512,  /* of a radix pass: more than a core has lines or pages at hand for */
    VECTOR = 4096,  /* of a matrix row: 16 kB, so that the vector stays in the first level */
    SPARSE = 16,    /* values in a row of a sparse matrix */
    TREE_DEPTH = 16,
    FAULT_BYTES = 512 * 1024,
};

static size_t at; /* where the next unit begins */

/* The next block of `size` bytes within `bytes`. */
static size_t next_block(size_t bytes, size_t size)
{
    if (at + size > bytes) {
        at = 0;
    }
    size_t block = at;
    at += size;
    return block;
}

static size_t block_size(size_t bytes)
{
    return bytes < BLOCK ? bytes : BLOCK;
}

/* ---- in turn ---- */

void memory_sum(size_t units)
{
    size_t size = block_size(room_bytes);
    uint64_t sums[LANES] = {0};
    for (size_t i = 0; i < units; i++) {
        const uint64_t *numbers = (const uint64_t *)(void *)(room + next_block(room_bytes, size));
        for (size_t k = 0; k < size / sizeof *numbers; k += LANES) {
            for (size_t lane = 0; lane < LANES; lane++) {
                sums[lane] += numbers[k + lane];
            }
        }
    }
    workload_sink = sums[0] + sums[LANES - 1];
}

static void copy(size_t units)
{
    size_t half = room_bytes / 2, size = block_size(half);
    for (size_t i = 0; i < units; i++) {
        size_t block = next_block(half, size);
        const uint64_t *from = (const uint64_t *)(void *)(room + block);
        uint64_t *to = (uint64_t *)(void *)(room + half + block);
        for (size_t k = 0; k < size / sizeof *to; k++) {
            to[k] = from[k] + 1; /* not memcpy, which the compiler would make of a mere copy */
        }
    }
}

static void triad(size_t units)
{
    size_t third = room_bytes / 3 / LINE * LINE, size = block_size(third) / LINE * LINE;
    for (size_t i = 0; i < units; i++) {
        size_t block = next_block(third, size);
        double *a = (double *)(void *)(room + block);
        const double *b = (const double *)(void *)(room + third + block);
        const double *c = (const double *)(void *)(room + 2 * third + block);
        for (size_t k = 0; k < size / sizeof *a; k++) {
            a[k] = b[k] + 3.0 * c[k];
        }
    }
}

static void copy_libc(size_t units)
{
    size_t half = room_bytes / 2, size = half < 4 * BLOCK ? half : 4 * BLOCK;
    for (size_t i = 0; i < units; i++) {
        size_t block = next_block(half, size);
        memcpy(room + half + block, room + block, size);
    }
}

static void set_libc(size_t units)
{
    size_t size = room_bytes < 4 * BLOCK ? room_bytes : 4 * BLOCK;
    for (size_t i = 0; i < units; i++) {
        memset(room + next_block(room_bytes, size), (int)(i & 0xff), size);
    }
}

/* A row of a matrix by a vector: two operations for each four bytes. */
static void matrix_vector(size_t units)
{
    static float vector[VECTOR];
    size_t size = VECTOR * sizeof(float);
    float sums[ROW_LANES] = {0};
    for (size_t i = 0; i < units; i++) {
        const float *row = (const float *)(void *)(room + next_block(room_bytes, size));
        for (size_t k = 0; k < VECTOR; k += ROW_LANES) {
            for (size_t lane = 0; lane < ROW_LANES; lane++) {
                sums[lane] += row[k + lane] * vector[k + lane];
            }
        }
    }
    for (size_t lane = 0; lane < ROW_LANES; lane++) {
        workload_sink += (uint64_t)sums[lane];
    }
}

/* A column of a matrix with rows of a page and a line: every access is to another page. */
static void column(size_t units)
{
    size_t stride = 4096 + LINE, rows = room_bytes / stride, columns = stride / sizeof(float);
    float sum = 0;
    for (size_t i = 0; i < units; i++) {
        at = (at + 1) % columns;
        for (size_t row = 0; row < rows; row++) {
            sum += *(const float *)(const void *)(room + row * stride + at * sizeof(float));
        }
    }
    workload_sink = (uint64_t)sum;
}

/* ---- at random ---- */

/* One cycle through all lines, in the order of Sattolo's shuffle. */
void memory_prepare_chase(void)
{
    size_t lines = room_bytes / LINE;
    uint32_t *order = malloc(lines * sizeof *order);
    if (order == NULL) {
        workload_skip("no memory");
    }
    for (size_t i = 0; i < lines; i++) {
        order[i] = (uint32_t)i;
    }
    for (size_t i = lines - 1; i > 0; i--) {
        size_t k = random_next() % i;
        uint32_t other = order[k];
        order[k] = order[i];
        order[i] = other;
    }
    for (size_t i = 0; i < lines; i++) {
        *(uint64_t *)(void *)(room + i * LINE) = (uint64_t)order[i] * LINE;
    }
    free(order);
    at = 0;
}

void memory_chase(size_t units)
{
    size_t here = at;
    for (size_t i = 0; i < units * 64; i++) {
        here = *(const uint64_t *)(const void *)(room + here);
    }
    at = here;
}

/* Sums rows that nobody can foretell: what an embedding layer does. */
static void gather(size_t units)
{
    float sums[ROW / sizeof(float)] = {0};
    size_t rows = room_bytes / ROW;
    for (size_t i = 0; i < units * 64; i++) {
        const float *row =
            (const float *)(const void *)(room + random_below(random_next(), rows) * ROW);
        for (size_t k = 0; k < ROW / sizeof(float); k++) {
            sums[k] += row[k];
        }
    }
    workload_sink = (uint64_t)sums[random_next() % 64];
}

/* Open addressing: a key in the first place that its hash leads to, or in one behind it. */
static void prepare_table(void)
{
    uint64_t *slots = (uint64_t *)(void *)room;
    size_t count = room_bytes / sizeof *slots;
    for (size_t i = 0; i < count / 2; i++) {
        uint64_t key = random_next() | 1;
        size_t slot = random_below(key, count);
        while (slots[slot] != 0) {
            slot = slot + 1 == count ? 0 : slot + 1;
        }
        slots[slot] = key;
    }
}

static void probe_table(size_t units)
{
    const uint64_t *slots = (const uint64_t *)(const void *)room;
    size_t count = room_bytes / sizeof *slots, found = 0;
    for (size_t i = 0; i < units * 64; i++) {
        uint64_t key = random_next() | 1;
        size_t slot = random_below(key, count);
        while (slots[slot] != 0 && slots[slot] != key) {
            slot = slot + 1 == count ? 0 : slot + 1;
        }
        found += slots[slot] == key;
    }
    workload_sink = found;
}

static void update(size_t units)
{
    uint64_t *counts = (uint64_t *)(void *)room;
    size_t count = room_bytes / sizeof *counts;
    for (size_t i = 0; i < units * 64; i++) {
        counts[random_below(random_next(), count)]++;
    }
}

static void prepare_sorted(void)
{
    uint32_t *numbers = (uint32_t *)(void *)room;
    for (size_t i = 0; i < room_bytes / sizeof *numbers; i++) {
        numbers[i] = (uint32_t)(i * 3);
    }
}

static void search(size_t units)
{
    const uint32_t *numbers = (const uint32_t *)(const void *)room;
    size_t count = room_bytes / sizeof *numbers, sum = 0;
    for (size_t i = 0; i < units * 16; i++) {
        uint32_t wanted = (uint32_t)random_below(random_next(), 3 * count);
        size_t low = 0, high = count;
        while (low < high) {
            size_t middle = low + (high - low) / 2;
            if (numbers[middle] < wanted) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        sum += low;
    }
    workload_sink = sum;
}

static void prepare_keys(void)
{
    uint32_t *keys = (uint32_t *)(void *)room;
    for (size_t i = 0; i < room_bytes / 2 / sizeof *keys; i++) {
        keys[i] = (uint32_t)random_next();
    }
}

/* A pass of a radix sort: reads in turn, writes to one of BUCKETS places that go on from there. */
static void scatter(size_t units)
{
    static size_t ends[BUCKETS];
    size_t half = room_bytes / 2,
           bucket_bytes = half / BUCKETS / sizeof(uint32_t) * sizeof(uint32_t);
    size_t size = half < 4096 ? half : 4096;
    for (size_t i = 0; i < units; i++) {
        const uint32_t *from = (const uint32_t *)(void *)(room + next_block(half, size));
        for (size_t k = 0; k < size / sizeof *from; k++) {
            size_t bucket = (from[k] * 2654435761u) >> 23; /* of BUCKETS */
            size_t end = ends[bucket] + LINE > bucket_bytes ? 0 : ends[bucket];
            *(uint32_t *)(void *)(room + half + bucket * bucket_bytes + end) = from[k];
            ends[bucket] = end + LINE; /* a record of a line for each key */
        }
    }
}

/* Half of the room holds columns, half the vector that they choose from. */
static void prepare_sparse(void)
{
    uint32_t *columns = (uint32_t *)(void *)room;
    size_t count = room_bytes / 2 / sizeof *columns;
    for (size_t i = 0; i < count; i++) {
        columns[i] = (uint32_t)random_below(random_next(), count);
    }
}

static void sparse_product(size_t units)
{
    size_t half = room_bytes / 2, size = SPARSE * 64 * sizeof(uint32_t);
    const float *vector = (const float *)(const void *)(room + half);
    float sum = 0;
    for (size_t i = 0; i < units; i++) {
        const uint32_t *columns = (const uint32_t *)(void *)(room + next_block(half, size));
        for (size_t row = 0; row < 64; row++) {
            for (size_t k = 0; k < SPARSE; k++) {
                sum += vector[columns[row * SPARSE + k]] * 0.5f;
            }
        }
    }
    workload_sink = (uint64_t)sum;
}

/* Trees as arrays: node i has the children 2i + 1 and 2i + 2. */
struct node {
    uint32_t feature;
    float threshold;
};

static void prepare_trees(void)
{
    struct node *nodes = (struct node *)(void *)room;
    for (size_t i = 0; i < room_bytes / sizeof *nodes; i++) {
        uint64_t random = random_next();
        nodes[i] = (struct node){(uint32_t)(random & 63), (float)(random >> 40) / (float)(1 << 24)};
    }
}

/* One tree after the other judges the same input, as a forest does. */
static void walk_trees(size_t units)
{
    static const size_t tree_nodes = ((size_t)1 << TREE_DEPTH) - 1;
    size_t trees = room_bytes / sizeof(struct node) / tree_nodes, sum = 0;
    for (size_t i = 0; i < units * 4; i++) {
        if (trees == 0) {
            return; /* a size that the trees do not fit into */
        }
        at = (at + 1) % trees;
        const struct node *tree = (const struct node *)(const void *)room + at * tree_nodes;
        uint64_t input = random_next();
        size_t node = 0;
        while (node < tree_nodes) {
            float feature =
                (float)((input >> (tree[node].feature % 40)) & 0xffffff) / (float)(1 << 24);
            node = 2 * node + (feature < tree[node].threshold ? 1 : 2);
        }
        sum += node;
    }
    workload_sink = sum;
}

/* ---- by the kernel ---- */

static void fault_pages(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        uint8_t *pages =
            mmap(NULL, FAULT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages == MAP_FAILED) {
            return; /* an inference that fails is no shorter than others */
        }
        (void)madvise(pages, FAULT_BYTES, MADV_NOHUGEPAGE);
        for (size_t k = 0; k < FAULT_BYTES; k += 4096) {
            pages[k] = 1;
        }
        (void)munmap(pages, FAULT_BYTES);
    }
}

/* Memory that is given back and taken again, as an allocator does that trims. */
static void fault_again(size_t units)
{
    for (size_t i = 0; i < units; i++) {
        uint8_t *pages = room + next_block(room_bytes, BLOCK);
        (void)madvise(pages, BLOCK, MADV_DONTNEED);
        for (size_t k = 0; k < BLOCK; k += 4096) {
            pages[k] = 1;
        }
    }
}

#define MEMORY(name_, size_, run_, ms_, argument_)                                                 \
    {                                                                                              \
        .name = name_, .truth = "memory_bound", .argument = argument_, .size = size_,              \
        .parts = {{run_, ms_}},                                                                    \
    }

#define MEMORY_BUILT(name_, prepare_, run_, ms_, argument_)                                        \
    {                                                                                              \
        .name = name_, .truth = "memory_bound", .argument = argument_, .size = SIZE_DRAM,          \
        .prepare = prepare_, .parts = {{run_, ms_}},                                               \
    }

#define IN_CACHE(name_, size_, prepare_, run_, ms_, argument_)                                     \
    {                                                                                              \
        .name = name_, .truth = "compute_bound", .argument = argument_, .size = size_,             \
        .prepare = prepare_, .parts = {{run_, ms_}},                                               \
    }

#define BETWEEN(name_, prepare_, run_, ms_)                                                        \
    {                                                                                              \
        .name = name_, .truth = "unknown", .reason = "mixed",                                      \
        .also = "compute_bound,memory_bound",                                                      \
        .argument = "lies in the last level, which is shared: what it waits for depends on the "   \
                    "neighbours, so either class can be defended",                                 \
        .size = SIZE_L3, .prepare = prepare_, .parts = {{run_, ms_}},                              \
    }

const struct workload memory_workloads[] = {
    MEMORY("sum-dram", SIZE_DRAM, memory_sum, 5,
           "one addition for each 8 bytes, all from memory: 8 times what they take in the first "
           "level"),
    MEMORY(
        "copy-dram", SIZE_DRAM, copy, 8,
        "STREAM copy, one addition for 16 bytes moved: 5 times what it takes in the first level"),
    MEMORY("triad-dram", SIZE_DRAM, triad, 6,
           "STREAM triad, two operations for 24 bytes moved: 5 times what it takes in the first "
           "level"),
    MEMORY("memcpy-dram", SIZE_DRAM, copy_libc, 10,
           "only moves bytes: 5 times what it takes in the first level"),
    MEMORY("memset-dram", SIZE_DRAM, set_libc, 10,
           "only writes bytes: 3 times what it takes in the first level"),
    MEMORY("gemv-dram", SIZE_DRAM, matrix_vector, 12,
           "two operations for each 4 bytes of a matrix: 4 times what they take in the first "
           "level"),
    MEMORY("column-dram", SIZE_DRAM, column, 10,
           "one addition for each line, which nothing fetches ahead: 10 times what it takes in the "
           "first level"),
    MEMORY_BUILT("chase-dram", memory_prepare_chase, memory_chase, 5,
                 "each load waits for the one before: 19 times what it does in the second level"),
    MEMORY(
        "gather-dram", SIZE_DRAM, gather, 4,
        "rows at random, 64 additions for four lines: 9 times what they take in the second level"),
    MEMORY_BUILT("probe-dram", prepare_table, probe_table, 6,
                 "a line at random for each key: 4 times what it takes in the first level"),
    MEMORY("update-dram", SIZE_DRAM, update, 6,
           "a line read and written for each addition: 8 times what it takes in the second level"),
    MEMORY_BUILT("search-dram", prepare_sorted, search, 5,
                 "the last steps of each search miss: 9 times what it takes in the second level"),
    MEMORY_BUILT(
        "scatter-dram", prepare_keys, scatter, 6,
        "each key is written to a line of its own: 3.5 times what it takes in the first level"),
    MEMORY_BUILT("sparse-dram", prepare_sparse, sparse_product, 8,
                 "a line at random for each product: 10 times what it takes in the second level"),
    MEMORY_BUILT("trees-dram", prepare_trees, walk_trees, 5,
                 "the lower nodes of each tree miss: 3.5 times what they take in the second level"),
    {.name = "chase-huge",
     .truth = "memory_bound",
     .argument = "each load waits for the one before: 12 times what it does in the second level; "
                 "in huge pages",
     .size = SIZE_DRAM,
     .huge = true,
     .prepare = memory_prepare_chase,
     .parts = {{memory_chase, 5}}},
    {.name = "sum-huge",
     .truth = "memory_bound",
     .argument = "one addition for each 8 bytes, all from memory: 6 times what it takes in the "
                 "first level; huge pages",
     .size = SIZE_DRAM,
     .huge = true,
     .parts = {{memory_sum, 5}}},
    {.name = "fault-storm",
     .truth = "memory_bound",
     .argument = "maps, touches and unmaps: its time is the kernel's, for pages of memory",
     .parts = {{fault_pages, 4}}},
    {.name = "fault-again",
     .truth = "memory_bound",
     .argument =
         "gives pages back and takes them again: its time is the kernel's, for pages of memory",
     .size = SIZE_L3,
     .parts = {{fault_again, 4}}},
    IN_CACHE("sum-l1", SIZE_L1, NULL, memory_sum, 3, "never leaves the first level"),
    IN_CACHE("copy-l2", SIZE_L2, NULL, copy, 3, "never leaves the second level"),
    IN_CACHE("triad-l2", SIZE_L2, NULL, triad, 3, "never leaves the second level"),
    IN_CACHE("gemv-l2", SIZE_L2, NULL, matrix_vector, 4, "never leaves the second level"),
    IN_CACHE("chase-l2", SIZE_L2, memory_prepare_chase, memory_chase, 4,
             "never leaves the second level"),
    IN_CACHE("gather-l2", SIZE_L2, NULL, gather, 4, "never leaves the second level"),
    IN_CACHE("probe-l2", SIZE_L2, prepare_table, probe_table, 4, "never leaves the second level"),
    IN_CACHE("trees-l2", SIZE_L2, prepare_trees, walk_trees, 4, "never leaves the second level"),
    BETWEEN("sum-l3", NULL, memory_sum, 4),
    BETWEEN("copy-l3", NULL, copy, 4),
    BETWEEN("chase-l3", memory_prepare_chase, memory_chase, 4),
    BETWEEN("gather-l3", NULL, gather, 4),
    {.name = NULL},
};
