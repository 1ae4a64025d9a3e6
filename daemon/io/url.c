#include "io/url.h"

#include "base/err.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that "%xx" at `text` stands for, or ERR_SYNTAX. */
static int read_escape(const char *text, size_t len)
{
    int high = len < 3 ? -1 : hex_digit(text[1]);
    int low = len < 3 ? -1 : hex_digit(text[2]);
    int byte = high * 16 + low;
    return high < 0 || low < 0 || byte == 0 ? ERR_SYNTAX : byte;
}

/* Undoes the escapes of text[0..len) in place; in a query "+" is a space. */
static int unescape(char *text, size_t len, bool is_query, struct str *ret_text)
{
    size_t out = 0;
    for (size_t at = 0; at < len; at++) {
        char c = text[at];
        if (c == '%') {
            int byte = read_escape(text + at, len - at);
            if (byte < 0) {
                return byte;
            }
            c = (char)byte;
            at += 2;
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        text[out++] = c;
    }
    *ret_text = (struct str){text, out};
    return str_is_utf8(*ret_text) ? 0 : ERR_SYNTAX;
}

static int add_parameter(struct url *url, char *text, size_t len)
{
    char *equals = memchr(text, '=', len);
    size_t name_len = equals == NULL ? len : (size_t)(equals - text);
    char *value = equals == NULL ? text + len : equals + 1;
    if (url->parameter_count == URL_PARAMETERS_MAX) {
        return ERR_SYNTAX;
    }
    struct url_parameter *parameter = &url->parameters[url->parameter_count++];
    int err = unescape(text, name_len, true, &parameter->name);
    return err != 0 ? err : unescape(value, (size_t)(text + len - value), true, &parameter->value);
}

int url_parse(char *target, struct url *ret_url)
{
    size_t path_len = strcspn(target, "?#");
    struct url url = {.parameter_count = 0};
    char *query = target[path_len] == '?' ? target + path_len + 1 : target + strlen(target);
    char *end = query + strcspn(query, "#");
    int err = unescape(target, path_len, false, &url.path);
    while (err == 0 && query < end) {
        char *stop = memchr(query, '&', (size_t)(end - query));
        size_t len = (size_t)((stop == NULL ? end : stop) - query);
        err = len == 0 ? 0 : add_parameter(&url, query, len);
        query += len + 1;
    }
    if (err == 0) {
        *ret_url = url;
    }
    return err;
}

const struct str *url_parameter(const struct url *url, const char *name)
{
    for (size_t i = 0; i < url->parameter_count; i++) {
        if (str_is(url->parameters[i].name, name)) {
            return &url->parameters[i].value;
        }
    }
    return NULL;
}
