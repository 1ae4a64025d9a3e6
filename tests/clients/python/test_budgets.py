"""Time budgets: the golden cases on a clock that only they move, records, nesting, concurrency, cancellation."""
import asyncio
import json
import os
import pickle
import selectors
import sys
import threading
import time
import types
import unittest
from unittest import mock

from client_case import ROOT
from telemetry_case import HASH, WAIT_S, Hostile, Keeping, TelemetryCase, Unprintable

from dwell import (Layer, LayerTimeoutBudget, LayerTimeoutError, TimeoutBudgetManager, TraceContext, _wire, attach, budgets,
                   get_tracer)

CASES = ROOT / "tests/data/golden/budgets"
L1, L2, L3, L4 = Layer

# What a layer has really taken after a step, where the recorded time is that of one operation only, or of none.
CORRECTED = {
    ("t12-exception-passes", 1): ("layer1_validation", 11.0),  # 2, and 9
    ("t12-exception-passes", 2): ("layer1_validation", 11.0),
    ("t12-exception-passes", 3): ("layer1_validation", 11.0),
    ("t13-repeat-overwrites", 2): ("layer3_policy", 12.0),  # 6, and 6
    ("t13-repeat-overwrites", 3): ("layer3_policy", 12.0),
    ("t13-repeat-overwrites", 4): ("layer3_policy", 12.0),
    ("t15-nested-leak", 0): ("layer2_deliberation", 7.0),  # 1, and 6 of what failed within it
    ("t15-nested-leak", 1): ("layer2_deliberation", 7.0),
}
# What a step really raises: of a layer, or of the total, and after how many ms.
RAISES = {
    ("t06-exceed-by-1ns", 4): ("total", 50.000004),  # over by 4 ns
    ("t13-repeat-overwrites", 2): ("layer3_policy", 12.0),
}


class Clock:
    """Stands still unless it is moved. `with clock:` is what budgets go by."""

    def __init__(self):
        self.ns = 10**12

    def advance(self, ms):
        self.ns += round(ms * 1e6)

    def __enter__(self):
        self._patch = mock.patch.object(budgets, "_now_ns", lambda: self.ns)
        self._patch.__enter__()
        return self

    def __exit__(self, *_):
        self._patch.__exit__(None, None, None)


class _NoWaiting(selectors.SelectSelector):
    """Moves the clock in place of waiting for it."""

    def __init__(self, clock):
        super().__init__()
        self._clock = clock

    def select(self, timeout=None):
        found = super().select(0)
        if not found and timeout:
            self._clock.advance(timeout * 1e3)
        return found


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop that goes by a Clock."""

    def __init__(self, clock):
        super().__init__(_NoWaiting(clock))
        self._own = clock

    def time(self):
        return self._own.ns / 1e9

    def run(self, coroutine):
        try:
            return self.run_until_complete(coroutine)
        finally:
            self.close()


class Golden(unittest.TestCase):
    """On no daemon: what of it goes there is the other tests'."""

    maxDiff = None

    def setUp(self):
        client = Keeping(directory="/nonexistent", keep_s=0)
        client.away = True
        self.addCleanup(client.close)
        self.enter(mock.patch("dwell._client._default", client))
        self.enter(self.assertNoLogs())

    def enter(self, manager):
        manager.__enter__()
        self.addCleanup(manager.__exit__, None, None, None)

    def assertNoLogs(self):
        return mock.patch.object(budgets._log, "disabled", True)

    def manager(self, config):
        manager = TimeoutBudgetManager(**({"total_budget_ms": config["total_budget_ms"]} if "total_budget_ms" in config
                                          else {}))
        if "layers" in config:
            manager.layer_budgets = {Layer(layer["layer"]): LayerTimeoutBudget(
                Layer(layer["layer"]), layer["budget_ms"], layer.get("soft_limit_pct", 0.8),
                layer.get("strict_enforcement", True)) for layer in config["layers"]}
        return manager

    def execute(self, clock, manager, op):
        raised = op.get("raises")

        def fail():
            if raised:
                raise {"RuntimeError": RuntimeError, "ValueError": ValueError}[raised[0]](raised[1])
            return "ok"

        def operation():
            clock.advance(op.get("before_ms", 0))
            if "inner" in op:
                self.execute(clock, manager, op["inner"])
            clock.advance(op["duration_ms"])
            return fail()

        async def async_operation():
            try:
                await asyncio.sleep(op["duration_ms"] / 1e3)
            except asyncio.CancelledError:
                clock.advance(op.get("timer_lag_ms", 0))
                raise
            return fail()
        layer, name = Layer(op["layer"]), op.get("operation")
        if op["op"] == "execute_sync":
            return manager.execute_sync_with_budget(layer, operation, name)
        return ClockLoop(clock).run(manager.execute_with_budget(layer, async_operation, name))

    def do(self, clock, manager, op):
        layer = manager.get_layer_budget(Layer(op["layer"])) if "layer" in op and "execute" not in op["op"] else None
        what = op["op"]
        if what == "total":
            return {"total_elapsed_ms": manager.total_elapsed_ms, "total_remaining_ms": manager.total_remaining_ms}
        if what == "set_elapsed":
            layer.elapsed_ms = op["elapsed_ms"]
            return None
        return {"advance": lambda: clock.advance(op["ms"]), "start_total": manager.start_total,
                "stop_total": manager.stop_total, "report": manager.get_budget_report, "reset_all": manager.reset_all,
                "layer_start": lambda: layer.start(), "layer_stop": lambda: layer.stop(),
                "layer_reset": lambda: layer.reset(), "execute_sync": lambda: self.execute(clock, manager, op),
                "execute_async": lambda: self.execute(clock, manager, op)}[what]()

    def corrected(self, key, layers):
        """The expected layers, with what is put right."""
        layers = {name: dict(layer) for name, layer in layers.items()}
        if key in CORRECTED:
            name, elapsed_ms = CORRECTED[key]
            budget_ms = {"layer1_validation": 5, "layer2_deliberation": 20, "layer3_policy": 10}[name]
            layers[name].update(elapsed_ms=elapsed_ms, remaining_ms=max(0.0, budget_ms - elapsed_ms),
                                is_exceeded=elapsed_ms > budget_ms, is_soft_limit_exceeded=elapsed_ms > 0.8 * budget_ms)
            if "running" in layers[name]:
                layers[name]["running"] = False
        return layers

    def must_raise(self, key, error, expected):
        raises = expected.get("raises")
        if key in RAISES:
            name, elapsed_ms = RAISES[key]
            self.assertEqual((type(error), error.layer_name, error.elapsed_ms), (LayerTimeoutError, name, elapsed_ms))
            return
        self.assertIsNotNone(raises, error)
        names = {cls.__name__ for cls in type(error).__mro__}
        self.assertIn(raises["type"], names)
        if "to_dict" in raises:
            self.assertEqual(error.to_dict(), raises["to_dict"])

    def play(self, path):
        case = json.loads(path.read_text())
        manager = self.manager(case["config"])
        steps = case["expected"]["steps"]
        self.assertEqual(len(case["ops"]), len(steps))
        self.assertGreater(len(steps), 0)
        with Clock() as clock:
            for number, (op, expected) in enumerate(zip(case["ops"], steps)):
                key = case["case"], number
                with self.subTest(case=case["case"], step=number):
                    try:
                        returned = self.do(clock, manager, op)
                    except (Exception, asyncio.TimeoutError) as error:
                        self.must_raise(key, error, expected)
                    else:
                        self.assertNotIn("raises", expected)
                        self.assertNotIn(key, RAISES)
                        wanted = expected["returns"]
                        if op["op"] == "report":
                            wanted = {**wanted, "layers": self.corrected(key, wanted["layers"])}
                        self.assertEqual(returned, wanted)
                    self.must_have_layers(key, manager, expected["layers_after"])
            final = case["expected"]["final_report"]
            final = {**final, "layers": self.corrected((case["case"], len(steps) - 1), final["layers"])}
            self.assertEqual(manager.get_budget_report(), final)

    def must_have_layers(self, key, manager, expected):
        found = {layer.value: {"elapsed_ms": budget.elapsed_ms, "remaining_ms": budget.remaining_ms,
                               "is_exceeded": budget.is_exceeded,
                               "is_soft_limit_exceeded": budget.is_soft_limit_exceeded,
                               "running": budget.start_time is not None}
                 for layer, budget in manager.layer_budgets.items()}
        self.assertEqual(found, self.corrected(key, expected))

    def test_golden_cases(self):
        paths = sorted(CASES.glob("t*.json"))
        self.assertEqual(len(paths), 18)
        for path in paths:
            self.play(path)


class Budgets(TelemetryCase):
    def setUp(self):
        super().setUp()
        self.clock = Clock().__enter__()
        self.addCleanup(self.clock.__exit__)
        self.manager = TimeoutBudgetManager()

    def spend(self, ms, result=None, error=None):
        """An operation that takes so long."""
        def operation():
            self.clock.advance(ms)
            if error is not None:
                raise error
            return result
        return operation

    def run_loop(self, coroutine):
        return ClockLoop(self.clock).run(coroutine)

    def must_record(self, *expected):
        """(layer, elapsed_ms, before_ms, operation) of the records so far."""
        self.assertEqual([(one["layer"], one["elapsed_ms"], one.get("before_ms"), one.get("operation"))
                          for one in self.records("budget")], list(expected))

    # ---- the error ----

    def test_the_error_says_all(self):
        for error in (LayerTimeoutError("any text", 5.0, 5.067, "slow"),
                      LayerTimeoutError(layer_name="any text", budget_ms=5.0, elapsed_ms=5.067, operation="slow")):
            for part in ("any text", "5.00ms", "5.07ms", "slow"):
                self.assertIn(part, str(error))
            self.assertEqual(error.to_dict(), {"error": "LayerTimeoutError", "layer_name": "any text", "budget_ms": 5.0,
                                               "elapsed_ms": 5.067, "operation": "slow", "constitutional_hash": HASH})
            copied = pickle.loads(pickle.dumps(error))
            self.assertEqual((str(copied), copied.to_dict()), (str(error), error.to_dict()))
        self.assertNotIn("during", str(LayerTimeoutError(Layer.LAYER3_POLICY, 1, 2)))
        self.assertEqual(LayerTimeoutError(Layer.LAYER3_POLICY, 1, 2).layer_name, "layer3_policy")
        self.assertIn("Unprintable", str(LayerTimeoutError("x", 1, 2, Unprintable())))

    def test_layers_are_exactly_these(self):
        self.assertEqual([(layer.name, layer.value) for layer in Layer], [
            ("LAYER1_VALIDATION", "layer1_validation"), ("LAYER2_DELIBERATION", "layer2_deliberation"),
            ("LAYER3_POLICY", "layer3_policy"), ("LAYER4_AUDIT", "layer4_audit")])

    # ---- one layer ----

    def test_a_budget_follows_what_is_assigned(self):
        budget = LayerTimeoutBudget(L1, 5.0)
        cases = [(0, 5.0, False, False), (4.0, 1.0, False, False), (4.000001, 0.999999, False, True), (5.0, 0.0, False, True),
                 (5.000001, 0.0, True, True), (-1, 5.0, False, False), (float("nan"), 5.0, False, False),
                 (float("inf"), 0.0, True, True), ("x", 5.0, False, False), (None, 5.0, False, False)]
        for value, remaining, exceeded, soft in cases:
            budget.elapsed_ms = value
            self.assertAlmostEqual(budget.remaining_ms, remaining, places=9)
            self.assertIs(budget.is_exceeded, exceeded, value)
            self.assertIs(budget.is_soft_limit_exceeded, soft, value)
        budget.elapsed_ms = float("inf")
        self.assertEqual(budget.elapsed_ms, budgets.ELAPSED_MAX_MS)
        budget.reset()
        self.assertEqual((budget.elapsed_ms, budget.start_time), (0.0, None))
        self.assertIn("layer1_validation", repr(budget))

    def test_a_budget_starts_and_stops(self):
        budget = LayerTimeoutBudget(L2, 20.0)
        self.assertIsNone(budget.start_time)
        budget.start()
        self.assertEqual(budget.start_time, self.clock.ns / 1e9)
        self.clock.advance(3)
        self.assertEqual((budget.stop(), budget.elapsed_ms, budget.start_time), (3.0, 3.0, None))
        self.assertEqual(budget.stop(), 3.0)
        budget.elapsed_ms = 10.0
        budget.start()
        self.clock.advance(2)
        self.assertEqual(budget.stop("again"), 12.0)
        self.must_record(("layer2_deliberation", 3, None, None), ("layer2_deliberation", 2, 10, "again"))

    def test_repeated_operations_add_up(self):
        for ms in (1, 2):
            self.manager.execute_sync_with_budget(L2, self.spend(ms), f"op {ms}")
        self.assertEqual(self.manager.get_layer_budget(L2).elapsed_ms, 3.0)
        self.must_record(("layer2_deliberation", 1, None, "op 1"), ("layer2_deliberation", 2, 1, "op 2"))

    def test_of_nested_operations_no_time_counts_twice(self):
        def outer():
            self.clock.advance(1)
            self.manager.execute_sync_with_budget(L2, self.spend(2), "inner")
            self.assertEqual(self.manager.get_layer_budget(L2).elapsed_ms, 3.0)
            self.clock.advance(1)
        self.manager.execute_sync_with_budget(L2, outer, "outer")
        self.assertEqual(self.manager.get_layer_budget(L2).elapsed_ms, 4.0)
        self.must_record(("layer2_deliberation", 4, None, "outer"))

    def test_layers_within_one_another_have_their_own_time(self):
        def outer():
            self.clock.advance(1)
            self.manager.execute_sync_with_budget(L3, self.spend(2))
        self.manager.execute_sync_with_budget(L2, outer)
        self.must_record(("layer3_policy", 2, None, None), ("layer2_deliberation", 3, None, None))

    def test_of_concurrent_tasks_no_time_counts_twice(self):
        async def both():
            await asyncio.gather(*(self.manager.execute_with_budget(L2, lambda ms=ms: asyncio.sleep(ms / 1e3), f"op {ms}")
                                   for ms in (3, 7)))
        self.run_loop(both())
        self.assertAlmostEqual(self.manager.get_layer_budget(L2).elapsed_ms, 7, places=3)
        (record,) = self.records("budget")
        self.assertEqual(record["operation"], "op 7")

    def test_of_concurrent_threads_all_is_counted(self):
        budget = LayerTimeoutBudget(L2, 20.0)
        inside, leave = threading.Barrier(5), threading.Barrier(5)

        def run():
            budget.start()
            inside.wait()
            leave.wait()
            budget.stop()
        threads = [threading.Thread(target=run) for _ in range(4)]
        for thread in threads:
            thread.start()
        inside.wait()
        self.clock.advance(5)
        leave.wait()
        for thread in threads:
            thread.join()
        self.assertEqual((budget.elapsed_ms, budget.start_time), (5.0, None))
        self.must_record(("layer2_deliberation", 5, None, None))

    # ---- verdicts ----

    def test_sync_operations_are_judged_afterwards(self):
        cases = [(L1, 4.0, None, None), (L1, 4.000001, None, "WARNING"), (L1, 5.0, None, "WARNING"),
                 (L1, 5.000001, "layer1_validation", None), (L4, 15.0, None, "WARNING"), (L4, 15.000001, None, "ERROR")]
        for layer, ms, raised, level in cases:
            self.manager.reset_all()
            self.log.lines.clear()
            with self.subTest(layer=layer, ms=ms):
                try:
                    result = self.manager.execute_sync_with_budget(layer, self.spend(ms, "result"), "größe\np")
                except LayerTimeoutError as error:
                    self.assertEqual((error.layer_name, error.operation, error.elapsed_ms), (raised, "größe\np", ms))
                else:
                    self.assertEqual((result, raised), ("result", None))
                self.assertEqual([line.split()[0] for line in self.log.lines], [level] if level else [])
                for line in self.log.lines:
                    self.assertRegex(line, rf"^\w+ \[{HASH}\] {layer.value} .* during größe\\np$")

    def test_the_operations_own_errors_pass_unchanged(self):
        for error in (ValueError("no"), TimeoutError("mine"), asyncio.TimeoutError("mine"), KeyboardInterrupt(),
                      LayerTimeoutError("inner", 1, 2)):
            runs = [lambda: self.manager.execute_sync_with_budget(L1, self.spend(100, error=error))]
            if isinstance(error, Exception):  # asyncio hands the others to the loop, past whoever awaits
                runs.append(lambda: self.run_loop(self.manager.execute_with_budget(L2, self.later(0.001, error))))
            for run in runs:
                self.manager.reset_all()
                with self.assertRaises(type(error)) as caught:
                    run()
                self.assertIs(caught.exception, error)
        self.assertEqual(self.log.lines, [])

    def later(self, seconds, error=None, result="result"):
        async def operation():
            await asyncio.sleep(seconds)
            if error is not None:
                raise error
            return result
        return operation

    def test_an_own_timeout_at_the_limit_passes_unchanged(self):
        mine = TimeoutError("mine")

        async def operation():
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError as cancelled:
                raise mine from cancelled
        with self.assertRaises(TimeoutError) as caught:
            self.run_loop(self.manager.execute_with_budget(L1, operation))
        self.assertIs(caught.exception, mine)

    def test_async_operations_are_cancelled_at_the_limit(self):
        seen = []

        async def operation():
            try:
                await asyncio.sleep(1)
            finally:
                seen.append(sys.exc_info()[0])
        for layer, error, name in ((L1, LayerTimeoutError, "layer1_validation"), (L4, asyncio.TimeoutError, None)):
            with self.assertRaises(error) as caught:
                self.run_loop(self.manager.execute_with_budget(layer, operation, "slow"))
            self.assertEqual(getattr(caught.exception, "layer_name", None), name)
        self.assertEqual(seen, [asyncio.CancelledError] * 2)
        self.assertEqual([line.split()[:3] for line in self.log.lines], [["ERROR", f"[{HASH}]", "layer4_audit"]])

    def test_a_real_clock_cancels_in_time(self):
        self.clock.__exit__()
        self.addCleanup(self.clock.__enter__)
        for layer, error in ((L1, LayerTimeoutError), (L4, asyncio.TimeoutError)):
            begun = time.monotonic()
            with self.assertRaises(error):
                asyncio.run(self.manager.execute_with_budget(layer, self.later(100)))
            self.assertLess(time.monotonic() - begun, WAIT_S)
            budget = self.manager.get_layer_budget(layer)
            self.assertGreaterEqual(budget.elapsed_ms, budget.budget_ms)

    def test_an_async_operation_that_blocks_is_judged_afterwards(self):
        async def blocking():
            self.clock.advance(30)
            return "result"
        with self.assertRaises(LayerTimeoutError):
            self.run_loop(self.manager.execute_with_budget(L1, blocking))
        self.assertEqual(self.run_loop(self.manager.execute_with_budget(L4, blocking)), "result")

    def test_an_operation_that_resists_cancellation_is_waited_for(self):
        async def stubborn():
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                self.clock.advance(1)
                return "late"
        with self.assertRaises(LayerTimeoutError):
            self.run_loop(self.manager.execute_with_budget(L1, stubborn))
        self.assertEqual(self.run_loop(self.manager.execute_with_budget(L4, stubborn)), "late")

    def test_a_plain_function_may_be_awaited(self):
        self.assertEqual(self.run_loop(self.manager.execute_with_budget(L1, lambda: 7)), 7)
        hostile = Hostile()
        self.assertIs(self.run_loop(self.manager.execute_with_budget(L1, lambda: hostile)), hostile)

        @types.coroutine
        def old():
            yield from asyncio.sleep(0).__await__()
            return 7
        self.assertEqual(self.run_loop(self.manager.execute_with_budget(L1, old)), 7)

    def test_a_cancellation_from_outside_passes(self):
        async def outside():
            task = asyncio.ensure_future(self.manager.execute_with_budget(L2, self.later(1), "op"))
            await asyncio.sleep(0.001)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(self.manager.execute_with_budget(L2, self.later(1), "op"), 0.001)
        self.run_loop(outside())
        self.assertIsNone(self.manager.get_layer_budget(L2).start_time)
        self.assertEqual([record["operation"] for record in self.records("budget")], ["op", "op"])

    def test_an_inner_limit_is_not_the_outer_ones(self):
        async def outer():
            with self.assertRaises(LayerTimeoutError) as caught:
                await self.manager.execute_with_budget(L1, self.later(1), "inner")
            self.assertEqual(caught.exception.layer_name, "layer1_validation")
            await asyncio.sleep(0.001)
            return "outer goes on"
        self.assertEqual(self.run_loop(self.manager.execute_with_budget(L2, outer, "outer")), "outer goes on")

    def test_an_outer_limit_ends_what_is_within(self):
        manager = self.manager
        manager.layer_budgets[L1].budget_ms = 100

        async def outer():
            await manager.execute_with_budget(L1, self.later(1), "inner")
        with self.assertRaises(LayerTimeoutError) as caught:
            self.run_loop(manager.execute_with_budget(L2, outer, "outer"))
        self.assertEqual((caught.exception.layer_name, caught.exception.operation), ("layer2_deliberation", "outer"))
        self.assertEqual([manager.get_layer_budget(layer).start_time for layer in (L1, L2)], [None, None])

    # ---- the total ----

    def test_the_total_is_live_while_it_runs_and_stands_then(self):
        manager = self.manager
        self.assertEqual((manager.total_elapsed_ms, manager.total_remaining_ms, manager.stop_total()), (0.0, 50.0, 0.0))
        manager.start_total()
        self.clock.advance(30)
        self.assertEqual((manager.total_elapsed_ms, manager.total_remaining_ms), (30.0, 20.0))
        taken = manager.stop_total()
        self.clock.advance(30)
        self.assertEqual((manager.total_elapsed_ms, manager.total_remaining_ms), (taken, 50.0 - taken))
        self.must_record(("total", 30, None, None))

    def test_the_total_is_enforced_once_started(self):
        manager = self.manager
        manager.execute_sync_with_budget(L4, self.spend(100))
        manager.reset_all()
        manager.start_total()
        self.clock.advance(45)
        self.assertEqual(manager.execute_sync_with_budget(L4, self.spend(5), "op"), None)
        with self.assertRaises(LayerTimeoutError) as caught:
            manager.execute_sync_with_budget(L4, self.spend(0.000001), "op")
        self.assertEqual(caught.exception.to_dict(), {"error": "LayerTimeoutError", "layer_name": "total", "budget_ms": 50.0,
                                                      "elapsed_ms": 50.000001, "operation": "op", "constitutional_hash": HASH})

    def test_the_total_cancels_what_has_more_time_of_its_own(self):
        for layer in (L2, L4):
            manager = TimeoutBudgetManager()
            manager.start_total()
            self.clock.advance(49)
            with self.assertRaises(LayerTimeoutError) as caught:
                self.run_loop(manager.execute_with_budget(layer, self.later(1), "op"))
            self.assertEqual(caught.exception.layer_name, "total")
            self.assertAlmostEqual(manager.total_elapsed_ms, 50, places=3)
            manager.stop_total()

    def test_a_total_that_is_started_again_is_a_new_request(self):
        manager = self.manager
        for _ in range(3):
            manager.start_total()
            manager.execute_sync_with_budget(L2, self.spend(15))
            self.assertEqual(manager.stop_total(), 15.0)
        manager.start_total()
        self.clock.advance(40)
        manager.start_total()  # the request before was left without a stop
        self.clock.advance(1)
        self.assertEqual(manager.stop_total(), 1.0)
        self.assertEqual(sorted({record.get("before_ms") for record in self.records("budget")}, key=str), [None])

    def test_a_layer_that_was_reset_while_it_ran_ends_without_a_word(self):
        self.manager.execute_sync_with_budget(L2, self.manager.reset_all)
        self.assertEqual((self.manager.get_layer_budget(L2).elapsed_ms, self.records("budget")), (0.0, []))

    # ---- the manager ----

    def test_a_layer_that_there_is_not(self):
        del self.manager.layer_budgets[L3]
        for layer in (L3, "layer1_validation", None, [], Hostile()):
            with self.assertRaisesRegex(ValueError, "Unknown layer"):
                self.manager.get_layer_budget(layer)
            with self.assertRaisesRegex(ValueError, "Unknown layer"):
                self.manager.execute_sync_with_budget(layer, self.fail)
            with self.assertRaisesRegex(ValueError, "Unknown layer"):
                self.run_loop(self.manager.execute_with_budget(layer, self.fail))
        self.assertEqual(list(self.manager.get_budget_report()["layers"]), [L1.value, L2.value, L4.value])

    def test_the_manager_as_it_is_made(self):
        manager = TimeoutBudgetManager(total_budget_ms=80.0)
        self.assertEqual((manager.total_budget_ms, manager.constitutional_hash), (80.0, HASH))
        self.assertEqual([(layer, budget.layer, budget.budget_ms, budget.soft_limit_pct, budget.strict_enforcement)
                          for layer, budget in manager.layer_budgets.items()],
                         [(L1, L1, 5.0, 0.8, True), (L2, L2, 20.0, 0.8, True), (L3, L3, 10.0, 0.8, True),
                          (L4, L4, 15.0, 0.8, False)])
        manager.layer_budgets = {L1: LayerTimeoutBudget(L1, 7)}
        self.assertEqual(manager.get_layer_budget(L1).budget_ms, 7)

    def test_budgets_as_shares_follow_the_total(self):
        manager = TimeoutBudgetManager(100.0, layer_shares={L1: 0.1, L4: 0.25})
        self.assertEqual([budget.budget_ms for budget in manager.layer_budgets.values()], [10.0, 20.0, 10.0, 25.0])
        manager.total_budget_ms = 200.0
        self.assertEqual([budget.budget_ms for budget in manager.layer_budgets.values()], [20.0, 20.0, 10.0, 50.0])
        self.assertFalse(manager.get_layer_budget(L4).strict_enforcement)
        manager.layer_budgets = {}
        manager.total_budget_ms = 10.0
        self.assertEqual({layer: budget.budget_ms for layer, budget in manager.layer_budgets.items()}, {L1: 1.0, L4: 2.5})

    # ---- records ----

    def test_records_name_the_current_span_if_it_is_sampled(self):
        trace = TraceContext(bytes(range(16)), bytes(range(1, 9)), 11)
        with get_tracer().start_as_current_span("free") as free:
            self.manager.execute_sync_with_budget(L2, self.spend(1), "x" * 257)
        with get_tracer().start_as_current_span("kept", context=trace):
            self.manager.execute_sync_with_budget(L2, self.spend(1))
        with get_tracer().start_as_current_span("given up", context=TraceContext(trace.trace_id, trace.span_id, 10)):
            self.manager.execute_sync_with_budget(L2, self.spend(1))
        with attach(trace):
            self.manager.execute_sync_with_budget(L2, self.spend(1), Hostile())
        first, second, third, fourth = self.records("budget")
        self.assertEqual((first["trace_id"], first["span_id"], first.get("flags"), first["operation"]),
                         (free.trace_id, free.span_id, None, "x" * 256))
        self.assertGreaterEqual(first["timestamp_unix_nano"], free.start_unix_nano)
        self.assertEqual((second["trace_id"], second["flags"]), (trace.trace_id, 1))
        self.assertEqual([one.get("trace_id") for one in (third, fourth)], [None, None])
        self.assertEqual(fourth["operation"], "<Hostile that cannot be shown>")

    def test_the_bytes_are_those_of_the_general_encoder(self):
        trace = TraceContext(bytes(range(16)), bytes(range(1, 9)), 11)
        for context in (None, trace):
            for operation in (None, "op"):
                for before_ms in (0, 2.5):
                    budget = LayerTimeoutBudget(L2, 20.0)
                    budget.elapsed_ms = before_ms
                    more = {"operation": operation, "before_ms": before_ms or None}
                    with get_tracer().start_as_current_span("a", context=context) if context else attach(None) as span, \
                            mock.patch("time.time_ns", lambda: 10**18):
                        budget.start()
                        self.clock.advance(1.5)
                        budget.stop(operation)
                        if context:
                            more.update(trace_id=span.trace_id, span_id=span.span_id, flags=1, timestamp_unix_nano=10**18)
                    self.assertIn(_wire.budget("layer2_deliberation", 1.5, **more), self.dwell.kept[-2:])

    def test_layers_that_are_kept_encoded_have_a_ceiling(self):
        with mock.patch.object(budgets, "_heads", {}), mock.patch.object(budgets, "HEADS_MAX", 2):
            for name in ("a", "b", "c", "c"):
                budget = LayerTimeoutBudget(name, 1.0)
                budget.start()
                budget.stop()
            self.assertEqual(list(budgets._heads), ["a", "b"])
        self.must_record(*((name, 0, None, None) for name in ("a", "b", "c", "c")))

    def test_the_daemon_shows_what_a_request_spent(self):
        manager = self.manager
        manager.start_total()
        manager.execute_sync_with_budget(L1, self.spend(4.5))
        manager.execute_sync_with_budget(L2, self.spend(10))
        manager.execute_sync_with_budget(L2, self.spend(5))
        manager.stop_total()
        self.assertTrue(self.dwell.flush(WAIT_S))
        shown = self.daemon.get("/api/v1/budgets").json
        report = manager.get_budget_report()
        self.assertEqual({key: shown[key] for key in report if key != "layers"},
                         {key: value for key, value in report.items() if key != "layers"})
        for name, layer in report["layers"].items():
            self.assertEqual({key: shown["layers"][name][key] for key in layer}, layer)

    def test_without_a_daemon_budgets_are_kept_to(self):
        self.dwell.close()
        self.use(Keeping(directory=str(self.directory() / "none")))
        self.dwell.away = True
        with self.assertRaises(LayerTimeoutError):
            self.manager.execute_sync_with_budget(L1, self.spend(6))
        self.assertEqual((self.dwell.stats()["dropped"], self.dwell.kept), (1, []))
        self.dwell.close()

    def test_a_child_of_a_fork_may_use_them_whoever_held_the_lock(self):
        held, leave = threading.Event(), threading.Event()

        def hold():
            with budgets._lock:
                held.set()
                leave.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            self.manager.get_layer_budget(L1).start()
            self.manager.get_layer_budget(L1).stop()
            os._exit(0 if len(self.dwell.kept) == 1 else 1)
        leave.set()
        thread.join()
        self.assertEqual(os.waitpid(child, 0)[1], 0)


if __name__ == "__main__":
    sys.exit(unittest.main())
