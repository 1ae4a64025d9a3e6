/*
 * Numbers to text and back, without locale and without allocation.
 * It does not know JSON or Prometheus spellings beyond what both share. Any thread may call it.
 */
#ifndef DWELL_BASE_NUM_H
#define DWELL_BASE_NUM_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum {
    NUM_U64_MAX = 20,    /* digits of 2^64 - 1 */
    NUM_DOUBLE_MAX = 32, /* "-2.2250738585072014e-308" and room */
};

/* Writes the decimal digits, returns how many: at most NUM_U64_MAX. No terminator. */
size_t num_write_u64(char *out, uint64_t number);

/* Writes the shortest decimal that reads back as the same double, the closest one of those: plain
 * from 0.00001 to below 1e+21, else with an exponent of two digits or more ("12.5", "5e-07", "1e+21";
 * an integral value has no point); or "NaN", "+Inf", "-Inf". JSON and Prometheus both read the
 * finite ones. `out` has room for NUM_DOUBLE_MAX bytes; returns how many were written. */
size_t num_write_double(char *out, double number);

/* Reads a whole JSON number (RFC 8259, section 6) into the nearest double, ties to even. Returns 0;
 * ERR_SYNTAX when it is not exactly one number, ERR_RANGE when it is too large for a double. */
int num_read_double(struct str text, double *ret_number);

/* Reads the longest JSON number at *at, which need not be followed by anything; reads nothing at or
 * past `end`. Moves *at past it and returns 0; ERR_SYNTAX when there is none (*at stays), ERR_RANGE
 * when it is too large for a double (*at moves, the number is not written). */
int num_scan_double(const char **at, const char *end, double *ret_number);

/* As num_scan_double, and takes what other languages write and read besides: "+5", "007", "5.", ".5". */
int num_scan_lenient(const char **at, const char *end, double *ret_number);

/* Reads decimal digits, nothing else. ERR_SYNTAX, or ERR_RANGE above 2^64 - 1. */
int num_read_u64(struct str text, uint64_t *ret_number);

enum { NUM_USUAL_WHOLE_DIGITS = 7, NUM_USUAL_FRACTION_DIGITS = 7 };

/* The value of eight bytes that are digits, the first the highest: pairs, then fours, then eight. */
static inline uint64_t num_eight_digits(uint64_t digits)
{
    digits = digits * 10 + (digits >> 8);
    return (((digits & 0x000000FF000000FF) * 0x000F424000000064 +
             ((digits >> 16) & 0x000000FF000000FF) * 0x0000271000000001) >>
            32) &
           0xFFFFFFFF;
}

/* How many of eight bytes, from the first, are digits; `bytes` are then their values. */
static inline unsigned num_count_digits(uint64_t *bytes)
{
    *bytes = le64toh(*bytes) ^ UINT64_C(0x3030303030303030);
    uint64_t others =
        (*bytes | (*bytes + UINT64_C(0x7676767676767676))) & UINT64_C(0x8080808080808080);
    return others == 0 ? 8 : (unsigned)__builtin_ctzll(others) / 8;
}

/* At most NUM_USUAL_FRACTION_DIGITS digits after a point, added to *mantissa; in one go where there
 * are eight bytes to look at. Returns what follows, or NULL when it is none or more digits. */
static inline const char *num_scan_fraction(const char *at, const char *end, uint64_t *mantissa,
                                            unsigned *ret_digits)
{
    static const uint64_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    unsigned digits = 0;
    if (end - at >= 8) {
        uint64_t bytes;
        memcpy(&bytes, at, sizeof bytes);
        digits = num_count_digits(&bytes);
        if (digits == 0 || digits > NUM_USUAL_FRACTION_DIGITS) {
            return NULL;
        }
        /* Shifted so that zeros stand in front, in place of what is not ours. */
        *mantissa = *mantissa * powers[digits] + num_eight_digits(bytes << 8 * (8 - digits));
    } else {
        for (; digits < end - at && (unsigned char)(at[digits] - '0') < 10; digits++) {
            *mantissa = *mantissa * 10 + (uint64_t)(at[digits] - '0');
        }
        if (digits == 0) {
            return NULL;
        }
    }
    *ret_digits = digits;
    return at + digits;
}

/* Bytes that num_scan_wide reads: digits and a point, digits and what follows. */
enum { NUM_WIDE_BYTES = NUM_USUAL_WHOLE_DIGITS + 1 + NUM_USUAL_FRACTION_DIGITS + 1 };

/* Powers of ten up to those of the digits that are usual; all are exact. */
static const double num_powers[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7};

/* As num_scan_usual where that many bytes can be read, whatever they are. How many digits there are is
 * different from number to number, so no branch depends on it. */
static inline const char *num_scan_wide(const char *at, double *ret_number)
{
    static const uint64_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
    uint64_t bytes;
    memcpy(&bytes, at, sizeof bytes);
    unsigned digits = num_count_digits(&bytes);
    if (digits - 1 >= NUM_USUAL_WHOLE_DIGITS || (*at == '0' && digits > 1)) {
        return NULL;
    }
    /* Shifted so that zeros stand in front, in place of what is not ours. */
    uint64_t whole = bytes << 8 * (8 - digits);
    uint64_t mantissa;
    unsigned fraction = 0;
    at += digits;
    if (*at == '.') {
        memcpy(&bytes, at + 1, sizeof bytes);
        fraction = num_count_digits(&bytes);
        if (fraction - 1 >= NUM_USUAL_FRACTION_DIGITS) {
            return NULL;
        }
        bytes <<= 8 * (8 - fraction);
        mantissa = digits + fraction <= 8
                       ? num_eight_digits(whole >> 8 * fraction | bytes)
                       : num_eight_digits(whole) * powers[fraction] + num_eight_digits(bytes);
        at += 1 + fraction;
    } else {
        mantissa = num_eight_digits(whole);
    }
    if (*at == '.' || *at == 'e' || *at == 'E') {
        return NULL;
    }
    /* Signed: an unsigned one is converted in two ways, and a branch chooses. */
    *ret_number = (double)(int64_t)mantissa / num_powers[fraction];
    return at;
}

/* A short cut for how most numbers look: at most 7 digits, and maybe a point and at most 7 more, so
 * that both mantissa and power of ten are exact doubles. Returns what follows, or NULL when the number
 * looks different. */
static inline const char *num_scan_usual(const char *at, const char *end, double *ret_number)
{
    const char *first = at;
    uint64_t mantissa = 0;
    unsigned fraction = 0;
    while (at < end && (unsigned char)(*at - '0') < 10 && at - first < NUM_USUAL_WHOLE_DIGITS) {
        mantissa = mantissa * 10 + (uint64_t)(*at++ - '0');
    }
    if (at == first || (*first == '0' && at - first > 1)) {
        return NULL;
    }
    if (at < end && *at == '.') {
        at = num_scan_fraction(at + 1, end, &mantissa, &fraction);
        if (at == NULL) {
            return NULL;
        }
    }
    if (at < end && ((unsigned char)(*at - '0') < 10 || *at == '.' || *at == 'e' || *at == 'E')) {
        return NULL;
    }
    /* Signed: an unsigned one is converted in two ways, and a branch chooses. */
    *ret_number = (double)(int64_t)mantissa / num_powers[fraction];
    return at;
}

#endif
