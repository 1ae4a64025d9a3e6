#include "wire/iso8601.h"

#include "base/clock.h"
#include "base/err.h"

enum {
    FRACTION_DIGITS = 9,
    EPOCH_YEAR = 1970,
    YEAR_MAX = 2554, /* holds the last moment of 64 bits of nanoseconds */
    SECONDS_PER_DAY = 86400,
};

struct cursor {
    const char *at;
    const char *end;
};

static bool take_char(struct cursor *cursor, char c)
{
    if (cursor->at == cursor->end || *cursor->at != c) {
        return false;
    }
    cursor->at++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Exactly so many digits. */
static bool take_digits(struct cursor *cursor, int digits, int *ret_number)
{
    if (cursor->end - cursor->at < digits) {
        return false;
    }
    int number = 0;
    for (int i = 0; i < digits; i++) {
        if (!is_digit(*cursor->at)) {
            return false;
        }
        number = number * 10 + (*cursor->at++ - '0');
    }
    *ret_number = number;
    return true;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int count_days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Leap days between year 1 and the end of `year`. */
static int64_t count_leap_days(int year)
{
    return year / 4 - year / 100 + year / 400;
}

static int64_t count_days(int year, int month, int day)
{
    int64_t days = (int64_t)(year - EPOCH_YEAR) * 365 + count_leap_days(year - 1) -
                   count_leap_days(EPOCH_YEAR - 1);
    for (int before = 1; before < month; before++) {
        days += count_days_of(year, before);
    }
    return days + day - 1;
}

static bool take_date(struct cursor *cursor, int64_t *ret_days)
{
    int year = 0;
    int month = 0;
    int day = 0;
    if (!take_digits(cursor, 4, &year) || !take_char(cursor, '-') ||
        !take_digits(cursor, 2, &month) || !take_char(cursor, '-') ||
        !take_digits(cursor, 2, &day)) {
        return false;
    }
    /* One year less than the epoch, because an offset can lead into it. */
    if (year < EPOCH_YEAR - 1 || year > YEAR_MAX + 1 || month < 1 || month > 12 || day < 1 ||
        day > count_days_of(year, month)) {
        return false;
    }
    *ret_days = count_days(year, month, day);
    return true;
}

static bool take_hours_minutes(struct cursor *cursor, int *ret_minutes)
{
    int hours = 0;
    int minutes = 0;
    if (!take_digits(cursor, 2, &hours) || !take_char(cursor, ':') ||
        !take_digits(cursor, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    *ret_minutes = hours * 60 + minutes;
    return true;
}

/* A point and 1 to 9 digits, or nothing. */
static bool take_fraction(struct cursor *cursor, uint64_t *ret_ns)
{
    *ret_ns = 0;
    if (!take_char(cursor, '.')) {
        return true;
    }
    uint64_t ns = 0;
    int digits = 0;
    while (cursor->at < cursor->end && is_digit(*cursor->at)) {
        if (digits == FRACTION_DIGITS) {
            return false;
        }
        ns = ns * 10 + (uint64_t)(*cursor->at++ - '0');
        digits++;
    }
    for (int i = digits; i < FRACTION_DIGITS; i++) {
        ns *= 10;
    }
    *ret_ns = ns;
    return digits > 0;
}

/* East of Greenwich is positive. */
static bool take_zone(struct cursor *cursor, int *ret_minutes)
{
    *ret_minutes = 0;
    if (cursor->at == cursor->end || take_char(cursor, 'Z')) {
        return true;
    }
    if (take_char(cursor, '+')) {
        return take_hours_minutes(cursor, ret_minutes);
    }
    bool good = take_char(cursor, '-') && take_hours_minutes(cursor, ret_minutes);
    *ret_minutes = -*ret_minutes;
    return good;
}

int iso8601_read(struct str text, uint64_t *ret_wall_ns)
{
    if (text.len == 0) {
        return ERR_RANGE;
    }
    struct cursor cursor = {text.ptr, text.ptr + text.len};
    int64_t days = 0;
    int minutes = 0;
    int seconds = 0;
    uint64_t fraction_ns = 0;
    int east_minutes = 0;
    bool good = take_date(&cursor, &days) && (take_char(&cursor, 'T') || take_char(&cursor, ' ')) &&
                take_hours_minutes(&cursor, &minutes) && take_char(&cursor, ':') &&
                take_digits(&cursor, 2, &seconds) && seconds <= 59 &&
                take_fraction(&cursor, &fraction_ns) && take_zone(&cursor, &east_minutes) &&
                cursor.at == cursor.end;
    if (!good) {
        return ERR_RANGE;
    }
    int64_t total = days * SECONDS_PER_DAY + (int64_t)(minutes - east_minutes) * 60 + seconds;
    if (total < 0 || (uint64_t)total > (UINT64_MAX - fraction_ns) / NS_PER_SECOND) {
        return ERR_RANGE;
    }
    *ret_wall_ns = (uint64_t)total * NS_PER_SECOND + fraction_ns;
    return 0;
}
