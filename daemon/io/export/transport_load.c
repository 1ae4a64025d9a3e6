#include "io/export/transport_load.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

static const char with_tls[] = "dwell_otlp.so";
static const char without_tls[] = "dwell_otlp_insecure.so";

enum { PLACES = 3, PATH_BYTES = 2 * PATH_MAX };

/* The directory of this program's file; empty when the system does not say. */
static struct str own_directory(char path[PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }
    return (struct str){path, len > 1 ? (size_t)len - 1 : 0};
}

/* Returns the module's functions; NULL when it is not there (nothing is said), or not usable. */
static const struct transport *open_module(const char *path, struct buf *problem)
{
    if (access(path, F_OK) != 0) {
        return NULL;
    }
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (module == NULL) {
        buf_printf(problem, "%s; ", dlerror());
        return NULL;
    }
    void *symbol = dlsym(module, TRANSPORT_SYMBOL);
    transport_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry); /* as POSIX wants it: C has no cast between the two */
    const struct transport *transport = entry == NULL ? NULL : entry();
    if (transport == NULL || transport->version != TRANSPORT_VERSION) {
        buf_printf(problem, "%s is of another version of dwelld; ", path);
        return NULL;
    }
    return transport;
}

static const struct transport *try_place(struct str directory, const char *rest, const char *name,
                                         struct buf *problem)
{
    struct buf path;
    const struct transport *transport = NULL;
    buf_init(&path, PATH_BYTES);
    buf_str(&path, directory);
    buf_puts(&path, rest);
    buf_puts(&path, "/");
    buf_puts(&path, name);
    buf_char(&path, '\0');
    if (path.err == 0 && directory.len > 0) {
        transport = open_module(path.data, problem);
    }
    buf_fini(&path);
    return transport;
}

static const struct transport *find(const char *directory, const char *name, struct buf *problem)
{
    char own_path[PATH_MAX];
    struct str own = own_directory(own_path);
    const struct {
        struct str directory;
        const char *rest;
    } places[PLACES] = {{own, ""}, {own, "/../lib/dwell"}, {STR_LITERAL(DWELL_LIBDIR), "/dwell"}};
    if (directory[0] != '\0') {
        return try_place(str_of(directory), "", name, problem);
    }
    const struct transport *found = NULL;
    for (size_t i = 0; i < PLACES && found == NULL; i++) {
        found = try_place(places[i].directory, places[i].rest, name, problem);
    }
    return found;
}

const struct transport *transport_load(const char *directory, bool tls, struct buf *problem)
{
    const struct transport *transport = tls ? NULL : find(directory, without_tls, problem);
    if (transport == NULL) {
        transport = find(directory, with_tls, problem);
    }
    if (transport == NULL) {
        buf_printf(problem,
                   "%s%s cannot be opened%s%s; it belongs beside dwelld or into " DWELL_LIBDIR
                   "/dwell and needs the libraries of gRPC and protobuf-c (Debian: %s, "
                   "libprotobuf-c1; to build it: libgrpc-dev, libprotobuf-c-dev, "
                   "protobuf-c-compiler)",
                   tls ? "" : "neither dwell_otlp_insecure.so nor ", with_tls,
                   directory[0] == '\0' ? "" : " from ", directory, "libgrpc29");
    }
    return transport;
}
