/*
 * Name and unit of a family towards OTLP, such that the Collector's Prometheus exporter, which takes
 * them apart into words and puts them together again (its "NormalizeName"), gives back the name that
 * /metrics has.
 *
 *     on /metrics              type                 name            unit   comes back by
 *     x_seconds[_total]        any but info         x               s      unit's word
 *     x_bytes[_total]          any but info         x               By     unit's word
 *     x_percent                any but info         x               %      unit's word
 *     x_ratio                  gauge                x               1      _ratio of gauges of unit 1
 *     … celsius Cel, hertz Hz, volts V, amperes A, joules J, watts W, grams g, meters m
 *     x_total                  counter              x               1      _total of monotonic sums
 *     x                        histogram            x               1
 *     x                        gauge                x               none, as 1 would add _ratio
 *     x_info                   info                 x_info          none
 *     x_bytes_y_bytes          any                  the same        By     no word is added twice
 *     x_ratio_y_ratio          gauge                the same        none
 *
 * Families that differ by nothing but the unit, x_seconds and x_bytes, share a name and are told apart
 * by the unit. Names that the Collector cannot give back: with two underscores in a row, one at either
 * end (but before a digit), and those of counters that have a word "total" inside.
 *
 * A free family, one that its first record made, has no need to come back: it is called
 * `{namespace}.{service}.{name}`, with the client's spelling but for characters that OpenTelemetry's
 * names do not have (letters, digits, "_", ".", "-", "/"), which become "_". Unit as above.
 *
 * Pure; any thread.
 */
#ifndef DWELL_RENDER_OTLP_NAME_H
#define DWELL_RENDER_OTLP_NAME_H

#include "base/buf.h"
#include "core/family.h"

/* `{namespace}.{service}.`; an empty namespace adds nothing, dot included. */
void otlp_name_prefix(struct str name_space, struct str service, struct buf *out);

/* Appends the name of a family as text, behind the prefix if it is a free one. */
void otlp_name_render(const struct family_shape *shape, struct str prefix, struct buf *out);

/* A constant; empty for none. */
struct str otlp_name_unit(const struct family_shape *shape);

#endif
