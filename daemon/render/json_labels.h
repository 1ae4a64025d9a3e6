/*
 * What tells the models of one name apart, as JSON. Pure; any thread.
 */
#ifndef DWELL_RENDER_JSON_LABELS_H
#define DWELL_RENDER_JSON_LABELS_H

#include "core/registry.h"
#include "render/json_write.h"

/* "labels":{…}: device, kept labels, and the mark of the overflow model. */
void json_put_labels(struct json_writer *writer, const struct model_id *id);

#endif
