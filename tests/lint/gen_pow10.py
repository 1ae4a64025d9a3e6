#!/usr/bin/env python3
"""Prints daemon/base/pow10.h: powers of ten to 128 bits, computed with whole numbers only.

    python3 tests/lint/gen_pow10.py > daemon/base/pow10.h

With --check it compares the file with what it would print, and says nothing when they agree.
"""

import sys

# Rendering needs 10^-292 (largest double) to 10^324 (smallest); reading makes do with the same.
FIRST, LAST = -292, 324

HEAD = """\
/*
 * Powers of ten to 128 bits, for base/num.c only. Made by tests/lint/gen_pow10.py: do not edit.
 *
 * Row i stands for 10^(POW10_FIRST + i) = p * 2^e, with 2^127 <= p < 2^128 rounded down. Exponents 0
 * to POW10_EXACT_LAST are exact.
 */
#ifndef DWELL_BASE_POW10_H
#define DWELL_BASE_POW10_H

#include <stdint.h>

enum { POW10_FIRST = %d, POW10_LAST = %d, POW10_EXACT_LAST = 55 };

static const struct pow10 {
    uint64_t high;
    uint64_t low;
} pow10_table[] = {
"""

TAIL = """\
};

#endif
"""


def leading_128_bits(power):
    """floor(10^power * 2^s) for the s that makes it 128 bits long."""
    top, bottom = (10**power, 1) if power >= 0 else (1, 10**-power)
    shift = 128 - (top.bit_length() - bottom.bit_length())
    value = (top << shift) // bottom if shift >= 0 else top // (bottom << -shift)
    while value.bit_length() > 128:
        shift -= 1
        value = (top << shift) // bottom if shift >= 0 else top // (bottom << -shift)
    return value


def rows():
    for power in range(FIRST, LAST + 1):
        value = leading_128_bits(power)
        assert value.bit_length() == 128
        yield "    {0x%016X, 0x%016X}, /* %d */\n" % (value >> 64, value & (2**64 - 1), power)


def main():
    text = HEAD % (FIRST, LAST) + "".join(rows()) + TAIL
    if sys.argv[1:] == ["--check"]:
        with open("daemon/base/pow10.h", encoding="ascii") as file:
            if file.read() != text:
                sys.exit("daemon/base/pow10.h: differs from what tests/lint/gen_pow10.py makes")
        return
    sys.stdout.write(text)


main()
