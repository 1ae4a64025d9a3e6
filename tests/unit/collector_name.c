#include "collector_name.h"

#include "core_helpers.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { WORDS_MAX = 64, WORD_MAX = 300 };

struct words {
    size_t count;
    char word[WORDS_MAX][WORD_MAX];
};

static void add(struct words *words, const char *text, size_t len)
{
    assert_true(words->count < WORDS_MAX && len < WORD_MAX);
    memcpy(words->word[words->count], text, len);
    words->word[words->count++][len] = '\0';
}

static void split(struct words *words, const char *text)
{
    while (*text != '\0') {
        size_t len = 0;
        while (isalnum((unsigned char)text[len]) || text[len] == ':') {
            len++;
        }
        if (len > 0) {
            add(words, text, len);
        }
        text += len + (text[len] != '\0');
    }
}

static bool has(const struct words *words, const char *word)
{
    bool found = false;
    for (size_t i = 0; i < words->count; i++) {
        found = found || strcmp(words->word[i], word) == 0;
    }
    return found;
}

static void drop(struct words *words, const char *word)
{
    size_t kept = 0;
    for (size_t i = 0; i < words->count; i++) {
        if (strcmp(words->word[i], word) != 0) {
            memmove(words->word[kept++], words->word[i], WORD_MAX);
        }
    }
    words->count = kept;
}

static const char *word_of(const char *unit)
{
    static const char *const units[][2] = {
        {"d", "days"},          {"h", "hours"},         {"min", "minutes"},    {"s", "seconds"},
        {"ms", "milliseconds"}, {"us", "microseconds"}, {"ns", "nanoseconds"}, {"By", "bytes"},
        {"KiBy", "kibibytes"},  {"MiBy", "mebibytes"},  {"GiBy", "gibibytes"}, {"m", "meters"},
        {"V", "volts"},         {"A", "amperes"},       {"J", "joules"},       {"W", "watts"},
        {"g", "grams"},         {"Cel", "celsius"},     {"Hz", "hertz"},       {"1", ""},
        {"%", "percent"},
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(units[i][0], unit) == 0) {
            return units[i][1];
        }
    }
    return unit;
}

/* A unit in braces is a remark; those with "/" are not needed here. */
static void add_unit(struct words *words, const char *unit)
{
    assert_null(strchr(unit, '/'));
    const char *word = strpbrk(unit, "{}") != NULL ? "" : word_of(unit);
    if (word[0] != '\0' && !has(words, word)) {
        add(words, word, strlen(word));
    }
}

void collector_name(const char *name, const char *unit, enum collector_type type,
                    char ret[COLLECTOR_NAME_MAX])
{
    struct words words = {0};
    size_t len = 0;
    split(&words, name);
    add_unit(&words, unit);
    if (type == COLLECTOR_COUNTER) {
        drop(&words, "total");
        add(&words, "total", strlen("total"));
    }
    if (type == COLLECTOR_GAUGE && strcmp(unit, "1") == 0) {
        drop(&words, "ratio");
        add(&words, "ratio", strlen("ratio"));
    }
    ret[0] = '\0';
    if (words.count > 0 && isdigit((unsigned char)words.word[0][0])) {
        ret[len++] = '_';
    }
    for (size_t i = 0; i < words.count; i++) {
        len += (size_t)snprintf(ret + len, COLLECTOR_NAME_MAX - len, "%s%s", i > 0 ? "_" : "",
                                words.word[i]);
        assert_true(len < COLLECTOR_NAME_MAX);
    }
}
