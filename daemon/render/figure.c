#include "render/figure.h"

#include <math.h>
#include <stdio.h>

#include "render/width.h"

/* Three digits where there are so many: 1.23, 12.3, 123, 1234; and 0. */
static int digits_after_point(double figure)
{
    return figure == 0 ? 0 : figure < 9.995 ? 2 : figure < 99.95 ? 1 : 0;
}

struct unit {
    double size;
    double below; /* a larger figure takes the next unit */
    const char *name;
};

/* Of milliseconds. */
static const struct unit time_units[] = {{1e-6, 999.5, "ns"},
                                         {1e-3, 999.5, "µs"},
                                         {1, 999.5, "ms"},
                                         {1e3, 99999.5, "s"},
                                         {86400e3, INFINITY, "d"}};

/* Of MiB. */
static const struct unit memory_units[] = {
    {1, 1023.5, "MB"}, {1024, 1023.5, "GB"}, {1048576, INFINITY, "TB"}};

/* The smallest unit in which the figure is short. */
static void format_unit(char out[FIGURE_BYTES], double figure, const struct unit *units)
{
    const struct unit *unit = units;
    while (figure / unit->size >= unit->below) {
        unit++;
    }
    double scaled = figure / unit->size;
    (void)snprintf(out, FIGURE_BYTES, "%.*f %s", digits_after_point(scaled), scaled, unit->name);
}

void figure_time(char out[FIGURE_BYTES], double ms)
{
    format_unit(out, ms, time_units);
}

void figure_put_time(struct buf *out, double ms)
{
    char text[FIGURE_BYTES];
    format_unit(text, ms, time_units);
    buf_puts(out, ms == 0 ? "0 ms" : text);
}

void figure_put_memory(struct buf *out, double mb)
{
    char text[FIGURE_BYTES];
    format_unit(text, mb, memory_units);
    buf_puts(out, text);
}

void figure_put_percent(struct buf *out, double percent)
{
    buf_printf(out, "%.*f %%", digits_after_point(percent), percent);
}

/* 1,234,567 */
void figure_put_count(struct buf *out, uint64_t count)
{
    if (count >= 1000) {
        figure_put_count(out, count / 1000);
        buf_printf(out, ",%03u", (unsigned)(count % 1000));
    } else {
        buf_u64(out, count);
    }
}

void figure_put_plural(struct buf *out, uint64_t count, const char *one, const char *many)
{
    figure_put_count(out, count);
    buf_char(out, ' ');
    buf_puts(out, count == 1 ? one : many);
}

void figure_put_right(struct buf *out, const char *text, size_t columns)
{
    size_t width = width_count(str_of(text));
    width_pad(width < columns ? columns - width : 0, out);
    buf_puts(out, text);
}

void figure_put_left(struct buf *out, const char *text, size_t columns)
{
    size_t width = width_count(str_of(text));
    buf_puts(out, text);
    width_pad(width < columns ? columns - width : 0, out);
}

void figure_put_rule(struct buf *out, size_t columns)
{
    for (; columns > 0; columns--) {
        buf_puts(out, "─");
    }
}
