#include "fake_transport.h"

#include <stdlib.h>

struct fake_transport fake_transport = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                                        .changed = PTHREAD_COND_INITIALIZER};

static int open_fake(const struct transport_target *target, struct transport_channel **ret_channel)
{
    static char channel;
    (void)target;
    if (fake_transport.open_err == 0) {
        fake_transport.is_open = true;
        *ret_channel = (struct transport_channel *)(void *)&channel;
    }
    return fake_transport.open_err;
}

static void remember(struct str request, uint64_t deadline_ns)
{
    if (fake_transport.call_count == FAKE_CALLS_MAX) {
        abort();
    }
    struct fake_call *call = &fake_transport.calls[fake_transport.call_count++];
    *call = (struct fake_call){.len = request.len, .deadline_ns = deadline_ns};
    call->at_ns = fake_transport.clock_ns == NULL ? 0 : *fake_transport.clock_ns;
    call->body = malloc(request.len + 1);
    if (call->body == NULL) {
        abort();
    }
    memcpy(call->body, request.ptr, request.len);
}

static void call_fake(struct transport_channel *channel, const char *method, struct str request,
                      uint64_t deadline_ns, struct transport_reply *ret_reply)
{
    (void)channel;
    (void)method;
    struct fake_row row = {.reply = {.status = TRANSPORT_OK}};
    (void)pthread_mutex_lock(&fake_transport.mutex);
    unsigned number = fake_transport.call_count;
    if (fake_transport.row_count > 0) {
        unsigned last = fake_transport.row_count - 1;
        row = fake_transport.rows[number < last ? number : last];
    }
    remember(request, deadline_ns);
    (void)pthread_cond_broadcast(&fake_transport.changed);
    while (row.holds && !fake_transport.is_cancelled && !fake_transport.is_released) {
        (void)pthread_cond_wait(&fake_transport.changed, &fake_transport.mutex);
    }
    if (fake_transport.is_cancelled) {
        row.reply = (struct transport_reply){.status = TRANSPORT_CANCELLED};
    }
    if (fake_transport.clock_ns != NULL) {
        *fake_transport.clock_ns += row.takes_ns;
    }
    (void)pthread_mutex_unlock(&fake_transport.mutex);
    *ret_reply = row.reply;
}

static void cancel_fake(struct transport_channel *channel)
{
    (void)channel;
    (void)pthread_mutex_lock(&fake_transport.mutex);
    fake_transport.is_cancelled = true;
    (void)pthread_cond_broadcast(&fake_transport.changed);
    (void)pthread_mutex_unlock(&fake_transport.mutex);
}

static void close_fake(struct transport_channel *channel)
{
    (void)channel;
    fake_transport.is_open = false;
}

const struct transport fake_transport_functions = {.version = TRANSPORT_VERSION,
                                                   .open = open_fake,
                                                   .call = call_fake,
                                                   .cancel = cancel_fake,
                                                   .close = close_fake};

void fake_transport_reset(uint64_t *clock_ns)
{
    for (unsigned i = 0; i < fake_transport.call_count; i++) {
        free(fake_transport.calls[i].body);
    }
    fake_transport.call_count = 0;
    fake_transport.row_count = 0;
    fake_transport.is_cancelled = false;
    fake_transport.is_released = false;
    fake_transport.open_err = 0;
    fake_transport.clock_ns = clock_ns;
}

void fake_transport_then_row(const struct fake_row *row)
{
    if (fake_transport.row_count == FAKE_ROWS_MAX) {
        abort();
    }
    fake_transport.rows[fake_transport.row_count++] = *row;
}

void fake_transport_then(enum transport_status status)
{
    fake_transport_then_row(&(struct fake_row){.reply = {.status = status}});
}

void fake_transport_await_calls(unsigned count)
{
    (void)pthread_mutex_lock(&fake_transport.mutex);
    while (fake_transport.call_count < count) {
        (void)pthread_cond_wait(&fake_transport.changed, &fake_transport.mutex);
    }
    (void)pthread_mutex_unlock(&fake_transport.mutex);
}

void fake_transport_release(void)
{
    (void)pthread_mutex_lock(&fake_transport.mutex);
    fake_transport.is_released = true;
    (void)pthread_cond_broadcast(&fake_transport.changed);
    (void)pthread_mutex_unlock(&fake_transport.mutex);
}
