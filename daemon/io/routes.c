#include "io/routes.h"

#include "io/readiness.h"
#include "render/json_budgets.h"
#include "render/json_decision.h"
#include "render/negotiate.h"
#include "render/report.h"

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
    (void)atomic_fetch_add_explicit(&context->self->http_errors, status >= 400,
                                    memory_order_relaxed);
}

static void answer_metrics(struct route_context *context, const struct route_request *request,
                           struct route_response *response)
{
    struct negotiated chosen = negotiate(request->accept, request->accept_encoding);
    struct self_view view;
    (void)atomic_fetch_add_explicit(&context->self->scrapes, 1, memory_order_relaxed);
    self_view(context->self, &view);
    response->content_type = exposition_content_types[chosen.format];
    (void)exposition_render(context->exposition, request->snapshot, chosen.format, &view.process,
                            &response->body); /* told by body.err */
}

static void answer_health(struct route_context *context, const struct route_request *request,
                          struct route_response *response)
{
    (void)context;
    (void)request;
    json_render_ok(&response->body);
}

static void put_readiness(struct route_context *context, enum readiness readiness,
                          struct route_response *response)
{
    if (readiness == READINESS_READY) {
        json_render_ok(&response->body);
        return;
    }
    response->status = 503;
    response->content_type = json_type;
    json_render_unready(readiness_words[readiness], readiness_sentences[readiness],
                        &response->body);
    (void)atomic_fetch_add_explicit(&context->self->http_errors, 1, memory_order_relaxed);
}

static void answer_ready(struct route_context *context, const struct route_request *request,
                         struct route_response *response)
{
    enum readiness found =
        request->is_stopping ? READINESS_STOPPING : readiness_look(context->directory);
    put_readiness(context, found, response);
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

/* label.KEY=VALUE; returns how many. */
static uint32_t read_labels(const struct url *url, struct label ret[URL_PARAMETERS_MAX])
{
    static const char prefix[] = "label.";
    uint32_t count = 0;
    for (size_t i = 0; i < url->parameter_count; i++) {
        struct str name = url->parameters[i].name;
        if (name.len > strlen(prefix) && memcmp(name.ptr, prefix, strlen(prefix)) == 0) {
            struct str key = {name.ptr + strlen(prefix), name.len - strlen(prefix)};
            ret[count++] = (struct label){key, url->parameters[i].value};
        }
    }
    return count;
}

static void answer_model(struct route_context *context, const struct route_request *request,
                         struct route_response *response)
{
    enum profile_span span;
    struct label labels[URL_PARAMETERS_MAX];
    struct json_model_query query = {.name = request->rest, .labels = labels};
    query.label_count = read_labels(&request->url, labels);
    if (!read_span(request, &span)) {
        route_fail(context, 400, bad_window, response);
    } else if (!json_render_model(request->snapshot, span, &query, context->scratch,
                                  &response->body)) {
        route_fail(context, 404, "no such model, or no sample since its reset", response);
    }
}

static void answer_budgets(struct route_context *context, const struct route_request *request,
                           struct route_response *response)
{
    json_render_budgets(request->snapshot, context->constitutional_hash, context->scratch,
                        &response->body);
}

static void answer_decision(struct route_context *context, const struct route_request *request,
                            struct route_response *response)
{
    json_render_decision(request->snapshot, context->scratch, &response->body);
}

static void answer_status(struct route_context *context, const struct route_request *request,
                          struct route_response *response)
{
    struct self_view view;
    struct json_status status = context->status;
    self_view(context->self, &view);
    status.exports = view.process.exports;
    status.export_count = view.process.export_count;
    status.uptime_ns = context->clock.mono_ns(context->clock.ctx) - context->started_ns;
    status.rss_bytes = view.process.resident_bytes;
    status.scrapes = view.process.scrapes;
    status.http_errors = view.process.http_errors;
    status.process.descriptors_open = self_descriptors();
    status.http_foreign_hosts = view.process.http_foreign_hosts;
    status.http_refused = view.process.http_refused;
    status.http_slow = view.process.http_slow;
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
    {"GET", "/readyz", false, ROUTE_NEEDS_LOOP, answer_ready},
    {"GET", "/report", false, ROUTE_NEEDS_SNAPSHOT, answer_report},
    {"GET", "/api/v1/models", false, ROUTE_NEEDS_SNAPSHOT, answer_models},
    {"GET", "/api/v1/models/", false, ROUTE_NEEDS_SNAPSHOT, answer_model},
    {"GET", "/api/v1/decision", false, ROUTE_NEEDS_SNAPSHOT, answer_decision},
    {"GET", "/api/v1/budgets", false, ROUTE_NEEDS_SNAPSHOT, answer_budgets},
    {"GET", "/api/v1/status", false, ROUTE_NEEDS_SNAPSHOT, answer_status},
    {"POST", "/api/v1/reset", true, ROUTE_NEEDS_RESET, answer_reset},
};

const char routes_unknown[] = "no such path; there are /report, /metrics, /api/v1/models, "
                              "/api/v1/decision, /api/v1/budgets, /api/v1/status";

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
        if (!path_matches(route, request->url.path, &request->rest)) {
            continue;
        }
        if (route->admin_only && !is_admin) {
            match = ROUTE_ADMIN_ONLY;
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

void route_give_up(const struct route *route, struct route_context *context,
                   struct route_response *response)
{
    if (route->answer == answer_ready) {
        put_readiness(context, READINESS_LATE, response);
    } else {
        route_fail(context, 503, "the daemon is too busy to take a snapshot; try again", response);
    }
}
