/*
 * Options from environment variables: DWELL_ and the path in capitals with dots as underscores, and
 * before those, so that they win, the names that other tools share. An empty variable is an unset
 * one. What is wrong with a variable of ours is an error; OpenTelemetry's specification wants a wrong
 * variable of its own to be ignored with a warning.
 */
#include <ctype.h>

#include "base/err.h"
#include "base/num.h"
#include "conf_table.h"

enum {
    NAME_MAX_BYTES = 63, /* the longest is DWELL_PROFILING_CPU_COMPUTE_THRESHOLD_PERCENT */
    MISSPELT_MAX = 2,    /* edits; see complain_misspelt */
};

#define PREFIX "DWELL_"

/* The variable's value, or NULL when it is not set or empty. */
static const char *find_variable(char *const *environment, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; environment[i] != NULL; i++) {
        const char *entry = environment[i];
        if (strncmp(entry, name, len) == 0 && entry[len] == '=') {
            return entry[len + 1] == '\0' ? NULL : entry + len + 1;
        }
    }
    return NULL;
}

static struct conf_reader reader_of(const char *path, const char *variable, struct buf *complaints)
{
    return (struct conf_reader){conf_find(str_of(path)), variable, complaints};
}

/* --- names shared with other tools --- */

static void load_shared(struct conf_loader *loader, char *const *environment, const char *variable,
                        const char *path)
{
    const char *value = find_variable(environment, variable);
    if (value != NULL) {
        struct conf_reader reader = reader_of(path, variable, loader->errors);
        conf_note(loader, conf_read_text(&reader, loader->conf, str_of(value)));
    }
}

/* A wrong value only warns; running out of memory still counts. */
static void note_warning(struct conf_loader *loader, int err)
{
    if (err == ERR_NOMEM) {
        conf_note(loader, err);
    }
}

static void warn(struct conf_loader *loader, const char *variable, const char *expects)
{
    buf_printf(loader->warnings, "%s: expects %s; ignored\n", variable, expects);
}

static void load_otel_text(struct conf_loader *loader, char *const *environment,
                           const char *variable, const char *path)
{
    const char *value = find_variable(environment, variable);
    if (value != NULL) {
        struct conf_reader reader = reader_of(path, variable, loader->warnings);
        note_warning(loader, conf_read_text(&reader, loader->conf, str_of(value)));
    }
}

static struct str trim(struct str text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : isxdigit((unsigned char)c) ? (c | 0x20) - 'a' + 10 : -1;
}

/* "a%20b" as "a b". ERR_SYNTAX for a broken escape or what is not UTF-8 after. */
static int decode_percent(struct str text, struct buf *out)
{
    buf_clear(out);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '%') {
            buf_char(out, text.ptr[i]);
            continue;
        }
        int high = i + 2 < text.len ? hex_value(text.ptr[i + 1]) : -1;
        int low = high < 0 ? -1 : hex_value(text.ptr[i + 2]);
        if (low < 0) {
            return ERR_SYNTAX;
        }
        buf_char(out, (char)(high * 16 + low));
        i += 2;
    }
    if (out->err != 0) {
        return out->err;
    }
    return str_is_utf8((struct str){out->data, out->len}) ? 0 : ERR_SYNTAX;
}

/* "k=v": the value percent-encoded, blanks around both left out. */
static int add_pair(json_t *object, struct str pair, struct buf *scratch)
{
    const char *equals = memchr(pair.ptr, '=', pair.len);
    if (equals == NULL) {
        return ERR_SYNTAX;
    }
    struct str key = trim((struct str){pair.ptr, (size_t)(equals - pair.ptr)});
    struct str value = trim((struct str){equals + 1, pair.len - (size_t)(equals + 1 - pair.ptr)});
    if (key.len == 0 || !str_is_utf8(key)) {
        return ERR_SYNTAX;
    }
    int err = decode_percent(value, scratch);
    if (err != 0) {
        return err;
    }
    json_t *text = json_stringn(scratch->len > 0 ? scratch->data : "", scratch->len);
    return json_object_setn_new(object, key.ptr, key.len, text) == 0 ? 0 : ERR_NOMEM;
}

/* "k=v,k=v" as an object. */
static int parse_pairs(struct str text, json_t *object)
{
    struct buf scratch;
    buf_init(&scratch, text.len + 256);
    int err = 0;
    while (text.len > 0 && err == 0) {
        const char *comma = memchr(text.ptr, ',', text.len);
        size_t len = comma == NULL ? text.len : (size_t)(comma - text.ptr);
        struct str pair = trim((struct str){text.ptr, len});
        err = pair.len == 0 ? 0 : add_pair(object, pair, &scratch);
        size_t used = comma == NULL ? len : len + 1;
        text = (struct str){text.ptr + used, text.len - used};
    }
    buf_fini(&scratch);
    return err;
}

/* Resource attributes that are options of their own, the weaker of two spellings first. */
static void lift_attributes(struct conf_loader *loader, json_t *object, const char *variable)
{
    static const struct {
        const char *key;
        const char *path;
    } lifted[] = {
        {"service.name", "service.name"},
        {"service.version", "service.version"},
        {"deployment.environment", "service.environment"},
        {"deployment.environment.name", "service.environment"},
    };
    for (size_t i = 0; i < sizeof lifted / sizeof lifted[0]; i++) {
        const json_t *value = json_object_get(object, lifted[i].key);
        if (value != NULL) {
            struct conf_reader reader = reader_of(lifted[i].path, variable, loader->warnings);
            note_warning(loader, conf_read_value(&reader, loader->conf, value));
            (void)json_object_del(object, lifted[i].key); /* it is there */
        }
    }
}

static void load_otel_pairs(struct conf_loader *loader, char *const *environment,
                            const char *variable, const char *path)
{
    const char *value = find_variable(environment, variable);
    if (value == NULL) {
        return;
    }
    json_t *object = json_object();
    int err = object == NULL ? ERR_NOMEM : parse_pairs(str_of(value), object);
    if (err == ERR_SYNTAX) {
        warn(loader, variable, "key=value, … with values percent-encoded");
    } else if (err == 0) {
        struct conf_reader reader = reader_of(path, variable, loader->warnings);
        if (!reader.option->secret) {
            lift_attributes(loader, object, variable);
        }
        err = conf_read_value(&reader, loader->conf, object);
    }
    note_warning(loader, err);
    json_decref(object);
}

/* OTEL_TRACES_SAMPLER: a word, with a share in OTEL_TRACES_SAMPLER_ARG for two of them. */
static void load_otel_sampler(struct conf_loader *loader, char *const *environment)
{
    static const struct {
        const char *word;
        double share; /* < 0: the argument says */
    } samplers[] = {
        {"always_on", 1},     {"parentbased_always_on", 1},
        {"always_off", 0},    {"parentbased_always_off", 0},
        {"traceidratio", -1}, {"parentbased_traceidratio", -1},
    };
    const char *word = find_variable(environment, "OTEL_TRACES_SAMPLER");
    if (word == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof samplers / sizeof samplers[0]; i++) {
        if (strcmp(word, samplers[i].word) != 0) {
            continue;
        }
        const char *argument = find_variable(environment, "OTEL_TRACES_SAMPLER_ARG");
        if (samplers[i].share >= 0 || argument == NULL) {
            loader->conf->otlp.sample_rate = samplers[i].share < 0 ? 1 : samplers[i].share;
        } else {
            load_otel_text(loader, environment, "OTEL_TRACES_SAMPLER_ARG", "otlp.sample_rate");
        }
        return;
    }
    warn(loader, "OTEL_TRACES_SAMPLER",
         "always_on, always_off, traceidratio or one of them after \"parentbased_\"");
}

/* --- our own names --- */

static struct str own_name(const struct conf_option *option, char name[NAME_MAX_BYTES + 1])
{
    size_t len = strlen(PREFIX);
    memcpy(name, PREFIX, len);
    for (const char *at = option->path; *at != '\0' && len < NAME_MAX_BYTES; at++) {
        name[len++] = (char)(*at == '.' ? '_' : toupper((unsigned char)*at));
    }
    name[len] = '\0';
    return (struct str){name, len};
}

/* Only what looks like a slip of the pen: a container's platform sets names of its own that begin
 * with DWELL_ when a service there is called "dwell" (DWELL_SERVICE_HOST, DWELL_PORT, …). */
static void complain_misspelt(struct conf_loader *loader, struct str variable)
{
    char name[NAME_MAX_BYTES + 1];
    size_t best_distance = MISSPELT_MAX + 1;
    const struct conf_option *best = NULL;
    for (size_t i = 0; i < conf_option_count; i++) {
        size_t distance = str_distance(variable, own_name(&conf_options[i], name), MISSPELT_MAX);
        if (distance == 0) {
            return;
        }
        if (distance < best_distance) {
            best_distance = distance;
            best = &conf_options[i];
        }
    }
    if (best != NULL) {
        conf_show(loader->errors, variable);
        buf_puts(loader->errors, ": is not an option; the nearest is ");
        buf_str(loader->errors, own_name(best, name));
        buf_puts(loader->errors, " (environment)\n");
        conf_note(loader, ERR_SYNTAX);
    }
}

static void load_own(struct conf_loader *loader, char *const *environment)
{
    char name[NAME_MAX_BYTES + 1];
    for (size_t i = 0; i < conf_option_count && !loader->nomem; i++) {
        (void)own_name(&conf_options[i], name); /* it ends with a zero byte */
        const char *value = find_variable(environment, name);
        if (value != NULL) {
            struct conf_reader reader = {&conf_options[i], name, loader->errors};
            conf_note(loader, conf_read_text(&reader, loader->conf, str_of(value)));
        }
    }
    for (size_t i = 0; environment[i] != NULL; i++) {
        struct str variable = {environment[i], strcspn(environment[i], "=")};
        if (conf_begins_with(variable, PREFIX)) {
            complain_misspelt(loader, variable);
        }
    }
}

void conf_load_environment(struct conf_loader *loader, char *const *environment)
{
    load_otel_pairs(loader, environment, "OTEL_RESOURCE_ATTRIBUTES", "service.attributes");
    load_otel_text(loader, environment, "OTEL_SERVICE_NAME", "service.name");
    load_otel_text(loader, environment, "OTEL_EXPORTER_OTLP_ENDPOINT", "otlp.endpoint");
    load_otel_pairs(loader, environment, "OTEL_EXPORTER_OTLP_HEADERS", "otlp.headers");
    load_otel_sampler(loader, environment);
    load_shared(loader, environment, "ENVIRONMENT", "service.environment");
    load_shared(loader, environment, "CONSTITUTIONAL_HASH", "service.constitutional_hash");
    load_own(loader, environment);
}
