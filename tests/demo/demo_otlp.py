#!/usr/bin/python3
"""Shows a traced request as a real OpenTelemetry Collector got it.

    make demo-otlp         some seconds, once the Collector has been built

Leaves nothing running and nothing behind. Exit status 1, and a sentence why, when anything that is to be shown is
not there.

    1. start the Collector and dwelld, which exports to it
    2. a gateway in Python begins a trace and sends its spans as lines of JSON; it asks a model server in C, which goes
       on with the trace by libdwell, fails once, and serves some hundred inferences
    3. every span and every inference must be in the files that the Collector wrote
    4. print what is in these files: the trace, the exception, the hash, the model's exponential histogram
"""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "peers"), str(HERE.parent / "integration")]
import otlp_json  # noqa: E402  (they lie in the places above)
from collector_process import PROGRAM, CollectorProcess  # noqa: E402
from daemon import BUILD, Daemon  # noqa: E402
from screen import Failed, Screen  # noqa: E402

ARRIVAL_SECONDS = 20
HASH = "cdd01ef066bc6cf2"
HASH_KEY = "constitutional.hash"
WIDTH = 46  # of the tree, before the figures
STACK = "exception.stacktrace"
BARS_MAX = 12  # of the histogram: its scale is lowered as far as that takes
BAR_WIDTH = 40
MODEL = "digit-net"
LATENCY = "acgs2_model_inference_latency"
SETTINGS = {
    "otlp.schedule_delay_ms": 50,
    "otlp.metric_interval_ms": 200,
    "otlp.histogram_aggregation": "base2_exponential_bucket_histogram",
}


def ask(screen, directory):
    """The request; returns what was sent."""
    screen.passing("a gateway in Python asks a model server in C")
    program = os.path.join(BUILD, "tests/demo/traced")
    if not os.path.exists(program):
        raise Failed(f"there is no {program}: run make demo-otlp")
    done = subprocess.run([sys.executable, "-B", HERE / "gateway.py", program], capture_output=True, text=True,
                          env={**os.environ, "DWELL_DIR": directory}, check=False, timeout=60)
    if done.returncode != 0:
        raise Failed(f"the gateway ended with status {done.returncode}: {done.stderr}")
    sent = json.loads(done.stdout)
    screen.done("request", f"{sent['spans']} spans and {sent['inferences']} inferences, from Python by JSON and from C "
                           "by libdwell")
    return sent


def wait(screen, what, look):
    """What look() gives once it is there; it also says how far things are."""
    end = time.perf_counter() + ARRIVAL_SECONDS
    while True:
        found, how_far = look()
        if found:
            return found
        if time.perf_counter() > end:
            raise Failed(f"after {ARRIVAL_SECONDS} s the Collector has {how_far} of {what}")
        screen.passing(f"the Collector has {how_far} of {what}")
        time.sleep(0.02)


def read_trace(screen, collector, sent):
    def look():
        spans = otlp_json.spans(collector.files("traces"), sent["trace_id"])
        return spans if len(spans) >= sent["spans"] else None, len(spans)

    return wait(screen, f"{sent['spans']} spans", look)


def must_hold(facts):
    for fact, holds in facts.items():
        if not holds:
            raise Failed(f"not so at the Collector: {fact}")


def check_trace(spans, sent):
    """One tree, each span once, each with the hash, one exception in it."""
    ids = {span.span_id for span in spans}
    roots = [span for span in spans if span.parent_id == ""]
    exceptions = [event for span in spans for event in span.events if event.name == "exception"]
    facts = {
        f"the trace has {sent['spans']} spans": len(spans) == len(ids) == sent["spans"],
        "it is one tree": len(roots) == 1 and all(span.parent_id in ids for span in spans if span not in roots),
        "every span and resource bears the hash": all(
            owner.get(HASH_KEY) == HASH for span in spans for owner in (span.attributes, span.resource)),
        "two services took part": len({span.resource["service.name"] for span in spans}) == 2,
        "one exception was recorded": len(exceptions) == 1 and {
            "exception.type", "exception.message", STACK} <= set(exceptions[0].attributes),
    }
    must_hold(facts)


def read_histogram(screen, collector, sent):
    def look():
        histogram = otlp_json.exponential_histogram(collector.files("metrics"), LATENCY, model_name=MODEL)
        count = histogram.count if histogram else 0
        return histogram if count >= sent["inferences"] else None, count

    return wait(screen, f"{sent['inferences']} inferences in an exponential histogram", look)


def check_histogram(histogram, sent):
    """Every inference once, and in a bucket; the hash."""
    facts = {
        f"{sent['inferences']} inferences were counted": histogram.count == sent["inferences"],
        "each of them is in a bucket": sum(histogram.counts) == histogram.count,
        "the histogram bears the hash": histogram.attributes.get("constitutional_hash") == HASH,
    }
    must_hold(facts)


# --- what is shown ---

def show_event(screen, margin, event):
    attributes = {key: value for key, value in event.attributes.items() if not key.startswith("exception.")}
    about = "  ".join(f"{key}={value}" for key, value in attributes.items())
    screen.write(f"{margin}· {event.name}  {about}".rstrip() + "\n")
    if event.name == "exception":
        screen.write(f"{margin}    {screen.paint(31, event.attributes['exception.type'])}: "
                     f"{event.attributes['exception.message']}\n")
        for line in event.attributes[STACK].splitlines():
            screen.write(f"{margin}      at {line}\n")


def show_span(screen, spans, span, margin="  ", branch="", below=""):
    """`branch` leads to the span, `below` is in its place in the lines that follow."""
    kind = "" if span.kind == "internal" else span.kind
    state = screen.paint(31, "ERROR") if span.failed else ""
    screen.write(f"{margin + branch + span.name:<{WIDTH}}{span.milliseconds:9.2f} ms  "
                 f"{span.resource['service.name']:<14}{kind:<8}{state}".rstrip() + "\n")
    children = [child for child in spans if child.parent_id == span.span_id]
    for event in span.events:
        show_event(screen, margin + below + ("│  " if children else "   "), event)
    for child in children:
        last = child is children[-1]
        show_span(screen, spans, child, margin + below, "└─ " if last else "├─ ", "   " if last else "│  ")


def show_trace(screen, spans, trace_id):
    screen.title(f"Trace {trace_id}")
    root, = (span for span in spans if span.parent_id == "")
    show_span(screen, spans, root)
    resources = {span.resource["service.name"] for span in spans}
    screen.write(f"\n  {HASH_KEY} = {screen.paint(32, HASH)} on each of {len(spans)} spans and {len(resources)} resources\n")


def show_histogram(screen, histogram):
    screen.title(f"{LATENCY} of {MODEL}")
    shown = histogram
    while len(shown.counts) > BARS_MAX:
        shown = shown.lower(shown.scale - 1)
    most = max(shown.counts)
    for lower, upper, count in shown.buckets():
        bar = "█" * round(BAR_WIDTH * count / most)
        screen.write(f"  {lower * 1e3:7.2f} to {upper * 1e3:7.2f} ms {count:5}  {screen.paint(36, bar)}".rstrip() + "\n")
    screen.write(f"\n  an exponential histogram of {histogram.count} inferences, mean "
                 f"{histogram.total / histogram.count * 1e3:.2f} ms: {len(histogram.counts)} buckets at scale {histogram.scale}, "
                 f"shown at {shown.scale}\n  constitutional_hash = {screen.paint(32, HASH)}\n")


def run(screen, collector, daemon):
    screen.done("collector", f"takes OTLP by gRPC on {collector.target}")
    daemon.start({"otlp.endpoint": collector.endpoint, **SETTINGS})
    screen.done("dwelld", f"runs in {daemon.directory}, exports to it")
    sent = ask(screen, daemon.directory)
    spans = read_trace(screen, collector, sent)
    check_trace(spans, sent)
    histogram = read_histogram(screen, collector, sent)
    check_histogram(histogram, sent)
    screen.done("checked", f"the Collector has all {len(spans)} spans, as one trace, and all {histogram.count} inferences")
    show_trace(screen, spans, sent["trace_id"])
    show_histogram(screen, histogram)


def end_by_signal(number, _):
    raise KeyboardInterrupt(number)


def main():
    if sys.argv[1:]:
        sys.exit("usage: demo_otlp.py")
    for name in [name for name in os.environ if name.startswith(("OTEL_", "DWELL_")) and name != "DWELL_BUILD"]:
        del os.environ[name]  # they would lead elsewhere
    signal.signal(signal.SIGTERM, end_by_signal)
    screen = Screen(sys.stdout)
    place = tempfile.mkdtemp(prefix="dwell-demo-")
    os.environ["DWELL_DIR"] = os.path.join(place, "dwell")
    daemon, collector = Daemon(os.environ["DWELL_DIR"]), None
    status = 0
    try:
        if not PROGRAM.exists():
            raise Failed(f"there is no {PROGRAM}: building it needs Go and its module proxy")
        screen.passing("starting the Collector")
        collector = CollectorProcess(pathlib.Path(place))
        run(screen, collector, daemon)
    except (Failed, OSError, AssertionError, subprocess.TimeoutExpired) as failure:
        screen.failure(f"{failure}{daemon.obituary()}")
        status = 1
    except KeyboardInterrupt:
        screen.write("\n")
        status = 130
    finally:
        for one in filter(None, (daemon, collector)):
            try:
                one.stop()
            except (Failed, AssertionError) as failure:
                screen.failure(str(failure))
                status = 1
        shutil.rmtree(place, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
