#!/usr/bin/python3
"""Writes what the tool says about its commands into its man page and its completions.

    tests/lint/gen_commands.py build/dwell

The man page has a place for it between two markers; the completions for bash, zsh and fish have
nothing else. With --check it only compares, says where they differ, and gives status 1.
"""

import json
import re
import subprocess
import sys

MANUAL = "client/cli/dwell.1"
BEGIN, END = '.\\" commands: begin\n', '.\\" commands: end\n'
MADE = "Made by tests/lint/gen_commands.py from the rows of client/cli/command.c."


def words(option):
    return option["words"].split("|") if option["words"] else []


def sentence(option):
    """The first one, without its full stop: what fits beside an option."""
    return re.split(r"(?<=[a-z0-9])[.;] ", option["sentence"].rstrip("."))[0]


# --- the man page ------------------------------------------------------------------------------


def roff(text):
    """Text as mdoc takes it on a line of its own."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    return "\\&" + text if text.startswith((".", "'")) else text


def paragraphs(text):
    """Every sentence on a line of its own."""
    for part in re.split(r"(?<=[.:]) (?=[A-Z$])", text):
        yield roff(part) + "\n"


def manual_flag(option):
    flags = [f"\\-{option['name']}"] if not option["letter"] else [option["letter"], f"\\-{option['name']}"]
    argument = f" Ar {option['argument']}" if option["argument"] else ""
    return " , ".join(f"Fl {flag}{argument}" for flag in flags)


def manual_options(options, compact=""):
    yield f".Bl -tag -width Ds{compact}\n"
    for option in options:
        yield f".It {manual_flag(option)}\n"
        yield from paragraphs(option["sentence"])
    yield ".El\n"


def common(table):
    """Options that every command which asks the daemon has: told once."""
    named = {option["name"]: option for command in reversed(table["commands"]) for option in command["options"]}
    return [named[name] for name in ("json", "dir", "url", "timeout", "color", "help")]


def manual(table):
    shared = common(table)
    yield ".Bl -tag -width Ds\n"
    for command in table["commands"]:
        operands = command["operands"]
        yield f".It Cm {roff(command['name'])}{' Ar ' + roff(operands) if operands else ''}\n"
        end = "" if command["sentence"].endswith("?") else "."
        yield f"{roff(command['sentence'][0].upper() + command['sentence'][1:])}{end}\n"
        yield from paragraphs(command["description"])
        own = [option for option in command["options"] if option not in shared]
        if own:
            yield from manual_options(own)
    yield ".El\n.Pp\nOptions that commands share:\n"
    yield from manual_options(shared + [option for option in table["options"] if option not in shared])


# --- bash --------------------------------------------------------------------------------------


def flags(option):
    return ([f"-{option['letter']}"] if option["letter"] else []) + [f"--{option['name']}"]


def bash_values(option):
    """What an option's value is completed by."""
    if option["kind"] == "choice":
        return f"compgen -W '{' '.join(words(option))}' -- \"$current\""
    if option["kind"] == "directory":
        return 'compgen -d -- "$current"'
    if option["kind"] == "file":
        return 'compgen -f -- "$current"'
    return None


def bash_case(options):
    for option in options:
        if option["argument"]:
            values = bash_values(option)
            yield f"        {' | '.join(flags(option))})\n"
            yield f"            mapfile -t COMPREPLY < <({values})\n" if values else ""
            yield "            return ;;\n"


def bash(table):
    every = {tuple(flags(option)): option for command in table["commands"] for option in command["options"]}
    yield f"# Completion of dwell for bash. {MADE}\n# shellcheck shell=bash\n\n"
    yield "# Models that the daemon knows, each on a line.\n"
    yield "_dwell_models() {\n    dwell models --names --timeout 1 2>/dev/null\n}\n\n"
    yield "_dwell() {\n    local current=$2 previous=$3 command='' word\n    COMPREPLY=()\n"
    yield '    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do\n        case $word in\n'
    names = " | ".join(command["name"] for command in table["commands"])
    yield f"        {names})\n            command=$word && break ;;\n        esac\n    done\n"
    yield "    case $previous in\n"
    yield from bash_case(every.values())
    yield "    esac\n    local options names=''\n    case $command in\n"
    for command in table["commands"]:
        listed = " ".join(flag for option in command["options"] for flag in flags(option))
        yield f"    {command['name']})\n        options='{listed}'\n"
        if command["operand_kind"] == "model":
            yield "        names=models ;;\n"
        elif command["operand_kind"] == "file":
            yield "        names=files ;;\n"
        elif command["operand_kind"] == "command":
            yield "        names=commands ;;\n"
        else:
            yield "        ;;\n"
    listed = " ".join(flag for option in table["options"] for flag in flags(option))
    yield f"    *)\n        options='{listed}'\n        names=commands ;;\n    esac\n"
    yield '    if [[ $current == -* ]]; then\n        mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")\n'
    yield "        return\n    fi\n    case $names in\n    commands)\n"
    yield ("        mapfile -t COMPREPLY < <(compgen -W '"
           + " ".join(command["name"] for command in table["commands"]) + "' -- \"$current\") ;;\n")
    yield '    files)\n        mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;\n    models)\n'
    yield "        while IFS= read -r word; do\n"
    yield '            [[ $word == "$current"* ]] && COMPREPLY+=("$(printf %q "$word")")\n'
    yield "        done < <(_dwell_models) ;;\n    esac\n    return 0\n}\n\n"
    yield "complete -F _dwell dwell\n"


# --- zsh ---------------------------------------------------------------------------------------


def zsh_text(text):
    """Text within brackets, within single quotes."""
    return re.sub(r"([\\\[\]:])", r"\\\1", text).replace("'", "'\\''")


def zsh_option(option):
    told = f"[{zsh_text(sentence(option))}]"
    if option["argument"]:
        action = {"choice": f"({' '.join(words(option))})", "directory": "_directories", "file": "_files"}
        told += f":{option['argument']}:{action.get(option['kind'], '')}"
    names = flags(option)
    if len(names) == 1:
        return f"'{names[0]}{'=' if option['argument'] else ''}{told}'"
    attach = "+" if option["argument"] else ""
    equal = "=" if option["argument"] else ""
    return f"'({' '.join(names)})'{{{names[0]}{attach},{names[1]}{equal}}}'{told}'"


def zsh(table):
    yield f"#compdef dwell\n# Completion of dwell for zsh. {MADE}\n\n"
    yield "_dwell_models() {\n    local -a names\n"
    yield '    names=("${(@f)$(dwell models --names --timeout 1 2>/dev/null)}")\n'
    yield "    compadd -a names\n}\n\n_dwell() {\n    local context state line\n    local -a commands\n    commands=(\n"
    for command in table["commands"]:
        yield f"        '{command['name']}:{zsh_text(command['sentence'])}'\n"
    yield "    )\n    _arguments -C \\\n"
    for option in table["options"]:
        yield f"        {zsh_option(option)} \\\n"
    yield "        '1:command:->command' '*::argument:->argument'\n    case $state in\n    command)\n"
    yield "        _describe -t commands command commands ;;\n    argument)\n        case $line[1] in\n"
    for command in table["commands"]:
        yield f"        {command['name']})\n            _arguments -s \\\n"
        for option in command["options"]:
            yield f"                {zsh_option(option)} \\\n"
        action = {"model": "'*:model:_dwell_models'", "file": "'*:file:_files'",
                  "command": f"'1:command:({' '.join(row['name'] for row in table['commands'])})'"}
        yield f"                {action.get(command['operand_kind'], '&& return')} ;;\n"
    yield "        esac ;;\n    esac\n}\n\n_dwell \"$@\"\n"


# --- fish --------------------------------------------------------------------------------------


def fish_text(text):
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def fish_option(option, when):
    line = f"complete -c dwell -n {fish_text(when)}"
    line += f" -s {option['letter']}" if option["letter"] else ""
    line += f" -l {option['name']}"
    if option["kind"] == "choice":
        line += f" -x -a {fish_text(' '.join(words(option)))}"
    elif option["kind"] == "directory":
        line += " -x -a '(__fish_complete_directories)'"
    elif option["kind"] == "file":
        line += " -r -F"
    elif option["argument"]:
        line += " -x"
    return f"{line} -d {fish_text(sentence(option))}\n"


def fish(table):
    yield f"# Completion of dwell for fish. {MADE}\n\n"
    yield "function __dwell_models\n    dwell models --names --timeout 1 2>/dev/null\nend\n\n"
    yield "complete -c dwell -f\n"
    for option in table["options"]:
        yield fish_option(option, "__fish_use_subcommand")
    for command in table["commands"]:
        name = command["name"]
        yield f"\ncomplete -c dwell -n __fish_use_subcommand -a {name} -d {fish_text(command['sentence'])}\n"
        when = f"__fish_seen_subcommand_from {name}"
        if command["operand_kind"] == "model":
            yield f"complete -c dwell -n {fish_text(when)} -a '(__dwell_models)'\n"
        elif command["operand_kind"] == "file":
            yield f"complete -c dwell -n {fish_text(when)} -F\n"
        elif command["operand_kind"] == "command":
            names = " ".join(row["name"] for row in table["commands"])
            yield f"complete -c dwell -n {fish_text(when)} -a '{names}'\n"
        for option in command["options"]:
            yield fish_option(option, when)


# --- files -------------------------------------------------------------------------------------


def read(path):
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def apply(tool, check):
    """Gives complaints; writes the files unless it is only to check."""
    printed = subprocess.run([tool, "--print-commands"], stdout=subprocess.PIPE, check=True,
                             encoding="utf-8").stdout
    table = json.loads(printed)
    page = read(MANUAL)
    head, marker, rest = page.partition(BEGIN)
    _, end_marker, tail = rest.partition(END)
    if not marker or not end_marker:
        return [f"{MANUAL}:1: has no place for the commands"]
    wanted = {
        MANUAL: head + BEGIN + "".join(manual(table)) + END + tail,
        "client/cli/dwell.bash-completion": "".join(bash(table)),
        "client/cli/_dwell": "".join(zsh(table)),
        "client/cli/dwell.fish": "".join(fish(table)),
    }
    complaints = []
    for path, text in wanted.items():
        found = read(path)
        if check and found != text:
            at = next((at for at, (a, b) in enumerate(zip(found.splitlines(), text.splitlines()))
                       if a != b), min(len(found.splitlines()), len(text.splitlines())))
            complaints.append(f"{path}:{at + 1}: differs from the tool's commands; "
                              f"run tests/lint/gen_commands.py {tool}")
        elif not check and found != text:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
    return complaints


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(arguments) != 1:
        sys.exit("usage: gen_commands.py [--check] path/to/dwell")
    complaints = apply(arguments[0], "--check" in sys.argv)
    for line in complaints:
        print(line)
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
