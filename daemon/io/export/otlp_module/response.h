/*
 * What a server answered, read out of protobuf: the partial success in a response, the delay in the
 * details of a status. Whatever the bytes are, reading ends well. Pure.
 */
#ifndef DWELL_OTLP_MODULE_RESPONSE_H
#define DWELL_OTLP_MODULE_RESPONSE_H

#include "io/export/transport.h"

/* Copies as much of a text as fits, whole characters of UTF-8 as far as it is that. */
void response_copy_text(struct transport_reply *reply, const char *text, size_t len);

/* Bytes of a response. A longer one is not looked into: a hostile one could take many times its
 * length while it is read, and none that is meant well is near it. */
enum { RESPONSE_MAX = 64 << 10 };

/* An Export…ServiceResponse: those of traces and of metrics have the same numbers. Fills `rejected`
 * and, when there is one, `message`; or sets is_garbled. */
void response_read(const uint8_t *bytes, size_t len, struct transport_reply *reply);

/* A google.rpc.Status, as grpc-status-details-bin has it. Fills has_retry_delay and retry_delay_ns
 * when it holds a RetryInfo; a negative delay is none at all. */
void response_read_details(const uint8_t *bytes, size_t len, struct transport_reply *reply);

#endif
