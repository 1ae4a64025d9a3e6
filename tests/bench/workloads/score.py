"""What the verdicts on workloads are worth: pure arithmetic on windows, and its text.

A window is one round of a workload as one level of evidence has judged it. Its truth is a class, or
`unknown` with the reason that is to be given. Some truths leave a choice (`also`): those answers are as good,
and the window asks for nothing.

    label is a class     right when it is the truth or as good, else wrong
    label is unknown     of a truth that is a class: not covered. Of one that is not: its reason is right
                         when it is the truth's, or when the level has no evidence that could tell more

    precision   right / (right + wrong)
    coverage    windows with a class, of those whose truth is a class and leaves no choice
    reasons     right ones, of the windows that are unknown and whose truth is
    sure        wrong with a confidence above 0.8, of the windows with a class
"""
import collections
import hashlib

CLASSES = ("compute_bound", "memory_bound", "io_bound")
SURE = 0.8

# What a level cannot see, and says so: no touch rate leaves computing and memory one, no looks all waits.
BLIND = {"rusage": {"cpu", "wait"}, "proc": {"cpu"}}

# A reason that needs no column of its own is counted here.
OTHER = "other"
REASONS = ("mixed", "lock", "starved", "cpu", "wait", "insufficient", OTHER)

Window = collections.namedtuple("Window", "workload truth reason also label rule confidence level")
Figures = collections.namedtuple("Figures", "windows right wrong sure classes covered unknown reasons")


def is_frozen(name):
    """A third of the workloads, chosen by their names before anything was tuned on the others."""
    return hashlib.sha256(name.encode()).digest()[0] % 3 == 0


def outcome(window):
    """right, wrong, missed (unknown, and not to be), reason (unknown for the right one), or unreason."""
    if window.label in CLASSES:
        return "right" if window.label == window.truth or window.label in window.also else "wrong"
    if window.truth != "unknown":
        return "reason" if window.rule in window.also else "missed"
    good = {window.reason} | BLIND.get(window.level, set())
    return "reason" if window.rule in good else "unreason"


def figures(windows):
    outcomes = [outcome(window) for window in windows]
    classes = [window for window in windows if window.truth in CLASSES and not window.also]
    unknown = [found for window, found in zip(windows, outcomes)
               if window.truth == "unknown" and window.label not in CLASSES]
    return Figures(
        windows=len(windows), right=outcomes.count("right"), wrong=outcomes.count("wrong"),
        sure=sum(found == "wrong" and (window.confidence or 0) > SURE for window, found in zip(windows, outcomes)),
        classes=len(classes), covered=sum(window.label in CLASSES for window in classes),
        unknown=len(unknown), reasons=unknown.count("reason"))


def row_name(window):
    name = window.reason if window.truth == "unknown" else window.truth
    return name + " ~" if window.also else name


def column_name(window):
    if window.label in CLASSES:
        return window.label
    return window.rule if window.rule in REASONS else OTHER


def matrix(windows):
    """{truth: {label: windows}}; what leaves a choice is a row of its own, marked by ~."""
    counts = {}
    for window in windows:
        counts.setdefault(row_name(window), collections.Counter())[column_name(window)] += 1
    return counts


# ---- text ----

def share(part, whole):
    return f"{part / whole:.3f}" if whole else "-"


def matrix_text(counts):
    columns = [name for name in CLASSES + REASONS if any(row[name] for row in counts.values())]
    order = [*CLASSES, "mixed", "lock", "starved"]
    rows = sorted(counts, key=lambda name: (name.endswith("~"), order.index(name.removesuffix(" ~")), name))
    short = {name: name.removesuffix("_bound") for name in (*columns, *order)}
    lines = ["  " + "truth".ljust(12) + "".join(short[name].rjust(13) for name in columns)]
    for name in rows:
        label = short[name.removesuffix(" ~")] + (" ~" if name.endswith("~") else "")
        cells = (str(counts[name][column] or ".") for column in columns)
        lines.append("  " + label.ljust(12) + "".join(cell.rjust(13) for cell in cells))
    return "\n".join(lines)


HEAD = ("  level       load   windows   right wrong  precision  coverage  reasons   sure wrong")


def figures_text(level, load, found):
    labelled = found.right + found.wrong
    return (f"  {level:<11} {load:<6} {found.windows:>7}  {found.right:>6} {found.wrong:>5}"
            f"  {share(found.right, labelled):>9}  {share(found.covered, found.classes):>8}"
            f"  {share(found.reasons, found.unknown):>7}  {share(found.sure, labelled):>10}")


def wrong_text(window, load):
    confidence = "" if window.confidence is None else f" {window.confidence:.2f}"
    return f"  {window.level:<11} {load:<6} {window.workload:<24} is {row_name(window)}, not {window.label}{confidence}"


def report(rows, levels, loads):
    """The whole report on raw rows: open part, frozen part, what was wrong in the open one."""
    windows = collections.defaultdict(list)
    for row in rows:
        part = "frozen" if is_frozen(row["workload"]) else "open"
        for level, model in row["levels"].items():
            windows[part, level, row["load"]].append(window_of(row, level, model["analysis"]))
    lines, wrongs = [], []
    for part in ("open", "frozen"):
        lines += ["", f"── {part} part " + "─" * 60, HEAD]
        keys = [(part, level, load) for level in levels for load in loads if windows[part, level, load]]
        lines += [figures_text(level, load, figures(windows[part, level, load])) for _, level, load in keys]
        for key in keys:
            _, level, load = key
            lines += ["", f"  {level}, {load}", matrix_text(matrix(windows[key]))]
            if part == "open":
                wrongs += [wrong_text(window, load) for window in windows[key] if outcome(window) == "wrong"]
    if wrongs:
        counted = collections.Counter(wrongs)
        lines += ["", "── wrong in the open part " + "─" * 50]
        lines += [text + (f"  × {count}" if count > 1 else "") for text, count in counted.items()]
    return "\n".join(lines[1:])


def window_of(row, level, analysis):
    return Window(workload=row["workload"], truth=row["truth"], reason=row.get("reason"),
                  also=frozenset(row.get("also") or ()), label=analysis["bottleneck_type"], rule=analysis["rule"],
                  confidence=analysis["confidence"], level=level)
