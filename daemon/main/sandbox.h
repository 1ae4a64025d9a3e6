/*
 * From the configuration to the sandbox: which files and ports the daemon has business with after its
 * start. Loop thread, at start.
 */
#ifndef DWELL_MAIN_SANDBOX_H
#define DWELL_MAIN_SANDBOX_H

#include "conf/conf.h"
#include "io/sandbox.h"

enum { MAIN_SANDBOX_PLACES_MAX = 64, MAIN_SANDBOX_PORTS_MAX = 3 };

/* What was found in the configuration and the environment. */
struct main_sandbox_needs {
    struct sandbox_place places[MAIN_SANDBOX_PLACES_MAX]; /* paths are owned */
    size_t place_count;
    uint16_t port_numbers[MAIN_SANDBOX_PORTS_MAX];
    struct sandbox_ports ports; /* into port_numbers */
    int err;                    /* of all that was added: ERR_NOMEM or ERR_LIMIT */
};

/* `file_name`: of the configuration; NULL: none. `directory`: of the sockets. Returns 0, ERR_NOMEM or
 * ERR_LIMIT. To be ended in any case. */
int main_sandbox_needs_init(struct main_sandbox_needs *needs, const struct conf *conf,
                            const char *file_name, const char *directory, char *const *environment);
void main_sandbox_needs_fini(struct main_sandbox_needs *needs);

/* The two halves of io/sandbox.h, between which the probe may start. What is in force is said in the
 * log, as is what is wrong. `probes`: there will be a probe. Return 0, ERR_NOMEM, ERR_LIMIT or
 * ERR_SYSTEM. */
int main_sandbox_begin(struct sandbox *sandbox, const struct conf *conf, bool probes);
int main_sandbox_finish(struct sandbox *sandbox, const struct conf *conf, const char *file_name,
                        const char *directory, char *const *environment);

#endif
