/*
 * Labels as Prometheus takes them: names from the keys of samples, values escaped.
 * It does not know which labels a model has. Any thread; a struct label_names belongs to one.
 */
#ifndef DWELL_RENDER_LABEL_H
#define DWELL_RENDER_LABEL_H

#include "base/buf.h"
#include "core/registry.h"

/* The label of each kept key: sanitised, and never the same as another's or as one of ours. It
 * depends on all keys and their order, not on what samples bring. */
struct label_names {
    uint32_t count;
    char *keys[REGISTRY_LABEL_KEYS_MAX]; /* owned, terminated, as the names are */
    char *names[REGISTRY_LABEL_KEYS_MAX];
};

/* Returns 0 or ERR_NOMEM. */
int label_names_init(struct label_names *names, const struct str *keys, uint32_t count);
void label_names_fini(struct label_names *names);

/* The name for a key that was given to label_names_init. Borrowed. */
const char *label_names_get(const struct label_names *names, struct str key);

/* A value inside of quotes: backslash, quote and line end are escaped. */
void label_render_value(struct str value, struct buf *out);

/* name="value", after a comma unless `out` is empty. */
void label_render(const char *name, struct str value, struct buf *out);

#endif
