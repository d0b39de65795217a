"""A cached file answers by itself; every other one runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from dispatcher.engine.backend import Backend, BackendEvent, BackendNotice, TaskFinished, TaskStarted
from dispatcher.engine.journaled_backend import JournaledBackend, cached_results
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask


class Inner:
    """Notes what it is given."""

    def __init__(self) -> None:
        self.submitted: list[tuple[str, bool]] = []

    def submit(self, tasks: Sequence[TestTask], *, urgent: bool = False, best_effort: bool = False) -> None:
        self.submitted += [(task.file_path, urgent) for task in tasks]

    def poll(self, timeout_s: float) -> tuple[BackendEvent, ...]:
        return (BackendNotice(text=f"waited {timeout_s}"),)


def task(path: str) -> TestTask:
    return TestTask(run_id="r", file_path=path)


def cached_backend(inner: Inner, cached: set[str]) -> JournaledBackend:
    """Return a backend for a run of three files, of which these are cached."""
    files = (
        PlannedFile(file=TestFile(path=path, label=path), task=task(path))
        for path in ("a.py", "b.py", "c.py")
    )
    known = cached_results(RunPlan(run_id="r", files=tuple(files)), cached)
    return JournaledBackend(cast(Backend, inner), known, None)


def test_cached_files_pass_at_once_and_the_others_run() -> None:
    inner = Inner()
    backend = cached_backend(inner, {"a.py", "c.py"})

    backend.submit([task("a.py"), task("b.py"), task("c.py")], urgent=True)

    assert inner.submitted == [("b.py", True)]
    answers = [
        each
        for path in ("a.py", "c.py")
        for each in (
            TaskStarted(task=task(path)),
            TaskFinished(
                task=task(path), result=TestResult(file_path=path, status=Status.PASS, is_cached=True)
            ),
        )
    ]
    assert list(backend.poll(1.0)) == answers
    assert backend.poll(2.0) == (BackendNotice(text="waited 2.0"),)


def test_without_other_files_nothing_is_submitted() -> None:
    inner = Inner()

    cached_backend(inner, {"a.py"}).submit([task("a.py")])

    assert inner.submitted == []
