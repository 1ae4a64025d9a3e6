#include "io/state_head.h"

#include "base/err.h"
#include "base/little.h"

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <xxhash.h>

static const char magic[8] = {'d', 'w', 's', 't', 'a', 't', 'e', '\n'};

enum { AT_VERSION = sizeof magic, AT_ZERO = 12, AT_LENGTH = 16, AT_HASH = 24, AT_OWN_HASH = 32 };

uint64_t state_hash(struct str bytes)
{
    return XXH3_64bits(bytes.ptr, bytes.len);
}

void state_head_write(struct str body, char out[STATE_HEAD_BYTES])
{
    memcpy(out, magic, sizeof magic);
    little_put(out + AT_VERSION, STATE_VERSION, 4);
    little_put(out + AT_ZERO, 0, 4);
    little_put(out + AT_LENGTH, body.len, 8);
    little_put(out + AT_HASH, state_hash(body), 8);
    little_put(out + AT_OWN_HASH, state_hash((struct str){out, AT_OWN_HASH}), 8);
}

int state_head_read(struct str file, struct str *ret_body)
{
    if (file.len < sizeof magic || memcmp(file.ptr, magic, sizeof magic) != 0) {
        return ERR_SYNTAX;
    }
    if (file.len < STATE_HEAD_BYTES ||
        little_get(file.ptr + AT_OWN_HASH, 8) != state_hash((struct str){file.ptr, AT_OWN_HASH})) {
        return ERR_FRAME;
    }
    if (little_get(file.ptr + AT_VERSION, 4) != STATE_VERSION ||
        little_get(file.ptr + AT_ZERO, 4) != 0) {
        return ERR_UNSUPPORTED;
    }
    struct str body = {file.ptr + STATE_HEAD_BYTES, file.len - STATE_HEAD_BYTES};
    if (little_get(file.ptr + AT_LENGTH, 8) != body.len ||
        little_get(file.ptr + AT_HASH, 8) != state_hash(body)) {
        return ERR_FRAME;
    }
    *ret_body = body;
    return 0;
}
