/*
 * Happy path of conf_load:
 *   1. every option gets its initial value, read from its row like any other;
 *   2. the file, an object of objects, sets options;
 *   3. the environment sets options (conf/environment.c);
 *   4. "path=value" arguments set options;
 *   5. what options must satisfy together is checked.
 * A wrong value is told and leaves the option as it was, so that one run tells all of them; at the
 * end any complaint fails the whole. Step 5 is left out then, as it would judge values that nobody
 * asked for. Running out of memory ends it at once.
 */
#include "conf/conf.h"

#include "base/err.h"
#include "base/mem.h"
#include "conf/table.h"

void conf_note(struct conf_loader *loader, int err)
{
    loader->nomem |= err == ERR_NOMEM;
    loader->failed |= err != 0;
}

static void load_initial(struct conf_loader *loader)
{
    for (size_t i = 0; i < conf_option_count && !loader->failed; i++) {
        struct conf_reader reader = {&conf_options[i], "built in", loader->errors};
        json_t *json = json_loads(conf_options[i].initial, JSON_DECODE_ANY, NULL);
        if (json == NULL) {
            conf_note(loader, ERR_NOMEM); /* the rows themselves are well-formed */
            return;
        }
        conf_note(loader, conf_read_value(&reader, loader->conf, json));
        json_decref(json);
    }
}

/* --- unknown keys --- */

static struct str group_of(const struct conf_option *option)
{
    return (struct str){option->path, strcspn(option->path, ".")};
}

static struct str leaf_of(const struct conf_option *option)
{
    return str_of(option->path + group_of(option).len + 1);
}

static bool is_group(struct str name)
{
    for (size_t i = 0; i < conf_option_count; i++) {
        if (str_equal(name, group_of(&conf_options[i]))) {
            return true;
        }
    }
    return false;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool begins(struct str text, struct str start)
{
    return start.len > 2 && start.len <= text.len && memcmp(text.ptr, start.ptr, start.len) == 0;
}

enum { DISTANCE_CEILING = 40, SLIP_MAX = 2 }; /* edits */

/* How far an option is from a wrong path: the edits between them, or little when the path is only
 * unfinished or its last part stands in the wrong group. */
static size_t distance_to(const struct conf_option *option, struct str path, struct str leaf)
{
    size_t distance = str_distance(path, str_of(option->path), DISTANCE_CEILING);
    if (begins(str_of(option->path), path)) {
        distance = least(distance, 1);
    }
    size_t leaf_distance = str_distance(leaf, leaf_of(option), DISTANCE_CEILING);
    if (begins(leaf_of(option), leaf)) {
        leaf_distance = least(leaf_distance, 1);
    }
    return leaf_distance <= SLIP_MAX ? least(distance, leaf_distance + 1) : distance;
}

/* The option or group that may be meant; empty when none is near. */
static struct str nearest_path(struct str path)
{
    const char *dot = path.len == 0 ? NULL : memrchr(path.ptr, '.', path.len);
    struct str leaf = path;
    if (dot != NULL) {
        leaf = (struct str){dot + 1, path.len - (size_t)(dot + 1 - path.ptr)};
    }
    struct str best = {NULL, 0};
    /* A word half of which has to change is another word. */
    size_t best_distance = least(path.len / 2 + 1, DISTANCE_CEILING);
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct conf_option *option = &conf_options[i];
        size_t distance = distance_to(option, path, leaf);
        if (distance < best_distance) {
            best = str_of(option->path);
            best_distance = distance;
        }
        distance =
            dot != NULL ? DISTANCE_CEILING : str_distance(path, group_of(option), DISTANCE_CEILING);
        if (distance < best_distance) {
            best = group_of(option);
            best_distance = distance;
        }
    }
    return best;
}

static void complain_unknown(struct conf_loader *loader, struct str group, struct str key,
                             const char *source)
{
    struct buf path;
    buf_init(&path, group.len + key.len + 1 + 256); /* the buffer's first step included */
    buf_str(&path, group);
    buf_puts(&path, group.len > 0 ? "." : "");
    buf_str(&path, key);
    if (path.err != 0) {
        conf_note(loader, path.err);
        buf_fini(&path);
        return;
    }
    struct str wrong = {path.data, path.len};
    struct str nearest = nearest_path(wrong);
    conf_show(loader->errors, wrong);
    if (is_group(wrong)) {
        buf_puts(loader->errors, ": is a group of options and not one of them");
    } else {
        buf_puts(loader->errors, ": is not an option");
    }
    if (nearest.len > 0 && !str_equal(nearest, wrong)) {
        buf_puts(loader->errors, "; the nearest is ");
        buf_str(loader->errors, nearest);
    }
    conf_from(loader->errors, source);
    conf_note(loader, ERR_SYNTAX);
    buf_fini(&path);
}

/* --- file --- */

static void load_member(struct conf_loader *loader, struct str group, struct str key,
                        const json_t *json, const char *file_name)
{
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct conf_option *option = &conf_options[i];
        if (str_equal(group, group_of(option)) && str_equal(key, leaf_of(option))) {
            struct conf_reader reader = {option, file_name, loader->errors};
            conf_note(loader, conf_read_value(&reader, loader->conf, json));
            return;
        }
    }
    complain_unknown(loader, group, key, file_name);
}

static void load_group(struct conf_loader *loader, struct str group, json_t *json,
                       const char *file_name)
{
    if (conf_find(group) != NULL) {
        conf_show(loader->errors, group);
        buf_puts(loader->errors, ": expects an object for each part of the path, got a dot");
        conf_from(loader->errors, file_name);
        conf_note(loader, ERR_SYNTAX);
        return;
    }
    if (!is_group(group)) {
        complain_unknown(loader, (struct str){NULL, 0}, group, file_name);
        return;
    }
    if (!json_is_object(json)) {
        buf_str(loader->errors, group);
        buf_puts(loader->errors, ": expects an object, got ");
        conf_show_json(loader->errors, json, true);
        conf_from(loader->errors, file_name);
        conf_note(loader, ERR_SYNTAX);
        return;
    }
    void *it = json_object_iter(json);
    for (; it != NULL && !loader->nomem; it = json_object_iter_next(json, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        load_member(loader, group, key, json_object_iter_value(it), file_name);
    }
}

static void load_file(struct conf_loader *loader, const char *file_name, struct str text)
{
    json_t *json;
    int err = conf_parse_file(file_name, text, loader->errors, &json);
    if (err != 0) {
        conf_note(loader, err);
        return;
    }
    for (void *it = json_object_iter(json); it != NULL && !loader->nomem;
         it = json_object_iter_next(json, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        load_group(loader, key, json_object_iter_value(it), file_name);
    }
    json_decref(json);
}

/* --- arguments --- */

static void load_set(struct conf_loader *loader, const char *assignment)
{
    const char *equals = strchr(assignment, '=');
    if (equals == NULL) {
        buf_puts(loader->errors, "--set: expects path=value, got \"");
        conf_show(loader->errors, str_of(assignment));
        buf_puts(loader->errors, "\"\n");
        conf_note(loader, ERR_SYNTAX);
        return;
    }
    struct str path = {assignment, (size_t)(equals - assignment)};
    const struct conf_option *option = conf_find(path);
    if (option == NULL) {
        complain_unknown(loader, (struct str){NULL, 0}, path, "--set");
        return;
    }
    struct conf_reader reader = {option, "--set", loader->errors};
    conf_note(loader, conf_read_text(&reader, loader->conf, str_of(equals + 1)));
}

/* --- all together --- */

/* One end of a range that is above the other. */
static void check_range(struct conf_loader *loader, const char *low_path, double low,
                        const char *high_path, double high)
{
    if (low > high) {
        buf_printf(loader->errors, "%s: expects at most %s, which is ", low_path, high_path);
        buf_double(loader->errors, high);
        buf_puts(loader->errors, ", got ");
        buf_double(loader->errors, low);
        buf_char(loader->errors, '\n');
        conf_note(loader, ERR_SYNTAX);
    }
}

static void check(struct conf_loader *loader)
{
    const struct conf *conf = loader->conf;
    check_range(loader, "profiling.cpu_io_threshold_percent",
                conf->profiling.cpu_io_threshold_percent, "profiling.cpu_compute_threshold_percent",
                conf->profiling.cpu_compute_threshold_percent);
    check_range(loader, "gpu.efficiency_low", conf->gpu.efficiency_low, "gpu.efficiency_high",
                conf->gpu.efficiency_high);
    check_range(loader, "gpu.price_low", conf->gpu.price_low, "gpu.price_high",
                conf->gpu.price_high);
    check_range(loader, "gpu.cpu_price_low", conf->gpu.cpu_price_low, "gpu.cpu_price_high",
                conf->gpu.cpu_price_high);
    uint64_t held = conf->ingest.max_frame_bytes + CONF_ANSWERS_BYTES;
    if (conf->ingest.max_peer_bytes < held) {
        buf_printf(loader->errors,
                   "ingest.max_peer_bytes: expects room for ingest.max_frame_bytes and answers, "
                   "%llu or more, got %llu\n",
                   (unsigned long long)held, (unsigned long long)conf->ingest.max_peer_bytes);
        conf_note(loader, ERR_SYNTAX);
    }
    uint64_t each = conf->metrics.max_series_per_family;
    uint64_t all = conf->metrics.max_series;
    if (each > all) {
        buf_printf(loader->errors,
                   "metrics.max_series_per_family: expects at most metrics.max_series, which is "
                   "%llu, got %llu\n",
                   (unsigned long long)all, (unsigned long long)each);
        conf_note(loader, ERR_SYNTAX);
    }
}

int conf_load(struct conf *conf, const struct conf_sources *sources, struct buf *errors,
              struct buf *warnings)
{
    *conf = (struct conf){0};
    struct conf_loader loader = {.conf = conf, .errors = errors, .warnings = warnings};
    load_initial(&loader);
    if (sources->file_name != NULL && !loader.nomem) {
        load_file(&loader, sources->file_name, sources->file_text);
    }
    if (sources->environment != NULL && !loader.nomem) {
        conf_load_environment(&loader, sources->environment);
    }
    for (size_t i = 0; i < sources->set_count && !loader.nomem; i++) {
        load_set(&loader, sources->sets[i]);
    }
    if (!loader.failed) {
        check(&loader);
    }
    if (loader.failed) {
        conf_fini(conf);
        return loader.nomem ? ERR_NOMEM : ERR_SYNTAX;
    }
    return 0;
}

void conf_fini(struct conf *conf)
{
    for (size_t i = 0; i < conf_option_count; i++) {
        conf_forget_value(&conf_options[i], conf);
    }
}
