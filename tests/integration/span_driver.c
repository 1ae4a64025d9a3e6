/*
 * A program that makes spans by libdwell, told what to do line by line on standard input. Words are
 * separated by tabs, spans are known by numbers from 0 to 63, which can be used again:
 *
 *     start SPAN NAME FROM HOW     FROM: "current", "none", "extracted", or a span; HOW: "", or of
 *                                  "halves" and "detached" one or both
 *     text SPAN KEY VALUE, int SPAN KEY VALUE, fill SPAN KEY COUNT, lists SPAN
 *     event SPAN NAME, link SPAN OTHER, exception SPAN TYPE MESSAGE STACK, fail SPAN MESSAGE
 *     end SPAN
 *     context SPAN                 its ids and flags, also after its end
 *     extract FORMATS NAME VALUE … what such headers say
 *     inject FORMATS FROM          headers that say where one is
 *     verdict TRACE                the header that goes on from a trace begun outside, undecided
 *     threads COUNT SPAN           so many threads make two spans each, one in the other, in SPAN
 *     track MODEL                  an inference
 *     layer OPERATION MS           an operation of layer1_validation that takes so long
 *     flush MS, stats, close
 *
 * FORMATS: "default", or of "b3", "b3multi" and "tracecontext" several with commas between. Each line
 * is answered by one line of JSON. Options come from the environment, as dwell_open finds them.
 */
#define _POSIX_C_SOURCE 200809L

#include "dwell.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    SPANS = 64,
    THREADS = 32,
    WORDS_MAX = 16,
    LINE_BYTES = 32768,
    FILL_BYTES = 4096,
    MEMORY_BYTES = 16256, /* as much as libdwell takes */
};

static dwell_t *dwell;
static struct dwell_span spans[SPANS];
static char memory[SPANS][MEMORY_BYTES];
static struct dwell_context extracted;
static char *words[WORDS_MAX];
static int word_count;

/* Words */

static const char *word(int number)
{
    return number < word_count ? words[number] : "";
}

static long number_of(int at)
{
    return strtol(word(at), NULL, 10);
}

static struct dwell_span *span_of(int at)
{
    return &spans[(unsigned long)number_of(at) % SPANS];
}

/* NULL: where the thread is by itself. */
static const struct dwell_context *context_of(int at, struct dwell_context *context)
{
    if (strcmp(word(at), "current") == 0) {
        return NULL;
    }
    if (strcmp(word(at), "extracted") == 0) {
        return &extracted;
    }
    memset(context, 0, sizeof *context);
    if (strcmp(word(at), "none") != 0) {
        dwell_span_context(span_of(at), context);
    }
    return context;
}

static unsigned formats_of(int at)
{
    static const struct {
        const char *name;
        unsigned format;
    } known[] = {{"b3", DWELL_PROPAGATION_B3},
                 {"b3multi", DWELL_PROPAGATION_B3_MULTI},
                 {"tracecontext", DWELL_PROPAGATION_W3C}};
    unsigned formats = DWELL_PROPAGATION_DEFAULT;
    const char *rest = word(at);
    while (rest[0] != '\0') {
        size_t len = strcspn(rest, ",");
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
            if (strlen(known[i].name) == len && strncmp(rest, known[i].name, len) == 0) {
                formats |= known[i].format;
            }
        }
        rest += len + (rest[len] == ',');
    }
    return formats;
}

/* Answers */

static void print_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            putchar('\\');
        }
        putchar(*text);
    }
    putchar('"');
}

static void print_id(const char *key, const uint8_t *id, size_t len)
{
    printf("\"%s\": \"", key);
    for (size_t i = 0; i < len; i++) {
        printf("%02x", id[i]);
    }
    printf("\", ");
}

static void print_context(const struct dwell_context *context, bool found)
{
    printf("{");
    print_id("trace_id", context->trace_id, sizeof context->trace_id);
    print_id("span_id", context->span_id, sizeof context->span_id);
    printf("\"flags\": %u, \"found\": %s, \"trace_state\": ", (unsigned)context->flags,
           found ? "true" : "false");
    print_text(context->trace_state);
    printf("}\n");
}

static void print_header(void *arg, const char *name, const char *value)
{
    bool *first = arg;
    printf("%s", *first ? "" : ", ");
    *first = false;
    print_text(name);
    printf(": ");
    print_text(value);
}

static void print_headers(const struct dwell_context *context, unsigned formats)
{
    bool first = true;
    printf("{");
    dwell_inject(dwell, context, formats, print_header, &first);
    printf("}\n");
}

static void done(void)
{
    puts("true");
}

/* Commands */

static void do_start(void)
{
    struct dwell_context parent;
    struct dwell_span_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.parent = context_of(3, &parent);
    options.halves = strstr(word(4), "halves") != NULL;
    options.detached = strstr(word(4), "detached") != NULL;
    options.memory = memory[span_of(1) - spans];
    options.memory_bytes = MEMORY_BYTES;
    dwell_span_start(dwell, span_of(1), word(2), &options);
    done();
}

static void do_text(void)
{
    dwell_span_text(span_of(1), word(2), word(3));
    done();
}

static void do_int(void)
{
    dwell_span_int(span_of(1), word(2), number_of(3));
    done();
}

static void do_fill(void)
{
    char text[FILL_BYTES + 1];
    size_t len = (size_t)number_of(3) % sizeof text;
    memset(text, 'x', len);
    text[len] = '\0';
    dwell_span_text(span_of(1), word(2), text);
    done();
}

static void do_lists(void)
{
    static const char *const texts[] = {"a", ""};
    static const int64_t integers[] = {1, -2};
    static const double numbers[] = {0.5, -1e300};
    static const bool truths[] = {true, false};
    struct dwell_attribute lists[4];
    memset(lists, 0, sizeof lists);
    lists[0].key = "texts";
    lists[0].type = DWELL_TEXT_LIST;
    lists[0].value.texts = texts;
    lists[1].key = "integers";
    lists[1].type = DWELL_INT_LIST;
    lists[1].value.integers = integers;
    lists[2].key = "numbers";
    lists[2].type = DWELL_DOUBLE_LIST;
    lists[2].value.numbers = numbers;
    lists[3].key = "truths";
    lists[3].type = DWELL_BOOL_LIST;
    lists[3].value.truths = truths;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        lists[i].count = 2;
        dwell_span_attribute(span_of(1), &lists[i]);
    }
    dwell_span_double(span_of(1), "third", 1.0 / 3);
    dwell_span_bool(span_of(1), "yes", true);
    done();
}

static void do_event(void)
{
    struct dwell_attribute attribute = dwell_int("size", 3);
    dwell_span_event(span_of(1), word(2), &attribute, 1);
    done();
}

static void do_link(void)
{
    struct dwell_context context;
    struct dwell_attribute attribute = dwell_text("why", "batch");
    struct dwell_link link;
    link.context = context_of(2, &context);
    link.attributes = &attribute;
    link.attribute_count = 1;
    dwell_span_link(span_of(1), &link);
    done();
}

static void do_exception(void)
{
    dwell_span_exception(span_of(1), word(2), word(3), word(4));
    done();
}

static void do_fail(void)
{
    dwell_span_status(span_of(1), DWELL_STATUS_ERROR, word(2));
    done();
}

static void do_end(void)
{
    dwell_span_end(span_of(1));
    done();
}

static void do_context(void)
{
    struct dwell_context context;
    dwell_span_context(span_of(1), &context);
    print_context(&context, true);
}

static void do_extract(void)
{
    struct dwell_header header[WORDS_MAX / 2];
    struct dwell_headers headers = {header, 0};
    for (int i = 2; i + 1 < word_count; i += 2) {
        header[headers.count].name = word(i);
        header[headers.count++].value = word(i + 1);
    }
    bool found = dwell_extract(formats_of(1), dwell_header_find, &headers, &extracted);
    print_context(&extracted, found);
}

static void do_inject(void)
{
    struct dwell_context context;
    print_headers(context_of(2, &context), formats_of(1));
}

static void do_verdict(void)
{
    char value[64];
    struct dwell_header header = {"b3", value};
    struct dwell_headers headers = {&header, 1};
    struct dwell_span span;
    struct dwell_span_options options;
    struct dwell_context context;
    (void)snprintf(value, sizeof value, "%.32s-%s", word(1), "00000000000000ab");
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.parent = &context;
    options.detached = true;
    (void)dwell_extract(DWELL_PROPAGATION_B3, dwell_header_find, &headers, &context);
    dwell_span_start(dwell, &span, "verdict", &options);
    dwell_span_context(&span, &context);
    print_headers(&context, DWELL_PROPAGATION_B3 | DWELL_PROPAGATION_W3C);
    dwell_span_end(&span);
}

static void *run_thread(void *arg)
{
    struct dwell_span outer;
    struct dwell_span inner;
    struct dwell_span_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.parent = arg;
    dwell_span_start(dwell, &outer, "outer", &options);
    dwell_span_start(dwell, &inner, "inner", NULL);
    dwell_span_end(&inner);
    dwell_span_end(&outer);
    return NULL;
}

static void do_threads(void)
{
    pthread_t threads[THREADS];
    struct dwell_context context;
    long count = number_of(1);
    long started = 0;
    dwell_span_context(span_of(2), &context);
    while (started < count && started < THREADS &&
           pthread_create(&threads[started], NULL, run_thread, &context) == 0) {
        started++;
    }
    for (long i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL); /* it is joinable, and not this one */
    }
    printf("%ld\n", started);
}

static void do_track(void)
{
    struct dwell_track track;
    dwell_track_begin(&track, dwell_model(dwell, word(1)));
    dwell_track_end(&track, false);
    done();
}

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* it is there */
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void do_layer(void)
{
    struct dwell_budget budget;
    (void)dwell_budget_init(dwell, &budget, NULL); /* the defaults are in range */
    dwell_budget_start(&budget, DWELL_LAYER1_VALIDATION);
    double until_ms = now_ms() + (double)number_of(2);
    while (now_ms() < until_ms) {
    }
    (void)dwell_budget_stop(&budget, DWELL_LAYER1_VALIDATION, word(1), NULL);
    done();
}

static void do_flush(void)
{
    printf("%d\n", dwell_flush(dwell, (int)number_of(1)));
}

static void do_stats(void)
{
    struct dwell_stats stats;
    memset(&stats, 0, sizeof stats);
    stats.size = sizeof stats;
    dwell_stats(dwell, &stats);
    printf("{\"recorded\": %llu, \"sent\": %llu, \"dropped\": %llu}\n",
           (unsigned long long)stats.recorded, (unsigned long long)stats.sent,
           (unsigned long long)stats.dropped);
}

static void do_close(void)
{
    printf("%d\n", dwell_close(dwell));
    dwell = NULL;
}

static const struct {
    const char *name;
    void (*obey)(void);
} commands[] = {
    {"start", do_start},   {"text", do_text},       {"int", do_int},
    {"fill", do_fill},     {"lists", do_lists},     {"event", do_event},
    {"link", do_link},     {"fail", do_fail},       {"exception", do_exception},
    {"end", do_end},       {"context", do_context}, {"extract", do_extract},
    {"inject", do_inject}, {"verdict", do_verdict}, {"threads", do_threads},
    {"track", do_track},   {"flush", do_flush},     {"stats", do_stats},
    {"close", do_close},   {"layer", do_layer},
};

/* False: not understood. */
static bool obey(char *line)
{
    word_count = 0;
    line[strcspn(line, "\n")] = '\0';
    while (line != NULL && word_count < WORDS_MAX) {
        words[word_count++] = line;
        line = strchr(line, '\t');
        if (line != NULL) {
            *line++ = '\0';
        }
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(word(0), commands[i].name) == 0) {
            commands[i].obey();
            return fflush(stdout) == 0;
        }
    }
    return false;
}

int main(void)
{
    static char line[LINE_BYTES];
    struct dwell_options options;
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.service_name = getenv("SPAN_DRIVER_SERVICE");
    options.buffer_bytes = 16u << 20; /* nothing is to be dropped for want of room */
    options.keep_ms = options.close_timeout_ms = 60000; /* or because the machine is busy */
    dwell = dwell_open(&options);
    bool understood = true;
    while (understood && fgets(line, sizeof line, stdin) != NULL) {
        understood = obey(line);
    }
    (void)dwell_close(dwell);
    return understood ? 0 : 1;
}
