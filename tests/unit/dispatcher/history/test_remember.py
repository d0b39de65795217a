"""Every attempt finds its way into the history, at the latest when the run is over."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from dispatcher.history.file_history import ForkObservation
from dispatcher.history.history import History, HistoryReporter
from dispatcher.model.events import AttemptFinished, RunStarted, VerdictSettled
from dispatcher.model.plan import TestFile
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import Finding
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Status
from tests.unit.dispatcher.engine.scripted_backend import plan_of


def test_what_a_run_learned_is_known_to_the_next(tmp_path: Path) -> None:
    reporter = HistoryReporter(History(tmp_path))
    reporter.handle(RunStarted(at_s=0, started_at=1, plan=plan_of("a.py", "b.py"), limits=()))
    for path, status in (("a.py", Status.PASS), ("b.py", Status.FAIL)):
        result = TestResult(file_path=path, status=status, duration=2.0, peak_bytes=100)
        reporter.handle(AttemptFinished(at_s=1, file=TestFile(path=path, label=path), result=result))
    reporter.close()

    with closing(History(tmp_path)) as history:
        remembered = history.load()
    assert {path: entry.last_status for path, entry in remembered.items()} == {
        "a.py": Status.PASS,
        "b.py": Status.FAIL,
    }


def test_a_killed_runner_forgets_little(tmp_path: Path) -> None:
    history = History(tmp_path)
    reporter = HistoryReporter(history)
    reporter.handle(RunStarted(at_s=0, started_at=1, plan=plan_of("a.py"), limits=()))
    result = TestResult(file_path="a.py", status=Status.PASS, duration=2.0)
    reporter.handle(AttemptFinished(at_s=2.5, file=TestFile(path="a.py", label="a.py"), result=result))

    with closing(History(tmp_path)) as other:
        assert set(other.load()) == {"a.py"}
    reporter.close()


def test_what_was_found_is_known_to_the_next_run_however_the_file_was_decided(tmp_path: Path) -> None:
    forked = TestResult(file_path="", status=Status.PASS, isolation=Isolation.FORK)
    failed = TestResult(file_path="", status=Status.FAIL, attempt=2)
    files = {path: TestFile(path=path, label=path) for path in ("a.py", "b.py", "c.py")}
    reporter = HistoryReporter(History(tmp_path))
    reporter.handle(RunStarted(at_s=0, started_at=1, plan=plan_of(*files), limits=()))
    for file in files.values():
        reporter.handle(
            AttemptFinished(at_s=1, file=file, result=forked, rerun_reason=RerunReason.VERIFY_PASS)
        )
    confirmations: tuple[tuple[str, RerunReason | None, Finding | None], ...] = (
        ("a.py", None, Finding.PASSES_ONLY_FORKED),
        ("b.py", RerunReason.EXCLUSIVE, None),
    )
    for path, again, found in confirmations:
        reporter.handle(
            AttemptFinished(
                at_s=2,
                file=files[path],
                result=failed,
                attempt_reason=RerunReason.VERIFY_PASS,
                rerun_reason=again,
                finding=found,
            )
        )
    for path, reason, result, finding in (
        ("b.py", RerunReason.EXCLUSIVE, failed, Finding.PASSES_ONLY_FORKED),
        ("c.py", RerunReason.VERIFY_PASS, forked, Finding.UNVERIFIED),
    ):
        settled = VerdictSettled(
            at_s=3, file=files[path], result=result, attempt_reason=reason, finding=finding
        )
        reporter.handle(settled)
    reporter.close()

    with closing(History(tmp_path)) as history:
        remembered = history.load()
    assert {path: (known.last_status, known.forking) for path, known in remembered.items()} == {
        "a.py": (Status.FAIL, ForkObservation.HARMFUL),
        "b.py": (Status.FAIL, ForkObservation.HARMFUL),
        "c.py": (Status.PASS, ForkObservation.UNVERIFIED),
    }


def test_the_next_run_knows_the_verdict_and_not_only_the_last_attempt(tmp_path: Path) -> None:
    file = TestFile(path="a.py", label="a.py")
    failed = TestResult(file_path="a.py", status=Status.FAIL)
    passed = TestResult(file_path="a.py", status=Status.PASS, attempt=2)
    reporter = HistoryReporter(History(tmp_path))
    reporter.handle(RunStarted(at_s=0, started_at=1, plan=plan_of("a.py"), limits=()))
    reporter.handle(AttemptFinished(at_s=1, file=file, result=failed, rerun_reason=RerunReason.EXCLUSIVE))
    settled = RerunReason.SETTLED
    reporter.handle(
        AttemptFinished(
            at_s=2, file=file, result=passed, rerun_reason=settled, attempt_reason=RerunReason.EXCLUSIVE
        )
    )
    reporter.handle(
        VerdictSettled(
            at_s=2,
            file=file,
            result=failed,
            attempt_reason=RerunReason.EXCLUSIVE,
            finding=Finding.FAILS_IN_PARALLEL,
        )
    )
    reporter.close()

    with closing(History(tmp_path)) as history:
        known = history.load()["a.py"]
    assert (known.last_status, known.fails_in_parallel) == (Status.FAIL, True)


def test_a_proof_that_forking_is_the_cause_is_stored_with_the_pass(tmp_path: Path) -> None:
    file = TestFile(path="a.py", label="a.py")
    passed = TestResult(file_path="a.py", status=Status.PASS, attempt=3)
    failed = TestResult(file_path="a.py", status=Status.FAIL, attempt=4, isolation=Isolation.FORK)
    reporter = HistoryReporter(History(tmp_path))
    reporter.handle(RunStarted(at_s=0, started_at=1, plan=plan_of("a.py"), limits=()))
    reporter.handle(AttemptFinished(at_s=1, file=file, result=passed, rerun_reason=RerunReason.REFORK))
    reporter.handle(
        AttemptFinished(
            at_s=2,
            file=file,
            result=failed,
            rerun_reason=RerunReason.SETTLED,
            attempt_reason=RerunReason.REFORK,
        )
    )
    found = Finding.FAILS_WHEN_FORKED
    reporter.handle(
        VerdictSettled(at_s=2, file=file, result=passed, attempt_reason=RerunReason.REFORK, finding=found)
    )
    reporter.close()

    with closing(History(tmp_path)) as history:
        known = history.load()["a.py"]
    assert (known.last_status, known.forking) == (Status.PASS, ForkObservation.HARMFUL)
