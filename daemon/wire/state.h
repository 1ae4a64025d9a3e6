/*
 * Reads the body of a state file (proto/state.proto) in place, and hands its pieces to a sink in their
 * order. It knows the form and what any daemon could have written; whether that fits the present one is
 * the sink's to say. It opens no file and keeps nothing. Any thread.
 *
 * To take all of a body or nothing, read it twice: first for a sink without members, then, when that came
 * to 0, for the one that applies it.
 */
#ifndef DWELL_WIRE_STATE_H
#define DWELL_WIRE_STATE_H

#include "core/saved.h"

/* Returns 0; ERR_FRAME for what no daemon writes, ERR_LIMIT for more of something than there may be,
 * ERR_NOMEM, also the sink's. */
int state_read(struct str body, const struct saved_sink *sink);

#endif
