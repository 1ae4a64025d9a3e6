"""Levels of evidence: what the client sends, what the daemon looks at by itself, and what it then says."""
import subprocess
import time

from harness import DWELLD, Daemon, environment, until

# What the client sends, and what the daemon does with it. Options that a daemon does not have are left out.
LEVELS = {
    "thresholds": ("cpu", {"profiling.classifier": "thresholds"}),
    "rusage": ("cpu", {"profiling.classifier": "evidence", "profiling.probe": "off", "profiling.touch_probe": "off"}),
    "proc": ("full", {"profiling.classifier": "evidence", "profiling.touch_probe": "off"}),
    "full": ("full", {"profiling.classifier": "evidence"}),
}
ROUND_PART = 0.8  # of a round of ours is one of the daemon's, so that it ends before ours does
VERDICT_S = 5  # that a verdict may come after the last sample
MODELS_MAX = 5000  # each round is a model: enough for 15 rounds of all


def accepts(path, value):
    """Whether this daemon has the option, and the value."""
    return subprocess.run([DWELLD, "--check-config", "--set", f"{path}={value}"], env=environment(),
                          capture_output=True, check=False).returncode == 0


class Judge(Daemon):
    """The daemon of one level."""

    def __init__(self, level, round_s, more):
        rounds = {"profiling.round_ms": max(250, round(1000 * ROUND_PART * round_s))}
        wanted = {**rounds, **LEVELS[level][1]}
        had = {path: value for path, value in wanted.items() if accepts(path, value)}
        for path in sorted(set(wanted) - set(had)):
            print(f"  level {level} is judged without {path}={wanted[path]}, which the daemon does not have")
        self.judges_rounds = had.get("profiling.classifier") == "evidence"
        super().__init__(sets={"profiling.max_models": MODELS_MAX, **had, **more})


def ask(daemon, model, inferences):
    """What it says of a model of which it has everything: once it has judged a round, or will not any more."""
    deadline = time.monotonic() + (VERDICT_S if daemon.judges_rounds else 0)

    def answer():
        reply = daemon.get(f"/api/v1/models/{model}")
        found = reply.json if reply.status == 200 else {"sample_count": 0}
        judged = (found.get("explanation") or {}).get("rounds", 0) > 0
        return found if found["sample_count"] == inferences and (judged or time.monotonic() >= deadline) else None
    return until(answer, f"{model} has {inferences} samples")
