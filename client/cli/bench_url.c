#include "cli/bench_url.h"

#include <curl/curl.h>
#include <poll.h>

#include "base/mem.h"
#include "cli/text.h"

struct asker {
    CURL *easy;
    CURLM *multi;
    struct curl_slist *headers;
    const struct url_request *request;
    int stop_fd;
    uint64_t bytes; /* of the answer so far */
    bool has_reached;
    char error[CURL_ERROR_SIZE];
};

static size_t count_piece(char *bytes, size_t size, size_t count, void *arg)
{
    struct asker *asker = arg;
    (void)bytes;
    asker->bytes += size * count;
    return asker->bytes <= RESPONSE_BYTES_MAX ? size * count : 0;
}

static bool set_options(struct asker *asker)
{
    CURL *easy = asker->easy;
    const struct url_request *request = asker->request;
    bool good = true;
#define SET(option, value) good = curl_easy_setopt(easy, option, value) == CURLE_OK && good
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_ERRORBUFFER, asker->error);
    SET(CURLOPT_WRITEFUNCTION, count_piece);
    SET(CURLOPT_WRITEDATA, asker);
    SET(CURLOPT_HTTPHEADER, asker->headers);
    SET(CURLOPT_USERAGENT, "dwell-bench/" DWELL_VERSION);
#undef SET
    return good;
}

static bool add_header(struct asker *asker, const char *header)
{
    struct curl_slist *longer = curl_slist_append(asker->headers, header);
    asker->headers = longer != NULL ? longer : asker->headers;
    return longer != NULL;
}

static bool add_headers(struct asker *asker)
{
    const char *type = asker->request->content_type;
    struct buf line;
    buf_init(&line, WORKER_PROBLEM_MAX);
    buf_printf(&line, "Content-Type: %s", type != NULL ? type : "application/json");
    buf_char(&line, '\0');
    /* Without the second, libcurl waits for a "100 Continue" before long bodies. */
    bool good = line.err == 0 && add_header(asker, line.data) && add_header(asker, "Expect:");
    buf_fini(&line);
    return good;
}

struct asker *asker_open(const struct url_request *request, int stop_fd)
{
    struct asker *asker = mem_zalloc(1, sizeof *asker);
    if (asker == NULL) {
        return NULL;
    }
    asker->request = request;
    asker->stop_fd = stop_fd;
    bool good =
        curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK; /* counted; undone in asker_close */
    asker->easy = good ? curl_easy_init() : NULL;
    asker->multi = good ? curl_multi_init() : NULL;
    good = asker->easy != NULL && asker->multi != NULL;
    good = good && (!request->has_body || add_headers(asker));
    if (!good || !set_options(asker)) {
        asker_close(asker);
        return NULL;
    }
    return asker;
}

void asker_close(struct asker *asker)
{
    if (asker == NULL) {
        return;
    }
    curl_easy_cleanup(asker->easy);
    (void)curl_multi_cleanup(asker->multi); /* it is empty */
    curl_slist_free_all(asker->headers);
    curl_global_cleanup();
    mem_free(asker);
}

static bool is_stopped(const struct asker *asker)
{
    struct pollfd fd = {.fd = asker->stop_fd, .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

/* Until it is done, or the run is ended. */
static CURLcode transfer(struct asker *asker, bool *ret_stopped)
{
    int running = 1;
    int left;
    CURLMcode code = curl_multi_add_handle(asker->multi, asker->easy);
    *ret_stopped = false;
    while (code == CURLM_OK && running > 0 && !*ret_stopped) {
        struct curl_waitfd stop = {.fd = asker->stop_fd, .events = CURL_WAIT_POLLIN};
        code = curl_multi_perform(asker->multi, &running);
        if (code == CURLM_OK && running > 0) {
            code = curl_multi_poll(asker->multi, &stop, 1, 1000, NULL);
            *ret_stopped = is_stopped(asker);
        }
    }
    CURLMsg *message = curl_multi_info_read(asker->multi, &left);
    CURLcode result =
        message != NULL && message->msg == CURLMSG_DONE ? message->data.result : CURLE_FAILED_INIT;
    (void)curl_multi_remove_handle(asker->multi, asker->easy); /* it is there */
    return result;
}

static void explain(struct asker *asker, CURLcode code, long status, uint64_t timeout_ns,
                    struct buf *problem)
{
    text_safe(problem, str_of(asker->request->url), true);
    if (code == CURLE_OPERATION_TIMEDOUT) {
        buf_printf(problem, ": no answer in %g s", (double)timeout_ns / 1e9);
    } else if (asker->bytes > RESPONSE_BYTES_MAX) {
        buf_printf(problem, ": the answer is longer than %d MB", RESPONSE_BYTES_MAX >> 20);
    } else if (code != CURLE_OK) {
        buf_puts(problem, ": ");
        text_safe(problem,
                  str_of(asker->error[0] != '\0' ? asker->error : curl_easy_strerror(code)), true);
    } else {
        buf_printf(problem, ": the answer has status %ld", status);
    }
}

bool asker_has_reached(const struct asker *asker)
{
    return asker->has_reached;
}

enum ask asker_ask(struct asker *asker, struct str body, uint64_t timeout_ns, struct buf *problem)
{
    bool stopped = false;
    long status = 0;
    long timeout_ms = (long)((timeout_ns + 999999) / 1000000);
    asker->bytes = 0;
    asker->error[0] = '\0';
    CURLcode code = curl_easy_setopt(asker->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    if (code == CURLE_OK && asker->request->has_body) {
        code = curl_easy_setopt(asker->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.len);
        code =
            code == CURLE_OK ? curl_easy_setopt(asker->easy, CURLOPT_POSTFIELDS, body.ptr) : code;
    }
    code = code == CURLE_OK ? transfer(asker, &stopped) : code;
    asker->has_reached = code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST &&
                         code != CURLE_COULDNT_RESOLVE_PROXY;
    if (stopped) {
        return ASK_STOPPED;
    }
    if (code == CURLE_OK) {
        (void)curl_easy_getinfo(asker->easy, CURLINFO_RESPONSE_CODE, &status); /* stays 0 */
    }
    if (status >= 200 && status < 300) {
        return ASK_ANSWERED;
    }
    if (problem->len == 0) {
        explain(asker, code, status, timeout_ns, problem);
    }
    return ASK_FAILED;
}
