#include "cli/top_frame.h"

#include <math.h>
#include <stdio.h>

#include "cli/figure.h"
#include "cli/status.h"

enum {
    HEAD_LINES = 3,        /* totals, what is shown, titles of the table */
    PIECE_BYTES = 1 << 16, /* of a line's part */
};

void top_totals_read(struct top_totals *totals, const json_t *root)
{
    struct buf version;
    *totals = (struct top_totals){.accepted = status_accepted(root),
                                  .lost = answer_number(root, "ledger.lost"),
                                  .dropped = answer_number(root, "ledger.dropped"),
                                  .rejected = status_rejected(root),
                                  .memory_bytes = answer_number(root, "rss_bytes"),
                                  .uptime = answer_number(root, "uptime_seconds")};
    buf_init(&version, PIECE_BYTES);
    text_safe(&version, str_of(answer_text(root, "version")), false);
    (void)snprintf(totals->version, sizeof totals->version, "%.*s", (int)version.len,
                   version.len > 0 ? version.data : ""); /* a longer one is cut */
    buf_fini(&version);
}

/* --- lines of pieces --------------------------------------------------------------------------- */

/* A line that takes pieces, the important ones first, as long as they fit. */
struct line {
    struct buf *out;
    size_t columns, used;
};

static void add_piece(struct line *line, struct buf *piece)
{
    struct str text = {piece->data, piece->len};
    size_t width = text.len > 0 ? text_width(text) : 0;
    size_t gap = line->used > 0 ? TABLE_GAP : 0;
    if (line->used == 0 && width > 0) {
        line->used = text_cut_end(line->out, text, line->columns);
    } else if (width > 0 && line->used + gap + width <= line->columns) {
        text_pad(line->out, gap);
        buf_str(line->out, text);
        line->used += gap + width;
    }
    text_style(line->out, STYLE_PLAIN);
    line->out->err = line->out->err == 0 ? piece->err : line->out->err;
    buf_clear(piece);
}

static void put_totals(const struct top_frame *frame, size_t columns, struct buf *out)
{
    const struct top_totals *totals = frame->totals;
    struct line line = {.out = out, .columns = columns};
    struct buf piece;
    buf_init(&piece, PIECE_BYTES);
    buf_puts(&piece, "records ");
    figure_rate(&piece, frame->records_rate);
    add_piece(&line, &piece);
    double lost = totals->lost + totals->dropped;
    text_style(&piece, lost > 0 ? STYLE_BAD : STYLE_PLAIN);
    buf_puts(&piece, "lost ");
    figure_count(&piece, lost);
    add_piece(&line, &piece);
    text_style(&piece, totals->rejected > 0 ? STYLE_WARN : STYLE_PLAIN);
    buf_puts(&piece, "rejected ");
    figure_count(&piece, totals->rejected);
    add_piece(&line, &piece);
    buf_puts(&piece, "memory ");
    figure_bytes(&piece, totals->memory_bytes);
    add_piece(&line, &piece);
    buf_puts(&piece, "up ");
    figure_since(&piece, totals->uptime);
    add_piece(&line, &piece);
    buf_puts(&piece, "dwelld ");
    buf_puts(&piece, totals->version);
    add_piece(&line, &piece);
    buf_char(out, '\n');
    buf_fini(&piece);
}

static const char *sort_name(enum sort sort)
{
    static const char *const names[] = {"name", "rate", "p99", "CPU", "verdict"};
    _Static_assert(sizeof names / sizeof names[0] == SORT_COUNT, "one each");
    return names[sort];
}

static void put_filter(const struct top_frame *frame, struct buf *piece)
{
    struct buf shown;
    buf_init(&shown, PIECE_BYTES);
    text_safe(&shown, str_of(frame->filter), true);
    text_style(piece, STYLE_STRONG);
    buf_char(piece, '/');
    buf_append(piece, shown.data, shown.len);
    buf_puts(piece, frame->typing ? "_" : "");
    buf_fini(&shown);
}

/* What is shown, or that nobody answers. */
static void put_state(const struct top_frame *frame, size_t columns, struct buf *out)
{
    struct line line = {.out = out, .columns = columns};
    struct buf piece;
    buf_init(&piece, PIECE_BYTES);
    if (frame->gone != NULL) {
        text_style(&piece, STYLE_BAD);
        buf_printf(&piece, "no daemon since %s (", frame->since);
        figure_since(&piece, frame->gone_seconds);
        buf_printf(&piece, "): %s", frame->gone);
        add_piece(&line, &piece);
        buf_char(out, '\n');
        buf_fini(&piece);
        return;
    }
    if (frame->filter != NULL) {
        put_filter(frame, &piece);
        add_piece(&line, &piece);
        figure_count(&piece, (double)frame->models->shown);
        buf_puts(&piece, " of ");
    }
    figure_plural(&piece, (double)frame->models->count, "model", "models");
    buf_printf(&piece, " by %s%s", sort_name(frame->sort), frame->reverse ? ", turned round" : "");
    add_piece(&line, &piece);
    buf_char(out, '\n');
    buf_fini(&piece);
}

static void put_keys(const struct top_frame *frame, size_t columns, struct buf *out)
{
    static const char *const keys[] = {"q quit", "Enter explain", "/ filter",  "r rate",   "l p99",
                                       "c CPU",  "n name",        "v verdict", "↑↓ select"};
    static const char *const typing[] = {"Enter done", "Esc no filter"};
    struct line line = {.out = out, .columns = columns};
    struct buf piece;
    buf_init(&piece, PIECE_BYTES);
    size_t count = frame->typing ? sizeof typing / sizeof typing[0] : sizeof keys / sizeof keys[0];
    for (size_t i = 0; i < count; i++) {
        text_style(&piece, STYLE_DIM);
        buf_puts(&piece, frame->typing ? typing[i] : keys[i]);
        add_piece(&line, &piece);
    }
    buf_fini(&piece);
}

/* --- the picture ------------------------------------------------------------------------------- */

int top_frame_room(const struct top_frame *frame, size_t rows)
{
    size_t others = HEAD_LINES + (frame->live ? 1 : 0);
    if (rows == 0) {
        return TABLE_ALL;
    }
    return rows > others ? (int)(rows - others) : 0;
}

static void put_table(const struct top_frame *frame, size_t columns, size_t rows, struct buf *out)
{
    struct table table;
    int room = top_frame_room(frame, rows);
    int count = (int)frame->models->shown;
    bool more = !frame->live && count > room;
    struct table_view view = {.columns = columns,
                              .first = frame->first,
                              .rows = more && room > 0 ? room - 1 : room,
                              .selected = frame->selected};
    models_tabulate(frame->models, true, &table);
    table_render(&table, &view, out);
    table_fini(&table);
    if (more) {
        struct line line = {.out = out, .columns = columns};
        struct buf piece;
        buf_init(&piece, PIECE_BYTES);
        buf_puts(&piece, "… and ");
        figure_count(&piece, (double)(count - view.rows));
        buf_puts(&piece, " more: --filter, or into a pipe");
        add_piece(&line, &piece);
        buf_char(out, '\n');
        buf_fini(&piece);
    }
    for (int row = count - view.first; frame->live && row < room; row++) {
        buf_char(out, '\n');
    }
}

void top_frame_render(const struct top_frame *frame, size_t columns, size_t rows, struct buf *out)
{
    put_totals(frame, columns, out);
    put_state(frame, columns, out);
    put_table(frame, columns, rows, out);
    if (frame->live) {
        put_keys(frame, columns, out);
    }
}
