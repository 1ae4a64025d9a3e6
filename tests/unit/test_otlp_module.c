/*
 * The module of gRPC against a server of gRPC: what goes out, what comes back, and every way in which
 * a call can end.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <otlp.pb-c.h>

#include "base/err.h"
#include "io/export/exporter.h"
#include "io/system.h"
#include "io/export/transport_load.h"
#include "otlp_server.h"

enum { TEXT_MAX = 1024, PATIENCE_S = 60 };

static const struct transport *transport;

/* What the server is to say, and what it heard. */
static struct world {
    struct otlp_server *server;
    struct transport_channel *channel;
    struct otlp_server_answer answer;
    unsigned calls;
    atomic_bool has_call;
    char method[TEXT_MAX];
    char body[TEXT_MAX];
    size_t body_len;
    char header[TEXT_MAX];
    char user_agent[TEXT_MAX];
    bool is_packed;
} world;

static void copy(char out[TEXT_MAX], struct str text)
{
    size_t len = text.len < TEXT_MAX - 1 ? text.len : TEXT_MAX - 1;
    if (len > 0) {
        memcpy(out, text.ptr, len);
    }
    out[len] = '\0';
}

static void on_request(void *ctx, const struct otlp_server_request *request,
                       struct otlp_server_answer *answer)
{
    (void)ctx;
    world.calls++;
    copy(world.method, request->method);
    copy(world.body, request->body);
    world.body_len = request->body.len;
    copy(world.header, otlp_server_header(request, "authorization"));
    copy(world.user_agent, otlp_server_header(request, "user-agent"));
    world.is_packed = request->packed;
    *answer = world.answer;
    atomic_store(&world.has_call, true);
}

static uint64_t in_seconds(uint64_t seconds)
{
    return system_clock().mono_ns(NULL) + seconds * NS_PER_SECOND;
}

static void must_open(const struct transport_target *how)
{
    struct transport_target target = *how;
    char address[64];
    world = (struct world){.calls = 0};
    world.server = otlp_server_start("127.0.0.1:0", NULL, on_request, NULL);
    assert_non_null(world.server);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", otlp_server_port(world.server));
    target.address = address;
    target.user_agent = "dwelld/test";
    assert_int_equal(transport->open(&target, &world.channel), 0);
}

static void open_plain(void)
{
    must_open(&(struct transport_target){.tls = false});
}

static void close_all(void)
{
    transport->close(world.channel);
    otlp_server_stop(world.server);
}

static struct transport_reply call(struct str request)
{
    struct transport_reply reply;
    transport->call(world.channel, "/a.Service/Export", request, in_seconds(PATIENCE_S), &reply);
    return reply;
}

static void test_otlp_module_sends_what_it_is_given(void **state)
{
    (void)state;
    struct transport_header header = {"Authorization", "Bearer x"};
    must_open(&(struct transport_target){.headers = &header, .header_count = 1});
    struct transport_reply reply = call(STR_LITERAL("hello"));
    assert_int_equal(reply.status, TRANSPORT_OK);
    assert_false(reply.is_garbled);
    assert_int_equal(reply.rejected, 0);
    assert_string_equal(reply.message, "");
    assert_int_equal(world.calls, 1);
    assert_string_equal(world.method, "/a.Service/Export");
    assert_string_equal(world.body, "hello");
    assert_string_equal(world.header, "Bearer x");
    assert_int_equal(strncmp(world.user_agent, "dwelld/test ", 12), 0);
    close_all();
}

/* --- answers ----------------------------------------------------------------------------------- */

static void test_otlp_module_tells_every_status(void **state)
{
    (void)state;
    open_plain();
    for (int status = 1; status < TRANSPORT_STATUS_COUNT; status++) {
        world.answer = (struct otlp_server_answer){.status = status, .message = "because"};
        struct transport_reply reply = call(STR_LITERAL("x"));
        assert_int_equal(reply.status, status);
        assert_string_equal(reply.message, "because");
        assert_false(reply.has_retry_delay);
    }
    close_all();
}

static void test_otlp_module_takes_a_status_that_there_is_not(void **state)
{
    (void)state;
    open_plain();
    world.answer = (struct otlp_server_answer){.status = 4711};
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_UNKNOWN);
    close_all();
}

static void test_otlp_module_cuts_a_long_message_between_characters(void **state)
{
    (void)state;
    enum { LEN = TRANSPORT_TEXT_MAX + 100 };
    static char message[LEN + 1];
    open_plain();
    /* One byte, then characters of two: the cut would fall into one. */
    for (size_t i = 0; i < LEN; i++) {
        message[i] = i == 0 ? 'a' : (char)(i % 2 == 1 ? 0xC3 : 0xA9);
    }
    world.answer = (struct otlp_server_answer){.status = TRANSPORT_INTERNAL, .message = message};
    struct transport_reply reply = call(STR_LITERAL("x"));
    assert_int_equal(strlen(reply.message), TRANSPORT_TEXT_MAX - 1);
    assert_true(str_is_utf8(str_of(reply.message)));
    /* Here it would fall between two. */
    memmove(message, message + 1, LEN);
    reply = call(STR_LITERAL("x"));
    assert_int_equal(strlen(reply.message), TRANSPORT_TEXT_MAX - 2);
    assert_true(str_is_utf8(str_of(reply.message)));
    close_all();
}

/* A google.rpc.Status with one detail of this type. */
static struct str details_of(const char *type, int64_t seconds, int32_t nanos)
{
    static uint8_t bytes[TEXT_MAX];
    uint8_t value[TEXT_MAX];
    Otlp__Duration delay = OTLP__DURATION__INIT;
    Otlp__RetryInfo info = OTLP__RETRY_INFO__INIT;
    Otlp__Any detail = OTLP__ANY__INIT;
    Otlp__Any *details[] = {&detail};
    Otlp__RpcStatus status = OTLP__RPC_STATUS__INIT;
    delay.has_seconds = delay.has_nanos = 1;
    delay.seconds = seconds;
    delay.nanos = nanos;
    info.retry_delay = &delay;
    detail.type_url = (char *)(uintptr_t)type;
    detail.has_value = 1;
    detail.value.len = otlp__retry_info__pack(&info, value);
    detail.value.data = value;
    status.n_details = 1;
    status.details = details;
    return (struct str){(const char *)bytes, otlp__rpc_status__pack(&status, bytes)};
}

static void test_otlp_module_reads_when_to_come_back(void **state)
{
    (void)state;
    static const char type[] = "type.googleapis.com/google.rpc.RetryInfo";
    static const struct {
        const char *type;
        int64_t seconds;
        int32_t nanos;
        bool told;
        uint64_t ns;
    } rows[] = {
        {type, 0, 0, true, 0},
        {type, 0, 1, true, 1},
        {type, 2, 500000000, true, 2500000000},
        {type, 31536000, 0, true, 31536000 * NS_PER_SECOND},
        {type, 0, 999999999, true, 999999999},
        {type, 0, 1000000000, false, 0},
        {type, -1, 0, false, 0},
        {type, 0, -1, false, 0},
        {type, INT64_MAX, 0, true, (UINT64_MAX / NS_PER_SECOND - 1) * NS_PER_SECOND},
        {"google.rpc.RetryInfo", 1, 0, false, 0},
        {"/google.rpc.RetryInfo", 1, 0, true, NS_PER_SECOND},
        {"type.googleapis.com/google.rpc.Help", 1, 0, false, 0},
    };
    open_plain();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        world.answer = (struct otlp_server_answer){
            .status = TRANSPORT_RESOURCE_EXHAUSTED,
            .details = details_of(rows[i].type, rows[i].seconds, rows[i].nanos)};
        struct transport_reply reply = call(STR_LITERAL("x"));
        assert_int_equal(reply.status, TRANSPORT_RESOURCE_EXHAUSTED);
        assert_int_equal(reply.has_retry_delay, rows[i].told);
        assert_int_equal(reply.retry_delay_ns, rows[i].ns);
    }
    world.answer.details = STR_LITERAL("\xff\xff garbage");
    assert_false(call(STR_LITERAL("x")).has_retry_delay);
    close_all();
}

static void test_otlp_module_reads_a_partial_success(void **state)
{
    (void)state;
    open_plain();
    world.answer.body = STR_LITERAL("\x0a\x08\x08\x05\x12\x04oops");
    struct transport_reply reply = call(STR_LITERAL("x"));
    assert_int_equal(reply.status, TRANSPORT_OK);
    assert_int_equal(reply.rejected, 5);
    assert_string_equal(reply.message, "oops");
    assert_false(reply.is_garbled);
    /* Fewer than none is none. */
    world.answer.body = STR_LITERAL("\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    reply = call(STR_LITERAL("x"));
    assert_int_equal(reply.rejected, 0);
    assert_false(reply.is_garbled);
    close_all();
}

static void test_otlp_module_survives_garbage(void **state)
{
    (void)state;
    static const struct str bodies[] = {{"\x0a", 1},
                                        {"\x0a\x7f", 2},
                                        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11},
                                        {"garbage", 7}};
    open_plain();
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        world.answer.body = bodies[i];
        struct transport_reply reply = call(STR_LITERAL("x"));
        assert_int_equal(reply.status, TRANSPORT_OK);
        assert_true(reply.is_garbled);
        assert_int_equal(reply.rejected, 0);
    }
    close_all();
}

/* --- ends of a call ---------------------------------------------------------------------------- */

static void test_otlp_module_gives_up_at_the_deadline(void **state)
{
    (void)state;
    struct transport_reply reply;
    open_plain();
    world.answer.never = true;
    uint64_t deadline = system_clock().mono_ns(NULL) + 200 * NS_PER_MS;
    transport->call(world.channel, "/a/b", STR_LITERAL("x"), deadline, &reply);
    assert_int_equal(reply.status, TRANSPORT_DEADLINE_EXCEEDED);
    assert_true(system_clock().mono_ns(NULL) >= deadline);
    transport->call(world.channel, "/a/b", STR_LITERAL("x"), 0, &reply); /* long past */
    assert_int_equal(reply.status, TRANSPORT_DEADLINE_EXCEEDED);
    world.answer.never = false;
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_OK);
    close_all();
}

static void *cancel_soon(void *ctx)
{
    (void)ctx;
    /* Once the server has the call, it can only end by the cancel. */
    while (!atomic_load(&world.has_call)) {
        (void)sched_yield();
    }
    transport->cancel(world.channel);
    return NULL;
}

static void test_otlp_module_is_cancelled_from_another_thread(void **state)
{
    (void)state;
    pthread_t thread;
    open_plain();
    world.answer.never = true;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_CANCELLED);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_CANCELLED); /* and for ever */
    close_all();
}

static void test_otlp_module_finds_nobody(void **state)
{
    (void)state;
    open_plain();
    otlp_server_stop(world.server);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_UNAVAILABLE);
    transport->close(world.channel);
}

/* gRPC would fail a call at once while it waits to connect again, and would not even connect while
 * nobody calls. On a busy machine it may be one of the next that finds the server; at once none would. */
static void test_otlp_module_finds_who_comes_back(void **state)
{
    (void)state;
    char address[64];
    open_plain();
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", otlp_server_port(world.server));
    otlp_server_stop(world.server);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_UNAVAILABLE);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_UNAVAILABLE);
    world.server = otlp_server_start(address, NULL, on_request, NULL);
    assert_non_null(world.server);
    enum transport_status status = TRANSPORT_UNAVAILABLE;
    for (unsigned i = 0; i < 10 && status == TRANSPORT_UNAVAILABLE; i++) {
        status = call(STR_LITERAL("x")).status;
    }
    assert_int_equal(status, TRANSPORT_OK);
    close_all();
}

/* How long the quickest of some calls takes that have 50 ms: a busy machine holds up one or another. */
static uint64_t must_call_in_vain(unsigned calls)
{
    uint64_t least_ns = UINT64_MAX;
    for (unsigned i = 0; i < calls && least_ns >= NS_PER_SECOND; i++) {
        struct transport_reply reply;
        uint64_t began = system_clock().mono_ns(NULL);
        transport->call(world.channel, "/a/b", STR_LITERAL("x"), began + 50 * NS_PER_MS, &reply);
        assert_int_not_equal(reply.status, TRANSPORT_OK);
        uint64_t took_ns = system_clock().mono_ns(NULL) - began;
        least_ns = took_ns < least_ns ? took_ns : least_ns;
    }
    return least_ns;
}

static void test_otlp_module_waits_for_nobody_past_the_deadline(void **state)
{
    (void)state;
    open_plain();
    otlp_server_stop(world.server);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_UNAVAILABLE);
    assert_true(must_call_in_vain(10) < NS_PER_SECOND);
    transport->cancel(world.channel);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_CANCELLED);
    assert_true(must_call_in_vain(10) < NS_PER_SECOND);
    transport->close(world.channel);
}

/* Takes connections and resets each at once. */
static void *reset_all(void *ctx)
{
    int listener = *(int *)ctx;
    int fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        struct linger now = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        (void)close(fd);
    }
    return NULL;
}

static void test_otlp_module_survives_a_reset(void **state)
{
    (void)state;
    pthread_t thread;
    char address[64];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(listener, 8), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(in.sin_port));
    assert_int_equal(pthread_create(&thread, NULL, reset_all, &listener), 0);
    struct transport_target target = {.address = address, .user_agent = "dwelld/test"};
    assert_int_equal(transport->open(&target, &world.channel), 0);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_UNAVAILABLE);
    transport->close(world.channel);
    (void)shutdown(listener, SHUT_RDWR);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(close(listener), 0);
}

/* --- targets ----------------------------------------------------------------------------------- */

static void test_otlp_module_packs_requests(void **state)
{
    (void)state;
    enum { LEN = 100000 };
    char *long_text = malloc(LEN);
    assert_non_null(long_text);
    memset(long_text, 'z', LEN);
    must_open(&(struct transport_target){.gzip = true});
    assert_int_equal(call((struct str){long_text, LEN}).status, TRANSPORT_OK);
    assert_true(world.is_packed);
    assert_true(world.body_len < LEN / 100);
    assert_memory_equal(world.body, "\x1f\x8b", 2); /* RFC 1952 */
    close_all();
    open_plain();
    assert_int_equal(call((struct str){long_text, LEN}).status, TRANSPORT_OK);
    assert_false(world.is_packed);
    assert_int_equal(world.body_len, LEN);
    close_all();
    free(long_text);
}

static void test_otlp_module_sends_more_than_four_megabytes(void **state)
{
    (void)state;
    enum { LEN = 5 << 20 };
    char *long_text = calloc(1, LEN);
    assert_non_null(long_text);
    open_plain();
    assert_int_equal(call((struct str){long_text, LEN}).status, TRANSPORT_OK);
    assert_int_equal(world.body_len, LEN);
    close_all();
    free(long_text);
}

static void test_otlp_module_refuses_headers_that_are_none(void **state)
{
    (void)state;
    static const struct transport_header headers[] = {
        {"", "x"}, {"a b", "x"}, {"a\n", "x"}, {"a", "x\ny"}, {"a", "\xc3\xa9"}, {"a:b", "x"}};
    struct transport_channel *channel;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        struct transport_target target = {
            .address = "x:1", .user_agent = "t", .headers = &headers[i], .header_count = 1};
        assert_int_equal(transport->open(&target, &channel), ERR_RANGE);
    }
    struct transport_header many[TRANSPORT_HEADERS_MAX + 1];
    for (size_t i = 0; i < TRANSPORT_HEADERS_MAX + 1; i++) {
        many[i] = (struct transport_header){"a", "b"};
    }
    struct transport_target target = {.address = "x:1",
                                      .user_agent = "t",
                                      .headers = many,
                                      .header_count = TRANSPORT_HEADERS_MAX + 1};
    assert_int_equal(transport->open(&target, &channel), ERR_RANGE);
    target.header_count = TRANSPORT_HEADERS_MAX;
    assert_int_equal(transport->open(&target, &channel), 0);
    transport->close(channel);
    transport->close(NULL);
}

static void test_otlp_module_goes_through_a_unix_socket(void **state)
{
    (void)state;
    char directory[] = "/tmp/dwell-test-XXXXXX";
    char address[sizeof directory + 32];
    assert_non_null(mkdtemp(directory));
    (void)snprintf(address, sizeof address, "unix:%s/otlp.sock", directory);
    world = (struct world){.calls = 0};
    world.server = otlp_server_start(address, NULL, on_request, NULL);
    assert_non_null(world.server);
    struct transport_target target = {.address = address, .user_agent = "dwelld/test"};
    assert_int_equal(transport->open(&target, &world.channel), 0);
    assert_int_equal(call(STR_LITERAL("x")).status, TRANSPORT_OK);
    close_all();
    (void)unlink(address + 5);
    assert_int_equal(rmdir(directory), 0);
}

/* --- TLS --------------------------------------------------------------------------------------- */

enum { PEM_MAX = 8192 };

/* Two authorities, a server of the first, a client of the first. */
static struct {
    char ca[PEM_MAX], other_ca[PEM_MAX], server[PEM_MAX], server_key[PEM_MAX], client[PEM_MAX],
        client_key[PEM_MAX];
} pem;

static const char make_certificates[] =
    "set -e; cd \"$0\"\n"
    "key() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; }\n"
    "for ca in ca other; do key $ca; openssl req -x509 -key $ca.key -subj /CN=$ca -days 2 -out "
    "$ca.pem;"
    " done\n"
    "for name in server client; do key $name\n"
    "openssl req -new -key $name.key -subj /CN=$name -out $name.csr\n"
    "echo subjectAltName=IP:127.0.0.1 > ext\n"
    "openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -set_serial 2 -days 2 -extfile ext"
    " -out $name.pem; done";

static void read_pem(const char *directory, const char *name, char out[PEM_MAX])
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t len = fread(out, 1, PEM_MAX - 1, file);
    assert_true(len > 0);
    out[len] = '\0';
    assert_int_equal(fclose(file), 0);
    assert_int_equal(unlink(path), 0);
}

static void make_pem(void)
{
    static const char *const rest[] = {"ca.key", "other.key", "server.csr", "client.csr", "ext"};
    char directory[] = "/tmp/dwell-test-XXXXXX";
    char path[128];
    assert_non_null(mkdtemp(directory));
    /* Before anything of gRPC: it must not see a fork. */
    pid_t child = fork();
    if (child == 0) {
        (void)freopen("/dev/null", "we", stderr);
        (void)execlp("sh", "sh", "-c", make_certificates, directory, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    read_pem(directory, "ca.pem", pem.ca);
    read_pem(directory, "other.pem", pem.other_ca);
    read_pem(directory, "server.pem", pem.server);
    read_pem(directory, "server.key", pem.server_key);
    read_pem(directory, "client.pem", pem.client);
    read_pem(directory, "client.key", pem.client_key);
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, rest[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(directory), 0);
}

static char last_message[TEXT_MAX]; /* of the call by TLS */

static enum transport_status call_by_tls(bool server_wants_client, const char *authorities,
                                         const char *client, const char *key)
{
    struct otlp_server_tls tls = {.authorities = server_wants_client ? pem.ca : NULL,
                                  .certificate = pem.server,
                                  .key = pem.server_key};
    char address[64];
    world = (struct world){.calls = 0};
    world.server = otlp_server_start("127.0.0.1:0", &tls, on_request, NULL);
    assert_non_null(world.server);
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", otlp_server_port(world.server));
    struct transport_target target = {.address = address,
                                      .tls = true,
                                      .authorities = str_of(authorities),
                                      .client_certificate = str_of(client),
                                      .client_key = str_of(key),
                                      .user_agent = "dwelld/test"};
    assert_int_equal(transport->open(&target, &world.channel), 0);
    struct transport_reply reply = call(STR_LITERAL("x"));
    assert_int_equal(world.calls, reply.status == TRANSPORT_OK);
    copy(last_message, str_of(reply.message));
    close_all();
    return reply.status;
}

static void test_otlp_module_knows_its_receiver_by_a_certificate(void **state)
{
    (void)state;
    assert_int_equal(call_by_tls(false, pem.ca, "", ""), TRANSPORT_OK);
    assert_int_equal(call_by_tls(false, pem.other_ca, "", ""), TRANSPORT_UNAVAILABLE);
    assert_non_null(strstr(last_message, "certificate verify failed")); /* the log will say so */
    assert_int_equal(call_by_tls(false, "", "", ""), TRANSPORT_UNAVAILABLE); /* the system's */
}

static void test_otlp_module_shows_a_certificate(void **state)
{
    (void)state;
    assert_int_equal(call_by_tls(true, pem.ca, pem.client, pem.client_key), TRANSPORT_OK);
    assert_int_equal(call_by_tls(true, pem.ca, "", ""), TRANSPORT_UNAVAILABLE);
}

static void test_otlp_module_does_not_open_with_a_bad_certificate(void **state)
{
    (void)state;
    struct transport_channel *channel = NULL;
    struct transport_target target = {.address = "127.0.0.1:1",
                                      .tls = true,
                                      .authorities = STR_LITERAL("no certificate"),
                                      .user_agent = "dwelld/test"};
    /* Told at once, or by every call: it must not look like success. */
    int err = transport->open(&target, &channel);
    if (err == 0) {
        struct transport_reply reply;
        transport->call(channel, "/a/b", STR_LITERAL("x"), in_seconds(PATIENCE_S), &reply);
        assert_int_not_equal(reply.status, TRANSPORT_OK);
        transport->close(channel);
    }
}

/* --- the whole way ----------------------------------------------------------------------------- */

static void test_otlp_module_carries_spans_of_an_exporter(void **state)
{
    (void)state;
    struct exporter *exporter;
    struct export_view view;
    struct otlp_resource_options resource = {.service_name = STR_LITERAL("svc"),
                                             .dwelld_version = STR_LITERAL("1")};
    open_plain();
    char address[TEXT_MAX];
    (void)snprintf(address, sizeof address, "127.0.0.1:%d", otlp_server_port(world.server));
    struct transport_target target = {.address = address, .user_agent = "dwelld/test"};
    struct exporter_options options = {.transport = transport,
                                       .target = &target,
                                       .address = address,
                                       .resource = &resource,
                                       .clock = system_clock(),
                                       .max_queue_spans = 10,
                                       .max_queue_bytes = 1 << 20,
                                       .batch_spans = 512,
                                       .delay_ms = 3600000,
                                       .timeout_ms = PATIENCE_S * 1000,
                                       .max_request_bytes = 4 << 20};
    assert_int_equal(exporter_start(&options, &exporter), 0);
    exporter_add_span(exporter, (struct str){NULL, 0}, STR_LITERAL("*\4name")); /* 5: "name" */
    exporter_add_span(exporter, STR_LITERAL("other"), STR_LITERAL("*\4more"));
    exporter_stop(exporter, in_seconds(PATIENCE_S));
    exporter_finish(exporter);
    exporter_view(exporter, &view);
    assert_int_equal(view.exported, 2);
    assert_int_equal(view.accepted, 2);
    exporter_close(exporter);
    assert_int_equal(world.calls, 1);
    assert_string_equal(world.method,
                        "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    Otlp__ExportTraceServiceRequest *request = otlp__export_trace_service_request__unpack(
        NULL, world.body_len, (const uint8_t *)world.body);
    assert_non_null(request);
    assert_int_equal(request->n_resource_spans, 2);
    static const char *const names[] = {"name", "more"};
    static const char *const services[] = {"svc", "other"};
    for (size_t i = 0; i < 2; i++) {
        Otlp__ResourceSpans *group = request->resource_spans[i];
        assert_string_equal(group->resource->attributes[0]->key, "service.name");
        assert_string_equal(group->resource->attributes[0]->value->string_value, services[i]);
        assert_int_equal(group->n_scope_spans, 1);
        assert_string_equal(group->scope_spans[0]->scope->name, "dwell");
        assert_int_equal(group->scope_spans[0]->n_spans, 1);
        assert_string_equal(group->scope_spans[0]->spans[0]->name, names[i]);
    }
    otlp__export_trace_service_request__free_unpacked(request, NULL);
    close_all();
}

static int load(void **state)
{
    (void)state;
    struct buf problem;
    make_pem();
    buf_init(&problem, 1 << 16);
    char *directory = realpath(TEST_BUILD, NULL);
    assert_non_null(directory);
    transport = transport_load(directory, true, &problem);
    if (transport == NULL) {
        print_error("%.*s\n", (int)problem.len, problem.data);
    }
    free(directory);
    buf_fini(&problem);
    return transport == NULL ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_otlp_module_sends_what_it_is_given),
        cmocka_unit_test(test_otlp_module_tells_every_status),
        cmocka_unit_test(test_otlp_module_takes_a_status_that_there_is_not),
        cmocka_unit_test(test_otlp_module_cuts_a_long_message_between_characters),
        cmocka_unit_test(test_otlp_module_reads_when_to_come_back),
        cmocka_unit_test(test_otlp_module_reads_a_partial_success),
        cmocka_unit_test(test_otlp_module_survives_garbage),
        cmocka_unit_test(test_otlp_module_gives_up_at_the_deadline),
        cmocka_unit_test(test_otlp_module_is_cancelled_from_another_thread),
        cmocka_unit_test(test_otlp_module_finds_nobody),
        cmocka_unit_test(test_otlp_module_finds_who_comes_back),
        cmocka_unit_test(test_otlp_module_waits_for_nobody_past_the_deadline),
        cmocka_unit_test(test_otlp_module_survives_a_reset),
        cmocka_unit_test(test_otlp_module_packs_requests),
        cmocka_unit_test(test_otlp_module_sends_more_than_four_megabytes),
        cmocka_unit_test(test_otlp_module_refuses_headers_that_are_none),
        cmocka_unit_test(test_otlp_module_goes_through_a_unix_socket),
        cmocka_unit_test(test_otlp_module_knows_its_receiver_by_a_certificate),
        cmocka_unit_test(test_otlp_module_shows_a_certificate),
        cmocka_unit_test(test_otlp_module_does_not_open_with_a_bad_certificate),
        cmocka_unit_test(test_otlp_module_carries_spans_of_an_exporter),
    };
    return cmocka_run_group_tests(tests, load, NULL);
}
