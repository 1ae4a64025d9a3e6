#include "render/form.h"

#include <assert.h>
#include <math.h>

#include "base/num.h"
#include "render/form_message.h"
#include "render/form_text.h"

const struct form *const forms[] = {
    [EXPOSITION_TEXT] = &form_text,
    [EXPOSITION_OPENMETRICS] = &form_openmetrics,
    [EXPOSITION_PROTOBUF] = &form_message,
};

_Static_assert(sizeof forms / sizeof forms[0] == EXPOSITION_FORMAT_COUNT, "one each");
_Static_assert((int)FORM_NUMBER_MAX > (int)NUM_DOUBLE_MAX, "a number and a line end");

size_t form_write_bound(double bound, char out[FORM_BOUND_MAX])
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

void form_bounds(const double *bounds, uint32_t count, double unit, struct form_bound *ret)
{
    for (uint32_t i = 0; i <= count; i++) {
        char *at = ret[i].text;
        ret[i].bound = i < count ? bounds[i] / unit : (double)INFINITY;
        *at++ = ',';
        at += form_write_bound(ret[i].bound, at);
        *at++ = '}';
        *at++ = ' ';
        ret[i].len = (uint32_t)(at - ret[i].text);
    }
}

struct str form_suffix(enum family_type type)
{
    static const struct str suffixes[] = {{"_total", 6}, {"", 0}, {"", 0}, {"_info", 5}, {"", 0}};
    _Static_assert(sizeof suffixes / sizeof suffixes[0] == FAMILY_TYPE_COUNT, "one each");
    return suffixes[type];
}

struct str form_help(const struct family_shape *shape)
{
    static const char *const usual[] = {"Counted by clients.", "Set by clients.",
                                        "Observed by clients.", "Said by clients.",
                                        "Distinct values that clients sent, in the window."};
    _Static_assert(sizeof usual / sizeof usual[0] == FAMILY_TYPE_COUNT, "one each");
    return shape->help.len > 0 ? shape->help : str_of(usual[shape->type]);
}

static bool ends_in(struct str text, struct str end)
{
    return text.len >= end.len && memcmp(text.ptr + text.len - end.len, end.ptr, end.len) == 0;
}

struct family_shape form_shape(enum family_type type, struct str name, const char *help)
{
    static const struct {
        struct str end;
        struct str unit;
    } units[] = {
        {{"_seconds", 8}, {"seconds", 7}},
        {{"_bytes", 6}, {"bytes", 5}},
        {{"_ratio", 6}, {"ratio", 5}},
    };
    struct family_shape shape = {
        .type = type, .name = name, .help = str_of(help), .declared = true};
    assert(ends_in(name, form_suffix(type)));
    shape.name.len -= form_suffix(type).len;
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (ends_in(shape.name, units[i].end)) {
            shape.unit = units[i].unit;
        }
    }
    return shape;
}
