#!/usr/bin/env python3
"""Prints daemon/render/width_table.h from the Unicode data that Python brings.

    python3 tests/lint/gen_width.py | clang-format > daemon/render/width_table.h

Characters that are not assigned may be in either table: whatever makes the ranges fewer.
"""

import sys
import unicodedata

HEAD = """\
/*
 * Characters that do not take one column, for render/width.c only. Unicode %s, made by
 * tests/lint/gen_width.py: do not edit.
 */
#ifndef DWELL_RENDER_WIDTH_TABLE_H
#define DWELL_RENDER_WIDTH_TABLE_H

#include <stdint.h>

struct width_range {
    uint32_t first, last;
};
"""


def is_zero(point):
    """Combining marks, invisible characters, and the vowels that join a Hangul syllable."""
    kind = unicodedata.category(chr(point))
    return kind in ("Mn", "Me") or (kind == "Cf" and point != 0xAD) or 0x1160 <= point <= 0x11FF


def is_wide(point):
    return unicodedata.east_asian_width(chr(point)) in "WF" and not is_zero(point)


def is_assigned(point):
    return unicodedata.category(chr(point)) not in ("Cn", "Co", "Cs")


def ranges(holds):
    found = []
    gap = True  # only unassigned characters since the end of the last range
    for point in range(0xA0, sys.maxunicode + 1):
        if not is_assigned(point):
            continue
        if not holds(point):
            gap = False
        elif found and gap:
            found[-1][1] = point
        else:
            found.append([point, point])
            gap = True
    return found


def show(name, found):
    print(f"\nstatic const struct width_range {name}[] = {{")
    for first, last in found:
        print(f"    {{0x{first:04X}, 0x{last:04X}}},")
    print("};")


print(HEAD % unicodedata.unidata_version, end="")
show("width_zero", ranges(is_zero))
show("width_wide", ranges(is_wide))
print("\n#endif")
