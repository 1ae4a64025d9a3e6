#include "wire_data.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "wire_recorder.h"

enum { PATH_MAX_BYTES = 512 };

char *wire_copy(struct str bytes)
{
    char *copy = malloc(bytes.len > 0 ? bytes.len : 1);
    WIRE_REQUIRE(copy != NULL);
    if (bytes.len > 0) {
        memcpy(copy, bytes.ptr, bytes.len);
    }
    return copy;
}

/* A whole file, with a terminator that does not count; the caller frees it. */
static char *read_file(const char *path, size_t *ret_len)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        fprintf(stderr, "cannot open %s\n", path);
    }
    WIRE_REQUIRE(file != NULL);
    WIRE_REQUIRE(fseek(file, 0, SEEK_END) == 0);
    long size = ftell(file);
    WIRE_REQUIRE(size >= 0);
    rewind(file);
    char *text = malloc((size_t)size + 1);
    WIRE_REQUIRE(text != NULL);
    *ret_len = fread(text, 1, (size_t)size, file);
    WIRE_REQUIRE(*ret_len == (size_t)size);
    text[*ret_len] = '\0';
    WIRE_REQUIRE(fclose(file) == 0);
    return text;
}

static unsigned hex_value(char c)
{
    WIRE_REQUIRE(isxdigit((unsigned char)c));
    return isdigit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)(tolower(c) - 'a') + 10;
}

/* Pairs of hex digits between blanks; # begins a comment. In place. */
static size_t translate_hex(char *text)
{
    size_t len = 0;
    for (const char *at = text; *at != '\0';) {
        if (*at == '#') {
            at += strcspn(at, "\n");
        } else if (isspace((unsigned char)*at)) {
            at++;
        } else {
            text[len++] = (char)(hex_value(at[0]) << 4 | hex_value(at[1]));
            at += 2;
        }
    }
    return len;
}

static bool has_ending(const char *name, const char *ending)
{
    size_t len = strlen(name);
    size_t ending_len = strlen(ending);
    return len > ending_len && strcmp(name + len - ending_len, ending) == 0;
}

static void check_case(const char *dir, const char *name,
                       void (*check)(const struct wire_case *wire_case))
{
    char path[PATH_MAX_BYTES];
    size_t len = 0;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name); /* too long: the file is not found */
    char *input = read_file(path, &len);
    if (has_ending(name, ".hex")) {
        len = translate_hex(input);
    }
    size_t stem = (size_t)(strrchr(path, '.') - path);
    (void)snprintf(path + stem, sizeof path - stem, ".expect"); /* likewise */
    size_t expect_len = 0;
    char *expect = read_file(path, &expect_len);
    check(&(struct wire_case){name, {input, len}, expect});
    free(expect);
    free(input);
}

size_t wire_for_each_case(const char *dir, void (*check)(const struct wire_case *wire_case))
{
    char path[PATH_MAX_BYTES / 2];
    (void)snprintf(path, sizeof path, "%s/wire/%s", TEST_DATA, dir); /* too long: not found */
    DIR *entries = opendir(path);
    if (entries == NULL) {
        fprintf(stderr, "cannot open %s\n", path);
    }
    WIRE_REQUIRE(entries != NULL);
    size_t count = 0;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        if (!has_ending(entry->d_name, ".expect") && entry->d_name[0] != '.') {
            check_case(path, entry->d_name, check);
            count++;
        }
    }
    WIRE_REQUIRE(closedir(entries) == 0);
    return count;
}
