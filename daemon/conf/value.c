/*
 * Single values of options: from JSON, from plain text, to JSON, and what is said to be expected.
 * Lists and objects are conf/list.c's.
 */
#include "conf/endpoint.h"
#include "conf/table.h"

#include <assert.h>
#include <arpa/inet.h> /* inet_pton alone: it reads text and asks nobody */
#include <ctype.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/num.h"

enum {
    SHOWN_MAX = 60,       /* bytes of a wrong value that a complaint shows */
    NEAREST_CEILING = 40, /* edits; a worse match is no help */
};

/* --- complaints --- */

void conf_show(struct buf *out, struct str text)
{
    if (text.len <= SHOWN_MAX) {
        log_escape(out, text);
        return;
    }
    size_t shown = SHOWN_MAX;
    while (shown > SHOWN_MAX - 4 && ((unsigned char)text.ptr[shown] & 0xC0) == 0x80) {
        shown--; /* not in the middle of a character */
    }
    log_escape(out, (struct str){text.ptr, shown});
    buf_puts(out, "…");
}

/* --- small helpers --- */

struct str conf_json_text(const json_t *json)
{
    return (struct str){json_string_value(json), json_string_length(json)};
}

void conf_show_json(struct buf *out, const json_t *json, bool secret)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        buf_puts(out, "an object");
        return;
    case JSON_ARRAY:
        buf_puts(out, "a list");
        return;
    case JSON_NULL:
        buf_puts(out, "null");
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        buf_puts(out, json_is_true(json) ? "true" : "false");
        return;
    case JSON_INTEGER:
    case JSON_REAL:
    case JSON_STRING:
        break;
    }
    if (secret) {
        buf_puts(out, json_is_string(json) ? "a text" : "a number");
    } else if (json_is_string(json)) {
        buf_char(out, '"');
        conf_show(out, conf_json_text(json));
        buf_char(out, '"');
    } else if (json_is_integer(json)) {
        buf_i64(out, json_integer_value(json));
    } else {
        buf_double(out, json_real_value(json));
    }
}

void conf_from(struct buf *out, const char *source)
{
    buf_puts(out, " (");
    log_escape(out, str_of(source));
    buf_puts(out, ")\n");
}

void conf_blame(const struct conf_reader *reader)
{
    buf_puts(reader->errors, reader->option->path);
}

int conf_got(const struct conf_reader *reader, const json_t *got)
{
    buf_puts(reader->errors, ", got ");
    if (got == NULL) {
        buf_puts(reader->errors, "nothing");
    } else {
        conf_show_json(reader->errors, got, reader->option->secret);
    }
    conf_from(reader->errors, reader->source);
    return ERR_SYNTAX;
}

int conf_mismatch(const struct conf_reader *reader, const json_t *got)
{
    conf_blame(reader);
    buf_puts(reader->errors, ": expects ");
    conf_describe(reader->errors, reader->option);
    return conf_got(reader, got);
}

/* `dwelld.json:3:14: is not JSON: invalid token`. What jansson says after "near" is a piece of the
 * file, and the file may hold keys. */
static void complain_syntax(struct buf *errors, const char *file_name, const json_error_t *error)
{
    const char *near = strstr(error->text, " near ");
    size_t len = near == NULL ? strlen(error->text) : (size_t)(near - error->text);
    log_escape(errors, str_of(file_name));
    buf_printf(errors, ":%d:%d: is not JSON: ", error->line, error->column);
    log_escape(errors, (struct str){error->text, len});
    buf_char(errors, '\n');
}

int conf_parse_file(const char *file_name, struct str text, struct buf *errors, json_t **ret_json)
{
    json_error_t error;
    json_t *json =
        json_loadb(text.len > 0 ? text.ptr : "", text.len, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        if (json_error_code(&error) == json_error_out_of_memory || error.text[0] == '\0') {
            return ERR_NOMEM;
        }
        complain_syntax(errors, file_name, &error);
        return ERR_SYNTAX;
    }
    if (!json_is_object(json)) {
        log_escape(errors, str_of(file_name));
        buf_puts(errors, ": expects an object, got a list\n");
        json_decref(json);
        return ERR_SYNTAX;
    }
    *ret_json = json;
    return 0;
}

struct str conf_nearest(struct str wrong, size_t count, struct str (*word)(size_t i))
{
    struct str best = {NULL, 0};
    /* A word half of which has to change is another word. */
    size_t half = wrong.len / 2 + 1;
    size_t best_distance = half < NEAREST_CEILING ? half : NEAREST_CEILING;
    for (size_t i = 0; i < count; i++) {
        size_t distance = str_distance(wrong, word(i), NEAREST_CEILING);
        if (distance < best_distance) {
            best = word(i);
            best_distance = distance;
        }
    }
    return best;
}

/* --- texts --- */

char *conf_copy(struct str text)
{
    char *copy = mem_alloc(text.len + 1);
    if (copy != NULL) {
        memcpy(copy, text.ptr, text.len);
        copy[text.len] = '\0';
    }
    return copy;
}

bool conf_is_plain(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (iscntrl((unsigned char)text.ptr[i])) {
            return false;
        }
    }
    return true;
}

static bool is_token(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (!isalnum((unsigned char)text.ptr[i]) && strchr("-_.", text.ptr[i]) == NULL) {
            return false;
        }
    }
    return true;
}

bool conf_is_name(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool letter = isalpha((unsigned char)text.ptr[i]) || text.ptr[i] == '_';
        if (!letter && (i == 0 || !isdigit((unsigned char)text.ptr[i]))) {
            return false;
        }
    }
    return true;
}

bool conf_begins_with(struct str text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len > len && memcmp(text.ptr, prefix, len) == 0;
}

static bool is_endpoint(struct str text)
{
    struct conf_endpoint endpoint;
    return text.len == 0 || (conf_is_plain(text) && conf_endpoint_parse(text, &endpoint) == 0);
}

static bool text_fits(const struct conf_option *option, struct str text)
{
    if ((double)text.len < option->min || (double)text.len > option->max) {
        return false;
    }
    switch (option->kind) {
    case CONF_TOKEN:
        return is_token(text);
    case CONF_NAMESPACE:
        return conf_is_name(text);
    case CONF_ENDPOINT:
        return is_endpoint(text);
    default:
        return conf_is_plain(text);
    }
}

static int read_text(const struct conf_reader *reader, const json_t *json, void *ret)
{
    if (!json_is_string(json) || !text_fits(reader->option, conf_json_text(json))) {
        return conf_mismatch(reader, json);
    }
    char *copy = conf_copy(conf_json_text(json));
    *(char **)ret = copy;
    return copy == NULL ? ERR_NOMEM : 0;
}

static void fini_text(void *value)
{
    mem_free(*(char **)value);
}

void conf_render_string(struct buf *out, const char *text)
{
    buf_char(out, '"');
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\') {
            buf_char(out, '\\');
            buf_char(out, *at);
        } else if ((unsigned char)*at < ' ') {
            buf_printf(out, "\\u%04x", (unsigned)*at);
        } else {
            buf_char(out, *at);
        }
    }
    buf_char(out, '"');
}

static void render_text(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    conf_render_string(out, *(char *const *)value);
}

static void describe_text(struct buf *out, const struct conf_option *option)
{
    if (option->min > 0) {
        buf_printf(out, "text of %.0f to %.0f bytes without control characters", option->min,
                   option->max);
    } else {
        buf_printf(out, "text of at most %.0f bytes without control characters", option->max);
    }
}

static void describe_token(struct buf *out, const struct conf_option *option)
{
    buf_printf(out, "%.0f to %.0f letters, digits, \"-\", \"_\" or \".\"", option->min,
               option->max);
}

static void describe_namespace(struct buf *out, const struct conf_option *option)
{
    buf_printf(out, "at most %.0f letters, digits and \"_\" that do not begin with a digit",
               option->max);
}

/* --- truth and numbers --- */

static int read_bool(const struct conf_reader *reader, const json_t *json, void *ret)
{
    if (!json_is_boolean(json)) {
        return conf_mismatch(reader, json);
    }
    *(bool *)ret = json_is_true(json);
    return 0;
}

static void render_bool(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    buf_puts(out, *(const bool *)value ? "true" : "false");
}

static bool in_range(const struct conf_option *option, double number)
{
    return number >= option->min && number <= option->max;
}

static int read_whole(const struct conf_reader *reader, const json_t *json, void *ret)
{
    /* Every maximum is far below 2^53: comparing as doubles is exact where it matters. */
    if (!json_is_integer(json) || !in_range(reader->option, (double)json_integer_value(json))) {
        return conf_mismatch(reader, json);
    }
    *(uint64_t *)ret = (uint64_t)json_integer_value(json);
    return 0;
}

static void render_whole(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    buf_u64(out, *(const uint64_t *)value);
}

static void describe_whole(struct buf *out, const struct conf_option *option)
{
    buf_printf(out, "a whole number from %.0f to %.0f", option->min, option->max);
}

static int read_number(const struct conf_reader *reader, const json_t *json, void *ret)
{
    if (!json_is_number(json) || !in_range(reader->option, json_number_value(json))) {
        return conf_mismatch(reader, json);
    }
    *(double *)ret = json_number_value(json);
    return 0;
}

static void render_number(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    buf_double(out, *(const double *)value);
}

static void describe_number(struct buf *out, const struct conf_option *option)
{
    buf_puts(out, "a number from ");
    buf_double(out, option->min);
    buf_puts(out, " to ");
    buf_double(out, option->max);
}

/* --- words, permissions, addresses --- */

static int read_choice(const struct conf_reader *reader, const json_t *json, void *ret)
{
    if (json_is_string(json)) {
        const char *const *words = reader->option->words;
        for (int i = 0; words[i] != NULL; i++) {
            if (str_is(conf_json_text(json), words[i])) {
                *(int *)ret = i;
                return 0;
            }
        }
    }
    return conf_mismatch(reader, json);
}

static void render_choice(struct buf *out, const struct conf_option *option, const void *value)
{
    conf_render_string(out, option->words[*(const int *)value]);
}

static void describe_choice(struct buf *out, const struct conf_option *option)
{
    const char *const *words = option->words;
    for (size_t i = 0; words[i] != NULL; i++) {
        bool last = words[i + 1] == NULL;
        buf_printf(out, "%s\"%s\"", i == 0 ? "" : last ? " or " : ", ", words[i]);
    }
}

/* "0660": three or four octal digits. */
static int read_mode(const struct conf_reader *reader, const json_t *json, void *ret)
{
    struct str text = conf_json_text(json);
    if (text.len < 3 || text.len > 4) {
        return conf_mismatch(reader, json);
    }
    uint32_t mode = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '7') {
            return conf_mismatch(reader, json);
        }
        mode = mode * 8 + (uint32_t)(text.ptr[i] - '0');
    }
    if (!in_range(reader->option, mode)) {
        return conf_mismatch(reader, json);
    }
    *(uint32_t *)ret = mode;
    return 0;
}

static void render_mode(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    buf_printf(out, "\"%04o\"", *(const uint32_t *)value);
}

/*
 * Cuts an address into host and port:
 *
 *     127.0.0.1:9847        [::1]:9847
 *     ^^^^^^^^^ ^^^^         ^^^  ^^^^
 */
static bool split_address(struct str text, struct str *host, struct str *port, bool *is_ipv6)
{
    const char *colon = text.len == 0 ? NULL : memrchr(text.ptr, ':', text.len);
    if (colon == NULL) {
        return false;
    }
    *host = (struct str){text.ptr, (size_t)(colon - text.ptr)};
    *port = (struct str){colon + 1, text.len - host->len - 1};
    *is_ipv6 = host->len >= 2 && host->ptr[0] == '[' && colon[-1] == ']';
    if (*is_ipv6) {
        *host = (struct str){host->ptr + 1, host->len - 2};
    }
    return true;
}

static bool is_numeric_host(const char *host, bool is_ipv6)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(is_ipv6 ? AF_INET6 : AF_INET, host, address) == 1;
}

static int read_address(const struct conf_reader *reader, const json_t *json, void *ret)
{
    struct str host;
    struct str port_text;
    bool is_ipv6;
    uint64_t port;
    if (!json_is_string(json) ||
        !split_address(conf_json_text(json), &host, &port_text, &is_ipv6) ||
        num_read_u64(port_text, &port) != 0 || port > UINT16_MAX) {
        return conf_mismatch(reader, json);
    }
    char *copy = conf_copy(host);
    if (copy == NULL) {
        return ERR_NOMEM;
    }
    if (!is_numeric_host(copy, is_ipv6)) {
        mem_free(copy);
        return conf_mismatch(reader, json);
    }
    *(struct conf_address *)ret =
        (struct conf_address){.host = copy, .port = (uint16_t)port, .is_ipv6 = is_ipv6};
    return 0;
}

static void fini_address(void *value)
{
    mem_free(((struct conf_address *)value)->host);
}

static void render_address(struct buf *out, const struct conf_option *option, const void *value)
{
    (void)option;
    const struct conf_address *address = value;
    buf_printf(out, "\"%s%s%s:%u\"", address->is_ipv6 ? "[" : "", address->host,
               address->is_ipv6 ? "]" : "", (unsigned)address->port);
}

/* --- all kinds --- */

#define TEXT_OPS                                                                                   \
    .size = sizeof(char *), .is_words = true, .read = read_text, .render = render_text,            \
    .fini = fini_text

static const struct conf_kind_ops text_ops = {TEXT_OPS, .describe = describe_text};
static const struct conf_kind_ops token_ops = {TEXT_OPS, .describe = describe_token};
static const struct conf_kind_ops namespace_ops = {TEXT_OPS, .describe = describe_namespace};
static const struct conf_kind_ops endpoint_ops = {
    TEXT_OPS,
    .expects = "an address such as \"http://host:4317\", \"https://host:4317\", \"host:4317\" or "
               "\"unix:/path\", or \"\"",
};
static const struct conf_kind_ops bool_ops = {
    .size = sizeof(bool), .read = read_bool, .render = render_bool, .expects = "true or false"};
static const struct conf_kind_ops whole_ops = {.size = sizeof(uint64_t),
                                               .read = read_whole,
                                               .render = render_whole,
                                               .describe = describe_whole};
static const struct conf_kind_ops number_ops = {.size = sizeof(double),
                                                .read = read_number,
                                                .render = render_number,
                                                .describe = describe_number};
static const struct conf_kind_ops mode_ops = {
    .size = sizeof(uint32_t),
    .is_words = true,
    .read = read_mode,
    .render = render_mode,
    .expects = "permissions as octal text from \"0000\" to \"0777\"",
};
static const struct conf_kind_ops address_ops = {
    .size = sizeof(struct conf_address),
    .is_words = true,
    .read = read_address,
    .render = render_address,
    .fini = fini_address,
    .expects = "a numeric address and port such as \"127.0.0.1:9847\" or \"[::1]:9847\"",
};
static const struct conf_kind_ops choice_ops = {.size = sizeof(int),
                                                .is_words = true,
                                                .read = read_choice,
                                                .render = render_choice,
                                                .describe = describe_choice};

static const struct conf_kind_ops *const kinds[] = {
    [CONF_TEXT] = &text_ops,           [CONF_TOKEN] = &token_ops,
    [CONF_NAMESPACE] = &namespace_ops, [CONF_ENDPOINT] = &endpoint_ops,
    [CONF_BOOL] = &bool_ops,           [CONF_WHOLE] = &whole_ops,
    [CONF_NUMBER] = &number_ops,       [CONF_MODE] = &mode_ops,
    [CONF_ADDRESS] = &address_ops,     [CONF_CHOICE] = &choice_ops,
    [CONF_IDS] = &conf_ids_ops,        [CONF_KEYS] = &conf_keys_ops,
    [CONF_NAMES] = &conf_names_ops,    [CONF_HOSTS] = &conf_hosts_ops,
    [CONF_PAIRS] = &conf_pairs_ops,    [CONF_LAYERS] = &conf_layers_ops,
};
_Static_assert(sizeof kinds / sizeof kinds[0] == CONF_KIND_COUNT, "a row for each kind");

/* As large and as aligned as any value. */
union any_value {
    char *text;
    uint64_t whole;
    double number;
    struct conf_address address;
    struct conf_pairs pairs;
};

static void *place(const struct conf_option *option, struct conf *conf)
{
    return (char *)conf + option->offset;
}

void conf_forget_value(const struct conf_option *option, struct conf *conf)
{
    const struct conf_kind_ops *kind = kinds[option->kind];
    if (kind->fini != NULL) {
        kind->fini(place(option, conf));
    }
    memset(place(option, conf), 0, kind->size);
}

void conf_swap_value(const struct conf_option *option, struct conf *a, struct conf *b)
{
    union any_value value;
    size_t size = kinds[option->kind]->size;
    assert(size <= sizeof value);
    memcpy(&value, place(option, a), size);
    memcpy(place(option, a), place(option, b), size);
    memcpy(place(option, b), &value, size);
}

int conf_read_value(const struct conf_reader *reader, struct conf *conf, const json_t *json)
{
    const struct conf_kind_ops *kind = kinds[reader->option->kind];
    union any_value value;
    assert(kind->size <= sizeof value);
    int err = kind->read(reader, json, &value);
    if (err == 0) {
        conf_forget_value(reader->option, conf);
        memcpy(place(reader->option, conf), &value, kind->size);
    }
    return err;
}

/* Words as they stand; anything else as JSON, or as a text that will be complained about. */
static json_t *parse_text(const struct conf_reader *reader, struct str text)
{
    if (!kinds[reader->option->kind]->is_words) {
        json_t *json =
            json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        if (json != NULL) {
            return json;
        }
    }
    return json_stringn(text.ptr, text.len);
}

int conf_read_text(const struct conf_reader *reader, struct conf *conf, struct str text)
{
    if (!str_is_utf8(text)) {
        conf_blame(reader);
        buf_puts(reader->errors, ": expects UTF-8, got other bytes");
        conf_from(reader->errors, reader->source);
        return ERR_SYNTAX;
    }
    json_t *json = parse_text(reader, text);
    if (json == NULL) {
        return ERR_NOMEM;
    }
    int err = conf_read_value(reader, conf, json);
    json_decref(json);
    return err;
}

void conf_describe(struct buf *out, const struct conf_option *option)
{
    const struct conf_kind_ops *kind = kinds[option->kind];
    if (kind->describe != NULL) {
        kind->describe(out, option);
    } else {
        buf_puts(out, kind->expects);
    }
}

void conf_render_value(struct buf *out, const struct conf_option *option, const struct conf *conf)
{
    kinds[option->kind]->render(out, option, (const char *)conf + option->offset);
}
