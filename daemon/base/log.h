/*
 * Lines for people and for log collectors, on standard error. Each line is one write, names the
 * constitutional hash, and cannot be forged: whatever a message holds, what could end a line,
 * move a cursor or is not UTF-8 is shown as an escape.
 *
 *     text       [cdd01ef066bc6cf2] 2026-01-31T12:00:00.123Z info listening on 127.0.0.1:9847
 *     json       {"constitutional_hash":"cdd01ef066bc6cf2","time":"2026-…","level":"info","message":"…"}
 *     logfmt     time=2026-01-31T12:00:00.123Z level=info constitutional_hash=cdd01ef066bc6cf2 msg="…"
 *     journald   PRIORITY=6, CODE_FILE=…, MESSAGE=[cdd01ef066bc6cf2] listening on 127.0.0.1:9847, each on
 *                a line of one datagram; or, where there is no socket to the journal, on standard error
 *                <6>[cdd01ef066bc6cf2] listening on 127.0.0.1:9847
 *
 * Two ways to the journal were weighed. The prefix needs no socket and is what systemd makes of any
 * service's lines, but a level is all that it can tell. The datagram tells fields, so that one can ask for
 * `journalctl DWELL_REASON=bad_syntax`; it wins where it is possible, and the prefix is what is left when
 * it is not. What a record is about goes before its message: it is short, and is there when the message is
 * cut.
 *
 * It keeps no files, rotates nothing, and knows no secrets: callers do not hand it any.
 * log_init comes before other threads exist; after it any thread may write. A `struct log_limit`
 * belongs to one thread.
 */
#ifndef DWELL_BASE_LOG_H
#define DWELL_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/str.h"

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_COUNT
};

enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,
    LOG_FORMAT_LOGFMT,
    LOG_FORMAT_JOURNALD,
    LOG_FORMAT_AUTO, /* journald where standard error leads to the journal, else text */
    LOG_FORMAT_COUNT
};

enum {
    LOG_LINE_MAX = 4096, /* PIPE_BUF: a longer write could be torn apart by another process's */
    LOG_HASH_MAX = 64,   /* bytes of the hash */
};

/* Writes a line of at most LOG_LINE_MAX bytes, whole or not at all, and never waits. False: it did not. */
typedef bool (*log_output_fn)(int fd, const char *line, size_t len);

struct log_options {
    int fd;               /* borrowed; standard error in the daemon */
    log_output_fn output; /* NULL: write, which waits for whoever reads */
    enum log_level level;
    enum log_format format;
    const char *hash;   /* copied; cut after LOG_HASH_MAX bytes */
    struct clock clock; /* copied */
    bool has_journal;   /* the two below were looked for; else they count as not there */
    int journal_fd;  /* borrowed; takes datagrams of the native protocol without waiting, or -1 */
    bool is_journal; /* `fd` leads to the journal */
};

/* Before it is called, nothing is written. May be called again while there is one thread. */
void log_init(const struct log_options *options);

/* What a reload may change, from any thread. */
void log_set(enum log_level level, enum log_format format);

/* Lines that could not be written so far; any thread. The next one that can is told how many. */
uint64_t log_lost(void);

/* True when lines of this level are written; for messages that cost something to make. */
bool log_enabled(enum log_level level);

/* Where in the source a record is written. */
struct log_place {
    const char *file;
    int line;
    const char *function;
};

#define LOG_HERE (&(const struct log_place){__FILE__, __LINE__, __func__})

/* What a record is about, beside its message; in the formats that have fields. */
struct log_about {
    const char *reason; /* of base/err.h */
    int64_t pid;        /* of the peer; 0: not known */
    uint32_t uid;
};

/* Writes one line. A message that does not fit LOG_LINE_MAX is cut and ends in "…". errno is kept. */
void log_write_at(const struct log_place *place, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_write(level, ...) log_write_at(LOG_HERE, level, __VA_ARGS__)

#define log_error(...)   log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* Appends text as the log shows it: control characters, backslashes, characters that reorder text
 * and bytes that are not UTF-8 as \n, \\, \x1b, …. For others who put foreign text on a terminal. */
void log_escape(struct buf *out, struct str text);

/*
 * Complaints that a peer can cause at any rate. Of each kind at most `lines` are written in a
 * period; the rest is counted, and one line says how many there were when the period has passed
 * (noticed at the next complaint or log_limit_tick) or the condition ends (log_limit_end).
 */
struct log_limit {
    const char *what; /* borrowed: "rejected records", as in "rejected records: 12 more in …" */
    enum log_level level;
    unsigned lines;
    uint64_t period_ns;
    uint64_t began_ns; /* of the current period; meaningless while nothing was written in it */
    unsigned written;
    uint64_t suppressed;
};

void log_limit_init(struct log_limit *limit, enum log_level level, const char *what, unsigned lines,
                    uint64_t period_ns);

/* As log_write with the limit's level, unless the period's lines are used up. `about`: NULL, or what. */
void log_limited_at(const struct log_place *place, struct log_limit *limit,
                    const struct log_about *about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define log_limited(limit, ...)              log_limited_at(LOG_HERE, limit, NULL, __VA_ARGS__)
#define log_limited_about(limit, about, ...) log_limited_at(LOG_HERE, limit, about, __VA_ARGS__)

/* Call now and then: says what was suppressed once the period has passed. */
void log_limit_tick(struct log_limit *limit);

/* The condition is over: says what was suppressed, and begins anew. */
void log_limit_end(struct log_limit *limit);

#endif
