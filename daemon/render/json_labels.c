#include "render/json_labels.h"

/* As the answers have them; returns how many. */
static uint32_t list(const struct model_id *id, struct label ret[JSON_LABELS_MAX])
{
    uint32_t count = 0;
    if (id->device.len > 0) {
        ret[count++] = (struct label){STR_LITERAL("device"), id->device};
    }
    for (uint32_t i = 0; i < id->label_count; i++) {
        const struct label *label = &id->labels[i];
        /* As on /metrics: the device of the sample is another thing than a label of that name. */
        bool clashes = str_is(label->key, "device");
        ret[count++] =
            (struct label){clashes ? STR_LITERAL("exported_device") : label->key, label->value};
    }
    if (id->overflow) {
        ret[count++] = (struct label){STR_LITERAL("dwell_overflow"), STR_LITERAL("true")};
    }
    return count;
}

void json_put_labels(struct json_writer *writer, const struct model_id *id)
{
    struct label labels[JSON_LABELS_MAX];
    uint32_t count = list(id, labels);
    json_put_open(writer, "labels", '{');
    for (uint32_t i = 0; i < count; i++) {
        json_key(writer, labels[i].key);
        json_text(writer, labels[i].value);
    }
    json_close(writer, '}');
}

bool json_labels_are(const struct model_id *id, const struct label *labels, uint32_t count)
{
    struct label own[JSON_LABELS_MAX];
    uint32_t own_count = list(id, own);
    uint32_t same = 0;
    for (uint32_t i = 0; i < own_count; i++) {
        for (uint32_t k = 0; k < count; k++) {
            same += str_equal(own[i].key, labels[k].key) && str_equal(own[i].value, labels[k].value)
                        ? 1
                        : 0;
        }
    }
    return own_count == count && same == count;
}
