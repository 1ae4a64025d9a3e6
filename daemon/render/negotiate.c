/*
 *     application/openmetrics-text;version=1.0.0;q=0.5, text/plain;version=0.0.4;q=0.2, …
 *     ^~~ range ~~~~~~~~~~~~~~~~~~ ^~ parameter ^~ q
 *
 * A format's q is that of the range that names it most closely; the highest q wins, then the closer
 * range, then the one that was written first. Ranges that cannot be read are passed over. Protobuf goes
 * to those alone who name it: an asterisk is written by those who can read text, or look at it.
 */
#include "render/negotiate.h"

#include <strings.h>

enum closeness {
    NO_MATCH,
    ANYTHING,    /* any type at all */
    ANY_SUBTYPE, /* text, whatever kind */
    TYPE,        /* the type, no parameter of the offer's */
    TYPE_AND_PARAMETERS
};

/* Parameters that say which of a type's forms is meant. Others, such as charset, are passed over. */
enum parameter { PARAMETER_VERSION, PARAMETER_PROTO, PARAMETER_ENCODING, PARAMETER_COUNT };

static const char *const parameter_names[] = {"version", "proto", "encoding"};

_Static_assert(sizeof parameter_names / sizeof parameter_names[0] == PARAMETER_COUNT, "one each");

static const struct offer {
    const char *type;
    const char *any_subtype;                 /* NULL: goes only to those who name the type */
    const char *parameters[PARAMETER_COUNT]; /* NULL: any */
} offers[] = {
    [EXPOSITION_TEXT] = {"text/plain", "text/*", {"0.0.4"}},
    [EXPOSITION_OPENMETRICS] = {"application/openmetrics-text", "application/*", {"1.0.0"}},
    [EXPOSITION_PROTOBUF] = {"application/vnd.google.protobuf",
                             NULL,
                             {NULL, "io.prometheus.client.MetricFamily", "delimited"}},
};

_Static_assert(sizeof offers / sizeof offers[0] == EXPOSITION_FORMAT_COUNT, "one each");

/* --- pieces of a header ------------------------------------------------------------------------ */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct str trim(struct str text)
{
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

/* Where the first `separator` outside of quotes stands, or the end. */
static size_t find_separator(struct str text, char separator)
{
    bool quoted = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (quoted && c == '\\') {
            i++;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == separator && !quoted) {
            return i;
        }
    }
    return text.len;
}

/* Takes the piece before the next separator off the front of *rest. */
static struct str cut(struct str *rest, char separator)
{
    size_t at = find_separator(*rest, separator);
    struct str piece = {rest->ptr, at};
    size_t used = at < rest->len ? at + 1 : at;
    rest->ptr += used;
    rest->len -= used;
    return trim(piece);
}

static struct str unquote(struct str text)
{
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"') {
        return (struct str){text.ptr + 1, text.len - 2};
    }
    return text;
}

static bool is_word(struct str text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.ptr, word, text.len) == 0;
}

/* "0.75" in thousandths, further digits ignored; -1 when it is not between 0 and 1. */
static int read_q(struct str text)
{
    if (text.len == 0 || (text.ptr[0] != '0' && text.ptr[0] != '1') ||
        (text.len > 1 && text.ptr[1] != '.')) {
        return -1;
    }
    int q = (text.ptr[0] - '0') * 1000;
    int step = 100;
    for (size_t i = 2; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return -1;
        }
        q += (text.ptr[i] - '0') * step;
        step /= 10;
    }
    return q <= 1000 ? q : -1;
}

struct media_range {
    struct str name;
    struct str parameters[PARAMETER_COUNT]; /* empty: not said */
    int q;                                  /* thousandths; -1: cannot be read */
};

static struct media_range read_range(struct str text)
{
    struct media_range range = {.name = cut(&text, ';'), .q = 1000};
    while (text.len > 0) {
        struct str value = cut(&text, ';');
        struct str key = cut(&value, '=');
        value = unquote(trim(value));
        if (is_word(key, "q")) {
            range.q = read_q(value);
        }
        for (unsigned i = 0; i < PARAMETER_COUNT; i++) {
            if (is_word(key, parameter_names[i])) {
                range.parameters[i] = value;
            }
        }
    }
    return range;
}

/* --- the choices ------------------------------------------------------------------------------- */

static enum closeness match_parameters(const struct media_range *range, const struct offer *offer)
{
    enum closeness closeness = TYPE;
    for (unsigned i = 0; i < PARAMETER_COUNT; i++) {
        if (offer->parameters[i] != NULL && range->parameters[i].len > 0) {
            if (!str_is(range->parameters[i], offer->parameters[i])) {
                return NO_MATCH;
            }
            closeness = TYPE_AND_PARAMETERS;
        }
    }
    return closeness;
}

static enum closeness match(const struct media_range *range, const struct offer *offer)
{
    if (is_word(range->name, offer->type)) {
        return match_parameters(range, offer);
    }
    return offer->any_subtype == NULL                 ? NO_MATCH
           : is_word(range->name, offer->any_subtype) ? ANY_SUBTYPE
           : is_word(range->name, "*/*")              ? ANYTHING
                                                      : NO_MATCH;
}

/* The range that stands for an offer. */
struct best {
    enum closeness closeness;
    int q;
    unsigned place; /* in the header */
};

static bool is_better(const struct best *a, const struct best *b)
{
    if (a->q != b->q) {
        return a->q > b->q;
    }
    return a->closeness != b->closeness ? a->closeness > b->closeness : a->place < b->place;
}

static enum exposition_format choose_format(struct str accept)
{
    struct best best[EXPOSITION_FORMAT_COUNT] = {0};
    for (unsigned place = 0; accept.len > 0; place++) {
        struct media_range range = read_range(cut(&accept, ','));
        for (unsigned format = 0; range.q >= 0 && format < EXPOSITION_FORMAT_COUNT; format++) {
            enum closeness closeness = match(&range, &offers[format]);
            if (closeness > best[format].closeness) {
                best[format] = (struct best){closeness, range.q, place};
            }
        }
    }
    enum exposition_format chosen = EXPOSITION_TEXT;
    for (unsigned format = 0; format < EXPOSITION_FORMAT_COUNT; format++) {
        if (best[format].q > 0 && is_better(&best[format], &best[chosen])) {
            chosen = (enum exposition_format)format;
        }
    }
    return chosen;
}

/* gzip where it is named, or meant by "*", and the plain form is not wanted more. */
static bool choose_gzip(struct str accept_encoding)
{
    int gzip = -1;
    int plain = -1;
    int rest = -1;
    while (accept_encoding.len > 0) {
        struct media_range range = read_range(cut(&accept_encoding, ','));
        if (is_word(range.name, "gzip") || is_word(range.name, "x-gzip")) {
            gzip = gzip < 0 ? range.q : gzip;
        } else if (is_word(range.name, "identity")) {
            plain = range.q;
        } else if (is_word(range.name, "*")) {
            rest = range.q;
        }
    }
    gzip = gzip < 0 ? rest : gzip;
    return gzip > 0 && gzip >= plain;
}

static struct str header(const char *text)
{
    return text == NULL ? (struct str){"", 0} : str_of(text);
}

struct negotiated negotiate(const char *accept, const char *accept_encoding)
{
    return (struct negotiated){.format = choose_format(header(accept)),
                               .gzip = choose_gzip(header(accept_encoding))};
}

bool negotiate_accepts(const char *accept, const char *type, const char *any_subtype)
{
    struct offer offer = {.type = type, .any_subtype = any_subtype, .parameters = {""}};
    struct str rest = header(accept);
    struct best best = {.closeness = NO_MATCH};
    if (rest.len == 0) {
        return true;
    }
    for (unsigned place = 0; rest.len > 0; place++) {
        struct media_range range = read_range(cut(&rest, ','));
        enum closeness closeness = range.q < 0 ? NO_MATCH : match(&range, &offer);
        if (closeness > best.closeness) {
            best = (struct best){closeness, range.q, place};
        }
    }
    return best.closeness != NO_MATCH && best.q > 0;
}
