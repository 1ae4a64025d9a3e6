#!/usr/bin/python3
"""Writes what the daemon says about its options into the README, the man page and the completion.

    tests/lint/gen_options.py build/dwelld

Each has a place for it between two markers. With --check it only compares, says where they differ,
and gives status 1.
"""

import re
import subprocess
import sys

ROW = re.compile(r"^\| `([^`]+)`( ↻)? \| `([^`]+)` \| (.*?) \| (.*) \|$")
PLACES = {
    "README.md": ("<!-- options: begin -->\n", "<!-- options: end -->\n"),
    "config/packaging/dwelld.8": ('.\\" options: begin\n', '.\\" options: end\n'),
    "config/packaging/dwelld.bash-completion": ("    # options: begin\n", "    # options: end\n"),
}


def roff(text):
    """Text as mdoc takes it in the middle of a line."""
    return text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")


def manual(rows):
    for path, _, initial, accepts, sentence in rows:
        yield f".It Cm {path}\n"
        # Every sentence on a line of its own; none begins with a dot or a quote.
        for part in re.split(r"(?<=\.) (?=[A-Z])", sentence):
            yield roff(part) + "\n"
        yield f"Takes {roff(accepts)}; default: {roff(initial)}.\n"


def words(accepts):
    """The values that an option can have, where these are few."""
    if accepts == "true or false":
        return ["true", "false"]
    found = re.fullmatch(r'("\w+"(?:(?:, | or )"\w+")*)(?: \(.*\))?', accepts)
    return re.findall(r'"(\w+)"', found.group(1)) if found else []


def completion(rows):
    for path, _, _, accepts, _ in rows:
        yield f"    [{path}]=\"{' '.join(words(accepts))}\"\n"


def texts(table):
    rows = [ROW.match(line).groups() for line in table.splitlines() if line.startswith("| `")]
    return {
        "README.md": table,
        "config/packaging/dwelld.8": "".join(manual(rows)),
        "config/packaging/dwelld.bash-completion": "".join(completion(rows)),
    }


def apply(daemon, check):
    """Gives complaints; writes the files unless it is only to check."""
    table = subprocess.run([daemon, "--print-options-table"], stdout=subprocess.PIPE, check=True,
                           encoding="utf-8").stdout
    complaints = []
    for path, wanted in texts(table).items():
        begin, end = PLACES[path]
        with open(path, encoding="utf-8") as file:
            text = file.read()
        head, marker, rest = text.partition(begin)
        found, end_marker, tail = rest.partition(end)
        if not marker or not end_marker:
            complaints.append(f"{path}:1: has no place for the options")
        elif check and found != wanted:
            at = next((at for at, (a, b) in enumerate(zip(found.splitlines(), wanted.splitlines()))
                       if a != b), min(len(found.splitlines()), len(wanted.splitlines())))
            line = head.count("\n") + 2 + at
            complaints.append(f"{path}:{line}: differs from the daemon's options; "
                              f"run tests/lint/gen_options.py {daemon}")
        elif not check and found != wanted:
            with open(path, "w", encoding="utf-8") as file:
                file.write(head + marker + wanted + end_marker + tail)
    return complaints


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(arguments) != 1:
        sys.exit("usage: gen_options.py [--check] path/to/dwelld")
    complaints = apply(arguments[0], "--check" in sys.argv)
    for line in complaints:
        print(line)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
