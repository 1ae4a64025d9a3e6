/*
 * Happy path of a request
 *   1. on_uri         the raw target is copied: escapes are undone by io/url, strictly
 *   2. on_request     first call: route found; a job goes to the loop, the connection is suspended
 *   3. thread_main    the eventfd wakes the thread: jobs are collected, connections resumed
 *   4. on_request     called again: the route renders from the snapshot, gives it back, answers
 *   5. on_completed   the request is freed
 *   6. on_connection  what the server gave up before it was complete, and tells nobody of, is freed too
 *   7. take_settings  between requests: what a reload has changed holds for open connections, too
 *
 * What can fail, and where it ends
 *   no such path, method, escape, body too long   404, 405, 400, 413 at once
 *   over the network: a host that is not ours     421; none in HTTP/1.1, several, or nonsense: 400
 *   more connections than the ceiling             503 and the end; of a flood of them the end alone
 *   a byte now and then, never done               the socket is shut (io/http_clients)
 *   the loop does not answer within LOOP_WAIT_MS  503; the job is abandoned and freed on its return
 *   too many snapshots, no memory                 503
 *   a scraper that stops reading                  the connection's time runs out; nobody waits for it
 *
 * Two designs were weighed. The server's own threads, one to each door: less code, but then three
 * threads would share the cache of rendered lines, and a lock would hold it while one renders. One
 * thread that drives all doors by their epoll descriptors owns everything without a lock; it wins.
 * Answers are rendered whole and the snapshot is returned before a byte is sent, so a slow reader
 * holds a buffer, never a snapshot.
 */
#include "io/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/host.h"
#include "io/http_clients.h"
#include "io/sandbox_denied.h"
#include "render/gzip.h"
#include "render/negotiate.h"

enum {
    LOOP_WAIT_MS = 1000,
    UPLOAD_MAX_BYTES = 4096, /* no endpoint wants a body; a small one is read and ignored */
    PACK_MIN_BYTES = 512,
    CONNECTION_MEMORY = 16384,
    STACK_BYTES = 256 * 1024,
    LISTEN_BACKLOG = 128,
    QUIET_RUNS = 2, /* runs of a door's server that must change nothing before it is left alone */
    RUNS_A_TURN = 16,
    ADDRESS_TEXT_MAX = 80,
    CLIENT_TICK_MS = 500, /* between two looks for slow clients */
    CONNECTIONS_MAX =
        4096,       /* of a door, whatever the settings say: what http.max_connections may be */
    COMPLAINTS = 5, /* of each kind a minute */
};

enum phase {
    PHASE_NEW,
    PHASE_BODY,    /* the head was good; a body may come */
    PHASE_WAITING, /* suspended, the job is with the loop */
    PHASE_READY,   /* the job came back */
    PHASE_LATE,    /* the job did not come in time, and is still with the loop */
    PHASE_GONE,    /* the same, and the connection is over: freed when the job comes */
    PHASE_ANSWERED,
};

struct door {
    struct http *http;
    struct MHD_Daemon *daemon;
    struct request *requests; /* those that the server knows */
    struct http_clients clients;
    int epoll_fd;
    bool is_admin;
    bool is_network;
    bool is_restless; /* its turn was over before its work was done */
};

struct request {
    struct job job; /* first: a job that comes back is its request */
    struct request *next_waiting, **link_waiting;
    struct request *next, **link; /* in the door's list */
    struct MHD_Connection *connection;
    struct door *door;
    enum phase phase;
    bool job_is_out; /* with the loop */
    uint64_t deadline_ns;
    size_t uploaded;
    char *target; /* owned; what url and route point into */
    const struct route *route;
    struct route_request parts;
};

struct http {
    struct handover_reader reader;
    struct route_context *context;
    struct http_settings *settings; /* owned */
    struct log_limit foreign;
    uint64_t cut_ns; /* when slow clients were last looked for */
    struct door doors[HTTP_DOORS_MAX];
    size_t door_count;
    struct request *waiting;
    int stop_fd;
    pthread_t thread;
};

/* --- answering --------------------------------------------------------------------------------- */

static uint64_t now_ns(const struct http *http)
{
    const struct clock *clock = &http->context->clock;
    return clock->mono_ns(clock->ctx);
}

static void pack(struct request *request, struct route_response *response, bool *ret_packed)
{
    struct negotiated chosen = negotiate(NULL, request->parts.accept_encoding);
    struct buf packed;
    *ret_packed = false;
    if (!chosen.gzip || response->body.len < PACK_MIN_BYTES) {
        return;
    }
    buf_init(&packed, ROUTES_BODY_MAX);
    gzip_render((struct str){response->body.data, response->body.len}, &packed);
    if (packed.err != 0) {
        buf_fini(&packed); /* without memory it goes out as it is */
        return;
    }
    buf_fini(&response->body);
    response->body = packed;
    *ret_packed = true;
}

static void add_headers(struct MHD_Response *answer, const struct route_response *response,
                        bool packed)
{
    /* Adding fails only without memory: an answer without a header is still an answer. */
    (void)MHD_add_response_header(answer, MHD_HTTP_HEADER_CONTENT_TYPE, response->content_type);
    (void)MHD_add_response_header(answer, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(answer, MHD_HTTP_HEADER_VARY, "Accept, Accept-Encoding");
    /* Not for the pages of others, not even as a picture or a script. */
    (void)MHD_add_response_header(answer, "Cross-Origin-Resource-Policy", "same-origin");
    (void)MHD_add_response_header(answer, "X-Content-Type-Options", "nosniff");
    if (packed) {
        (void)MHD_add_response_header(answer, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    }
    if (response->status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        (void)MHD_add_response_header(answer, MHD_HTTP_HEADER_ALLOW, response->allow);
    }
}

/* NULL when there was no memory for it. */
static struct http_client *client_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

/* What it sent before it was cut off is of no use. */
static bool is_cut(struct MHD_Connection *connection)
{
    const struct http_client *client = client_of(connection);
    return client == NULL || client->is_cut;
}

/* The next step of a request begins. */
static void begin_step(const struct http *http, struct MHD_Connection *connection)
{
    struct http_client *client = client_of(connection);
    if (client != NULL) {
        client->since_ns = now_ns(http);
    }
}

/* Sends the response and uses up its body. */
static enum MHD_Result send_response(struct request *request, struct route_response *response)
{
    bool packed;
    pack(request, response, &packed);
    size_t len = response->body.len;
    struct MHD_Response *answer =
        MHD_create_response_from_buffer(len, response->body.data, MHD_RESPMEM_MUST_FREE);
    if (answer == NULL) {
        buf_fini(&response->body);
        return MHD_NO;
    }
    add_headers(answer, response, packed);
    enum MHD_Result sent = MHD_queue_response(request->connection, response->status, answer);
    MHD_destroy_response(answer);
    request->phase = PHASE_ANSWERED;
    begin_step(request->door->http, request->connection);
    return sent;
}

static enum MHD_Result fail(struct request *request, unsigned status, const char *message)
{
    struct route_response response = {0};
    response.allow = request->route == NULL ? "" : route_allow(request->route);
    buf_init(&response.body, ROUTES_BODY_MAX);
    route_fail(request->door->http->context, status, message, &response);
    return send_response(request, &response);
}

/* The loop did not answer in time. */
static enum MHD_Result give_up(struct request *request)
{
    struct route_response response = {0};
    buf_init(&response.body, ROUTES_BODY_MAX);
    route_give_up(request->route, request->door->http->context, &response);
    return send_response(request, &response);
}

static enum MHD_Result answer(struct request *request)
{
    struct http *http = request->door->http;
    struct route_response response = {0};
    if (request->job.err != 0) {
        return fail(request, MHD_HTTP_SERVICE_UNAVAILABLE, err_sentence(request->job.err));
    }
    request->parts.snapshot = request->job.share == NULL ? NULL : request->job.share->snapshot;
    request->parts.reset_count = request->job.reset_count;
    request->parts.is_stopping = request->job.is_stopping;
    buf_init(&response.body, ROUTES_BODY_MAX);
    route_answer(request->route, http->context, &request->parts, &response);
    if (request->job.share != NULL) {
        handover_return(http->reader.handover, request->job.share);
        request->job.share = NULL;
    }
    return send_response(request, &response);
}

/* --- from the head of a request to the loop and back ------------------------------------------- */

static void link_waiting(struct http *http, struct request *request)
{
    request->next_waiting = http->waiting;
    request->link_waiting = &http->waiting;
    if (http->waiting != NULL) {
        http->waiting->link_waiting = &request->next_waiting;
    }
    http->waiting = request;
}

static void unlink_waiting(struct request *request)
{
    *request->link_waiting = request->next_waiting;
    if (request->next_waiting != NULL) {
        request->next_waiting->link_waiting = request->link_waiting;
    }
}

static enum MHD_Result ask_loop(struct request *request)
{
    struct http *http = request->door->http;
    enum route_need need = route_need(request->route);
    if (need == ROUTE_NEEDS_NOTHING) {
        return answer(request);
    }
    const struct str *name = url_parameter(&request->parts.url, "name");
    request->job.kind = need == ROUTE_NEEDS_RESET  ? JOB_RESET
                        : need == ROUTE_NEEDS_LOOP ? JOB_PING
                                                   : JOB_SNAPSHOT;
    request->job.has_name = name != NULL;
    request->job.name = name == NULL ? (struct str){0} : *name;
    request->phase = PHASE_WAITING;
    request->deadline_ns = now_ns(http) + LOOP_WAIT_MS * NS_PER_MS;
    link_waiting(http, request);
    MHD_suspend_connection(request->connection);
    request->job_is_out = true;
    handover_submit(&http->reader, &request->job);
    return MHD_YES;
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* The Host headers of a request. */
struct hosts {
    const char *last;
    unsigned count;
};

static enum MHD_Result note_host(void *cls, enum MHD_ValueKind kind, const char *key,
                                 const char *value)
{
    struct hosts *hosts = cls;
    (void)kind;
    if (strcasecmp(key, MHD_HTTP_HEADER_HOST) == 0) {
        hosts->last = value;
        hosts->count++;
    }
    return MHD_YES;
}

static enum host_verdict judge(const struct request *request, struct str host)
{
    const struct http_settings *settings = request->door->http->settings;
    return host_judge(host, settings->allowed_hosts, settings->allowed_host_count);
}

/* What the target names counts as well as what the header does: it is the worse of both. */
static enum host_verdict judge_hosts(const struct request *request, struct str authority,
                                     const char *version)
{
    struct hosts hosts = {NULL, 0};
    enum host_verdict verdict = HOST_OURS;
    (void)MHD_get_connection_values(request->connection, MHD_HEADER_KIND, note_host, &hosts);
    if (hosts.count > 1 || (hosts.count == 0 && strcmp(version, MHD_HTTP_VERSION_1_0) != 0)) {
        return HOST_BAD;
    }
    if (hosts.count == 1) {
        verdict = judge(request, str_of(hosts.last == NULL ? "" : hosts.last));
    }
    if (authority.ptr != NULL) {
        enum host_verdict other = judge(request, authority);
        verdict = other > verdict ? other : verdict;
    }
    return verdict;
}

static enum MHD_Result refuse_foreign(struct request *request)
{
    struct http *http = request->door->http;
    const char *host = header(request->connection, MHD_HTTP_HEADER_HOST);
    self_count(&http->context->self->http_foreign_hosts, 1);
    log_limited(&http->foreign,
                "refused an HTTP request for the host %s, which is none of http.allowed_hosts",
                host == NULL ? "in its target" : host);
    return fail(
        request, MHD_HTTP_MISDIRECTED_REQUEST,
        "this is not the host that the request names: ask by IP address, or add the name to "
        "http.allowed_hosts");
}

static enum MHD_Result take_head(struct request *request, const char *method, const char *version)
{
    struct str authority;
    char *target = host_of_target(request->target, &authority);
    switch (request->door->is_network ? judge_hosts(request, authority, version) : HOST_OURS) {
    case HOST_FOREIGN:
        return refuse_foreign(request);
    case HOST_BAD:
        return fail(request, MHD_HTTP_BAD_REQUEST,
                    "the request must name one host, and a valid one");
    case HOST_OURS:
        break;
    }
    if (url_parse(target, &request->parts.url) != 0) {
        return fail(request, MHD_HTTP_BAD_REQUEST,
                    "the address has a bad escape, text that is not UTF-8, or too many parameters");
    }
    switch (routes_find(method, request->door->is_admin, &request->parts, &request->route)) {
    case ROUTE_UNKNOWN:
        return fail(request, MHD_HTTP_NOT_FOUND, routes_unknown);
    case ROUTE_ADMIN_ONLY:
        return fail(request, MHD_HTTP_NOT_FOUND, "only by admin.sock");
    case ROUTE_OTHER_METHOD:
        return fail(request, MHD_HTTP_METHOD_NOT_ALLOWED, "this path takes another method");
    case ROUTE_FOUND:
        break;
    }
    request->parts.accept = header(request->connection, MHD_HTTP_HEADER_ACCEPT);
    request->parts.accept_encoding = header(request->connection, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    const char *length = header(request->connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length != NULL && strtoull(length, NULL, 10) > UPLOAD_MAX_BYTES) {
        return fail(request, MHD_HTTP_CONTENT_TOO_LARGE, "no endpoint takes a body");
    }
    request->phase = PHASE_BODY;
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **con_cls)
{
    struct request *request = *con_cls;
    (void)cls;
    (void)connection;
    (void)url; /* already unescaped, and cut at a zero byte: see on_uri */
    (void)upload;
    if (request == NULL) {
        return MHD_NO; /* no memory in on_uri, or nobody to answer */
    }
    switch (request->phase) {
    case PHASE_NEW:
        return take_head(request, method, version);
    case PHASE_BODY:
        if (*upload_size > 0) {
            request->uploaded += *upload_size;
            *upload_size = 0;
            return request->uploaded > UPLOAD_MAX_BYTES ? MHD_NO : MHD_YES;
        }
        return ask_loop(request);
    case PHASE_READY:
        return answer(request);
    case PHASE_LATE:
        return give_up(request);
    default:
        return MHD_NO;
    }
}

static void *on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
    struct door *door = cls;
    size_t len = strlen(uri);
    struct request *request = is_cut(connection) ? NULL : mem_zalloc(1, sizeof *request);
    char *target = request == NULL ? NULL : mem_alloc(len + 1);
    if (target == NULL) {
        mem_free(request);
        return NULL;
    }
    memcpy(target, uri, len + 1);
    request->target = target;
    request->door = door;
    request->connection = connection;
    request->next = door->requests;
    request->link = &door->requests;
    if (request->next != NULL) {
        request->next->link = &request->next;
    }
    door->requests = request;
    return request;
}

static void free_request(struct request *request)
{
    mem_free(request->target);
    mem_free(request);
}

/* The server is done with the request; the loop may not be. */
static void end_request(struct request *request)
{
    *request->link = request->next;
    if (request->next != NULL) {
        request->next->link = request->link;
    }
    if (request->job_is_out) {
        request->phase = PHASE_GONE;
        return;
    }
    if (request->job.share != NULL) {
        handover_return(request->door->http->reader.handover, request->job.share);
    }
    free_request(request);
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code)
{
    struct request *request = *con_cls;
    const struct http *http = cls;
    (void)code;
    *con_cls = NULL;
    begin_step(http, connection);
    if (request != NULL) {
        end_request(request);
    }
}

/* --- connections ------------------------------------------------------------------------------- */

static unsigned timeout_s(const struct http *http)
{
    return (unsigned)((http->settings->timeout_ms + 999) / 1000);
}

/* The one that the server was started with costs it less: others it looks through at each run. */
static void set_timeout(const struct http *http, struct MHD_Connection *connection)
{
    (void)MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                    timeout_s(http)); /* a known option */
}

static bool is_full(const struct door *door, unsigned more)
{
    const struct http_clients *clients = &door->clients;
    return clients->count - clients->refused + more > door->http->settings->max_connections;
}

/* Of a flood past the ceiling only so many are told; the others are closed without a word. */
static enum MHD_Result on_accept(void *cls, const struct sockaddr *address, socklen_t len)
{
    struct door *door = cls;
    struct http *http = door->http;
    (void)address;
    (void)len;
    if (!is_full(door, 1) || door->clients.refused < HTTP_REFUSALS_MAX) {
        return MHD_YES;
    }
    self_count(&http->context->self->http_refused, 1);
    return MHD_NO;
}

static void refuse_connection(struct door *door, struct http_client *client)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\n"
                                 "Content-Type: application/json\r\n"
                                 "Connection: close\r\n"
                                 "\r\n"
                                 "{\"error\":\"there are http.max_connections clients already\"}\n";
    self_count(&door->http->context->self->http_refused, 1);
    ssize_t sent = send(client->fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)sent; /* told if possible; what the peer has sent is not read */
    http_client_refuse(&door->clients, client);
}

static void begin_connection(struct door *door, struct MHD_Connection *connection,
                             void **socket_context)
{
    struct http *http = door->http;
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    struct http_client *client = http_client_new(&door->clients, connection, fd, now_ns(http));
    *socket_context = client;
    if (client == NULL) {
        (void)shutdown(fd, SHUT_RDWR); /* without memory nobody is served */
        return;
    }
    set_timeout(http, connection);
    if (is_full(door, 0)) {
        refuse_connection(door, client);
    }
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct door *door = cls;
    if (code != MHD_CONNECTION_NOTIFY_CLOSED) {
        begin_connection(door, connection, socket_context);
        return;
    }
    if (*socket_context != NULL) {
        http_client_free(&door->clients, *socket_context);
        *socket_context = NULL;
    }
    struct request *next;
    for (struct request *request = door->requests; request != NULL; request = next) {
        next = request->next;
        if (request->connection == connection) {
            end_request(request);
        }
    }
}

/* --- the thread -------------------------------------------------------------------------------- */

static void take_back(struct http *http, struct request *request)
{
    request->job_is_out = false;
    if (request->phase == PHASE_WAITING) {
        unlink_waiting(request);
        request->phase = PHASE_READY;
        MHD_resume_connection(request->connection);
        return;
    }
    if (request->job.share != NULL) {
        handover_return(http->reader.handover, request->job.share);
        request->job.share = NULL;
    }
    if (request->phase == PHASE_GONE) {
        free_request(request);
    }
}

/* Answers that were begun were rendered whole: nobody is in the middle of the old ones. */
static void use_settings(struct http *http, struct http_settings *settings)
{
    struct route_context *context = http->context;
    if (settings->exposition != NULL) {
        exposition_free(context->exposition);
        context->exposition = settings->exposition;
        settings->exposition = NULL;
    }
    context->display_name = str_of(settings->display_name);
    context->status.limits = settings->limits;
    context->status.limit_count = settings->limit_count;
    http_settings_free(http->settings);
    http->settings = settings;
}

static void take_settings(struct http *http, struct http_settings *settings)
{
    use_settings(http, settings);
    for (size_t i = 0; i < http->door_count; i++) {
        struct http_client *client = http->doors[i].clients.first;
        for (; client != NULL; client = client->next) {
            set_timeout(http, client->connection);
        }
    }
}

static void collect_jobs(struct http *http)
{
    struct job *next;
    for (struct job *job = handover_collect(&http->reader); job != NULL; job = next) {
        next = job->next;
        if (job->kind == JOB_SETTINGS) {
            take_settings(http, (struct http_settings *)job);
        } else {
            take_back(http, (struct request *)job);
        }
    }
}

static void cut_slow_clients(struct http *http)
{
    uint64_t now = now_ns(http);
    uint64_t limit_ns = http->settings->request_timeout_ms * NS_PER_MS;
    if (now - http->cut_ns < CLIENT_TICK_MS * NS_PER_MS) {
        return;
    }
    http->cut_ns = now;
    for (size_t i = 0; i < http->door_count; i++) {
        unsigned count = http_clients_cut(&http->doors[i].clients, limit_ns, now);
        self_count(&http->context->self->http_slow, count);
    }
}

/* Gives up waiting for the loop where the time is over, or everywhere. */
static void expire_waiting(struct http *http, bool all)
{
    uint64_t now = now_ns(http);
    struct request *next;
    for (struct request *request = http->waiting; request != NULL; request = next) {
        next = request->next_waiting;
        if (all || request->deadline_ns <= now) {
            unlink_waiting(request);
            request->phase = PHASE_LATE;
            MHD_resume_connection(request->connection);
        }
    }
}

static int least_timeout(const struct http *http)
{
    int64_t timeout_ms = http->waiting == NULL ? -1 : LOOP_WAIT_MS / 10;
    for (size_t i = 0; i < http->door_count; i++) {
        MHD_UNSIGNED_LONG_LONG wanted;
        if (http->doors[i].clients.count > 0 && timeout_ms < 0) {
            timeout_ms = CLIENT_TICK_MS;
        }
        if (http->doors[i].is_restless) {
            return 0;
        }
        if (MHD_get_timeout(http->doors[i].daemon, &wanted) == MHD_YES &&
            (timeout_ms < 0 || (int64_t)wanted < timeout_ms)) {
            timeout_ms = (int64_t)wanted;
        }
    }
    return timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
}

static unsigned count_open(const struct door *door)
{
    return MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)->num_connections;
}

/* The server may leave work to its next run and asks for none by its descriptor or its timeout: one
 * that was full listens again at the start of a run only, and a request that was refused early is
 * let go in the one after. So it is run until nothing comes or goes any more. */
static void run_door(struct door *door)
{
    unsigned open = count_open(door);
    unsigned quiet = 0;
    for (unsigned runs = 0; quiet < QUIET_RUNS && runs < RUNS_A_TURN; runs++) {
        (void)MHD_run(door->daemon); /* fails for a daemon that is shut down */
        unsigned now_open = count_open(door);
        quiet = now_open == open ? quiet + 1 : 0;
        open = now_open;
    }
    door->is_restless = quiet < QUIET_RUNS;
}

static void run_doors(struct http *http)
{
    for (size_t i = 0; i < http->door_count; i++) {
        run_door(&http->doors[i]);
    }
}

static void *thread_main(void *arg)
{
    struct http *http = arg;
    struct pollfd fds[2 + HTTP_DOORS_MAX] = {{.fd = http->stop_fd, .events = POLLIN},
                                             {.fd = http->reader.wake_fd, .events = POLLIN}};
    for (size_t i = 0; i < http->door_count; i++) {
        fds[2 + i] = (struct pollfd){.fd = http->doors[i].epoll_fd, .events = POLLIN};
    }
    while (fds[0].revents == 0) {
        /* An interrupted or failed poll only means that nothing is known to be ready. */
        (void)poll(fds, (nfds_t)(2 + http->door_count), least_timeout(http));
        collect_jobs(http);
        expire_waiting(http, false);
        cut_slow_clients(http);
        run_doors(http);
    }
    expire_waiting(http, true);
    run_doors(http); /* a daemon must not be stopped with suspended connections */
    for (size_t i = 0; i < http->door_count; i++) {
        MHD_stop_daemon(http->doors[i].daemon);
    }
    return NULL;
}

/* --- start and end ----------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static void on_library_log(void *cls, const char *format,
                                                                 va_list args)
{
    char text[512];
    (void)cls;
    int len = vsnprintf(text, sizeof text, format, args);
    if (len > 0) {
        log_debug("http: %.*s", (int)strcspn(text, "\n"), text);
    }
}

static int open_door(struct http *http, const struct http_door_options *how)
{
    struct door *door = &http->doors[http->door_count];
    *door = (struct door){.http = http, .is_admin = how->is_admin, .is_network = how->is_network};
    door->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, on_accept, door,
        on_request, door, MHD_OPTION_EXTERNAL_LOGGER, on_library_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, how->fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(CONNECTIONS_MAX + HTTP_REFUSALS_MAX), MHD_OPTION_CONNECTION_TIMEOUT,
        timeout_s(http), MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, door, MHD_OPTION_NOTIFY_COMPLETED, on_completed, http,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, door, MHD_OPTION_END);
    if (door->daemon == NULL) {
        (void)close(how->fd);
        return ERR_SYSTEM;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(door->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    door->epoll_fd = info->epoll_fd;
    http->door_count++;
    return 0;
}

static int start_thread(struct http *http)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    if (pthread_attr_init(&attributes) != 0) {
        return ERR_SYSTEM;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES); /* else the default */
    sandbox_denied_fill(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop's */
    int err = pthread_create(&http->thread, &attributes, thread_main, http);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return err == 0 ? 0 : ERR_SYSTEM;
}

static void free_http(struct http *http)
{
    if (http->reader.handover != NULL) {
        handover_reader_close(&http->reader);
    }
    if (http->stop_fd >= 0) {
        (void)close(http->stop_fd);
    }
    http_settings_free(http->settings);
    mem_free(http);
}

static int open_http(struct http *http, struct handover *handover, struct route_context *context)
{
    http->context = context;
    log_limit_init(&http->foreign, LOG_LEVEL_WARNING, "requests for foreign hosts", COMPLAINTS,
                   60 * NS_PER_SECOND);
    http->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return http->stop_fd < 0 ? ERR_SYSTEM : handover_reader_start(handover, &http->reader);
}

int http_start(const struct http_options *options, struct handover *handover,
               struct route_context *context, struct http **ret_http)
{
    struct http *http = mem_zalloc(1, sizeof *http);
    int err = http == NULL ? ERR_NOMEM : open_http(http, handover, context);
    if (http == NULL) {
        http_settings_free(options->settings);
    } else {
        use_settings(http, options->settings);
    }
    for (size_t i = 0; i < options->door_count; i++) {
        if (err == 0) {
            err = open_door(http, &options->doors[i]);
        } else {
            (void)close(options->doors[i].fd);
        }
    }
    if (err == 0) {
        err = start_thread(http);
    }
    if (err == 0) {
        *ret_http = http;
        return 0;
    }
    for (size_t i = 0; http != NULL && i < http->door_count; i++) {
        MHD_stop_daemon(http->doors[i].daemon);
    }
    if (http != NULL) {
        free_http(http);
    }
    return err;
}

void http_change(struct http *http, struct http_settings *settings)
{
    handover_post(&http->reader, &settings->job);
}

void http_close(struct http *http)
{
    uint64_t one = 1;
    ssize_t wrote = write(http->stop_fd, &one, sizeof one);
    (void)wrote; /* an eventfd takes the first number */
    (void)pthread_join(http->thread, NULL);
    /* What the loop had not answered is nobody's any more: the connections are gone. */
    struct job *next;
    for (struct job *job = handover_cancel(&http->reader); job != NULL; job = next) {
        next = job->next;
        if (job->kind == JOB_SETTINGS) {
            http_settings_free((struct http_settings *)job);
        } else {
            take_back(http, (struct request *)job);
        }
    }
    free_http(http);
}

int http_listen(const char *host, uint16_t port, bool is_ipv6)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int on = 1;
    int family = is_ipv6 ? AF_INET6 : AF_INET;
    if (inet_pton(family, host, is_ipv6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) != 1) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    const struct sockaddr *address = is_ipv6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    socklen_t len = is_ipv6 ? sizeof v6 : sizeof v4;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (is_ipv6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, address, len) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        int reason = errno;
        (void)close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

char *http_address(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {.any = {0}};
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN];
    struct buf text;
    buf_init(&text, ADDRESS_TEXT_MAX);
    if (getsockname(fd, &address.any, &len) != 0) {
        return NULL;
    }
    if (address.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof host); /* fits */
        buf_printf(&text, "[%s]:%u", host, (unsigned)ntohs(address.v6.sin6_port));
    } else {
        (void)inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof host);
        buf_printf(&text, "%s:%u", host, (unsigned)ntohs(address.v4.sin_port));
    }
    return buf_steal(&text);
}
