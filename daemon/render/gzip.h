/*
 * Packs an answer as gzip (RFC 1952). One shot: answers are whole before they are sent.
 * Any thread.
 */
#ifndef DWELL_RENDER_GZIP_H
#define DWELL_RENDER_GZIP_H

#include "base/buf.h"

/* Appends the packed bytes. Memory and ceiling are told by out->err; `out` is then as before. */
void gzip_render(struct str bytes, struct buf *out);

#endif
