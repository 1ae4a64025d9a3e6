/* dwell check-config: becomes dwelld --check-config. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "cli/tool.h"

enum { PATH_BYTES = 4096 };

/* The dwelld that lies beside this program; false: there is none that could be named. */
static bool find_beside(char path[PATH_BYTES])
{
    static const char name[] = "dwelld";
    ssize_t len = readlink("/proc/self/exe", path, PATH_BYTES - sizeof name);
    while (len > 0 && path[len - 1] != '/') {
        len--;
    }
    if (len <= 0) {
        return false;
    }
    memcpy(path + len, name, sizeof name);
    return access(path, X_OK) == 0;
}

int check_config_run(struct tool *tool)
{
    char program[] = "dwelld";
    char check[] = "--check-config";
    char config[] = "--config";
    bool has_file = tool->arguments.operand_count > 0;
    char *const arguments[] = {program, check, has_file ? config : NULL,
                               has_file ? tool->arguments.operands[0] : NULL, NULL};
    char beside[PATH_BYTES];
    if (find_beside(beside)) {
        (void)execv(beside, arguments); /* comes back only when it fails */
    } else {
        (void)execvp(program, arguments); /* likewise */
    }
    tool_complain("cannot run dwelld, which is neither beside this program nor in PATH: %s",
                  strerror(errno));
    return EX_UNAVAILABLE;
}
