#include "base/date.h"

enum { SECONDS_PER_DAY = 86400, DAYS_PER_CYCLE = 146097 };

/* By whole cycles of 400 years that begin on 1 March, so that a leap day is the last of its year (Howard
 * Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days). gmtime_r would take the
 * time zone's lock. */
static void set_day(uint64_t days, struct date *date)
{
    days += 719468; /* from 0000-03-01 */
    uint64_t cycle = days / DAYS_PER_CYCLE;
    uint64_t of_cycle = days % DAYS_PER_CYCLE;
    uint64_t years = (of_cycle - of_cycle / 1460 + of_cycle / 36524 - of_cycle / 146096) / 365;
    uint64_t of_year = of_cycle - (365 * years + years / 4 - years / 100);
    uint64_t from_march = (5 * of_year + 2) / 153;
    date->day = (unsigned)(of_year - (153 * from_march + 2) / 5 + 1);
    date->month = (unsigned)(from_march < 10 ? from_march + 3 : from_march - 9);
    date->year = (unsigned)(cycle * 400 + years + (date->month <= 2));
}

struct date date_of(uint64_t wall_ns)
{
    uint64_t seconds = wall_ns / 1000000000;
    unsigned of_day = (unsigned)(seconds % SECONDS_PER_DAY);
    struct date date = {.hour = of_day / 3600, .minute = of_day / 60 % 60, .second = of_day % 60};
    set_day(seconds / SECONDS_PER_DAY, &date);
    return date;
}
