#include "cli/table.h"

#include <assert.h>

/* How wide each column is shown; 0: not at all. */
struct layout {
    size_t width[TABLE_COLUMNS_MAX];
};

void table_init(struct table *table, const struct column *columns, unsigned count)
{
    assert(count > 0 && count <= TABLE_COLUMNS_MAX);
    *table = (struct table){.columns = columns, .count = count};
    buf_init(&table->text, TABLE_BYTES_MAX);
    buf_init(&table->ends, TABLE_BYTES_MAX);
}

void table_fini(struct table *table)
{
    buf_fini(&table->text);
    buf_fini(&table->ends);
}

struct buf *table_cell(struct table *table)
{
    return &table->text;
}

void table_next(struct table *table)
{
    buf_append(&table->ends, &table->text.len, sizeof table->text.len);
}

void table_text(struct table *table, enum style style, const char *text)
{
    if (style != STYLE_PLAIN) {
        text_style(&table->text, style);
    }
    buf_puts(&table->text, text);
    table_next(table);
}

static size_t cell_count(const struct table *table)
{
    return table->ends.len / sizeof(size_t);
}

int table_rows(const struct table *table)
{
    return (int)(cell_count(table) / table->count);
}

static size_t end_of(const struct table *table, size_t cell)
{
    size_t end;
    memcpy(&end, table->ends.data + cell * sizeof end, sizeof end);
    return end;
}

static struct str cell_at(const struct table *table, int row, unsigned column)
{
    size_t cell = (size_t)row * table->count + column;
    size_t begin = cell == 0 ? 0 : end_of(table, cell - 1);
    return (struct str){table->text.data + begin, end_of(table, cell) - begin};
}

/* --- layout ------------------------------------------------------------------------------------ */

static void lay_out_naturally(const struct table *table, struct layout *layout)
{
    int rows = table_rows(table);
    for (unsigned column = 0; column < table->count; column++) {
        size_t widest = text_width(str_of(table->columns[column].title));
        for (int row = 0; row < rows; row++) {
            size_t width = text_width(cell_at(table, row, column));
            widest = width > widest ? width : widest;
        }
        bool hidden = (table->hidden & 1u << column) != 0;
        layout->width[column] = hidden ? 0 : widest == 0 ? 1 : widest;
    }
}

static size_t total_width(const struct table *table, const struct layout *layout)
{
    size_t total = 0;
    for (unsigned column = 0; column < table->count; column++) {
        if (layout->width[column] > 0) {
            total += layout->width[column] + (total > 0 ? TABLE_GAP : 0);
        }
    }
    return total;
}

/* The least that it takes with all columns that there are. */
static size_t least_width(const struct table *table, const struct layout *layout)
{
    struct layout least = *layout;
    for (unsigned column = 0; column < table->count; column++) {
        unsigned width = table->columns[column].least;
        if (width > 0 && width < least.width[column]) {
            least.width[column] = width;
        }
    }
    return total_width(table, &least);
}

/* Takes away the least important column that there is; false: all others have to stay. */
static bool drop_column(const struct table *table, struct layout *layout)
{
    unsigned worst = table->count;
    for (unsigned column = 0; column < table->count; column++) {
        if (layout->width[column] > 0 && table->columns[column].rank > 0 &&
            (worst == table->count || table->columns[column].rank > table->columns[worst].rank)) {
            worst = column;
        }
    }
    if (worst < table->count) {
        layout->width[worst] = 0;
    }
    return worst < table->count;
}

/* Cuts what may be cut, the widest first, to its least, and when that is not enough all the rest. */
static void cut_columns(const struct table *table, struct layout *layout, size_t columns)
{
    size_t total = total_width(table, layout);
    for (int pass = 0; pass < 2; pass++) {
        while (total > columns) {
            unsigned widest = table->count;
            for (unsigned column = 0; column < table->count; column++) {
                size_t floor = pass == 1 ? 1 : table->columns[column].least;
                bool may = floor > 0 && layout->width[column] > floor;
                if (may &&
                    (widest == table->count || layout->width[column] > layout->width[widest])) {
                    widest = column;
                }
            }
            if (widest == table->count) {
                break;
            }
            layout->width[widest]--;
            total--;
        }
    }
}

static void lay_out(const struct table *table, size_t columns, struct layout *layout)
{
    lay_out_naturally(table, layout);
    while (least_width(table, layout) > columns && drop_column(table, layout)) {
    }
    cut_columns(table, layout, columns);
}

/* --- lines ------------------------------------------------------------------------------------- */

static void put_cell(struct buf *out, struct str text, size_t width, bool right, bool last)
{
    struct buf shown;
    buf_init(&shown, TABLE_BYTES_MAX);
    size_t used = text_cut(&shown, text, width);
    if (right) {
        text_pad(out, width - used);
    }
    buf_append(out, shown.data, shown.len);
    if (!right && !last) {
        text_pad(out, width - used);
    }
    if (shown.err != 0 && out->err == 0) {
        out->err = shown.err;
    }
    buf_fini(&shown);
}

static struct str without_styles(struct str text, struct buf *room)
{
    buf_clear(room);
    for (size_t i = 0; i < text.len; i++) {
        if (text_style_of(text.ptr[i]) == STYLE_COUNT) {
            buf_char(room, text.ptr[i]);
        }
    }
    return (struct str){room->data, room->len};
}

/* `row` < 0: the titles. */
static void put_line(const struct table *table, const struct layout *layout,
                     const struct table_view *view, int row, struct buf *room, struct buf *out)
{
    bool selected = row >= 0 && row == view->selected;
    unsigned last = table->count;
    for (unsigned column = 0; column < table->count; column++) {
        last = layout->width[column] > 0 ? column : last;
    }
    if (selected || row < 0) {
        text_style(out, selected ? STYLE_SELECTED : STYLE_STRONG);
    }
    text_pad(out, view->indent);
    size_t used = 0;
    for (unsigned column = 0; column < table->count; column++) {
        if (layout->width[column] == 0) {
            continue;
        }
        struct str text =
            row < 0 ? str_of(table->columns[column].title) : cell_at(table, row, column);
        text = selected ? without_styles(text, room) : text;
        out->err = out->err == 0 ? room->err : out->err;
        text_pad(out, used > 0 ? TABLE_GAP : 0);
        bool styled = text.len > 0 && text_style_of(text.ptr[0]) != STYLE_COUNT;
        put_cell(out, text, layout->width[column], table->columns[column].right,
                 column == last && !selected);
        if (styled) {
            text_style(out, STYLE_PLAIN);
        }
        used += (used > 0 ? TABLE_GAP : 0) + layout->width[column];
    }
    if (selected && used + view->indent < view->columns) {
        text_pad(out, view->columns < TEXT_COLUMNS_MAX ? view->columns - used - view->indent : 0);
    }
    if (selected || row < 0) {
        text_style(out, STYLE_PLAIN);
    }
    buf_char(out, '\n');
}

void table_render(const struct table *table, const struct table_view *view, struct buf *out)
{
    int err = table->text.err != 0 ? table->text.err : table->ends.err;
    if (err != 0) {
        out->err = out->err == 0 ? err : out->err;
        return;
    }
    struct layout layout;
    struct buf room;
    buf_init(&room, TABLE_BYTES_MAX);
    lay_out(table, view->columns > view->indent ? view->columns - view->indent : 1, &layout);
    put_line(table, &layout, view, -1, &room, out);
    int rows = table_rows(table);
    for (int row = view->first; row < rows && row - view->first < view->rows; row++) {
        put_line(table, &layout, view, row, &room, out);
    }
    buf_fini(&room);
}
