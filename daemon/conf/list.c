/*
 * Values of options that are lists or objects. Every wrong element is told, with its place in the
 * path; one wrong element refuses the whole list.
 */
#include "conf/table.h"

#include "base/err.h"
#include "base/mem.h"

enum {
    LABEL_MAX = 64,        /* bytes of a label's name */
    STATSD_NAME_MAX = 256, /* bytes */
    HOST_MAX = 253,        /* bytes: of a name in the DNS */
    PAIR_KEY_MAX = 256,    /* bytes */
    PAIR_VALUE_MAX = 4096, /* bytes; keys for an OTLP collector can be long */
    LAYER_NAME_MAX = 64,   /* bytes */
};

/* Both lists of the public structs, while they are filled. */
struct list {
    void *items; /* owned; NULL when count is 0 */
    size_t count;
};

static int list_make(const struct conf_reader *reader, const json_t *json, size_t count,
                     size_t item_size, struct list *ret_list)
{
    if ((double)count > reader->option->max) {
        return conf_mismatch(reader, json);
    }
    if (count == 0) {
        return 0;
    }
    void *items = mem_zalloc(count, item_size);
    if (items == NULL) {
        return ERR_NOMEM;
    }
    *ret_list = (struct list){items, count};
    return 0;
}

typedef int read_item_fn(const struct conf_reader *reader, const json_t *json, struct list *list,
                         size_t at);

/* Reads every element, so that each wrong one is told; the first ERR_NOMEM ends it. The list is the
 * caller's to free in any case. */
static int list_read(const struct conf_reader *reader, const json_t *json, size_t item_size,
                     read_item_fn *read, struct list *ret_list)
{
    if (!json_is_array(json)) {
        return conf_mismatch(reader, json);
    }
    int err = list_make(reader, json, json_array_size(json), item_size, ret_list);
    for (size_t i = 0; i < ret_list->count && err != ERR_NOMEM; i++) {
        int item_err = read(reader, json_array_get(json, i), ret_list, i);
        err = item_err != 0 ? item_err : err;
    }
    return err;
}

static int wrong_item(const struct conf_reader *reader, size_t at, const char *expects,
                      const json_t *got)
{
    conf_blame(reader);
    buf_printf(reader->errors, "[%zu]: expects %s", at, expects);
    return conf_got(reader, got);
}

/* --- numbers of users and groups --- */

static int read_id(const struct conf_reader *reader, const json_t *json, struct list *list,
                   size_t at)
{
    /* The highest number is what the kernel uses for "none". */
    json_int_t id = json_integer_value(json);
    if (!json_is_integer(json) || id < 0 || id >= UINT32_MAX) {
        return wrong_item(reader, at, "a whole number from 0 to 4294967294", json);
    }
    ((uint32_t *)list->items)[at] = (uint32_t)id;
    return 0;
}

static void fini_ids(void *value)
{
    mem_free(((struct conf_ids *)value)->ids);
}

static int read_ids(const struct conf_reader *reader, const json_t *json, void *ret)
{
    struct list list = {NULL, 0};
    int err = list_read(reader, json, sizeof(uint32_t), read_id, &list);
    struct conf_ids ids = {list.items, list.count};
    if (err != 0) {
        fini_ids(&ids);
        return err;
    }
    *(struct conf_ids *)ret = ids;
    return 0;
}

static void render_ids(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    const struct conf_ids *list = value;
    buf_char(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        buf_puts(out, i == 0 ? "" : ", ");
        buf_u64(out, list->ids[i]);
    }
    buf_char(out, ']');
}

static void describe_ids(struct buf *out, const struct conf_option *option)
{
    buf_printf(out, "a list of at most %.0f numbers", option->max);
}

const struct conf_kind_ops conf_ids_ops = {.size = sizeof(struct conf_ids),
                                           .read = read_ids,
                                           .render = render_ids,
                                           .describe = describe_ids,
                                           .fini = fini_ids};

/* --- texts --- */

static bool has_text(const struct list *list, size_t count, struct str text)
{
    char *const *texts = list->items;
    for (size_t i = 0; i < count; i++) {
        if (texts[i] != NULL && str_is(text, texts[i])) {
            return true;
        }
    }
    return false;
}

static int keep_text(struct list *list, size_t at, struct str text)
{
    char **texts = list->items;
    texts[at] = conf_copy(text);
    return texts[at] == NULL ? ERR_NOMEM : 0;
}

static void fini_texts(void *value)
{
    struct conf_texts *list = value;
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->texts[i]);
    }
    mem_free(list->texts);
}

static int read_texts(const struct conf_reader *reader, const json_t *json, read_item_fn *read,
                      struct conf_texts *ret)
{
    struct list list = {NULL, 0};
    int err = list_read(reader, json, sizeof(char *), read, &list);
    struct conf_texts texts = {list.items, list.count};
    if (err != 0) {
        fini_texts(&texts);
        return err;
    }
    *ret = texts;
    return 0;
}

static void render_texts(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    const struct conf_texts *list = value;
    buf_char(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        buf_puts(out, i == 0 ? "" : ", ");
        conf_render_string(out, list->texts[i]);
    }
    buf_char(out, ']');
}

/* --- names of labels --- */

/* Labels of the daemon's own families: one more of that name would be there twice. */
static bool is_own_label(struct str name)
{
    static const char *const own[] = {
        "model_name", "device", "le",         "quantile", "q",
        "stat",       "state",  "bottleneck", "decision", "constitutional_hash",
    };
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (str_is(name, own[i])) {
            return true;
        }
    }
    return conf_begins_with(name, "__");
}

static int read_key(const struct conf_reader *reader, const json_t *json, struct list *list,
                    size_t at)
{
    struct str name = conf_json_text(json);
    if (name.len == 0 || name.len > LABEL_MAX || !conf_is_name(name) || is_own_label(name)) {
        return wrong_item(reader, at,
                          "a label of at most 64 letters, digits and \"_\" that the daemon does "
                          "not use itself",
                          json);
    }
    if (has_text(list, at, name)) {
        return wrong_item(reader, at, "a label that is not in the list yet", json);
    }
    return keep_text(list, at, name);
}

static int read_keys(const struct conf_reader *reader, const json_t *json, void *ret)
{
    return read_texts(reader, json, read_key, ret);
}

static void describe_keys(struct buf *out, const struct conf_option *option)
{
    buf_printf(out, "a list of at most %.0f labels", option->max);
}

const struct conf_kind_ops conf_keys_ops = {.size = sizeof(struct conf_texts),
                                            .read = read_keys,
                                            .render = render_texts,
                                            .describe = describe_keys,
                                            .fini = fini_texts};

/* --- names of StatsD --- */

static int read_name(const struct conf_reader *reader, const json_t *json, struct list *list,
                     size_t at)
{
    struct str name = conf_json_text(json);
    if (name.len == 0 || name.len > STATSD_NAME_MAX || !conf_is_plain(name) ||
        memchr(name.ptr, ':', name.len) != NULL || memchr(name.ptr, '|', name.len) != NULL) {
        return wrong_item(reader, at,
                          "a name of 1 to 256 bytes without control characters, \":\" and \"|\"",
                          json);
    }
    if (has_text(list, at, name)) {
        return wrong_item(reader, at, "a name that is not in the list yet", json);
    }
    return keep_text(list, at, name);
}

static int read_names(const struct conf_reader *reader, const json_t *json, void *ret)
{
    return read_texts(reader, json, read_name, ret);
}

static void describe_names(struct buf *out, const struct conf_option *option)
{
    buf_printf(out, "a list of at most %.0f names", option->max);
}

const struct conf_kind_ops conf_names_ops = {.size = sizeof(struct conf_texts),
                                             .read = read_names,
                                             .render = render_texts,
                                             .describe = describe_names,
                                             .fini = fini_texts};

/* --- names of hosts --- */

static bool is_host(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '.';
        if (!good) {
            return false;
        }
    }
    return name.len > 0 && name.len <= HOST_MAX && name.ptr[0] != '.';
}

static int read_host(const struct conf_reader *reader, const json_t *json, struct list *list,
                     size_t at)
{
    struct str name = conf_json_text(json);
    if (!is_host(name)) {
        return wrong_item(
            reader, at,
            "a name of 1 to 253 letters, digits, \"-\", \"_\" and \".\", without a port", json);
    }
    if (has_text(list, at, name)) {
        return wrong_item(reader, at, "a name that is not in the list yet", json);
    }
    return keep_text(list, at, name);
}

static int read_hosts(const struct conf_reader *reader, const json_t *json, void *ret)
{
    return read_texts(reader, json, read_host, ret);
}

static void describe_hosts(struct buf *out, const struct conf_option *option)
{
    buf_printf(out, "a list of at most %.0f names of hosts", option->max);
}

const struct conf_kind_ops conf_hosts_ops = {.size = sizeof(struct conf_texts),
                                             .read = read_hosts,
                                             .render = render_texts,
                                             .describe = describe_hosts,
                                             .fini = fini_texts};

/* --- pairs of texts --- */

static int wrong_pair(const struct conf_reader *reader, struct str key, const char *expects,
                      const json_t *got)
{
    conf_blame(reader);
    buf_char(reader->errors, '.');
    conf_show(reader->errors, key);
    buf_printf(reader->errors, ": expects %s", expects);
    return conf_got(reader, got);
}

static int read_pair(const struct conf_reader *reader, struct str key, const json_t *json,
                     struct conf_pair *pair)
{
    struct str text = conf_json_text(json);
    if (key.len == 0 || key.len > PAIR_KEY_MAX || !conf_is_plain(key)) {
        return wrong_pair(reader, key, "a key of 1 to 256 bytes without control characters", json);
    }
    if (!json_is_string(json) || text.len > PAIR_VALUE_MAX || !conf_is_plain(text)) {
        return wrong_pair(reader, key, "text of at most 4096 bytes without control characters",
                          json);
    }
    pair->key = conf_copy(key);
    pair->value = conf_copy(text);
    return pair->key == NULL || pair->value == NULL ? ERR_NOMEM : 0;
}

static void fini_pairs(void *value)
{
    struct conf_pairs *list = value;
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->pairs[i].key);
        mem_free(list->pairs[i].value);
    }
    mem_free(list->pairs);
}

static int read_pairs(const struct conf_reader *reader, const json_t *json, void *ret)
{
    struct list list = {NULL, 0};
    if (!json_is_object(json)) {
        return conf_mismatch(reader, json);
    }
    int err = list_make(reader, json, json_object_size(json), sizeof(struct conf_pair), &list);
    if (err != 0) {
        return err;
    }
    struct conf_pairs pairs = {list.items, list.count};
    /* jansson's iterators take no const object, though reading leaves it as it is. */
    json_t *object = (json_t *)(uintptr_t)json;
    size_t at = 0;
    void *it = json_object_iter(object);
    for (; it != NULL && err != ERR_NOMEM; it = json_object_iter_next(object, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        int pair_err = read_pair(reader, key, json_object_iter_value(it), &pairs.pairs[at++]);
        err = pair_err != 0 ? pair_err : err;
    }
    if (err != 0) {
        fini_pairs(&pairs);
        return err;
    }
    *(struct conf_pairs *)ret = pairs;
    return 0;
}

static void render_pairs(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    const struct conf_pairs *list = value;
    buf_char(out, '{');
    for (size_t i = 0; i < list->count; i++) {
        buf_puts(out, i == 0 ? "" : ", ");
        conf_render_string(out, list->pairs[i].key);
        buf_puts(out, ": ");
        conf_render_string(out, list->pairs[i].value);
    }
    buf_char(out, '}');
}

static void describe_pairs(struct buf *out, const struct conf_option *option)
{
    buf_printf(out, "an object of at most %.0f texts", option->max);
}

const struct conf_kind_ops conf_pairs_ops = {.size = sizeof(struct conf_pairs),
                                             .read = read_pairs,
                                             .render = render_pairs,
                                             .describe = describe_pairs,
                                             .fini = fini_pairs};

/* --- layers of the time budget --- */

static const char *const layer_keys[] = {"layer", "budget_ms", "budget_share", "soft_limit_pct",
                                         "strict_enforcement"};
enum { LAYER_KEY_COUNT = sizeof layer_keys / sizeof layer_keys[0] };

static struct str layer_key(size_t i)
{
    return str_of(layer_keys[i]);
}

static int wrong_member(const struct conf_reader *reader, size_t at, const char *member,
                        const char *expects, const json_t *got)
{
    conf_blame(reader);
    buf_printf(reader->errors, "[%zu].%s: expects %s", at, member, expects);
    return conf_got(reader, got);
}

static int check_layer_keys(const struct conf_reader *reader, json_t *json, size_t at)
{
    int err = 0;
    for (void *it = json_object_iter(json); it != NULL; it = json_object_iter_next(json, it)) {
        struct str key = {json_object_iter_key(it), json_object_iter_key_len(it)};
        struct str nearest = conf_nearest(key, LAYER_KEY_COUNT, layer_key);
        if (nearest.len > 0 && str_equal(key, nearest)) {
            continue;
        }
        conf_blame(reader);
        buf_printf(reader->errors, "[%zu].", at);
        conf_show(reader->errors, key);
        buf_puts(reader->errors, ": is not a key of a layer");
        if (nearest.len > 0) {
            buf_puts(reader->errors, "; the nearest is ");
            buf_str(reader->errors, nearest);
        }
        conf_from(reader->errors, reader->source);
        err = ERR_SYNTAX;
    }
    return err;
}

static int read_layer_name(const struct conf_reader *reader, const json_t *json, struct list *list,
                           size_t at)
{
    struct conf_layer *layers = list->items;
    struct str name = conf_json_text(json);
    if (name.len == 0 || name.len > LAYER_NAME_MAX || !conf_is_plain(name) ||
        str_is(name, "total")) {
        return wrong_member(reader, at, "layer",
                            "text of 1 to 64 bytes without control characters, not \"total\"",
                            json);
    }
    for (size_t i = 0; i < at; i++) {
        if (layers[i].layer != NULL && str_is(name, layers[i].layer)) {
            return wrong_member(reader, at, "layer", "a name that no other layer has", json);
        }
    }
    layers[at].layer = conf_copy(name);
    return layers[at].layer == NULL ? ERR_NOMEM : 0;
}

/* In milliseconds, or as a share of the total that goes with it. */
static int read_layer_budget(const struct conf_reader *reader, const json_t *json,
                             struct conf_layer *layer, size_t at)
{
    const json_t *ms = json_object_get(json, "budget_ms");
    const json_t *share = json_object_get(json, "budget_share");
    if (share == NULL) {
        layer->budget_ms = json_number_value(ms);
        return layer->budget_ms >= 0.001 && layer->budget_ms <= 1e9
                   ? 0
                   : wrong_member(reader, at, "budget_ms", "a number from 0.001 to 1000000000", ms);
    }
    layer->budget_share = json_number_value(share);
    if (ms != NULL) {
        return wrong_member(reader, at, "budget_ms", "to be missing beside budget_share", ms);
    }
    return layer->budget_share > 0 && layer->budget_share <= 1
               ? 0
               : wrong_member(reader, at, "budget_share", "a number above 0, at most 1", share);
}

static int read_layer(const struct conf_reader *reader, const json_t *json, struct list *list,
                      size_t at)
{
    if (!json_is_object(json)) {
        return wrong_item(reader, at, "an object {layer, budget_ms, …}", json);
    }
    struct conf_layer *layer = &((struct conf_layer *)list->items)[at];
    layer->soft_limit_pct = 0.8;
    layer->strict_enforcement = true;

    int err = check_layer_keys(reader, (json_t *)(uintptr_t)json, at);
    int budget_err = read_layer_budget(reader, json, layer, at);
    err = budget_err != 0 ? budget_err : err;

    const json_t *soft = json_object_get(json, "soft_limit_pct");
    if (soft != NULL) {
        double share = json_number_value(soft);
        if (!json_is_number(soft) || share < 0 || share > 1) {
            err = wrong_member(reader, at, "soft_limit_pct", "a number from 0 to 1", soft);
        }
        layer->soft_limit_pct = share;
    }
    const json_t *strict = json_object_get(json, "strict_enforcement");
    if (strict != NULL) {
        if (!json_is_boolean(strict)) {
            err = wrong_member(reader, at, "strict_enforcement", "true or false", strict);
        }
        layer->strict_enforcement = json_is_true(strict);
    }
    int name_err = read_layer_name(reader, json_object_get(json, "layer"), list, at);
    return name_err != 0 ? name_err : err;
}

static void fini_layers(void *value)
{
    struct conf_layers *list = value;
    for (size_t i = 0; i < list->count; i++) {
        mem_free(list->layers[i].layer);
    }
    mem_free(list->layers);
}

static int read_layers(const struct conf_reader *reader, const json_t *json, void *ret)
{
    struct list list = {NULL, 0};
    int err = list_read(reader, json, sizeof(struct conf_layer), read_layer, &list);
    struct conf_layers layers = {list.items, list.count};
    if (err != 0) {
        fini_layers(&layers);
        return err;
    }
    *(struct conf_layers *)ret = layers;
    return 0;
}

/* One layer a line, at the depth that options have in the file. */
static void render_layers(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    const struct conf_layers *list = value;
    buf_char(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        const struct conf_layer *layer = &list->layers[i];
        buf_puts(out, i == 0 ? "\n            {\"layer\": " : ",\n            {\"layer\": ");
        conf_render_string(out, layer->layer);
        bool is_share = layer->budget_share > 0;
        buf_puts(out, is_share ? ", \"budget_share\": " : ", \"budget_ms\": ");
        buf_double(out, is_share ? layer->budget_share : layer->budget_ms);
        buf_puts(out, ", \"soft_limit_pct\": ");
        buf_double(out, layer->soft_limit_pct);
        buf_printf(out, ", \"strict_enforcement\": %s}",
                   layer->strict_enforcement ? "true" : "false");
    }
    buf_puts(out, list->count == 0 ? "]" : "\n        ]");
}

static void describe_layers(struct buf *out, const struct conf_option *option)
{
    buf_printf(out,
               "a list of at most %.0f objects {layer, budget_ms or budget_share, soft_limit_pct, "
               "strict_enforcement}",
               option->max);
}

const struct conf_kind_ops conf_layers_ops = {.size = sizeof(struct conf_layers),
                                              .read = read_layers,
                                              .render = render_layers,
                                              .describe = describe_layers,
                                              .fini = fini_layers};
