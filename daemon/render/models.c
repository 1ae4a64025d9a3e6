/*
 * An answer
 *   1. refresh   the samples of every model that changed since they were last rendered, or whose window
 *                did with the passing of time, are rendered into the page (render/page)
 *   2. gather    family by family the page is copied
 *   3. settle    what was gathered may become the page
 *
 * What can fail: memory, or the ceiling of the answer. A model counts as fresh only after its samples
 * are whole, and the page is exchanged in one step, so the next answer is right again.
 */
#include "render/models.h"

#include "base/err.h"
#include "base/mem.h"
#include "render/page.h"

enum {
    FIRST_CAPACITY = 16,
    LABEL_BYTES_MAX = 1 << 20,
    HEADS_MAX = 1 << 16,
    PREFETCH = 16, /* models ahead */
};

_Static_assert((int)SERIES_COUNT <= (int)PAGE_ROWS_MAX, "a row each");

/* What is known of a model. */
struct entry {
    uint64_t stamp;    /* of the model */
    uint64_t slot;     /* in which `visible` was counted */
    uint32_t visible;  /* tallies in the window: with the stamp it says which ones */
    bool fresh;        /* the samples in the page are those of stamp and visible */
    struct str labels; /* rendered; owned */
};

struct models {
    struct models_options options;
    struct buf heads;
    size_t head_ends[SERIES_COUNT];
    struct thresholds thresholds; /* that the verdicts are by */
    struct entry *entries;        /* owned */
    uint32_t count;               /* models known */
    uint32_t capacity;
    struct page page;
};

struct models *models_new(const struct models_options *options)
{
    struct models *models = mem_zalloc(1, sizeof *models);
    if (models == NULL) {
        return NULL;
    }
    models->options = *options;
    page_init(&models->page, SERIES_COUNT);
    buf_init(&models->heads, HEADS_MAX);
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        options->form->head(options->form, &options->style->shapes[i], &models->heads);
        models->head_ends[i] = models->heads.len;
    }
    if (models->heads.err != 0) {
        models_free(models);
        return NULL;
    }
    return models;
}

void models_free(struct models *models)
{
    if (models == NULL) {
        return;
    }
    for (uint32_t i = 0; i < models->count; i++) {
        mem_free((void *)(uintptr_t)models->entries[i].labels.ptr); /* ours */
    }
    mem_free(models->entries);
    buf_fini(&models->heads);
    page_fini(&models->page);
    mem_free(models);
}

/* --- models that are new ----------------------------------------------------------------------- */

static int reserve_models(struct models *models, uint32_t count)
{
    uint32_t capacity = models->capacity == 0 ? FIRST_CAPACITY : models->capacity;
    while (capacity < count) {
        capacity *= 2;
    }
    if (capacity != models->capacity) {
        struct entry *entries = mem_realloc(models->entries, capacity * sizeof *entries);
        if (entries == NULL) {
            return ERR_NOMEM;
        }
        models->entries = entries;
        models->capacity = capacity;
    }
    return page_reserve(&models->page, count);
}

/* Returns 0 or ERR_NOMEM. */
static int render_labels(const struct models_options *options, const struct model_id *id,
                         struct str *ret_labels)
{
    struct buf out;
    buf_init(&out, LABEL_BYTES_MAX);
    options->form->label("model_name", id->name, &out);
    if (id->device.len > 0) {
        options->form->label("device", id->device, &out);
    }
    for (uint32_t i = 0; i < id->label_count; i++) {
        const struct label *label = &id->labels[i];
        options->form->label(label_names_get(options->names, label->key), label->value, &out);
    }
    if (id->overflow) {
        options->form->label("dwell_overflow", STR_LITERAL("true"), &out);
    }
    if (options->hash.len > 0) {
        options->form->label("constitutional_hash", options->hash, &out);
    }
    size_t len = out.len;
    char *labels = buf_steal(&out);
    if (labels == NULL) {
        return ERR_NOMEM;
    }
    *ret_labels = (struct str){labels, len};
    return 0;
}

/* Models are never removed and keep their numbers; here are those that came since the last answer. */
static int meet_models(struct models *models, const struct snapshot *snapshot)
{
    int err = reserve_models(models, snapshot->model_count);
    while (err == 0 && models->count < snapshot->model_count) {
        struct entry *entry = &models->entries[models->count];
        *entry = (struct entry){0};
        err = render_labels(&models->options, snapshot->models[models->count]->id, &entry->labels);
        models->count += err == 0 ? 1 : 0;
    }
    return err;
}

/* --- 1. refresh -------------------------------------------------------------------------------- */

/* Tallies are in order of time, so their number says which ones are in the window. */
static uint32_t count_visible(const struct model *model, uint64_t slot)
{
    uint32_t visible = registry_in_window(model->current, slot) ? 1 : 0;
    for (uint32_t i = 0; i < model->closed_count; i++) {
        visible += registry_in_window(model->closed[i], slot) ? 1 : 0;
    }
    return visible;
}

static int render_model(struct models *models, const struct snapshot *snapshot, uint32_t number,
                        struct profile_scratch *scratch)
{
    struct entry *entry = &models->entries[number];
    struct series_subject subject = {.form = models->options.form,
                                     .snapshot = snapshot,
                                     .model = snapshot->models[number],
                                     .labels = entry->labels};
    size_t ends[SERIES_COUNT];
    entry->fresh = false;
    series_render(models->options.style, &subject, scratch, page_open(&models->page), ends);
    int err = page_close(&models->page, number, ends);
    entry->fresh = err == 0;
    return err;
}

static int refresh_model(struct models *models, const struct snapshot *snapshot, uint32_t number,
                         struct profile_scratch *scratch)
{
    const struct model *model = snapshot->models[number];
    struct entry *entry = &models->entries[number];
    bool same = entry->fresh && entry->stamp == model_stamp(model);
    if (same && entry->slot == snapshot->slot) {
        return 0;
    }
    uint32_t visible = count_visible(model, snapshot->slot);
    if (!same || visible != entry->visible) {
        int err = render_model(models, snapshot, number, scratch);
        if (err != 0) {
            return err;
        }
        entry->stamp = model_stamp(model);
        entry->visible = visible;
    }
    entry->slot = snapshot->slot;
    return 0;
}

static void adopt_thresholds(struct models *models, const struct thresholds *thresholds)
{
    if (memcmp(&models->thresholds, thresholds, sizeof *thresholds) != 0) {
        models->thresholds = *thresholds;
        for (uint32_t i = 0; i < models->count; i++) {
            models->entries[i].fresh = false;
        }
    }
}

static int refresh(struct models *models, const struct snapshot *snapshot,
                   struct profile_scratch *scratch)
{
    int err = meet_models(models, snapshot);
    if (err != 0) {
        return err;
    }
    adopt_thresholds(models, &snapshot->thresholds);
    for (uint32_t i = 0; err == 0 && i < snapshot->model_count; i++) {
        if (i + PREFETCH < snapshot->model_count) {
            __builtin_prefetch(snapshot->models[i + PREFETCH]);
        }
        err = refresh_model(models, snapshot, i, scratch);
    }
    return err;
}

/* --- 2. gather, 3. settle ---------------------------------------------------------------------- */

static struct str head_of(const struct models *models, unsigned series)
{
    size_t begin = series == 0 ? 0 : models->head_ends[series - 1];
    return (struct str){models->heads.data + begin, models->head_ends[series] - begin};
}

/* What the page has forgotten is to be rendered anew. */
static void forget_lost(struct models *models)
{
    for (uint32_t i = 0; i < models->count; i++) {
        models->entries[i].fresh = models->entries[i].fresh && page_has(&models->page, i);
    }
}

int models_render(struct models *models, const struct snapshot *snapshot,
                  struct profile_scratch *scratch, struct buf *out)
{
    struct page *page = &models->page;
    size_t begins[SERIES_COUNT];
    struct str rows[SERIES_COUNT];
    int err = refresh(models, snapshot, scratch);
    if (err != 0) {
        return err;
    }
    /* All of the snapshot, and those that a younger one brought to the page. */
    uint32_t shown = page->count > snapshot->model_count ? page->count : snapshot->model_count;
    page_list(page, shown);
    for (unsigned i = 0; i < SERIES_COUNT; i++) {
        rows[i].len = page_row_len(page, i);
        models->options.form->begin(models->options.form, &models->options.style->shapes[i],
                                    head_of(models, i), rows[i].len, out);
        begins[i] = out->len;
        page_append_row(page, i, out);
    }
    for (unsigned i = 0; out->err == 0 && i < SERIES_COUNT; i++) {
        rows[i].ptr = out->data + begins[i];
    }
    if (out->err == 0) {
        page_settle(page, shown, rows);
        forget_lost(models);
    }
    return out->err;
}
