#include "render/state_part.h"

/* Goes through the parts and the sets of a copy as the families and places of the snapshot go by. */
struct cursor {
    const struct beside *beside;
    uint32_t part;
    uint32_t set;
    uint32_t value; /* the first of the set */
};

/* --- what lies beside a value ------------------------------------------------------------------ */

static bool is_before(uint32_t family, uint32_t place, uint32_t wanted_family,
                      uint32_t wanted_place)
{
    return family < wanted_family || (family == wanted_family && place < wanted_place);
}

/* Those of series that are not shown any more are passed over. */
static void append_parts(struct buf *out, struct cursor *cursor, uint32_t family, uint32_t place)
{
    const struct beside *beside = cursor->beside;
    const struct beside_part *parts = beside->parts;
    while (cursor->part < beside->part_count &&
           is_before(parts[cursor->part].family, parts[cursor->part].place, family, place)) {
        cursor->part++;
    }
    for (; cursor->part < beside->part_count && parts[cursor->part].family == family &&
           parts[cursor->part].place == place;
         cursor->part++) {
        size_t message = message_begin(out, SERIES_PART);
        state_u64(out, PART_PROCESS, parts[cursor->part].part.process);
        message_double(out, PART_VALUE, parts[cursor->part].part.value);
        message_end(out, message);
    }
}

/* The values of one age, in the order of the copy. */
static void append_age(struct buf *out, const struct cursor *cursor, uint32_t count, uint8_t age)
{
    const struct beside *beside = cursor->beside;
    size_t message = message_begin(out, SERIES_VALUES);
    state_u64(out, VALUES_AGE, age);
    size_t hashes = message_begin(out, VALUES_HASHES);
    for (uint32_t i = cursor->value; i < cursor->value + count; i++) {
        if (beside->ages[i] == age) {
            uint64_t hash = htole64(beside->hashes[i]);
            buf_append(out, &hash, sizeof hash);
        }
    }
    message_end(out, hashes);
    message_end(out, message);
}

static void append_values(struct buf *out, struct cursor *cursor, uint32_t family, uint32_t place)
{
    const struct beside *beside = cursor->beside;
    const struct beside_set *sets = beside->sets;
    while (cursor->set < beside->set_count &&
           is_before(sets[cursor->set].family, sets[cursor->set].place, family, place)) {
        cursor->value += sets[cursor->set++].count;
    }
    if (cursor->set < beside->set_count && sets[cursor->set].family == family &&
        sets[cursor->set].place == place) {
        for (uint8_t age = WINDOW_SLOTS; age-- > 0;) {
            append_age(out, cursor, sets[cursor->set].count, age);
        }
    }
}

/* --- series ------------------------------------------------------------------------------------ */

static void append_buckets(struct buf *out, const struct buckets *buckets)
{
    size_t message = message_begin(out, SERIES_BUCKETS);
    state_u64(out, BUCKETS_COUNT, buckets->count);
    message_double(out, BUCKETS_SUM, buckets->sum);
    state_packed(out, BUCKETS_CLASSIC, buckets->counts, (size_t)buckets->bound_count + 1);
    if (buckets->native) {
        state_u64(out, BUCKETS_ZERO, buckets->zero);
        message_sint(out, BUCKETS_FIELD_SCHEMA, buckets->schema);
        state_run(out, BUCKETS_POSITIVE, buckets->positive.first, buckets_positive(buckets),
                  buckets->positive.len);
        state_run(out, BUCKETS_NEGATIVE, buckets->negative.first, buckets_negative(buckets),
                  buckets->negative.len);
    }
    message_end(out, message);
    for (uint32_t i = 0; buckets->exemplars != NULL && i <= buckets->bound_count; i++) {
        state_exemplar(out, SERIES_EXEMPLAR, i, &buckets->exemplars->marks[i]);
    }
}

static void append_series(struct buf *out, struct cursor *cursor, const struct family *family,
                          const struct series_page *page, uint32_t place)
{
    const struct beside_family *beside = &cursor->beside->families[family->number];
    uint32_t slot = place % SERIES_PER_PAGE;
    const struct series_id *id = page->who[slot];
    size_t message = message_begin(out, FAMILY_FIELD_SERIES);
    state_str(out, SERIES_PAIRS, (struct str){id->pairs, id->len});
    message_fixed64(out, SERIES_CREATED, id->created_wall_ns);
    state_u64(out, SERIES_OVERFLOW, beside->overflow == 1 + place);
    state_u64(out, SERIES_IDLE,
              beside->idle != NULL && place < beside->places ? beside->idle[place] : 0);
    if (family->shape.type == FAMILY_HISTOGRAM) {
        append_buckets(out, page->value[slot].buckets);
    } else {
        message_double(out, SERIES_NUMBER, page->value[slot].number);
    }
    if (page->exemplars != NULL) {
        state_exemplar(out, SERIES_EXEMPLAR, 0, &page->exemplars->marks[slot]);
    }
    append_parts(out, cursor, family->number, place);
    append_values(out, cursor, family->number, place);
    message_end(out, message);
}

/* --- families ---------------------------------------------------------------------------------- */

static void append_shape(struct buf *out, const struct family_shape *shape)
{
    message_str(out, FAMILY_FIELD_NAME, shape->name);
    state_str(out, FAMILY_FIELD_SOURCE, shape->source);
    state_str(out, FAMILY_FIELD_HELP, shape->help);
    state_str(out, FAMILY_FIELD_UNIT, shape->unit);
    state_u64(out, FAMILY_FIELD_TYPE, shape->type);
    state_u64(out, FAMILY_FIELD_AGGREGATION, shape->aggregation);
    state_u64(out, FAMILY_FIELD_ONLY, shape->only);
    state_u64(out, FAMILY_FIELD_DECLARED, shape->declared);
    state_u64(out, FAMILY_FIELD_NATIVE, shape->native);
    state_u64(out, FAMILY_FIELD_EXPIRE, shape->expire_seconds);
    for (uint32_t i = 0; i < shape->label_count; i++) {
        message_str(out, FAMILY_FIELD_LABEL, shape->labels[i]);
    }
    if (shape->bound_count > 0) {
        size_t bounds = message_begin(out, FAMILY_FIELD_BOUNDS);
        for (uint32_t i = 0; i < shape->bound_count; i++) {
            char bytes[MESSAGE_DOUBLE_BYTES];
            message_write_double(bytes, shape->bounds[i]);
            buf_append(out, bytes, sizeof bytes);
        }
        message_end(out, bounds);
    }
}

static void append_page(struct buf *out, struct cursor *cursor, const struct family_view *view,
                        uint32_t number)
{
    const struct series_page *page = view->pages[number];
    for (uint64_t left = page->shown; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(left);
        append_series(out, cursor, view->family, page, number * SERIES_PER_PAGE + slot);
    }
}

/* Gauges of the daemon's own, which it tells anew. */
static bool is_own_gauge(const struct family_shape *shape)
{
    return shape->only != SPELLING_NONE && shape->type == FAMILY_GAUGE;
}

void state_families(struct buf *out, const struct state_source *source)
{
    const struct metrics_view *metrics = &source->snapshot->metrics;
    struct cursor cursor = {.beside = source->beside};
    for (uint32_t i = 0; i < metrics->family_count; i++) {
        if (is_own_gauge(&metrics->families[i].family->shape)) {
            continue;
        }
        size_t message = message_begin(out, STATE_FAMILY);
        append_shape(out, &metrics->families[i].family->shape);
        for (uint32_t page = 0; page < metrics->families[i].page_count; page++) {
            append_page(out, &cursor, &metrics->families[i], page);
        }
        message_end(out, message);
    }
}
