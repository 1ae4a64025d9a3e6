#include "wire/sniff.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool begins(struct str text, struct str with)
{
    return text.len >= with.len && memcmp(text.ptr, with.ptr, with.len) == 0;
}

static bool has_magic(struct str first)
{
    return begins(first, STR_LITERAL(WIRE_MAGIC));
}

/* Who means something else: a client of a later DWL, of HTTP. */
static bool is_stranger(struct str first)
{
    return (begins(first, STR_LITERAL("DWL")) && first.len >= WIRE_MAGIC_BYTES &&
            first.ptr[WIRE_MAGIC_BYTES - 1] >= '0' && first.ptr[WIRE_MAGIC_BYTES - 1] <= '9') ||
           begins(first, STR_LITERAL("GET ")) || begins(first, STR_LITERAL("POST"));
}

/* Nothing but blanks can only be the blank lines of NDJSON, or of nothing at all. */
static enum wire_format choose_text(struct str first)
{
    size_t at = 0;
    while (at < first.len && is_blank(first.ptr[at])) {
        at++;
    }
    if (at == first.len || first.ptr[at] == '{') {
        return WIRE_NDJSON;
    }
    /* A JSON list; a byte order mark, UTF-16, compressed or binary data. */
    bool is_odd = first.ptr[at] == '[' || (unsigned char)first.ptr[at] >= 0x80;
    return is_odd || is_stranger(first) ? WIRE_UNKNOWN : WIRE_STATSD;
}

/*
 * Only what comes before the moment of choice may count, or the answer would depend on how the bytes
 * were split: the first four. No newline hurries it, since the four may be a length, of 2625 for
 * instance ("A\n\0\0"), and no line of any format that is good has fewer bytes.
 */
enum wire_format sniff_stream(struct str first, bool final)
{
    struct str head = {first.ptr, first.len < WIRE_MAGIC_BYTES ? first.len : WIRE_MAGIC_BYTES};
    if (head.len < WIRE_MAGIC_BYTES) {
        return final ? choose_text(head) : WIRE_UNDECIDED;
    }
    if (has_magic(head)) {
        return WIRE_FRAMES;
    }
    /* The high byte of a little-endian length. */
    return head.ptr[WIRE_MAGIC_BYTES - 1] == '\0' ? WIRE_STATSD_FRAMES : choose_text(head);
}

enum wire_format sniff_datagram(struct str datagram)
{
    return has_magic(datagram) ? WIRE_FRAMES : choose_text(datagram);
}
