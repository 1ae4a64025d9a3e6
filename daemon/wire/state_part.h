/*
 * What the readers of the parts of a state file share; for the state*.c files alone. Readers return 0 or
 * what state_read returns. One thread at a time for each reading.
 */
#ifndef DWELL_WIRE_STATE_PART_H
#define DWELL_WIRE_STATE_PART_H

#include "wire/field.h"
#include "wire/state.h"

/* A field, whatever it is: a number in all of its bits, or bytes. */
struct state_field {
    uint32_t tag;
    uint64_t number;
    struct piece bytes;
};

/* Room for the pieces at hand. */
struct state_reading {
    const struct saved_sink *sink;
    bool has_moment;
    uint32_t process_count;
    uint32_t library_count;
    struct saved_model model;
    struct saved_family family;
    struct saved_tally tally;
    struct saved_bucket fine[SAVED_BUCKETS_MAX];
    struct saved_buckets buckets;
    struct saved_part parts[SAVED_PARTS_MAX];
};

/* Takes the next field from what is left: true, or false at the end, or for damage with an error in
 * *ret_err. */
bool state_next(struct piece *rest, struct state_field *ret, int *ret_err);

static inline struct str state_text(const struct state_field *field)
{
    const struct piece *bytes = &field->bytes;
    return (struct str){(const char *)bytes->at, (size_t)(bytes->end - bytes->at)};
}

static inline double state_double(const struct state_field *field)
{
    double number;
    memcpy(&number, &field->number, sizeof number);
    return number;
}

/* sint32, sint64 */
static inline int64_t state_sint(uint64_t number)
{
    return (int64_t)(number >> 1 ^ (~(number & 1) + 1));
}

/* Bytes of a fixed length. */
int state_id(const struct state_field *field, size_t len, uint8_t *ret_id);

/* Varints behind each other, as many as `max` with those there are. */
int state_counts(struct piece bytes, uint64_t *counts, uint32_t max, uint32_t *count);

/* Text of `least` to `most` bytes. */
bool state_is_text(struct str text, size_t least, size_t most);

/* Adds so many; false past SAVED_COUNT_MAX. */
bool state_add(uint64_t *total, uint64_t number);

int state_read_run(struct piece piece, struct saved_run *ret);
int state_read_exemplar(struct piece piece, const struct saved_sink *sink);

/* Into reading->tally. */
int state_read_tally(struct state_reading *reading, struct piece piece);

int state_read_model(struct state_reading *reading, struct piece piece);
int state_read_family(struct state_reading *reading, struct piece piece);
int state_read_layer(struct state_reading *reading, struct piece piece);

#endif
