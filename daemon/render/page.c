#include "render/page.h"

#include <assert.h>

#include "base/err.h"
#include "base/mem.h"

enum {
    FIRST_CAPACITY = 16,
    TEXT_MAX = 1 << 30, /* the ceiling on models comes long before it */
    COPY_STEP = 1024,   /* see append_steps */
    PATCHES_SHARE = 16, /* patches are settled when they are longer than the text by this */
};

void page_init(struct page *page, uint32_t rows)
{
    assert(rows <= PAGE_ROWS_MAX);
    *page = (struct page){.rows = rows};
    buf_init(&page->text, TEXT_MAX);
    buf_init(&page->patches, TEXT_MAX);
}

void page_fini(struct page *page)
{
    buf_fini(&page->text);
    buf_fini(&page->patches);
    mem_free(page->starts);
    mem_free(page->places);
    mem_free(page->patched);
    mem_free(page->listed);
}

/* The array with room for so many elements; as it was, and *failed, without memory. */
static void *grow(void *array, uint32_t capacity, size_t size, bool *failed)
{
    void *grown = mem_realloc(array, capacity * size);
    *failed = *failed || grown == NULL;
    return grown == NULL ? array : grown;
}

/* Arrays that could grow are larger than they need be after a failure. */
int page_reserve(struct page *page, uint32_t columns)
{
    uint32_t capacity = page->capacity == 0 ? FIRST_CAPACITY : page->capacity;
    bool failed = false;
    while (capacity < columns) {
        capacity *= 2;
    }
    if (capacity == page->capacity) {
        return 0;
    }
    page->places = grow(page->places, capacity, sizeof *page->places, &failed);
    page->patched = grow(page->patched, capacity, sizeof *page->patched, &failed);
    page->listed = grow(page->listed, capacity, sizeof *page->listed, &failed);
    if (failed) {
        return ERR_NOMEM;
    }
    for (uint32_t i = page->capacity; i < capacity; i++) {
        page->patched[i] = 0;
    }
    page->capacity = capacity;
    return 0;
}

bool page_has(const struct page *page, uint32_t column)
{
    return column < page->count || page->patched[column] != 0;
}

/* Start of a column's piece in the text, or with page->count the end of the row. */
static size_t start_of(const struct page *page, uint32_t row, uint32_t column)
{
    return page->starts == NULL ? 0 : page->starts[(size_t)row * page->count + column];
}

static bool is_patched(const struct page *page, uint32_t row, uint32_t column)
{
    return (page->patched[column] & 1u << row) != 0;
}

static struct str patch_of(const struct page *page, uint32_t row, uint32_t column)
{
    const struct page_patch *patch = &page->places[column];
    size_t begin = row == 0 ? patch->begin : patch->ends[row - 1];
    return (struct str){page->patches.data + begin, patch->ends[row] - begin};
}

/* Bytes of a column's piece in the text. */
static size_t text_len(const struct page *page, uint32_t row, uint32_t column)
{
    return column < page->count ? start_of(page, row, column + 1) - start_of(page, row, column) : 0;
}

/* --- new pieces -------------------------------------------------------------------------------- */

struct buf *page_open(struct page *page)
{
    page->opened = page->patches.len;
    return &page->patches;
}

/* Pieces as long as those in the text take their place; mostly all but a few do. */
static void patch_in_place(struct page *page, uint32_t column)
{
    for (uint32_t row = 0; row < page->rows; row++) {
        struct str piece = patch_of(page, row, column);
        if (piece.len == text_len(page, row, column)) {
            if (piece.len > 0) {
                memcpy(page->text.data + start_of(page, row, column), piece.ptr, piece.len);
            }
            page->patched[column] &= (uint16_t) ~(1u << row);
        }
    }
    if (page->patched[column] == 0) {
        page->patches.len = page->opened;
    }
}

int page_close(struct page *page, uint32_t column, const size_t *ends)
{
    int err = page->patches.err;
    if (err != 0) {
        page->patches.len = page->opened;
        page->patches.err = 0;
        return err;
    }
    page->places[column].begin = page->opened;
    memcpy(page->places[column].ends, ends, page->rows * sizeof *ends);
    page->patched[column] = (uint16_t)((1u << page->rows) - 1);
    if (column < page->count) {
        patch_in_place(page, column);
    }
    return 0;
}

/* --- an answer --------------------------------------------------------------------------------- */

void page_list(struct page *page, uint32_t columns)
{
    assert(columns >= page->count);
    page->listed_count = 0;
    for (uint32_t i = 0; i < columns; i++) {
        if (page->patched[i] != 0) {
            page->listed[page->listed_count++] = i;
        }
    }
}

size_t page_row_len(const struct page *page, uint32_t row)
{
    size_t len = start_of(page, row, page->count) - start_of(page, row, 0);
    for (uint32_t i = 0; i < page->listed_count; i++) {
        uint32_t column = page->listed[i];
        if (is_patched(page, row, column)) {
            len += patch_of(page, row, column).len - text_len(page, row, column);
        }
    }
    return len;
}

/* In small steps, because above some size memcpy is one instruction (rep movsb), which takes up to
 * ten times as long on some processors when the distance of source and target is near a multiple of
 * a memory page, as it is here by chance and then for long. */
static void append_steps(struct buf *out, const char *bytes, size_t len)
{
    while (len > 0) {
        size_t step = len < COPY_STEP ? len : COPY_STEP;
        buf_append(out, bytes, step);
        bytes += step;
        len -= step;
    }
}

/* Copies a row's text from *cursor to where a column's piece begins. */
static void copy_until(const struct page *page, uint32_t row, uint32_t column, size_t *cursor,
                       struct buf *out)
{
    size_t end = start_of(page, row, column);
    if (end > *cursor) {
        append_steps(out, page->text.data + *cursor, end - *cursor);
    }
    *cursor = end;
}

void page_append_row(const struct page *page, uint32_t row, struct buf *out)
{
    size_t cursor = start_of(page, row, 0);
    for (uint32_t i = 0; i < page->listed_count; i++) {
        uint32_t column = page->listed[i];
        if (is_patched(page, row, column)) {
            copy_until(page, row, column < page->count ? column : page->count, &cursor, out);
            buf_str(out, patch_of(page, row, column));
            cursor += text_len(page, row, column);
        }
    }
    copy_until(page, row, page->count, &cursor, out);
}

/* --- patches become text ----------------------------------------------------------------------- */

/* Starts of the pieces in the rows that were put together. */
static void measure(const struct page *page, uint32_t columns, size_t *starts)
{
    size_t at = 0;
    for (uint32_t row = 0; row < page->rows; row++) {
        for (uint32_t column = 0; column < columns; column++) {
            *starts++ = at;
            at += is_patched(page, row, column) ? patch_of(page, row, column).len
                                                : text_len(page, row, column);
        }
    }
    *starts = at;
}

/* Empties the patches, and gives memory back after a time when many columns changed at once. */
static void drop_patches(struct page *page)
{
    if (page->patches.cap > page->text.len / 2) {
        buf_fini(&page->patches);
    } else {
        buf_clear(&page->patches);
    }
    for (uint32_t i = 0; i < page->capacity; i++) {
        page->patched[i] = 0;
    }
}

void page_settle(struct page *page, uint32_t columns, const struct str *rows)
{
    size_t len = 0;
    if (page->patches.len <= page->text.len / PATCHES_SHARE) {
        return;
    }
    for (uint32_t row = 0; row < page->rows; row++) {
        len += rows[row].len;
    }
    size_t *starts = mem_alloc(((size_t)page->rows * columns + 1) * sizeof *starts);
    if (starts == NULL ||
        (len > page->text.len && buf_reserve(&page->text, len - page->text.len) == NULL)) {
        page->text.err = 0;
        mem_free(starts);
        return;
    }
    measure(page, columns, starts);
    mem_free(page->starts);
    page->starts = starts;
    page->count = columns;
    buf_clear(&page->text);
    for (uint32_t row = 0; row < page->rows; row++) {
        append_steps(&page->text, rows[row].ptr, rows[row].len); /* there is room */
    }
    drop_patches(page);
}
