#include "io/journal_file.h"

#include "base/err.h"
#include "base/little.h"
#include "io/export/spool_file.h" /* spool_file_hash: one checksum for all files */

static const char magic[8] = {'d', 'w', 'j', 'o', 'u', 'r', 'n', 'l'};

enum { HEADER_AT_VERSION = 8, HEADER_AT_POSITION = 16, HEADER_AT_HASH = 24 };

enum {
    AT_KIND = 4,
    AT_FLAGS = 5,
    AT_LIBRARY = 6,
    AT_SERVICE = 8,
    AT_CLIENT_ID = 16,
    AT_SEQUENCE = 32,
    AT_DROPPED = 40,
    AT_SAID_PID = 48,
    AT_KERNEL_PID = 56,
    AT_TIME = 64,
    AT_TEXTS = 72,
    HASH_BYTES = 8
};
_Static_assert(AT_TEXTS + HASH_BYTES == JOURNAL_ENTRY_FIXED_BYTES, "nothing else is in an entry");

enum { FLAG_SAID_HELLO = 1, FLAG_HASH_DIFFERS = 2 };

static uint64_t hash_of(const char *bytes, size_t len)
{
    return spool_file_hash((struct str){bytes, len});
}

void journal_header_write(uint64_t position, char out[JOURNAL_HEADER_BYTES])
{
    memset(out, 0, JOURNAL_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    little_put(out + HEADER_AT_VERSION, JOURNAL_VERSION, 4);
    little_put(out + HEADER_AT_POSITION, position, 8);
    little_put(out + HEADER_AT_HASH, hash_of(out, HEADER_AT_HASH), 8);
}

int journal_header_read(struct str bytes, uint64_t *ret_position)
{
    if (bytes.len < JOURNAL_HEADER_BYTES || memcmp(bytes.ptr, magic, sizeof magic) != 0 ||
        little_get(bytes.ptr + HEADER_AT_HASH, 8) != hash_of(bytes.ptr, HEADER_AT_HASH)) {
        return ERR_SYNTAX;
    }
    if (little_get(bytes.ptr + HEADER_AT_VERSION, 4) != JOURNAL_VERSION) {
        return ERR_UNSUPPORTED;
    }
    *ret_position = little_get(bytes.ptr + HEADER_AT_POSITION, 8);
    return 0;
}

void journal_entry_write(const struct journal_entry *entry, struct buf *out)
{
    const struct peer_identity *who = &entry->who;
    char head[AT_TEXTS] = {0};
    char hash[HASH_BYTES];
    size_t start = out->len;
    size_t len = AT_TEXTS + who->library.len + who->service.len + entry->bytes.len + HASH_BYTES;
    little_put(head, len, 4);
    little_put(head + AT_KIND, entry->kind, 1);
    little_put(
        head + AT_FLAGS,
        (who->said_hello ? FLAG_SAID_HELLO : 0U) | (who->hash_differs ? FLAG_HASH_DIFFERS : 0U), 1);
    little_put(head + AT_LIBRARY, who->library.len, 2);
    little_put(head + AT_SERVICE, who->service.len, 2);
    memcpy(head + AT_CLIENT_ID, who->client_id, RECORD_CLIENT_ID_BYTES);
    little_put(head + AT_SEQUENCE, who->mark.sequence, 8);
    little_put(head + AT_DROPPED, who->mark.dropped, 8);
    little_put(head + AT_SAID_PID, who->said_pid, 8);
    little_put(head + AT_KERNEL_PID, (uint64_t)who->kernel_pid, 8);
    little_put(head + AT_TIME, entry->wall_ns, 8);
    if (buf_reserve(out, len) == NULL) {
        return;
    }
    buf_append(out, head, sizeof head);
    buf_str(out, who->library);
    buf_str(out, who->service);
    buf_str(out, entry->bytes);
    little_put(hash, hash_of(out->data + start, out->len - start), HASH_BYTES);
    buf_append(out, hash, sizeof hash);
}

/* The bytes of an entry, with its checksum, that are `len` in all. */
static int read_parts(const char *at, size_t len, struct journal_entry *ret_entry)
{
    size_t library = little_get(at + AT_LIBRARY, 2);
    size_t service = little_get(at + AT_SERVICE, 2);
    uint64_t kind = little_get(at + AT_KIND, 1);
    uint64_t flags = little_get(at + AT_FLAGS, 1);
    if (library + service > len - JOURNAL_ENTRY_FIXED_BYTES ||
        (kind != JOURNAL_FRAMES && kind != JOURNAL_LINES)) {
        return ERR_SYNTAX;
    }
    const char *texts = at + AT_TEXTS;
    *ret_entry = (struct journal_entry){
        .kind = (enum journal_kind)kind,
        .who = {.mark = {.has_sequence = true,
                         .sequence = little_get(at + AT_SEQUENCE, 8),
                         .has_dropped = true,
                         .dropped = little_get(at + AT_DROPPED, 8)},
                .said_pid = little_get(at + AT_SAID_PID, 8),
                .kernel_pid = (int64_t)little_get(at + AT_KERNEL_PID, 8),
                .said_hello = (flags & FLAG_SAID_HELLO) != 0,
                .hash_differs = (flags & FLAG_HASH_DIFFERS) != 0,
                .library = {texts, library},
                .service = {texts + library, service}},
        .wall_ns = little_get(at + AT_TIME, 8),
        .bytes = {texts + library + service, len - JOURNAL_ENTRY_FIXED_BYTES - library - service}};
    memcpy(ret_entry->who.client_id, at + AT_CLIENT_ID, RECORD_CLIENT_ID_BYTES);
    return 0;
}

int journal_entry_read(struct str bytes, struct journal_entry *ret_entry, size_t *ret_len)
{
    if (bytes.len < JOURNAL_ENTRY_FIXED_BYTES) {
        return ERR_SYNTAX;
    }
    size_t len = little_get(bytes.ptr, 4);
    if (len < JOURNAL_ENTRY_FIXED_BYTES || len > bytes.len) {
        return ERR_SYNTAX;
    }
    size_t hashed = len - HASH_BYTES;
    if (little_get(bytes.ptr + hashed, HASH_BYTES) != hash_of(bytes.ptr, hashed)) {
        return ERR_SYNTAX;
    }
    int err = read_parts(bytes.ptr, len, ret_entry);
    if (err == 0) {
        *ret_len = len;
    }
    return err;
}
