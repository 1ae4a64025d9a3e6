"""span_driver.c as a process that tests tell what to do."""
import json
import pathlib
import subprocess
import tempfile

from harness import BUILD, ROOT, WAIT_S, environment, sanitized, sanitizer

SOURCE = pathlib.Path(__file__).with_suffix(".c")
SAMPLED, DECIDED, DEBUG, REMOTE = 1, 2, 4, 8  # flags of a context
OK = 0  # of flush and close


def build(directory):
    """The program, in the directory; built as the daemon is, with its sanitizer if it has one."""
    program = pathlib.Path(directory) / "span_driver"
    more = [f"-fsanitize={sanitizer()}"] if sanitized() else []
    done = subprocess.run(["cc", "-std=c99", "-O1", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *more,
                           f"-I{ROOT}/client", SOURCE, "-o", program, BUILD / "libdwell.a", "-pthread"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return program


class SpanDriver:
    """One that runs. `service`: the name it says in its hello."""

    def __init__(self, program, directory, service="driver", **env):
        self._complaints = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([program], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self._complaints,
                                        env=environment(DWELL_DIR=str(directory), SPAN_DRIVER_SERVICE=service, **env))

    def do(self, *words):
        """One command, and its answer."""
        return self.do_all([words])[0]

    def do_all(self, commands):
        """Many of them; as many answers."""
        answers = []
        # Neither side is to wait for the other with a pipe that is full.
        for begin in range(0, len(commands), 100):
            some = commands[begin:begin + 100]
            self.process.stdin.write("".join("\t".join(map(str, words)) + "\n" for words in some))
            self.process.stdin.flush()
            for words in some:
                line = self.process.stdout.readline()
                assert line, f"no answer to {words}: {self._said()}"
                answers.append(json.loads(line))
        return answers

    def _said(self):
        self._complaints.seek(0)
        return self._complaints.read()

    def start(self, span, name, parent="current", how=""):
        self.do("start", span, name, parent, how)

    def extract(self, formats, headers):
        return self.do("extract", formats, *(text for header in headers.items() for text in header))

    def flush(self):
        """The daemon has taken all."""
        assert self.do("flush", 1000 * WAIT_S) == OK, "the daemon did not take all"

    def kill(self):
        """At once, and with all that it had open."""
        self.process.kill()
        self._close()

    def end(self):
        """In order; it must have had nothing to complain about."""
        if self.process.returncode is None:
            self.process.stdin.close()
            status = self.process.wait(WAIT_S)
            complaints = self._said()
            self._close()
            assert status == 0 and complaints == "", complaints

    def _close(self):
        self.process.wait(WAIT_S)
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.stdout.close()
        self._complaints.close()
