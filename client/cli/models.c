/* dwell models: all models in a table. */
#include <math.h>
#include <stdio.h>

#include "cli/model.h"
#include "cli/tool.h"

static void put_names(const struct models *models, struct buf *out)
{
    for (size_t i = 0; i < models->count; i++) {
        buf_puts(out, models->rows[i].name);
        buf_char(out, '\n');
    }
}

/* A name with a newline, or with what is no text of ours, cannot stand on a line: it is left out. */
static void keep_plain_names(struct models *models)
{
    size_t kept = 0;
    for (size_t i = 0; i < models->count; i++) {
        struct model *row = &models->rows[i];
        size_t len = strlen(row->name);
        bool repeats = kept > 0 && strcmp(models->rows[kept - 1].name, row->name) == 0;
        if (!repeats && row->title_len >= len && memcmp(row->title, row->name, len) == 0) {
            models->rows[kept++] = *row;
        }
    }
    models->count = kept;
}

static double ask_uptime(struct tool *tool)
{
    json_t *status = NULL;
    double uptime = NAN;
    if (tool_get(tool, "/api/v1/status", &status) == 0) {
        uptime = answer_number(status, "uptime_seconds");
    }
    json_decref(status);
    return uptime;
}

int models_run(struct tool *tool)
{
    struct models models;
    struct buf out;
    json_t *root = NULL;
    const struct arguments *arguments = &tool->arguments;
    int status =
        tool_get(tool, arguments->all ? "/api/v1/models?window=all" : "/api/v1/models", &root);
    if (status != 0 || root == NULL) {
        return status;
    }
    buf_init(&out, TOOL_TEXT_MAX);
    struct buf problem;
    buf_init(&problem, TOOL_PROBLEM_MAX);
    status = models_read(&models, root, tool->terminal.utf8, &problem);
    if (status != 0) {
        tool_say(&problem);
    } else if (arguments->names) {
        keep_plain_names(&models);
        put_names(&models, &out);
    } else if (models.count == 0) {
        buf_puts(&out, "No model has sent a sample.\n");
    } else {
        struct table table;
        models.uptime = ask_uptime(tool);
        models_rate_by_window(&models);
        models_sort(&models, arguments->sort >= 0 ? (enum sort)arguments->sort : SORT_NAME, false);
        models_tabulate(&models, false, &table);
        table_render(&table,
                     &(struct table_view){.columns = tool->terminal.columns,
                                          .rows = TABLE_ALL,
                                          .selected = TABLE_NONE},
                     &out);
        table_fini(&table);
    }
    models_fini(&models);
    buf_fini(&problem);
    return tool_print(tool, &out, status);
}
