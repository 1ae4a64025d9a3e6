#include "io/host.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/num.h"

/* 127.0.0.1:9847 or [::1]:9847
 * ^^^^^^^^^ host      ^^^ host, of numbers alone */
struct parts {
    struct str host;
    bool bracketed;
};

static bool is_port(struct str text)
{
    uint64_t port;
    return text.len == 0 || (num_read_u64(text, &port) == 0 && port <= UINT16_MAX);
}

/* Takes the brackets off, or the port; false when what is left over is neither. */
static bool split(struct str text, struct parts *ret)
{
    bool bracketed = text.len > 0 && text.ptr[0] == '[';
    const char *end = text.len == 0 ? NULL : memchr(text.ptr, bracketed ? ']' : ':', text.len);
    size_t len = end == NULL ? text.len : (size_t)(end - text.ptr);
    if (bracketed && end == NULL) {
        return false;
    }
    struct str rest = {text.ptr + len + bracketed, text.len - len - bracketed};
    *ret = (struct parts){{text.ptr + bracketed, len - bracketed}, bracketed};
    return rest.len == 0 ||
           (rest.ptr[0] == ':' && is_port((struct str){rest.ptr + 1, rest.len - 1}));
}

static bool is_address(struct str text, int family)
{
    char terminated[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (text.len >= sizeof terminated) {
        return false;
    }
    memcpy(terminated, text.ptr, text.len);
    terminated[text.len] = '\0';
    return strlen(terminated) == text.len && inet_pton(family, terminated, &address) == 1;
}

/* What a name in an address may hold (RFC 3986, reg-name): "@" and "/" are not among it. */
static bool is_name(struct str text)
{
    static const char marks[] = "-._~!$&'()*+,;=%";
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    (c != '\0' && strchr(marks, c) != NULL);
        if (!good) {
            return false;
        }
    }
    return text.len > 0;
}

/* "example." is the same as "example". */
static struct str without_dot(struct str name)
{
    name.len -= name.len > 0 && name.ptr[name.len - 1] == '.';
    return name;
}

static bool is_same_name(struct str name, const char *other)
{
    struct str wanted = without_dot(str_of(other));
    return name.len == wanted.len && strncasecmp(name.ptr, wanted.ptr, name.len) == 0;
}

enum host_verdict host_judge(struct str host, char *const *names, size_t name_count)
{
    struct parts parts;
    if (!split(host, &parts)) {
        return HOST_BAD;
    }
    if (parts.bracketed) {
        return is_address(parts.host, AF_INET6) ? HOST_OURS : HOST_BAD;
    }
    struct str name = without_dot(parts.host);
    if (!is_name(name)) {
        return HOST_BAD;
    }
    bool ours = is_address(name, AF_INET) || is_same_name(name, "localhost");
    for (size_t i = 0; !ours && i < name_count; i++) {
        ours = is_same_name(name, names[i]);
    }
    return ours ? HOST_OURS : HOST_FOREIGN;
}

char *host_of_target(char *target, struct str *ret_host)
{
    static const char scheme[] = "http://";
    size_t begin = sizeof scheme - 1;
    *ret_host = (struct str){NULL, 0};
    if (strncasecmp(target, scheme, begin) != 0) {
        return target;
    }
    size_t len = strcspn(target + begin, "/?#");
    *ret_host = (struct str){target + begin, len};
    return target + begin + len;
}
