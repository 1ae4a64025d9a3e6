#include "io/http_clients.h"

#include <sys/socket.h>

#include "base/mem.h"

struct http_client *http_client_new(struct http_clients *clients, struct MHD_Connection *connection,
                                    int fd, uint64_t now_ns)
{
    struct http_client *client = mem_alloc(sizeof *client);
    if (client == NULL) {
        return NULL;
    }
    *client = (struct http_client){.next = clients->first,
                                   .link = &clients->first,
                                   .connection = connection,
                                   .fd = fd,
                                   .since_ns = now_ns};
    if (client->next != NULL) {
        client->next->link = &client->next;
    }
    clients->first = client;
    clients->count++;
    return client;
}

void http_client_free(struct http_clients *clients, struct http_client *client)
{
    *client->link = client->next;
    if (client->next != NULL) {
        client->next->link = client->link;
    }
    clients->count--;
    clients->refused -= client->is_refused;
    mem_free(client);
}

/* Fails when the peer was faster. The server finds it ended. */
static void cut(struct http_client *client)
{
    client->is_cut = true;
    (void)shutdown(client->fd, SHUT_RDWR);
}

void http_client_refuse(struct http_clients *clients, struct http_client *client)
{
    client->is_refused = true;
    clients->refused++;
    cut(client);
}

unsigned http_clients_cut(struct http_clients *clients, uint64_t limit_ns, uint64_t now_ns)
{
    unsigned count = 0;
    for (struct http_client *client = clients->first; client != NULL; client = client->next) {
        if (!client->is_cut && now_ns - client->since_ns > limit_ns) {
            cut(client);
            count++;
        }
    }
    return count;
}
