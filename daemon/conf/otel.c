/*
 * Options from OpenTelemetry's variables (opentelemetry-specification,
 * configuration/sdk-environment-variables.md and protocol/exporter.md). An empty variable is an unset
 * one. The specification wants a wrong one to be ignored with a warning; warnings show no secrets.
 */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "base/err.h"
#include "conf/table.h"

enum { WORD_MAX = 64, NAME_MAX_BYTES = 63 };

static struct conf_reader reader_of(const char *path, const char *variable, struct buf *complaints)
{
    return (struct conf_reader){conf_find(str_of(path)), variable, complaints};
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

/* A value in the option's own spelling. */
static void load_text(struct conf_loader *loader, const char *path, const char *variable,
                      struct str text)
{
    struct conf_reader reader = reader_of(path, variable, loader->warnings);
    note_warning(loader, conf_read_text(&reader, loader->conf, text));
}

static void load_otel_text(struct conf_loader *loader, char *const *environment,
                           const char *variable, const char *path)
{
    const char *value = conf_find_variable(environment, variable);
    if (value != NULL) {
        load_text(loader, path, variable, str_of(value));
    }
}

/* Words may be in either case. Longer than any word that there is: wrong in any case. */
static void load_otel_word(struct conf_loader *loader, char *const *environment,
                           const char *variable, const char *path)
{
    char word[WORD_MAX];
    const char *value = conf_find_variable(environment, variable);
    size_t len = value == NULL ? 0 : strlen(value);
    for (size_t i = 0; i < len && len <= WORD_MAX; i++) {
        word[i] = (char)tolower((unsigned char)value[i]);
    }
    if (value != NULL) {
        load_text(loader, path, variable, (struct str){len <= WORD_MAX ? word : value, len});
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
    const char *value = conf_find_variable(environment, variable);
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
    const char *word = conf_find_variable(environment, "OTEL_TRACES_SAMPLER");
    if (word == NULL) {
        return;
    }
    for (size_t i = 0; i < sizeof samplers / sizeof samplers[0]; i++) {
        if (strcmp(word, samplers[i].word) != 0) {
            continue;
        }
        const char *argument = conf_find_variable(environment, "OTEL_TRACES_SAMPLER_ARG");
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

/* --- the whole list --- */

enum kind {
    VALUE, /* as the option is written */
    WORD,  /* likewise, in capitals too */
    PAIRS, /* key=value,… */
};

static const struct row {
    enum kind kind;
    const char *variable;
    const char *path;
} rows[] = {
    {PAIRS, "OTEL_RESOURCE_ATTRIBUTES", "service.attributes"},
    {VALUE, "OTEL_SERVICE_NAME", "service.name"}, /* beats the attribute */
    {VALUE, "OTEL_BSP_SCHEDULE_DELAY", "otlp.schedule_delay_ms"},
    {VALUE, "OTEL_BSP_EXPORT_TIMEOUT", "otlp.retry_timeout_ms"},
    {VALUE, "OTEL_BSP_MAX_QUEUE_SIZE", "otlp.max_queue_spans"},
    {VALUE, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "otlp.max_batch"},
    {VALUE, "OTEL_METRIC_EXPORT_INTERVAL", "otlp.metric_interval_ms"},
    {VALUE, "OTEL_METRIC_EXPORT_TIMEOUT", "otlp.metric_timeout_ms"},
    {WORD, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "otlp.temporality"},
    {WORD, "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
     "otlp.histogram_aggregation"},
};

/* For all signals, and for one of them, which wins: OTEL_EXPORTER_OTLP_<NAME> and
 * OTEL_EXPORTER_OTLP_TRACES_<NAME>, otlp.<option> and otlp.traces_<option>. */
static const struct {
    enum kind kind;
    const char *name;
    const char *option;
} signal_rows[] = {
    {VALUE, "ENDPOINT", "endpoint"},       {WORD, "INSECURE", "insecure"},
    {VALUE, "CERTIFICATE", "certificate"}, {VALUE, "CLIENT_CERTIFICATE", "client_certificate"},
    {VALUE, "CLIENT_KEY", "client_key"},   {PAIRS, "HEADERS", "headers"},
    {WORD, "COMPRESSION", "compression"},  {VALUE, "TIMEOUT", "timeout_ms"},
};

static const struct {
    const char *variable; /* what stands before the name */
    const char *option;
} signals[] = {{"", ""}, {"TRACES_", "traces_"}, {"METRICS_", "metrics_"}};

enum { SIGNALS = sizeof signals / sizeof signals[0] };

static void load_row(struct conf_loader *loader, char *const *environment, const struct row *row)
{
    switch (row->kind) {
    case VALUE:
        load_otel_text(loader, environment, row->variable, row->path);
        break;
    case WORD:
        load_otel_word(loader, environment, row->variable, row->path);
        break;
    case PAIRS:
        load_otel_pairs(loader, environment, row->variable, row->path);
        break;
    }
}

/* "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" */
static void name_variable(char out[NAME_MAX_BYTES + 1], size_t signal, const char *name)
{
    (void)snprintf(out, NAME_MAX_BYTES + 1, "OTEL_EXPORTER_OTLP_%s%s", signals[signal].variable,
                   name); /* the longest has 47 */
}

static void load_signal(struct conf_loader *loader, char *const *environment, size_t signal)
{
    char variable[NAME_MAX_BYTES + 1];
    char path[NAME_MAX_BYTES + 1];
    for (size_t i = 0; i < sizeof signal_rows / sizeof signal_rows[0]; i++) {
        name_variable(variable, signal, signal_rows[i].name);
        (void)snprintf(path, sizeof path, "otlp.%s%s", signals[signal].option,
                       signal_rows[i].option);
        load_row(loader, environment, &(struct row){signal_rows[i].kind, variable, path});
    }
    name_variable(variable, signal, "PROTOCOL");
    const char *protocol = conf_find_variable(environment, variable);
    if (protocol != NULL && strcmp(protocol, "grpc") != 0) {
        warn(loader, variable, "grpc, which is what dwelld speaks");
    }
}

static bool is_word(const char *value, const char *word)
{
    return value != NULL && strcasecmp(value, word) == 0;
}

/* OTEL_TRACES_EXPORTER and its like: a list of exporters, of which one matters here. */
static void load_exporter(struct conf_loader *loader, char *const *environment,
                          const char *variable, bool *signal)
{
    const char *value = conf_find_variable(environment, variable);
    if (is_word(value, "none")) {
        *signal = false;
    } else if (value != NULL && !is_word(value, "otlp")) {
        warn(loader, variable, "otlp or none");
    }
}

static void load_disabled(struct conf_loader *loader, char *const *environment)
{
    const char *value = conf_find_variable(environment, "OTEL_SDK_DISABLED");
    if (is_word(value, "true")) {
        loader->conf->otlp.traces = loader->conf->otlp.metrics = false;
    } else if (value != NULL && !is_word(value, "false")) {
        warn(loader, "OTEL_SDK_DISABLED", "true or false");
    }
}

void conf_load_otel(struct conf_loader *loader, char *const *environment)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0] && !loader->nomem; i++) {
        load_row(loader, environment, &rows[i]);
    }
    for (size_t i = 0; i < SIGNALS && !loader->nomem; i++) {
        load_signal(loader, environment, i);
    }
    load_otel_sampler(loader, environment);
    load_exporter(loader, environment, "OTEL_TRACES_EXPORTER", &loader->conf->otlp.traces);
    load_exporter(loader, environment, "OTEL_METRICS_EXPORTER", &loader->conf->otlp.metrics);
    load_disabled(loader, environment);
}
