"""A session measures each pair in turns and keeps every run as soon as it has ended."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bed.model import BedSuite, Counts, Kind, Ledger, SuiteDefinition, Verdict
from benchmarks.bed.runner import Job, Runner
from benchmarks.bed.session import Plan, run_session
from benchmarks.bed.store import read_ledger
from tests.unit.benchmarks.beds import a_ledger, a_run


class Shell(Runner):
    """A runner that is a line of shell; what it prints is how many tests ran."""

    def __init__(self, name: str, line: str, *, reason: str = "") -> None:
        super().__init__(name)
        self._line = line
        self._reason = reason

    def why_not(self, suite: SuiteDefinition) -> str:
        return self._reason

    def command(self, job: Job) -> list[str]:
        return ["sh", "-c", self._line]

    def verdict(self, job: Job) -> Verdict:
        return Verdict(total=Counts(ran=int(job.read_log())))


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    suite = BedSuite(
        definition=SuiteDefinition(name="small", kind=Kind.SCRIPT),
        root=tmp_path,
        interpreter=Path(sys.executable),
        files=("a.py",),
    )
    return Plan(
        suites=(suite,),
        runners=(Shell("first", "echo x >> first; echo 3"), Shell("second", "echo 3")),
        rounds=2,
        time_limit_s=None,
        run_limit_s=30.0,
        warm_ups=1,
        memory_limit_bytes=None,
        cache=tmp_path / "cache",
        output=tmp_path / "results.json",
    )


def ran(ledger: Ledger) -> list[tuple[str, int, int]]:
    return [(run.runner, run.round, run.verdict.total.ran) for run in ledger.runs]


def test_rounds_are_interleaved_and_written(plan: Plan, tmp_path: Path) -> None:
    ledger = run_session(plan, a_ledger())

    assert ran(ledger) == [("first", 1, 3), ("second", 1, 3), ("first", 2, 3), ("second", 2, 3)]
    assert read_ledger(tmp_path / "results.json") == ledger


def test_a_later_session_adds_to_the_earlier_and_warms_nothing_up_again(plan: Plan, tmp_path: Path) -> None:
    once = replace(plan, rounds=1)

    ledger = run_session(once, run_session(once, a_ledger()))

    assert [run.round for run in ledger.runs] == [1, 1, 2, 2]
    assert (tmp_path / "first").read_text().split() == ["x"] * 3


def test_a_session_that_resumes_completes_the_rounds_and_repeats_nothing(plan: Plan, tmp_path: Path) -> None:
    broken = replace(plan, runners=plan.runners[:1], rounds=1)

    ledger = run_session(replace(plan, resumes=True), run_session(broken, a_ledger()))
    again = run_session(replace(plan, resumes=True), ledger)

    assert sorted(ran(ledger)) == [("first", 1, 3), ("first", 2, 3), ("second", 1, 3), ("second", 2, 3)]
    assert again == ledger
    assert (tmp_path / "first").read_text().split() == ["x"] * 3


def test_peers_can_go_without_a_run_that_is_not_measured(plan: Plan, tmp_path: Path) -> None:
    run_session(replace(plan, rounds=1, warms_peers=False), a_ledger())

    assert (tmp_path / "first").read_text().split() == ["x"]


def test_after_the_time_limit_no_further_round_starts(plan: Plan) -> None:
    assert len(run_session(replace(plan, rounds=5, time_limit_s=0.0), a_ledger()).runs) == 2


def test_a_run_that_is_killed_keeps_those_before_it(plan: Plan, tmp_path: Path) -> None:
    class Interrupted(Shell):
        def command(self, job: Job) -> list[str]:
            raise KeyboardInterrupt

    broken = replace(plan, runners=(plan.runners[1], Interrupted("broken", "")), warm_ups=0)

    with pytest.raises(KeyboardInterrupt):
        run_session(broken, a_ledger())

    assert ran(read_ledger(tmp_path / "results.json")) == [("second", 1, 3)]


def test_a_runner_that_does_not_apply_is_listed_with_its_reason(plan: Plan) -> None:
    ledger = run_session(replace(plan, runners=(Shell("other", "", reason="is not for this"),)), a_ledger())

    assert ledger.runs == ()
    assert [(one.suite, one.runner, one.reason) for one in ledger.not_measured] == [
        ("small", "other", "is not for this")
    ]


def test_what_cannot_be_read_and_what_takes_too_long_are_problems_of_that_run(plan: Plan) -> None:
    runners = (Shell("mute", "echo nothing"), Shell("slow", "sleep 60 & sleep 60; echo 3"))
    limited = replace(plan, runners=runners, rounds=1, warm_ups=0, run_limit_s=0.5)

    problems = [run.verdict.problem for run in run_session(limited, a_ledger(a_run("early"))).runs[1:]]

    assert problems[0].startswith("its outcome cannot be read: ValueError: ")
    assert problems[1] == "killed after 0.5 s"
