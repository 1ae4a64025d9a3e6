#include "core/family.h"

#include <math.h>
#include <stddef.h>

#include "base/mem.h"

const char *const family_suffixes[FAMILY_TYPE_COUNT][FAMILY_SUFFIXES + 1] = {
    [FAMILY_COUNTER] = {"_total", "_created", NULL},
    [FAMILY_GAUGE] = {"", NULL},
    [FAMILY_HISTOGRAM] = {"_bucket", "_sum", "_count", "_created", NULL},
    [FAMILY_INFO] = {"_info", NULL},
    [FAMILY_SET] = {"", NULL},
};

enum family_type family_type_of(enum metric_op op)
{
    static const enum family_type types[] = {
        [METRIC_COUNT] = FAMILY_COUNTER, [METRIC_SET] = FAMILY_GAUGE,
        [METRIC_ADD] = FAMILY_GAUGE,     [METRIC_OBSERVE] = FAMILY_HISTOGRAM,
        [METRIC_INFO] = FAMILY_INFO,     [METRIC_MEMBER] = FAMILY_SET,
    };
    _Static_assert(sizeof types / sizeof types[0] == METRIC_OP_COUNT, "one each");
    return types[op];
}

/* Half a millisecond to ten seconds; 256 bytes to a gibibyte; and what is left from 1 to a million. */
static const struct family_bounds seconds = {
    14, {.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}};
static const struct family_bounds bytes = {12,
                                           {0x1p8, 0x1p10, 0x1p12, 0x1p14, 0x1p16, 0x1p18, 0x1p20,
                                            0x1p22, 0x1p24, 0x1p26, 0x1p28, 0x1p30}};
static const struct family_bounds others = {
    15, {1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 100000, 1000000}};

const struct family_bounds *family_usual_bounds(struct str unit)
{
    return str_is(unit, "seconds") ? &seconds : str_is(unit, "bytes") ? &bytes : &others;
}

static char *keep(char *at, struct str text, struct str *ret_kept)
{
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    *ret_kept = (struct str){at, text.len};
    return at + text.len;
}

static size_t text_bytes(const struct family_shape *shape)
{
    size_t bytes_needed = shape->name.len + shape->source.len + shape->help.len + shape->unit.len;
    for (uint32_t i = 0; i < shape->label_count; i++) {
        bytes_needed += shape->labels[i].len;
    }
    return bytes_needed;
}

static void fill_first(struct family *family)
{
    const struct family_shape *shape = &family->shape;
    unsigned below = 0;
    double lower = 0x1p-32; /* 2^FAMILY_EXPONENT_MIN */
    for (int i = 0; i < (int)FAMILY_EXPONENTS; i++, lower *= 2) {
        while (below < shape->bound_count && shape->bounds[below] < lower) {
            below++;
        }
        family->first[i] = (uint8_t)below;
    }
}

/* One piece of memory: the family, its bounds, its labels, all texts. */
struct family *family_new(const struct family_shape *shape, uint32_t number)
{
    size_t bounds_at = offsetof(struct family, bounds);
    size_t labels_at = bounds_at + (shape->bound_count + 1) * sizeof(double);
    size_t texts_at = labels_at + shape->label_count * sizeof(struct str);
    char *memory = mem_alloc(texts_at + text_bytes(shape) + 1);
    if (memory == NULL) {
        return NULL;
    }
    struct family *family = (struct family *)(void *)memory;
    struct str *labels = (struct str *)(void *)(memory + labels_at);
    char *at = memory + texts_at;
    *family = (struct family){.shape = *shape, .number = number};
    if (shape->bound_count > 0) {
        memcpy(family->bounds, shape->bounds, shape->bound_count * sizeof *family->bounds);
    }
    family->bounds[shape->bound_count] = INFINITY;
    for (uint32_t i = 0; i < shape->label_count; i++) {
        at = keep(at, shape->labels[i], &labels[i]);
    }
    family->shape.bounds = family->bounds;
    family->shape.labels = labels;
    at = keep(at, shape->name, &family->shape.name);
    at = keep(at, shape->source, &family->shape.source);
    at = keep(at, shape->help, &family->shape.help);
    (void)keep(at, shape->unit, &family->shape.unit);
    fill_first(family);
    return family;
}

void family_free(struct family *family)
{
    mem_free(family);
}
