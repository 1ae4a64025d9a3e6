/*
 * The parts that the body of a state file is put together from; shared by the state*.c files alone. Each
 * appends fields of its message, or whole messages of a field. Any thread.
 */
#ifndef DWELL_RENDER_STATE_PART_H
#define DWELL_RENDER_STATE_PART_H

#include "base/message.h"
#include "render/state.h"

/* What is 0 is not written. */
static inline void state_u64(struct buf *out, unsigned field, uint64_t number)
{
    if (number != 0) {
        message_u64(out, field, number);
    }
}

static inline void state_str(struct buf *out, unsigned field, struct str text)
{
    if (text.len > 0) {
        message_str(out, field, text);
    }
}

/* Varints behind each other; nothing for none. */
void state_packed(struct buf *out, unsigned field, const uint64_t *numbers, size_t count);

/* The count of runs, an exemplar of a bucket, a tally: messages of a field. `present` is the slot of the
 * moment. */
void state_run(struct buf *out, unsigned field, int64_t first, const uint64_t *counts,
               size_t count);
void state_exemplar(struct buf *out, unsigned field, uint32_t bucket,
                    const struct exemplar_mark *mark);
void state_tally(struct buf *out, unsigned field, enum saved_kind kind, const struct tally *tally,
                 uint64_t present);

/* All models, all families, all layers. */
void state_models(struct buf *out, const struct snapshot *snapshot);
void state_families(struct buf *out, const struct state_source *source);
void state_layers(struct buf *out, const struct snapshot *snapshot);

#endif
