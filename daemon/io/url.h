/*
 * The target of an HTTP request, taken apart: path and query with their escapes undone (RFC 3986).
 * Any thread.
 */
#ifndef DWELL_IO_URL_H
#define DWELL_IO_URL_H

#include "base/str.h"

enum { URL_PARAMETERS_MAX = 20 }; /* a window, and each label that a model may have */

struct url_parameter {
    struct str name;
    struct str value;
};

struct url {
    struct str path;
    size_t parameter_count;
    struct url_parameter parameters[URL_PARAMETERS_MAX];
};

/* Takes "/path?name=value&…" apart in place: the texts point into `target`, which is overwritten.
 * Returns 0, or ERR_SYNTAX for a bad escape, an escaped zero byte, text that is not UTF-8, or more
 * than URL_PARAMETERS_MAX parameters. */
int url_parse(char *target, struct url *ret_url);

/* The value of a parameter, or NULL. Of one given twice the first counts. */
const struct str *url_parameter(const struct url *url, const char *name);

#endif
