#include "conf/families.h"

#include <string.h>

#include "base/err.h"
#include "base/mem.h"

static bool has_member(const char *const *members, size_t count, const char *member)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(members[i], member) == 0) {
            return true;
        }
    }
    return false;
}

static void tell_differences(struct buf *fixed, const char *name, const char *const *members,
                             size_t count)
{
    buf_printf(fixed, "metrics.families_file: %s: needs a restart for other ", name);
    for (size_t i = 0; i < count; i++) {
        buf_puts(fixed, i == 0 ? "" : ", ");
        buf_puts(fixed, members[i]);
    }
    buf_puts(fixed, "; it is as it was\n");
}

int conf_families_compare(const struct conf_families *in_force, const struct conf_families *fresh,
                          struct buf *errors, struct buf *fixed, size_t *fixed_count)
{
    int err = 0;
    for (size_t i = 0; i < in_force->count; i++) {
        const char *members[CONF_FAMILY_MEMBERS_MAX];
        const struct conf_family *family = &in_force->families[i];
        const struct conf_family *other = conf_families_find(fresh, family->name);
        size_t count = other == NULL ? 0 : conf_family_differences(family, other, members);
        if (other == NULL) {
            buf_printf(fixed, "metrics.families_file: %s: needs a restart to go; it stays\n",
                       family->name);
            ++*fixed_count;
        } else if (has_member(members, count, "type")) {
            buf_printf(
                errors,
                "metrics.families_file: %s: cannot become of another type while it is there\n",
                family->name);
            err = ERR_CONFLICT;
        } else if (count > 0) {
            tell_differences(fixed, family->name, members, count);
            ++*fixed_count;
        }
    }
    return err;
}

static size_t count_wanted(const struct conf_families *fresh, const bool *wanted)
{
    size_t count = 0;
    for (size_t i = 0; i < fresh->count; i++) {
        count += wanted[i];
    }
    return count;
}

int conf_families_take(struct conf_families *in_force, struct conf_families *fresh,
                       const bool *wanted)
{
    size_t more = count_wanted(fresh, wanted);
    size_t left = 0;
    if (more == 0) {
        return 0;
    }
    struct conf_family *families =
        mem_realloc(in_force->families, (in_force->count + more) * sizeof *families);
    if (families == NULL) {
        return ERR_NOMEM;
    }
    in_force->families = families;
    for (size_t i = 0; i < fresh->count; i++) {
        if (wanted[i]) {
            families[in_force->count++] = fresh->families[i];
        } else {
            fresh->families[left++] = fresh->families[i];
        }
    }
    fresh->count = left;
    return 0;
}
