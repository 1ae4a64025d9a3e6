/*
 * What a key of a line takes, in words for whoever sent something else. It judges nothing. Any thread.
 */
#ifndef DWELL_WIRE_EXPECTS_H
#define DWELL_WIRE_EXPECTS_H

#include "wire/line_reader.h"

enum { EXPECTS_BYTES = 80 };

/* Of values of this kind with this maximum, as in the table of keys: "a number from 0 to 1e+12". `words`
 * has the text. */
struct str expects_say(enum kind kind, double max, char words[EXPECTS_BYTES]);

#endif
