#include "conf/endpoint.h"

#include "base/err.h"
#include "base/num.h"

enum { PORT_MAX = 65535 };

static const char default_port[] = "4317"; /* of OTLP/gRPC (IANA: opentelemetry) */

static bool strip(struct str *text, const char *prefix)
{
    size_t len = strlen(prefix);
    if (text->len < len || memcmp(text->ptr, prefix, len) != 0) {
        return false;
    }
    text->ptr += len;
    text->len -= len;
    return true;
}

/* Bytes before the first of `stops`. */
static size_t span_before(struct str text, const char *stops)
{
    size_t len = 0;
    while (len < text.len && strchr(stops, text.ptr[len]) == NULL) {
        len++;
    }
    return len;
}

static bool is_host(struct str host)
{
    for (size_t i = 0; i < host.len; i++) {
        if ((unsigned char)host.ptr[i] <= ' ' || strchr("/@:[]?#\\%", host.ptr[i]) != NULL) {
            return false;
        }
    }
    return host.len > 0;
}

/* "[::1]" with its brackets: hexadecimal digits, colons, dots and a zone. */
static bool is_bracketed(struct str host)
{
    if (host.len < 4) {
        return false;
    }
    for (size_t i = 1; i + 1 < host.len; i++) {
        if ((unsigned char)host.ptr[i] <= ' ' || strchr("/@[]?#\\", host.ptr[i]) != NULL) {
            return false;
        }
    }
    return true;
}

/* Splits "host:port" or "[::1]:port". */
static int parse_authority(struct str text, struct conf_endpoint *endpoint)
{
    uint64_t port;
    bool bracketed = text.len > 0 && text.ptr[0] == '[';
    size_t len = bracketed ? span_before(text, "]") + 1 : span_before(text, ":");
    if (len > text.len) {
        return ERR_SYNTAX; /* the bracket does not end */
    }
    endpoint->host = (struct str){text.ptr, len};
    endpoint->port = (struct str){text.ptr + len, 0};
    if (!(bracketed ? is_bracketed(endpoint->host) : is_host(endpoint->host))) {
        return ERR_SYNTAX;
    }
    if (len == text.len) {
        return 0;
    }
    endpoint->port = (struct str){text.ptr + len + 1, text.len - len - 1};
    bool is_port = text.ptr[len] == ':' && num_read_u64(endpoint->port, &port) == 0 && port > 0 &&
                   port <= PORT_MAX;
    return is_port ? 0 : ERR_SYNTAX;
}

int conf_endpoint_parse(struct str text, struct conf_endpoint *ret_endpoint)
{
    struct conf_endpoint endpoint = {.scheme = CONF_SCHEME_NONE};
    struct str rest = text;
    if (strip(&rest, "unix:")) {
        endpoint.scheme = CONF_SCHEME_UNIX;
        endpoint.host = text;
        (void)strip(&rest, "//"); /* both spellings are taken */
        if (rest.len == 0 || (rest.len == 1 && rest.ptr[0] == '/')) {
            return ERR_SYNTAX;
        }
        *ret_endpoint = endpoint;
        return 0;
    }
    endpoint.scheme = strip(&rest, "http://")    ? CONF_SCHEME_HTTP
                      : strip(&rest, "https://") ? CONF_SCHEME_HTTPS
                                                 : CONF_SCHEME_NONE;
    if (endpoint.scheme != CONF_SCHEME_NONE) {
        rest.len = span_before(rest, "/");
    }
    int err = parse_authority(rest, &endpoint);
    if (err == 0) {
        *ret_endpoint = endpoint;
    }
    return err;
}

void conf_endpoint_render(const struct conf_endpoint *endpoint, struct buf *out)
{
    buf_str(out, endpoint->host);
    if (endpoint->scheme != CONF_SCHEME_UNIX) {
        buf_char(out, ':');
        buf_str(out, endpoint->port.len > 0 ? endpoint->port : str_of(default_port));
    }
}
