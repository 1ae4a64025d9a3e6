#include "io/export/otlp_module/response.h"

#include <otlp.pb-c.h>
#include <string.h>

#include "base/clock.h"

static const char retry_info_type[] = "google.rpc.RetryInfo";

void response_copy_text(struct transport_reply *reply, const char *text, size_t len)
{
    if (len > sizeof reply->message - 1) {
        len = sizeof reply->message - 1;
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80) {
            len--; /* the next byte goes on with a character */
        }
    }
    if (len > 0) {
        memcpy(reply->message, text, len);
    }
    reply->message[len] = '\0';
}

void response_read(const uint8_t *bytes, size_t len, struct transport_reply *reply)
{
    Otlp__ExportTraceServiceResponse *response =
        len > RESPONSE_MAX ? NULL : otlp__export_trace_service_response__unpack(NULL, len, bytes);
    if (response == NULL) {
        reply->is_garbled = true;
        return;
    }
    const Otlp__ExportTracePartialSuccess *partial = response->partial_success;
    if (partial != NULL) {
        reply->rejected = partial->rejected_spans > 0 ? (uint64_t)partial->rejected_spans : 0;
        if (partial->error_message != NULL) {
            response_copy_text(reply, partial->error_message, strlen(partial->error_message));
        }
    }
    otlp__export_trace_service_response__free_unpacked(response, NULL);
}

/* The type's name stands behind the last slash. */
static bool is_retry_info(const char *type_url)
{
    const char *slash = type_url == NULL ? NULL : strrchr(type_url, '/');
    return slash != NULL && strcmp(slash + 1, retry_info_type) == 0;
}

static void read_retry_info(const Otlp__Any *detail, struct transport_reply *reply)
{
    Otlp__RetryInfo *info = otlp__retry_info__unpack(NULL, detail->value.len, detail->value.data);
    if (info == NULL) {
        return;
    }
    const Otlp__Duration *delay = info->retry_delay;
    int64_t seconds = delay == NULL ? 0 : delay->seconds;
    int64_t nanos = delay == NULL ? 0 : delay->nanos;
    if (seconds >= 0 && nanos >= 0 && nanos < (int64_t)NS_PER_SECOND) {
        /* The longest that a Duration may be, ten thousand years, does not fit; three hundred do. */
        uint64_t most = UINT64_MAX / NS_PER_SECOND - 1;
        uint64_t whole = (uint64_t)seconds < most ? (uint64_t)seconds : most;
        reply->has_retry_delay = true;
        reply->retry_delay_ns = whole * NS_PER_SECOND + (uint64_t)nanos;
    }
    otlp__retry_info__free_unpacked(info, NULL);
}

void response_read_details(const uint8_t *bytes, size_t len, struct transport_reply *reply)
{
    Otlp__RpcStatus *status = otlp__rpc_status__unpack(NULL, len, bytes);
    if (status == NULL) {
        return;
    }
    for (size_t i = 0; i < status->n_details; i++) {
        if (is_retry_info(status->details[i]->type_url)) {
            read_retry_info(status->details[i], reply);
        }
    }
    otlp__rpc_status__free_unpacked(status, NULL);
}
