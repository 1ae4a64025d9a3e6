/*
 * What tells the models of one name apart, as JSON. Pure; any thread.
 */
#ifndef DWELL_RENDER_JSON_LABELS_H
#define DWELL_RENDER_JSON_LABELS_H

#include "core/registry.h"
#include "render/json_write.h"

enum { JSON_LABELS_MAX = REGISTRY_LABEL_KEYS_MAX + 2 };

/* "labels":{…}: device, kept labels, and the mark of the overflow model. */
void json_put_labels(struct json_writer *writer, const struct model_id *id);

/* Whether these are its labels, by the keys above, in any order, and all of them. */
bool json_labels_are(const struct model_id *id, const struct label *labels, uint32_t count);

#endif
