/*
 * What a reload changes, row by row of the table: a row marked reloadable takes the new value, any
 * other keeps the one that it had at the start, whatever the file says.
 *
 *                 in force              fresh                 after conf_adopt
 *   http.listen   "127.0.0.1:9847"      "127.0.0.1:80"        "127.0.0.1:9847", told each time
 *   log.level     "info"                "debug"               "debug"
 */
#include "conf/table.h"

/* Why options are fixed: the first row counts that begins like the path. */
static const struct {
    const char *prefix;
    const char *reason;
} reasons[] = {
    {"service.", "the service is known by it to whoever got data already"},
    {"ingest.directory", "its sockets are open"},
    {"ingest.max_open_span", "the table of open spans is made for it"},
    {"http.listen", "its socket is open"},
    {"profiling.max_watched_threads", "the probe runs with it"},
    {"profiling.probe", "the probe runs with it"},
    {"profiling.touch_probe", "the probe runs with it"},
    {"profiling.", "what is kept of models is cut that way"},
    {"metrics.", "series are kept and named that way"},
    {"otlp.max_held", "the table of held spans is made for it"},
    {"otlp.", "the exporters run with it"},
    {"state.", "the file is open"},
};

static const char *reason_of(const struct conf_option *option)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (strncmp(option->path, reasons[i].prefix, strlen(reasons[i].prefix)) == 0) {
            return reasons[i].reason;
        }
    }
    return "it is read at the start alone";
}

static bool is_changed(const struct conf_option *option, const struct conf *in_force,
                       const struct conf *fresh)
{
    struct buf both;
    buf_init(&both, SIZE_MAX / 2);
    conf_render_value(&both, option, in_force);
    size_t len = both.len;
    conf_render_value(&both, option, fresh);
    /* When memory is out nothing can be said for sure: better to name one option too many. */
    bool changed =
        both.err != 0 || both.len != 2 * len || memcmp(both.data, both.data + len, len) != 0;
    buf_fini(&both);
    return changed;
}

static void render_fixed(struct buf *out, const struct conf_option *option,
                         const struct conf *in_force)
{
    buf_printf(out, "%s: needs a restart, as %s", option->path, reason_of(option));
    if (!option->secret) {
        struct buf value;
        buf_init(&value, SIZE_MAX / 2);
        conf_render_value(&value, option, in_force);
        buf_puts(out, " (still ");
        conf_show(out, (struct str){value.data, value.err == 0 ? value.len : 0});
        buf_char(out, ')');
        buf_fini(&value);
    }
    buf_char(out, '\n');
}

size_t conf_render_fixed_changes(struct buf *out, const struct conf *in_force,
                                 const struct conf *fresh)
{
    size_t count = 0;
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct conf_option *option = &conf_options[i];
        if (!option->reloadable && is_changed(option, in_force, fresh)) {
            render_fixed(out, option, in_force);
            count++;
        }
    }
    return count;
}

size_t conf_render_changes(struct buf *out, const struct conf *in_force, const struct conf *fresh)
{
    size_t count = 0;
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct conf_option *option = &conf_options[i];
        if (option->reloadable && is_changed(option, in_force, fresh)) {
            buf_puts(out, count == 0 ? "" : ", ");
            buf_puts(out, option->path);
            count++;
        }
    }
    return count;
}

void conf_adopt(struct conf *in_force, struct conf *fresh)
{
    for (size_t i = 0; i < conf_option_count; i++) {
        if (conf_options[i].reloadable) {
            conf_swap_value(&conf_options[i], in_force, fresh);
        }
    }
}
