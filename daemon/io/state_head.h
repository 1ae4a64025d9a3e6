/*
 * The form of a state file: a head in front of the body (proto/state.proto). Every number has its lowest
 * byte first.
 *
 *      0  "dwstate\n"    8 bytes
 *      8  version        4
 *     12  0              4
 *     16  length         8   of the body
 *     24  XXH3-64 of the body            8
 *     32  XXH3-64 of the 32 bytes before it
 *     40  the body
 *
 * The version changes when a daemon that knows the old one would misread the new one, and only then:
 * fields that may be missed come and go within a version. It opens no files. Pure; any thread.
 */
#ifndef DWELL_IO_STATE_HEAD_H
#define DWELL_IO_STATE_HEAD_H

#include <stdint.h>

#include "base/str.h"

enum { STATE_VERSION = 1, STATE_HEAD_BYTES = 40 };

uint64_t state_hash(struct str bytes);

/* The head of a body. */
void state_head_write(struct str body, char out[STATE_HEAD_BYTES]);

/* The body of a file, borrowed from it. Returns 0; ERR_SYNTAX for what was never a state file,
 * ERR_UNSUPPORTED for one of another version, ERR_FRAME for one that is cut off, goes on behind its end, or
 * was changed. */
int state_head_read(struct str file, struct str *ret_body);

#endif
