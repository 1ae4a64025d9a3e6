#include "wire_memory.h"

#include <stdlib.h>

#include "base/num.h"

static struct str copy(const char *bytes, size_t len)
{
    char *own = malloc(len + 1);
    WIRE_REQUIRE(own != NULL);
    if (len > 0) {
        memcpy(own, bytes, len);
    }
    return (struct str){own, len};
}

static void discard(struct str text)
{
    free((void *)(uintptr_t)text.ptr); /* ours, although a str does not say so */
}

static void forget(struct memory_entry *entry)
{
    discard(entry->head);
    discard(entry->tail);
    discard(entry->before);
    discard(entry->after);
}

/* Cuts what the recorder has just said of a metric at its value; a weight goes with the value. */
static void remember(struct memory *memory, const struct spelling *spelling, const char *said)
{
    struct memory_entry *entry = &memory->entries[memory->remembered++ % MEMORY_ENTRIES];
    if (memory->remembered > MEMORY_ENTRIES) {
        forget(entry);
    }
    static const char value[] = "\" value="; /* quotes in names are escaped: the first is it */
    const char *at = strstr(said, value);
    WIRE_REQUIRE(at != NULL);
    at += sizeof value - 1;
    const char *after = at + strcspn(at, " \n");
    if (strncmp(after, " weight=", 8) == 0) {
        after += 8 + strcspn(after + 8, " \n");
    }
    *entry = (struct memory_entry){
        .format = spelling->format,
        .head = copy(spelling->head.ptr, spelling->head.len),
        .tail = copy(spelling->tail.ptr, spelling->tail.len),
        .before = copy(said, (size_t)(at - said)),
        .after = copy(after, strlen(after)),
    };
}

static struct memory_entry *find(struct memory *memory, const struct spelling *spelling)
{
    for (size_t i = 0; i < memory->remembered && i < MEMORY_ENTRIES; i++) {
        struct memory_entry *entry = &memory->entries[i];
        if (entry->format == spelling->format && str_equal(entry->head, spelling->head) &&
            str_equal(entry->tail, spelling->tail)) {
            return entry;
        }
    }
    return NULL;
}

static int on_metric(void *ctx, const struct metric *metric)
{
    struct memory *memory = ctx;
    size_t said = memory->recorder.len;
    int err = memory->metric(ctx, metric);
    const struct spelling *spelling = &metric->spelling;
    if (err == 0 && spelling->format != SPELLING_NONE) {
        WIRE_REQUIRE(find(memory, spelling) == NULL);
        remember(memory, spelling, memory->recorder.text + said);
    }
    return err;
}

/* recorder_print has a ceiling, texts of records have a higher one. */
static void print(struct recorder *recorder, struct str text)
{
    for (size_t at = 0; at < text.len; at += 200) {
        size_t len = text.len - at < 200 ? text.len - at : 200;
        recorder_print(recorder, "%.*s", (int)len, text.ptr + at);
    }
}

static bool on_spelled(void *ctx, const struct spelling *spelling, double value, uint64_t weight)
{
    struct memory *memory = ctx;
    struct recorder *recorder = &memory->recorder;
    recorder_check(recorder);
    WIRE_REQUIRE(spelling->format != SPELLING_NONE);
    const struct memory_entry *entry = find(memory, spelling);
    if (entry == NULL || recorder->refuse != 0) {
        return false;
    }
    char digits[NUM_DOUBLE_MAX];
    size_t len = num_write_double(digits, value);
    print(recorder, entry->before);
    print(recorder, (struct str){digits, len});
    if (weight != 1) {
        recorder_print(recorder, " weight=%llu", (unsigned long long)weight);
    }
    print(recorder, entry->after);
    recorder->accepted++;
    memory->recalled++;
    return true;
}

void memory_init(struct memory *memory)
{
    recorder_init(&memory->recorder);
    memory->remembered = 0;
    memory->recalled = 0;
    memory->metric = memory->recorder.sink.metric;
    memory->recorder.sink.metric = on_metric;
    memory->recorder.sink.spelled = on_spelled;
}

void memory_fini(struct memory *memory)
{
    for (size_t i = 0; i < memory->remembered && i < MEMORY_ENTRIES; i++) {
        forget(&memory->entries[i]);
    }
    recorder_fini(&memory->recorder);
}
