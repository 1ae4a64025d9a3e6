/*
 * The configuration from any bytes: file, environment and --set. It is taken whole or refused whole, with
 * lines that a terminal can be given; one that is taken, printed and read again is the same.
 *
 *     file text \0 NAME=value \0 -path=value \0 …       what begins with "-" is a --set
 *
 * The file's text is also read as one that declares metric families.
 */
#include <stdlib.h>

#include "base/err.h"
#include "conf/conf.h"
#include "conf/families.h"
#include "fuzz.h"
#include "wire_recorder.h"

enum { PIECES_MAX = 16, OUTPUT_MAX = 1 << 20 };

struct pieces {
    char *text; /* owned: the input, and a zero byte */
    struct str file;
    char *environment[PIECES_MAX + 1];
    const char *sets[PIECES_MAX];
    size_t variable_count, set_count;
};

static void split(struct pieces *pieces, const uint8_t *bytes, size_t len)
{
    *pieces = (struct pieces){.text = malloc(len + 1)};
    WIRE_REQUIRE(pieces->text != NULL);
    memcpy(pieces->text, bytes, len);
    pieces->text[len] = '\0';
    pieces->file = str_of(pieces->text);
    for (size_t at = pieces->file.len + 1; at < len; at += strlen(pieces->text + at) + 1) {
        char *piece = pieces->text + at;
        if (piece[0] == '-' && pieces->set_count < PIECES_MAX) {
            pieces->sets[pieces->set_count++] = piece + 1;
        } else if (piece[0] != '-' && pieces->variable_count < PIECES_MAX) {
            pieces->environment[pieces->variable_count++] = piece;
        }
    }
}

static void must_be_lines(const struct buf *lines)
{
    struct str text = {lines->data, lines->len};
    WIRE_REQUIRE(lines->err == 0);
    WIRE_REQUIRE(text.len == 0 || text.ptr[text.len - 1] == '\n');
    WIRE_REQUIRE(str_is_utf8(text));
    for (size_t i = 0; i < text.len; i++) {
        WIRE_REQUIRE(text.ptr[i] == '\n' || ((uint8_t)text.ptr[i] >= 0x20 && text.ptr[i] != 0x7F));
    }
}

static int load(struct conf *conf, const struct conf_sources *sources)
{
    struct buf errors;
    struct buf warnings;
    buf_init(&errors, CONF_ERRORS_MAX_BYTES);
    buf_init(&warnings, CONF_ERRORS_MAX_BYTES);
    *conf = (struct conf){0};
    int err = conf_load(conf, sources, &errors, &warnings);
    WIRE_REQUIRE(err == 0 || err == ERR_SYNTAX);
    WIRE_REQUIRE((err == 0) == (errors.len == 0));
    must_be_lines(&errors);
    must_be_lines(&warnings);
    buf_fini(&errors);
    buf_fini(&warnings);
    return err;
}

/* Secrets are left out of what is printed, so that only what is printed of both is compared. */
static void must_be_the_same_again(const struct conf *conf)
{
    struct conf again;
    struct buf text;
    struct buf repeated;
    struct buf fixed;
    buf_init(&text, OUTPUT_MAX);
    buf_init(&repeated, OUTPUT_MAX);
    buf_init(&fixed, OUTPUT_MAX);
    conf_render_json(&text, conf);
    WIRE_REQUIRE(text.err == 0);
    struct conf_sources sources = {.file_name = "again.json", .file_text = {text.data, text.len}};
    WIRE_REQUIRE(load(&again, &sources) == 0);
    conf_render_json(&repeated, &again);
    WIRE_REQUIRE(repeated.len == text.len && memcmp(repeated.data, text.data, text.len) == 0);
    conf_render_fixed_changes(&fixed, &again, &again);
    WIRE_REQUIRE(fixed.err == 0 && fixed.len == 0);
    conf_render_fixed_changes(&fixed, conf, &again);
    WIRE_REQUIRE(fixed.err == 0);
    conf_fini(&again);
    buf_fini(&text);
    buf_fini(&repeated);
    buf_fini(&fixed);
}

static void read_families(struct str file)
{
    struct conf_families families = {0};
    struct conf_families again = {0};
    struct buf errors;
    struct str builtin = {conf_families_builtin, conf_families_builtin_len};
    buf_init(&errors, CONF_ERRORS_MAX_BYTES);
    int err = conf_families_load(&families, builtin, "families.json", file, &errors);
    WIRE_REQUIRE(err == 0 || err == ERR_SYNTAX);
    WIRE_REQUIRE((err == 0) == (errors.len == 0));
    must_be_lines(&errors);
    buf_clear(&errors);
    WIRE_REQUIRE(conf_families_load(&again, builtin, "families.json", file, &errors) == err);
    size_t fixed_count = 0;
    WIRE_REQUIRE(families.count == again.count);
    WIRE_REQUIRE(conf_families_compare(&families, &again, &errors, &errors, &fixed_count) == 0);
    WIRE_REQUIRE(fixed_count == 0);
    conf_families_fini(&families);
    conf_families_fini(&again);
    buf_fini(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct pieces pieces;
    struct conf conf;
    split(&pieces, bytes, len);
    struct conf_sources sources = {.file_name = pieces.file.len == 0 ? NULL : "dwelld.json",
                                   .file_text = pieces.file,
                                   .environment = pieces.environment,
                                   .sets = pieces.sets,
                                   .set_count = pieces.set_count};
    if (load(&conf, &sources) == 0) {
        must_be_the_same_again(&conf);
    }
    conf_fini(&conf);
    read_families(pieces.file);
    free(pieces.text);
    return 0;
}
