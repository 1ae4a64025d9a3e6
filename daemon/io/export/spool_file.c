#include "io/export/spool_file.h"

#include "base/err.h"
#include "base/little.h"

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <xxhash.h>

static const char magic[8] = {'d', 'w', 's', 'p', 'o', 'o', 'l', '\n'};

enum {
    AT_VERSION = sizeof magic,
    AT_SIGNAL = 12,
    AT_COUNT = 16,
    AT_LENGTH = 24,
    AT_HASH = 32,
    AT_OWN_HASH = 40
};

uint64_t spool_file_hash(struct str bytes)
{
    return XXH3_64bits(bytes.ptr, bytes.len);
}

void spool_file_write(const struct spool_header *header, char out[SPOOL_HEADER_BYTES])
{
    memcpy(out, magic, sizeof magic);
    little_put(out + AT_VERSION, SPOOL_FILE_VERSION, 4);
    little_put(out + AT_SIGNAL, header->signal, 4);
    little_put(out + AT_COUNT, header->count, 8);
    little_put(out + AT_LENGTH, header->length, 8);
    little_put(out + AT_HASH, header->hash, 8);
    little_put(out + AT_OWN_HASH, spool_file_hash((struct str){out, AT_OWN_HASH}), 8);
}

int spool_file_read(const char bytes[SPOOL_HEADER_BYTES], struct spool_header *ret_header)
{
    if (memcmp(bytes, magic, sizeof magic) != 0 ||
        little_get(bytes + AT_OWN_HASH, 8) != spool_file_hash((struct str){bytes, AT_OWN_HASH})) {
        return ERR_SYNTAX;
    }
    if (little_get(bytes + AT_VERSION, 4) != SPOOL_FILE_VERSION) {
        return ERR_UNSUPPORTED;
    }
    struct spool_header header = {.signal = (uint32_t)little_get(bytes + AT_SIGNAL, 4),
                                  .count = little_get(bytes + AT_COUNT, 8),
                                  .length = little_get(bytes + AT_LENGTH, 8),
                                  .hash = little_get(bytes + AT_HASH, 8)};
    if (header.length > SPOOL_REQUEST_MAX || header.count > header.length) {
        return ERR_SYNTAX;
    }
    *ret_header = header;
    return 0;
}
