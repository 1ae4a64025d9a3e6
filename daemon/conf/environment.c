/*
 * Options from environment variables: DWELL_ and the path in capitals with dots as underscores, and
 * before those, so that they win, the names that other tools share (OpenTelemetry's: conf/otel.c).
 * An empty variable is an unset one. What is wrong with a variable is an error.
 */
#include <ctype.h>

#include "base/err.h"
#include "conf/table.h"

enum {
    NAME_MAX_BYTES = 63, /* the longest is DWELL_PROFILING_CPU_COMPUTE_THRESHOLD_PERCENT */
    MISSPELT_MAX = 2,    /* edits; see complain_misspelt */
};

#define PREFIX "DWELL_"

const char *conf_find_variable(char *const *environment, const char *name)
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

/* --- names shared with other tools --- */

static void load_shared(struct conf_loader *loader, char *const *environment, const char *variable,
                        const char *path)
{
    const char *value = conf_find_variable(environment, variable);
    if (value != NULL) {
        struct conf_reader reader = {conf_find(str_of(path)), variable, loader->errors};
        conf_note(loader, conf_read_text(&reader, loader->conf, str_of(value)));
    }
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
        const char *value = conf_find_variable(environment, name);
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
    conf_load_otel(loader, environment);
    load_shared(loader, environment, "ENVIRONMENT", "service.environment");
    load_shared(loader, environment, "CONSTITUTIONAL_HASH", "service.constitutional_hash");
    load_own(loader, environment);
}
