/*
 * An answer
 *   1. models    the families of models (render/models)
 *   2. families  those of clients (render/families)
 *   3. own       those of the service and of the daemon (render/own)
 *
 * What can fail: memory, or the ceiling of the answer. Each part is then as good as before.
 */
#include "render/exposition.h"

#include "base/err.h"
#include "base/mem.h"
#include "render/families.h"
#include "render/models.h"
#include "render/own.h"

const char *const exposition_content_types[] = {
    [EXPOSITION_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
    [EXPOSITION_OPENMETRICS] =
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores",
    [EXPOSITION_PROTOBUF] = ("application/vnd.google.protobuf; "
                             "proto=io.prometheus.client.MetricFamily; encoding=delimited"),
};

_Static_assert(sizeof exposition_content_types / sizeof exposition_content_types[0] ==
                   EXPOSITION_FORMAT_COUNT,
               "one each");

/* What is remembered in one format. */
struct side {
    struct models *models;
    struct families *families;
    struct own *own;
};

struct exposition {
    char *hash; /* label constitutional_hash of every series, or empty; owned */
    struct label_names names;
    struct series_style style;
    struct profile_scratch *scratch; /* owned; NULL before the first answer: it is large */
    struct side sides[EXPOSITION_FORMAT_COUNT];
};

static char *copy_hash(const struct exposition_options *options)
{
    struct buf out;
    buf_init(&out, options->constitutional_hash.len + 1);
    if (options->hash_label) {
        buf_str(&out, options->constitutional_hash);
    }
    return buf_steal(&out);
}

static int make_side(struct exposition *exposition, const struct exposition_options *options,
                     enum exposition_format format)
{
    const struct form *form = forms[format];
    struct side *side = &exposition->sides[format];
    struct str hash = str_of(exposition->hash);
    side->models = models_new(&(const struct models_options){
        .form = form, .style = &exposition->style, .names = &exposition->names, .hash = hash});
    side->families = families_new(&(const struct families_options){
        .form = form, .hash = hash, .created_series = options->created_series});
    side->own = own_new(&(const struct own_options){.form = form,
                                                    .hash = hash,
                                                    .resource = options->resource,
                                                    .resource_count = options->resource_count,
                                                    .version = options->dwelld_version});
    return side->models == NULL || side->families == NULL || side->own == NULL ? ERR_NOMEM : 0;
}

static int init(struct exposition *exposition, const struct exposition_options *options)
{
    int err = label_names_init(&exposition->names, options->label_keys, options->label_key_count);
    if (err == 0) {
        err = series_style_init(&exposition->style, options->name_space);
    }
    if (err == 0) {
        exposition->hash = copy_hash(options);
        err = exposition->hash == NULL ? ERR_NOMEM : 0;
    }
    for (unsigned i = 0; err == 0 && i < EXPOSITION_FORMAT_COUNT; i++) {
        err = make_side(exposition, options, (enum exposition_format)i);
    }
    return err;
}

struct exposition *exposition_new(const struct exposition_options *options)
{
    struct exposition *exposition = mem_zalloc(1, sizeof *exposition);
    if (exposition != NULL && init(exposition, options) != 0) {
        exposition_free(exposition);
        return NULL;
    }
    return exposition;
}

void exposition_free(struct exposition *exposition)
{
    if (exposition == NULL) {
        return;
    }
    for (unsigned i = 0; i < EXPOSITION_FORMAT_COUNT; i++) {
        models_free(exposition->sides[i].models);
        families_free(exposition->sides[i].families);
        own_free(exposition->sides[i].own);
    }
    series_style_fini(&exposition->style);
    label_names_fini(&exposition->names);
    mem_free(exposition->scratch);
    mem_free(exposition->hash);
    mem_free(exposition);
}

static int render_models(struct exposition *exposition, const struct snapshot *snapshot,
                         struct models *models, struct buf *out)
{
    if (exposition->scratch == NULL) {
        exposition->scratch = mem_zalloc(1, sizeof *exposition->scratch);
    }
    return exposition->scratch == NULL ? ERR_NOMEM
                                       : models_render(models, snapshot, exposition->scratch, out);
}

int exposition_render(struct exposition *exposition, const struct snapshot *snapshot,
                      enum exposition_format format, const struct exposition_process *process,
                      struct buf *out)
{
    struct side *side = &exposition->sides[format];
    int err = render_models(exposition, snapshot, side->models, out);
    if (err == 0) {
        err = families_render(side->families, &snapshot->metrics, out);
    }
    if (err == 0) {
        err = own_render(side->own, snapshot, process, out);
    }
    if (err == 0) {
        buf_puts(out, forms[format]->end);
    }
    out->err = out->err == 0 ? err : out->err;
    return out->err;
}
