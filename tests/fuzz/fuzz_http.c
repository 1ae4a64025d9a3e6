/*
 * Requests of any bytes, through the daemon's own server: io/http on a socket, a loop that freezes, every
 * route. Each answer is one that HTTP permits: a known status, as many bytes as it says, JSON that is JSON;
 * after the last one the connection ends.
 *
 *     door 1 | requests     the door's lowest bit: through admin.sock
 *
 * Beside it the target alone: what io/url takes is text, and taken again in the same way.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <jansson.h>
#include <libdeflate.h>

#include "base/err.h"
#include "bench_core.h"
#include "fuzz.h"
#include "io/http.h"
#include "io/system.h"
#include "wire/ndjson.h"
#include "wire_recorder.h"

enum {
    ANSWER_MAX = 64 << 20,
    WAIT_MS = 60000,
    READ_BYTES = 65536,
    TIMEOUT_MS = 5000,
    CONNECTIONS = 8,
    RECORDS = 5
};

static const char records[] =
    "{\"model_name\":\"m\",\"execution_time_ms\":12.5,\"cpu_percent_during\":80,\"device\":\"cpu\"}"
    "\n"
    "{\"model_name\":\"a b/c?%\\\"\\u00fc\",\"execution_time_ms\":0.5,\"error\":\"x\",\"trace_id\":"
    "\"0af7651916cd43dd8448eb211c80319c\",\"queue_ms\":1,\"batch_size\":4}\n"
    "{\"type\":\"counter\",\"name\":\"jobs\",\"value\":3,\"attributes\":{\"q\":\"mail\\n\\\"\"}}\n"
    "{\"type\":\"histogram\",\"name\":\"job.time\",\"value\":12.5,\"unit\":\"ms\"}\n"
    "{\"type\":\"budget\",\"layer\":\"layer1_validation\",\"elapsed_ms\":4}\n";

static struct server {
    bool is_running;
    uv_loop_t loop;
    struct handover handover;
    struct thresholds thresholds;
    struct self self;
    struct route_context context;
    struct sockaddr_un addresses[2]; /* of the door for all, and the admin's */
    socklen_t lengths[2];
    struct http *http;
} server;

const char *__asan_default_options(void);

/* Histograms know their chunks by pointers to before them, which the search for leaks does not follow. What
 * grows shows by the ceiling of resident memory. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

/* --- the server, once -------------------------------------------------------------------------- */

static void must_not_reject(void *ctx, const struct rejection *rejection)
{
    (void)ctx;
    fprintf(stderr, "%s: %.*s\n", err_sentence(rejection->err), (int)rejection->key.len,
            rejection->key.len == 0 ? "" : rejection->key.ptr);
    abort();
}

/* Before each input, as one before it may have reset the models. */
static void record_some(void)
{
    uint64_t before = intake.accepted;
    struct ndjson ndjson;
    struct peer peer;
    struct peer_events events = {.rejected = must_not_reject};
    peer_init(&peer, &intake, &events, 0);
    struct record_sink sink = peer_sink(&peer);
    peer_begin(&peer);
    ndjson_init(&ndjson, sizeof records);
    WIRE_REQUIRE(ndjson_feed(&ndjson, STR_LITERAL(records), &sink) == 0);
    ndjson_end(&ndjson, &sink);
    peer_end(&peer);
    ndjson_fini(&ndjson);
    peer_fini(&peer);
    WIRE_REQUIRE(intake.accepted == before + RECORDS);
}

/* A listening socket with a name of the kernel's choice, in no directory. */
static int listen_somewhere(unsigned door)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    server.lengths[door] = sizeof server.addresses[door];
    WIRE_REQUIRE(fd >= 0 && bind(fd, (struct sockaddr *)&name, sizeof(sa_family_t)) == 0);
    WIRE_REQUIRE(listen(fd, CONNECTIONS) == 0);
    WIRE_REQUIRE(
        getsockname(fd, (struct sockaddr *)&server.addresses[door], &server.lengths[door]) == 0);
    return fd;
}

static void start_server(void)
{
    static const struct directory no_directory;
    struct clock clock = system_clock();
    struct exposition_options exposition = {.name_space = STR_LITERAL("acgs2"),
                                            .constitutional_hash = STR_LITERAL("cdd01ef066bc6cf2"),
                                            .dwelld_version = STR_LITERAL("0")};
    struct str name = {NULL, 0};
    bench_core_init();
    metrics_set_time(&metrics, clock.mono_ns(NULL), clock.wall_ns(NULL));
    WIRE_REQUIRE(spans_declare(&spans, &name) == 0 && budgets_declare(&budgets, &name) == 0);
    server.is_running = true;
    server.thresholds = (struct thresholds){.latency_gpu_threshold_ms = 1,
                                            .cpu_compute_threshold_percent = 50,
                                            .cpu_io_threshold_percent = 20};
    WIRE_REQUIRE(uv_loop_init(&server.loop) == 0);
    WIRE_REQUIRE(
        handover_start(&server.handover, &server.loop, &intake, &server.thresholds, &clock) == 0);
    server.context = (struct route_context){.exposition = exposition_new(&exposition),
                                            .scratch = calloc(1, sizeof *server.context.scratch),
                                            .constitutional_hash = STR_LITERAL("cdd01ef066bc6cf2"),
                                            .status = {.version = "0", .http_address = "-"},
                                            .self = &server.self,
                                            .directory = &no_directory,
                                            .clock = clock};
    WIRE_REQUIRE(server.context.exposition != NULL && server.context.scratch != NULL);
    struct http_settings *settings = http_settings_new(NULL, 0, "FUZZ");
    WIRE_REQUIRE(settings != NULL);
    settings->max_connections = CONNECTIONS;
    settings->timeout_ms = TIMEOUT_MS;
    settings->request_timeout_ms = TIMEOUT_MS;
    struct http_options options = {
        .doors = {{.fd = listen_somewhere(0)}, {.fd = listen_somewhere(1), .is_admin = true}},
        .door_count = 2,
        .settings = settings};
    WIRE_REQUIRE(http_start(&options, &server.handover, &server.context, &server.http) == 0);
    (void)uv_run(&server.loop, UV_RUN_NOWAIT); /* so that its descriptor tells of what comes */
}

/* --- an exchange ------------------------------------------------------------------------------- */

/* The loop's part, for as long as it has something to do. */
static void run_loop(void)
{
    do {
        (void)uv_run(&server.loop, UV_RUN_NOWAIT);
    } while (uv_backend_timeout(&server.loop) == 0);
}

/* Takes what can be had. False: the connection is over. */
static bool receive(int fd, struct buf *answer)
{
    char *room = buf_reserve(answer, READ_BYTES);
    WIRE_REQUIRE(room != NULL);
    ssize_t got = recv(fd, room, READ_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        answer->len += (size_t)got;
    }
    return got > 0 || (got < 0 && errno == EAGAIN);
}

/* Sends what the server takes; nothing is left when it takes no more. */
static void send_some(int fd, struct str *left)
{
    ssize_t sent = send(fd, left->ptr, left->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) {
        return;
    }
    size_t taken = sent < 0 ? left->len : (size_t)sent;
    *left = (struct str){left->ptr + taken, left->len - taken};
}

/* Ends the input when the server has read all of it. The library overlooks an end that is there when it
 * reads what comes before, and then half a request waits for its timeout. */
static bool end_input(int fd)
{
    int unread = 0;
    if (ioctl(fd, SIOCOUTQ, &unread) == 0 && unread > 0) {
        return false;
    }
    (void)shutdown(fd, SHUT_WR); /* fails when the server has ended it */
    return true;
}

static void exchange(unsigned door, struct str requests, struct buf *answer)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    WIRE_REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&server.addresses[door],
                                    server.lengths[door]) == 0);
    bool is_open = true;
    bool has_ended = false;
    unsigned looks = 0;
    send_some(fd, &requests);
    while (is_open) {
        short events = requests.len > 0 ? POLLIN | POLLOUT : POLLIN;
        struct pollfd fds[] = {{.fd = fd, .events = events},
                               {.fd = uv_backend_fd(&server.loop), .events = POLLIN}};
        has_ended = has_ended || (requests.len == 0 && end_input(fd));
        bool waits_for_reader = requests.len == 0 && !has_ended && looks++ < WAIT_MS;
        int ready = poll(fds, 2, waits_for_reader ? 1 : WAIT_MS);
        if (ready < 0 && errno == EINTR) {
            continue; /* the fuzzer's alarm */
        }
        WIRE_REQUIRE(ready > 0 || waits_for_reader); /* else it hangs */
        if (fds[1].revents != 0) {
            run_loop();
        }
        if (requests.len > 0 && (fds[0].revents & POLLOUT) != 0) {
            send_some(fd, &requests);
        }
        if ((fds[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            is_open = receive(fd, answer);
        }
    }
    (void)close(fd); /* its end was seen */
    run_loop();
}

/* --- what came back ---------------------------------------------------------------------------- */

static bool is_known_status(long status)
{
    static const short known[] = {100, 200, 400, 404, 405, 406, 408, 411,
                                  413, 414, 417, 431, 501, 503, 505};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i] == status) {
            return true;
        }
    }
    return false;
}

/* The value of a header in a head that ends with an empty line, or NULL. */
static const char *header(const char *head, const char *name)
{
    const char *found = strstr(head, name);
    return found == NULL ? NULL : found + strlen(name);
}

static void must_be_json(const char *body, size_t len, bool packed)
{
    static char unpacked[1 << 20];
    if (packed) {
        struct libdeflate_decompressor *gzip = libdeflate_alloc_decompressor();
        WIRE_REQUIRE(libdeflate_gzip_decompress(gzip, body, len, unpacked, sizeof unpacked, &len) ==
                     LIBDEFLATE_SUCCESS);
        libdeflate_free_decompressor(gzip);
        body = unpacked;
    }
    json_t *value = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, NULL);
    WIRE_REQUIRE(value != NULL);
    json_decref(value);
}

/* One answer at the start of `text`, which ends with a zero byte; returns its length. `bodiless`: it may
 * be one to HEAD. */
static size_t must_be_answer(const char *text, size_t len, bool bodiless)
{
    static char head[16384];
    const char *end = strstr(text, "\r\n\r\n");
    WIRE_REQUIRE(strncmp(text, "HTTP/1.", 7) == 0 && end != NULL);
    size_t head_len = (size_t)(end - text) + 4;
    WIRE_REQUIRE(head_len < sizeof head);
    memcpy(head, text, head_len);
    head[head_len] = '\0';
    long status = strtol(head + 9, NULL, 10);
    WIRE_REQUIRE(is_known_status(status));
    if (status == 100) {
        return head_len;
    }
    const char *length = header(head, "\r\nContent-Length: ");
    WIRE_REQUIRE(length != NULL);
    size_t body_len = strtoull(length, NULL, 10);
    if (len >= 2 * head_len && memcmp(text, text + head_len, head_len) == 0) {
        return head_len; /* libmicrohttpd refuses a bad Content-Length behind an Expect with two heads */
    }
    if (bodiless && len - head_len < body_len) {
        return len;
    }
    if (bodiless && strncmp(text + head_len, "HTTP/1.", 7) == 0) {
        return head_len;
    }
    WIRE_REQUIRE(body_len <= len - head_len);
    if (header(head, "\r\nContent-Type: application/json\r\n") != NULL) {
        must_be_json(text + head_len, body_len, header(head, "\r\nContent-Encoding: gzip") != NULL);
    }
    return head_len + body_len;
}

static void must_be_answers(struct buf *answer, bool bodiless)
{
    buf_char(answer, '\0');
    WIRE_REQUIRE(answer->err == 0);
    size_t len = answer->len - 1;
    for (size_t at = 0; at < len;) {
        at += must_be_answer(answer->data + at, len - at, bodiless);
    }
}

static void must_read_target(struct str bytes)
{
    struct url url;
    struct url again;
    char *target = strndup(bytes.ptr, bytes.len);
    char *second = strndup(bytes.ptr, bytes.len);
    WIRE_REQUIRE(target != NULL && second != NULL);
    int err = url_parse(target, &url);
    WIRE_REQUIRE(err == 0 || err == ERR_SYNTAX);
    WIRE_REQUIRE(url_parse(second, &again) == err);
    if (err == 0) {
        WIRE_REQUIRE(str_equal(url.path, again.path) && str_is_utf8(url.path));
        WIRE_REQUIRE(url.parameter_count == again.parameter_count);
        WIRE_REQUIRE(url.parameter_count <= URL_PARAMETERS_MAX);
        for (size_t i = 0; i < url.parameter_count; i++) {
            WIRE_REQUIRE(str_is_utf8(url.parameters[i].name) &&
                         str_is_utf8(url.parameters[i].value));
            WIRE_REQUIRE(str_equal(url.parameters[i].value, again.parameters[i].value));
        }
    }
    free(target);
    free(second);
}

static bool holds(struct str text, const char *word)
{
    return memmem(text.ptr, text.len, word, strlen(word)) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct buf answer;
    if (len == 0) {
        return 0;
    }
    if (!server.is_running) {
        start_server();
    }
    struct str requests = {(const char *)bytes + 1, len - 1};
    record_some();
    must_read_target(requests);
    buf_init(&answer, ANSWER_MAX);
    exchange(bytes[0] & 1, requests, &answer);
    must_be_answers(&answer, holds(requests, "HEAD"));
    buf_fini(&answer);
    return 0;
}
