/*
 * The endpoints of DESIGN.md, section 7: a table from method and path to what answers.
 * It does not know the HTTP library, suspend anything or touch sockets: io/http does.
 * HTTP thread only.
 */
#ifndef DWELL_IO_ROUTES_H
#define DWELL_IO_ROUTES_H

#include "core/profile.h"
#include "io/directory.h"
#include "io/self.h"
#include "io/url.h"
#include "render/exposition.h"
#include "base/clock.h"
#include "render/json.h"

/* What a route must have from the loop before it can answer. */
enum route_need { ROUTE_NEEDS_NOTHING, ROUTE_NEEDS_SNAPSHOT, ROUTE_NEEDS_RESET, ROUTE_NEEDS_LOOP };

enum { ROUTES_BODY_MAX = 256 << 20 }; /* bytes of an answer before packing */

struct route_request {
    struct url url;
    struct str rest;    /* of the path, behind a route that ends in '/' */
    const char *accept; /* headers; NULL: not there */
    const char *accept_encoding;
    const struct snapshot *snapshot; /* ROUTE_NEEDS_SNAPSHOT */
    int reset_count;                 /* ROUTE_NEEDS_RESET */
    bool is_stopping;                /* ROUTE_NEEDS_LOOP: the daemon ends */
};

struct route_response {
    unsigned status;
    const char *content_type; /* constant */
    const char *allow;        /* constant; with status 405, the methods that the path takes */
    struct buf body;
};

/* What all answers are made with. */
struct route_context {
    struct exposition *exposition;   /* owned by whoever made the context */
    struct profile_scratch *scratch; /* likewise */
    struct str display_name;         /* borrowed, as all below */
    struct str constitutional_hash;
    struct json_status status; /* constant parts */
    struct self *self;         /* shared with whoever else shows it */
    const struct directory *directory;
    struct clock clock;
    uint64_t started_ns; /* monotonic */
};

struct route;

enum route_match { ROUTE_FOUND, ROUTE_UNKNOWN, ROUTE_ADMIN_ONLY, ROUTE_OTHER_METHOD };

/* Finds the route of a request; `is_admin`: it came through admin.sock. HEAD matches as GET. On
 * ROUTE_FOUND fills request->rest; on ROUTE_OTHER_METHOD the route is one that the path has. */
enum route_match routes_find(const char *method, bool is_admin, struct route_request *request,
                             const struct route **ret_route);

/* What an answer ROUTE_UNKNOWN says: which paths people may have meant. */
extern const char routes_unknown[];

/* What goes into the header Allow of an answer ROUTE_OTHER_METHOD, when that gave `route`. */
const char *route_allow(const struct route *route);

enum route_need route_need(const struct route *route);

/* Answers. The response's body must be initialised; on a failure it holds an error in JSON. */
void route_answer(const struct route *route, struct route_context *context,
                  const struct route_request *request, struct route_response *response);

/* The same where the loop did not answer in time. */
void route_give_up(const struct route *route, struct route_context *context,
                   struct route_response *response);

/* An error answer: {"error": …}. */
void route_fail(struct route_context *context, unsigned status, const char *message,
                struct route_response *response);

#endif
