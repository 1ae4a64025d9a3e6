/*
 * A page of series and its samples as they are rendered ("lines": in two of three formats they are)
 *
 *     core     stamp | shown 0110… | who | value
 *     here     stamp | text: lines of 1 | lines of 2 | …        of what is shown
 *                      shown[slot].end --^           serial, and number or stamp: what they say
 *
 *   1. a page whose stamp is the one that was rendered stays
 *   2. in any other the lines of series that say the same are copied, those of scalars that only have
 *      another number get it behind their old labels, the rest is rendered
 *   3. the new text takes the place of the old one
 *   4. all pages of a family are copied, behind its head, which may have to say how long they are
 *
 * What can fail: memory. A page is as it was, or wholly new.
 */
#include "render/families.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"
#include "render/native.h"

enum {
    PAGE_TEXT_MAX = 1 << 28,
    LABELS_MAX = 1 << 17, /* METRIC_KEY_MAX with every byte escaped, and the hash */
    HEAD_MAX = 1 << 14,
    FIRST_BLOCKS = 32,
    COPY_STEP = 1024, /* see append_steps in page.c */
};

/* What the lines of a series in the text say. */
struct shown {
    uint64_t serial; /* 0: it has no lines */
    union {
        double number;
        uint64_t stamp; /* of a histogram */
    } said;
    uint32_t end;   /* of its lines in the text */
    uint32_t value; /* where the number of a scalar begins, from the first of its lines */
};

struct lines {
    uint64_t stamp; /* of the series' page; 0: nothing was rendered */
    char *text;     /* owned */
    size_t len;
    size_t room;
    bool plain; /* what the text says can be told from `shown` alone: see is_plain */
    struct shown shown[SERIES_PER_PAGE];
};

struct family_block {
    struct buf head; /* HELP, TYPE, UNIT */
    const struct family_shape *shape;
    struct form_bound *bounds; /* owned; of a histogram */
    struct lines **pages;      /* owned, each of them too */
    uint32_t page_count;
};

struct families {
    struct families_options options;
    bool created;                /* shown */
    struct family_block *blocks; /* owned */
    uint32_t count;
    uint32_t room;
    struct buf text;   /* of a page while it is made */
    struct buf labels; /* of the series at hand */
};

struct families *families_new(const struct families_options *options)
{
    struct families *families = mem_zalloc(1, sizeof *families);
    if (families != NULL) {
        families->options = *options;
        families->created =
            options->form->created == FORM_CREATED_FIELD ||
            (options->form->created == FORM_CREATED_SERIES && options->created_series);
        buf_init(&families->text, PAGE_TEXT_MAX);
        buf_init(&families->labels, LABELS_MAX);
    }
    return families;
}

static void free_lines(struct lines *lines)
{
    mem_free(lines->text);
    mem_free(lines);
}

static void fini_block(struct family_block *block)
{
    for (uint32_t i = 0; i < block->page_count; i++) {
        free_lines(block->pages[i]);
    }
    mem_free(block->pages);
    mem_free(block->bounds);
    buf_fini(&block->head);
}

void families_free(struct families *families)
{
    if (families == NULL) {
        return;
    }
    for (uint32_t i = 0; i < families->count; i++) {
        fini_block(&families->blocks[i]);
    }
    mem_free(families->blocks);
    buf_fini(&families->text);
    buf_fini(&families->labels);
    mem_free(families);
}

/* --- families and pages that are new ----------------------------------------------------------- */

static int reserve_blocks(struct families *families)
{
    if (families->count < families->room) {
        return 0;
    }
    uint32_t room = families->room == 0 ? FIRST_BLOCKS : families->room * 2;
    struct family_block *blocks = mem_realloc(families->blocks, room * sizeof *blocks);
    if (blocks == NULL) {
        return ERR_NOMEM;
    }
    families->blocks = blocks;
    families->room = room;
    return 0;
}

static int add_block(struct families *families, const struct family_shape *shape)
{
    const struct form *form = families->options.form;
    bool has_bounds = shape->type == FAMILY_HISTOGRAM;
    struct family_block block = {.shape = shape};
    int err = reserve_blocks(families);
    buf_init(&block.head, HEAD_MAX);
    form->head(form, shape, &block.head);
    if (has_bounds) {
        block.bounds = mem_zalloc(shape->bound_count + 1, sizeof *block.bounds);
    }
    if (err != 0 || block.head.err != 0 || (has_bounds && block.bounds == NULL)) {
        fini_block(&block);
        return ERR_NOMEM;
    }
    if (has_bounds) {
        form_bounds(shape->bounds, shape->bound_count, 1, block.bounds);
    }
    families->blocks[families->count++] = block;
    return 0;
}

/* As many pages as the view has. What an older or younger one has more of is rendered anew when it
 * comes again. */
static int meet_pages(struct family_block *block, uint32_t count)
{
    while (block->page_count > count) {
        free_lines(block->pages[--block->page_count]);
    }
    if (count == block->page_count) {
        return 0;
    }
    struct lines **pages = mem_realloc(block->pages, count * sizeof *pages);
    if (pages == NULL) {
        return ERR_NOMEM;
    }
    block->pages = pages;
    while (block->page_count < count) {
        struct lines *lines = mem_zalloc(1, sizeof *lines);
        if (lines == NULL) {
            return ERR_NOMEM;
        }
        block->pages[block->page_count++] = lines;
    }
    return 0;
}

/* --- one page ---------------------------------------------------------------------------------- */

/* Lines of a series in the old text. */
static struct str old_lines(const struct lines *lines, uint32_t slot)
{
    size_t begin = slot == 0 ? 0 : lines->shown[slot - 1].end;
    return (struct str){lines->text + begin, lines->shown[slot].end - begin};
}

/* Whether the lines can be told from the old ones: what stands behind a number may have changed with
 * it, but for what ends it. */
static bool is_plain(const struct families *families, const struct series_page *page)
{
    const struct form *form = families->options.form;
    return !(families->created && form->created == FORM_CREATED_SERIES) &&
           !(form->exemplars && page->exemplars != NULL);
}

static void append_renumbered(struct families *families, struct str old, const struct shown *shown)
{
    struct buf *out = &families->text;
    char *at = buf_reserve(out, shown->value + FORM_NUMBER_MAX);
    if (at != NULL) {
        memcpy(at, old.ptr, shown->value);
        out->len +=
            shown->value + families->options.form->number(shown->said.number, at + shown->value);
    }
}

/* The labels of a series, with the hash's where all have it. */
static struct str render_labels(struct families *families, const struct series_id *id)
{
    const struct form *form = families->options.form;
    struct buf *out = &families->labels;
    struct str name;
    struct str value;
    bool has_hash = families->options.hash.len == 0;
    buf_clear(out);
    for (const char *at = series_next_pair(id, NULL, &name, &value); at != NULL;
         at = series_next_pair(id, at, &name, &value)) {
        form->label(name.ptr, value, out);
        has_hash = has_hash || str_is(name, "constitutional_hash"); /* an info may say it itself */
    }
    if (!has_hash) {
        form->label("constitutional_hash", families->options.hash, out);
    }
    return (struct str){out->data, out->len};
}

static void render_histogram(struct families *families, const struct family_block *block,
                             struct str labels, const struct buckets *buckets, uint64_t created)
{
    const struct form *form = families->options.form;
    struct form_native native = native_of_buckets(buckets);
    struct form_histogram histogram = {
        .bounds = block->bounds,
        .bound_count = block->shape->bound_count,
        .counts = buckets->counts,
        .marks = buckets->exemplars == NULL ? NULL : buckets->exemplars->marks,
        .count = buckets->count,
        .sum = buckets->sum,
        .native = buckets->native ? &native : NULL,
        .created_wall_ns = created};
    form->histogram(form, block->shape, labels, &histogram, &families->text);
}

/* Renders the lines of one series. *ret_value says where the number of a scalar begins. */
static void render_series(struct families *families, const struct family_block *block,
                          const struct series_page *page, uint32_t slot, uint32_t *ret_value)
{
    const struct form *form = families->options.form;
    enum family_type type = block->shape->type;
    struct str labels = render_labels(families, page->who[slot]);
    bool has_created = type == FAMILY_COUNTER || type == FAMILY_HISTOGRAM;
    uint64_t created = families->created && has_created ? page->who[slot]->created_wall_ns : 0;
    if (families->labels.err != 0) {
        families->text.err = families->labels.err;
    } else if (type == FAMILY_HISTOGRAM) {
        render_histogram(families, block, labels, page->value[slot].buckets, created);
    } else {
        struct form_scalar scalar = {
            .number = page->value[slot].number,
            .mark = page->exemplars == NULL ? NULL : &page->exemplars->marks[slot],
            .created_wall_ns = created};
        *ret_value = form->scalar(form, block->shape, labels, &scalar, &families->text);
    }
}

/* Lines of one series that is shown, into families->text. */
static void render_slot(struct families *families, const struct family_block *block,
                        const struct series_page *page, uint32_t slot, const struct lines *old,
                        struct shown *ret)
{
    bool scalar = block->shape->type != FAMILY_HISTOGRAM;
    const struct shown *before = &old->shown[slot];
    union series_value value = page->value[slot];
    struct shown now = {.serial = page->who[slot]->serial, .value = before->value};
    if (scalar) {
        now.said.number = value.number;
    } else {
        now.said.stamp = value.buckets->stamp;
    }
    bool known = before->serial == now.serial;
    bool plain = scalar && old->plain && is_plain(families, page);
    if (known && memcmp(&before->said, &now.said, sizeof now.said) == 0 && (plain || !scalar)) {
        buf_str(&families->text, old_lines(old, slot));
    } else if (known && plain) {
        append_renumbered(families, old_lines(old, slot), &now);
    } else {
        render_series(families, block, page, slot, &now.value);
    }
    *ret = now;
}

/* Takes a copy that fits: pages are many, and room to grow in each would add up. */
static int take_text(struct lines *lines, const struct buf *text)
{
    if (text->len > lines->room || text->len < lines->room / 2) {
        char *fit = text->len == 0 ? NULL : mem_realloc(lines->text, text->len);
        if (fit == NULL && text->len > 0) {
            return ERR_NOMEM;
        }
        if (text->len == 0) {
            mem_free(lines->text);
        }
        lines->text = fit;
        lines->room = text->len;
    }
    if (text->len > 0) {
        memcpy(lines->text, text->data, text->len);
    }
    lines->len = text->len;
    return 0;
}

static int render_page(struct families *families, const struct family_block *block,
                       const struct series_page *page, struct lines *lines)
{
    struct shown shown[SERIES_PER_PAGE];
    struct buf *text = &families->text;
    buf_clear(text);
    for (uint32_t slot = 0; slot < SERIES_PER_PAGE; slot++) {
        shown[slot] = (struct shown){0};
        if ((page->shown >> slot & 1) != 0) {
            render_slot(families, block, page, slot, lines, &shown[slot]);
        }
        shown[slot].end = (uint32_t)text->len;
    }
    int err = text->err != 0 ? text->err : take_text(lines, text);
    if (err != 0) {
        return err;
    }
    memcpy(lines->shown, shown, sizeof lines->shown);
    lines->stamp = page->stamp;
    lines->plain = is_plain(families, page);
    return 0;
}

/* --- the whole --------------------------------------------------------------------------------- */

static void append_steps(struct str text, struct buf *out)
{
    while (text.len > 0) {
        size_t step = text.len < COPY_STEP ? text.len : COPY_STEP;
        buf_append(out, text.ptr, step);
        text.ptr += step;
        text.len -= step;
    }
}

/* Makes the text of all pages the present one, and adds up how long it is. */
static int refresh_pages(struct families *families, struct family_block *block,
                         const struct family_view *view, size_t *ret_len)
{
    size_t len = 0;
    int err = meet_pages(block, view->page_count);
    for (uint32_t i = 0; err == 0 && i < view->page_count; i++) {
        if (i + 1 < view->page_count) {
            __builtin_prefetch(view->pages[i + 1]);
        }
        if (block->pages[i]->stamp != view->pages[i]->stamp) {
            err = render_page(families, block, view->pages[i], block->pages[i]);
        }
        len += block->pages[i]->len;
    }
    *ret_len = len;
    return err;
}

static int render_block(struct families *families, struct family_block *block,
                        const struct family_view *view, struct buf *out)
{
    size_t len;
    int err = refresh_pages(families, block, view, &len);
    if (err != 0) {
        return err;
    }
    const struct form *form = families->options.form;
    form->begin(form, block->shape, (struct str){block->head.data, block->head.len}, len, out);
    for (uint32_t i = 0; i < view->page_count; i++) {
        append_steps((struct str){block->pages[i]->text, block->pages[i]->len}, out);
    }
    return 0;
}

int families_render(struct families *families, const struct metrics_view *view, struct buf *out)
{
    int err = 0;
    while (err == 0 && families->count < view->family_count) {
        err = add_block(families, &view->families[families->count].family->shape);
    }
    for (uint32_t i = 0; err == 0 && i < view->family_count; i++) {
        err = render_block(families, &families->blocks[i], &view->families[i], out);
    }
    return err != 0 ? err : out->err;
}
