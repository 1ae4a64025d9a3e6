/*
 * Writes JSON into a buffer piece by piece: commas, quotes and escapes. It checks no nesting beyond
 * what it needs for commas. One thread at a time.
 *
 * Why not jansson: it prints doubles with a fixed number of digits where ours have the fewest that
 * read back the same, and it would build a tree of a thousand models only to walk it once.
 */
#ifndef DWELL_RENDER_JSON_WRITE_H
#define DWELL_RENDER_JSON_WRITE_H

#include "base/buf.h"

struct json_writer {
    struct buf *out; /* its err tells what failed */
    bool comma;      /* the next piece follows another one */
};

/* A value begins: as the next one of an array, or after json_key. */
void json_open(struct json_writer *writer, char bracket);
void json_close(struct json_writer *writer, char bracket);
void json_text(struct json_writer *writer, struct str text); /* damaged UTF-8 becomes U+FFFD */
void json_u64(struct json_writer *writer, uint64_t number);
void json_double(struct json_writer *writer, double number); /* null when it is not finite */
void json_bool(struct json_writer *writer, bool value);
void json_null(struct json_writer *writer);

void json_key(struct json_writer *writer, struct str key);

/* A key and its value. */
void json_put_open(struct json_writer *writer, const char *key, char bracket);
void json_put_text(struct json_writer *writer, const char *key, struct str text);
void json_put_u64(struct json_writer *writer, const char *key, uint64_t number);
void json_put_double(struct json_writer *writer, const char *key, double number);
void json_put_null(struct json_writer *writer, const char *key);

#endif
