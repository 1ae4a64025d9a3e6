#include "io/export/export_retry.h"

/* What a status means for a request that may be sent any number of times. */
enum meaning {
    FINAL,     /* the next time would end the same */
    TRANSIENT, /* the next time may go well */
    TOO_MUCH,  /* transient when the server says when to come back; else the request is too large */
    TAKEN,
};

static const struct {
    const char *name;
    enum meaning meaning;
} statuses[] = {
    [TRANSPORT_OK] = {"OK", TAKEN},
    [TRANSPORT_CANCELLED] = {"CANCELLED", TRANSIENT},
    [TRANSPORT_UNKNOWN] = {"UNKNOWN", FINAL},
    [TRANSPORT_INVALID_ARGUMENT] = {"INVALID_ARGUMENT", FINAL},
    [TRANSPORT_DEADLINE_EXCEEDED] = {"DEADLINE_EXCEEDED", TRANSIENT},
    [TRANSPORT_NOT_FOUND] = {"NOT_FOUND", FINAL},
    [TRANSPORT_ALREADY_EXISTS] = {"ALREADY_EXISTS", FINAL},
    [TRANSPORT_PERMISSION_DENIED] = {"PERMISSION_DENIED", FINAL},
    [TRANSPORT_RESOURCE_EXHAUSTED] = {"RESOURCE_EXHAUSTED", TOO_MUCH},
    [TRANSPORT_FAILED_PRECONDITION] = {"FAILED_PRECONDITION", FINAL},
    [TRANSPORT_ABORTED] = {"ABORTED", TRANSIENT},
    [TRANSPORT_OUT_OF_RANGE] = {"OUT_OF_RANGE", TRANSIENT},
    [TRANSPORT_UNIMPLEMENTED] = {"UNIMPLEMENTED", FINAL},
    [TRANSPORT_INTERNAL] = {"INTERNAL", FINAL},
    [TRANSPORT_UNAVAILABLE] = {"UNAVAILABLE", TRANSIENT},
    [TRANSPORT_DATA_LOSS] = {"DATA_LOSS", TRANSIENT},
    [TRANSPORT_UNAUTHENTICATED] = {"UNAUTHENTICATED", FINAL},
};
_Static_assert(sizeof statuses / sizeof statuses[0] == TRANSPORT_STATUS_COUNT, "a row a status");

const char *export_retry_status_name(enum transport_status status)
{
    return statuses[status].name;
}

static uint64_t clamp(uint64_t number, uint64_t least, uint64_t most)
{
    return number < least ? least : number > most ? most : number;
}

static uint64_t backoff_ns(unsigned attempt, uint64_t random)
{
    uint64_t ceiling = RETRY_MOST_NS;
    if (attempt < 63 && RETRY_FIRST_NS <= RETRY_MOST_NS >> attempt) {
        ceiling = RETRY_FIRST_NS << attempt;
    }
    return random % (ceiling + 1);
}

static struct retry_decision drop(enum export_drop reason)
{
    return (struct retry_decision){.action = RETRY_DROP, .reason = reason};
}

struct retry_decision export_retry_decide(const struct retry_input *input)
{
    switch (statuses[input->status].meaning) {
    case TAKEN:
        return (struct retry_decision){.action = RETRY_KEEP};
    case FINAL:
        return drop(EXPORT_DROP_FAILED);
    case TOO_MUCH:
        if (!input->has_retry_delay) {
            return input->items > 1 ? (struct retry_decision){.action = RETRY_SPLIT}
                                    : drop(EXPORT_DROP_TOO_LARGE);
        }
        break;
    case TRANSIENT:
        break;
    }
    uint64_t wait_ns = input->has_retry_delay ? clamp(input->retry_delay_ns, RETRY_SERVER_LEAST_NS,
                                                      RETRY_SERVER_MOST_NS)
                                              : backoff_ns(input->attempt, input->random);
    /* A wait that ends after the batch's time would end in nothing. */
    if (wait_ns >= input->left_ns) {
        return drop(EXPORT_DROP_TIMEOUT);
    }
    return (struct retry_decision){.action = RETRY_WAIT, .wait_ns = wait_ns};
}
