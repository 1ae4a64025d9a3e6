#include "core/metric_name.h"

#include "base/err.h"
#include "base/name.h"

/* Spellings of units: UCUM's, which OpenTelemetry uses, and what people write. */
static const struct unit {
    struct str spelling;
    struct str base; /* as a suffix; empty: none */
    double scale;    /* to the base unit */
} units[] = {
#define U(spelling, base, scale)                                                                   \
    {                                                                                              \
        {spelling, sizeof spelling - 1}, {base, sizeof base - 1}, scale                            \
    }
    U("s", "seconds", 1),
    U("second", "seconds", 1),
    U("seconds", "seconds", 1),
    U("ms", "seconds", 1e-3),
    U("millisecond", "seconds", 1e-3),
    U("milliseconds", "seconds", 1e-3),
    U("us", "seconds", 1e-6),
    U("µs", "seconds", 1e-6),
    U("microsecond", "seconds", 1e-6),
    U("microseconds", "seconds", 1e-6),
    U("ns", "seconds", 1e-9),
    U("nanosecond", "seconds", 1e-9),
    U("nanoseconds", "seconds", 1e-9),
    U("min", "seconds", 60),
    U("h", "seconds", 3600),
    U("d", "seconds", 86400),
    U("By", "bytes", 1),
    U("B", "bytes", 1),
    U("byte", "bytes", 1),
    U("bytes", "bytes", 1),
    U("KiBy", "bytes", 0x1p10),
    U("KiB", "bytes", 0x1p10),
    U("MiBy", "bytes", 0x1p20),
    U("MiB", "bytes", 0x1p20),
    U("MB", "bytes", 0x1p20), /* as everywhere in dwell */
    U("GiBy", "bytes", 0x1p30),
    U("GiB", "bytes", 0x1p30),
    U("%", "percent", 1),
    U("Cel", "celsius", 1),
    U("Hz", "hertz", 1),
    U("V", "volts", 1),
    U("A", "amperes", 1),
    U("J", "joules", 1),
    U("W", "watts", 1),
    U("g", "grams", 1),
    U("m", "meters", 1),
    U("1", "", 1),
#undef U
};

static const struct unit *find_unit(struct str spelling)
{
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (str_equal(units[i].spelling, spelling)) {
            return &units[i];
        }
    }
    return NULL;
}

/* How much of `text` stands before an underscore, or a character that becomes one, and `end`; 0 when
 * it does not end so, or nothing stands there. */
static size_t stem_of(struct str text, struct str end)
{
    if (end.len == 0 || text.len <= end.len + 1 ||
        memcmp(text.ptr + text.len - end.len, end.ptr, end.len) != 0) {
        return 0;
    }
    size_t len = text.len - end.len - 1;
    if (text.ptr[len] != '_' && name_takes(text.ptr[len])) {
        return 0;
    }
    while (len > 0 && ((unsigned char)text.ptr[len] & 0xC0) == 0x80) {
        len--; /* to the first byte of the character */
    }
    return len;
}

static bool has_suffix(struct str text, struct str end)
{
    return stem_of(text, end) > 0;
}

static void strip(struct str *text, struct str end)
{
    size_t stem = stem_of(*text, end);
    text->len = stem > 0 ? stem : text->len;
}

/* A unit that is in no table, as a suffix: there it may begin with a digit. What UCUM has in braces is a
 * remark. */
static struct str own_unit(struct str spelling, char out[RECORD_UNIT_MAX + 1])
{
    if (spelling.len == 0 || spelling.ptr[0] == '{') {
        return (struct str){out, 0};
    }
    size_t len = name_sanitise(spelling, out);
    size_t extra = spelling.ptr[0] >= '0' && spelling.ptr[0] <= '9';
    return (struct str){out + extra, len - extra};
}

int metric_name_make(struct str name, struct str unit, enum metric_op op, struct metric_name *ret)
{
    char unit_text[RECORD_UNIT_MAX + 1];
    if (name.len == 0 || name.len > RECORD_NAME_MAX || unit.len > RECORD_UNIT_MAX ||
        !name_is_text(name) || !name_is_text(unit)) {
        return ERR_NAME;
    }
    unit.len = op == METRIC_INFO ? 0 : unit.len; /* OpenMetrics: an info has none */
    const struct unit *known = find_unit(unit);
    struct str base = known != NULL ? known->base : own_unit(unit, unit_text);
    strip(&name, STR_LITERAL("total"));
    if (op == METRIC_INFO) {
        strip(&name, STR_LITERAL("info"));
    }
    if (!has_suffix(name, base)) {
        strip(&name, unit);
    }
    ret->scale = known == NULL ? 1 : known->scale;
    ret->source_len = name.len;
    memcpy(ret->source, name.ptr, name.len);
    ret->len = name_sanitise(name, ret->text);
    ret->unit_len = base.len;
    if (base.len > 0 && !has_suffix(name, base)) {
        ret->text[ret->len++] = '_';
        memcpy(ret->text + ret->len, base.ptr, base.len);
        ret->len += base.len;
        ret->source[ret->source_len++] = '_';
        memcpy(ret->source + ret->source_len, base.ptr, base.len);
        ret->source_len += base.len;
    }
    return ret->len == 0 ? ERR_NAME : 0;
}
