#include "render/exemplar.h"

#include "base/clock.h"

static void append_hex(struct buf *out, const char *name, const uint8_t *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    buf_puts(out, name);
    char *at = buf_reserve(out, 2 * count);
    for (size_t i = 0; at != NULL && i < count; i++) {
        at[2 * i] = digits[bytes[i] >> 4];
        at[2 * i + 1] = digits[bytes[i] & 15];
    }
    out->len += at == NULL ? 0 : 2 * count;
    buf_char(out, '"');
}

void exemplar_append_time(uint64_t wall_ns, struct buf *out)
{
    buf_u64(out, wall_ns / NS_PER_SECOND);
    buf_printf(out, ".%03u", (unsigned)(wall_ns / NS_PER_MS % 1000));
}

void exemplar_append(const struct exemplar_mark *mark, struct buf *out)
{
    if (out->err != 0) {
        return;
    }
    out->len--; /* the line end */
    append_hex(out, " # {trace_id=\"", mark->trace_id, RECORD_TRACE_ID_BYTES);
    if (mark->has_span_id) {
        append_hex(out, ",span_id=\"", mark->span_id, RECORD_SPAN_ID_BYTES);
    }
    buf_puts(out, "} ");
    buf_double(out, mark->value);
    buf_char(out, ' ');
    exemplar_append_time(mark->wall_ns, out);
    buf_char(out, '\n');
}
