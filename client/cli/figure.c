#include "cli/figure.h"

#include <math.h>

static bool is_unknown(struct buf *out, double figure)
{
    if (!isfinite(figure)) {
        buf_puts(out, "–");
        return true;
    }
    return false;
}

/* 1.23, 12.3, 123, 1234; and 0. */
static int digits_after_point(double figure)
{
    figure = fabs(figure);
    return figure == 0 ? 0 : figure < 9.995 ? 2 : figure < 99.95 ? 1 : 0;
}

struct unit {
    double size;
    double below; /* a larger figure takes the next unit */
    const char *name;
};

static void put_unit(struct buf *out, double figure, const struct unit *unit)
{
    while (fabs(figure) / unit->size >= unit->below) {
        unit++;
    }
    double scaled = figure / unit->size;
    buf_printf(out, "%.*f %s", digits_after_point(scaled), scaled, unit->name);
}

void figure_time(struct buf *out, double ms)
{
    static const struct unit units[] = {{1e-6, 999.5, "ns"},
                                        {1e-3, 999.5, "µs"},
                                        {1, 999.5, "ms"},
                                        {1e3, 99999.5, "s"},
                                        {86400e3, INFINITY, "d"}};
    if (ms == 0) {
        buf_puts(out, "0 ms");
    } else if (!is_unknown(out, ms)) {
        put_unit(out, ms, units);
    }
}

void figure_bytes(struct buf *out, double bytes)
{
    static const struct unit units[] = {{1, 1023.5, "B"},
                                        {0x1p10, 1023.5, "kB"},
                                        {0x1p20, 1023.5, "MB"},
                                        {0x1p30, 1023.5, "GB"},
                                        {0x1p40, INFINITY, "TB"}};
    if (!is_unknown(out, bytes)) {
        put_unit(out, bytes, units);
    }
}

void figure_percent(struct buf *out, double value)
{
    if (!is_unknown(out, value)) {
        buf_printf(out, "%.*f %%", digits_after_point(value), value);
    }
}

void figure_share(struct buf *out, double share)
{
    if (!is_unknown(out, share)) {
        double percent = 100 * share;
        buf_printf(out, "%.*f %%", percent > 0 && percent < 0.995 ? 2 : 0, percent);
    }
}

static void put_grouped(struct buf *out, uint64_t count)
{
    if (count >= 1000) {
        put_grouped(out, count / 1000);
        buf_printf(out, ",%03u", (unsigned)(count % 1000));
    } else {
        buf_u64(out, count);
    }
}

void figure_count(struct buf *out, double count)
{
    if (is_unknown(out, count)) {
        return;
    }
    if (count < 0 || count >= 0x1p63) {
        buf_double(out, count);
    } else {
        put_grouped(out, (uint64_t)count);
    }
}

void figure_number(struct buf *out, double number)
{
    if (is_unknown(out, number)) {
        return;
    }
    double size = fabs(number);
    if (size >= 999.5 && number > 0) {
        figure_count(out, round(number));
    } else if (size != 0 && size < 0.01) {
        buf_printf(out, "%.2g", number);
    } else {
        buf_printf(out, "%.*f", digits_after_point(number), number);
    }
}

void figure_rate(struct buf *out, double rate)
{
    if (!is_unknown(out, rate)) {
        figure_number(out, rate);
        buf_puts(out, "/s");
    }
}

void figure_since(struct buf *out, double seconds)
{
    if (is_unknown(out, seconds)) {
        return;
    }
    uint64_t whole = seconds < 0 || seconds >= 0x1p53 ? 0 : (uint64_t)seconds;
    uint64_t minutes = whole / 60;
    uint64_t hours = minutes / 60;
    if (minutes == 0) {
        buf_printf(out, "%u s", (unsigned)whole);
    } else if (hours == 0) {
        buf_printf(out, "%u min", (unsigned)minutes);
    } else if (hours < 24) {
        buf_printf(out, "%u h %u min", (unsigned)hours, (unsigned)(minutes % 60));
    } else {
        put_grouped(out, hours / 24);
        buf_printf(out, " d %u h", (unsigned)(hours % 24));
    }
}

void figure_plural(struct buf *out, double count, const char *one, const char *many)
{
    figure_count(out, count);
    buf_char(out, ' ');
    buf_puts(out, count == 1 ? one : many);
}
