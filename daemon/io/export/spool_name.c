#include "io/export/spool_name.h"

#include <stdbool.h>
#include <stdio.h>

enum { DIGITS = 18 };

static const char *const signal_names[] = {[SPOOL_TRACES] = "traces", [SPOOL_METRICS] = "metrics"};

const char *spool_signal_name(enum spool_signal signal)
{
    return signal_names[signal];
}

struct spool_name spool_name_of(uint64_t sequence, enum spool_signal signal, const char *ending)
{
    struct spool_name name;
    (void)snprintf(name.text, sizeof name.text, "%0*llu.%s%s", DIGITS, (unsigned long long)sequence,
                   signal_names[signal], ending);
    return name;
}

struct spool_name spool_name_of_lock(enum spool_signal signal)
{
    struct spool_name name;
    (void)snprintf(name.text, sizeof name.text, "%s.lock", signal_names[signal]);
    return name;
}

static bool read_sequence(const char *text, uint64_t *ret_sequence)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_sequence = number;
    return number > 0;
}

static enum spool_kind kind_for(const char *text, const char *signal, uint64_t *ret_sequence)
{
    size_t len = strlen(signal);
    uint64_t sequence;
    if (strncmp(text, signal, len) == 0) {
        return strcmp(text + len, ".lock") == 0 ? SPOOL_KIND_LOCK : SPOOL_KIND_FOREIGN;
    }
    if (!read_sequence(text, &sequence) || text[DIGITS] != '.' ||
        strncmp(text + DIGITS + 1, signal, len) != 0) {
        return SPOOL_KIND_FOREIGN;
    }
    const char *ending = text + DIGITS + 1 + len;
    enum spool_kind kind = ending[0] == '\0'                 ? SPOOL_KIND_FILE
                           : strcmp(ending, ".tmp") == 0     ? SPOOL_KIND_UNFINISHED
                           : strcmp(ending, ".damaged") == 0 ? SPOOL_KIND_DAMAGED
                                                             : SPOOL_KIND_FOREIGN;
    *ret_sequence = kind == SPOOL_KIND_FOREIGN ? 0 : sequence;
    return kind;
}

enum spool_kind spool_name_read(const char *text, enum spool_signal signal, uint64_t *ret_sequence)
{
    *ret_sequence = 0;
    enum spool_kind kind = kind_for(text, signal_names[signal], ret_sequence);
    for (unsigned i = SPOOL_TRACES; i <= SPOOL_METRICS && kind == SPOOL_KIND_FOREIGN; i++) {
        uint64_t ignored = 0;
        if (kind_for(text, signal_names[i], &ignored) != SPOOL_KIND_FOREIGN) {
            kind = SPOOL_KIND_OF_OTHERS;
        }
    }
    return kind;
}
