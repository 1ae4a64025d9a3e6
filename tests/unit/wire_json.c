#include "wire_json.h"

#include <errno.h>
#include <string.h>

struct wire_random wire_json_dice;

size_t wire_json_depth_of(const json_t *value)
{
    size_t deepest = 0;
    const char *key;
    json_t *member;
    size_t index;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, key, member)
        {
            size_t depth = wire_json_depth_of(member);
            deepest = depth > deepest ? depth : deepest;
        }
        return deepest + 1;
    }
    if (json_is_array(value)) {
        json_array_foreach(value, index, member)
        {
            size_t depth = wire_json_depth_of(member);
            deepest = depth > deepest ? depth : deepest;
        }
        return deepest + 1;
    }
    return 0;
}

/* The value of a key, NULL when it is absent or null. */
const json_t *wire_json_get(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_null(value) ? NULL : value;
}

struct str wire_json_text_of(const json_t *value)
{
    return (struct str){json_string_value(value), json_string_length(value)};
}

/* True when the key is absent, or a text of min to max bytes. */
bool wire_json_take_text(const json_t *object, const char *key, size_t min, size_t max,
                         struct str *ret_text)
{
    const json_t *value = wire_json_get(object, key);
    if (value == NULL) {
        return true;
    }
    *ret_text = wire_json_text_of(value);
    return json_is_string(value) && ret_text->len >= min && ret_text->len <= max;
}

bool wire_json_take_id(const json_t *object, const char *key, uint8_t *id, size_t bytes,
                       bool *ret_has)
{
    struct str text = {NULL, 0};
    *ret_has = wire_json_get(object, key) != NULL;
    if (!wire_json_take_text(object, key, 2 * bytes, 2 * bytes, &text)) {
        return false;
    }
    if (strspn(text.ptr != NULL ? text.ptr : "", "0123456789abcdefABCDEF") != text.len) {
        return false;
    }
    for (size_t i = 0; i < text.len / 2; i++) {
        char pair[3] = {text.ptr[2 * i], text.ptr[2 * i + 1], '\0'};
        id[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return true;
}

bool wire_json_take_count(const json_t *object, const char *key, uint64_t *ret_count, bool *ret_has)
{
    const json_t *value = wire_json_get(object, key);
    *ret_has = value != NULL;
    if (value == NULL) {
        return true;
    }
    if (json_is_integer(value)) {
        *ret_count = (uint64_t)json_integer_value(value);
        return json_integer_value(value) >= 0;
    }
    struct str text = wire_json_text_of(value);
    if (!json_is_string(value) || text.len == 0 || strspn(text.ptr, "0123456789") != text.len) {
        return false;
    }
    errno = 0;
    *ret_count = strtoull(text.ptr, NULL, 10);
    return errno == 0;
}

/* The library's integers have 63 bits, ours are read from digits: such lines are read once more with
 * all numbers as doubles, which is right where no integer is asked for. */
json_t *wire_json_load(struct str line, bool *ret_doubles)
{
    json_error_t error;
    *ret_doubles = false;
    json_t *object = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        *ret_doubles = true;
        object = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL,
                            &error);
    }
    return object;
}

void wire_put(struct wire_line *line, const char *text)
{
    size_t len = strlen(text);
    WIRE_REQUIRE(line->len + len < WIRE_LINE_MAX);
    memcpy(line->bytes + line->len, text, len);
    line->len += len;
}

const char *wire_json_pick(const char *const *texts, size_t count)
{
    return texts[wire_random_below(&wire_json_dice, count)];
}

void wire_put_blanks(struct wire_line *line)
{
    if (once_in(10)) {
        wire_put(line, PICK(" ", "\t", "  ", "\r", " \t "));
    }
}

void wire_put_text(struct wire_line *line)
{
    wire_put(line, "\"");
    for (size_t i = wire_random_below(&wire_json_dice, once_in(20) ? 90 : 6); i > 0; i--) {
        if (once_in(4)) {
            wire_put(line, PICK("\\n", "\\\"", "\\\\", "\\/", "\\u0041", "\\u00e9", "\\u20AC",
                                "\\ud83d\\ude00", "é", "模", "🤖", "\x7f"));
        } else if (once_in(100)) {
            wire_put(line, PICK("\\u0000", "\\ud800", "\\udc00", "\\x", "\xff", "\xc3",
                                "\xed\xa0\x80", "\x01", "\t", "\""));
        } else {
            wire_put(line, PICK("a", "bc", "def", "_", "model", " ", "0", "resnet50"));
        }
    }
    wire_put(line, "\"");
}

void wire_put_number(struct wire_line *line)
{
    char text[64];
    switch (wire_random_below(&wire_json_dice, 6)) {
    case 0:
        (void)snprintf(text, sizeof text, "%.17g", /* fits */
                       (double)wire_random_next(&wire_json_dice) /
                           (double)(1 + wire_random_next(&wire_json_dice)));
        wire_put(line, text);
        break;
    case 1:
        (void)snprintf(text, sizeof text, "%llu", /* fits */
                       (unsigned long long)(wire_random_next(&wire_json_dice) >>
                                            wire_random_below(&wire_json_dice, 64)));
        wire_put(line, text);
        break;
    case 2:
        wire_put(line,
                 PICK("0", "-0", "-1", "1e3", "1E-3", "1e400", "-0.0", "1e-400", "0.1e1", "1e12",
                      "1000000000000.1", "18446744073709551615", "18446744073709551616"));
        break;
    case 3:
        wire_put(line, once_in(5) ? PICK("01", "1.", ".5", "+1", "1e", "NaN", "-", "0x1") : "7");
        break;
    default:
        (void)snprintf(text, sizeof text, "%u.%06u", /* fits */
                       (unsigned)wire_random_below(&wire_json_dice, 1000),
                       (unsigned)wire_random_below(&wire_json_dice, 1000000));
        wire_put(line, text);
    }
}

void wire_put_value(struct wire_line *line, int depth);

void wire_put_members(struct wire_line *line, int depth, void (*value)(struct wire_line *line))
{
    wire_put(line, "{");
    wire_put_blanks(line);
    for (size_t i = wire_random_below(&wire_json_dice, once_in(20) ? 19 : 4); i > 0; i--) {
        wire_put_text(line);
        wire_put_blanks(line);
        wire_put(line, ":");
        wire_put_blanks(line);
        if (value != NULL && !once_in(20)) {
            value(line);
        } else {
            wire_put_value(line, depth + 1);
        }
        wire_put_blanks(line);
        wire_put(line, i > 1 ? "," : "");
        wire_put_blanks(line);
    }
    wire_put(line, "}");
}

void wire_put_value(struct wire_line *line, int depth)
{
    size_t choice = wire_random_below(&wire_json_dice, depth < 11 ? 8 : 5);
    if (choice < 2) {
        wire_put_text(line);
    } else if (choice < 4) {
        wire_put_number(line);
    } else if (choice == 4) {
        wire_put(line, PICK("true", "false", "null"));
    } else if (choice == 5) {
        wire_put_members(line, depth, NULL);
    } else {
        wire_put(line, "[");
        for (size_t i = wire_random_below(&wire_json_dice, 3); i > 0; i--) {
            wire_put_value(line, depth + 1);
            wire_put(line, i > 1 ? "," : "");
        }
        wire_put(line, "]");
    }
}

void wire_put_hex(struct wire_line *line)
{
    wire_put(line, "\"");
    for (size_t i = once_in(20) ? 31 : once_in(2) ? 16 : 32; i > 0; i--) {
        wire_put(line, PICK("0", "1", "9", "a", "F", "c"));
    }
    wire_put(line, "\"");
}

void wire_put_count(struct wire_line *line)
{
    if (once_in(2)) {
        wire_put(line, "\"");
        wire_put(line, once_in(5) ? PICK("18446744073709551616", "", "x", "-1", " 1")
                                  : PICK("0", "17", "18446744073709551615", "007"));
        wire_put(line, "\"");
    } else {
        wire_put(line, once_in(5) ? PICK("1.5", "-1", "1e3", "1.0")
                                  : PICK("0", "17", "9223372036854775807"));
    }
}

void wire_json_damage(struct wire_line *line)
{
    if (line->len == 0) {
        return;
    }
    size_t at = wire_random_below(&wire_json_dice, line->len);
    size_t len = wire_random_below(&wire_json_dice, line->len - at);
    switch (wire_random_below(&wire_json_dice, 4)) {
    case 0:
        memmove(line->bytes + at, line->bytes + at + len, line->len - at - len);
        line->len -= len;
        break;
    case 1:
        line->bytes[at] = PICK("\"", "{", "}", ",", ":", "\\", "0", "[", "]", "e", "-")[0];
        break;
    default:
        line->bytes[at] = (char)(line->bytes[at] ^ 1 << wire_random_below(&wire_json_dice, 8));
    }
    for (size_t i = 0; i < line->len; i++) {
        line->bytes[i] = line->bytes[i] == '\n' ? ' ' : line->bytes[i];
    }
}
