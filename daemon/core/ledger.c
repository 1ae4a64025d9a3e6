/*
 * Clients lie in one array, in chains by hash and in a list by last use; a newcomer to a full array
 * takes the place of the one that has been silent longest, of those that ask for acknowledgements only
 * when all do.
 */
#include "core/ledger.h"

#define XXH_INLINE_ALL /* header only: nothing to link */
#include <xxhash.h>

#include "base/mem.h"
#include "core/saved.h"

enum { HEADS = LEDGER_CLIENTS_MAX };

_Static_assert(LEDGER_CLIENTS_MAX <= INT16_MAX, "places fit their type");

int ledger_init(struct ledger *ledger, uint64_t hash_seed)
{
    *ledger =
        (struct ledger){.hash_seed = hash_seed, .oldest = LEDGER_NOBODY, .newest = LEDGER_NOBODY};
    ledger->clients = mem_zalloc(LEDGER_CLIENTS_MAX, sizeof *ledger->clients);
    ledger->heads = mem_alloc(HEADS * sizeof *ledger->heads);
    if (ledger->clients == NULL || ledger->heads == NULL) {
        ledger_fini(ledger);
        return ERR_NOMEM;
    }
    for (size_t i = 0; i < HEADS; i++) {
        ledger->heads[i] = LEDGER_NOBODY;
    }
    return 0;
}

void ledger_fini(struct ledger *ledger)
{
    mem_free(ledger->clients);
    mem_free(ledger->heads);
    *ledger = (struct ledger){0};
}

static void write_library_name(char out[LEDGER_LIBRARY_BYTES], struct str name)
{
    memset(out, 0, LEDGER_LIBRARY_BYTES);
    size_t len = name.len < LEDGER_LIBRARY_BYTES ? name.len : LEDGER_LIBRARY_BYTES - 1;
    for (size_t i = 0; i < len; i++) {
        out[i] = name.ptr[i] >= ' ' && name.ptr[i] <= '~' ? name.ptr[i] : '?';
    }
}

/* The number of a library, or the count of them when there is none of that name. */
static uint32_t find_library(const struct ledger_view *view, const char *name)
{
    uint32_t at = 0;
    while (at < view->library_count && strcmp(view->libraries[at].name, name) != 0) {
        at++;
    }
    return at;
}

uint8_t ledger_library(struct ledger *ledger, struct str name)
{
    struct ledger_view *view = &ledger->view;
    char wanted[LEDGER_LIBRARY_BYTES];
    write_library_name(wanted, name.len == 0 ? STR_LITERAL("unknown") : name);
    uint32_t at = find_library(view, wanted);
    if (at == view->library_count && at >= LEDGER_LIBRARIES_MAX - 1) {
        write_library_name(wanted, STR_LITERAL("other"));
        at = find_library(view, wanted); /* a client may have used that name before */
    }
    if (at == view->library_count) {
        memcpy(view->libraries[view->library_count++].name, wanted, sizeof wanted);
    }
    return (uint8_t)at;
}

static size_t head_of(const struct ledger *ledger, const uint8_t *id)
{
    return XXH3_64bits_withSeed(id, RECORD_CLIENT_ID_BYTES, ledger->hash_seed) % HEADS;
}

static void unlink_use(struct ledger *ledger, int16_t place)
{
    struct ledger_client *client = &ledger->clients[place];
    *(client->older == LEDGER_NOBODY ? &ledger->oldest : &ledger->clients[client->older].newer) =
        client->newer;
    *(client->newer == LEDGER_NOBODY ? &ledger->newest : &ledger->clients[client->newer].older) =
        client->older;
}

static void link_newest(struct ledger *ledger, int16_t place)
{
    struct ledger_client *client = &ledger->clients[place];
    client->older = ledger->newest;
    client->newer = LEDGER_NOBODY;
    *(ledger->newest == LEDGER_NOBODY ? &ledger->oldest : &ledger->clients[ledger->newest].newer) =
        place;
    ledger->newest = place;
}

static void unlink_chain(struct ledger *ledger, int16_t place)
{
    int16_t *link = &ledger->heads[head_of(ledger, ledger->clients[place].id)];
    while (*link != place) {
        link = &ledger->clients[*link].chain;
    }
    *link = ledger->clients[place].chain;
}

static int16_t take_place(struct ledger *ledger)
{
    if (ledger->used < LEDGER_CLIENTS_MAX) {
        return ledger->used++;
    }
    int16_t place = ledger->oldest;
    while (place != LEDGER_NOBODY && ledger->clients[place].asks) {
        place = ledger->clients[place].newer; /* all of them: 10 µs, for a newcomer among 4096 */
    }
    place = place == LEDGER_NOBODY ? ledger->oldest : place;
    unlink_use(ledger, place);
    unlink_chain(ledger, place);
    return place;
}

/* What the terms have no room for is passed over: what comes one by one still counts. */
static void account(struct ledger *ledger, const struct ledger_client *client, uint64_t dropped,
                    uint64_t lost)
{
    const struct ledger_terms *all = &ledger->view.all;
    if (all->dropped + all->lost + dropped + lost > SAVED_LEAPS_MAX) {
        return;
    }
    struct ledger_terms *both[] = {&ledger->view.all,
                                   &ledger->view.libraries[client->library].terms};
    for (size_t i = 0; i < 2; i++) {
        both[i]->sent += dropped + lost;
        both[i]->dropped += dropped;
        both[i]->lost += lost;
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int16_t enter(struct ledger *ledger, const uint8_t *id, uint8_t library)
{
    int16_t place = take_place(ledger);
    struct ledger_client *client = &ledger->clients[place];
    size_t head = head_of(ledger, id);
    *client = (struct ledger_client){.chain = ledger->heads[head], .library = library};
    memcpy(client->id, id, RECORD_CLIENT_ID_BYTES);
    ledger->heads[head] = place;
    link_newest(ledger, place);
    return place;
}

/* A client not met before: of what it numbered before this, only its own drops are told. */
static int16_t admit(struct ledger *ledger, const uint8_t *id, uint8_t library,
                     const struct mark *mark)
{
    int16_t place = enter(ledger, id, library);
    struct ledger_client *client = &ledger->clients[place];
    client->next = mark->has_sequence ? mark->sequence : 0;
    client->credited = mark->has_dropped ? least(mark->dropped, client->next) : 0;
    account(ledger, client, client->credited <= LEDGER_GAP_MAX ? client->credited : 0, 0);
    return place;
}

static int16_t find(const struct ledger *ledger, const uint8_t *id)
{
    int16_t place = ledger->heads[head_of(ledger, id)];
    while (place != LEDGER_NOBODY &&
           memcmp(ledger->clients[place].id, id, RECORD_CLIENT_ID_BYTES) != 0) {
        place = ledger->clients[place].chain;
    }
    return place;
}

int ledger_client(struct ledger *ledger, const uint8_t id[RECORD_CLIENT_ID_BYTES], uint8_t library,
                  const struct mark *mark)
{
    int16_t place = find(ledger, id);
    if (place == LEDGER_NOBODY) {
        return admit(ledger, id, library, mark);
    }
    if (place != ledger->newest) {
        unlink_use(ledger, place);
        link_newest(ledger, place);
    }
    return place;
}

void ledger_set_library(struct ledger *ledger, int place, uint8_t library)
{
    ledger->clients[place].library = library;
}

void ledger_ask(struct ledger *ledger, int place)
{
    ledger->clients[place].asks = true;
}

uint64_t ledger_next(const struct ledger *ledger, int place)
{
    return ledger->clients[place].next;
}

uint64_t ledger_credited(const struct ledger *ledger, int place)
{
    return ledger->clients[place].credited;
}

bool ledger_advance(struct ledger *ledger, int place, const struct mark *mark)
{
    struct ledger_client *client = &ledger->clients[place];
    if (!mark->has_sequence) {
        return true;
    }
    if (mark->sequence < client->next) {
        return false;
    }
    uint64_t gap = mark->sequence - client->next;
    if (gap > LEDGER_GAP_MAX) {
        client->next = mark->sequence;
        client->credited = mark->has_dropped ? mark->dropped : client->credited;
        return true;
    }
    uint64_t reported = mark->has_dropped && mark->dropped > client->credited
                            ? mark->dropped - client->credited
                            : 0;
    uint64_t dropped = least(gap, reported);
    client->credited += dropped;
    client->next = mark->sequence;
    account(ledger, client, dropped, gap - dropped);
    return true;
}

void ledger_count(struct ledger *ledger, int place, uint64_t accepted)
{
    if (place == LEDGER_NOBODY) {
        ledger->view.unledgered += accepted;
        return;
    }
    struct ledger_client *client = &ledger->clients[place];
    struct ledger_terms *terms = &ledger->view.libraries[client->library].terms;
    client->next += accepted;
    terms->sent += accepted;
    terms->accepted += accepted;
    ledger->view.all.sent += accepted;
    ledger->view.all.accepted += accepted;
}

void ledger_reject(struct ledger *ledger, int place, int err)
{
    if (place == LEDGER_NOBODY) {
        ledger->view.unledgered++;
        return;
    }
    struct ledger_client *client = &ledger->clients[place];
    struct ledger_terms *terms = &ledger->view.libraries[client->library].terms;
    client->next++;
    terms->sent++;
    terms->rejected[err_row(err)]++;
    ledger->view.all.sent++;
    ledger->view.all.rejected[err_row(err)]++;
}

void ledger_restore(struct ledger *ledger, const struct ledger_standing *standing)
{
    if (find(ledger, standing->id) != LEDGER_NOBODY) {
        return;
    }
    int16_t place = enter(ledger, standing->id, ledger_library(ledger, standing->library));
    struct ledger_client *client = &ledger->clients[place];
    client->next = standing->next;
    client->credited = standing->credited;
    client->asks = standing->asks;
}
