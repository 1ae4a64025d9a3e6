#include "cli/doctor_reason.h"

#include <stddef.h>
#include <string.h>

/* In the order of base/err.h, which has the reasons. */
static const struct {
    const char *reason;
    const char *mend;
} rows[] = {
    {"bad_syntax", "Send one JSON object, or one metric of StatsD, a line: dwell send shows which "
                   "lines are no JSON"},
    {"bad_frame", "Compare what the sender frames with proto/WIRE.md; the log names its process"},
    {"too_long", "Send shorter lines and frames, or raise ingest.max_line_bytes or "
                 "ingest.max_frame_bytes"},
    {"too_deep", "Send flat objects: a value may nest 8 deep"},
    {"unknown_format", "Keep away from the socket what is no client, such as HTTP; the log names "
                       "its process"},
    {"unknown_type", "Correct the record's type, or upgrade dwelld where the client is newer"},
    {"unsupported_type", "Upgrade dwelld: this one does not take such records"},
    {"missing_key",
     "Give each record its required keys, a sample model_name and execution_time_ms: "
     "dwell send shows which are missing"},
    {"duplicate_key", "Give each key of a record once"},
    {"wrong_type",
     "Send numbers as numbers and texts as texts: dwell send shows which key is wrong"},
    {"out_of_range", "Send figures within their range, times from 0 to 1e12 ms: dwell send shows "
                     "which is not"},
    {"bad_name", "Use names of 1 to 256 bytes of UTF-8"},
    {"name_conflict",
     "Give one name to one metric of one type and unit: rename one of the two that "
     "the log names"},
    {"bad_labels", "Send the labels that the family declares, or declare those that are sent "
                   "(metrics.families_file)"},
    {"bad_reference", "Correct the sender: its batches point outside of their own string table"},
    {"no_hello", "Let clients say hello with the hash first, or set service.enforce_hash to false"},
    {"hash_mismatch", "Give the client and the daemon the same CONSTITUTIONAL_HASH"},
    {"not_allowed", "Add the sender's user to ingest.allowed_uids, or its group to "
                    "ingest.allowed_gids"},
    {"limit_reached", "Raise the ceiling that the log names, or send less: dwell status shows how "
                      "much there is"},
    {"out_of_memory", "Give the daemon more memory: raise MemoryMax=, or the container's limit"},
    {"system_error", "See the daemon's log for the call that failed"},
};

const char *doctor_reason_mend(const char *reason)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].reason, reason) == 0) {
            return rows[i].mend;
        }
    }
    return "See the daemon's log for who sent it and why it is refused";
}
