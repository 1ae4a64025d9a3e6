#include "io/kept.h"

#include <stdio.h>

#include "base/log.h"
#include "base/num.h"

enum { SOCKETS = PLACE_COUNT + 1 }; /* with that of HTTP */

void kept_write_name(const struct kept_name *name, char out[KEPT_NAME_MAX])
{
    (void)snprintf(out, KEPT_NAME_MAX, "%.*s@%llu-%llu", (int)name->socket.len, name->socket.ptr,
                   (unsigned long long)name->device, (unsigned long long)name->inode);
}

bool kept_read_name(const char *text, struct kept_name *ret_name)
{
    const char *at = strrchr(text, '@');
    const char *dash = at == NULL ? NULL : strchr(at, '-');
    struct kept_name name = {0};
    if (dash == NULL || num_read_u64((struct str){at + 1, (size_t)(dash - at - 1)}, &name.device) ||
        num_read_u64(str_of(dash + 1), &name.inode)) {
        return false;
    }
    name.socket = (struct str){text, (size_t)(at - text)};
    *ret_name = name;
    return true;
}

static bool keep(struct notify *notify, int fd, const struct kept_name *name)
{
    char text[KEPT_NAME_MAX];
    kept_write_name(name, text);
    bool kept = notify_keep(notify, fd, text);
    if (!kept) {
        log_warning("the service manager does not take %s; what waits there ends with this run",
                    text);
    }
    return kept;
}

void kept_hand_over(struct notify *notify, struct directory *directory, int http_fd)
{
    if (notify->keeps == 0) {
        return;
    }
    if (notify->keeps < SOCKETS) {
        log_warning("the service manager keeps fewer than %u sockets, so it gets none "
                    "(FileDescriptorStoreMax=)",
                    (unsigned)SOCKETS);
        return;
    }
    for (unsigned i = 0; i < PLACE_COUNT; i++) {
        const struct directory_socket *held = &directory->sockets[i];
        struct kept_name name = {str_of(directory_kinds[i].name), held->device, held->inode};
        if (held->is_own && keep(notify, held->fd, &name)) {
            directory_leave(directory, (enum directory_place)i);
        }
    }
    if (http_fd >= 0) {
        (void)keep(notify, http_fd, &(struct kept_name){.socket = STR_LITERAL("http")});
    }
}
