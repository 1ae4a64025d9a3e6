#include "io/configuration.h"

#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "io/system.h"

enum { FILE_MAX_BYTES = 1 << 20 };

/* Reads a whole file; complains when it cannot be had. */
static int read_file(const char *name, struct buf *out, struct buf *errors)
{
    int reason = system_read_file(name, out);
    if (reason != 0) {
        buf_printf(errors, "%s: %s\n", name, strerror(reason));
    }
    return reason == 0 ? 0 : ERR_SYSTEM;
}

static int load_conf(const struct conf_command *command, struct conf *ret_conf, struct buf *errors,
                     struct buf *warnings)
{
    struct buf file;
    buf_init(&file, FILE_MAX_BYTES);
    struct conf_sources sources = {.file_name = command->file_name,
                                   .environment = environ,
                                   .sets = command->sets,
                                   .set_count = command->set_count};
    int err = 0;
    if (sources.file_name != NULL) {
        err = read_file(sources.file_name, &file, errors);
        sources.file_text = (struct str){file.data, file.len};
    }
    if (err == 0) {
        err = conf_load(ret_conf, &sources, errors, warnings);
    }
    buf_fini(&file);
    return err;
}

/* The families that a configuration declares. */
static int load_families(const struct conf *conf, struct conf_families *ret_families,
                         struct buf *errors)
{
    struct buf file;
    buf_init(&file, CONF_FAMILIES_FILE_MAX_BYTES + FILE_MAX_BYTES); /* the loader has a sentence */
    const char *name = conf->metrics.families_file;
    int err = 0;
    if (name[0] != '\0') {
        err = read_file(name, &file, errors);
    }
    if (err == 0) {
        struct str builtin = {conf_families_builtin, conf_families_builtin_len};
        err = conf_families_load(ret_families, builtin, name[0] == '\0' ? NULL : name,
                                 (struct str){file.data, file.len}, errors);
    }
    buf_fini(&file);
    return err;
}

int configuration_read(const struct conf_command *command, struct conf *ret_conf,
                       struct conf_families *ret_families, struct buf *errors, struct buf *warnings)
{
    int err = load_conf(command, ret_conf, errors, warnings);
    if (err == 0) {
        err = load_families(ret_conf, ret_families, errors);
        if (err != 0) {
            conf_fini(ret_conf);
        }
    }
    return err;
}
