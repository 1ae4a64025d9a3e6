/*
 * Numbers to text and back.
 *
 * Shortest digits: Raffaello Giulietti, "The Schubfach way to render doubles" (2021), sections 8
 * and 9. Nearest double, in this order, each step taking what the one before cannot decide:
 *   1. William Clinger, "How to read floating point numbers accurately" (1990), section 1: both the
 *      digits and the power of ten are doubles, so that one operation rounds once;
 *   2. Daniel Lemire, "Number parsing at a gigabyte per second" (2021), section 5: 19 digits times a
 *      128-bit power of ten, when the error of that power cannot reach the rounding;
 *   3. strtod, on at most DIGITS_MAX digits that stand without a point, and so without a locale.
 */
#include "base/num.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/pow10.h"

__extension__ typedef unsigned __int128 u128;

#define HIDDEN_BIT (UINT64_C(1) << 52)

enum {
    FRACTION_BITS = 52,
    EXPONENT_FIELD_MAX = 0x7FF,
    EXPONENT_BIAS = 1075, /* of c * 2^q with a whole number c */
};

static const char pairs[] =
    "00010203040506070809101112131415161718192021222324252627282930313233343"
    "53637383940414243444546474849505152535455565758596061626364656667686970"
    "7172737475767778798081828384858687888990919293949596979899";

size_t num_write_u64(char *out, uint64_t number)
{
    char digits[NUM_U64_MAX];
    size_t at = sizeof digits;
    while (number >= 100) {
        const char *pair = pairs + 2 * (number % 100);
        number /= 100;
        at -= 2;
        memcpy(digits + at, pair, 2);
    }
    if (number >= 10) {
        at -= 2;
        memcpy(digits + at, pairs + 2 * number, 2);
    } else {
        digits[--at] = (char)('0' + number);
    }
    memcpy(out, digits + at, sizeof digits - at);
    return sizeof digits - at;
}

/* floor(log2(10^power)) and floor(log10(2^power)): the factors are log2(10) and log10(2) in fixed
 * point, good for every exponent of a double. Shifting a negative number right rounds down in every
 * compiler that we build with. */
static int log2_of_pow10(int power)
{
    return (power * 1741647) >> 19;
}

static int log10_of_pow2(int power)
{
    return (power * 1262611) >> 22;
}

/* floor(log10(3/4 * 2^power)), for numbers whose lower neighbour is closer. */
static int log10_of_three_quarters(int power)
{
    return (power * 1262611 - 524031) >> 22;
}

/* A number digits * 10^exponent. */
struct decimal {
    uint64_t digits;
    int exponent;
};

/* The leading 64 bits of power * factor / 2^64, the lowest of them set when anything was cut off:
 * "round to odd" keeps comparisons exact that look only two bits below the point (section 9.9). */
static uint64_t scale_to_odd(struct pow10 power, uint64_t factor)
{
    u128 product = (u128)power.high * factor + (uint64_t)((u128)power.low * factor >> 64);
    return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}

/*
 * The shortest decimal that rounds to v = c * 2^q, the closest to v among those, all scaled by four
 * so that halves and quarters are whole:
 *
 *     lower              v             upper       numbers between lower and upper round to v
 *   ----[----------------|---------------]----
 *          s * 10^k   ^         ^ (s + 1) * 10^k   k is such that at least one of these is inside
 *       and at most one multiple of 10^(k+1) is: that one is shorter.
 */
static struct decimal shortest(uint64_t c, int q, bool closer_below)
{
    int k = closer_below ? log10_of_three_quarters(q) : log10_of_pow2(q);
    struct pow10 power = pow10_table[-k - POW10_FIRST];
    power.low += -k < 0 || -k > POW10_EXACT_LAST; /* the paper rounds up; no row ends in all ones */
    int shift = q + log2_of_pow10(-k) + 1;

    uint64_t v = scale_to_odd(power, 4 * c << shift);
    uint64_t lower = scale_to_odd(power, (4 * c - (closer_below ? 1 : 2)) << shift);
    uint64_t upper = scale_to_odd(power, (4 * c + 2) << shift);
    uint64_t excluded = c & 1; /* the ends themselves round to the even neighbour */
    lower += excluded;
    upper -= excluded;

    uint64_t s = v / 4;
    if (s >= 10) {
        uint64_t tens = s / 10;
        bool below_inside = lower <= 40 * tens;
        bool above_inside = 40 * tens + 40 <= upper;
        if (below_inside != above_inside) {
            return (struct decimal){tens + above_inside, k + 1};
        }
    }
    bool below_inside = lower <= 4 * s;
    bool above_inside = 4 * s + 4 <= upper;
    if (below_inside != above_inside) {
        return (struct decimal){s + above_inside, k};
    }
    uint64_t middle = 4 * s + 2;
    bool up = v > middle || (v == middle && (s & 1) != 0);
    return (struct decimal){s + up, k};
}

static struct decimal strip_zeros(struct decimal decimal)
{
    while (decimal.digits % 10000 == 0) {
        decimal.digits /= 10000;
        decimal.exponent += 4;
    }
    while (decimal.digits % 10 == 0) {
        decimal.digits /= 10;
        decimal.exponent++;
    }
    return decimal;
}

static size_t write_exponent(char *out, int exponent)
{
    out[0] = 'e';
    out[1] = exponent < 0 ? '-' : '+';
    unsigned size = (unsigned)abs(exponent);
    if (size >= 100) {
        out[2] = (char)('0' + size / 100);
        memcpy(out + 3, pairs + 2 * (size % 100), 2);
        return 5;
    }
    memcpy(out + 2, pairs + 2 * size, 2);
    return 4;
}

enum { PLAIN_MIN = -5, PLAIN_MAX = 20 }; /* exponents of the first digit that need no "e" */

/* Lays out the digits: "0.00125", "12.5", "12500", "1.25e+21". */
static size_t write_decimal(char *out, struct decimal decimal)
{
    char digits[NUM_U64_MAX];
    size_t count = num_write_u64(digits, decimal.digits);
    int first = decimal.exponent + (int)count - 1;
    if (first < PLAIN_MIN || first > PLAIN_MAX) {
        out[0] = digits[0];
        size_t len = 1;
        if (count > 1) {
            out[1] = '.';
            memcpy(out + 2, digits + 1, count - 1);
            len = count + 1;
        }
        return len + write_exponent(out + len, first);
    }
    if (first < 0) {
        size_t zeros = (size_t)-first;
        memcpy(out, "0.0000", zeros + 1);
        memcpy(out + zeros + 1, digits, count);
        return zeros + 1 + count;
    }
    size_t whole = (size_t)first + 1;
    if (whole >= count) {
        memcpy(out, digits, count);
        memset(out + count, '0', whole - count);
        return whole;
    }
    memcpy(out, digits, whole);
    out[whole] = '.';
    memcpy(out + whole + 1, digits + whole, count - whole);
    return count + 1;
}

static size_t write_special(char *out, double number)
{
    const char *word = isnan(number) ? "NaN" : number > 0 ? "+Inf" : "-Inf";
    size_t len = strlen(word);
    memcpy(out, word, len);
    return len;
}

size_t num_write_double(char *out, double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    int field = (int)(bits >> FRACTION_BITS) & EXPONENT_FIELD_MAX;
    if (field == EXPONENT_FIELD_MAX) {
        return write_special(out, number);
    }
    uint64_t c = bits & (HIDDEN_BIT - 1);
    bool closer_below = c == 0 && field > 1;
    int q = (field == 0 ? 1 : field) - EXPONENT_BIAS;
    c |= field == 0 ? 0 : HIDDEN_BIT;

    size_t sign = (size_t)(bits >> 63);
    out[0] = '-';
    out += sign;
    if (c == 0) {
        out[0] = '0';
        return sign + 1;
    }
    if (q <= 0 && q > -53 && (c & ((UINT64_C(1) << -q) - 1)) == 0) {
        return sign + num_write_u64(out, c >> -q);
    }
    return sign + write_decimal(out, strip_zeros(shortest(c, q, closer_below)));
}

/* --- reading --- */

enum {
    MANTISSA_DIGITS = 19, /* any such number fits 64 bits */
    DIGITS_MAX = 800,     /* no more than 767 can matter to a double; the rest is "not zero" */
    CLINGER_MAX = 22,     /* 10^22 is the last power of ten that is a double */
};

#define EXPONENT_CLAMP 1000000000000 /* beyond every length of a text */

/* The parts of a number's text, all borrowed from it. */
struct parts {
    const char *first; /* the first digit */
    const char *end;   /* after the last digit, before any "e" */
    uint64_t mantissa; /* all digits, modulo 2^64 */
    size_t digits;     /* how many, leading zeros included */
    int64_t exponent;  /* of the last digit */
    bool negative;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static const char *scan_digits(const char *at, const char *end, uint64_t *mantissa)
{
    uint64_t sum = *mantissa;
    while (at < end && is_digit(*at)) {
        sum = sum * 10 + (uint64_t)(*at - '0');
        at++;
    }
    *mantissa = sum;
    return at;
}

/* "e-7": returns `at` when there is no digit, as the "e" then is not part of the number. */
static const char *scan_exponent(const char *at, const char *end, int64_t *exponent)
{
    const char *digit = at + 1;
    bool negative = digit < end && *digit == '-';
    if (negative || (digit < end && *digit == '+')) {
        digit++;
    }
    if (digit >= end || !is_digit(*digit)) {
        return at;
    }
    int64_t value = 0;
    for (; digit < end && is_digit(*digit); digit++) {
        value = value < EXPONENT_CLAMP ? value * 10 + (*digit - '0') : value;
    }
    *exponent += negative ? -value : value;
    return digit;
}

/* Cuts the number at `at` into parts; returns its end, or NULL when there is no number. */
static const char *scan_parts(const char *at, const char *end, struct parts *parts)
{
    *parts = (struct parts){.negative = at < end && *at == '-'};
    at += parts->negative;
    if (at >= end || !is_digit(*at)) {
        return NULL;
    }
    parts->first = at;
    if (*at == '0') {
        at++;
    } else {
        at = scan_digits(at, end, &parts->mantissa);
    }
    parts->digits = (size_t)(at - parts->first);
    if (end - at >= 2 && at[0] == '.' && is_digit(at[1])) {
        const char *fraction = at + 1;
        at = scan_digits(fraction, end, &parts->mantissa);
        parts->digits += (size_t)(at - fraction);
        parts->exponent = fraction - at;
    }
    parts->end = at;
    if (at < end && (*at == 'e' || *at == 'E')) {
        at = scan_exponent(at, end, &parts->exponent);
    }
    return at;
}

/* As scan_parts, for what people write besides JSON's numbers. */
static const char *scan_lenient_parts(const char *at, const char *end, struct parts *parts)
{
    *parts = (struct parts){.negative = at < end && *at == '-'};
    at += at < end && (*at == '-' || *at == '+');
    parts->first = at;
    at = scan_digits(at, end, &parts->mantissa);
    parts->digits = (size_t)(at - parts->first);
    if (at < end && *at == '.') {
        const char *fraction = at + 1;
        at = scan_digits(fraction, end, &parts->mantissa);
        parts->digits += (size_t)(at - fraction);
        parts->exponent = fraction - at;
    }
    parts->end = at;
    if (parts->digits == 0) {
        return NULL;
    }
    return at < end && (*at == 'e' || *at == 'E') ? scan_exponent(at, end, &parts->exponent) : at;
}

static const double exact_powers[CLINGER_MAX + 1] = {
    1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
};

/* Step 2 of the file's head. Returns false when it cannot tell, or the result is subnormal. */
static bool round_product(uint64_t mantissa, int64_t exponent, double *ret_number)
{
    if (exponent < POW10_FIRST || exponent > POW10_LAST) {
        return false;
    }
    struct pow10 power = pow10_table[exponent - POW10_FIRST];
    int zeros = __builtin_clzll(mantissa);
    mantissa <<= zeros;
    u128 product = (u128)power.high * mantissa + (uint64_t)((u128)power.low * mantissa >> 64);
    int top = (int)(product >> 127); /* the product has 127 or 128 bits */
    /* The power is short by less than one in its last place, the product so by less than two. */
    int cut = 74 + top;
    u128 rest = product & (((u128)1 << cut) - 1);
    u128 half = (u128)1 << (cut - 1);
    bool near_half = rest + 2 >= half && rest <= half;
    bool near_next = rest + 2 >= 2 * half;
    if (near_half || near_next) {
        return false;
    }
    uint64_t c = (uint64_t)(product >> cut) + (rest > half);
    int64_t field = (int64_t)log2_of_pow10((int)exponent) + 64 - zeros + top + 1022;
    if (c == 2 * HIDDEN_BIT) {
        c = HIDDEN_BIT;
        field++;
    }
    if (field < 1 || field >= EXPONENT_FIELD_MAX) {
        return false;
    }
    uint64_t bits = (uint64_t)field << FRACTION_BITS | (c & (HIDDEN_BIT - 1));
    memcpy(ret_number, &bits, sizeof bits);
    return true;
}

/* Steps 1 and 2, for a number of which every digit is in the mantissa. */
static bool read_short(uint64_t mantissa, int64_t exponent, double *ret_number)
{
    if (mantissa == 0) {
        *ret_number = 0;
        return true;
    }
    if (mantissa <= 2 * HIDDEN_BIT && exponent >= -CLINGER_MAX && exponent <= CLINGER_MAX) {
        double digits = (double)mantissa;
        *ret_number = exponent < 0 ? digits / exact_powers[-exponent] //
                                   : digits * exact_powers[exponent];
        return true;
    }
    return round_product(mantissa, exponent, ret_number);
}

/* Step 3. The text is made of at most DIGITS_MAX digits, one that stands for all after them, and
 * an exponent. */
static double read_slowly(const struct parts *parts)
{
    char text[DIGITS_MAX + 1 + 1 + 1 + NUM_U64_MAX + 1];
    size_t len = 0;
    int64_t exponent = parts->exponent;
    bool rest = false;
    for (const char *at = parts->first; at < parts->end; at++) {
        if (*at == '.' || (*at == '0' && len == 0)) {
            continue;
        }
        if (len < DIGITS_MAX) {
            text[len++] = *at;
        } else {
            exponent++;
            rest |= *at != '0';
        }
    }
    if (len == 0) {
        return 0;
    }
    if (rest) {
        text[len++] = '1';
        exponent--;
    }
    text[len++] = 'e';
    if (exponent < 0) {
        text[len++] = '-';
    }
    len += num_write_u64(text + len, (uint64_t)llabs(exponent));
    text[len] = '\0';
    return strtod(text, NULL);
}

/* More digits than a mantissa holds: when the first 19 and the same plus one round to the same
 * double, so does everything between them. */
static double read_long(const struct parts *parts)
{
    uint64_t mantissa = 0;
    size_t count = 0;
    int64_t exponent = parts->exponent;
    for (const char *at = parts->first; at < parts->end; at++) {
        if (*at == '.') {
            continue;
        }
        if (count < MANTISSA_DIGITS) {
            mantissa = mantissa * 10 + (uint64_t)(*at - '0');
            count += mantissa != 0;
        } else {
            exponent++;
        }
    }
    double below;
    double above;
    if (read_short(mantissa, exponent, &below) && read_short(mantissa + 1, exponent, &above) &&
        below == above) {
        return below;
    }
    return read_slowly(parts);
}

/* The double nearest to what the parts say, or ERR_RANGE. */
static int read_parts(const struct parts *parts, double *ret_number)
{
    double number;
    if (parts->digits > MANTISSA_DIGITS) {
        number = read_long(parts);
    } else if (!read_short(parts->mantissa, parts->exponent, &number)) {
        number = read_slowly(parts);
    }
    if (isinf(number)) {
        return ERR_RANGE;
    }
    *ret_number = parts->negative ? -number : number;
    return 0;
}

int num_scan_double(const char **at, const char *end, double *ret_number)
{
    struct parts parts;
    const char *after = num_scan_usual(*at, end, ret_number);
    if (after != NULL) {
        *at = after;
        return 0;
    }
    after = scan_parts(*at, end, &parts);
    if (after == NULL) {
        return ERR_SYNTAX;
    }
    *at = after;
    return read_parts(&parts, ret_number);
}

int num_scan_lenient(const char **at, const char *end, double *ret_number)
{
    struct parts parts;
    const char *after = scan_lenient_parts(*at, end, &parts);
    if (after == NULL) {
        return ERR_SYNTAX;
    }
    *at = after;
    return read_parts(&parts, ret_number);
}

int num_read_double(struct str text, double *ret_number)
{
    if (text.len == 0) {
        return ERR_SYNTAX;
    }
    const char *at = text.ptr;
    const char *end = text.ptr + text.len;
    double number = 0;
    int err = num_scan_double(&at, end, &number);
    if (err == ERR_SYNTAX || at != end) {
        return ERR_SYNTAX;
    }
    if (err == 0) {
        *ret_number = number;
    }
    return err;
}

int num_read_u64(struct str text, uint64_t *ret_number)
{
    if (text.len == 0) {
        return ERR_SYNTAX;
    }
    uint64_t number = 0;
    bool too_large = false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.ptr[i])) {
            return ERR_SYNTAX;
        }
        too_large |= __builtin_mul_overflow(number, 10, &number);
        too_large |= __builtin_add_overflow(number, (uint64_t)(text.ptr[i] - '0'), &number);
    }
    if (too_large) {
        return ERR_RANGE;
    }
    *ret_number = number;
    return 0;
}
