#include "render/otlp_resource.h"

#include "base/message.h"
#include "render/otlp_attribute.h"

/* Field numbers of opentelemetry-proto: resource/v1. */
enum {
    RESOURCE_ATTRIBUTES = 1,
    RESOURCE = 1,
    SCOPE = 1,
    SCOPE_NAME = 1,
    SCOPE_VERSION = 2,
};

static const char service_prefix[] = "service.";

static bool is_of_service(struct str key)
{
    size_t len = sizeof service_prefix - 1;
    return key.len >= len && memcmp(key.ptr, service_prefix, len) == 0;
}

void otlp_resource_render(const struct otlp_resource_options *options, struct str other,
                          struct buf *out)
{
    bool is_own = other.len == 0;
    const struct label built_in[] = {
        {STR_LITERAL("service.name"), is_own ? options->service_name : other},
        {STR_LITERAL("service.version"), options->service_version},
        {STR_LITERAL("deployment.environment"), options->environment},
        {STR_LITERAL("constitutional.hash"), options->constitutional_hash},
        {STR_LITERAL("telemetry.sdk.name"), STR_LITERAL("dwell")},
        {STR_LITERAL("telemetry.sdk.language"), STR_LITERAL("c")},
        {STR_LITERAL("telemetry.sdk.version"), options->dwelld_version},
    };
    enum { BUILT_IN = sizeof built_in / sizeof built_in[0] };
    size_t resource = message_begin(out, RESOURCE);
    for (size_t i = 0; i < BUILT_IN; i++) {
        bool is_wanted = is_own || i == 0 || !is_of_service(built_in[i].key);
        if (is_wanted && built_in[i].value.len > 0) {
            otlp_attribute_text(out, RESOURCE_ATTRIBUTES, built_in[i].key, built_in[i].value);
        }
    }
    for (size_t i = 0; i < options->attribute_count; i++) {
        const struct label *label = &options->attributes[i];
        bool is_taken = !is_own && is_of_service(label->key);
        for (size_t j = 0; j < BUILT_IN && !is_taken; j++) {
            is_taken = str_equal(label->key, built_in[j].key);
        }
        if (!is_taken) {
            otlp_attribute_text(out, RESOURCE_ATTRIBUTES, label->key, label->value);
        }
    }
    message_end(out, resource);
}

void otlp_scope_render(struct str version, struct buf *out)
{
    size_t scope = message_begin(out, SCOPE);
    message_str(out, SCOPE_NAME, STR_LITERAL("dwell"));
    message_str(out, SCOPE_VERSION, version);
    message_end(out, scope);
}
