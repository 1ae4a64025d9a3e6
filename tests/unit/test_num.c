/* Numbers to text and back, against the C library on random bits and on cases known to be hard. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/err.h"
#include "base/num.h"

static uint64_t random_state;

static uint64_t random_u64(void)
{
    /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = random_state += 0x9E3779B97F4A7C15;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
    return z ^ (z >> 31);
}

static double of_bits(uint64_t bits)
{
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* --- helpers that assert --- */

static void must_write_u64(uint64_t number, const char *expected)
{
    char text[NUM_U64_MAX];
    size_t len = num_write_u64(text, number);
    assert_int_equal(len, strlen(expected));
    assert_memory_equal(text, expected, len);
}

static void must_read_u64(const char *text, uint64_t expected)
{
    uint64_t number = 0;
    assert_int_equal(num_read_u64(str_of(text), &number), 0);
    assert_true(number == expected);
}

static void must_refuse_u64(const char *text, int err)
{
    uint64_t number = 77;
    assert_int_equal(num_read_u64(str_of(text), &number), err);
    assert_true(number == 77);
}

static void must_write(double number, const char *expected)
{
    char text[NUM_DOUBLE_MAX + 1];
    memset(text, '#', sizeof text);
    size_t len = num_write_double(text, number);
    assert_in_range(len, 1, NUM_DOUBLE_MAX);
    assert_int_equal(text[len], '#');
    text[len] = '\0';
    assert_string_equal(text, expected);
}

static void must_read(const char *text, double expected)
{
    double number = 77;
    assert_int_equal(num_read_double(str_of(text), &number), 0);
    assert_true(bits_of(number) == bits_of(expected));
}

/* Reads as strtod does. */
static void must_agree(const char *text)
{
    double number = 77;
    double expected = strtod(text, NULL);
    int err = num_read_double(str_of(text), &number);
    if (isinf(expected)) {
        assert_int_equal(err, ERR_RANGE);
        assert_true(number == 77);
    } else if (err != 0 || bits_of(number) != bits_of(expected)) {
        fail_msg("%s: %d, %.17g instead of %.17g", text, err, number, expected);
    }
}

static void must_refuse(const char *text, int err)
{
    double number = 77;
    assert_int_equal(num_read_double(str_of(text), &number), err);
    assert_true(number == 77);
}

static void must_scan(const char *text, size_t taken, double expected)
{
    const char *at = text;
    double number = 77;
    assert_int_equal(num_scan_double(&at, text + strlen(text), &number), 0);
    assert_int_equal(at - text, taken);
    assert_true(bits_of(number) == bits_of(expected));
}

/* What was written reads back, by our reader and by the C library's. */
static size_t must_survive(double number, char text[NUM_DOUBLE_MAX + 1])
{
    size_t len = num_write_double(text, number);
    assert_in_range(len, 1, NUM_DOUBLE_MAX);
    text[len] = '\0';
    double back = 77;
    if (bits_of(strtod(text, NULL)) != bits_of(number)) {
        fail_msg("%.17g was written as %s", number, text);
    }
    assert_int_equal(num_read_double((struct str){text, len}, &back), 0);
    if (bits_of(back) != bits_of(number)) {
        fail_msg("%s was read as %.17g", text, back);
    }
    return len;
}

/* Significant digits of a written number, without zeros at either end. */
static size_t significant(const char *text, char digits[NUM_DOUBLE_MAX])
{
    size_t count = 0;
    for (; *text != '\0' && *text != 'e'; text++) {
        if (*text >= '0' && *text <= '9' && (count > 0 || *text != '0')) {
            digits[count++] = *text;
        }
    }
    while (count > 1 && digits[count - 1] == '0') {
        count--;
    }
    return count;
}

/* No text with fewer digits reads back as the number, and none with as many is closer to it. */
static void must_be_shortest(double number)
{
    char text[NUM_DOUBLE_MAX + 1];
    char digits[NUM_DOUBLE_MAX];
    (void)must_survive(number, text);
    size_t count = significant(text, digits);

    /* Every digit that matters, to cut from. */
    char exact[820];
    (void)snprintf(exact, sizeof exact, "%.790e", fabs(number));
    long exponent = strtol(strchr(exact, 'e') + 1, NULL, 10);
    if (count > 1) {
        char all[32];
        (void)snprintf(all, sizeof all, "%c%.*s", exact[0], (int)count - 2, exact + 2);
        unsigned long long below = strtoull(all, NULL, 10);
        for (unsigned up = 0; up <= 1; up++) {
            char shorter[64];
            (void)snprintf(shorter, sizeof shorter, "%llue%ld", below + up,
                           exponent - (long)count + 2);
            if (strtod(shorter, NULL) == fabs(number)) {
                fail_msg("%s is longer than %s", text, shorter);
            }
        }
    }
    char closest[64];
    char closest_digits[NUM_DOUBLE_MAX];
    (void)snprintf(closest, sizeof closest, "%.*e", (int)count - 1, fabs(number));
    if (strtod(closest, NULL) == fabs(number)) {
        size_t closest_count = significant(closest, closest_digits);
        if (closest_count != count || memcmp(digits, closest_digits, count) != 0) {
            fail_msg("%s is closer than %s", closest, text);
        }
    }
}

/* --- whole numbers --- */

static void test_num_writes_whole_numbers(void **state)
{
    (void)state;
    must_write_u64(0, "0");
    must_write_u64(9, "9");
    must_write_u64(10, "10");
    must_write_u64(99, "99");
    must_write_u64(100, "100");
    must_write_u64(1234567, "1234567");
    must_write_u64(UINT64_MAX, "18446744073709551615");
    uint64_t power = 1;
    for (int i = 0; i < 20; i++, power *= 10) {
        char expected[32];
        (void)snprintf(expected, sizeof expected, "%llu", (unsigned long long)power);
        must_write_u64(power, expected);
        (void)snprintf(expected, sizeof expected, "%llu", (unsigned long long)(power - 1));
        must_write_u64(power - 1, expected);
    }
}

static void test_num_reads_whole_numbers(void **state)
{
    (void)state;
    must_read_u64("0", 0);
    must_read_u64("007", 7);
    must_read_u64("18446744073709551615", UINT64_MAX);
    must_refuse_u64("18446744073709551616", ERR_RANGE);
    must_refuse_u64("18446744073709551620", ERR_RANGE);
    must_refuse_u64("99999999999999999999999999", ERR_RANGE);
    must_refuse_u64("99999999999999999999999999x", ERR_SYNTAX);
    must_refuse_u64("", ERR_SYNTAX);
    must_refuse_u64("-1", ERR_SYNTAX);
    must_refuse_u64("+1", ERR_SYNTAX);
    must_refuse_u64(" 1", ERR_SYNTAX);
    must_refuse_u64("1 ", ERR_SYNTAX);
    must_refuse_u64("1.0", ERR_SYNTAX);
    must_refuse_u64("0x10", ERR_SYNTAX);
}

/* --- writing --- */

static void test_num_writes_the_layout_that_json_and_prometheus_share(void **state)
{
    (void)state;
    must_write(0, "0");
    must_write(-0.0, "-0");
    must_write(1, "1");
    must_write(-12, "-12");
    must_write(12.5, "12.5");
    must_write(0.1, "0.1");
    must_write(100, "100");
    must_write(0.001, "0.001");
    must_write(0.00001, "0.00001");
    must_write(0.000012345, "0.000012345");
    must_write(0.000001, "1e-06");
    must_write(5e-7, "5e-07");
    must_write(1.25e-10, "1.25e-10");
    must_write(9007199254740992, "9007199254740992");
    must_write(1e20, "100000000000000000000");
    must_write(1.5e20, "150000000000000000000");
    must_write(1e21, "1e+21");
    must_write(-1.5e21, "-1.5e+21");
    must_write(1e100, "1e+100");
    must_write(1.7976931348623157e308, "1.7976931348623157e+308");
    must_write(-2.2250738585072014e-308, "-2.2250738585072014e-308");
    must_write(5e-324, "5e-324");
    must_write(HUGE_VAL, "+Inf");
    must_write(-HUGE_VAL, "-Inf");
    must_write(of_bits(0x7FF8000000000001), "NaN");
    must_write(of_bits(0xFFF8000000000001), "NaN");
}

static void test_num_writes_hard_cases_shortest(void **state)
{
    (void)state;
    must_write(2e23, "2e+23");
    must_write(9.5e-323, "9.4e-323");
    must_write(1e23, "1e+23");
    must_write(8.41e21, "8.41e+21");
    must_write(9.109e-31, "9.109e-31");
    must_write(4.35, "4.35");
    must_write(0.3, "0.3");
    must_write(0.1 + 0.2, "0.30000000000000004");
    must_write(2.98023223876953125e-8, "2.9802322387695312e-08");
    must_write(4.8726570057e288, "4.8726570057e+288");
    must_write(123456789012345680.0, "123456789012345680");
    must_write(9223372036854775808.0, "9223372036854776000");
}

static void test_num_writes_powers_shortest(void **state)
{
    (void)state;
    for (int exponent = -1074; exponent <= 1023; exponent++) {
        double power = ldexp(1, exponent);
        must_be_shortest(power);
        must_be_shortest(nextafter(power, 0) == 0 ? power : nextafter(power, 0));
        must_be_shortest(nextafter(power, HUGE_VAL) == HUGE_VAL ? power
                                                                : nextafter(power, HUGE_VAL));
    }
    for (int exponent = -323; exponent <= 308; exponent++) {
        char text[16];
        (void)snprintf(text, sizeof text, "1e%d", exponent);
        double power = strtod(text, NULL);
        must_be_shortest(power);
        must_be_shortest(nextafter(power, 0));
        must_be_shortest(nextafter(power, HUGE_VAL));
    }
}

static void test_num_writes_random_bits_shortest(void **state)
{
    (void)state;
    for (int i = 0; i < 30000; i++) {
        double number = of_bits(random_u64());
        if (isfinite(number) && number != 0) {
            must_be_shortest(number);
        }
        must_be_shortest(of_bits(random_u64() >> 12 | 1)); /* subnormal */
    }
}

static void test_num_survives_the_way_there_and_back(void **state)
{
    (void)state;
    char text[NUM_DOUBLE_MAX + 1];
    for (int i = 0; i < 1000000; i++) {
        double number = of_bits(random_u64());
        if (isfinite(number)) {
            (void)must_survive(number, text);
        }
        (void)must_survive((double)(random_u64() >> 11) * 0x1p-53 * 1000, text);
        (void)must_survive((double)(random_u64() % 10000000) / 1000, text);
    }
}

/* --- reading --- */

static void test_num_reads_what_rfc_8259_permits(void **state)
{
    (void)state;
    must_read("0", 0);
    must_read("-0", -0.0);
    must_read("0.0", 0);
    must_read("-0.0e-5", -0.0);
    must_read("12", 12);
    must_read("-12.5", -12.5);
    must_read("1e3", 1000);
    must_read("1E+3", 1000);
    must_read("1.5e-03", 0.0015);
    must_read("0e999999999999999999999999", 0);
    must_read("1e-999999999999999999999999", 0);
    must_read("-1e-400", -0.0);
    must_refuse("1e309", ERR_RANGE);
    must_refuse("-1e999999999999999999999999", ERR_RANGE);
    must_read("1.7976931348623157e308", DBL_MAX);
    must_read("1.7976931348623158e308", DBL_MAX);
    must_refuse("1.7976931348623159e308", ERR_RANGE);
}

static void test_num_refuses_what_rfc_8259_does_not(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",    "-",   "+1",    ".5",    "1.",    "1.e3", "01",    "-01", "00",       "1e",
        "1e+", "1e-", "e5",    "0x10",  "1 ",    " 1",   "1,000", "NaN", "Infinity", "inf",
        "--1", "1-",  "1.2.3", "1e5.5", "1e5e5", "1_0",  "1f",    "٣",   "-a",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        must_refuse(wrong[i], ERR_SYNTAX);
    }
    double number = 77;
    assert_int_equal(num_read_double((struct str){NULL, 0}, &number), ERR_SYNTAX);
    assert_int_equal(num_read_double((struct str){"1\0", 2}, &number), ERR_SYNTAX);
    must_refuse("1e400x", ERR_SYNTAX);
}

static void test_num_scan_takes_the_longest_number(void **state)
{
    (void)state;
    must_scan("12,", 2, 12);
    must_scan("12.5}", 4, 12.5);
    must_scan("1.", 1, 1);
    must_scan("1.e5", 1, 1);
    must_scan("1e", 1, 1);
    must_scan("1e+", 1, 1);
    must_scan("1e5e6", 3, 1e5);
    must_scan("01", 1, 0);
    must_scan("-0-", 2, -0.0);
    must_scan("1.5.5", 3, 1.5);

    const char *text = "-x";
    const char *at = text;
    double number = 77;
    assert_int_equal(num_scan_double(&at, text + 2, &number), ERR_SYNTAX);
    assert_ptr_equal(at, text);
    assert_int_equal(num_scan_double(&at, text, &number), ERR_SYNTAX);
    text = at = "1e999,";
    assert_int_equal(num_scan_double(&at, text + 6, &number), ERR_RANGE);
    assert_int_equal(at - text, 5);
    assert_true(number == 77);
}

static void must_scan_leniently(const char *text, size_t len, double expect)
{
    const char *at = text;
    double number = 77;
    assert_int_equal(num_scan_lenient(&at, text + strlen(text), &number), 0);
    assert_int_equal(at - text, len);
    assert_true(memcmp(&number, &expect, sizeof number) == 0);
}

static void test_num_scan_is_lenient_where_asked(void **state)
{
    (void)state;
    must_scan_leniently("+5|", 2, 5);
    must_scan_leniently("-5", 2, -5);
    must_scan_leniently("-0", 2, -0.0);
    must_scan_leniently("007", 3, 7);
    must_scan_leniently("5.|", 2, 5);
    must_scan_leniently("5.e3", 4, 5000);
    must_scan_leniently(".5", 2, 0.5);
    must_scan_leniently("-.25e1:", 6, -2.5);
    must_scan_leniently("1e", 1, 1);
    must_scan_leniently("0x10", 1, 0);
    must_scan_leniently("1.5.5", 3, 1.5);
    must_scan_leniently("00000000000000000000000000.00000000000000000000000", 50, 0);
    must_scan_leniently("0000000000000000000000000012.5", 30, 12.5);
    static const char *const none[] = {"", "+", "-", ".", "+.", "-.e5", "e5", "--1", "+-1", "x"};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        const char *at = none[i];
        double number = 77;
        assert_int_equal(num_scan_lenient(&at, at + strlen(at), &number), ERR_SYNTAX);
        assert_ptr_equal(at, none[i]);
    }
    const char *at = "+1e999";
    double number = 77;
    assert_int_equal(num_scan_lenient(&at, at + 6, &number), ERR_RANGE);
}

/* Any text of these characters is a number to strtod where it is one to us, and the same. */
static void test_num_scan_is_as_lenient_as_strtod(void **state)
{
    (void)state;
    for (int i = 0; i < 300000; i++) {
        static const char alphabet[] = "+-..0012345678999e";
        char text[48] = {0};
        size_t len = 1 + random_u64() % 40;
        for (size_t k = 0; k < len; k++) {
            text[k] = alphabet[random_u64() % (sizeof alphabet - (k > 1 && k < len - 5 ? 2 : 1))];
        }
        char *expect_end;
        double expect = strtod(text, &expect_end);
        const char *at = text;
        double number = 0;
        int err = num_scan_lenient(&at, text + len, &number);
        assert_ptr_equal(at, expect_end);
        assert_int_equal(err, at == text ? ERR_SYNTAX : isinf(expect) ? ERR_RANGE : 0);
        assert_true(err != 0 || memcmp(&number, &expect, sizeof number) == 0);
    }
}

static void test_num_scan_stays_inside_its_end(void **state)
{
    (void)state;
    const char *whole = "-123.456e-78";
    for (size_t len = 0; len <= strlen(whole); len++) {
        /* A block of exactly this size, so that a sanitiser sees one byte too far. */
        char *part = malloc(len + 1);
        assert_non_null(part);
        part = realloc(part, len == 0 ? 1 : len);
        assert_non_null(part);
        memcpy(part, whole, len);
        const char *at = part;
        double number;
        (void)num_scan_double(&at, part + len, &number);
        assert_true(at <= part + len);
        free(part);
    }
}

/* All digit counts, and any bytes behind them: both say the same, or neither says anything. */
static void test_num_scan_wide_says_what_the_usual_one_says(void **state)
{
    (void)state;
    unsigned taken = 0;
    for (int i = 0; i < 300000; i++) {
        static const char alphabet[] = "0123456789012345678901234567....eE|:-";
        char *text = malloc(NUM_WIDE_BYTES);
        assert_non_null(text);
        for (size_t k = 0; k < NUM_WIDE_BYTES; k++) {
            bool any = random_u64() % 50 == 0;
            text[k] = any ? (char)random_u64() : alphabet[random_u64() % (sizeof alphabet - 1)];
        }
        double expect = 77;
        double number = 77;
        const char *expect_end = num_scan_usual(text, text + NUM_WIDE_BYTES, &expect);
        assert_ptr_equal(num_scan_wide(text, &number), expect_end);
        assert_memory_equal(&number, &expect, sizeof number);
        taken += expect_end != NULL;
        free(text);
    }
    assert_true(taken > 30000);
}

static void test_num_scan_wide_has_its_limits(void **state)
{
    (void)state;
    static const struct {
        const char text[NUM_WIDE_BYTES + 1];
        double number;
    } good[] = {{"9999999.9999999|", 9999999.9999999},
                {"0|1111111111111.", 0},
                {"0.0000001|99999.", 1e-7},
                {"1234567|99999999", 1234567},
                {"12.345|ms\n99999", 12.345}};
    static const char bad[][NUM_WIDE_BYTES + 1] = {
        "12345678|9999999", "1.12345678|99999", "01|1111111111111", "|123456789012345",
        "1.|2222222222222", "1.2.333333333333", "1e55555555555555", "1.5E222222222222"};
    double number;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        const char *end = num_scan_wide(good[i].text, &number);
        assert_non_null(end);
        assert_int_equal(*end, '|');
        assert_true(number == good[i].number);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(num_scan_wide(bad[i], &number));
    }
}

static void test_num_reads_hard_cases_right(void **state)
{
    (void)state;
    static const char *const hard[] = {
        "9007199254740993",
        "9007199254740993.0000000000000000000000001",
        "9007199254740992.9999999999999999999999999",
        "2.2250738585072011e-308",
        "2.2250738585072012e-308",
        "4.9406564584124654e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "6.631236846766476e-316",
        "1.448997445238699",
        "7.2057594037927933e16",
        "36028797018963967",
        "1e23",
        "8.5e22",
        "123456789012345678901234567890",
        "0.000000000000000000000000000000000000000000000000000000000000000000000000001",
        "1000000000000000000000000000000000000000000000000000000000000000000000000000",
        "0.500000000000000166533453693773481063544750213623046875",
        "3.518437208883201171875e13",
        "62.5364939768271845828",
        "8.10109172351e-10",
        "1.50000000000000011102230246251565",
        "9007199254740991.4999999999999999999999999999999995",
        "1.0000000000000000000000000000000000000000000000000000000000000000001",
        "5e-324",
        "3e-324",
        "2e-324",
        "10000000000000000000",
        "9999999999999999999",
        "99999999999999999999",
        "0.50000000000000000",
        "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017"
        "977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273"
        "854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704"
        "342711559699508093042880",
    };
    for (size_t i = 0; i < sizeof hard / sizeof hard[0]; i++) {
        must_agree(hard[i]);
    }
}

/* Half-way between two neighbours, exactly and a little beside it, with every digit written out. */
static void test_num_reads_ties_to_even(void **state)
{
    (void)state;
    for (int i = 0; i < 3000; i++) {
        uint64_t bits = random_u64() & 0x7FFFFFFFFFFFFFFF;
        if (i % 3 == 0) {
            bits = (random_u64() & 0x000FFFFFFFFFFFFF) | (1023 + random_u64() % 60) << 52;
        } else if (i % 3 == 1) {
            bits = random_u64() & 0x001FFFFFFFFFFFFF; /* around the subnormal numbers */
        }
        double below = of_bits(bits);
        if (!isfinite(below) || !isfinite(of_bits(bits + 1))) {
            continue;
        }
        /* A quarter of both fits a long double of 64 bits, whose digits printf gives exactly. */
        long double middle = ((long double)below + (long double)of_bits(bits + 1)) / 2;
        char text[1200];
        int len = snprintf(text, sizeof text, "%.1100Le", middle);
        assert_in_range(len, 1, sizeof text - 1);
        must_agree(text);
        char *last = strchr(text, 'e') - 1;
        *last = '1';
        must_agree(text);
    }
}

static void test_num_reads_random_texts_as_strtod_does(void **state)
{
    (void)state;
    for (int i = 0; i < 300000; i++) {
        char text[400];
        double number = of_bits(random_u64());
        if (!isfinite(number)) {
            continue;
        }
        (void)snprintf(text, sizeof text, "%.*e", (int)(random_u64() % 40), number);
        must_agree(text);
        (void)snprintf(text, sizeof text, "%llu.%llue%d", (unsigned long long)random_u64(),
                       (unsigned long long)random_u64(), (int)(random_u64() % 700) - 350);
        must_agree(text);
        (void)snprintf(text, sizeof text, "%llue%d",
                       (unsigned long long)(random_u64() >> (random_u64() % 64)),
                       (int)(random_u64() % 60) - 30);
        must_agree(text);
    }
}

static char *repeat(const char *head, char digit, size_t count, const char *tail)
{
    size_t head_len = strlen(head);
    char *text = malloc(head_len + count + strlen(tail) + 1);
    assert_non_null(text);
    memcpy(text, head, head_len);
    memset(text + head_len, digit, count);
    memcpy(text + head_len + count, tail, strlen(tail) + 1);
    return text;
}

static void must_agree_on(char *text)
{
    must_agree(text);
    free(text);
}

static void test_num_reads_numbers_of_any_length(void **state)
{
    (void)state;
    for (size_t count = 790; count < 810; count++) {
        must_agree_on(repeat("1", '0', count, "e-790"));
        must_agree_on(repeat("1.", '0', count, "1"));
        must_agree_on(repeat("9", '9', count, "e-795"));
        must_agree_on(repeat("0.", '0', count, "7e800"));
        must_agree_on(repeat("9007199254740993.", '0', count, "1"));
        must_agree_on(repeat("9007199254740993", '0', count, "1e-800"));
    }
    must_agree_on(repeat("9007199254740993.", '0', 1000000, ""));
    must_agree_on(repeat("9007199254740993.", '0', 1000000, "1"));
    must_agree_on(repeat("0.", '0', 1000000, "5e1000000"));
    must_agree_on(repeat("5", '0', 1000000, "e-1000000"));
    must_agree_on(repeat("1", '0', 1000000, ""));
    must_agree_on(repeat("0.", '0', 1000000, "1"));
    must_agree_on(repeat("0.", '0', 1000000, ""));
}

static void test_num_does_not_know_a_locale(void **state)
{
    (void)state;
    /* Where no such locale is installed the test still holds. */
    (void)setlocale(LC_ALL, "de_DE.UTF-8");
    must_write(12.5, "12.5");
    must_read("12.5", 12.5);
    must_read("9007199254740993.0000000000000000000000001", 9007199254740994.0);
    must_refuse("12,5", ERR_SYNTAX);
    (void)setlocale(LC_ALL, "C");
}

int main(void)
{
    random_state = (uint64_t)time(NULL);
    print_message("seed %llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_num_writes_whole_numbers),
        cmocka_unit_test(test_num_reads_whole_numbers),
        cmocka_unit_test(test_num_writes_the_layout_that_json_and_prometheus_share),
        cmocka_unit_test(test_num_writes_hard_cases_shortest),
        cmocka_unit_test(test_num_writes_powers_shortest),
        cmocka_unit_test(test_num_writes_random_bits_shortest),
        cmocka_unit_test(test_num_survives_the_way_there_and_back),
        cmocka_unit_test(test_num_reads_what_rfc_8259_permits),
        cmocka_unit_test(test_num_refuses_what_rfc_8259_does_not),
        cmocka_unit_test(test_num_scan_takes_the_longest_number),
        cmocka_unit_test(test_num_scan_is_lenient_where_asked),
        cmocka_unit_test(test_num_scan_is_as_lenient_as_strtod),
        cmocka_unit_test(test_num_scan_stays_inside_its_end),
        cmocka_unit_test(test_num_scan_wide_says_what_the_usual_one_says),
        cmocka_unit_test(test_num_scan_wide_has_its_limits),
        cmocka_unit_test(test_num_reads_hard_cases_right),
        cmocka_unit_test(test_num_reads_ties_to_even),
        cmocka_unit_test(test_num_reads_random_texts_as_strtod_does),
        cmocka_unit_test(test_num_reads_numbers_of_any_length),
        cmocka_unit_test(test_num_does_not_know_a_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
