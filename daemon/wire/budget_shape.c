#include "wire/budget_shape.h"

#include "base/num.h"
#include "wire/lexer.h"

enum kind { KIND_LAYER, KIND_ELAPSED, KIND_OPERATION, KIND_REQUEST, KIND_COUNT };
_Static_assert((int)KIND_COUNT == (int)BUDGET_SHAPE_VALUES, "one each");

enum { LEARN_EVERY = 16 }; /* lines of other looks, as in wire/line_shape */

static const char elapsed_key[] = "\"elapsed_ms\"";

/* --- reading ----------------------------------------------------------------------------------- */

static inline bool has_between(const struct budget_shape *shape, unsigned i, const char *at,
                               const char *newline)
{
    return newline - at >= shape->len[i] && str_same(at, shape->between[i], shape->len[i]);
}

/* A figure that begins with a digit and looks usual; returns what follows, or NULL. */
static inline const char *read_elapsed(const char *at, const char *newline, double *ret_ms)
{
    double ms = 0;
    at = newline - at >= NUM_WIDE_BYTES ? num_scan_wide(at, &ms) : num_scan_usual(at, newline, &ms);
    *ret_ms = ms;
    return ms <= RECORD_MS_MAX ? at : NULL;
}

/* A text without escapes; returns its closing quote, or NULL. */
static inline const char *read_text(const char *at, const char *newline, struct str *ret_text)
{
    const char *stop = lexer_skip_plain(at, newline);
    *ret_text = (struct str){at, (size_t)(stop - at)};
    return *stop == '"' && stop - at <= RECORD_NAME_MAX ? stop : NULL;
}

static inline const char *read_value(unsigned kind, const char *at, const char *newline,
                                     struct budget *budget)
{
    switch (kind) {
    case KIND_LAYER:
        at = read_text(at, newline, &budget->layer);
        return budget->layer.len > 0 ? at : NULL;
    case KIND_ELAPSED:
        return read_elapsed(at, newline, &budget->elapsed_ms);
    case KIND_OPERATION:
        return read_text(at, newline, &budget->operation);
    default:
        return read_text(at, newline, &budget->request_id);
    }
}

bool budget_shape_read(const struct budget_shape *shape, const char *start, const char *newline,
                       struct budget *ret_budget)
{
    const char *at = start;
    if (shape->count == 0) {
        return false;
    }
    ret_budget->operation = ret_budget->request_id = (struct str){NULL, 0};
    ret_budget->has = 0;
    for (unsigned i = 0; i < shape->count; i++) {
        if (!has_between(shape, i, at, newline)) {
            return false;
        }
        at = read_value(shape->kind[i], at + shape->len[i], newline, ret_budget);
        if (at == NULL) {
            return false;
        }
    }
    return newline - at == shape->len[shape->count] &&
           has_between(shape, shape->count, at, newline);
}

/* --- learning ---------------------------------------------------------------------------------- */

struct extent {
    const char *from, *to; /* NULL: it is not in the line */
};

static struct extent extent_of(struct str text)
{
    return text.len == 0 ? (struct extent){NULL, NULL}
                         : (struct extent){text.ptr, text.ptr + text.len};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Where the digits of elapsed_ms are. Texts hold no quotes, and no text is followed by a colon but a key:
 * what looks like this key is it. A figure that goes on, as one with an exponent does, is none that can
 * be compared. */
static struct extent find_elapsed(const char *start, const char *newline)
{
    const struct extent none = {NULL, NULL};
    const size_t len = sizeof elapsed_key - 1;
    for (const char *at = start; (size_t)(newline - at) > len; at++) {
        if (memcmp(at, elapsed_key, len) != 0) {
            continue;
        }
        const char *value = at + len;
        while (is_blank(*value)) {
            value++;
        }
        if (*value != ':') {
            continue;
        }
        do {
            value++;
        } while (is_blank(*value));
        const char *end = value;
        while ((*end >= '0' && *end <= '9') || *end == '.') {
            end++;
        }
        bool ends = *end == ',' || *end == '}' || *end == '\r' || is_blank(*end);
        return end > value && ends ? (struct extent){value, end} : none;
    }
    return none;
}

/* The value that comes next from `at` on; KIND_COUNT: none does. */
static unsigned find_next(const struct extent extents[KIND_COUNT], const char *at)
{
    unsigned next = KIND_COUNT;
    for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
        bool comes = extents[kind].from != NULL && extents[kind].from >= at;
        if (comes && (next == KIND_COUNT || extents[kind].from < extents[next].from)) {
            next = kind;
        }
    }
    return next;
}

/* Keeps the bytes [from, to) as those before value `i`; false when they are too many. */
static bool keep_between(struct budget_shape *shape, unsigned i, const char *from, const char *to)
{
    if (to - from > BUDGET_SHAPE_BETWEEN) {
        return false;
    }
    shape->len[i] = (uint8_t)(to - from);
    memcpy(shape->between[i], from, shape->len[i]);
    return true;
}

static bool learn(struct budget_shape *shape, const char *start, const char *newline,
                  const struct extent extents[KIND_COUNT])
{
    const char *from = start;
    unsigned count = 0;
    unsigned kind = find_next(extents, from);
    for (; kind != KIND_COUNT; kind = find_next(extents, from)) {
        if (!keep_between(shape, count, from, extents[kind].from)) {
            return false;
        }
        shape->kind[count++] = (uint8_t)kind;
        from = extents[kind].to;
    }
    shape->count = (uint8_t)count;
    return keep_between(shape, count, from, newline);
}

void budget_shape_learn(struct budget_shape *shape, const char *start, const char *newline,
                        const struct budget *budget)
{
    if (shape->misses++ % LEARN_EVERY != 0) {
        return;
    }
    const struct extent extents[KIND_COUNT] = {
        [KIND_LAYER] = extent_of(budget->layer),
        [KIND_ELAPSED] = find_elapsed(start, newline),
        [KIND_OPERATION] = extent_of(budget->operation),
        [KIND_REQUEST] = extent_of(budget->request_id),
    };
    if (extents[KIND_ELAPSED].from == NULL || !learn(shape, start, newline, extents)) {
        shape->count = 0;
    }
}
