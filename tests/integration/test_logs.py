"""The formats of the log as the real daemon writes them, and that nobody who sends can forge a record of it."""
import json
import os
import re
import signal
import socket
import subprocess
import unittest

from harness import HASH, WAIT_S, DaemonCase, run, until
from test_readme import code, section, table

JOURNAL = "/run/systemd/journal/socket"
EVIL = 'm\n<0>[x] forged\nPRIORITY=0\n","level":"error" level=error\x1b[2J'
ESCAPED = 'm\\n<0>[x] forged\\nPRIORITY=0\\n","level":"error" level=error\\x1b[2J'

# Says of standard error what systemd says of a service's.
INTO_JOURNAL = ("sh", "-c", 'JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) exec "$@"', "sh")

# A /run of its own, in which the journal is the socket named by $JOURNAL.
WITH_JOURNAL = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && '
                'ln -s "$JOURNAL" /run/systemd/journal/socket && exec "$@"', "sh")


def has_namespaces():
    """Whether somebody may mount things for himself."""
    try:
        done = subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/run"], capture_output=True,
                              timeout=WAIT_S, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


class TestLogs(DaemonCase):
    def start_with_file(self, **options):
        self.path = self.directory() / "dwelld.json"
        self.path.write_text("{}")
        return self.start("--config", self.path, **options)

    def turn_to(self, daemon, log_format, says):
        """Changes the format, and sends a record that is wrong; returns what is in the log from then on."""
        self.path.write_text(json.dumps({"log": {"format": log_format}}))
        seen = len(daemon.log)
        daemon.send_signal(signal.SIGHUP)
        daemon.wait_log(says, after=seen)
        return seen

    def test_logs_as_logfmt(self):
        daemon = self.start_with_file()
        seen = self.turn_to(daemon, "logfmt", 'msg="SIGHUP: configuration reloaded; changed: log.format"$')
        answers = daemon.send({"model_name": "m", EVIL: 1, "execution_time_ms": -1})
        self.assertEqual(answers[0]["reason"], "out_of_range")
        daemon.wait_log("reason=out_of_range", after=seen)
        form = re.compile(rf"time=\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z level=(\w+) constitutional_hash={HASH}"
                          r'(?: reason=\w+ peer_pid=\d+ peer_uid=\d+)? msg="(?:[^"\\]|\\.)*"')
        for line in daemon.log[seen:]:
            self.assertTrue(form.fullmatch(line), line)
        self.assertIn(f"peer_pid={os.getpid()} peer_uid={os.getuid()} ", "\n".join(daemon.log[seen:]))

    def test_logs_as_json_say_why(self):
        daemon = self.start_with_file()
        seen = self.turn_to(daemon, "json", "configuration reloaded")
        daemon.send({"model_name": "m"})
        daemon.wait_log("missing_key", after=seen)
        records = [json.loads(line) for line in daemon.log[seen:]]
        wrong = [record for record in records if record.get("reason")]
        self.assertEqual([(record["reason"], record["peer_pid"], record["level"]) for record in wrong],
                         [("missing_key", os.getpid(), "warning")])

    @unittest.skipIf(os.path.exists(JOURNAL), "the journal of this machine would get the records")
    def test_logs_by_prefix_where_systemd_reads(self):
        daemon = self.start(wrapper=INTO_JOURNAL, sets={"log.format": "auto"})
        daemon.send({"model_name": "m"})
        daemon.wait_log(rf"^<4>\[{HASH}\] rejected a record of process")
        for line in daemon.log:
            self.assertRegex(line, rf"^<[346]>\[{HASH}\] \S")

    def test_logs_as_text_where_nobody_is_the_journal(self):
        daemon = self.start(sets={"log.format": "auto"}, env={"JOURNAL_STREAM": "8:1"})
        self.assertRegex(daemon.log[0], rf"^\[{HASH}\] \d{{4}}-")

    def test_readme_names_every_format(self):
        named = {code(row[0])[0] for row in table(section("The log"))}
        said = run("--check-config", "--set", "log.format=none").stderr
        self.assertEqual(named, set(re.findall(r'"(\w+)"', said.split(", got")[0])))

    @unittest.skipUnless(has_namespaces(), "it takes a namespace of mounts")
    def test_logs_as_fields_for_the_journal(self):
        path = self.directory() / "journal"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
            journal.bind(str(path))
            journal.settimeout(WAIT_S)
            daemon = self.start_with_file(wrapper=WITH_JOURNAL, env={"JOURNAL": str(path)})
            self.path.write_text(json.dumps({"log": {"format": "journald"}}))
            daemon.send_signal(signal.SIGHUP)
            record = fields(journal)
            self.assertEqual((record["MESSAGE"], record["PRIORITY"], record["CODE_FUNC"]),
                             (f"[{HASH}] SIGHUP: configuration reloaded; changed: log.format", "6", "adopt"))
            daemon.send({EVIL: 1, "model_name": "m", "execution_time_ms": 1})
            record = fields(journal)
            self.assertIn(ESCAPED, record["MESSAGE"])
            self.assertEqual(record["PRIORITY"], "6")
            daemon.send({"model_name": "m"})
            record = fields(journal)
            self.assertEqual((record["DWELL_REASON"], record["DWELL_PEER_PID"], record["DWELL_PEER_UID"], record["PRIORITY"],
                              record["SYSLOG_IDENTIFIER"], record["CODE_FILE"], record["DWELL_CONSTITUTIONAL_HASH"]),
                             ("missing_key", str(os.getpid()), str(os.getuid()), "4", "dwelld", "daemon/io/connection.c", HASH))


JOURNALD = "/usr/lib/systemd/systemd-journald"


@unittest.skipUnless(has_namespaces() and os.path.exists(JOURNALD), "it takes a namespace of mounts, and systemd's journal")
class TestJournald(DaemonCase):
    """The journal itself takes what the daemon says, in a /run of its own, and journalctl finds it by its fields."""

    def setUp(self):
        script = f"mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal && exec {JOURNALD}"
        journald = subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stdin=subprocess.DEVNULL,
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(journald.wait, WAIT_S)
        self.addCleanup(journald.terminate)
        self.inside = ("nsenter", f"--mount=/proc/{journald.pid}/ns/mnt")
        until(lambda: os.path.exists(f"/proc/{journald.pid}/root{JOURNAL}"), "the journal listens")

    def find(self, *matches):
        """Records as journalctl has them, once there are any."""

        def ask():
            done = subprocess.run([*self.inside, "journalctl", "--directory=/run/log/journal", "--output=json", *matches],
                                  capture_output=True, text=True, timeout=WAIT_S, check=False)
            return [json.loads(line) for line in done.stdout.splitlines()]

        return until(ask, f"a record with {matches}")

    def test_journald_finds_who_sent_what_was_rejected(self):
        path = self.directory() / "dwelld.json"
        path.write_text("{}")
        daemon = self.start("--config", path, wrapper=self.inside)
        path.write_text(json.dumps({"log": {"format": "journald"}}))
        daemon.send_signal(signal.SIGHUP)
        self.assertEqual([record["CODE_FUNC"] for record in self.find("SYSLOG_IDENTIFIER=dwelld")], ["adopt"])
        daemon.send({"model_name": EVIL}, {"model_name": "m", EVIL: 1, "execution_time_ms": 1})
        records = self.find("DWELL_REASON=missing_key")
        self.assertEqual([(record["PRIORITY"], record["DWELL_PEER_PID"], record["_PID"]) for record in records],
                         [("4", str(os.getpid()), str(daemon.pid))])
        escaped = until(lambda: [record["PRIORITY"] for record in self.find("SYSLOG_IDENTIFIER=dwelld")
                                 if ESCAPED in record["MESSAGE"]], "the unknown key is told")
        self.assertEqual(escaped, ["6"])
        told = self.find("SYSLOG_IDENTIFIER=dwelld")
        self.assertTrue(all(record["MESSAGE"].startswith(f"[{HASH}] ") for record in told))


def fields(journal):
    """The next record, as its fields."""
    text = journal.recv(65536).decode()
    assert text.endswith("\n"), text
    pairs = [line.split("=", 1) for line in text.splitlines()]
    assert all(re.fullmatch("[A-Z_]+", pair[0]) and len(pair) == 2 for pair in pairs), text
    assert len({name for name, _ in pairs}) == len(pairs), text
    return dict(pairs)


if __name__ == "__main__":
    unittest.main()
