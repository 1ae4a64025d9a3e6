#include "wire/line_reader.h"

int reader_fail(struct reader *reader, int err, struct str key)
{
    reader->rejection = (struct rejection){.err = err, .key = key};
    return err;
}

void reader_note(struct reader *reader, int err)
{
    if (reader->rejection.err == 0) {
        (void)reader_fail(reader, err, reader->key); /* the code is known here */
        reader->noted = reader->last;
    }
}
