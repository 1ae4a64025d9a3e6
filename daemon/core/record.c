#include "core/record.h"

#include "base/err.h"

const char *const aggregation_names[] = {"unsaid", "last", "sum", "max", "min", "per_pid"};

_Static_assert(sizeof aggregation_names / sizeof aggregation_names[0] == AGGREGATION_COUNT,
               "a word each");

const struct str span_status_names[] = {{"unset", 5}, {"ok", 2}, {"error", 5}};
_Static_assert(sizeof span_status_names / sizeof span_status_names[0] == SPAN_STATUS_COUNT,
               "a word each");

void span_init(struct span *span, struct span_room *room)
{
    *span =
        (struct span){.attributes = room->attributes, .events = room->events, .links = room->links};
}

static bool is_zero(const uint8_t *bytes, size_t len)
{
    uint8_t any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

/* Times are nanoseconds that a signed number holds, as those who read them take them for. */
static bool is_time(uint64_t wall_ns)
{
    return wall_ns > 0 && wall_ns <= INT64_MAX;
}

static int check_times(const struct span *span, struct str *ret_key)
{
    *ret_key = STR_LITERAL("start_time_unix_nano");
    if (span->start_wall_ns == 0 && span->part != SPAN_END) {
        return ERR_MISSING_KEY;
    }
    if (span->start_wall_ns != 0 && !is_time(span->start_wall_ns)) {
        return ERR_RANGE;
    }
    *ret_key = STR_LITERAL("end_time_unix_nano");
    if (span->part == SPAN_START) {
        return 0;
    }
    if (span->end_wall_ns == 0) {
        return ERR_MISSING_KEY;
    }
    return is_time(span->end_wall_ns) && span->end_wall_ns >= span->start_wall_ns ? 0 : ERR_RANGE;
}

int span_check(const struct span *span, const struct span_given *given, struct str *ret_key)
{
    const struct {
        bool given;
        int err; /* when it was given and is none */
        bool good;
        struct str key;
    } required[] = {
        {given->name, ERR_NAME, span->name.len > 0 && span->name.len <= RECORD_NAME_MAX,
         STR_LITERAL("name")},
        {given->trace_id, ERR_RANGE, !is_zero(span->trace_id, sizeof span->trace_id),
         STR_LITERAL("trace_id")},
        {given->span_id, ERR_RANGE, !is_zero(span->span_id, sizeof span->span_id),
         STR_LITERAL("span_id")},
    };
    for (size_t i = 0; i < sizeof required / sizeof required[0]; i++) {
        if (!required[i].given || !required[i].good) {
            *ret_key = required[i].key;
            return required[i].given ? required[i].err : ERR_MISSING_KEY;
        }
    }
    return check_times(span, ret_key);
}

bool span_is_root(const struct span *span)
{
    return is_zero(span->parent_id, sizeof span->parent_id);
}

const struct span_attribute *span_find(const struct span *span, struct str key)
{
    for (uint32_t i = 0; i < span->attribute_count; i++) {
        struct str other = span->attributes[i].key;
        if (other.len == key.len && str_same(other.ptr, key.ptr, key.len)) {
            return &span->attributes[i];
        }
    }
    return NULL;
}
