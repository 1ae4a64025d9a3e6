/*
 * The Prometheus protobuf format: a MetricFamily (proto/prometheus.proto) for each family, behind its
 * length. Names are those of text 0.0.4; a family without series is left out, as some parsers refuse
 * one. Native buckets and the time since when a series counts are here only. Pure; any thread.
 */
#ifndef DWELL_RENDER_FORM_MESSAGE_H
#define DWELL_RENDER_FORM_MESSAGE_H

#include "render/form.h"

extern const struct form form_message;

#endif
