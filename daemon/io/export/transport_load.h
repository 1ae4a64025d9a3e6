/*
 * Finds and opens the module that carries OTLP, so that a daemon without an endpoint has neither gRPC
 * nor its threads in its memory. At start, before or beside other threads; a module is never closed,
 * as gRPC's threads may still run in it.
 */
#ifndef DWELL_EXPORT_TRANSPORT_LOAD_H
#define DWELL_EXPORT_TRANSPORT_LOAD_H

#include "base/buf.h"
#include "io/export/transport.h"

/* `directory`: where to look; empty: beside the binary, in ../lib/dwell as seen from there, and where
 * `make install` puts it. Without `tls` the smaller module is preferred, if it is there. A process must
 * not open both, so `tls` is to be true when any of its targets wants it. Returns the functions, or
 * NULL with a sentence in `problem`. */
const struct transport *transport_load(const char *directory, bool tls, struct buf *problem);

#endif
