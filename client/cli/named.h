/*
 * Which of the daemon's models a person means: by its name, or by its title, as `models` shows it, when it
 * has labels. It asks the daemon; what becomes of the model is the caller's.
 */
#ifndef DWELL_CLI_NAMED_H
#define DWELL_CLI_NAMED_H

#include <jansson.h>

#include "cli/tool.h"

struct named {
    json_t *root;        /* owned: an answer of /api/v1/models */
    const json_t *model; /* of it; of several of the name the first */
};

/* 0; or an exit status after having said why: EXIT_NO when there is none, with what may be meant. */
int named_find(const struct tool *tool, const char *said, struct named *ret_named);
void named_fini(struct named *named);

/* The path of its own answer, by name and labels; terminated. */
void named_path(const json_t *model, bool all, struct buf *out);

/* The others of its name, a line each; nothing when there are none. */
void named_put_others(const struct named *named, bool utf8, struct buf *out);

#endif
