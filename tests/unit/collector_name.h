/*
 * The name that the OpenTelemetry Collector's Prometheus exporter gives to a metric, at its defaults: the
 * rule of the specification ("Prometheus and OpenMetrics compatibility") and of its NormalizeName,
 * written anew, so that names can be seen to come back. Any thread.
 */
#ifndef DWELL_TESTS_COLLECTOR_NAME_H
#define DWELL_TESTS_COLLECTOR_NAME_H

#include <stdbool.h>
#include <stddef.h>

enum collector_type { COLLECTOR_COUNTER, COLLECTOR_GAUGE, COLLECTOR_OTHER };

enum { COLLECTOR_NAME_MAX = 1024 };

/* A terminated text. The name may not have more than 64 words. */
void collector_name(const char *name, const char *unit, enum collector_type type,
                    char ret[COLLECTOR_NAME_MAX]);

#endif
