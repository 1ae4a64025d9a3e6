#include "render/family.h"

#include <assert.h>

#include "base/num.h"

static const char *const type_words[EXPOSITION_FORMAT_COUNT][FAMILY_TYPE_COUNT] = {
    [EXPOSITION_TEXT] = {"counter", "gauge", "histogram", "gauge"},
    [EXPOSITION_OPENMETRICS] = {"counter", "gauge", "histogram", "info"},
};

static bool ends_in(struct str text, struct str end)
{
    return text.len >= end.len && memcmp(text.ptr + text.len - end.len, end.ptr, end.len) == 0;
}

/* OpenMetrics names a family without what its type adds to the names of its samples. */
static struct str family_name(enum family_type type, const char *name)
{
    struct str family = str_of(name);
    struct str end = type == FAMILY_COUNTER ? STR_LITERAL("_total")
                     : type == FAMILY_INFO  ? STR_LITERAL("_info")
                                            : STR_LITERAL("");
    assert(ends_in(family, end));
    family.len -= end.len;
    return family;
}

static const char *unit_of(struct str family)
{
    return ends_in(family, STR_LITERAL("_seconds")) ? "seconds"
           : ends_in(family, STR_LITERAL("_bytes")) ? "bytes"
           : ends_in(family, STR_LITERAL("_ratio")) ? "ratio"
                                                    : NULL;
}

static void render_line(const char *keyword, struct str prefix, struct str name, const char *rest,
                        struct buf *out)
{
    buf_puts(out, keyword);
    buf_str(out, prefix);
    buf_str(out, name);
    buf_char(out, ' ');
    buf_puts(out, rest);
    buf_char(out, '\n');
}

void family_render_head(enum exposition_format format, enum family_type type, struct str prefix,
                        const char *name, const char *help, struct buf *out)
{
    const char *type_word = type_words[format][type];
    if (format == EXPOSITION_TEXT) {
        render_line("# HELP ", prefix, str_of(name), help, out);
        render_line("# TYPE ", prefix, str_of(name), type_word, out);
        return;
    }
    struct str family = family_name(type, name);
    const char *unit = unit_of(family);
    render_line("# TYPE ", prefix, family, type_word, out);
    if (unit != NULL) {
        render_line("# UNIT ", prefix, family, unit, out);
    }
    render_line("# HELP ", prefix, family, help, out);
}

static void render_help(enum exposition_format format, struct str help, struct buf *out)
{
    for (size_t i = 0; i < help.len; i++) {
        char c = help.ptr[i];
        bool escaped = c == '\\' || c == '\n' || (c == '"' && format == EXPOSITION_OPENMETRICS);
        buf_puts(out, escaped ? "\\" : "");
        buf_char(out, c == '\n' ? 'n' : c);
    }
}

/* The name as HELP and TYPE have it. */
static void begin_shape_line(const char *keyword, enum exposition_format format,
                             const struct family_shape *shape, struct buf *out)
{
    static const char *const ends[] = {"_total ", " ", " ", "_info "};
    _Static_assert(sizeof ends / sizeof ends[0] == FAMILY_TYPE_COUNT, "one each");
    buf_puts(out, keyword);
    buf_str(out, shape->name);
    buf_puts(out, format == EXPOSITION_TEXT ? ends[shape->type] : " ");
}

static void render_shape_type(enum exposition_format format, const struct family_shape *shape,
                              struct buf *out)
{
    begin_shape_line("# TYPE ", format, shape, out);
    buf_puts(out, type_words[format][shape->type]);
    buf_char(out, '\n');
}

static void render_shape_help(enum exposition_format format, const struct family_shape *shape,
                              struct buf *out)
{
    static const char *const usual[] = {"Counted by clients.", "Set by clients.",
                                        "Observed by clients.", "Said by clients."};
    _Static_assert(sizeof usual / sizeof usual[0] == FAMILY_TYPE_COUNT, "one each");
    begin_shape_line("# HELP ", format, shape, out);
    render_help(format, shape->help.len > 0 ? shape->help : str_of(usual[shape->type]), out);
    buf_char(out, '\n');
}

void family_render_shape(enum exposition_format format, const struct family_shape *shape,
                         struct buf *out)
{
    if (format == EXPOSITION_TEXT) {
        render_shape_help(format, shape, out);
        render_shape_type(format, shape, out);
        return;
    }
    render_shape_type(format, shape, out);
    if (shape->unit.len > 0) {
        begin_shape_line("# UNIT ", format, shape, out);
        buf_str(out, shape->unit);
        buf_char(out, '\n');
    }
    render_shape_help(format, shape, out);
}

size_t family_write_bound(double bound, char out[FAMILY_BOUND_MAX])
{
    static const char open[] = "le=\"";
    memcpy(out, open, sizeof open - 1);
    char *number = out + sizeof open - 1;
    char *at = number + num_write_double(number, bound);
    bool whole = true;
    for (const char *digit = number; digit < at; digit++) {
        whole = whole && *digit >= '0' && *digit <= '9';
    }
    if (whole) {
        *at++ = '.';
        *at++ = '0';
    }
    *at++ = '"';
    return (size_t)(at - out);
}
