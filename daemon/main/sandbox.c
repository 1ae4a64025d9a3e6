/*
 * What the daemon opens by path after its start
 *
 *     read    libraries, the resolver's files, certificates of the system  below /usr, /lib, /etc
 *             what processes and machines do, random bytes                 below /proc, /sys, /dev
 *             configuration, families, certificates, keys, headers         in their directories
 *     write   sockets, which are removed at the end; spool; journal; state          in their directories
 *
 * A file is named by its directory, as editors, and Kubernetes for its volumes, put a new file in
 * place of an old one: a rule for the file itself would be one for the old. A link counts twice, where
 * it lies and where it leads.
 */
#include "main/sandbox.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/num.h"
#include "conf/endpoint.h"
#include "main/exporter.h"

enum {
    OTLP_PORT = 4317,
    DNS_PORT = 53, /* of answers that do not fit a datagram */
    PROBLEM_MAX_BYTES = 4096,
};

/* --- places ------------------------------------------------------------------------------------ */

static void add_place(struct main_sandbox_needs *needs, struct str path, bool may_write)
{
    if (needs->err == 0 && needs->place_count == MAIN_SANDBOX_PLACES_MAX) {
        needs->err = ERR_LIMIT;
    }
    char *copy = needs->err == 0 ? mem_alloc(path.len + 1) : NULL;
    if (copy == NULL) {
        needs->err = needs->err == 0 ? ERR_NOMEM : needs->err;
        return;
    }
    memcpy(copy, path.ptr, path.len);
    copy[path.len] = '\0';
    needs->places[needs->place_count++] = (struct sandbox_place){copy, may_write};
}

static void add_directory(struct main_sandbox_needs *needs, const char *path, bool may_write)
{
    if (path[0] != '\0') {
        add_place(needs, str_of(path), may_write);
    }
}

/* "a/b" lies in "a", "/b" in "/", "b" in ".". */
static struct str directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return STR_LITERAL(".");
    }
    return (struct str){path, slash == path ? 1 : (size_t)(slash - path)};
}

/* A directory that may be made later: until then there can be a rule for the nearest one above only. */
static struct str existing(struct str directory)
{
    char path[PATH_MAX];
    struct stat st;
    while (directory.len > 1 && directory.len < sizeof path) {
        memcpy(path, directory.ptr, directory.len);
        path[directory.len] = '\0';
        if (stat(path, &st) == 0 || errno != ENOENT) {
            break;
        }
        directory = directory_of(path).len == 1 && path[0] != '/'
                        ? STR_LITERAL(".")
                        : (struct str){directory.ptr, directory_of(path).len};
    }
    return directory;
}

static void add_file(struct main_sandbox_needs *needs, const char *path, bool may_write)
{
    char target[PATH_MAX];
    if (path == NULL || path[0] == '\0') {
        return;
    }
    struct str directory = directory_of(path);
    add_place(needs, may_write ? existing(directory) : directory, may_write);
    if (realpath(path, target) != NULL) { /* else it is not there yet */
        add_place(needs, directory_of(target), may_write);
    }
}

static void add_certificates(struct main_sandbox_needs *needs, const struct conf_signal *own)
{
    add_file(needs, own->certificate, false);
    add_file(needs, own->client_certificate, false);
    add_file(needs, own->client_key, false);
}

/* --- ports ------------------------------------------------------------------------------------- */

static const char *variable(char *const *environment, const char *name)
{
    size_t len = strlen(name);
    for (; environment != NULL && *environment != NULL; environment++) {
        if (strncmp(*environment, name, len) == 0 && (*environment)[len] == '=') {
            return *environment + len + 1;
        }
    }
    return NULL;
}

/* gRPC goes by a proxy when one of these names it, whose port we do not look for. */
static bool has_proxy(char *const *environment)
{
    return variable(environment, "grpc_proxy") != NULL ||
           variable(environment, "https_proxy") != NULL ||
           variable(environment, "http_proxy") != NULL;
}

static void add_port(struct main_sandbox_needs *needs, uint16_t port)
{
    needs->port_numbers[needs->ports.count++] = port;
}

/* Adds the port of a signal that is exported by TCP. */
static void add_endpoint(struct main_sandbox_needs *needs, const struct conf *conf, bool signal,
                         const struct conf_signal *own)
{
    struct conf_endpoint endpoint;
    const char *text = own->endpoint[0] != '\0' ? own->endpoint : conf->otlp.endpoint;
    uint64_t port = OTLP_PORT;
    if (!main_exporter_wants(conf, signal, own) ||
        conf_endpoint_parse(str_of(text), &endpoint) != 0 || endpoint.scheme == CONF_SCHEME_UNIX) {
        return;
    }
    if (endpoint.port.len > 0 && num_read_u64(endpoint.port, &port) != 0) {
        return; /* the option was checked */
    }
    add_port(needs, (uint16_t)port);
}

static void add_ports(struct main_sandbox_needs *needs, const struct conf *conf,
                      char *const *environment)
{
    add_endpoint(needs, conf, conf->otlp.traces, &conf->otlp.of_traces);
    add_endpoint(needs, conf, conf->otlp.metrics, &conf->otlp.of_metrics);
    if (needs->ports.count > 0) {
        add_port(needs, DNS_PORT);
        needs->ports.all = has_proxy(environment);
    }
    needs->ports.ports = needs->port_numbers;
}

int main_sandbox_needs_init(struct main_sandbox_needs *needs, const struct conf *conf,
                            const char *file_name, const char *directory, char *const *environment)
{
    static const char *const of_system[] = {"/usr",  "/lib", "/lib64", "/etc",
                                            "/proc", "/sys", "/dev"};
    *needs = (struct main_sandbox_needs){.err = 0};
    for (size_t i = 0; i < sizeof of_system / sizeof of_system[0]; i++) {
        add_directory(needs, of_system[i], false);
    }
    add_file(needs, "/etc/resolv.conf", false); /* often a link into /run */
    add_file(needs, variable(environment, "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"), false);
    add_file(needs, file_name, false);
    add_file(needs, conf->metrics.families_file, false);
    add_file(needs, conf->otlp.headers_file, false);
    add_file(needs, conf->otlp.certificate, false);
    add_file(needs, conf->otlp.client_certificate, false);
    add_file(needs, conf->otlp.client_key, false);
    add_certificates(needs, &conf->otlp.of_traces);
    add_certificates(needs, &conf->otlp.of_metrics);
    add_directory(needs, conf->otlp.module_directory, false);
    add_directory(needs, directory, true);
    add_directory(needs, conf->otlp.spool_directory, true);
    add_directory(needs, conf->journal.directory, true);
    add_file(needs, conf->state.file, true);
    add_ports(needs, conf, environment);
    return needs->err;
}

void main_sandbox_needs_fini(struct main_sandbox_needs *needs)
{
    for (size_t i = 0; i < needs->place_count; i++) {
        mem_free(
            (char *)(uintptr_t)needs->places[i].path); /* ours: only whom it is for may not write */
    }
    needs->place_count = 0;
}

/* --- in force ---------------------------------------------------------------------------------- */

static void say(const struct buf *problem)
{
    if (problem->len > 0) {
        log_error("%.*s", (int)problem->len, problem->data);
    }
}

int main_sandbox_begin(struct sandbox *sandbox, const struct conf *conf, bool probes)
{
    struct buf problem;
    const struct sandbox_options options = {.seccomp = (enum sandbox_choice)conf->sandbox.seccomp,
                                            .landlock = (enum sandbox_choice)conf->sandbox.landlock,
                                            .probes = probes,
                                            .probe_capabilities = conf->sandbox.probe_capabilities};
    _Static_assert((int)CONF_SANDBOX_AUTO == (int)SANDBOX_AUTO &&
                       (int)CONF_SANDBOX_OFF == (int)SANDBOX_OFF,
                   "in the same order");
    main_exporter_open_module(conf); /* it and its libraries may lie anywhere */
    buf_init(&problem, PROBLEM_MAX_BYTES);
    int err = sandbox_begin(sandbox, &options, &problem);
    say(&problem);
    buf_fini(&problem);
    return err;
}

static void say_in_force(const struct sandbox *sandbox)
{
    log_info("sandbox: new privileges: %s; capabilities: %s; system calls: %s; files and ports: %s",
             sandbox_fact(sandbox, SANDBOX_PRIVILEGES), sandbox_fact(sandbox, SANDBOX_CAPABILITIES),
             sandbox_fact(sandbox, SANDBOX_CALLS), sandbox_fact(sandbox, SANDBOX_FILES));
}

int main_sandbox_finish(struct sandbox *sandbox, const struct conf *conf, const char *file_name,
                        const char *directory, char *const *environment)
{
    struct buf problem;
    struct main_sandbox_needs needs;
    buf_init(&problem, PROBLEM_MAX_BYTES);
    if (conf->otlp.spool_directory[0] != '\0') {
        (void)mkdir(conf->otlp.spool_directory,
                    0700); /* or there is no rule for it; the spool complains */
    }
    int err = main_sandbox_needs_init(&needs, conf, file_name, directory, environment);
    if (err == 0) {
        err = sandbox_finish(sandbox, needs.places, needs.place_count, &needs.ports, &problem);
    }
    if (err == 0) {
        say_in_force(sandbox);
    }
    say(&problem);
    buf_fini(&problem);
    main_sandbox_needs_fini(&needs);
    return err;
}
