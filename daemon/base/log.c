#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/date.h"

enum {
    PIECE_MAX = 8, /* one character as shown: itself, at most four bytes, or "\u202e" */
    TAIL_MAX = 8,  /* "…", quote, brace and newline, which a full line still has room for */
};

static const char *const level_words[] = {"error", "warning", "info", "debug"};
_Static_assert(sizeof level_words / sizeof level_words[0] == LOG_LEVEL_COUNT, "a word a level");

/* As syslog and the journal count. */
static const int priorities[] = {3, 4, 6, 7};
_Static_assert(sizeof priorities / sizeof priorities[0] == LOG_LEVEL_COUNT, "a number a level");

/* All but the atomics are written by log_init only, while there is one thread. */
static struct {
    int fd;
    log_output_fn output;
    int journal_fd;
    bool is_journal;
    char hash[LOG_HASH_MAX + 1];
    struct clock clock;
    atomic_int level; /* -1 until log_init: nothing is written */
    atomic_int format;
    atomic_uint_fast64_t lost;   /* lines that could not be written */
    atomic_uint_fast64_t untold; /* of these, since one could */
} state = {.level = -1, .journal_fd = -1};

/* Waits for whoever reads: for tests, and before a daemon has something that must not wait. */
static bool write_waiting(int fd, const char *line, size_t len)
{
    ssize_t written;
    do {
        written = write(fd, line, len);
    } while (written < 0 && errno == EINTR);
    return written == (ssize_t)len;
}

void log_init(const struct log_options *options)
{
    state.fd = options->fd;
    state.output = options->output == NULL ? write_waiting : options->output;
    atomic_store(&state.lost, 0);
    atomic_store(&state.untold, 0);
    state.journal_fd = options->has_journal ? options->journal_fd : -1;
    state.is_journal = options->has_journal && options->is_journal;
    state.clock = options->clock;
    size_t len = strnlen(options->hash, LOG_HASH_MAX);
    for (size_t i = 0; i < len; i++) {
        /* The hash stands outside of the escaped part: only what cannot end its brackets. */
        char c = options->hash[i];
        bool safe = c > ' ' && c <= '~' && strchr("[]\"\\", c) == NULL;
        state.hash[i] = safe ? c : '?';
    }
    state.hash[len] = '\0';
    log_set(options->level, options->format);
}

void log_set(enum log_level level, enum log_format format)
{
    enum log_format by_itself = state.is_journal ? LOG_FORMAT_JOURNALD : LOG_FORMAT_TEXT;
    atomic_store(&state.format, (int)(format == LOG_FORMAT_AUTO ? by_itself : format));
    atomic_store(&state.level, (int)level);
}

bool log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&state.level, memory_order_relaxed);
}

/* --- one character at a time --- */

static size_t put_hex(char *piece, char kind, unsigned value, unsigned digits)
{
    piece[0] = '\\';
    piece[1] = kind;
    for (unsigned i = 0; i < digits; i++) {
        piece[2 + i] = "0123456789abcdef"[(value >> (4 * (digits - 1 - i))) & 0xF];
    }
    return 2 + digits;
}

static size_t put_ascii(char *piece, unsigned char c)
{
    static const char named[][2] = {{'\n', 'n'}, {'\r', 'r'}, {'\t', 't'}, {'\\', '\\'}};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        if (c == (unsigned char)named[i][0]) {
            piece[0] = '\\';
            piece[1] = named[i][1];
            return 2;
        }
    }
    if (c < ' ' || c == 0x7F) {
        return put_hex(piece, 'x', c, 2);
    }
    piece[0] = (char)c;
    return 1;
}

/* Control characters beyond ASCII, line and paragraph separators, and what changes the direction
 * of text: each could make a line look like something it is not. */
static bool is_deceptive(uint32_t point)
{
    return (point >= 0x80 && point <= 0x9F) || point == 0x61C || point == 0x200E ||
           point == 0x200F || (point >= 0x2028 && point <= 0x202E) ||
           (point >= 0x2066 && point <= 0x2069) || point == 0xFEFF;
}

static size_t utf8_length(unsigned char lead)
{
    return lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
}

static uint32_t utf8_point(const char *bytes, size_t len)
{
    uint32_t point = (unsigned char)bytes[0] & (0xFFu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        point = point << 6 | ((unsigned char)bytes[i] & 0x3F);
    }
    return point;
}

/* Writes the first character of `text` as it is shown; returns how many bytes of text that was. */
static size_t escape_first(struct str text, char piece[PIECE_MAX], size_t *piece_len)
{
    unsigned char lead = (unsigned char)text.ptr[0];
    if (lead < 0x80) {
        *piece_len = put_ascii(piece, lead);
        return 1;
    }
    size_t len = utf8_length(lead);
    if (len > text.len || !str_is_utf8((struct str){text.ptr, len})) {
        *piece_len = put_hex(piece, 'x', lead, 2);
        return 1;
    }
    uint32_t point = utf8_point(text.ptr, len);
    if (is_deceptive(point)) {
        *piece_len = put_hex(piece, 'u', point, 4);
    } else {
        memcpy(piece, text.ptr, len);
        *piece_len = len;
    }
    return len;
}

void log_escape(struct buf *out, struct str text)
{
    size_t at = 0;
    while (at < text.len) {
        char piece[PIECE_MAX];
        size_t piece_len;
        at += escape_first((struct str){text.ptr + at, text.len - at}, piece, &piece_len);
        buf_append(out, piece, piece_len);
    }
}

/* --- lines --- */

/* Not a struct buf: a daemon that is out of memory must still be able to say so. */
struct line {
    char bytes[LOG_LINE_MAX];
    size_t len;
};

/* What becomes of one call. */
struct entry {
    enum log_level level;
    const struct log_place *place;
    const struct log_about *about; /* NULL: nothing */
    struct str message;
};

static bool line_add(struct line *line, const char *bytes, size_t len)
{
    if (len > sizeof line->bytes - TAIL_MAX - line->len) {
        return false;
    }
    memcpy(line->bytes + line->len, bytes, len);
    line->len += len;
    return true;
}

static void line_end(struct line *line, const char *tail)
{
    size_t len = strlen(tail);
    memcpy(line->bytes + line->len, tail, len);
    line->len += len;
}

/* Between quotes the escapes of escape_first are text like any other, so backslashes double. */
static size_t quote_piece(const char *piece, size_t len, char quoted[2 * PIECE_MAX])
{
    size_t out = 0;
    for (size_t i = 0; i < len; i++) {
        if (piece[i] == '"' || piece[i] == '\\') {
            quoted[out++] = '\\';
        }
        quoted[out++] = piece[i];
    }
    return out;
}

static void line_add_message(struct line *line, struct str message, bool quoted)
{
    while (message.len > 0) {
        char piece[PIECE_MAX];
        char both[2 * PIECE_MAX];
        size_t len;
        size_t used = escape_first(message, piece, &len);
        size_t both_len = quoted ? quote_piece(piece, len, both) : 0;
        if (!line_add(line, quoted ? both : piece, quoted ? both_len : len)) {
            line_end(line, "…");
            return;
        }
        message.ptr += used;
        message.len -= used;
    }
}

static void line_puts(struct line *line, const char *text)
{
    (void)line_add(line, text, strlen(text)); /* the head of a line always fits */
}

static void line_i64(struct line *line, int64_t number)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%lld", (long long)number);
    line_puts(line, text);
}

static void line_time(struct line *line)
{
    uint64_t wall_ns = state.clock.wall_ns(state.clock.ctx);
    struct date date = date_of(wall_ns);
    char time[64];
    (void)snprintf(time, sizeof time, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ", date.year, date.month,
                   date.day, date.hour, date.minute, date.second,
                   (unsigned)(wall_ns / NS_PER_MS % 1000));
    line_puts(line, time);
}

/* --- formats: each puts one entry into an empty line --- */

static void put_text(struct line *line, const struct entry *entry)
{
    line_puts(line, "[");
    line_puts(line, state.hash);
    line_puts(line, "] ");
    line_time(line);
    line_puts(line, " ");
    line_puts(line, level_words[entry->level]);
    line_puts(line, " ");
    line_add_message(line, entry->message, false);
    line_end(line, "\n");
}

static void put_json(struct line *line, const struct entry *entry)
{
    line_puts(line, "{\"constitutional_hash\":\"");
    line_puts(line, state.hash);
    line_puts(line, "\",\"time\":\"");
    line_time(line);
    line_puts(line, "\",\"level\":\"");
    line_puts(line, level_words[entry->level]);
    if (entry->about != NULL) {
        line_puts(line, "\",\"reason\":\"");
        line_puts(line, entry->about->reason);
        line_puts(line, "\",\"peer_pid\":");
        line_i64(line, entry->about->pid);
        line_puts(line, ",\"peer_uid\":");
        line_i64(line, entry->about->uid);
        line_puts(line, ",\"message\":\"");
    } else {
        line_puts(line, "\",\"message\":\"");
    }
    line_add_message(line, entry->message, true);
    line_end(line, "\"}\n");
}

static void put_logfmt(struct line *line, const struct entry *entry)
{
    line_puts(line, "time=");
    line_time(line);
    line_puts(line, " level=");
    line_puts(line, level_words[entry->level]);
    line_puts(line, " constitutional_hash=");
    line_puts(line, state.hash);
    if (entry->about != NULL) {
        line_puts(line, " reason=");
        line_puts(line, entry->about->reason);
        line_puts(line, " peer_pid=");
        line_i64(line, entry->about->pid);
        line_puts(line, " peer_uid=");
        line_i64(line, entry->about->uid);
    }
    line_puts(line, " msg=\"");
    line_add_message(line, entry->message, true);
    line_end(line, "\"\n");
}

static void put_field(struct line *line, const char *name, const char *value)
{
    line_puts(line, name);
    line_puts(line, value);
    line_puts(line, "\n");
}

static void put_number_field(struct line *line, const char *name, int64_t number)
{
    line_puts(line, name);
    line_i64(line, number);
    line_puts(line, "\n");
}

/* The native protocol of the journal: as no value can hold a newline, its plain form will always do. */
static void put_fields(struct line *line, const struct entry *entry)
{
    put_number_field(line, "PRIORITY=", priorities[entry->level]);
    put_field(line, "SYSLOG_IDENTIFIER=", "dwelld");
    put_field(line, "CODE_FILE=", entry->place->file);
    put_number_field(line, "CODE_LINE=", entry->place->line);
    put_field(line, "CODE_FUNC=", entry->place->function);
    put_field(line, "DWELL_CONSTITUTIONAL_HASH=", state.hash);
    if (entry->about != NULL) {
        put_field(line, "DWELL_REASON=", entry->about->reason);
        put_number_field(line, "DWELL_PEER_PID=", entry->about->pid);
        put_number_field(line, "DWELL_PEER_UID=", entry->about->uid);
    }
    line_puts(line, "MESSAGE=[");
    line_puts(line, state.hash);
    line_puts(line, "] ");
    line_add_message(line, entry->message, false);
    line_end(line, "\n");
}

/* What systemd makes a record of by itself; it has the time. */
static void put_prefixed(struct line *line, const struct entry *entry)
{
    line_puts(line, "<");
    line_i64(line, priorities[entry->level]);
    line_puts(line, ">[");
    line_puts(line, state.hash);
    line_puts(line, "] ");
    line_add_message(line, entry->message, false);
    line_end(line, "\n");
}

/* --- writing --- */

typedef void (*put_fn)(struct line *line, const struct entry *entry);

/* False: it could not be written. */
static bool write_entry(const struct entry *entry)
{
    static const put_fn formats[] = {[LOG_FORMAT_TEXT] = put_text,
                                     [LOG_FORMAT_JSON] = put_json,
                                     [LOG_FORMAT_LOGFMT] = put_logfmt,
                                     [LOG_FORMAT_JOURNALD] = put_prefixed};
    _Static_assert(sizeof formats / sizeof formats[0] == LOG_FORMAT_AUTO, "auto is one of them");
    int format = atomic_load_explicit(&state.format, memory_order_relaxed);
    struct line line;
    if (format == LOG_FORMAT_JOURNALD && state.journal_fd >= 0) {
        line.len = 0;
        put_fields(&line, entry);
        if (state.output(state.journal_fd, line.bytes, line.len)) {
            return true;
        }
        /* The journal is full or gone, and is not waited for: the other way is left. */
    }
    line.len = 0;
    formats[format](&line, entry);
    return state.output(state.fd, line.bytes, line.len);
}

/* Says how many lines are missing here. False: there is no room for that either. */
static bool tell_lost(void)
{
    uint64_t untold = atomic_exchange(&state.untold, 0);
    if (untold == 0) {
        return true;
    }
    char message[128];
    int len = snprintf(message, sizeof message, "%llu lines of this log are lost: %s",
                       (unsigned long long)untold, "nobody read it, or it could not be written");
    struct entry entry = {
        .place = LOG_HERE, .level = LOG_LEVEL_WARNING, .message = {message, (size_t)len}};
    bool told = write_entry(&entry);
    if (!told) {
        (void)atomic_fetch_add(&state.untold, untold);
    }
    return told;
}

static void write_line(struct entry *entry, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static void write_line(struct entry *entry, const char *format, va_list args)
{
    int saved = errno;
    /* As long as a line: what is cut here would not have fitted either. */
    char message[LOG_LINE_MAX];
    int len = vsnprintf(message, sizeof message, format, args);
    size_t shown = len < 0 ? 0 : (size_t)len;
    entry->message = (struct str){message, shown < sizeof message ? shown : sizeof message - 1};
    if (!tell_lost() || !write_entry(entry)) {
        (void)atomic_fetch_add(&state.lost, 1);
        (void)atomic_fetch_add(&state.untold, 1);
    }
    errno = saved;
}

uint64_t log_lost(void)
{
    return atomic_load(&state.lost);
}

void log_write_at(const struct log_place *place, enum log_level level, const char *format, ...)
{
    struct entry entry = {.level = level, .place = place};
    if (!log_enabled(level)) {
        return;
    }
    va_list args;
    va_start(args, format);
    write_line(&entry, format, args);
    va_end(args);
}

/* --- limits --- */

void log_limit_init(struct log_limit *limit, enum log_level level, const char *what, unsigned lines,
                    uint64_t period_ns)
{
    *limit =
        (struct log_limit){.what = what, .level = level, .lines = lines, .period_ns = period_ns};
}

static uint64_t limit_age_ns(const struct log_limit *limit)
{
    return state.clock.mono_ns(state.clock.ctx) - limit->began_ns;
}

void log_limit_end(struct log_limit *limit)
{
    if (limit->suppressed > 0) {
        log_write(limit->level, "%s: %llu more in the last %.1f s", limit->what,
                  (unsigned long long)limit->suppressed,
                  (double)limit_age_ns(limit) / (double)NS_PER_SECOND);
    }
    limit->suppressed = 0;
    limit->written = 0;
}

void log_limit_tick(struct log_limit *limit)
{
    if (limit->written + limit->suppressed > 0 && limit_age_ns(limit) >= limit->period_ns) {
        log_limit_end(limit);
    }
}

void log_limited_at(const struct log_place *place, struct log_limit *limit,
                    const struct log_about *about, const char *format, ...)
{
    struct entry entry = {.level = limit->level, .place = place, .about = about};
    if (!log_enabled(limit->level)) {
        return;
    }
    log_limit_tick(limit);
    if (limit->written + limit->suppressed == 0) {
        limit->began_ns = state.clock.mono_ns(state.clock.ctx);
    }
    if (limit->written == limit->lines) {
        limit->suppressed++;
        return;
    }
    limit->written++;
    va_list args;
    va_start(args, format);
    write_line(&entry, format, args);
    va_end(args);
}
