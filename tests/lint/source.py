"""Rules on the text of source files: layers, homes of libraries, guards, banned functions, layout.

Each check yields (line, message) pairs. It reads nothing: run hands in the text.
"""

import re

RANKS = {"base": 0, "core": 1, "conf": 1, "wire": 2, "render": 2, "io": 3, "main": 4}

# A module that is opened when there is an endpoint, and the server that its tests talk to.
GRPC = ("daemon/io/export/otlp_module/", "tests/unit/otlp_server.c")

# Where the headers of outside libraries may be included; a prefix, or a whole path.
HOMES = {
    "uv.h": ("daemon/io/", "daemon/main.c", "tests/bench/"),
    "microhttpd.h": ("daemon/io/http.c",),
    "jansson.h": ("daemon/conf/", "client/cli/", "tests/"),
    "curl/curl.h": ("client/cli/",),
    "ncurses.h": ("client/cli/top_screen.h",),
    "seccomp.h": ("daemon/io/seccomp/",),
    "xxhash.h": ("daemon/core/", "daemon/io/export/spool_file.c", "daemon/io/state_head.c"),
    "libdeflate.h": ("daemon/render/gzip.c", "tests/"),
    "cmocka.h": ("tests/",),
    "gsl/gsl_histogram.h": ("tests/unit/",),
    "protobuf-c/protobuf-c.h": ("tests/",),
    "grpc/grpc.h": GRPC,
    "grpc/grpc_security.h": GRPC,
    "grpc/byte_buffer.h": GRPC,
    "grpc/byte_buffer_reader.h": GRPC,
    "grpc/support/log.h": GRPC,
    "otlp.pb-c.h": ("daemon/io/export/otlp_module/response.c", "tests/unit/"),
    "dwell.pb-c.h": ("tests/",),
    "Python.h": ("client/python/",),
    "structmember.h": ("client/python/",),
    "prometheus.pb-c.h": ("tests/unit/",),
}

# What may be used below rank 3: the language's own headers that ask the system for nothing.
PURE = set(
    "assert ctype endian errno float inttypes limits math stdalign stdarg stdatomic stdbool stddef "
    "stdint stdio stdlib string strings".split()
)

# What else of the system there is, for rank 3 and above, the client, and tests.
SYSTEM = re.compile(
    r"(sys|netinet|arpa|net|linux)/[a-z_]+|dirent|dlfcn|fcntl|ftw|grp|langinfo|locale|malloc|netdb|poll|"
    r"pthread|pwd|regex|sched|semaphore|setjmp|signal|sysexits|syscall|termios|time|ucontext|unistd|wchar"
)

# The exceptions, and the only reason for which each may be used.
GRANTED = {
    ("daemon/base/log.c", "unistd.h"): "write",
    ("daemon/conf/value.c", "arpa/inet.h"): "inet_pton",
    ("daemon/render/exposition.c", "time.h"): "gmtime_r and strftime",
    ("daemon/render/report.c", "time.h"): "gmtime_r and strftime",
}

# Asks the system without an include that would tell.
ASKS = re.compile(r"\b(fopen|fread|getenv|secure_getenv|rand|srand|random|time|clock|system)\s*\(")

BANNED = {
    "strcpy": "struct buf",
    "strcat": "struct buf",
    "strncpy": "struct buf or memcpy",
    "strncat": "struct buf",
    "sprintf": "struct buf or snprintf",
    "vsprintf": "struct buf or vsnprintf",
    "gets": "a length",
    "atoi": "base/num.h",
    "atol": "base/num.h",
    "atof": "base/num.h",
    "sscanf": "base/num.h",
    "strtok": "struct str",
}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
CALL = re.compile(r"\b(%s)\s*\(" % "|".join(BANNED))
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)
COLUMNS = 108  # clang-format keeps code to 100 and leaves comments alone
MACHINE = re.compile("/wor" + "k/|/tmp/build" + "-")


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def without_comments_and_strings(text):
    """The code alone, every line where it was."""

    def blank(match):
        return re.sub(r"[^\n]", " ", match.group())

    return TOKEN.sub(blank, text)


def layer(path):
    """The layer of a file of the daemon: its directory; main.c is of main."""
    return path.split("/")[1].removesuffix(".c")


def core_headers_of_render(headers):
    """snapshot.h, what is taken beside it, the profiles, and the headers of core that these are made of."""
    found, left = set(), ["core/snapshot.h", "core/profile.h", "core/budget_profile.h", "core/beside.h"]
    while left:
        name = left.pop()
        if name in found or not name.startswith("core/"):
            continue
        found.add(name)
        left += [included for _, included in INCLUDE.findall(headers.get("daemon/" + name, ""))]
    return found


def check_own_include(path, included, render_sees):
    """An include of another file of the daemon."""
    mine, theirs = layer(path), layer("daemon/" + included)
    if theirs not in RANKS:
        return f'"{included}" belongs to no layer'
    if mine == theirs:
        return None
    if RANKS[theirs] >= RANKS[mine]:
        return f'{mine} (rank {RANKS[mine]}) includes "{included}" (rank {RANKS[theirs]})'
    if mine == "wire" and theirs == "core" and included not in ("core/record.h", "core/saved.h"):
        return f'wire sees only core/record.h and core/saved.h of core, not "{included}"'
    if mine == "render" and theirs == "core" and included not in render_sees:
        return f'render sees only the snapshot and what it is made of, not "{included}"'
    return None


def check_outside_include(path, included):
    """An include between angle brackets."""
    home = HOMES.get(included)
    if home is not None:
        if not path.startswith(home):
            return f"<{included}> has its home in {' and '.join(home)}"
        return None
    stem = included[:-2]
    if stem in PURE:
        return None
    if not SYSTEM.fullmatch(stem):
        return f"<{included}> has no home: give it one in tests/lint/source.py"
    if path.startswith("daemon/") and RANKS.get(layer(path), 0) < 3:
        if (path, included) not in GRANTED:
            return f"<{included}> asks the system, below rank 3"
    return None


LIBRARY_HEADERS = ("dwell.h", "dwell_bench.h")


def check_tool_include(included):
    """An include of the tool's: of the daemon it has the lowest layer, and no other."""
    if included.startswith(("base/", "cli/")) or "/" not in included:
        return None
    return f'the tool includes "{included}": of the daemon it has base/ only'


def check_includes(path, text, render_sees):
    for match in INCLUDE.finditer(text):
        kind, included = match.groups()
        problem = None
        if kind == "<":
            problem = check_outside_include(path, included)
        elif path.startswith("daemon/"):
            problem = check_own_include(path, included, render_sees)
        elif path.startswith("client/cli/"):
            problem = check_tool_include(included)
        elif path.startswith("client/") and included not in LIBRARY_HEADERS:
            problem = f'the client includes "{included}", which is none of its files'
        if problem:
            yield line_of(text, match.start(2)), problem


def check_guard(path, text):
    parts = path.split("/")
    directory = "tests" if parts[0] == "tests" else parts[-2]
    name = parts[-1][:-2] if directory == "daemon" else directory + "_" + parts[-1][:-2]
    guard = "DWELL_" + name.upper() + "_H"
    match = re.search(r"^#ifndef (\S+)\n#define (\S+)$", text, re.M)
    if match is None or match.group(1) != guard or match.group(2) != guard:
        yield (line_of(text, match.start()) if match else 1), f"expects the include guard {guard}"
    elif not text.rstrip().endswith("#endif"):
        yield line_of(text, len(text)), "something stands behind the include guard"


def check_calls(path, text):
    code = without_comments_and_strings(text)
    for match in CALL.finditer(code):
        name = match.group(1)
        yield line_of(code, match.start()), f"{name} is banned: use {BANNED[name]}"
    if path.startswith("daemon/") and RANKS.get(layer(path), 0) < 3:
        for match in ASKS.finditer(code):
            yield line_of(code, match.start()), f"{match.group(1)} asks the system, below rank 3"


def check_comments(text):
    """An empty // is taken: it ends a line where the formatter would not."""
    for match in TOKEN.finditer(text):
        if match.group().startswith("//") and match.group() != "//":
            yield line_of(text, match.start()), "comments are written /* … */, not //"


def check_head(path, text):
    if path.endswith(".h") and not text.startswith("/*"):
        yield 1, "a header begins with a comment that says what it is for"


def check_c(path, text, render_sees):
    yield from check_includes(path, text, render_sees)
    yield from check_calls(path, text)
    yield from check_comments(text)
    yield from check_head(path, text)
    if path.endswith(".h"):
        yield from check_guard(path, text)


def check_text(path, text):
    """What holds for every file that people write."""
    is_c = path.endswith((".c", ".h"))
    for number, line in enumerate(text.split("\n"), 1):
        if MACHINE.search(line):
            yield number, "names a path of one machine"
        if line != line.rstrip():
            yield number, "space at the end of the line"
        if is_c and len(line) > COLUMNS:
            yield number, f"{len(line)} columns, more than {COLUMNS}"
        if is_c and UNFINISHED.search(line):
            yield number, "is not finished"
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end of the file"
