#include "io/routes.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "render/negotiate.h"
#include "render/report.h"

enum { EXPORTS_MAX = 2 }; /* traces and metrics */

typedef void (*answer_fn)(struct route_context *context, const struct route_request *request,
                          struct route_response *response);

struct route {
    const char *method;
    const char *path; /* one that ends in '/' takes what follows as `rest` */
    bool admin_only;
    enum route_need need;
    answer_fn answer;
};

static const char json_type[] = "application/json";
static const char text_type[] = "text/plain; charset=utf-8";

void route_fail(struct route_context *context, unsigned status, const char *message,
                struct route_response *response)
{
    buf_clear(&response->body);
    json_render_error(str_of(message), &response->body);
    response->status = status;
    response->content_type = json_type;
    context->errors += status >= 400;
}

/* Pages of memory in use, from the kernel; 0 when it does not say. */
static uint64_t resident_bytes(void)
{
    char text[128];
    unsigned long long size = 0;
    unsigned long long resident = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) {
        (void)close(fd); /* was only read */
    }
    if (len <= 0) {
        return 0;
    }
    text[len] = '\0';
    char *end = text;
    size = strtoull(text, &end, 10);
    resident = strtoull(end, NULL, 10);
    return size == 0 ? 0 : resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* The accounts of all signals that are exported, at this moment. Returns how many. */
static unsigned view_exports(const struct route_context *context,
                             struct export_view ret_views[EXPORTS_MAX])
{
    if (context->exporter == NULL) {
        return 0;
    }
    exporter_view(context->exporter, &ret_views[0]);
    return 1;
}

static void answer_metrics(struct route_context *context, const struct route_request *request,
                           struct route_response *response)
{
    struct negotiated chosen = negotiate(request->accept, request->accept_encoding);
    struct export_view exports[EXPORTS_MAX];
    struct exposition_process process = {.resident_bytes = resident_bytes(),
                                         .scrapes = ++context->scrapes,
                                         .http_errors = context->errors,
                                         .exports = exports,
                                         .export_count = view_exports(context, exports)};
    response->content_type = exposition_content_types[chosen.format];
    (void)exposition_render(context->exposition, request->snapshot, chosen.format, &process,
                            &response->body); /* told by body.err */
}

static void answer_health(struct route_context *context, const struct route_request *request,
                          struct route_response *response)
{
    (void)context;
    (void)request;
    json_render_ok(&response->body);
}

static void answer_report(struct route_context *context, const struct route_request *request,
                          struct route_response *response)
{
    struct report_options options = {context->display_name, context->constitutional_hash};
    response->content_type = text_type;
    report_render(request->snapshot, &options, context->scratch, &response->body);
}

/* window=all, or nothing; anything else is a mistake worth telling. */
static bool read_span(const struct route_request *request, enum profile_span *ret_span)
{
    const struct str *window = url_parameter(&request->url, "window");
    *ret_span = window == NULL ? PROFILE_WINDOW : PROFILE_ALL;
    return window == NULL || str_is(*window, "all");
}

static const char bad_window[] = "window: expects \"all\" or nothing";

static void answer_models(struct route_context *context, const struct route_request *request,
                          struct route_response *response)
{
    enum profile_span span;
    if (!read_span(request, &span)) {
        route_fail(context, 400, bad_window, response);
        return;
    }
    json_render_models(request->snapshot, span, url_parameter(&request->url, "name"),
                       context->scratch, &response->body);
}

static void answer_model(struct route_context *context, const struct route_request *request,
                         struct route_response *response)
{
    enum profile_span span;
    if (!read_span(request, &span)) {
        route_fail(context, 400, bad_window, response);
    } else if (!json_render_model(request->snapshot, span, request->rest, context->scratch,
                                  &response->body)) {
        route_fail(context, 404, "no such model, or no sample since its reset", response);
    }
}

static void answer_status(struct route_context *context, const struct route_request *request,
                          struct route_response *response)
{
    struct export_view exports[EXPORTS_MAX];
    struct json_status status = context->status;
    status.exports = exports;
    status.export_count = view_exports(context, exports);
    status.uptime_ns = context->clock.mono_ns(context->clock.ctx) - context->started_ns;
    status.rss_bytes = resident_bytes();
    status.scrapes = context->scrapes;
    status.http_errors = context->errors;
    json_render_status(request->snapshot, &status, &response->body);
}

static void answer_reset(struct route_context *context, const struct route_request *request,
                         struct route_response *response)
{
    (void)context;
    json_render_reset((uint64_t)request->reset_count, &response->body);
}

static const struct route routes[] = {
    {"GET", "/metrics", false, ROUTE_NEEDS_SNAPSHOT, answer_metrics},
    {"GET", "/healthz", false, ROUTE_NEEDS_NOTHING, answer_health},
    {"GET", "/readyz", false, ROUTE_NEEDS_SNAPSHOT, answer_health},
    {"GET", "/report", false, ROUTE_NEEDS_SNAPSHOT, answer_report},
    {"GET", "/api/v1/models", false, ROUTE_NEEDS_SNAPSHOT, answer_models},
    {"GET", "/api/v1/models/", false, ROUTE_NEEDS_SNAPSHOT, answer_model},
    {"GET", "/api/v1/status", false, ROUTE_NEEDS_SNAPSHOT, answer_status},
    {"POST", "/api/v1/reset", true, ROUTE_NEEDS_RESET, answer_reset},
};

static bool path_matches(const struct route *route, struct str path, struct str *ret_rest)
{
    size_t len = strlen(route->path);
    if (route->path[len - 1] != '/') {
        return str_is(path, route->path);
    }
    if (path.len <= len || memcmp(path.ptr, route->path, len) != 0) {
        return false;
    }
    *ret_rest = (struct str){path.ptr + len, path.len - len};
    return true;
}

enum route_match routes_find(const char *method, bool is_admin, struct route_request *request,
                             const struct route **ret_route)
{
    enum route_match match = ROUTE_UNKNOWN;
    if (strcmp(method, "HEAD") == 0) {
        method = "GET";
    }
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *route = &routes[i];
        if (!path_matches(route, request->url.path, &request->rest) ||
            (route->admin_only && !is_admin)) {
            continue;
        }
        if (strcmp(method, route->method) == 0) {
            *ret_route = route;
            return ROUTE_FOUND;
        }
        match = ROUTE_OTHER_METHOD;
        *ret_route = route;
    }
    return match;
}

const char *route_allow(const struct route *route)
{
    return strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method;
}

enum route_need route_need(const struct route *route)
{
    return route->need;
}

/* /metrics always has a form to fall back on, what a reset did is done; the others have one form. */
static bool is_acceptable(const struct route *route, const char *accept)
{
    if (route->answer == answer_metrics || route->need == ROUTE_NEEDS_RESET) {
        return true;
    }
    return route->answer == answer_report ? negotiate_accepts(accept, "text/plain", "text/*")
                                          : negotiate_accepts(accept, json_type, "application/*");
}

void route_answer(const struct route *route, struct route_context *context,
                  const struct route_request *request, struct route_response *response)
{
    response->status = 200;
    response->content_type = json_type;
    if (!is_acceptable(route, request->accept)) {
        route_fail(context, 406, "this path has no form that the Accept header takes", response);
        return;
    }
    route->answer(context, request, response);
    if (response->body.err != 0) {
        route_fail(context, 503, "no memory for the answer", response);
    }
}
