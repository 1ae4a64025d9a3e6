#include "cli/answer.h"

#include <math.h>
#include <sysexits.h>

#include "cli/text.h"

enum { KEY_MAX = 64, SAID_MAX = 512 };

int answer_read(struct str body, json_t **ret_root, struct buf *problem)
{
    json_error_t error;
    json_t *root = json_loadb(body.ptr == NULL ? "" : body.ptr, body.len, JSON_ALLOW_NUL, &error);
    if (root == NULL) {
        buf_puts(problem, "the answer is no JSON that a dwelld gives: ");
        text_safe(problem, str_of(error.text), true);
        return EX_PROTOCOL;
    }
    *ret_root = root;
    return 0;
}

/* {"error": "…"}, or the answer's beginning. */
static void put_said(struct str body, struct buf *problem)
{
    json_error_t error;
    json_t *root = json_loadb(body.ptr == NULL ? "" : body.ptr, body.len, 0, &error);
    struct str said = str_of(answer_text(root, "error"));
    if (said.len == 0) {
        said = (struct str){body.ptr, body.len < SAID_MAX ? body.len : SAID_MAX};
    }
    text_safe(problem, said, true);
    json_decref(root);
}

int answer_refused(const char *path, long status, struct str body, struct buf *problem)
{
    bool of_model = strncmp(path, "/api/v1/models/", strlen("/api/v1/models/")) == 0;
    if (status == 404 && !of_model) {
        buf_printf(problem, "this daemon has no %.*s: it is older than this tool, or no dwelld",
                   (int)strcspn(path, "?"), path);
        return EX_PROTOCOL;
    }
    if (status != 404) {
        buf_printf(problem, "the daemon answers %ld: ", status);
    }
    put_said(body, problem);
    return status == 404 ? 1 : status == 503 ? EX_UNAVAILABLE : EX_PROTOCOL;
}

const json_t *answer_at(const json_t *object, const char *path)
{
    while (object != NULL && *path != '\0') {
        char key[KEY_MAX];
        size_t len = strcspn(path, ".");
        if (len >= sizeof key) {
            return NULL;
        }
        memcpy(key, path, len);
        key[len] = '\0';
        object = json_object_get(object, key);
        path += len + (path[len] == '.' ? 1 : 0);
    }
    return object;
}

double answer_number(const json_t *object, const char *path)
{
    const json_t *found = answer_at(object, path);
    return json_is_number(found) ? json_number_value(found) : (double)NAN;
}

const char *answer_text(const json_t *object, const char *path)
{
    const json_t *found = answer_at(object, path);
    return json_is_string(found) ? json_string_value(found) : "";
}

double answer_limit(const json_t *status, const char *option)
{
    return json_number_value(json_object_get(json_object_get(status, "limits"), option));
}
