/*
 * The one list of things that can be wrong with a record, a frame or a peer.
 * A row is a code, the word for it in replies, logs, counters and tests, and a sentence.
 * It does not format messages. Any thread may call it: the table is constant.
 */
#ifndef DWELL_BASE_ERR_H
#define DWELL_BASE_ERR_H

#define ERR_TABLE(X)                                                                               \
    X(SYNTAX, "bad_syntax", "the text is no JSON object and no line of StatsD")                    \
    X(FRAME, "bad_frame", "the frame is not a valid Batch message")                                \
    X(TOO_LONG, "too_long", "the line or frame is longer than the configured ceiling")             \
    X(TOO_DEEP, "too_deep", "arrays and objects are nested too deeply")                            \
    X(FORMAT, "unknown_format", "the first bytes belong to no format that is understood")          \
    X(UNKNOWN_TYPE, "unknown_type", "the record's type is not known")                              \
    X(UNSUPPORTED, "unsupported_type", "the record's type is not taken by this version")           \
    X(MISSING_KEY, "missing_key", "a required key is missing")                                     \
    X(DUPLICATE_KEY, "duplicate_key", "a key is given twice")                                      \
    X(WRONG_TYPE, "wrong_type", "a value has the wrong type")                                      \
    X(RANGE, "out_of_range", "a value lies outside its range")                                     \
    X(NAME, "bad_name", "a name is empty, too long, not UTF-8 or holds a zero byte")               \
    X(CONFLICT, "name_conflict", "the name belongs to a metric of another type, unit or spelling") \
    X(LABELS, "bad_labels", "the attributes are not the labels that the family declares")          \
    X(REFERENCE, "bad_reference", "a reference points at no entry of the string table")            \
    X(NO_HELLO, "no_hello", "records came before a hello, which this daemon demands")              \
    X(HASH, "hash_mismatch", "the constitutional hash differs from the daemon's")                  \
    X(DENIED, "not_allowed", "the peer's user or group may not send")                              \
    X(LIMIT, "limit_reached", "a ceiling is reached")                                              \
    X(NOMEM, "out_of_memory", "memory could not be had")                                           \
    X(SYSTEM, "system_error", "a system call failed")

/* Codes are negative, so that 0 and counts can share a return value with them. */
enum err_row {
#define X(code, label, sentence) ERR_ROW_##code,
    ERR_TABLE(X)
#undef X
        ERR_ROW_COUNT
};

enum err {
#define X(code, label, sentence) ERR_##code = -1 - ERR_ROW_##code,
    ERR_TABLE(X)
#undef X
};

/* The row of a code, for tables that count by reason. `err` must be a code of the table. */
int err_row(int err);

/* The word for a code: lower case with underscores, stable, safe as a metric label. */
const char *err_label(int err);

/* One sentence without capital and full stop. */
const char *err_sentence(int err);

#endif
