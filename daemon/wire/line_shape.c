#include "wire/line_shape.h"

#include "base/num.h"
#include "wire/lexer.h"

enum kind { KIND_NAME, KIND_MS, KIND_CPU, KIND_MEMORY, KIND_COUNT };

enum {
    LEARN_EVERY = 16
}; /* lines of other looks: where looks take turns, learning would not pay */

/* What stands in a usual sample: its key, its largest figure, its part. */
static const struct {
    struct str key;
    double max;
    uint32_t part;
} values[] = {
    [KIND_NAME] = {{"model_name", 10}, 0, 0},
    [KIND_MS] = {{"execution_time_ms", 17}, RECORD_MS_MAX, 0},
    [KIND_CPU] = {{"cpu_percent_during", 18}, RECORD_PERCENT_MAX, 1U << SAMPLE_CPU_DURING},
    [KIND_MEMORY] = {{"memory_mb_after", 15}, RECORD_MB_MAX, 1U << SAMPLE_MEMORY_AFTER},
};
_Static_assert(sizeof values / sizeof values[0] == KIND_COUNT &&
                   (int)KIND_COUNT == (int)LINE_SHAPE_VALUES,
               "one each");

static inline double *figure_of(struct brief *brief, unsigned kind)
{
    return kind == KIND_MS    ? &brief->execution_time_ms
           : kind == KIND_CPU ? &brief->cpu_percent_during
                              : &brief->memory_mb_after;
}

/* A figure that begins with a digit and looks usual; returns what follows, or NULL. */
static inline const char *read_figure(const char *at, const char *newline, unsigned kind,
                                      struct brief *brief)
{
    double figure = 0;
    at = newline - at >= NUM_WIDE_BYTES ? num_scan_wide(at, &figure)
                                        : num_scan_usual(at, newline, &figure);
    *figure_of(brief, kind) = figure;
    return figure <= values[kind].max ? at : NULL;
}

/* A name without escapes; returns its closing quote, or NULL. */
static inline const char *read_name(const char *at, const char *newline, struct brief *brief)
{
    const char *stop = lexer_skip_plain(at, newline);
    brief->model_name = (struct str){at, (size_t)(stop - at)};
    return *stop == '"' && stop > at && stop - at <= RECORD_NAME_MAX ? stop : NULL;
}

static inline bool has_between(const struct line_shape *shape, unsigned i, const char *at,
                               const char *newline)
{
    return newline - at >= shape->len[i] && str_same(at, shape->between[i], shape->len[i]);
}

bool line_shape_read(const struct line_shape *shape, const char *start, const char *newline,
                     struct brief *ret_brief)
{
    const char *at = start;
    for (unsigned i = 0; i < shape->count; i++) {
        if (!has_between(shape, i, at, newline)) {
            return false;
        }
        at += shape->len[i];
        at = shape->kind[i] == KIND_NAME ? read_name(at, newline, ret_brief)
                                         : read_figure(at, newline, shape->kind[i], ret_brief);
        if (at == NULL) {
            return false;
        }
    }
    ret_brief->model_ref = 0;
    ret_brief->has = shape->has;
    return shape->count > 0 && newline - at == shape->len[shape->count] &&
           has_between(shape, shape->count, at, newline);
}

/* Keeps the bytes [from, to) as those before value `i`; false when they are too many. */
static bool keep_between(struct line_shape *shape, unsigned i, const char *from, const char *to)
{
    if (to - from > LINE_SHAPE_BETWEEN) {
        return false;
    }
    shape->len[i] = (uint8_t)(to - from);
    memcpy(shape->between[i], from, shape->len[i]);
    return true;
}

/* The value whose key stands at `at`, which is past its first quote; KIND_COUNT: none of these. */
static unsigned find_kind(const char *at, const char *newline)
{
    unsigned kind = 0;
    for (; kind < KIND_COUNT; kind++) {
        struct str key = values[kind].key;
        if ((size_t)(newline - at) > key.len && memcmp(at, key.ptr, key.len) == 0 &&
            at[key.len] == '"') {
            break;
        }
    }
    return kind;
}

static const char *find(const char *at, const char *newline, char c)
{
    const char *found = memchr(at, c, (size_t)(newline - at));
    return found == NULL ? newline : found;
}

/* Where the next value begins, from the quote before its key on: behind the quote of a name, at the
 * first digit of a figure. NULL when it is none of the usual ones. */
static const char *find_value(const char *quote, const char *newline, unsigned *ret_kind)
{
    *ret_kind = quote == newline ? KIND_COUNT : find_kind(quote + 1, newline);
    if (*ret_kind == KIND_COUNT) {
        return NULL;
    }
    const char *at = find(quote, newline, ':');
    do {
        at++;
    } while (at < newline && (*at == ' ' || *at == '\t'));
    bool good = *ret_kind == KIND_NAME ? *at == '"' : *at >= '0' && *at <= '9';
    return good ? at + (*ret_kind == KIND_NAME) : NULL;
}

/* Where a value ends: at the quote, or behind the digits of a figure. NULL when the figure goes on, as
 * one with an exponent does: what is compared must not be a part of a value. */
static const char *find_end(const char *at, const char *newline, unsigned kind)
{
    if (kind == KIND_NAME) {
        return find(at, newline, '"');
    }
    while ((*at >= '0' && *at <= '9') || *at == '.') {
        at++;
    }
    return *at == ',' || *at == '}' || *at == ' ' || *at == '\t' || *at == '\r' ? at : NULL;
}

static bool learn(struct line_shape *shape, const char *start, const char *newline)
{
    const char *from = start;
    unsigned kind;
    shape->has = 0;
    for (unsigned i = 0; i < LINE_SHAPE_VALUES; i++) {
        /* A name ends with a quote, which is not the one before the next key. */
        const char *quote = find(from + (i > 0 && *from == '"'), newline, '"');
        const char *value = find_value(quote, newline, &kind);
        if (value == NULL || !keep_between(shape, i, from, value)) {
            return false;
        }
        shape->kind[i] = (uint8_t)kind;
        shape->has |= values[kind].part;
        shape->count = (uint8_t)(i + 1);
        from = find_end(value, newline, kind);
        if (from == NULL) {
            return false;
        }
        if (find(from, newline, ':') == newline) {
            return keep_between(shape, i + 1, from, newline);
        }
    }
    return false;
}

void line_shape_learn(struct line_shape *shape, const char *start, const char *newline)
{
    if (shape->misses++ % LEARN_EVERY == 0 && !learn(shape, start, newline)) {
        shape->count = 0;
    }
}
