/*
 * Whether a request that came over the network is meant for this daemon, from the host that it names. A web
 * page can have its own name lead to our address (DNS rebinding): the browser of its reader then asks us,
 * and shows the page the answer, as both have the page's name. What it cannot do is name us otherwise.
 *
 *     Host: 10.0.3.7:9847     ours: figures lead nowhere else, so the IP of a pod always works
 *     Host: localhost         ours
 *     Host: DWELL.example.    ours if http.allowed_hosts has dwell.example
 *     Host: evil.example      foreign
 *     Host: a:b:c             bad
 *
 * Any port is good: it may be another's that leads here. It knows no HTTP library. Any thread.
 */
#ifndef DWELL_IO_HOST_H
#define DWELL_IO_HOST_H

#include <stddef.h>

#include "base/str.h"

enum host_verdict { HOST_OURS, HOST_FOREIGN, HOST_BAD };

/* `host`: a name or address, with or without a port; `names`: what else we are called. */
enum host_verdict host_judge(struct str host, char *const *names, size_t name_count);

/* Of a target "http://host/path" the host, and returns where the rest begins. Any other has none, ptr NULL,
 * and is all rest. */
char *host_of_target(char *target, struct str *ret_host);

#endif
