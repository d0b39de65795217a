"""Every attempt finds its way into the history, at the latest when the run is over."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from dispatcher.events import FileFinished, RunStarted
from dispatcher.plan import TestFile
from dispatcher.run.remember import HistoryReporter
from dispatcher.schedule.history import open_history
from passmuster.result import TestResult
from passmuster.status import Status
from tests.unit.dispatcher.run.scripted_backend import plan_of


def test_what_a_run_learned_is_known_to_the_next(tmp_path: Path) -> None:
    reporter = HistoryReporter(open_history(tmp_path))
    reporter.handle(RunStarted(at_s=0, started_at=1, plan=plan_of("a.py", "b.py"), limits=()))
    for path, status in (("a.py", Status.PASS), ("b.py", Status.FAIL)):
        result = TestResult(file_path=path, status=status, duration=2.0, peak_bytes=100)
        reporter.handle(FileFinished(at_s=1, file=TestFile(path=path, label=path), result=result))
    reporter.close()

    with closing(open_history(tmp_path)) as history:
        remembered = history.load()
    assert {path: entry.last_status for path, entry in remembered.items()} == {
        "a.py": Status.PASS,
        "b.py": Status.FAIL,
    }


def test_a_killed_runner_forgets_little(tmp_path: Path) -> None:
    history = open_history(tmp_path)
    reporter = HistoryReporter(history)
    reporter.handle(RunStarted(at_s=0, started_at=1, plan=plan_of("a.py"), limits=()))
    result = TestResult(file_path="a.py", status=Status.PASS, duration=2.0)
    reporter.handle(FileFinished(at_s=2.5, file=TestFile(path="a.py", label="a.py"), result=result))

    with closing(open_history(tmp_path)) as other:
        assert set(other.load()) == {"a.py"}
    reporter.close()
