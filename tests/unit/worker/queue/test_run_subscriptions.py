"""The runs that a worker serves, and its refusals of others."""

from __future__ import annotations

import threading
from functools import partial

import pytest

from passmuster.model.errors import ConfigurationError
from passmuster.model.executor import SlotRange
from passmuster.model.version import VERSION
from passmuster.wire.envelope import Envelope
from passmuster.wire.run_spec import SPEC_CODEC, RunSpec
from passmuster.wire.run_store import RunStore
from tests.support.queue_worker import until
from tests.unit.worker.queue.scripted_queue import NAME, SECRET, BrokerAwayError, spec
from worker.queue.celery_app import RunQueues
from worker.queue.in_flight import InFlightFile
from worker.queue.log import LogLevel
from worker.queue.run_subscriptions import MAX_FORMER_RUNS, Check, RunSubscriptions, check_variables

ENVELOPE = Envelope(SECRET)


class Broker(RunStore, RunQueues):
    """One run's record, and the queues that are followed."""

    def __init__(self) -> None:
        self.text: str | None = ENVELOPE.sign("spec", SPEC_CODEC.encode(spec()))
        self.error: list[Exception] = []
        self.refusals: list[str] = []
        self.changes: list[str] = []
        self.synced = 0
        self.lines: list[str] = []
        self.slots: SlotRange | None = SlotRange(first=4, total=6)
        self.known: list[SlotRange | None] = []
        self.left: list[str] = []

    def spec(self) -> str | None:
        if self.error:
            raise self.error.pop()
        return self.text

    def assign_slots(self, worker: str, count: int, known: SlotRange | None = None) -> SlotRange | None:
        if self.error:
            raise self.error.pop()
        assert (worker, count) == (NAME, 2)
        self.known.append(known)
        return self.slots

    def refuse(self, worker: str, body: str) -> None:
        if self.error:
            raise self.error.pop()
        assert worker == NAME
        [reason] = ENVELOPE.verify("refused", body)
        self.refusals.append(reason)

    def follow(self, run_id: str) -> None:
        self.changes.append(f"+{run_id}")

    def leave(self, run_id: str) -> None:
        self.changes.append(f"-{run_id}")

    def sync(self) -> None:
        self.synced += 1

    def say(
        self, event: str, /, *, about: InFlightFile | None = None, level: LogLevel = LogLevel.INFO
    ) -> None:
        self.lines.append(event)


@pytest.fixture
def broker() -> Broker:
    return Broker()


def subscriptions_of(broker: Broker, *checks: Check, envelope: Envelope = ENVELOPE) -> RunSubscriptions:
    return RunSubscriptions(
        lambda run_id: broker,
        envelope,
        checks,
        broker,
        name=NAME,
        slots=2,
        say=broker.say,
        leave=broker.left.append,
    )


def test_a_run_is_joined_once_and_left_when_it_is_gone(broker: Broker) -> None:
    runs = subscriptions_of(broker)

    runs.follow({"run"})
    until(lambda: broker.changes, "the run is joined")
    runs.follow({"run"})
    assert runs.spec_of("run") == spec()
    assert runs.served_runs() == ("run",)

    runs.follow(())
    assert broker.changes == ["+run", "-run"]
    assert broker.left == ["run"]
    assert runs.spec_of("run") is None
    assert broker.refusals == []


def test_a_run_that_is_joined_again_is_asked_for_the_same_slots(broker: Broker) -> None:
    runs = subscriptions_of(broker)

    for times in (1, 2):
        runs.follow({"run"})
        until(lambda: len(broker.changes) == 2 * times - 1, "the run is joined")  # noqa: B023
        assert runs.slots_of("run") == SlotRange(first=4, total=6)
        runs.follow(())

    assert broker.known == [None, SlotRange(first=4, total=6)]


def test_a_result_that_follows_its_cancelled_run_has_the_secret_of_the_run(broker: Broker) -> None:
    new, both = Envelope("new"), Envelope("old\nnew")
    broker.text = new.sign("spec", SPEC_CODEC.encode(spec()))
    runs = subscriptions_of(broker, envelope=both)

    runs.follow({"run"})
    until(lambda: broker.changes, "the run is joined")
    runs.follow(())

    assert new.verify("result", both.sign("result", "a", run_id="run")) == ("a",)


def has_joined(broker: Broker, run_id: str) -> bool:
    return broker.changes[-1:] == [f"+{run_id}"]


def test_the_slot_numbers_of_the_oldest_runs_are_forgotten(broker: Broker) -> None:
    runs = subscriptions_of(broker)
    for number in range(MAX_FORMER_RUNS + 2):
        broker.text = ENVELOPE.sign("spec", SPEC_CODEC.encode(spec(run_id=f"r{number}")))
        runs.follow({f"r{number}"})
        until(partial(has_joined, broker, f"r{number}"), "the run is joined")
        runs.follow(())

    with pytest.raises(KeyError):
        runs.slots_of("r0")
    assert runs.slots_of("r2") == SlotRange(first=4, total=6)


def test_a_run_that_ends_before_it_assigns_slots_is_not_followed(broker: Broker) -> None:
    broker.slots = None
    runs = subscriptions_of(broker)

    runs.follow({"run"})
    until(lambda: broker.known, "slots were asked for")
    runs.follow(())

    assert broker.changes == []


def test_a_slow_check_delays_no_other_run_and_its_queue_is_not_consumed_before(broker: Broker) -> None:
    go_on = threading.Event()

    def slow(_: RunSpec) -> str:
        assert go_on.wait(30)
        return ""

    runs = subscriptions_of(broker, slow)
    runs.follow({"run"})

    assert runs.spec_of("run") is None
    assert broker.changes == []
    go_on.set()
    until(lambda: broker.changes == ["+run"], "the run is joined")


def test_a_run_that_is_gone_before_it_was_joined_is_not_followed(broker: Broker) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: RunSpec) -> str:
        begun.set()
        assert go_on.wait(30)
        return ""

    runs = subscriptions_of(broker, slow)
    runs.follow({"run"})
    assert begun.wait(30)
    runs.follow(())
    [thread] = [one for one in threading.enumerate() if one.name == "join run"]
    go_on.set()
    thread.join(30)

    assert broker.changes == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", f"the run has no spec, worker {NAME} needs one: install the same version"),
        (
            Envelope("other").sign("spec", SPEC_CODEC.encode(spec())),
            "give the dispatcher and all workers the same",
        ),
        (ENVELOPE.sign("task", SPEC_CODEC.encode(spec())), "is of the kind 'task', 'spec' was expected"),
        (ENVELOPE.sign("spec", "{}"), "the run's spec lacks the key"),
        (ENVELOPE.sign("spec"), "has 0 parts, 1 was expected"),
        (
            ENVELOPE.sign("spec", SPEC_CODEC.encode(spec(version="0.0.9"))),
            f"the dispatcher has version 0.0.9, the worker {VERSION}: install the same",
        ),
        (ENVELOPE.sign("spec", SPEC_CODEC.encode(spec(run_id="r2"))), "is of run 'r2', not of run"),
        (
            ENVELOPE.sign("spec", SPEC_CODEC.encode(spec(environment_names=("LANG", "PASSMUSTER_X", "TZ")))),
            "the run sets LANG, the worker allows TZ: start it with --allow-env LANG",
        ),
    ],
)
def test_an_unmet_spec_is_refused_with_the_reason(broker: Broker, text: str, complaint: str) -> None:
    broker.text = text
    runs = subscriptions_of(broker, check_variables(["TZ"]))

    runs.follow({"run"})
    until(lambda: broker.refusals, "the run is refused")
    runs.follow({"run"})

    [reason] = broker.refusals
    assert complaint in reason
    assert broker.lines == [f"refuses run run: {reason}"]
    assert (broker.changes, runs.served_runs()) == ([], ())


def test_the_first_check_that_fails_is_the_reason(broker: Broker) -> None:
    runs = subscriptions_of(broker, lambda _: "", lambda _: "no\n tree", lambda _: "never asked")

    runs.follow({"run"})
    until(lambda: broker.refusals, "the run is refused")

    assert broker.refusals == ["no tree"]


def test_a_check_that_raises_an_error_refuses_the_run(broker: Broker) -> None:
    def wrong(_: RunSpec) -> str:
        raise ConfigurationError("the tree is damaged")

    runs = subscriptions_of(broker, wrong)
    runs.follow({"run"})
    until(lambda: broker.refusals, "the run is refused")
    assert broker.refusals == [f"worker {NAME} cannot join the run: the tree is damaged"]


def test_a_bug_in_a_check_refuses_the_run_and_logs_a_traceback(broker: Broker) -> None:
    def wrong(_: RunSpec) -> str:
        raise ZeroDivisionError("a bug")

    subscriptions_of(broker, wrong).follow({"run"})
    until(lambda: broker.refusals, "the run is refused")

    assert broker.refusals == [f"an internal error in worker {NAME}: ZeroDivisionError: a bug"]
    assert "Traceback" in broker.lines[0]


def test_joining_is_retried_while_the_broker_is_unavailable(broker: Broker) -> None:
    broker.error = [BrokerAwayError()]
    runs = subscriptions_of(broker)

    def is_joined() -> bool:
        runs.follow({"run"})
        return broker.changes == ["+run"]

    until(is_joined, "the run is joined")
    assert broker.lines == []


def test_a_run_that_has_ended_is_neither_joined_nor_refused(broker: Broker) -> None:
    broker.text = None
    runs = subscriptions_of(broker)
    runs.join("run")

    assert (broker.changes, broker.refusals) == ([], [])


def test_a_broken_worker_refuses_its_runs_and_joins_no_others(broker: Broker) -> None:
    runs = subscriptions_of(broker)
    runs.follow({"run"})
    until(lambda: broker.changes, "the run is joined")

    runs.refuse_all("the disk is full")
    runs.follow({"run", "another"})

    assert broker.refusals == ["the disk is full"]
    assert broker.changes == ["+run", "-run"]
    assert runs.served_runs() == ()


def test_a_run_that_ends_during_its_checks_is_left_and_not_refused(broker: Broker) -> None:
    go_on = threading.Event()

    def gone(_: RunSpec) -> str:
        assert go_on.wait(30)
        return "it has ended"

    runs = subscriptions_of(broker, gone)
    runs.follow({"run"})
    runs.follow(())
    go_on.set()
    until(lambda: not _joins(), "the check has ended")

    assert (broker.left, broker.refusals, broker.changes) == (["run"], [], [])


def test_a_run_that_ends_after_its_checks_is_left_again(broker: Broker) -> None:
    go_on = threading.Event()

    def slow(_: RunSpec) -> str:
        assert go_on.wait(30)
        return ""

    runs = subscriptions_of(broker, slow)
    runs.follow({"run"})
    runs.follow(())
    go_on.set()
    until(lambda: not _joins(), "the check has ended")

    assert (broker.left, broker.changes) == (["run", "run"], [])


def _joins() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("join ")]
