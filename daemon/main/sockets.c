/*
 * Happy path
 *   1. the HTTP address, then the directory with its sockets: inherited, or opened
 *   2. both are handed to the service manager, who keeps them over a restart
 *
 * What can fail: an address in use, a directory that is another daemon's or cannot be made; the log says
 * which.
 */
#include "main/main.h"

#include <errno.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "io/kept.h"

enum { PROBLEM_MAX_BYTES = 1 << 20 };

static int open_directory(struct dwelld *dwelld)
{
    const struct conf *conf = &dwelld->conf;
    struct buf problem;
    buf_init(&problem, PROBLEM_MAX_BYTES);
    char *path = directory_find(conf->ingest.directory, environ);
    int status = EX_CANTCREAT;
    if (path != NULL) {
        struct directory_options options = {path, conf->ingest.mode, conf->ingest.group,
                                            dwelld->inherited.sockets};
        status = directory_open(&dwelld->directory, &options, &problem);
    }
    if (status != 0) {
        log_error("%.*s", (int)problem.len, problem.len == 0 ? "" : problem.data);
    }
    buf_fini(&problem);
    mem_free(path);
    return status;
}

static int open_http(struct dwelld *dwelld)
{
    const struct conf_address *address = &dwelld->conf.http.listen;
    dwelld->http_fd = inherited_take_http(&dwelld->inherited, address->host, address->port,
                                          address->is_ipv6, &dwelld->notify);
    if (dwelld->http_fd < 0) {
        dwelld->http_fd = http_listen(address->host, address->port, address->is_ipv6);
    }
    if (dwelld->http_fd < 0) {
        log_error("http.listen: cannot listen on %s port %u: %s%s", address->host,
                  (unsigned)address->port, strerror(errno),
                  errno == EADDRINUSE ? "; choose another, or port 0 for any" : "");
        return EX_UNAVAILABLE;
    }
    dwelld->http_address = http_address(dwelld->http_fd);
    return dwelld->http_address == NULL ? EX_UNAVAILABLE : 0;
}

int main_sockets_open(struct dwelld *dwelld)
{
    int status = open_http(dwelld);
    if (status == 0) {
        status = open_directory(dwelld);
    }
    if (status == 0) {
        bool http_is_own = dwelld->inherited.sockets[INHERITED_HTTP].fd < 0;
        kept_hand_over(&dwelld->notify, &dwelld->directory, http_is_own ? dwelld->http_fd : -1);
    }
    return status;
}

void main_sockets_say(const struct dwelld *dwelld)
{
    log_info("dwelld " DWELL_VERSION " is ready");
    log_info("samples to %s and %s", dwelld->directory.sockets[PLACE_STREAM].path,
             dwelld->directory.sockets[PLACE_DATAGRAM].path);
    log_info("metrics at http://%s/metrics, report at http://%s/report", dwelld->http_address,
             dwelld->http_address);
}
