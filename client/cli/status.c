/*
 * dwell status: how the daemon is.
 *
 *     dwelld 0.1.0       up 3 min, 12.3 MB of memory
 *     HTTP               http://127.0.0.1:9847
 *     sockets            /run/dwell
 *     models             4 of at most 1,000
 *     records            12,345 accepted, 2 rejected (missing_key 2)
 *     account            12,347 sent, 0 dropped by clients, 0 lost, 0 by clients that do not number them
 *     …
 */
#include "cli/status.h"

#include <math.h>

#include "cli/answer.h"
#include "cli/figure.h"
#include "cli/tool.h"

enum { LABEL_COLUMNS = 12 };

static void begin(struct buf *out, const char *label)
{
    text_style(out, STYLE_DIM);
    buf_puts(out, label);
    text_style(out, STYLE_PLAIN);
    text_pad(out, LABEL_COLUMNS - text_width(str_of(label)));
}

static void put_text(struct buf *out, const char *text, bool utf8)
{
    text_safe(out, str_of(text), utf8);
}

static void put_head(const json_t *root, bool utf8, struct buf *out)
{
    begin(out, "dwelld");
    text_style(out, STYLE_STRONG);
    put_text(out, answer_text(root, "version"), utf8);
    text_style(out, STYLE_PLAIN);
    buf_puts(out, ", up ");
    figure_since(out, answer_number(root, "uptime_seconds"));
    buf_puts(out, ", ");
    figure_bytes(out, answer_number(root, "rss_bytes"));
    buf_puts(out, " of memory\n");
    begin(out, "HTTP");
    const char *address = answer_text(root, "http_address");
    buf_puts(out, address[0] == '\0' ? "none" : "http://");
    put_text(out, address, utf8);
    buf_char(out, '\n');
}

static void put_sockets(const json_t *root, bool utf8, struct buf *out)
{
    const char *name;
    json_t *path;
    const char *label = "sockets";
    json_object_foreach((json_t *)(uintptr_t)json_object_get(root, "sockets"), name, path)
    {
        begin(out, label);
        put_text(out, json_is_string(path) ? json_string_value(path) : "", utf8);
        buf_char(out, '\n');
        label = "";
    }
}

static void put_models(const json_t *root, struct buf *out)
{
    begin(out, "models");
    figure_count(out, answer_number(root, "counters.models"));
    double most = answer_limit(root, "profiling.max_models");
    if (most > 0) {
        buf_puts(out, " of at most ");
        figure_count(out, most);
    }
    double overflow = answer_number(root, "counters.overflow_samples_total");
    if (overflow > 0) {
        text_style(out, STYLE_WARN);
        buf_puts(out, ", ");
        figure_plural(out, overflow, "sample", "samples");
        buf_puts(out, " of more in one overflow model");
    }
    buf_char(out, '\n');
}

/* (missing_key 2, bad_syntax 1), without those that are 0 */
static void put_reasons(const json_t *reasons, struct buf *out)
{
    bool first = true;
    const char *reason;
    json_t *count;
    json_object_foreach((json_t *)(uintptr_t)reasons, reason, count)
    {
        if (json_number_value(count) > 0) {
            buf_puts(out, first ? " (" : ", ");
            put_text(out, reason, false);
            buf_char(out, ' ');
            figure_count(out, json_number_value(count));
            first = false;
        }
    }
    buf_puts(out, first ? "" : ")");
}

/* What became of all records; of a daemon that does not tell, those that are in the account. */
static const json_t *rejections(const json_t *root)
{
    const json_t *found = answer_at(root, "records.rejected");
    return found != NULL ? found : answer_at(root, "ledger.rejected");
}

double status_rejected(const json_t *root)
{
    double sum = 0;
    const char *reason;
    json_t *count;
    json_object_foreach((json_t *)(uintptr_t)rejections(root), reason, count)
    {
        sum += json_number_value(count);
    }
    return sum;
}

double status_accepted(const json_t *root)
{
    double told = answer_number(root, "records.accepted");
    return isfinite(told)
               ? told
               : answer_number(root, "ledger.accepted") + answer_number(root, "ledger.unledgered");
}

static void put_warned(struct buf *out, double count, const char *word)
{
    if (count > 0) {
        text_style(out, STYLE_BAD);
    }
    figure_count(out, count);
    buf_char(out, ' ');
    buf_puts(out, word);
    text_style(out, STYLE_PLAIN);
}

static void put_records(const json_t *root, struct buf *out)
{
    begin(out, "records");
    figure_count(out, status_accepted(root));
    buf_puts(out, " accepted, ");
    put_warned(out, status_rejected(root), "rejected");
    put_reasons(rejections(root), out);
    buf_char(out, '\n');
    begin(out, "account");
    figure_count(out, answer_number(root, "ledger.sent"));
    buf_puts(out, " sent, ");
    put_warned(out, answer_number(root, "ledger.dropped"), "dropped by clients, ");
    put_warned(out, answer_number(root, "ledger.lost"), "lost, ");
    figure_count(out, answer_number(root, "ledger.unledgered"));
    buf_puts(out, " by clients that do not number them\n");
    begin(out, "received");
    figure_bytes(out, answer_number(root, "counters.received_bytes_total"));
    buf_puts(out, " over ");
    figure_plural(out, answer_number(root, "counters.connections_accepted_total"), "connection",
                  "connections");
    buf_puts(out, ", of which ");
    figure_count(out, answer_number(root, "counters.connections"));
    buf_puts(out, " open, and ");
    figure_plural(out, answer_number(root, "counters.datagrams_total"), "datagram", "datagrams");
    buf_char(out, '\n');
}

static void put_export(const json_t *root, struct buf *out)
{
    const char *signal;
    json_t *figures;
    const char *label = "export";
    json_object_foreach((json_t *)(uintptr_t)json_object_get(root, "export"), signal, figures)
    {
        begin(out, label);
        put_text(out, signal, false);
        buf_puts(out, ": ");
        figure_count(out, answer_number(figures, "exported"));
        buf_puts(out, " of ");
        figure_count(out, answer_number(figures, "accepted"));
        buf_puts(out, " exported");
        put_reasons(json_object_get(figures, "dropped"), out);
        buf_char(out, '\n');
        label = "";
    }
    if (label[0] != '\0') {
        begin(out, label);
        buf_puts(out, "off: no otlp.endpoint\n");
    }
}

void status_render(const json_t *root, bool utf8, struct buf *out)
{
    put_head(root, utf8, out);
    put_sockets(root, utf8, out);
    put_models(root, out);
    put_records(root, out);
    put_export(root, out);
}

int status_run(struct tool *tool)
{
    json_t *root = NULL;
    int status = tool_get(tool, "/api/v1/status", &root);
    if (status != 0 || root == NULL) {
        return status;
    }
    struct buf out;
    buf_init(&out, TOOL_TEXT_MAX);
    status_render(root, tool->terminal.utf8, &out);
    json_decref(root);
    return tool_print(tool, &out, 0);
}
