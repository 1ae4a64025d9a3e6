/*
 * Happy path:
 *   1. ndjson_feed finds the newlines; a whole line is read where it lies (wire/line);
 *   2. a part of a line at the end is kept in `partial`, completed by a later feed, read there.
 *
 * What can fail: a line is longer than the ceiling. It is rejected as soon as that is seen, once, and
 * skipped up to its newline. There is no memory for a part: ERR_NOMEM, and the input ends. Everything
 * else concerns one line alone and is wire/line's.
 */
#include "wire/ndjson.h"

#include "base/err.h"

enum {
    KEEP_BYTES = 4096, /* buffers of idle connections above it are given back */
    SHOWN_BYTES = 96,  /* of a peer's own text in an answer to it */
};

void ndjson_init(struct ndjson *ndjson, size_t max_line_bytes)
{
    *ndjson = (struct ndjson){.max_line_bytes = max_line_bytes, .line = 1};
    buf_init(&ndjson->partial, max_line_bytes + 1);
    line_init(&ndjson->memory, max_line_bytes);
}

void ndjson_fini(struct ndjson *ndjson)
{
    buf_fini(&ndjson->partial);
    line_fini(&ndjson->memory);
}

void ndjson_limit(struct ndjson *ndjson, size_t max_line_bytes)
{
    size_t begun = ndjson->begun_max_bytes;
    if (ndjson->max_line_bytes > begun) {
        begun = ndjson->max_line_bytes;
    }
    begun = ndjson->partial.len == 0 ? 0 : begun;
    size_t most = begun > max_line_bytes ? begun : max_line_bytes;
    ndjson->begun_max_bytes = begun;
    ndjson->max_line_bytes = max_line_bytes;
    ndjson->partial.max = most + 1;
    line_limit(&ndjson->memory, most);
}

/* How much more the line at hand may hold. */
static size_t room(const struct ndjson *ndjson)
{
    size_t begun = ndjson->partial.len == 0 ? 0 : ndjson->begun_max_bytes;
    return (begun > ndjson->max_line_bytes ? begun : ndjson->max_line_bytes) - ndjson->partial.len;
}

static void refuse(const struct ndjson *ndjson, int err, const struct record_sink *sink)
{
    struct rejection rejection = {.err = err, .line = ndjson->line};
    sink->reject(sink->ctx, &rejection);
}

static void tell_raw(const struct record_sink *sink, const char *start, const char *end)
{
    if (sink->raw != NULL) {
        sink->raw(sink->ctx, (struct str){start, (size_t)(end - start)});
    }
}

/* Of an over-long line not all is there: in its place stands one that takes a number as well, and is
 * rejected for its syntax by whoever reads it again. */
static void refuse_long(const struct ndjson *ndjson, const struct record_sink *sink)
{
    static const char stand_in[] = "!\n";
    refuse(ndjson, ERR_TOO_LONG, sink);
    tell_raw(sink, stand_in, stand_in + sizeof stand_in - 1);
}

static void forget(struct buf *partial)
{
    if (partial->cap > KEEP_BYTES) {
        buf_fini(partial);
    }
    buf_clear(partial);
}

/* Reads the line that is in `partial` and gets its newline here. */
static int read_kept(struct ndjson *ndjson, const struct record_sink *sink)
{
    struct buf *partial = &ndjson->partial;
    buf_char(partial, '\n');
    if (partial->err != 0) {
        return partial->err;
    }
    line_read(&ndjson->memory, partial->data, partial->data + partial->len - 1, ndjson->line, NULL,
              sink);
    tell_raw(sink, partial->data, partial->data + partial->len);
    forget(partial);
    return 0;
}

/* A whole line, or the rest of one: [start, newline). */
static int take_line(struct ndjson *ndjson, const char *start, const char *newline,
                     struct line_batch *batch, const struct record_sink *sink)
{
    size_t len = (size_t)(newline - start);
    struct buf *partial = &ndjson->partial;
    int err = 0;
    if (ndjson->discarding) {
        ndjson->discarding = false;
    } else if (len > room(ndjson)) {
        line_flush(batch, sink);
        refuse_long(ndjson, sink);
        forget(partial);
    } else if (partial->len > 0) { /* the first line of a feed: nothing waits yet */
        buf_append(partial, start, len);
        err = read_kept(ndjson, sink);
    } else {
        line_read(&ndjson->memory, start, newline, ndjson->line, batch, sink);
        tell_raw(sink, start, newline + 1);
    }
    ndjson->line++;
    return err;
}

/* The part of a line at the end of the input. */
static int keep(struct ndjson *ndjson, struct str part, const struct record_sink *sink)
{
    struct buf *partial = &ndjson->partial;
    if (ndjson->discarding) {
        return 0;
    }
    if (part.len > room(ndjson)) {
        refuse_long(ndjson, sink);
        forget(partial);
        ndjson->discarding = true;
        return 0;
    }
    buf_append(partial, part.ptr, part.len);
    return partial->err;
}

int ndjson_feed(struct ndjson *ndjson, struct str bytes, const struct record_sink *sink)
{
    struct line_batch batch;
    int err = 0;
    batch.count = 0;
    batch.budget_count = 0;
    while (err == 0 && bytes.len > 0) {
        const char *newline = memchr(bytes.ptr, '\n', bytes.len);
        if (newline == NULL) {
            line_flush(&batch, sink);
            return keep(ndjson, bytes, sink);
        }
        err = take_line(ndjson, bytes.ptr, newline, &batch, sink);
        size_t taken = (size_t)(newline - bytes.ptr) + 1;
        bytes.ptr += taken;
        bytes.len -= taken;
    }
    line_flush(&batch, sink);
    return err;
}

void ndjson_end(struct ndjson *ndjson, const struct record_sink *sink)
{
    if (ndjson->partial.len > 0 && read_kept(ndjson, sink) != 0) {
        refuse(ndjson, ERR_NOMEM, sink);
        forget(&ndjson->partial);
    }
    ndjson->discarding = false;
}

/* Answers */

/* One character or byte of a text as JSON wants it. Control characters are escaped too where JSON
 * does not ask for it (0x7F to 0x9F): the answer is likely to be shown on a terminal. */
static size_t append_char(struct buf *out, struct str text, bool utf8)
{
    uint8_t byte = (uint8_t)text.ptr[0];
    if (byte == '"' || byte == '\\') {
        buf_char(out, '\\');
        buf_char(out, (char)byte);
        return 1;
    }
    if (byte < 0x20 || byte == 0x7F || (byte >= 0x80 && !utf8)) {
        buf_printf(out, "\\u%04x", byte);
        return 1;
    }
    if (byte == 0xC2 && (uint8_t)text.ptr[1] < 0xA0) {
        buf_printf(out, "\\u%04x", (uint8_t)text.ptr[1]);
        return 2;
    }
    buf_char(out, (char)byte);
    return 1;
}

/* A peer's text between quotes inside a JSON text; a long one is cut. */
static void append_quoted(struct buf *out, struct str text)
{
    bool utf8 = str_is_utf8(text);
    buf_puts(out, "\\\"");
    size_t at = 0;
    while (at < text.len &&
           (at < SHOWN_BYTES || (utf8 && ((uint8_t)text.ptr[at] & 0xC0) == 0x80))) {
        at += append_char(out, (struct str){text.ptr + at, text.len - at}, utf8);
    }
    buf_puts(out, at < text.len ? "…\\\"" : "\\\"");
}

static void append_near(struct buf *out, const char *before, struct str near)
{
    if (near.len > 0) {
        buf_puts(out, before);
        append_quoted(out, near);
        buf_puts(out, "?)");
    }
}

static void append_reason(struct buf *out, const struct rejection *rejection)
{
    if (rejection->err == ERR_MISSING_KEY && rejection->key.len > 0) {
        buf_puts(out, "missing ");
        append_quoted(out, rejection->key);
        append_near(out, " (did you mean it by ", rejection->near);
    } else if (rejection->err == ERR_UNKNOWN_TYPE && rejection->key.len > 0) {
        buf_puts(out, "unknown type ");
        append_quoted(out, rejection->key);
        append_near(out, " (did you mean ", rejection->near);
    } else {
        if (rejection->key.len > 0) {
            append_quoted(out, rejection->key);
            buf_puts(out, ": ");
        }
        buf_puts(out, err_sentence(rejection->err));
        if (rejection->expects.len > 0) {
            buf_puts(out, "; expects ");
            buf_str(out, rejection->expects);
        }
    }
}

void ndjson_render_error(struct buf *out, const struct rejection *rejection)
{
    buf_puts(out, "{\"error\": \"");
    append_reason(out, rejection);
    buf_puts(out, "\", \"reason\": \"");
    buf_puts(out, err_label(rejection->err));
    if (rejection->line > 0) {
        buf_puts(out, "\", \"line\": ");
        buf_u64(out, rejection->line);
        buf_puts(out, "}\n");
    } else {
        buf_puts(out, "\"}\n");
    }
}

void ndjson_render_flushed(struct buf *out, uint64_t applied)
{
    buf_puts(out, "{\"flushed\": ");
    buf_u64(out, applied);
    buf_puts(out, "}\n");
}

void ndjson_render_acknowledging(struct buf *out, bool will)
{
    buf_puts(out, will ? "{\"acknowledging\": true}\n" : "{\"acknowledging\": false}\n");
}

void ndjson_render_acknowledged(struct buf *out, uint64_t number)
{
    buf_puts(out, "{\"acknowledged\": ");
    buf_u64(out, number);
    buf_puts(out, "}\n");
}
