/*
 * Happy path
 *   1. judge_sample   a model's first evidence opens a round; more is added up
 *   2. judge_tick     the round is long enough, and core/opinion finds enough in it
 *   3. close_round    what the daemon saw of the model's processes is added; shares, label, opinion; the
 *                     registry shows it, snapshots carry it
 *   4. judge_sample   the next evidence opens the next round, which begins where the last one ended
 *
 * What can fail: memory. A sample's evidence is then not used, though the sample counts; an opinion is not
 * shown, and the last one stays until the next round. Both are counted.
 *
 * A reset is not told: the model's number of resets shows it, at its next sample or look.
 */
#include "core/judge.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/mem.h"

/* What is known of a model from its first evidence until it is forgotten. */
struct judged {
    struct judged *next, **link; /* in its queue */
    uint64_t due_ns;             /* when it is looked at */
    enum judge_wait wait;
    uint32_t number;          /* of the model */
    uint32_t resets;          /* of the model, when this began */
    uint64_t began_ns;        /* the open round; meaningless while KEPT */
    uint64_t closed_ns;       /* the last round; 0: there was none */
    struct evidence evidence; /* since then */
    struct opinion_memory memory;
    bool wants_touch; /* as its processes were told */
    uint32_t process_count;
    int64_t processes[JUDGE_PROCESSES_MAX]; /* that sent samples in the open round */
};

enum { FIRST_CAPACITY = 16 };

void judge_init(struct judge *judge, struct registry *registry, struct witness *witness,
                const struct machine *machine, uint64_t round_ns)
{
    uint64_t window_ns = registry->options.window_ns;
    *judge =
        (struct judge){.registry = registry,
                       .witness = witness,
                       .machine = machine,
                       .window_ns = window_ns,
                       .delay_ns = {[JUDGE_ROUND] = round_ns < window_ns ? round_ns : window_ns,
                                    [JUDGE_LONGER] = JUDGE_LONGER_NS,
                                    [JUDGE_KEPT] = window_ns}};
    for (unsigned i = 0; i < JUDGE_WAIT_COUNT; i++) {
        judge->queues[i].end = &judge->queues[i].first;
    }
}

void judge_set_round(struct judge *judge, uint64_t round_ns)
{
    uint64_t before_ns = judge->delay_ns[JUDGE_ROUND];
    round_ns = round_ns < judge->window_ns ? round_ns : judge->window_ns;
    judge->delay_ns[JUDGE_ROUND] = round_ns;
    for (struct judged *judged = judge->queues[JUDGE_ROUND].first; judged != NULL;
         judged = judged->next) {
        judged->due_ns = judged->due_ns - before_ns + round_ns;
    }
}

void judge_fini(struct judge *judge)
{
    for (uint32_t i = 0; i < judge->capacity; i++) {
        mem_free(judge->models[i]);
    }
    mem_free((void *)judge->models);
    *judge = (struct judge){0};
}

/* --- queues ------------------------------------------------------------------------------------ */

static void enqueue(struct judge *judge, struct judged *judged, enum judge_wait wait,
                    uint64_t mono_ns)
{
    struct judge_queue *queue = &judge->queues[wait];
    judged->wait = wait;
    judged->due_ns = mono_ns + judge->delay_ns[wait];
    judged->next = NULL;
    judged->link = queue->end;
    *queue->end = judged;
    queue->end = &judged->next;
}

static void dequeue(struct judge *judge, struct judged *judged)
{
    *judged->link = judged->next;
    if (judged->next != NULL) {
        judged->next->link = judged->link;
    } else {
        judge->queues[judged->wait].end = judged->link;
    }
}

/* --- models ------------------------------------------------------------------------------------ */

static struct judged *find(const struct judge *judge, uint32_t number)
{
    return number < judge->capacity ? judge->models[number] : NULL;
}

static bool was_reset(const struct judge *judge, const struct judged *judged)
{
    return judged->resets != judge->registry->models[judged->number]->resets;
}

/* Out of its queue already. */
static void forget(struct judge *judge, struct judged *judged)
{
    judge->models[judged->number] = NULL;
    mem_free(judged);
}

static int reserve(struct judge *judge, uint32_t number)
{
    uint32_t capacity = judge->capacity == 0 ? FIRST_CAPACITY : judge->capacity;
    while (capacity <= number) {
        capacity *= 2; /* below 2^21: so many models there may be */
    }
    if (capacity == judge->capacity) {
        return 0;
    }
    struct judged **models = mem_realloc((void *)judge->models, capacity * sizeof *models);
    if (models == NULL) {
        return ERR_NOMEM;
    }
    memset((void *)(models + judge->capacity), 0,
           (capacity - judge->capacity) * sizeof(struct judged *));
    judge->models = models;
    judge->capacity = capacity;
    return 0;
}

/* NULL without memory. */
static struct judged *meet(struct judge *judge, uint32_t number)
{
    struct judged *judged = reserve(judge, number) == 0 ? mem_zalloc(1, sizeof *judged) : NULL;
    if (judged != NULL) {
        judged->number = number;
        judged->resets = judge->registry->models[number]->resets;
        judge->models[number] = judged;
    }
    return judged;
}

/* --- rounds ------------------------------------------------------------------------------------ */

/* A round begins where the last one ended; after a pause with the first inference in it, so that the
 * pause is not taken for time that was waited. */
static void open_round(struct judge *judge, struct judged *judged, double wall_ms, uint64_t mono_ns)
{
    uint64_t closed_ns = judged->closed_ns;
    uint64_t wall_ns = (uint64_t)(wall_ms * NS_PER_MS);
    bool paused = closed_ns == 0 || mono_ns - closed_ns > judge->delay_ns[JUDGE_ROUND];
    judged->began_ns = closed_ns;
    if (paused) {
        judged->began_ns = mono_ns - closed_ns > wall_ns ? mono_ns - wall_ns : closed_ns;
    }
    bool previews = judged->memory.rounds == 0 && judge->delay_ns[JUDGE_ROUND] > JUDGE_LONGER_NS;
    enqueue(judge, judged, previews ? JUDGE_LONGER : JUDGE_ROUND, mono_ns);
}

/* What the daemon saw by itself. Of probes of memory the witness tells all those of the last minute: the
 * memory of earlier rounds would count them again. */
static void collect(const struct judge *judge, const struct judged *judged,
                    struct evidence *evidence)
{
    for (uint32_t i = 0; i < judged->process_count; i++) {
        (void)witness_collect(judge->witness, judged->processes[i], judged->began_ns,
                              evidence); /* the figures say which sources there were */
    }
}

/* Whether it takes probes of memory to tell what the model is bound by: without them the rule says so; with
 * them, that they decide. */
static bool needs_touch(const struct opinion *opinion)
{
    double computing = opinion->share[SHARE_COMPUTE] + opinion->share[SHARE_MEMORY];
    return opinion->rule == RULE_CPU || (!isnan(opinion->shares.touch) && computing >= 0.5);
}

/* Said again each round while it is so, as another model of the process may have said that it is not. */
static void ask_for_touch(const struct judge *judge, struct judged *judged,
                          const struct opinion *opinion)
{
    bool wants = needs_touch(opinion);
    for (uint32_t i = 0; (wants || judged->wants_touch) && i < judged->process_count; i++) {
        witness_wants_touch(judge->witness, judged->processes[i], wants);
    }
    judged->wants_touch = wants;
}

/* What the evidence so far comes to. */
static void conclude(struct judge *judge, struct judged *judged, struct opinion_memory *memory,
                     struct evidence *evidence, struct opinion *ret_opinion)
{
    if (judge->witness != NULL) {
        collect(judge, judged, evidence);
    }
    opinion_take(memory, evidence, judge->machine, ret_opinion);
    if (judge->witness != NULL) {
        ask_for_touch(judge, judged, ret_opinion);
    }
}

static void show(struct judge *judge, const struct judged *judged, const struct opinion *opinion)
{
    judge->lost += registry_set_opinion(judge->registry, judged->number, opinion) == 0 ? 0 : 1;
}

/* Before the first round has ended, what is known so far is an opinion as well: ranges are wider, so that
 * it says unknown for longer and nothing else. Nothing of it is remembered, and it is of no round. */
static void preview(struct judge *judge, struct judged *judged)
{
    struct opinion_memory memory = judged->memory;
    struct evidence evidence = judged->evidence;
    struct opinion opinion;
    conclude(judge, judged, &memory, &evidence, &opinion);
    opinion.rounds = 0;
    if (opinion.rule != RULE_INSUFFICIENT) {
        show(judge, judged, &opinion);
    }
}

static void close_round(struct judge *judge, struct judged *judged, uint64_t mono_ns)
{
    struct opinion opinion;
    conclude(judge, judged, &judged->memory, &judged->evidence, &opinion);
    show(judge, judged, &opinion);
    judged->evidence = (struct evidence){0};
    judged->process_count = 0;
    judged->closed_ns = mono_ns;
    enqueue(judge, judged, JUDGE_KEPT, mono_ns);
}

/* --- samples ----------------------------------------------------------------------------------- */

/* The model as one with an open round; NULL without memory. */
static struct judged *find_open(struct judge *judge, uint32_t number, const struct sample *sample)
{
    struct judged *judged = find(judge, number);
    bool opens = judged == NULL;
    if (judged != NULL && (judged->wait == JUDGE_KEPT || was_reset(judge, judged))) {
        opens = true;
        dequeue(judge, judged);
        if (was_reset(judge, judged)) {
            forget(judge, judged);
            judged = NULL;
        }
    }
    if (judged == NULL) {
        judged = meet(judge, number);
    }
    if (judged != NULL && opens) {
        open_round(judge, judged, sample->execution_time_ms, judge->registry->mono_ns);
    }
    return judged;
}

static void note_process(struct judged *judged, int64_t kernel_pid)
{
    uint32_t at = 0;
    while (at < judged->process_count && judged->processes[at] != kernel_pid) {
        at++;
    }
    if (at == judged->process_count && at < JUDGE_PROCESSES_MAX && kernel_pid > 0) {
        judged->processes[judged->process_count++] = kernel_pid;
    }
}

void judge_sample(struct judge *judge, uint32_t number, int64_t kernel_pid,
                  const struct sample *sample)
{
    struct judged *judged = find_open(judge, number, sample);
    if (judged == NULL) {
        judge->lost++;
        return;
    }
    judge->impossible += evidence_add(&judged->evidence, sample) ? 0 : 1;
    if (judge->witness != NULL) {
        witness_set_time(judge->witness, judge->registry->mono_ns);
        note_process(judged, kernel_pid);
        witness_sample(judge->witness, kernel_pid, sample, &judged->evidence);
    }
}

/* --- time -------------------------------------------------------------------------------------- */

/* The model is due, and out of its queue. */
static void look(struct judge *judge, struct judged *judged, uint64_t mono_ns)
{
    uint64_t age_ns = mono_ns - judged->began_ns;
    if (was_reset(judge, judged)) {
        forget(judge, judged);
        return;
    }
    if (judged->wait == JUDGE_KEPT) {
        if (registry_set_opinion(judge->registry, judged->number, NULL) == 0) {
            forget(judge, judged);
        } else {
            enqueue(judge, judged, JUDGE_KEPT, mono_ns); /* tried again a window later */
        }
        return;
    }
    judged->evidence.span_ms = (double)age_ns / (double)NS_PER_MS;
    bool is_round =
        age_ns >= judge->delay_ns[JUDGE_ROUND] &&
        opinion_is_round(&judged->evidence, (double)judge->window_ns / (double)NS_PER_MS);
    if (age_ns >= judge->window_ns || is_round) {
        close_round(judge, judged, mono_ns);
        return;
    }
    if (judged->memory.rounds == 0) {
        preview(judge, judged);
    }
    enqueue(judge, judged, JUDGE_LONGER, mono_ns);
}

void judge_tick(struct judge *judge, uint64_t mono_ns)
{
    if (judge->witness != NULL) {
        witness_set_time(judge->witness, mono_ns);
    }
    for (unsigned i = 0; i < JUDGE_WAIT_COUNT; i++) {
        struct judge_queue *queue = &judge->queues[i];
        for (unsigned looks = 0; looks < JUDGE_TICK_MODELS; looks++) {
            struct judged *judged = queue->first;
            if (judged == NULL || judged->due_ns > mono_ns) {
                break;
            }
            dequeue(judge, judged);
            look(judge, judged, mono_ns);
        }
    }
}

size_t judge_bytes(const struct judge *judge)
{
    size_t bytes = judge->capacity * sizeof *judge->models;
    for (uint32_t i = 0; i < judge->capacity; i++) {
        bytes += judge->models[i] == NULL ? 0 : sizeof *judge->models[i];
    }
    return bytes;
}
