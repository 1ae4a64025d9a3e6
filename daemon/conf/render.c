/*
 * Prints the whole configuration or the whole table: for --print-config and the README.
 */
#include "conf/table.h"

enum { DEFAULT_SHOWN_MAX = 60 }; /* bytes that a cell of the table has room for */

void conf_render_json(struct buf *out, const struct conf *conf)
{
    size_t group_len = 0;
    const char *group = "";
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct conf_option *option = &conf_options[i];
        if (option->secret) {
            continue;
        }
        size_t len = strcspn(option->path, ".");
        if (len != group_len || memcmp(option->path, group, len) != 0) {
            buf_printf(out, "%s    \"%.*s\": {\n", i == 0 ? "{\n" : "\n    },\n", (int)len,
                       option->path);
            group = option->path;
            group_len = len;
        } else {
            buf_puts(out, ",\n");
        }
        buf_puts(out, "        ");
        conf_render_string(out, option->path + len + 1);
        buf_puts(out, ": ");
        conf_render_value(out, option, conf);
    }
    buf_puts(out, "\n    }\n}\n");
}

const char *conf_shown_default(const struct conf_option *option)
{
    bool is_long = strlen(option->initial) > DEFAULT_SHOWN_MAX;
    return is_long ? "see --print-config" : option->initial;
}

void conf_put_accepts(struct buf *out, const struct conf_option *option)
{
    conf_describe(out, option);
    if (option->unit != NULL) {
        buf_printf(out, " (%s)", option->unit);
    }
}

void conf_render_table(struct buf *out)
{
    buf_puts(out, "| option | default | accepts | meaning |\n|---|---|---|---|\n");
    for (size_t i = 0; i < conf_option_count; i++) {
        const struct conf_option *option = &conf_options[i];
        buf_printf(out, "| `%s`%s | `%s` | ", option->path, option->reloadable ? " ↻" : "",
                   conf_shown_default(option));
        conf_put_accepts(out, option);
        buf_printf(out, " | %s |\n", option->sentence);
    }
    buf_puts(out, "\n↻ can be changed by a reload (SIGHUP).\n");
}
