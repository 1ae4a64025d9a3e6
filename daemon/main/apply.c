/*
 * Happy path
 *   1. what was read is good
 *   2. prepare   all that can fail: room for models, the sockets' mode and group, families, budgets
 *   3. conf_adopt, and each part takes its options: nothing fails from here on
 *   4. what cannot change without a restart is told, a line each; the reload is counted
 *
 * What can fail: 1 and 2. What 2 has done is undone, the reload is refused, and every problem is told.
 */
#include "main/apply.h"

#include "base/err.h"
#include "io/directory_access.h"
#include "main/families.h"
#include "main/options.h"

void main_log_lines(enum log_level level, const struct buf *text)
{
    size_t at = 0;
    while (at < text->len) {
        size_t len = 0;
        while (at + len < text->len && text->data[at + len] != '\n') {
            len++;
        }
        log_write(level, "%.*s", (int)len, text->data + at);
        at += len + 1;
    }
}

/* What can be taken back as long as something else may fail. */
struct undo {
    uint32_t max_models;
    struct directory_access_undo access;
};

static int change_access(const struct apply *apply, struct reload_news *news, struct undo *undo)
{
    const struct conf *before = apply->conf;
    const struct conf *fresh = &news->conf;
    struct directory_access access = {fresh->ingest.mode, news->has_group, news->group};
    bool same = before->ingest.mode == fresh->ingest.mode &&
                strcmp(before->ingest.group, fresh->ingest.group) == 0;
    return same ? 0
                : directory_access_change(apply->directory, &access, &undo->access, &news->errors);
}

static int change_families(const struct apply *apply, struct reload_news *news, struct buf *fixed,
                           size_t *fixed_count)
{
    struct families_change change = {.metrics = apply->intake->metrics,
                                     .in_force = apply->families,
                                     .fresh = &news->families,
                                     .errors = &news->errors,
                                     .fixed = fixed,
                                     .fixed_count = fixed_count};
    return families_change(&change);
}

static int check_budgets(const struct apply *apply, struct reload_news *news,
                         const struct budgets_options *options)
{
    int err = budgets_check(apply->intake->budgets, options);
    if (err != 0) {
        buf_puts(&news->errors, "budgets.layers: there is no room for more layers beside all those "
                                "that there were since the start\n");
    }
    return err;
}

/* In this order, so that what cannot be taken back comes last, after all that fails for a mistake. Families
 * may be declared in vain when memory runs out: it shows as help without a value. */
static int prepare(const struct apply *apply, struct reload_news *news, struct buf *fixed,
                   size_t *fixed_count)
{
    struct registry *registry = apply->intake->registry;
    struct undo undo = {.max_models = registry->options.max_models};
    struct budget_option layers[BUDGETS_CONFIGURED_MAX];
    struct budgets_options budgets = options_budgets(&news->conf, layers);
    int err = check_budgets(apply, news, &budgets);
    if (err == 0) {
        err = registry_set_max_models(registry, (uint32_t)news->conf.profiling.max_models);
    }
    if (err == 0) {
        err = change_access(apply, news, &undo);
    }
    if (err == 0) {
        err = change_families(apply, news, fixed, fixed_count);
    }
    if (err == 0) {
        err = budgets_change(apply->intake->budgets, &budgets);
    }
    if (err != 0) {
        (void)registry_set_max_models(registry, undo.max_models); /* there was room before */
        directory_access_undo(&undo.access);
    }
    return err;
}

static void commit(const struct apply *apply)
{
    const struct conf *conf = apply->conf;
    struct intake *intake = apply->intake;
    struct metrics_limits limits = options_metrics_limits(conf);
    struct sampler_options sampler = options_sampler(conf);
    metrics_limit(intake->metrics, &limits);
    sampler_change(&intake->spans->sampler, &sampler);
    judge_set_round(apply->judge, conf->profiling.round_ms * NS_PER_MS);
    if (conf->profiling.classifier == CONF_CLASSIFIER_EVIDENCE) {
        intake->judge = apply->judge; /* and for good: it would take a pause for waiting */
    }
    intake->enforce_hash = conf->service.enforce_hash;
    apply->handover->thresholds = options_thresholds(conf);
    log_set((enum log_level)conf->log.level, (enum log_format)conf->log.format);
}

static void count(const struct apply *apply, enum reload_outcome outcome, struct str report)
{
    reloads_add(&apply->intake->counters->reloads, outcome, report, &apply->intake->registry->limbo,
                apply->wall_ns);
}

static void refuse(const struct apply *apply, const struct buf *errors, int err)
{
    log_error("SIGHUP: the configuration is refused as a whole, the old one stays in force");
    if (errors->len > 0) {
        main_log_lines(LOG_LEVEL_ERROR, errors);
        count(apply, RELOAD_REFUSED, (struct str){errors->data, errors->len});
    } else {
        log_error("%s", err_sentence(err));
        count(apply, RELOAD_REFUSED, str_of(err_sentence(err)));
    }
}

/* What is different now, for the log. */
static void render_changes(struct buf *out, const struct apply *apply, const struct conf *fresh,
                           size_t families)
{
    size_t count = conf_render_changes(out, apply->conf, fresh);
    if (families > 0) {
        buf_printf(out, "%s%zu metric families", count > 0 ? ", " : "", families);
    } else if (count == 0) {
        buf_puts(out, "nothing");
    }
}

static enum reload_outcome adopt(const struct apply *apply, struct reload_news *news,
                                 size_t families, struct buf *fixed, size_t fixed_count)
{
    struct buf changes;
    buf_init(&changes, CONF_ERRORS_MAX_BYTES);
    fixed_count += conf_render_fixed_changes(fixed, apply->conf, &news->conf);
    render_changes(&changes, apply, &news->conf, families);
    conf_adopt(apply->conf, &news->conf);
    commit(apply);
    main_log_lines(LOG_LEVEL_WARNING, &news->warnings);
    main_log_lines(LOG_LEVEL_WARNING, fixed);
    log_info("SIGHUP: configuration reloaded; changed: %.*s", (int)changes.len,
             changes.len == 0 ? "" : changes.data);
    buf_fini(&changes);
    enum reload_outcome outcome = fixed_count == 0 ? RELOAD_APPLIED : RELOAD_NEEDS_RESTART;
    count(apply, outcome, (struct str){fixed->data, fixed->len});
    return outcome;
}

enum reload_outcome main_apply(const struct apply *apply, struct reload_news *news)
{
    struct buf fixed;
    size_t fixed_count = 0;
    size_t families = apply->families->count;
    enum reload_outcome outcome = RELOAD_REFUSED;
    buf_init(&fixed, CONF_ERRORS_MAX_BYTES);
    int err = news->err != 0 ? news->err : prepare(apply, news, &fixed, &fixed_count);
    if (err != 0) {
        refuse(apply, &news->errors, err);
    } else {
        families = apply->families->count - families;
        outcome = adopt(apply, news, families, &fixed, fixed_count);
    }
    buf_fini(&fixed);
    return outcome;
}
