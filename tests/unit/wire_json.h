/*
 * Tests: random lines of JSON, and what jansson read of one.
 */
#ifndef DWELL_TESTS_WIRE_JSON_H
#define DWELL_TESTS_WIRE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "wire_random.h"
#include "wire_recorder.h"

enum { WIRE_LINE_MAX = 1 << 16 }; /* bytes that each line must have room for */

struct wire_line {
    char *bytes;
    size_t len;
};

extern struct wire_random wire_json_dice;

static inline bool once_in(size_t n)
{
    return wire_random_below(&wire_json_dice, n) == 0;
}

#define PICK(...)                                                                                  \
    wire_json_pick((const char *const[]){__VA_ARGS__},                                             \
                   sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

size_t wire_json_depth_of(const json_t *value);
const json_t *wire_json_get(const json_t *object, const char *key);
struct str wire_json_text_of(const json_t *value);
bool wire_json_take_text(const json_t *object, const char *key, size_t min, size_t max,
                         struct str *ret_text);
bool wire_json_take_id(const json_t *object, const char *key, uint8_t *id, size_t bytes,
                       bool *ret_has);
bool wire_json_take_count(const json_t *object, const char *key, uint64_t *ret_count,
                          bool *ret_has);
json_t *wire_json_load(struct str line, bool *ret_doubles);
void wire_put(struct wire_line *line, const char *text);
const char *wire_json_pick(const char *const *texts, size_t count);
void wire_put_blanks(struct wire_line *line);
void wire_put_text(struct wire_line *line);
void wire_put_number(struct wire_line *line);
void wire_put_members(struct wire_line *line, int depth, void (*value)(struct wire_line *line));
void wire_put_value(struct wire_line *line, int depth);
void wire_put_hex(struct wire_line *line);
void wire_put_count(struct wire_line *line);
void wire_json_damage(struct wire_line *line);

#endif
