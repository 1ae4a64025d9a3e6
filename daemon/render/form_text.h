/*
 * The two text formats: Prometheus 0.0.4 and OpenMetrics 1.0.0. They differ in heads and in what
 * OpenMetrics shows more: exemplars, _created, target_info. Pure; any thread.
 */
#ifndef DWELL_RENDER_FORM_TEXT_H
#define DWELL_RENDER_FORM_TEXT_H

#include "render/form.h"

extern const struct form form_text;
extern const struct form form_openmetrics;

#endif
