/*
 * The form of a segment of the journal: a header, then entries, each what one connection sent at once,
 * with who sent it. Every number has its lowest byte first.
 *
 *     segment                            entry
 *       0  "dwjournl"      8               0  length       4   of the whole entry
 *       8  version         4               4  kind         1   enum journal_kind
 *      12  0               4               5  flags        1   1: said hello, 2: its hash differs
 *      16  position        8               6  library      2   bytes of its name
 *      24  XXH3 of these  8               8  service      2   bytes of its name
 *      32  entries                        10  0            6
 *                                         16  client id   16
 *                                         32  sequence     8   number of the first record
 *                                         40  dropped      8   accounted for before it
 *                                         48  pid          8   as the hello says; 0: not said
 *                                         56  pid          8   as the kernel sees it
 *                                         64  time         8   of arrival, of the wall clock
 *                                         72  library, service, bytes as they came
 *                                         end XXH3 of all before it, 8
 *
 * A position counts the bytes of entries since the journal began; that of a segment is that of its first
 * entry. The checksum is the last thing of an entry: one that was cut off has none that fits.
 * It opens no files. Pure; any thread.
 */
#ifndef DWELL_IO_JOURNAL_FILE_H
#define DWELL_IO_JOURNAL_FILE_H

#include "base/buf.h"
#include "core/intake.h"

enum {
    JOURNAL_VERSION = 1,
    JOURNAL_HEADER_BYTES = 32,
    JOURNAL_ENTRY_FIXED_BYTES = 80,
    /* Of an entry, all but what came. */
    JOURNAL_ENTRY_OVERHEAD = JOURNAL_ENTRY_FIXED_BYTES + LEDGER_LIBRARY_BYTES + RECORD_NAME_MAX,
};

enum journal_kind { JOURNAL_FRAMES = 1, JOURNAL_LINES = 2 };

struct journal_entry {
    enum journal_kind kind;
    struct peer_identity who; /* its texts are borrowed */
    uint64_t wall_ns;
    struct str bytes; /* whole frames with their lengths, or whole lines; borrowed */
};

void journal_header_write(uint64_t position, char out[JOURNAL_HEADER_BYTES]);

/* Returns 0; ERR_SYNTAX for what is no header or was changed; ERR_UNSUPPORTED for one of another
 * version. */
int journal_header_read(struct str bytes, uint64_t *ret_position);

/* Appends the entry; whether it fitted is the buffer's to say. */
void journal_entry_write(const struct journal_entry *entry, struct buf *out);

/* The entry at the beginning of `bytes`, into which its texts point. Returns 0; ERR_SYNTAX when it is
 * cut off, changed, or no entry. */
int journal_entry_read(struct str bytes, struct journal_entry *ret_entry, size_t *ret_len);

#endif
