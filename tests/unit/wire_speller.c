#include "wire_speller.h"

#include <stdlib.h>

static struct str copy_text(struct str text)
{
    char *copy = malloc(text.len + 1);
    WIRE_REQUIRE(copy != NULL);
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    return (struct str){copy, text.len};
}

static void free_text(struct str text)
{
    free((void *)(uintptr_t)text.ptr); /* the cast frees what copy_text made */
}

static void forget(const struct metric *known)
{
    free_text(known->name);
    free_text(known->unit);
    free_text(known->spelling.head);
    free_text(known->spelling.tail);
    for (uint32_t i = 0; i < known->attribute_count; i++) {
        free_text(known->attributes[i].key);
        free_text(known->attributes[i].value);
    }
}

static size_t count(const struct speller *speller)
{
    return speller->remembered < SPELLER_KEEPS ? speller->remembered : SPELLER_KEEPS;
}

static const struct metric *find(const struct speller *speller, const struct spelling *spelling)
{
    for (size_t i = 0; i < count(speller); i++) {
        const struct spelling *known = &speller->known[i].spelling;
        if (known->format == spelling->format && str_equal(known->head, spelling->head) &&
            str_equal(known->tail, spelling->tail)) {
            return &speller->known[i];
        }
    }
    return NULL;
}

static void require_same_series(const struct metric *a, const struct metric *b)
{
    WIRE_REQUIRE(str_equal(a->name, b->name) && a->op == b->op && str_equal(a->unit, b->unit));
    WIRE_REQUIRE(a->has == b->has && a->attribute_count == b->attribute_count);
    for (uint32_t i = 0; i < a->attribute_count; i++) {
        WIRE_REQUIRE(str_equal(a->attributes[i].key, b->attributes[i].key));
        WIRE_REQUIRE(str_equal(a->attributes[i].value, b->attributes[i].value));
    }
}

static void remember(struct speller *speller, const struct metric *metric)
{
    struct metric *kept = &speller->known[speller->remembered++ % SPELLER_KEEPS];
    if (speller->remembered > SPELLER_KEEPS) {
        forget(kept);
    }
    *kept = *metric;
    kept->name = copy_text(metric->name);
    kept->unit = copy_text(metric->unit);
    kept->spelling.head = copy_text(metric->spelling.head);
    kept->spelling.tail = copy_text(metric->spelling.tail);
    for (uint32_t i = 0; i < metric->attribute_count; i++) {
        kept->attributes[i].key = copy_text(metric->attributes[i].key);
        kept->attributes[i].value = copy_text(metric->attributes[i].value);
    }
}

static int on_metric(void *ctx, const struct metric *metric)
{
    struct speller *speller = ctx;
    int err = speller->metric(ctx, metric);
    if (err == 0 && metric->spelling.format != SPELLING_NONE) {
        WIRE_REQUIRE(metric->has == 0);
        const struct metric *known = find(speller, &metric->spelling);
        if (known == NULL) {
            remember(speller, metric);
        } else {
            require_same_series(known, metric);
        }
    }
    return err;
}

static bool on_spelled(void *ctx, const struct spelling *spelling, double value, uint64_t weight)
{
    struct speller *speller = ctx;
    recorder_check(&speller->recorder);
    WIRE_REQUIRE(spelling->format != SPELLING_NONE);
    const struct metric *known = find(speller, spelling);
    if (known == NULL || speller->recorder.refuse != 0) { /* a sink refuses in full */
        return false;
    }
    struct metric metric = *known;
    metric.value = value;
    metric.weight = weight;
    speller->hits++;
    WIRE_REQUIRE(speller->metric(ctx, &metric) == 0);
    return true;
}

void speller_init(struct speller *speller)
{
    recorder_init(&speller->recorder);
    speller->metric = speller->recorder.sink.metric;
    speller->recorder.sink.metric = on_metric;
    speller->recorder.sink.spelled = on_spelled;
    speller->known = calloc(SPELLER_KEEPS, sizeof *speller->known);
    WIRE_REQUIRE(speller->known != NULL);
    speller->remembered = 0;
    speller->hits = 0;
}

void speller_fini(struct speller *speller)
{
    for (size_t i = 0; i < count(speller); i++) {
        forget(&speller->known[i]);
    }
    free(speller->known);
    recorder_fini(&speller->recorder);
}
