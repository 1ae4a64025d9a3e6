/*
 * Names of the files of a spool, as they are drawn in spool.h. It looks at no directory. Pure; any thread.
 */
#ifndef DWELL_EXPORT_SPOOL_NAME_H
#define DWELL_EXPORT_SPOOL_NAME_H

#include "io/export/spool_file.h"

/* Past it names would have a digit more; a million files a second need 30000 years. */
#define SPOOL_SEQUENCE_MAX UINT64_C(999999999999999999)

struct spool_name {
    char text[64];
};

/* "traces", "metrics" */
const char *spool_signal_name(enum spool_signal signal);

/* `ending`: "", ".tmp" or ".damaged". */
struct spool_name spool_name_of(uint64_t sequence, enum spool_signal signal, const char *ending);

struct spool_name spool_name_of_lock(enum spool_signal signal);

enum spool_kind {
    SPOOL_KIND_FOREIGN,   /* no name of a spool */
    SPOOL_KIND_OF_OTHERS, /* of another signal */
    SPOOL_KIND_FILE,
    SPOOL_KIND_UNFINISHED,
    SPOOL_KIND_DAMAGED,
    SPOOL_KIND_LOCK,
};

/* What a name is to the spool of this signal; with its number where it has one, else 0. */
enum spool_kind spool_name_read(const char *text, enum spool_signal signal, uint64_t *ret_sequence);

#endif
