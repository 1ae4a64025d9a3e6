/*
 * Happy path
 *   1. turns_wait   a socket is readable: its turn goes behind the others of its sender, and the
 *                   sender into the class of what it used lately
 *   2. on_idle      once in each turn of the loop, for TURNS_STRETCH_US: the sender that used least
 *   3. serve        its connection that waits longest reads once; the time it took is the sender's
 *   4. put          if there is more, back to the end; when nobody waits, the loop sleeps again
 *
 * What can fail: nothing here. A sender ahead of its rate is put aside until a timer says that its time
 * has come. What waits for TURNS_OVERLOAD_MS without an end is told in the log, and so is its end.
 */
#include "io/turns.h"

#include <assert.h>

static void on_idle(uv_idle_t *idle);
static void on_timer(uv_timer_t *timer);

void turns_start(struct turns *turns, uv_loop_t *loop, struct senders *senders,
                 struct counters *counters, const struct clock *clock)
{
    *turns = (struct turns){.senders = senders, .counters = counters, .clock = *clock};
    for (unsigned i = 0; i < TURNS_CLASSES; i++) {
        TAILQ_INIT(&turns->classes[i]);
    }
    TAILQ_INIT(&turns->paused);
    (void)uv_idle_init(loop, &turns->idle); /* neither can fail */
    (void)uv_timer_init(loop, &turns->timer);
    turns->idle.data = turns;
    turns->timer.data = turns;
    turns->aged_ns = clock->mono_ns(clock->ctx);
    log_limit_init(&turns->overloads, LOG_LEVEL_WARNING, "lines on overload", 6,
                   60 * NS_PER_SECOND);
}

void turns_close(struct turns *turns)
{
    assert(turns->ready == 0 && TAILQ_EMPTY(&turns->paused));
    uv_close((uv_handle_t *)&turns->idle, NULL);
    uv_close((uv_handle_t *)&turns->timer, NULL);
}

static uint64_t now_of(const struct turns *turns)
{
    return turns->clock.mono_ns(turns->clock.ctx);
}

/* --- overload ---------------------------------------------------------------------------------- */

/* Who has used most of those who wait, of whom there are some. */
static const struct sender *greediest(const struct turns *turns)
{
    const struct sender *sender = NULL;
    for (unsigned i = TURNS_CLASSES; sender == NULL && i > 0; i--) {
        sender = TAILQ_LAST(&turns->classes[i - 1], sender_queue);
    }
    return sender;
}

static void tell_overload(struct turns *turns)
{
    const struct sender *most = greediest(turns);
    turns->is_overloaded = true;
    turns->counters->value[COUNTER_OVERLOADS]++;
    if (most->connections == 0) {
        log_limited(&turns->overloads,
                    "more comes in than can be read: of %u peers that wait most was datagrams",
                    turns->ready);
        return;
    }
    log_limited(&turns->overloads,
                "more comes in than can be read: %llu connections of %u peers wait, most was of "
                "process %ld, user %u",
                (unsigned long long)turns->counters->value[COUNTER_WAITING], turns->ready,
                (long)most->pid, (unsigned)most->uid);
}

static void be_idle(struct turns *turns)
{
    (void)uv_idle_stop(&turns->idle);
    if (turns->is_overloaded) {
        log_limited(&turns->overloads, "all that came in is read again, after %.1f s",
                    (double)(now_of(turns) - turns->busy_ns) / (double)NS_PER_SECOND);
    }
    turns->is_overloaded = false;
    turns->busy_ns = 0;
}

static void be_busy(struct turns *turns)
{
    if (turns->busy_ns == 0) {
        turns->busy_ns = now_of(turns);
        (void)uv_idle_start(&turns->idle, on_idle); /* a callback is given */
    }
}

/* --- queues ------------------------------------------------------------------------------------ */

static void take_out(struct turns *turns, struct sender *sender)
{
    TAILQ_REMOVE(sender->queue, sender, place);
    turns->ready -= sender->queue != &turns->paused;
    sender->queue = NULL;
}

static unsigned class_of(const struct turns *turns, struct sender *sender)
{
    uint64_t used = senders_used_ns(turns->senders, sender) >> 16; /* of 65 µs */
    unsigned class = 0;
    while (used > 0 && class < TURNS_CLASSES - 1) {
        used >>= 1;
        class ++;
    }
    return class;
}

static void arm_timer(struct turns *turns, uint64_t ns)
{
    uint64_t ms = ns / NS_PER_MS < TURNS_RESUME_MS ? TURNS_RESUME_MS : ns / NS_PER_MS + 1;
    if (!uv_is_active((uv_handle_t *)&turns->timer) || uv_timer_get_due_in(&turns->timer) > ms) {
        (void)uv_timer_start(&turns->timer, on_timer, ms, 0); /* a callback is given */
    }
}

/* A sender that has turns and is in no queue goes to the end of the one where it belongs. */
static void put(struct turns *turns, struct sender *sender)
{
    uint64_t ahead_ns = senders_ahead_ns(turns->senders, sender, now_of(turns));
    if (ahead_ns > 0) {
        sender->queue = &turns->paused;
        arm_timer(turns, ahead_ns);
    } else {
        sender->queue = &turns->classes[class_of(turns, sender)];
        turns->ready++;
        be_busy(turns);
    }
    TAILQ_INSERT_TAIL(sender->queue, sender, place);
}

static void append(struct turns *turns, struct turn *turn)
{
    turn->waits = true;
    turns->counters->value[COUNTER_WAITING]++;
    TAILQ_INSERT_TAIL(&turn->sender->turns, turn, entry);
}

static void take_off(struct turns *turns, struct turn *turn)
{
    turn->waits = false;
    turns->counters->value[COUNTER_WAITING]--;
    TAILQ_REMOVE(&turn->sender->turns, turn, entry);
}

void turns_wait(struct turns *turns, struct turn *turn)
{
    if (turn->waits) {
        return;
    }
    append(turns, turn);
    if (turn->sender->queue == NULL) {
        put(turns, turn->sender);
    }
}

void turns_cancel(struct turns *turns, struct turn *turn)
{
    struct sender *sender = turn->sender;
    if (!turn->waits) {
        return;
    }
    take_off(turns, turn);
    if (sender->queue != NULL && TAILQ_EMPTY(&sender->turns)) {
        take_out(turns, sender);
    }
}

/* Everybody one class forward: who is in class 1 goes behind those in class 0. */
static void move_forward(struct turns *turns)
{
    for (unsigned i = 1; i < TURNS_CLASSES; i++) {
        struct sender *sender;
        while ((sender = TAILQ_FIRST(&turns->classes[i])) != NULL) {
            TAILQ_REMOVE(&turns->classes[i], sender, place);
            sender->queue = &turns->classes[i - 1];
            TAILQ_INSERT_TAIL(sender->queue, sender, place);
        }
    }
}

static void age(struct turns *turns, uint64_t now)
{
    uint64_t ages = (now - turns->aged_ns) / (TURNS_AGE_MS * NS_PER_MS);
    turns->aged_ns += ages * TURNS_AGE_MS * NS_PER_MS;
    senders_age(turns->senders, ages);
    for (uint64_t i = 0; i < ages && i < TURNS_CLASSES && turns->ready > 0; i++) {
        move_forward(turns);
    }
}

/* --- the loop ---------------------------------------------------------------------------------- */

static struct sender *next_sender(const struct turns *turns)
{
    struct sender *sender = NULL;
    for (unsigned i = 0; sender == NULL && i < TURNS_CLASSES; i++) {
        sender = TAILQ_FIRST(&turns->classes[i]);
    }
    return sender;
}

/* One read, begun at `began`. Returns when it was over. */
static uint64_t serve(struct turns *turns, struct sender *sender, uint64_t began)
{
    struct turn *turn = TAILQ_FIRST(&sender->turns);
    take_out(turns, sender);
    take_off(turns, turn);
    bool more = turn->take(turn);
    uint64_t now = now_of(turns);
    senders_use(turns->senders, sender, now - began);
    if (more) {
        append(turns, turn);
    }
    if (!TAILQ_EMPTY(&sender->turns)) {
        put(turns, sender);
    }
    return now;
}

static void on_idle(uv_idle_t *idle)
{
    struct turns *turns = idle->data;
    uint64_t began = now_of(turns);
    uint64_t now = began;
    age(turns, now);
    while (turns->ready > 0 && now - began < TURNS_STRETCH_US * NS_PER_MS / 1000) {
        now = serve(turns, next_sender(turns), now);
    }
    if (turns->ready == 0) {
        be_idle(turns);
    } else if (!turns->is_overloaded && now - turns->busy_ns >= TURNS_OVERLOAD_MS * NS_PER_MS) {
        tell_overload(turns);
    }
}

/* Looks at all who are paused: they cost nothing in between. */
static void on_timer(uv_timer_t *timer)
{
    struct turns *turns = timer->data;
    struct sender_queue paused;
    struct sender *sender;
    TAILQ_INIT(&paused);
    TAILQ_CONCAT(&paused, &turns->paused, place);
    while ((sender = TAILQ_FIRST(&paused)) != NULL) {
        TAILQ_REMOVE(&paused, sender, place);
        put(turns, sender);
    }
}
