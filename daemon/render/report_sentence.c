#include "render/report_sentence.h"

#include <string.h>

#include "render/width.h"

void report_put_sentence(struct buf *out, const char *word, const char *sentence)
{
    size_t column = width_count(str_of(word));
    bool begins = true;
    buf_puts(out, word);
    while (*sentence != '\0') {
        struct str next = {sentence, strcspn(sentence, " ")};
        size_t width = width_count(next);
        if (!begins && column + 1 + width > REPORT_COLUMNS) {
            buf_puts(out, "\n          ");
            column = REPORT_INDENT - 1;
        }
        buf_puts(out, begins ? "" : " ");
        buf_str(out, next);
        column += width + (begins ? 0 : 1);
        begins = false;
        sentence += next.len + (sentence[next.len] == ' ' ? 1 : 0);
    }
    buf_char(out, '\n');
}
