/*
 * What `dwell bench` was told, checked and completed. It opens nothing.
 */
#ifndef DWELL_CLI_BENCH_OPTIONS_H
#define DWELL_CLI_BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

enum { BENCH_NAME_MAX = 256 }; /* bytes of a model's name, as the daemon takes them */

/* Members of the command's own options; 0 and NULL: not said. */
struct bench_arguments {
    uint32_t samples, concurrency, warmup;
    const char *input;
    const char *model;
    const char *url;          /* of the model: not that of a daemon */
    const char *data;         /* a body, or @FILE */
    const char *content_type; /* of the body */
    const char *output;
    double answer_timeout; /* seconds */
    double start_timeout;  /* likewise, of the first answer */
    uint32_t pid;          /* of who answers at the URL; 0: not known */
    bool start_daemon, no_daemon, quiet;
};

extern const struct bench_arguments bench_defaults;

/* Whether the options go together, with so many words of a command. 0, or EX_USAGE with the reason. */
int bench_check(const struct bench_arguments *arguments, int words, struct buf *problem);

/* The name of the model that is not named: of the URL its host and path; of a command the file's name, or
 * where that is an interpreter, the name of the script. Cut to what the daemon takes. */
void bench_name(const struct bench_arguments *arguments, int words, char *const *command,
                struct buf *out);

#endif
