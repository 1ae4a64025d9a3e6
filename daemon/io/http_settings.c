#include "io/http_settings.h"

#include "base/mem.h"

/* NULL without memory. */
static char *copy(const char *text)
{
    size_t size = strlen(text) + 1;
    char *made = mem_alloc(size);
    if (made != NULL) {
        memcpy(made, text, size);
    }
    return made;
}

static bool copy_hosts(struct http_settings *settings, char *const *hosts, size_t count)
{
    settings->allowed_hosts = mem_zalloc(count + 1, sizeof *settings->allowed_hosts);
    while (settings->allowed_hosts != NULL && settings->allowed_host_count < count) {
        char *host = copy(hosts[settings->allowed_host_count]);
        if (host == NULL) {
            return false;
        }
        settings->allowed_hosts[settings->allowed_host_count++] = host;
    }
    return settings->allowed_hosts != NULL;
}

struct http_settings *http_settings_new(char *const *allowed_hosts, size_t allowed_host_count,
                                        const char *display_name)
{
    struct http_settings *settings = mem_zalloc(1, sizeof *settings);
    if (settings == NULL) {
        return NULL;
    }
    settings->job.kind = JOB_SETTINGS;
    settings->display_name = copy(display_name);
    if (settings->display_name == NULL ||
        !copy_hosts(settings, allowed_hosts, allowed_host_count)) {
        http_settings_free(settings);
        return NULL;
    }
    return settings;
}

void http_settings_free(struct http_settings *settings)
{
    if (settings == NULL) {
        return;
    }
    for (size_t i = 0; i < settings->allowed_host_count; i++) {
        mem_free(settings->allowed_hosts[i]);
    }
    mem_free((void *)settings->allowed_hosts);
    mem_free(settings->display_name);
    exposition_free(settings->exposition);
    mem_free(settings);
}
