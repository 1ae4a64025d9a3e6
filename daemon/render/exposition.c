/*
 * An answer
 *   1. refresh   the lines of every model that changed since they were last rendered, or whose window
 *                did with the passing of time, are rendered; lines of the same length take the place
 *                of the old ones in the page, others stay behind as patches
 *   2. gather    the page is copied, with patches in place of what they replace
 *   3. settle    once the patches are many, the copy becomes the page
 *   4. families  those of clients follow (render/families)
 *   5. own       the families of the service and of the daemon are rendered anew
 *
 * A page is all families of models, cut into pieces. Below, model 1 is patched and model 3 is new:
 *
 *     page      head | model 0 | model 1 | model 2 | head | model 0 | model 1 | model 2 | …
 *                 family 0                           family 1
 *     patches   model 1: family 0, family 1, … | model 3: family 0, family 1, …
 *
 *     answer    head | model 0 | patch 1 | model 2 | patch 3 | head | model 0 | patch 1 | …
 *
 * What can fail: memory, or the ceiling of the answer. A model counts as fresh only after its lines
 * are whole, and the page is exchanged in one step, so the next answer is right again.
 *
 * Why not the lines of each model on their own, put together for each answer: a thousand models have
 * fourteen thousand pieces, and copying so many small ones takes twice as long as few large.
 */
#include "render/exposition.h"

#include "base/err.h"
#include "base/mem.h"
#include "base/name.h"
#include "render/families.h"
#include "render/label.h"
#include "render/own.h"
#include "render/series.h"

const char *const exposition_content_types[] = {
    [EXPOSITION_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
    [EXPOSITION_OPENMETRICS] =
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
};

_Static_assert(sizeof exposition_content_types / sizeof exposition_content_types[0] ==
                   EXPOSITION_FORMAT_COUNT,
               "one each");

enum {
    FIRST_CAPACITY = 16,
    LABEL_BYTES_MAX = 1 << 20,
    PAGE_BYTES_MAX = 1 << 30, /* the ceiling on models comes long before it */
    ALL_FAMILIES = (1 << SERIES_COUNT) - 1,
    PREFETCH = 16,      /* models ahead */
    COPY_STEP = 1024,   /* see append_steps */
    PATCHES_SHARE = 16, /* patches are settled when they are longer than the page by this */
};

/* What is known of a model's lines in one format. */
struct entry {
    uint64_t stamp;   /* of the model */
    uint64_t slot;    /* in which `visible` was counted */
    uint32_t visible; /* tallies in the window: with the stamp it says which ones */
    bool fresh;       /* the lines are those of stamp and visible */
    uint16_t patched; /* families, 1 << series, whose lines are in the patches, not in the page */
};

_Static_assert(SERIES_COUNT <= 16, "a bit for each family");

/* Where a model's lines lie in the patches. */
struct patch {
    size_t begin;
    size_t ends[SERIES_COUNT]; /* of each family */
};

/* Pieces of a family: the head, then a piece for each model of the page. */
struct page {
    struct buf text;
    size_t *starts; /* owned: of each piece in the text, and the end of the last one */
    uint32_t count; /* models in the page */
    struct buf patches;
    struct thresholds thresholds; /* that the verdicts are by */
    struct entry *entries;        /* owned, one for each model known */
    struct patch *places;         /* owned, likewise; of those that are patched */
    uint32_t *patched;            /* owned: numbers of the patched models, ascending */
    uint32_t patched_count;
};

struct exposition {
    char *prefix;        /* owned, as all texts here */
    char *hash_label;    /* constitutional_hash="…", or empty */
    char *target_labels; /* of the service */
    char *build_labels;  /* of the daemon */
    struct label_names names;
    struct series_style style;
    char **labels;     /* of each model; owned, each of them too, terminated */
    uint32_t count;    /* models known: of labels, and of the entries of each page */
    uint32_t capacity; /* there is room for */
    struct page pages[EXPOSITION_FORMAT_COUNT];
    struct families *families[EXPOSITION_FORMAT_COUNT]; /* of clients; owned */
    struct profile_scratch scratch;
};

/* --- making one -------------------------------------------------------------------------------- */

static char *render_prefix(struct str name_space)
{
    struct buf out;
    buf_init(&out, name_space.len + 2);
    buf_str(&out, name_space);
    buf_puts(&out, name_space.len > 0 ? "_" : "");
    return buf_steal(&out);
}

static char *render_hash_label(const struct exposition_options *options)
{
    struct buf out;
    buf_init(&out, LABEL_BYTES_MAX);
    if (options->hash_label) {
        label_render("constitutional_hash", options->constitutional_hash, &out);
    }
    return buf_steal(&out);
}

static char *render_target_labels(const struct exposition_options *options)
{
    struct buf out;
    buf_init(&out, LABEL_BYTES_MAX);
    for (uint32_t i = 0; out.err == 0 && i < options->resource_count; i++) {
        const struct label *label = &options->resource[i];
        char *name = mem_alloc(label->key.len + 2);
        if (name == NULL) {
            buf_fini(&out);
            return NULL;
        }
        name[name_sanitise(label->key, name)] = '\0';
        label_render(name, label->value, &out);
        mem_free(name);
    }
    return buf_steal(&out);
}

static char *render_build_labels(const struct exposition_options *options)
{
    struct buf out;
    buf_init(&out, LABEL_BYTES_MAX);
    label_render("version", options->dwelld_version, &out);
    return buf_steal(&out);
}

static int make_families(struct exposition *exposition, const struct exposition_options *options)
{
    for (unsigned i = 0; i < EXPOSITION_FORMAT_COUNT; i++) {
        exposition->families[i] = families_new(
            &(const struct families_options){.format = (enum exposition_format)i,
                                             .hash_label = str_of(exposition->hash_label),
                                             .created = options->created_series});
        if (exposition->families[i] == NULL) {
            return ERR_NOMEM;
        }
    }
    return 0;
}

struct exposition *exposition_new(const struct exposition_options *options)
{
    struct exposition *exposition = mem_zalloc(1, sizeof *exposition);
    if (exposition == NULL) {
        return NULL;
    }
    for (unsigned i = 0; i < EXPOSITION_FORMAT_COUNT; i++) {
        buf_init(&exposition->pages[i].text, PAGE_BYTES_MAX);
        buf_init(&exposition->pages[i].patches, PAGE_BYTES_MAX);
    }
    exposition->prefix = render_prefix(options->name_space);
    exposition->hash_label = render_hash_label(options);
    exposition->target_labels = render_target_labels(options);
    exposition->build_labels = render_build_labels(options);
    if (exposition->prefix == NULL || exposition->hash_label == NULL ||
        exposition->target_labels == NULL || exposition->build_labels == NULL ||
        make_families(exposition, options) != 0 ||
        label_names_init(&exposition->names, options->label_keys, options->label_key_count) != 0) {
        exposition_free(exposition);
        return NULL;
    }
    series_style_init(&exposition->style, str_of(exposition->prefix));
    return exposition;
}

static void fini_page(struct page *page)
{
    buf_fini(&page->text);
    buf_fini(&page->patches);
    mem_free(page->starts);
    mem_free(page->entries);
    mem_free(page->places);
    mem_free(page->patched);
}

void exposition_free(struct exposition *exposition)
{
    if (exposition == NULL) {
        return;
    }
    for (uint32_t i = 0; i < exposition->count; i++) {
        mem_free(exposition->labels[i]);
    }
    mem_free(exposition->labels);
    for (unsigned i = 0; i < EXPOSITION_FORMAT_COUNT; i++) {
        fini_page(&exposition->pages[i]);
        families_free(exposition->families[i]);
    }
    mem_free(exposition->prefix);
    mem_free(exposition->hash_label);
    mem_free(exposition->target_labels);
    mem_free(exposition->build_labels);
    label_names_fini(&exposition->names);
    mem_free(exposition);
}

/* --- 1. refresh -------------------------------------------------------------------------------- */

/* The array with room for so many elements; as it was, and *failed, without memory. */
static void *grow(void *array, uint32_t capacity, size_t size, bool *failed)
{
    void *grown = mem_realloc(array, capacity * size);
    *failed = *failed || grown == NULL;
    return grown == NULL ? array : grown;
}

/* Makes room in all arrays. Those that could grow are larger than they need be after a failure. */
static int reserve_models(struct exposition *exposition, uint32_t count)
{
    uint32_t capacity = exposition->capacity == 0 ? FIRST_CAPACITY : exposition->capacity;
    bool failed = false;
    while (capacity < count) {
        capacity *= 2;
    }
    if (capacity == exposition->capacity) {
        return 0;
    }
    exposition->labels = grow(exposition->labels, capacity, sizeof *exposition->labels, &failed);
    for (unsigned i = 0; i < EXPOSITION_FORMAT_COUNT; i++) {
        struct page *page = &exposition->pages[i];
        page->entries = grow(page->entries, capacity, sizeof *page->entries, &failed);
        page->places = grow(page->places, capacity, sizeof *page->places, &failed);
        page->patched = grow(page->patched, capacity, sizeof *page->patched, &failed);
    }
    if (failed) {
        return ERR_NOMEM;
    }
    exposition->capacity = capacity;
    return 0;
}

static char *render_labels(const struct exposition *exposition, const struct model_id *id)
{
    struct buf out;
    buf_init(&out, LABEL_BYTES_MAX);
    label_render("model_name", id->name, &out);
    if (id->device.len > 0) {
        label_render("device", id->device, &out);
    }
    for (uint32_t i = 0; i < id->label_count; i++) {
        const struct label *label = &id->labels[i];
        label_render(label_names_get(&exposition->names, label->key), label->value, &out);
    }
    if (id->overflow) {
        label_render("dwell_overflow", STR_LITERAL("true"), &out);
    }
    if (exposition->hash_label[0] != '\0') {
        buf_char(&out, ',');
        buf_puts(&out, exposition->hash_label);
    }
    return buf_steal(&out);
}

/* Models are never removed and keep their numbers; here are those that came since the last answer. */
static int meet_models(struct exposition *exposition, const struct snapshot *snapshot)
{
    int err = reserve_models(exposition, snapshot->model_count);
    while (err == 0 && exposition->count < snapshot->model_count) {
        uint32_t number = exposition->count;
        char *labels = render_labels(exposition, snapshot->models[number]->id);
        if (labels == NULL) {
            return ERR_NOMEM;
        }
        exposition->labels[number] = labels;
        for (unsigned i = 0; i < EXPOSITION_FORMAT_COUNT; i++) {
            exposition->pages[i].entries[number] = (struct entry){0};
        }
        exposition->count++;
    }
    return err;
}

/* Tallies are in order of time, so their number says which ones are in the window. */
static uint32_t count_visible(const struct model *model, uint64_t slot)
{
    uint32_t visible = registry_in_window(model->current, slot) ? 1 : 0;
    for (uint32_t i = 0; i < model->closed_count; i++) {
        visible += registry_in_window(model->closed[i], slot) ? 1 : 0;
    }
    return visible;
}

static struct str patch_lines(const struct page *page, uint32_t number, unsigned series)
{
    const struct patch *patch = &page->places[number];
    size_t begin = series == 0 ? patch->begin : patch->ends[series - 1];
    return (struct str){page->patches.data + begin, patch->ends[series] - begin};
}

/* The piece of a model that is in the page. */
static size_t piece_of(const struct page *page, uint32_t number, unsigned series)
{
    return (size_t)series * (page->count + 1) + 1 + number;
}

/* Lines as long as those in the page take their place; mostly all but a few do. */
static void patch_in_place(struct page *page, uint32_t number)
{
    struct entry *entry = &page->entries[number];
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        struct str lines = patch_lines(page, number, i);
        const size_t *start = &page->starts[piece_of(page, number, i)];
        if (lines.len == start[1] - start[0]) {
            memcpy(page->text.data + start[0], lines.ptr, lines.len);
            entry->patched &= (uint16_t) ~(1u << i);
        }
    }
    if (entry->patched == 0) {
        page->patches.len = page->places[number].begin;
    }
}

static int patch_model(struct exposition *exposition, const struct snapshot *snapshot,
                       enum exposition_format format, uint32_t number)
{
    struct page *page = &exposition->pages[format];
    struct entry *entry = &page->entries[number];
    struct series_subject subject = {.snapshot = snapshot,
                                     .model = snapshot->models[number],
                                     .labels = str_of(exposition->labels[number]),
                                     .exemplars = format == EXPOSITION_OPENMETRICS};
    struct patch patch = {.begin = page->patches.len};
    entry->fresh = false;
    series_render(&exposition->style, &subject, &exposition->scratch, &page->patches, patch.ends);
    if (page->patches.err != 0) {
        int err = page->patches.err;
        page->patches.len = patch.begin;
        page->patches.err = 0;
        return err;
    }
    page->places[number] = patch;
    entry->patched = ALL_FAMILIES;
    if (number < page->count) {
        patch_in_place(page, number);
    }
    entry->fresh = true;
    return 0;
}

static int refresh_model(struct exposition *exposition, const struct snapshot *snapshot,
                         enum exposition_format format, uint32_t number)
{
    const struct model *model = snapshot->models[number];
    struct entry *entry = &exposition->pages[format].entries[number];
    bool same = entry->fresh && entry->stamp == model_stamp(model);
    if (same && entry->slot == snapshot->slot) {
        return 0;
    }
    uint32_t visible = count_visible(model, snapshot->slot);
    if (!same || visible != entry->visible) {
        int err = patch_model(exposition, snapshot, format, number);
        if (err != 0) {
            return err;
        }
        entry->stamp = model_stamp(model);
        entry->visible = visible;
    }
    entry->slot = snapshot->slot;
    return 0;
}

static void adopt_thresholds(struct page *page, const struct thresholds *thresholds, uint32_t count)
{
    if (memcmp(&page->thresholds, thresholds, sizeof *thresholds) != 0) {
        page->thresholds = *thresholds;
        for (uint32_t i = 0; i < count; i++) {
            page->entries[i].fresh = false;
        }
    }
}

/* Models in the answer: all of the snapshot, and those that a younger one brought to the page. */
static uint32_t count_shown(const struct page *page, const struct snapshot *snapshot)
{
    return page->count > snapshot->model_count ? page->count : snapshot->model_count;
}

static void list_patched(struct page *page, uint32_t shown)
{
    page->patched_count = 0;
    for (uint32_t i = 0; i < shown; i++) {
        if (page->entries[i].patched != 0) {
            page->patched[page->patched_count++] = i;
        }
    }
}

static int refresh(struct exposition *exposition, const struct snapshot *snapshot,
                   enum exposition_format format)
{
    struct page *page = &exposition->pages[format];
    int err = meet_models(exposition, snapshot);
    if (err != 0) {
        return err;
    }
    adopt_thresholds(page, &snapshot->thresholds, exposition->count);
    for (uint32_t i = 0; err == 0 && i < snapshot->model_count; i++) {
        if (i + PREFETCH < snapshot->model_count) {
            __builtin_prefetch(snapshot->models[i + PREFETCH]);
        }
        err = refresh_model(exposition, snapshot, format, i);
    }
    list_patched(page, count_shown(page, snapshot));
    return err;
}

/* --- 2. gather --------------------------------------------------------------------------------- */

/* In small steps, because above some size memcpy is one instruction (rep movsb), which takes up to
 * ten times as long on some processors when the distance of source and target is near a multiple of
 * a memory page, as it is here by chance and then for long. */
static void append_steps(struct buf *out, struct str text)
{
    while (text.len > 0) {
        size_t step = text.len < COPY_STEP ? text.len : COPY_STEP;
        buf_append(out, text.ptr, step);
        text.ptr += step;
        text.len -= step;
    }
}

/* Copies the page from *cursor to a piece. */
static void copy_until(const struct page *page, size_t piece, size_t *cursor, struct buf *out)
{
    size_t end = page->starts[piece];
    append_steps(out, (struct str){page->text.data + *cursor, end - *cursor});
    *cursor = end;
}

static void gather_family(const struct page *page, unsigned series, size_t *cursor, struct buf *out)
{
    for (uint32_t i = 0; i < page->patched_count; i++) {
        uint32_t number = page->patched[i];
        if ((page->entries[number].patched & 1u << series) == 0) {
            continue;
        }
        uint32_t before = number < page->count ? number : page->count;
        copy_until(page, piece_of(page, before, series), cursor, out);
        buf_str(out, patch_lines(page, number, series));
        if (number < page->count) {
            *cursor = page->starts[piece_of(page, number, series) + 1];
        }
    }
}

static void gather(const struct page *page, struct buf *out)
{
    size_t cursor = 0;
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        gather_family(page, i, &cursor, out);
    }
    copy_until(page, (size_t)SERIES_COUNT * (page->count + 1), &cursor, out);
}

/* --- 3. settle --------------------------------------------------------------------------------- */

/* A page without models: the heads. */
static int begin_page(struct exposition *exposition, enum exposition_format format)
{
    struct page *page = &exposition->pages[format];
    if (page->starts != NULL) {
        return 0;
    }
    size_t *starts = mem_alloc((SERIES_COUNT + 1) * sizeof *starts);
    if (starts == NULL) {
        return ERR_NOMEM;
    }
    buf_clear(&page->text); /* what a failed attempt left */
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        const struct series_row *row = &series_rows[i];
        starts[i] = page->text.len;
        family_render_head(format, row->type, exposition->style.prefix, row->name, row->help,
                           &page->text);
    }
    starts[SERIES_COUNT] = page->text.len;
    if (page->text.err != 0) {
        mem_free(starts);
        return page->text.err;
    }
    page->starts = starts;
    return 0;
}

static size_t piece_len(const struct page *page, unsigned series, uint32_t number)
{
    if ((page->entries[number].patched & 1u << series) != 0) {
        return patch_lines(page, number, series).len;
    }
    size_t piece = piece_of(page, number, series);
    return page->starts[piece + 1] - page->starts[piece];
}

/* Starts of the pieces in what was gathered. */
static void measure(const struct page *page, uint32_t count, size_t *starts)
{
    size_t at = 0;
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        size_t head = (size_t)i * (page->count + 1);
        *starts++ = at;
        at += page->starts[head + 1] - page->starts[head];
        for (uint32_t number = 0; number < count; number++) {
            *starts++ = at;
            at += piece_len(page, i, number);
        }
    }
    *starts = at;
}

/* Empties the patches, and gives memory back after a time when many models changed at once. */
static void drop_patches(struct page *page)
{
    if (page->patches.cap > page->text.len / 2) {
        buf_fini(&page->patches);
    } else {
        buf_clear(&page->patches);
    }
}

/* Makes what was gathered the page, of `count` models out of `known`. Without memory for it
 * everything stays, to be tried again. */
static void settle(struct page *page, uint32_t count, uint32_t known, struct str gathered)
{
    size_t *starts = mem_alloc(((size_t)SERIES_COUNT * (count + 1) + 1) * sizeof *starts);
    if (starts == NULL || (gathered.len > page->text.len &&
                           buf_reserve(&page->text, gathered.len - page->text.len) == NULL)) {
        page->text.err = 0;
        mem_free(starts);
        return;
    }
    measure(page, count, starts);
    mem_free(page->starts);
    page->starts = starts;
    page->count = count;
    buf_clear(&page->text);
    append_steps(&page->text, gathered); /* there is room */
    drop_patches(page);
    for (uint32_t i = 0; i < known; i++) {
        page->entries[i].fresh = page->entries[i].fresh && i < count;
        page->entries[i].patched = 0;
    }
}

/* --- the whole --------------------------------------------------------------------------------- */

/* The families of models. */
static int render_models(struct exposition *exposition, const struct snapshot *snapshot,
                         enum exposition_format format, struct buf *out)
{
    struct page *page = &exposition->pages[format];
    int err = begin_page(exposition, format);
    if (err == 0) {
        err = refresh(exposition, snapshot, format);
    }
    if (err != 0) {
        return err;
    }
    size_t begin = out->len;
    gather(page, out);
    if (out->err == 0 && page->patches.len > page->text.len / PATCHES_SHARE) {
        settle(page, count_shown(page, snapshot), exposition->count,
               (struct str){out->data + begin, out->len - begin});
    }
    return out->err;
}

int exposition_render(struct exposition *exposition, const struct snapshot *snapshot,
                      enum exposition_format format, const struct exposition_process *process,
                      struct buf *out)
{
    int err = render_models(exposition, snapshot, format, out);
    if (err == 0) {
        err = families_render(exposition->families[format], &snapshot->metrics, out);
    }
    if (err != 0) {
        out->err = out->err == 0 ? err : out->err;
        return out->err;
    }
    own_render(&(const struct own){.snapshot = snapshot,
                                   .process = process,
                                   .format = format,
                                   .hash_label = exposition->hash_label,
                                   .target_labels = exposition->target_labels,
                                   .build_labels = exposition->build_labels},
               out);
    if (format == EXPOSITION_OPENMETRICS) {
        buf_puts(out, "# EOF\n");
    }
    return out->err;
}
