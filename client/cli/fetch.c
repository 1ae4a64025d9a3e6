/*
 * Happy path
 *   1. fetch_start    the address is put together, the transfer is handed to libcurl's multi interface
 *   2. fetch_wait     libcurl connects, sends, and hands over the answer piece by piece
 *   3. take_piece     which is kept, up to FETCH_BYTES_MAX
 *   4. fetch_finish   the answer
 *
 * What can fail: there is no socket, nobody listens, it may not be opened, it is no HTTP, the time is over,
 * the answer is too large. Each ends in fetch_finish as a sentence that says what to do.
 */
#include "cli/fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <sysexits.h>

#include "base/err.h"
#include "base/mem.h"

enum { ADDRESS_MAX = 16 << 10 };

struct fetch {
    struct fetch_target target;
    CURL *easy;
    CURLM *multi;
    struct buf address;
    struct buf body;
    char error[CURL_ERROR_SIZE];
    CURLcode code;
    bool running;
};

static size_t take_piece(char *bytes, size_t size, size_t count, void *arg)
{
    struct fetch *fetch = arg;
    buf_append(&fetch->body, bytes, size * count);
    return fetch->body.err == 0 ? count : 0;
}

struct fetch *fetch_open(const struct fetch_target *target)
{
    struct fetch *fetch = mem_zalloc(1, sizeof *fetch);
    if (fetch == NULL) {
        return NULL;
    }
    fetch->target = *target;
    buf_init(&fetch->address, ADDRESS_MAX);
    buf_init(&fetch->body, FETCH_BYTES_MAX);
    bool good =
        curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK; /* counted; undone in fetch_close */
    fetch->easy = good ? curl_easy_init() : NULL;
    fetch->multi = good ? curl_multi_init() : NULL;
    if (fetch->easy == NULL || fetch->multi == NULL) {
        fetch_close(fetch);
        return NULL;
    }
    return fetch;
}

void fetch_close(struct fetch *fetch)
{
    if (fetch == NULL) {
        return;
    }
    if (fetch->running) {
        (void)curl_multi_remove_handle(fetch->multi, fetch->easy); /* it is there */
    }
    curl_easy_cleanup(fetch->easy);
    (void)curl_multi_cleanup(fetch->multi); /* it is empty */
    curl_global_cleanup();
    buf_fini(&fetch->address);
    buf_fini(&fetch->body);
    mem_free(fetch);
}

/* http://host:port and a path, whatever slashes the address ends with. */
static void put_address(struct fetch *fetch, const char *path)
{
    const char *base = fetch->target.socket[0] != '\0' ? "http://dwelld" : fetch->target.url;
    size_t len = strlen(base);
    while (len > 0 && base[len - 1] == '/') {
        len--;
    }
    buf_clear(&fetch->address);
    if (strstr(base, "://") == NULL) {
        buf_puts(&fetch->address, "http://");
    }
    buf_append(&fetch->address, base, len);
    buf_puts(&fetch->address, path);
    buf_char(&fetch->address, '\0');
}

static bool set_options(struct fetch *fetch, const char *method)
{
    CURL *easy = fetch->easy;
    CURLcode code = CURLE_OK;
    bool good = true;
#define SET(option, value)                                                                         \
    code = curl_easy_setopt(easy, option, value);                                                  \
    good = good && code == CURLE_OK
    curl_easy_reset(easy);
    SET(CURLOPT_URL, fetch->address.data);
    SET(CURLOPT_CUSTOMREQUEST, method);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_PATH_AS_IS, 1L); /* a model may be called ".." */
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_TIMEOUT_MS, (long)(fetch->target.timeout * 1e3));
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(fetch->target.timeout * 1e3));
    SET(CURLOPT_ERRORBUFFER, fetch->error);
    SET(CURLOPT_WRITEFUNCTION, take_piece);
    SET(CURLOPT_WRITEDATA, fetch);
    SET(CURLOPT_PRIVATE, fetch);
    if (fetch->target.socket[0] != '\0') {
        SET(CURLOPT_UNIX_SOCKET_PATH, fetch->target.socket);
        SET(CURLOPT_PROXY, "");
    }
#undef SET
    return good;
}

int fetch_start(struct fetch *fetch, const char *method, const char *path, struct buf *problem)
{
    put_address(fetch, path);
    buf_clear(&fetch->body);
    fetch->error[0] = '\0';
    fetch->code = CURLE_OK;
    if (fetch->address.err == ERR_LIMIT) {
        buf_puts(problem, "the address is too long");
        return EX_USAGE;
    }
    if (fetch->address.err != 0 || !set_options(fetch, method) ||
        curl_multi_add_handle(fetch->multi, fetch->easy) != CURLM_OK) {
        buf_puts(problem, "no memory for a request");
        return EX_OSERR;
    }
    fetch->running = true;
    return 0;
}

static void take_outcome(struct fetch *fetch)
{
    int left;
    for (CURLMsg *message = curl_multi_info_read(fetch->multi, &left); message != NULL;
         message = curl_multi_info_read(fetch->multi, &left)) {
        if (message->msg == CURLMSG_DONE) {
            fetch->code = message->data.result;
        }
    }
    (void)curl_multi_remove_handle(fetch->multi, fetch->easy); /* it is there */
    fetch->running = false;
}

bool fetch_wait(struct fetch *fetch, int fd, int wait_ms)
{
    int running = 0;
    struct curl_waitfd waited = {.fd = fd, .events = CURL_WAIT_POLLIN};
    CURLMcode code = curl_multi_perform(fetch->multi, &running);
    if (code == CURLM_OK && running > 0) {
        code = curl_multi_poll(fetch->multi, &waited, fd >= 0 ? 1 : 0, wait_ms, NULL);
    }
    if (code == CURLM_OK && running > 0) {
        code = curl_multi_perform(fetch->multi, &running);
    }
    if (code != CURLM_OK) {
        fetch->code = CURLE_OUT_OF_MEMORY; /* what else a handle of ours can meet */
        running = 0;
    }
    if (running == 0 && fetch->running) {
        take_outcome(fetch);
    }
    return !fetch->running;
}

/* --- what went wrong --------------------------------------------------------------------------- */

static int explain_connect(const struct fetch *fetch, struct buf *problem)
{
    const char *socket = fetch->target.socket;
    long number = 0;
    (void)curl_easy_getinfo(fetch->easy, CURLINFO_OS_ERRNO, &number); /* stays 0 */
    if (socket[0] == '\0') {
        buf_printf(problem, "no daemon answers at %s: %s. Its address is http.listen",
                   fetch->target.url, fetch->error);
        return EX_UNAVAILABLE;
    }
    buf_printf(problem, "%s: ", socket);
    switch (number) {
    case EACCES:
        buf_puts(problem, "you may not open it. The daemon's user may, and the members of "
                          "ingest.group all but admin.sock");
        return EX_NOPERM;
    case ECONNREFUSED:
        buf_puts(problem, "nobody listens: the daemon has ended. Start dwelld");
        return EX_UNAVAILABLE;
    case ENOENT:
        buf_puts(problem, "there is no daemon. Start dwelld, or say where it is: --dir DIR or "
                          "$DWELL_DIR");
        return EX_UNAVAILABLE;
    default:
        buf_puts(problem, number != 0 ? strerror((int)number) : fetch->error);
        return EX_UNAVAILABLE;
    }
}

static int explain(const struct fetch *fetch, struct buf *problem)
{
    const char *where = fetch->target.socket[0] != '\0' ? fetch->target.socket : fetch->target.url;
    if (fetch->body.err == ERR_LIMIT) {
        buf_printf(problem, "%s: the answer is longer than %d MB", where, FETCH_BYTES_MAX >> 20);
        return EX_PROTOCOL;
    }
    switch (fetch->code) {
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
        return explain_connect(fetch, problem);
    case CURLE_OPERATION_TIMEDOUT:
        buf_printf(problem, "%s: no answer in %g s. --timeout SECONDS waits longer", where,
                   fetch->target.timeout);
        return EX_UNAVAILABLE;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        buf_printf(problem, "%s is no address such as http://host:9847", where);
        return EX_USAGE;
    case CURLE_OUT_OF_MEMORY:
    case CURLE_WRITE_ERROR:
        buf_puts(problem, "no memory for the answer");
        return EX_OSERR;
    case CURLE_GOT_NOTHING:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
        buf_printf(problem,
                   "%s: the daemon hung up. Is it ending, or has it more than "
                   "http.max_connections?",
                   where);
        return EX_UNAVAILABLE;
    default:
        buf_printf(problem, "%s: %s", where,
                   fetch->error[0] != '\0' ? fetch->error : curl_easy_strerror(fetch->code));
        return EX_PROTOCOL;
    }
}

int fetch_finish(struct fetch *fetch, long *ret_status, struct str *ret_body, struct buf *problem)
{
    if (fetch->code != CURLE_OK || fetch->body.err != 0) {
        return explain(fetch, problem);
    }
    if (curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, ret_status) != CURLE_OK) {
        *ret_status = 0;
    }
    *ret_body = (struct str){fetch->body.data, fetch->body.len};
    return 0;
}

void fetch_encode(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool safe = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    (c != '\0' && strchr("-._~", c) != NULL);
        if (safe) {
            buf_char(out, c);
        } else {
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)c);
        }
    }
}
