/*
 * A borrowed piece of text or bytes: a pointer and a length, no terminator, no ownership.
 * It does not allocate. Any thread may call it.
 */
#ifndef DWELL_BASE_STR_H
#define DWELL_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct str {
    const char *ptr; /* borrowed; may be NULL when len is 0 */
    size_t len;
};

#define STR_LITERAL(text) ((struct str){(text), sizeof(text) - 1})

static inline struct str str_of(const char *text)
{
    return (struct str){text, strlen(text)};
}

static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Whether `len` bytes are the same. Pieces of fixed size that overlap are cheaper than a call. */
static inline bool str_same(const char *a, const char *b, size_t len)
{
    if (len > 32) {
        return memcmp(a, b, len) == 0;
    }
    if (len < 4) { /* the first one, the middle one, the last one */
        return len == 0 ||
               ((a[0] ^ b[0]) | (a[len / 2] ^ b[len / 2]) | (a[len - 1] ^ b[len - 1])) == 0;
    }
    if (len > 16) {
        return memcmp(a, b, 16) == 0 && memcmp(a + len - 16, b + len - 16, 16) == 0;
    }
    if (len >= 8) {
        return memcmp(a, b, 8) == 0 && memcmp(a + len - 8, b + len - 8, 8) == 0;
    }
    return memcmp(a, b, 4) == 0 && memcmp(a + len - 4, b + len - 4, 4) == 0;
}

static inline bool str_is(struct str a, const char *text)
{
    return str_equal(a, str_of(text));
}

/* Byte order, then length: the order of /api and of the report. Code points sort the same in UTF-8. */
int str_compare(struct str a, struct str b);

/* True when the bytes are well-formed UTF-8 (Unicode 15, table 3-7): no surrogates, no overlong. */
bool str_is_utf8(struct str text);

/* Edits needed to turn one short word into the other, at most `ceiling` + 1; for "did you mean". */
size_t str_distance(struct str a, struct str b, size_t ceiling);

#endif
