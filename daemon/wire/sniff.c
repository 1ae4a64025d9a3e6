#include "wire/sniff.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static size_t skip_blanks(struct str text)
{
    size_t at = 0;
    while (at < text.len && is_blank(text.ptr[at])) {
        at++;
    }
    return at;
}

static bool has_magic(struct str first)
{
    return first.len >= WIRE_MAGIC_BYTES && memcmp(first.ptr, WIRE_MAGIC, WIRE_MAGIC_BYTES) == 0;
}

/* Nothing but blanks can only be the blank lines of NDJSON. */
static enum wire_format choose_text(struct str first)
{
    size_t at = skip_blanks(first);
    return at == first.len || first.ptr[at] == '{' ? WIRE_NDJSON : WIRE_UNKNOWN;
}

enum wire_format sniff_stream(struct str first, bool final)
{
    /* Only what comes before the moment of choice may count, or the answer would depend on how the
     * bytes were split. A newline after blanks decides nothing: it may be the low byte of a length. */
    struct str head = {first.ptr, first.len < WIRE_MAGIC_BYTES ? first.len : WIRE_MAGIC_BYTES};
    size_t at = skip_blanks(head);
    const char *newline = at < head.len ? memchr(head.ptr + at, '\n', head.len - at) : NULL;
    if (newline != NULL) {
        head.len = (size_t)(newline - head.ptr);
        return choose_text(head);
    }
    if (head.len < WIRE_MAGIC_BYTES) {
        return final ? choose_text(head) : WIRE_UNDECIDED;
    }
    if (has_magic(head)) {
        return WIRE_FRAMES;
    }
    /* The high byte of a little-endian length: DogStatsD, which is not taken. */
    return head.ptr[WIRE_MAGIC_BYTES - 1] == '\0' ? WIRE_UNKNOWN : choose_text(head);
}

enum wire_format sniff_datagram(struct str datagram)
{
    return has_magic(datagram) ? WIRE_FRAMES : choose_text(datagram);
}
