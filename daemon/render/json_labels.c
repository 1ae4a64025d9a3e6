#include "render/json_labels.h"

void json_put_labels(struct json_writer *writer, const struct model_id *id)
{
    json_put_open(writer, "labels", '{');
    if (id->device.len > 0) {
        json_put_text(writer, "device", id->device);
    }
    for (uint32_t i = 0; i < id->label_count; i++) {
        const struct label *label = &id->labels[i];
        /* As on /metrics: the device of the sample is another thing than a label of that name. */
        bool clashes = str_is(label->key, "device");
        json_key(writer, clashes ? STR_LITERAL("exported_device") : label->key);
        json_text(writer, label->value);
    }
    if (id->overflow) {
        json_put_text(writer, "dwell_overflow", STR_LITERAL("true"));
    }
    json_close(writer, '}');
}
