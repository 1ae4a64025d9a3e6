#include "base/err.h"

#include <assert.h>

static const struct {
    const char *label;
    const char *sentence;
} rows[] = {
#define X(code, label, sentence) {label, sentence},
    ERR_TABLE(X)
#undef X
};

_Static_assert(sizeof rows / sizeof rows[0] == ERR_ROW_COUNT, "a row for each code");
_Static_assert(ERR_ROW_COUNT < 24, "the list stays short: callers act on each word");

int err_row(int err)
{
    int row = -1 - err;
    assert(row >= 0 && row < ERR_ROW_COUNT);
    return row;
}

const char *err_label(int err)
{
    return rows[err_row(err)].label;
}

const char *err_sentence(int err)
{
    return rows[err_row(err)].sentence;
}
