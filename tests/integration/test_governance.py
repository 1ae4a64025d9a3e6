"""Governance on every way in: what a client says of the constitutional hash, whether it is enforced, and what becomes of
records of every kind. The table is WAYS times what can be said on them times enforced or not."""
import json
import unittest

import wire
from harness import HASH, DaemonCase, until

OTHER = "0123456789abcdef"
SECOND = 10 ** 9

# What a client can say: the right hash, another one, a hello without one, nothing at all.
RIGHT, WRONG, WITHOUT, NOTHING = "right", "wrong", "without", "nothing"
HASHES = {RIGHT: HASH, WRONG: OTHER, WITHOUT: None}
REASONS = {RIGHT: None, WRONG: "hash_mismatch", WITHOUT: "hash_mismatch", NOTHING: "no_hello"}

# What the records of one turn add, on the pages of the daemon. Those that look alike are remembered by their bytes.
ADDED = {"samples": 4, "counter": 3, "gauge": 1, "histogram": 1, "spans": 1, "budgets": 1}
RECORDS = sum(ADDED.values()) + 2  # and a gauge that is set, and an info
STATSD_ADDED = {"samples": 2, "counter": 3, "gauge": 1, "histogram": 1}
STATSD_RECORDS = sum(STATSD_ADDED.values()) + 1  # and a value of a set


def ndjson(service, said):
    sample = {"model_name": "governed", "execution_time_ms": 2}
    count = {"type": "counter", "name": "governed_calls", "value": 1, "attributes": {"path": "/v1"}}
    records = [
        sample, sample, sample, {**sample, "error": True, "labels": {"tier": "gold"}, "user_ms": 1, "system_ms": 0},
        count, count, count,
        {"type": "gauge", "name": "governed_depth", "delta": 1}, {"type": "gauge", "name": "governed_level", "value": 1},
        {"type": "histogram", "name": "governed_time", "value": 2}, {"type": "info", "name": "governed", "attributes": {"a": "b"}},
        {"type": "span", "name": "governed", "trace_id": 32 * "a", "span_id": 16 * "b", "start_time_unix_nano": SECOND,
         "end_time_unix_nano": 2 * SECOND},
        {"type": "budget", "layer": "layer3_policy", "elapsed_ms": 1},
    ]
    if said != NOTHING:
        records.insert(0, {"type": "hello", "service_name": service, "constitutional_hash": HASHES[said]})
    return "".join(json.dumps(record) + "\n" for record in records)


def batch(**head):
    sample = wire.sample(model_name="governed", execution_time_ms=2)
    count = wire.metric(name="governed_calls", op=wire.COUNT, value=1, attributes={"path": "/v1"})
    return wire.batch(
        [sample, sample, sample, wire.sample(model_name="governed", execution_time_ms=2, error=1, user_ms=1, system_ms=0)],
        metrics=[count, count, count, wire.metric(name="governed_depth", op=wire.ADD, value=1),
                 wire.metric(name="governed_level", op=wire.SET, value=1),
                 wire.metric(name="governed_time", op=wire.OBSERVE, value=2),
                 wire.metric(name="governed", op=wire.INFO, attributes={"a": "b"})],
        spans=[wire.span(trace_id=32 * "a", span_id=16 * "b", name="governed", start_time_unix_nano=SECOND,
                         end_time_unix_nano=2 * SECOND)],
        budgets=[wire.budget(layer="layer3_policy", elapsed_ms=1)], **head)


def batch_with_hello(service, said):
    said_hash = {"constitutional_hash": HASHES[said]} if HASHES.get(said) else {}
    return batch(hello_message=None if said == NOTHING else wire.hello(service_name=service, **said_hash))


def batch_with_hash(_, said):
    return batch(constitutional_hash=HASHES.get(said))


def statsd(*_):
    return ("inference:2|ms|#model:governed\n" * 2 + "governed.calls:1|c|#path:/v1\n" * 3 + "governed_depth:+1|g\n"
            "governed_time:2|h\nusers:alice|s\n")


def framed_statsd(*_):
    data = statsd().encode()
    return len(data).to_bytes(4, "little") + data


# Name: whether by datagram, how it is written, what can be said, and the service that a violation is counted for.
WAYS = {
    "lines": (False, ndjson, list(REASONS), "billing"),
    "lines in a datagram": (True, ndjson, list(REASONS), "billing"),
    "frames": (False, lambda *what: wire.MAGIC + wire.frame(batch_with_hello(*what)), list(REASONS), "billing"),
    "frames, by batch": (False, lambda *what: wire.MAGIC + wire.frame(batch_with_hash(*what)), [RIGHT, WRONG, NOTHING], "unknown"),
    "batch datagram": (True, lambda *what: wire.MAGIC + batch_with_hash(*what), [RIGHT, WRONG, NOTHING], "unknown"),
    "batch datagram with a hello": (True, lambda *what: wire.MAGIC + batch_with_hello(*what), list(REASONS), "billing"),
    "StatsD": (False, statsd, [NOTHING], None),
    "StatsD with lengths": (False, framed_statsd, [NOTHING], None),
    "StatsD in a datagram": (True, statsd, [NOTHING], None),
}


class TestGovernance(DaemonCase):
    def shown(self, daemon):
        """Everything that records of a turn add to; 0 where there is none yet."""
        metrics = daemon.metrics()
        model = daemon.models().get("governed", {"sample_count": 0})

        def figure(name, **labels):
            return {frozenset(found.items()): value for found, value in metrics.series(name)}.get(frozenset(labels.items()), 0)

        return {
            "samples": model["sample_count"],
            "counter": figure("governed_calls_total", path="/v1"),
            "gauge": figure("governed_depth"),
            "histogram": figure("governed_time_count"),
            "spans": sum(value for _, value in metrics.series("acgs2_span_duration_seconds_count")),
            "budgets": daemon.get("/api/v1/budgets").json["layers"]["layer3_policy"]["count"],
        }

    def names(self, daemon):
        """What shows as soon as one such record was taken."""
        page = daemon.get("/metrics").text
        return {name for name in ("governed_level", "governed_info", "users") if f"\n{name}" in page}

    def violations(self, daemon):
        return {labels["service"]: value for labels, value in daemon.metrics().series("constitutional_violations_total")
                if labels.get("violation_type") == "hash_mismatch"}

    def settled(self, daemon):
        """Records that were judged, accepted or not."""
        return daemon.accepted() + sum(daemon.rejected().values())

    def turn(self, daemon, way, said, enforced):
        """One client that comes, says so, sends records of every kind, and goes."""
        by_datagram, write, _, service = WAYS[way]
        records, added = (RECORDS, ADDED) if service else (STATSD_RECORDS, STATSD_ADDED)
        reason = REASONS[said] if enforced else None
        differs = said == WRONG or (said == WITHOUT and enforced)
        before, judged, rejected = self.shown(daemon), self.settled(daemon), daemon.rejected()
        violations, logged = self.violations(daemon), len(daemon.log)
        data = write("billing", said)
        if by_datagram:
            daemon.datagram(data)
            until(lambda: self.settled(daemon) == judged + records, "the datagram is read")
            answers = None
        else:
            answers = daemon.send_raw(data)
        self.assertEqual(self.settled(daemon), judged + records)
        after = self.shown(daemon)
        self.assertEqual({key: after[key] - before[key] for key in after},
                         {**dict.fromkeys(after, 0), **({} if reason else added)})
        if reason:
            rejected[reason] = rejected.get(reason, 0) + records
        self.assertEqual(daemon.rejected(), rejected)
        if differs:
            violations[service] = violations.get(service, 0) + 1
            daemon.wait_log(f"service {service}, process .* constitutional hash differs", after=logged)
        self.assertEqual(self.violations(daemon), violations)
        if way == "lines":
            told = [json.loads(line)["reason"] for line in answers.splitlines()]
            self.assertEqual(told, [reason] * records if reason else [])
        elif answers is not None:
            self.assertEqual(answers, b"")

    def must_govern(self, way, enforced):
        daemon = self.start(sets={"service.enforce_hash": enforced})
        said_by_turn = WAYS[way][2]
        if enforced:  # what is refused first leaves no trace, and what was taken meanwhile is no way around
            for said in reversed(said_by_turn):
                self.turn(daemon, way, said, enforced)
                if said != RIGHT:
                    self.assertEqual(self.names(daemon), set(), said)
        for said in said_by_turn:
            self.turn(daemon, way, said, enforced)
        if enforced:
            daemon.wait_log("rejected a (record|datagram's record) of process")
        if not enforced or RIGHT in said_by_turn:
            self.assertEqual(self.names(daemon), {"governed_level", "governed_info"} if WAYS[way][3] else {"users"})
        daemon.stop()

    def test_governance_counts_and_takes_what_is_not_enforced(self):
        for way in WAYS:
            with self.subTest(way=way):
                self.must_govern(way, False)

    def test_governance_refuses_what_is_enforced(self):
        for way in WAYS:
            with self.subTest(way=way):
                self.must_govern(way, True)

    def test_governance_goes_by_what_was_said_last(self):
        """A connection that mends itself is taken from there on, and one that turns bad is not."""
        daemon = self.start(sets={"service.enforce_hash": True})
        lines = "".join(ndjson("billing", said) for said in (NOTHING, WRONG, RIGHT, NOTHING, WITHOUT, NOTHING, RIGHT))
        daemon.send_raw(lines)
        frames = b"".join(wire.frame(write("billing", said)) for write, said in (
            (batch_with_hello, NOTHING), (batch_with_hash, WRONG), (batch_with_hello, RIGHT), (batch_with_hash, NOTHING),
            (batch_with_hash, WRONG), (batch_with_hello, NOTHING), (batch_with_hash, RIGHT)))
        daemon.send_raw(wire.MAGIC + frames)
        self.assertEqual(daemon.accepted(), 6 * RECORDS)
        self.assertEqual(daemon.rejected(), {"no_hello": 2 * RECORDS, "hash_mismatch": 6 * RECORDS})
        self.assertEqual(self.shown(daemon), {key: 6 * value for key, value in ADDED.items()})

    def test_governance_names_the_service_that_said_hello_before(self):
        daemon = self.start()
        daemon.send_raw(wire.MAGIC + wire.frame(batch_with_hello("billing", RIGHT)) + wire.frame(batch_with_hash("", WRONG)))
        self.assertEqual(self.violations(daemon), {"billing": 1})
        self.assertEqual(daemon.accepted(), 2 * RECORDS)

    def test_governance_of_a_datagram_ends_with_it(self):
        daemon = self.start(sets={"service.enforce_hash": True})
        for said in (RIGHT, NOTHING):
            daemon.datagram(wire.MAGIC + batch_with_hash("", said))
        until(lambda: self.settled(daemon) == 2 * RECORDS, "both are read")
        self.assertEqual((daemon.accepted(), daemon.rejected()), (RECORDS, {"no_hello": RECORDS}))


if __name__ == "__main__":
    unittest.main()
