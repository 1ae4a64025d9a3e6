#include "cli/place.h"

#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

static bool exists(void *ctx, const char *path)
{
    (void)ctx;
    return access(path, F_OK) == 0;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

void place_system(struct place_world *ret_world)
{
    *ret_world = (struct place_world){.dwell_dir = variable("DWELL_DIR"),
                                      .runtime_dir = variable("XDG_RUNTIME_DIR"),
                                      .uid = (unsigned)getuid(),
                                      .exists = exists};
}

/* Puts the path together; false when a socket cannot have one of that length. */
static bool join(char path[PLACE_BYTES], const char *dir, const char *rest, const char *socket)
{
    int len = snprintf(path, PLACE_BYTES, "%s%s/%s", dir, rest, socket);
    return len >= 0 && len < PLACE_BYTES;
}

static int use(const char *dir, const char *socket, char ret_path[PLACE_BYTES], struct buf *problem)
{
    if (join(ret_path, dir, "", socket)) {
        return 0;
    }
    buf_printf(problem, "%s/%s is longer than the path of a socket may be, %d bytes", dir, socket,
               PLACE_BYTES - 1);
    return EX_USAGE;
}

int place_find(const struct place_world *world, const char *dir, const char *socket,
               char ret_path[PLACE_BYTES], struct buf *problem)
{
    char own[sizeof "/tmp/dwell-" + 10];
    (void)snprintf(own, sizeof own, "/tmp/dwell-%u", world->uid); /* it fits: ten digits */
    const char *const places[][2] = {{world->runtime_dir, "/dwell"}, {"/run/dwell", ""}, {own, ""}};
    if (dir != NULL || world->dwell_dir != NULL) {
        return use(dir != NULL ? dir : world->dwell_dir, socket, ret_path, problem);
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char ingest[PLACE_BYTES];
        if (places[i][0] != NULL && join(ingest, places[i][0], places[i][1], "ingest.sock") &&
            world->exists(world->ctx, ingest) &&
            join(ret_path, places[i][0], places[i][1], socket)) {
            return 0;
        }
    }
    buf_puts(problem, "no daemon is found: there is no ingest.sock in ");
    if (world->runtime_dir != NULL) {
        buf_printf(problem, "%s/dwell, ", world->runtime_dir);
    }
    buf_printf(problem,
               "/run/dwell or %s. Start dwelld, or say where it is: --dir DIR or $DWELL_DIR", own);
    return EX_UNAVAILABLE;
}
