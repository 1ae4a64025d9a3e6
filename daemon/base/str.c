#include "base/str.h"

#include <stdint.h>

int str_compare(struct str a, struct str b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared == 0 ? 0 : memcmp(a.ptr, b.ptr, shared);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

/* What may follow a lead byte: how many bytes in all, and the range of the second (table 3-7). */
static const struct lead {
    uint8_t first, last, length, second_min, second_max;
} leads[] = {
    {0xC2, 0xDF, 2, 0x80, 0xBF}, {0xE0, 0xE0, 3, 0xA0, 0xBF}, {0xE1, 0xEC, 3, 0x80, 0xBF},
    {0xED, 0xED, 3, 0x80, 0x9F}, {0xEE, 0xEF, 3, 0x80, 0xBF}, {0xF0, 0xF0, 4, 0x90, 0xBF},
    {0xF1, 0xF3, 4, 0x80, 0xBF}, {0xF4, 0xF4, 4, 0x80, 0x8F},
};

static const struct lead *find_lead(uint8_t byte)
{
    for (size_t i = 0; i < sizeof leads / sizeof leads[0]; i++) {
        if (byte >= leads[i].first && byte <= leads[i].last) {
            return &leads[i];
        }
    }
    return NULL;
}

bool str_is_utf8(struct str text)
{
    const uint8_t *bytes = (const uint8_t *)text.ptr;
    size_t at = 0;
    while (at < text.len) {
        uint64_t eight = UINT64_MAX;
        if (text.len - at >= sizeof eight) {
            memcpy(&eight, bytes + at, sizeof eight);
        }
        if ((eight & UINT64_C(0x8080808080808080)) == 0) { /* eight of ASCII */
            at += sizeof eight;
            continue;
        }
        if (bytes[at] < 0x80) {
            at++;
            continue;
        }
        const struct lead *lead = find_lead(bytes[at]);
        if (lead == NULL || text.len - at < lead->length) {
            return false;
        }
        if (bytes[at + 1] < lead->second_min || bytes[at + 1] > lead->second_max) {
            return false;
        }
        for (size_t i = 2; i < lead->length; i++) {
            if ((bytes[at + i] & 0xC0) != 0x80) {
                return false;
            }
        }
        at += lead->length;
    }
    return true;
}

enum { DISTANCE_MAX_WORD = 63 };

size_t str_distance(struct str a, struct str b, size_t ceiling)
{
    /* Two rows of the table of Wagner and Fischer (1974): row[j] = distance of a[0..i) to b[0..j). */
    uint8_t row[DISTANCE_MAX_WORD + 1];
    if (a.len > DISTANCE_MAX_WORD || b.len > DISTANCE_MAX_WORD) {
        return ceiling + 1;
    }
    for (size_t j = 0; j <= b.len; j++) {
        row[j] = (uint8_t)j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        uint8_t diagonal = row[0];
        row[0] = (uint8_t)i;
        for (size_t j = 1; j <= b.len; j++) {
            uint8_t above = row[j];
            uint8_t best = (uint8_t)(diagonal + (a.ptr[i - 1] == b.ptr[j - 1] ? 0 : 1));
            best = above + 1 < best ? (uint8_t)(above + 1) : best;
            best = row[j - 1] + 1 < best ? (uint8_t)(row[j - 1] + 1) : best;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[b.len] > ceiling ? ceiling + 1 : row[b.len];
}
