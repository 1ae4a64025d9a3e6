#include "io/senders.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

#define WITHOUT_PID (UINT64_C(1) << 32) /* above every pid: the rest of the key is the user */

int senders_init(struct senders *senders, const struct senders_options *options)
{
    *senders = (struct senders){.options = *options};
    TAILQ_INIT(&senders->absent);
    senders->cells = mem_alloc(SENDERS_CELLS * sizeof *senders->cells);
    if (senders->cells == NULL) {
        return ERR_NOMEM;
    }
    for (unsigned i = 0; i < SENDERS_CELLS; i++) {
        TAILQ_INIT(&senders->cells[i]);
    }
    return 0;
}

static uint64_t key_of(const struct ucred *who)
{
    return who->pid > 0 ? (uint64_t)who->pid : WITHOUT_PID | who->uid;
}

/* The kernel hands out pids one after the other: they spread by themselves. */
static struct sender_queue *cell_of(const struct senders *senders, uint64_t key)
{
    return &senders->cells[key % SENDERS_CELLS];
}

static void forget(struct senders *senders, struct sender *sender)
{
    TAILQ_REMOVE(cell_of(senders, sender->key), sender, cell);
    senders->count--;
    maker_end(sender->maker);
    mem_free(sender);
}

static void stop_being_absent(struct senders *senders, struct sender *sender)
{
    if (sender->queue == &senders->absent) {
        TAILQ_REMOVE(&senders->absent, sender, place);
        sender->queue = NULL;
        senders->absent_count--;
    }
}

static void be_absent(struct senders *senders, struct sender *sender)
{
    if (senders->absent_count == SENDERS_ABSENT_MAX) {
        struct sender *oldest = TAILQ_FIRST(&senders->absent);
        stop_being_absent(senders, oldest);
        forget(senders, oldest);
    }
    TAILQ_INSERT_TAIL(&senders->absent, sender, place);
    sender->queue = &senders->absent;
    senders->absent_count++;
}

void senders_fini(struct senders *senders)
{
    while (senders->absent_count > 0) {
        struct sender *sender = TAILQ_FIRST(&senders->absent);
        stop_being_absent(senders, sender);
        forget(senders, sender);
    }
    mem_free(senders->cells);
    senders->cells = NULL;
}

static struct sender *find(const struct senders *senders, uint64_t key)
{
    struct sender *sender = TAILQ_FIRST(cell_of(senders, key));
    while (sender != NULL && sender->key != key) {
        sender = TAILQ_NEXT(sender, cell);
    }
    return sender;
}

struct sender *senders_meet(struct senders *senders, const struct ucred *who, uint64_t now_ns)
{
    uint64_t key = key_of(who);
    struct sender *sender = find(senders, key);
    if (sender != NULL) {
        if (sender->connections == 0) { /* the one met last is forgotten last */
            stop_being_absent(senders, sender);
            be_absent(senders, sender);
        }
        return sender;
    }
    sender = mem_zalloc(1, sizeof *sender);
    struct maker *maker = maker_new();
    if (sender == NULL || maker == NULL) {
        mem_free(sender);
        maker_end(maker);
        return NULL;
    }
    sender->maker = maker;
    sender->key = key;
    sender->pid = who->pid;
    sender->uid = who->uid;
    sender->age = senders->age;
    sender->credit = (double)senders->options.max_records_a_second;
    sender->credit_ns = now_ns;
    TAILQ_INIT(&sender->turns);
    TAILQ_INSERT_HEAD(cell_of(senders, key), sender, cell);
    senders->count++;
    be_absent(senders, sender);
    return sender;
}

bool senders_are_full(const struct senders *senders, const struct ucred *who)
{
    const struct sender *sender = find(senders, key_of(who));
    return sender != NULL && sender->connections >= senders->options.max_connections;
}

void senders_enter(struct senders *senders, struct sender *sender)
{
    stop_being_absent(senders, sender);
    sender->connections++;
}

void senders_leave(struct senders *senders, struct sender *sender)
{
    if (--sender->connections == 0) {
        be_absent(senders, sender);
    }
}

/* --- what it used ------------------------------------------------------------------------------ */

void senders_age(struct senders *senders, uint64_t ages)
{
    senders->age += ages;
}

uint64_t senders_used_ns(const struct senders *senders, struct sender *sender)
{
    uint64_t ages = senders->age - sender->age;
    sender->used_ns = ages < 64 ? sender->used_ns >> ages : 0;
    sender->age = senders->age;
    return sender->used_ns;
}

void senders_use(const struct senders *senders, struct sender *sender, uint64_t ns)
{
    sender->used_ns = senders_used_ns(senders, sender) + ns;
}

/* --- rate -------------------------------------------------------------------------------------- */

/* Of one that saves up, a second's worth is kept: so much may come in one go. A reading of the clock may
 * be older than one before, as a read is charged for when it began: no time passes twice. */
static void refill(const struct senders *senders, struct sender *sender, uint64_t now_ns)
{
    double rate = (double)senders->options.max_records_a_second;
    if (now_ns <= sender->credit_ns) {
        return;
    }
    sender->credit += rate * (double)(now_ns - sender->credit_ns) / (double)NS_PER_SECOND;
    sender->credit = sender->credit < rate ? sender->credit : rate;
    sender->credit_ns = now_ns;
}

bool senders_charge(const struct senders *senders, struct sender *sender, uint64_t records,
                    uint64_t now_ns)
{
    if (senders->options.max_records_a_second == 0) {
        return false;
    }
    refill(senders, sender, now_ns);
    bool was_within = sender->credit >= 0;
    sender->credit -= (double)records;
    return was_within && sender->credit < 0;
}

uint64_t senders_ahead_ns(const struct senders *senders, struct sender *sender, uint64_t now_ns)
{
    if (senders->options.max_records_a_second == 0) {
        return 0;
    }
    refill(senders, sender, now_ns);
    double rate = (double)senders->options.max_records_a_second;
    return sender->credit >= 0 ? 0 : (uint64_t)(-sender->credit / rate * (double)NS_PER_SECOND) + 1;
}
