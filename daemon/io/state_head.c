#include "io/state_head.h"

#include "base/err.h"

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <xxhash.h>

static const char magic[8] = {'d', 'w', 's', 't', 'a', 't', 'e', '\n'};

enum { AT_VERSION = sizeof magic, AT_ZERO = 12, AT_LENGTH = 16, AT_HASH = 24, AT_OWN_HASH = 32 };

uint64_t state_hash(struct str bytes)
{
    return XXH3_64bits(bytes.ptr, bytes.len);
}

static void put(char *out, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        out[i] = (char)(number >> 8 * i);
    }
}

static uint64_t get(const char *bytes, unsigned count)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < count; i++) {
        number |= (uint64_t)(unsigned char)bytes[i] << 8 * i;
    }
    return number;
}

void state_head_write(struct str body, char out[STATE_HEAD_BYTES])
{
    memcpy(out, magic, sizeof magic);
    put(out + AT_VERSION, STATE_VERSION, 4);
    put(out + AT_ZERO, 0, 4);
    put(out + AT_LENGTH, body.len, 8);
    put(out + AT_HASH, state_hash(body), 8);
    put(out + AT_OWN_HASH, state_hash((struct str){out, AT_OWN_HASH}), 8);
}

int state_head_read(struct str file, struct str *ret_body)
{
    if (file.len < sizeof magic || memcmp(file.ptr, magic, sizeof magic) != 0) {
        return ERR_SYNTAX;
    }
    if (file.len < STATE_HEAD_BYTES ||
        get(file.ptr + AT_OWN_HASH, 8) != state_hash((struct str){file.ptr, AT_OWN_HASH})) {
        return ERR_FRAME;
    }
    if (get(file.ptr + AT_VERSION, 4) != STATE_VERSION || get(file.ptr + AT_ZERO, 4) != 0) {
        return ERR_UNSUPPORTED;
    }
    struct str body = {file.ptr + STATE_HEAD_BYTES, file.len - STATE_HEAD_BYTES};
    if (get(file.ptr + AT_LENGTH, 8) != body.len ||
        get(file.ptr + AT_HASH, 8) != state_hash(body)) {
        return ERR_FRAME;
    }
    *ret_body = body;
    return 0;
}
