#include "cli/named.h"

#include <sysexits.h>

#include "base/near.h"
#include "cli/answer.h"
#include "cli/figure.h"
#include "cli/model.h"

enum { OTHERS_MAX = 20 };

static const char *name_of(const json_t *model)
{
    return answer_text(model, "model_name");
}

static bool has_title(const json_t *model, struct str said, bool utf8)
{
    struct buf title;
    buf_init(&title, TOOL_PROBLEM_MAX);
    model_title(&title, model, utf8);
    bool has = title.err == 0 && str_equal((struct str){title.data, title.len}, said);
    buf_fini(&title);
    return has;
}

/* By name before by title: a name may look like a title. NULL: there is none. */
static const json_t *find(const json_t *root, const char *said)
{
    const json_t *list = json_object_get(root, "models");
    size_t i;
    json_t *model;
    json_array_foreach((json_t *)(uintptr_t)list, i, model)
    {
        if (strcmp(name_of(model), said) == 0) {
            return model;
        }
    }
    json_array_foreach((json_t *)(uintptr_t)list, i, model)
    {
        if (has_title(model, str_of(said), true) || has_title(model, str_of(said), false)) {
            return model;
        }
    }
    return NULL;
}

static void complain(const json_t *root, const char *said)
{
    struct near near;
    struct buf problem;
    size_t i;
    json_t *model;
    near_init(&near, str_of(said));
    json_array_foreach((json_t *)(uintptr_t)json_object_get(root, "models"), i, model)
    {
        near_try(&near, name_of(model));
    }
    buf_init(&problem, TOOL_PROBLEM_MAX);
    buf_puts(&problem, "there is no model ");
    text_safe(&problem, str_of(said), true);
    if (near.best != NULL) {
        buf_puts(&problem, " (did you mean ");
        text_safe(&problem, str_of(near.best), true);
        buf_puts(&problem, "?)");
    }
    buf_puts(&problem, ", or no sample since its reset");
    tool_say(&problem);
    buf_fini(&problem);
}

static int ask(const struct tool *tool, const char *path, json_t **ret_root)
{
    int status = tool_tree(tool, path, ret_root);
    if (status == 0 && !json_is_array(json_object_get(*ret_root, "models"))) {
        tool_complain("the answer has no list of models, as a dwelld's has");
        json_decref(*ret_root);
        *ret_root = NULL;
        status = EX_PROTOCOL;
    }
    return status;
}

int named_find(const struct tool *tool, const char *said, struct named *ret_named)
{
    static const char all[] = "/api/v1/models?window=all";
    struct named named = {0};
    struct buf path;
    buf_init(&path, TOOL_PROBLEM_MAX);
    buf_puts(&path, all);
    buf_puts(&path, "&name=");
    fetch_encode(&path, str_of(said));
    buf_char(&path, '\0');
    int status = EX_USAGE;
    if (path.err != 0) {
        tool_complain("the name is too long");
    } else {
        status = ask(tool, path.data, &named.root);
    }
    buf_fini(&path);
    named.model = find(named.root, said);
    if (status == 0 && named.model == NULL) {
        json_decref(named.root);
        named.root = NULL;
        status = ask(tool, all, &named.root);
        named.model = find(named.root, said);
    }
    if (status == 0 && named.model == NULL) {
        complain(named.root, said);
        status = EXIT_NO;
    }
    if (status != 0) {
        json_decref(named.root);
    } else {
        *ret_named = named;
    }
    return status;
}

void named_fini(struct named *named)
{
    json_decref(named->root);
    *named = (struct named){0};
}

void named_path(const json_t *model, bool all, struct buf *out)
{
    const char *key;
    json_t *value;
    const char *before = all ? "&label." : "?label.";
    buf_puts(out, "/api/v1/models/");
    fetch_encode(out, str_of(name_of(model)));
    buf_puts(out, all ? "?window=all" : "");
    json_object_foreach((json_t *)(uintptr_t)json_object_get(model, "labels"), key, value)
    {
        buf_puts(out, before);
        fetch_encode(out, str_of(key));
        buf_char(out, '=');
        fetch_encode(out, str_of(json_is_string(value) ? json_string_value(value) : ""));
        before = "&label.";
    }
    buf_char(out, '\0');
}

void named_put_others(const struct named *named, bool utf8, struct buf *out)
{
    size_t others = 0;
    size_t i;
    json_t *model;
    json_array_foreach((json_t *)(uintptr_t)json_object_get(named->root, "models"), i, model)
    {
        if (model == named->model || strcmp(name_of(model), name_of(named->model)) != 0) {
            continue;
        }
        buf_puts(out, others == 0 ? "\nThere are also:\n" : "");
        if (others++ < OTHERS_MAX) {
            buf_puts(out, "  ");
            model_title(out, model, utf8);
            buf_char(out, '\n');
        }
    }
    if (others > OTHERS_MAX) {
        buf_puts(out, "  and ");
        figure_count(out, (double)(others - OTHERS_MAX));
        buf_puts(out, " more\n");
    }
}
