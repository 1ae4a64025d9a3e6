/*
 * An attribute as OTLP has it, a KeyValue message (proto/otlp.proto), of text or a bool.
 * It does not know whose attribute it is: the field's number is handed in. Pure; any thread.
 */
#ifndef DWELL_RENDER_OTLP_ATTRIBUTE_H
#define DWELL_RENDER_OTLP_ATTRIBUTE_H

#include "base/buf.h"

void otlp_attribute_text(struct buf *out, unsigned field, struct str key, struct str value);
void otlp_attribute_bool(struct buf *out, unsigned field, struct str key, bool value);

/* Appends attributes that were rendered in another field, now in this one. */
void otlp_attribute_copy(struct buf *out, unsigned field, struct str rendered);

#endif
