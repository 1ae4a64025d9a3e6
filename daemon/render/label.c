#include "render/label.h"

#include <assert.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/name.h"

enum { NAME_MAX_BYTES = 2 * RECORD_NAME_MAX };

/* Labels that mean something on our own series. A sample's label of the same name is shown as
 * exported_…, which is what Prometheus itself does with labels of a target that collide. */
static const char *const reserved[] = {
    "model_name", "device", "dwell_overflow", "constitutional_hash", "le",       "q",
    "quantile",   "stat",   "state",          "bottleneck",          "decision",
};

static bool is_reserved(struct str name)
{
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        if (str_is(name, reserved[i])) {
            return true;
        }
    }
    return name.len >= 2 && memcmp(name.ptr, "__", 2) == 0;
}

static bool is_taken(const struct label_names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* The key's label, with _2, _3, … where an earlier key has it already. NULL without memory. */
static char *find_name(const struct label_names *names, struct str key)
{
    char *plain = mem_alloc(key.len + 1);
    if (plain == NULL) {
        return NULL;
    }
    struct str label = {plain, name_sanitise(key, plain)};
    const char *prefix = is_reserved(label) ? "exported_" : "";
    char *name = NULL;
    for (unsigned copy = 1; copy <= REGISTRY_LABEL_KEYS_MAX; copy++) {
        struct buf tried;
        buf_init(&tried, NAME_MAX_BYTES);
        buf_puts(&tried, prefix);
        buf_str(&tried, label);
        if (copy > 1) {
            buf_printf(&tried, "_%u", copy);
        }
        name = buf_steal(&tried);
        if (name == NULL || !is_taken(names, name)) {
            break;
        }
        mem_free(name);
        name = NULL;
    }
    mem_free(plain);
    return name;
}

static char *copy_text(struct str text)
{
    struct buf copy;
    buf_init(&copy, text.len + 1);
    buf_str(&copy, text);
    return buf_steal(&copy);
}

int label_names_init(struct label_names *names, const struct str *keys, uint32_t count)
{
    *names = (struct label_names){0};
    for (uint32_t i = 0; i < count; i++) {
        char *key = copy_text(keys[i]);
        char *name = find_name(names, keys[i]);
        if (key == NULL || name == NULL) {
            mem_free(key);
            mem_free(name);
            label_names_fini(names);
            return ERR_NOMEM;
        }
        names->keys[names->count] = key;
        names->names[names->count++] = name;
    }
    return 0;
}

void label_names_fini(struct label_names *names)
{
    for (uint32_t i = 0; i < names->count; i++) {
        mem_free(names->keys[i]);
        mem_free(names->names[i]);
    }
    *names = (struct label_names){0};
}

const char *label_names_get(const struct label_names *names, struct str key)
{
    uint32_t i = 0;
    while (i + 1 < names->count && !str_is(key, names->keys[i])) {
        i++;
    }
    assert(i < names->count && str_is(key, names->keys[i]));
    return names->names[i];
}

void label_render_value(struct str value, struct buf *out)
{
    size_t begin = 0;
    for (size_t i = 0; i < value.len; i++) {
        const char *escape = value.ptr[i] == '\\'   ? "\\\\"
                             : value.ptr[i] == '"'  ? "\\\""
                             : value.ptr[i] == '\n' ? "\\n"
                                                    : NULL;
        if (escape != NULL) {
            buf_append(out, value.ptr + begin, i - begin);
            buf_puts(out, escape);
            begin = i + 1;
        }
    }
    buf_append(out, value.ptr + begin, value.len - begin);
}

void label_render(const char *name, struct str value, struct buf *out)
{
    buf_puts(out, out->len > 0 ? "," : "");
    buf_puts(out, name);
    buf_puts(out, "=\"");
    label_render_value(value, out);
    buf_char(out, '"');
}
