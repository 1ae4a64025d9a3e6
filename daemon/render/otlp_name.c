#include "render/otlp_name.h"

static const struct unit {
    struct str word;
    struct str ucum;
} units[] = {
#define U(word, ucum)                                                                              \
    {                                                                                              \
        {word, sizeof word - 1},                                                                   \
        {                                                                                          \
            ucum, sizeof ucum - 1                                                                  \
        }                                                                                          \
    }
    U("seconds", "s"),   U("bytes", "By"), U("percent", "%"), U("ratio", "1"),
    U("celsius", "Cel"), U("hertz", "Hz"), U("volts", "V"),   U("amperes", "A"),
    U("joules", "J"),    U("watts", "W"),  U("grams", "g"),   U("meters", "m"),
#undef U
};

#define RATIO (&units[3])

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == ':';
}

/* Whether the text, which may be empty, has the word as one of its words. */
static bool has_word(struct str text, struct str word)
{
    for (size_t at = 0; at < text.len;) {
        size_t end = at;
        while (end < text.len && is_word_char(text.ptr[end])) {
            end++;
        }
        if (str_equal((struct str){text.ptr + at, end - at}, word)) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

/* What stands before the word at the end and one separator; the whole text when it does not end so. */
static struct str stem_of(struct str text, struct str word)
{
    size_t end = word.len + 1;
    bool ends = text.len > end && !is_word_char(text.ptr[text.len - end]) &&
                memcmp(text.ptr + text.len - word.len, word.ptr, word.len) == 0;
    return (struct str){text.ptr, ends ? text.len - end : text.len};
}

/* What goes up and down. */
static bool is_level(enum family_type type)
{
    return type == FAMILY_GAUGE || type == FAMILY_SET;
}

/* The unit whose word the name ends with, or NULL. */
static const struct unit *find_unit(const struct family_shape *shape)
{
    for (size_t i = 0; shape->type != FAMILY_INFO && i < sizeof units / sizeof units[0]; i++) {
        const struct unit *unit = &units[i];
        struct str stem = stem_of(shape->name, unit->word);
        bool cut = stem.len < shape->name.len;
        if (cut && unit == RATIO && (!is_level(shape->type) || has_word(stem, unit->word))) {
            return NULL;
        }
        if (cut) {
            return unit;
        }
    }
    return NULL;
}

struct str otlp_name_unit(const struct family_shape *shape)
{
    const struct unit *unit = find_unit(shape);
    bool counts = shape->type == FAMILY_COUNTER || shape->type == FAMILY_HISTOGRAM;
    return unit != NULL ? unit->ucum : counts ? STR_LITERAL("1") : STR_LITERAL("");
}

/* One "_" for each character that OpenTelemetry's names do not have. */
static void append_clean(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool good = (is_word_char(c) && c != ':') || c == '_' || c == '.' || c == '-' || c == '/';
        bool continues = ((unsigned char)c & 0xC0) == 0x80; /* of one character */
        if (good) {
            buf_char(out, c);
        } else if (!continues) {
            buf_char(out, '_');
        }
    }
}

void otlp_name_prefix(struct str name_space, struct str service, struct buf *out)
{
    append_clean(name_space, out);
    buf_puts(out, name_space.len > 0 ? "." : "");
    append_clean(service, out);
    buf_char(out, '.');
}

void otlp_name_render(const struct family_shape *shape, struct str prefix, struct buf *out)
{
    const struct unit *unit = find_unit(shape);
    struct str name = shape->declared ? shape->name : shape->source;
    if (unit != NULL) {
        struct str stem = stem_of(name, unit->word);
        name = has_word(stem, unit->word) ? name : stem;
    }
    if (shape->declared) {
        buf_str(out, name);
    } else {
        buf_str(out, prefix);
        append_clean(name, out);
    }
    buf_puts(out, shape->type == FAMILY_INFO ? "_info" : "");
}
