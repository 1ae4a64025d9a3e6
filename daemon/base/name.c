#include "base/name.h"

size_t name_sanitise(struct str text, char *out)
{
    size_t len = 0;
    if (text.len > 0 && text.ptr[0] >= '0' && text.ptr[0] <= '9') {
        out[len++] = '_';
    }
    for (size_t i = 0; i < text.len; i++) {
        bool continues = ((unsigned char)text.ptr[i] & 0xC0) == 0x80; /* of one character */
        if (name_takes(text.ptr[i])) {
            out[len++] = text.ptr[i];
        } else if (!continues) {
            out[len++] = '_';
        }
    }
    return len;
}

bool name_is_text(struct str text)
{
    return str_is_utf8(text) && (text.len == 0 || memchr(text.ptr, '\0', text.len) == NULL);
}
