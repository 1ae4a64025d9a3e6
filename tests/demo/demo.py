#!/usr/bin/python3
"""Shows dwelld with real inferences: three Python processes, a C program, and the report on them.

    make demo              about 15 seconds
    make demo ARGS=--stay  keeps the daemon until Ctrl-C, to look around

Runs a daemon of its own, in $DWELL_DIR if that is set, else in a directory that goes with it;
leaves nothing running. Exit status 1, and a sentence why, when anything is not as it should be.

    1. start dwelld on a free port, wait until it answers
    2. train two classifiers on scikit-learn's digits
    3. two processes classify digits at the same time, and send NDJSON
    4. a C program multiplies matrices and sends by libdwell; beside it a process waits on a socket
    5. every sample that was sent must be in the daemon, and the verdicts must be right: the report
"""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import models  # noqa: E402  (first: it sets the number of threads)
from client import Client  # noqa: E402
from daemon import BUILD, Daemon  # noqa: E402
from screen import Failed, Screen  # noqa: E402

SECONDS = 4.0  # of each of the two phases
EXPECTED = {"remote-model": "io_bound", "matrix-product": "compute_bound"}

workers = multiprocessing.get_context("fork")  # the trained models need not be sent


class Worker:
    """A process of its own that runs inferences and reports how many were right."""

    def __init__(self, directory, name, run, *arguments):
        self.name = name
        self.result, result = workers.Pipe(duplex=False)
        self.process = workers.Process(target=self.work, daemon=True,
                                       args=(directory, name, result, run, arguments))
        self.process.start()
        result.close()

    @staticmethod
    def work(directory, name, result, run, arguments):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the demo ends its workers itself
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            client = Client(directory, name)
            right, count = run(client, *arguments)
            client.flush()
            result.send((right, count, None))
        except (OSError, RuntimeError, ValueError) as error:
            result.send((0, 0, f"{type(error).__name__}: {error}"))

    def is_running(self):
        return self.process.is_alive()

    def finish(self):
        try:
            right, count, error = self.result.recv()
        except EOFError:
            right, count, error = 0, 0, "it ended without a word"
        self.process.join()
        if error is not None:
            raise Failed(f"process {self.name}: {error}")
        return right, count


class Matrix:
    """The C program."""

    def __init__(self, directory):
        binary = os.path.join(BUILD, "tests/demo/matrix")
        if not os.path.exists(binary):
            raise Failed(f"there is no {binary}: run make demo")
        self.process = subprocess.Popen([binary, str(SECONDS)], encoding="utf-8",
                                        env=dict(os.environ, DWELL_DIR=directory),
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def is_running(self):
        return self.process.poll() is None

    def finish(self):
        said = self.process.communicate()[0].strip()
        if self.process.returncode != 0:
            raise Failed(f"the C program: {said or self.process.returncode}")
        return int(said.split()[0]), said

    def kill(self):
        self.process.kill()
        self.process.wait()


def remote(client, seconds):
    """Of the process that waits: the thread that answers must be its own."""
    return models.Remote().run(client, seconds)


def watch(screen, daemon, running):
    """Shows what has arrived until all are done."""
    while any(one.is_running() for one in running):
        counts = [f"{name} {model['sample_count']}" for name, model in daemon.models().items()]
        screen.passing("  ".join(counts) or "no sample yet")
        time.sleep(0.2)


def digits_phase(screen, daemon, digits):
    started = [Worker(daemon.directory, f"digits-{part}", digits.run, part, SECONDS)
               for part in range(2)]
    watch(screen, daemon, started)
    right, count = (sum(column) for column in zip(*(worker.finish() for worker in started)))
    screen.done("digits", f"{count} inferences in two processes, {100 * right / count:.1f} % right")
    return count


def waiting_phase(screen, daemon):
    worker = Worker(daemon.directory, "remote", remote, SECONDS)
    matrix = Matrix(daemon.directory)
    try:
        watch(screen, daemon, (worker, matrix))
        right, count = worker.finish()
        products, said = matrix.finish()
    finally:
        matrix.kill()
    screen.done("matrices", said)
    screen.done("remote", f"{count} questions over a socket, {right} answers")
    if right != count:
        raise Failed(f"{count - right} answers were wrong")
    return count + products


def judge(daemon, sent):
    """Every sample arrived, and the two clear cases are seen for what they are."""
    found = daemon.models()
    counted = sum(model["sample_count"] for model in found.values())
    if counted != sent:
        raise Failed(f"{sent} samples were sent, and the daemon has {counted}")
    for name, expected in EXPECTED.items():
        verdict = found[name]["analysis"]
        if verdict["bottleneck_type"] != expected:
            raise Failed(f"{name} is {verdict['bottleneck_type']}, expected {expected}: "
                         f"{verdict['reason']}. Is the machine very busy?")


def ask_tool(daemon, *arguments):
    """What the tool prints."""
    try:
        return subprocess.run([os.path.join(BUILD, "dwell"), *arguments, "--dir", daemon.directory], check=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, encoding="utf-8", timeout=30).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(f"dwell {' '.join(arguments)}: {error}") from None


def show(screen, daemon, address, stay):
    screen.title("GET /report")
    screen.write(daemon.get("/report").rstrip() + "\n")
    screen.title("dwell top --once")
    screen.write(ask_tool(daemon, "top", "--once"))
    screen.title("Where to look")
    if stay:
        screen.write(f"  http://{address}/metrics   what Prometheus scrapes\n"
                     f"  http://{address}/report    the report above\n"
                     f"  {daemon.directory}/ingest.sock   takes your own samples\n\n"
                     "  Ctrl-C ends it.\n")
        signal.pause()
        return
    screen.write("  make run                       a daemon for your own services, and then\n"
                 "  http://127.0.0.1:9847/metrics  what Prometheus scrapes\n"
                 "  http://127.0.0.1:9847/report   a report as above\n"
                 "  make demo ARGS=--stay          this demo, with its daemon kept until Ctrl-C\n")


def run(screen, daemon, stay):
    address = daemon.start()
    screen.done("dwelld", f"runs in {daemon.directory}, HTTP on {address}")
    screen.passing("training two models")
    try:
        digits = models.Digits()
    except ImportError as error:
        raise Failed(f"{error}; Debian has it as python3-sklearn") from None
    screen.done("training", "two models on scikit-learn's digits: logistic regression, "
                            "random forest")
    sent = digits_phase(screen, daemon, digits)
    sent += waiting_phase(screen, daemon)
    judge(daemon, sent)
    screen.done("checked", f"all {sent} samples arrived, the verdicts are right")
    show(screen, daemon, address, stay)


def end_by_signal(number, _):
    raise KeyboardInterrupt(number)


def main():
    if sys.argv[1:] not in ([], ["--stay"]):
        sys.exit("usage: demo.py [--stay]")
    os.environ.pop("DWELL_DISABLED", None)
    signal.signal(signal.SIGTERM, end_by_signal)
    screen = Screen(sys.stdout)
    own_directory = None
    if not os.environ.get("DWELL_DIR"):
        own_directory = os.environ["DWELL_DIR"] = tempfile.mkdtemp(prefix="dwell-demo-")
    daemon = Daemon(os.environ["DWELL_DIR"])
    status = 0
    try:
        run(screen, daemon, sys.argv[1:] == ["--stay"])
    except (Failed, OSError) as failure:
        screen.failure(f"{failure}{daemon.obituary()}")
        status = 1
    except KeyboardInterrupt:
        screen.write("\n")
        status = 0 if sys.argv[1:] else 130
    finally:
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        try:
            daemon.stop()
        except Failed as failure:
            screen.failure(str(failure))
            status = 1
        if own_directory is not None:
            shutil.rmtree(own_directory, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
