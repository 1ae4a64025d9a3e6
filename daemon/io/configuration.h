/*
 * Reads the configuration and the families that it declares, from wherever the command line leads:
 * files, environment, arguments. It applies nothing. Blocking; at the start on the main thread, for a
 * reload on a thread of its own.
 */
#ifndef DWELL_IO_CONFIGURATION_H
#define DWELL_IO_CONFIGURATION_H

#include "conf/conf.h"
#include "conf/families.h"

/* Both or none, with a line in `errors` for each problem. Returns 0, or an error. */
int configuration_read(const struct conf_command *command, struct conf *ret_conf,
                       struct conf_families *ret_families, struct buf *errors,
                       struct buf *warnings);

#endif
