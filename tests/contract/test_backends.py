"""What every backend promises a run, tried on each with real test files.

A further backend is one more entry of `SITES`: whatever it is made of, the same files give the same results.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.config.model import TestConfig
from dispatcher.engine.backend import (
    Backend,
    BackendEvent,
    BackendRequest,
    ExecutionTarget,
    TaskFinished,
    TaskStarted,
)
from dispatcher.queue.cluster import ClusterTarget
from passmuster.model.result import TestResult
from passmuster.model.status import Outcome, RunnerKind, Status, StopReason
from passmuster.model.task import Limits, TestTask
from run_tests import LocalTarget
from tests.support.pytest_environment import PYTEST_PYTHON

SITES: dict[str, Callable[[], ExecutionTarget]] = {
    "local": LocalTarget,
    "queue": lambda: ClusterTarget(LocalTarget()),
}
DEADLINE_S = 60.0

FILES = {
    "ok.py": "print('hello')\n",
    "fail.py": "import sys\nprint('on stdout', flush=True)\nsys.stderr.write('on stderr\\n')\nsys.exit(3)\n",
    "hangs.py": "import pathlib, time\npathlib.Path('hangs').touch()\ntime.sleep(600)\n",
    "crash.py": "import os\nos.abort()\n",
    "empty.py": "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n",
    "broken.py": "def f(:\n",
    "quits.py": (
        "import unittest, os\nclass T(unittest.TestCase):\n"
        "    def test_a(self): os._exit(0)\nunittest.main()\n"
    ),
    "cases.py": (
        "import unittest\nclass T(unittest.TestCase):\n"
        "    def test_a(self): pass\n    def test_b(self): self.fail('b')\n"
        "    def test_c(self): self.skipTest('c')\nunittest.main()\n"
    ),
    "slot.py": "import os\nprint(os.environ['PASSMUSTER_SLOT'], os.environ['PASSMUSTER_X'])\n",
    "flaky.py": (
        "import pathlib, sys\nmark = pathlib.Path('flaky')\n"
        "if not mark.exists():\n    mark.touch()\n    sys.exit(1)\n"
    ),
    "loud.py": "import sys\nsys.stdout.write('head' + '.' * 300_000 + 'tail')\n",
}


class Place:
    """One backend over a project that holds `FILES`."""

    def __init__(self, target: ExecutionTarget, root: Path) -> None:
        self._target = target
        self._root = root
        self._opened: list[Backend] = []

    def open(self, *, slots: int = 2) -> Backend:
        """Return the backend of one run."""
        # A run inside a test takes no part in what the machine's runs share; see
        # `passmuster.host.host_budget`.
        environ = {**os.environ, "PASSMUSTER_SLOT": "0"}
        config = TestConfig(root=self._root, max_workers=slots, history=False, cluster=1)
        backend = self._target.backend(
            BackendRequest(
                config=config,
                run_id="contract",
                workdir=self._root,
                capacity=self._target.capacity(config),
                interpreter=str(PYTEST_PYTHON),
                cache_tag=str(sys.implementation.cache_tag),
                interpreter_identity=f"{platform.python_implementation()} {platform.python_version()}",
                environ=environ,
            )
        )
        self._opened.append(backend)
        return backend

    def run(self, *tasks: TestTask, slots: int = 2) -> dict[str, TestResult]:
        """Run tasks to their end; return the results by path."""
        backend = self.open(slots=slots)
        backend.submit(tasks)
        return results(collect(backend, len(tasks)))

    def has(self, name: str) -> bool:
        """Whether a test made this file."""
        return (self._root / name).exists()

    def close(self) -> None:
        """Close what was opened."""
        for backend in self._opened:
            backend.close()


@contextmanager
def opened(site: str, folder: Path) -> Iterator[Place]:
    root = folder / "project"
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    place = Place(SITES[site](), root)
    try:
        yield place
    finally:
        place.close()


@pytest.fixture(params=SITES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with opened(request.param, tmp_path) as place:
        yield place


def task(name: str, **changes: object) -> TestTask:
    plain = TestTask(run_id="contract", file_path=name, runner=RunnerKind.SCRIPT)
    return structs.replace(plain, **changes)


def collect(backend: Backend, count: int, *, until: Callable[[], bool] = lambda: False) -> list[BackendEvent]:
    """Poll until so many tasks have ended, or something else has happened."""
    events: list[BackendEvent] = []
    deadline_s = time.monotonic() + DEADLINE_S
    while sum(isinstance(event, TaskFinished) for event in events) < count and not until():
        assert time.monotonic() < deadline_s, f"waited in vain after {events}"
        events += backend.poll(0.1)
    return events


def results(events: Sequence[BackendEvent]) -> dict[str, TestResult]:
    return {event.task.file_path: event.result for event in events if isinstance(event, TaskFinished)}


ENDINGS = {
    "ok.py": Status.PASS,
    "fail.py": Status.FAIL,
    "crash.py": Status.CRASH,
    "quits.py": Status.CRASH,
    "empty.py": Status.NO_TESTS,
    "broken.py": Status.COLLECT_ERROR,
    "missing.py": Status.START_ERROR,
    "cases.py": Status.FAIL,
    "hangs.py": Status.TIMEOUT,
    "loud.py": Status.PASS,
    "slot.py": Status.PASS,
}
CHANGES: dict[str, dict[str, object]] = {
    "hangs.py": {"limits": Limits(timeout_s=0.5, grace_s=0.5)},
    "loud.py": {"limits": Limits(output_bytes=100)},
    "slot.py": {"attempt": 3, "environment": (("PASSMUSTER_X", "x"),)},
}


@pytest.fixture(scope="module", params=SITES)
def ended(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, TestResult]:
    """The result of each of `ENDINGS`, from one run."""
    with opened(request.param, tmp_path_factory.mktemp("ended")) as place:
        return place.run(*(task(name, **CHANGES.get(name, {})) for name in ENDINGS))


def test_every_ending_has_its_status(ended: Mapping[str, TestResult]) -> None:
    assert {name: result.status for name, result in ended.items()} == ENDINGS
    assert all((result.error == "") is result.status.is_pass for result in ended.values())
    assert (ended["fail.py"].exit_code, ended["crash.py"].signal) == (3, 6)
    assert ended["hangs.py"].stop_reason is StopReason.TIMEOUT


def test_the_output_comes_with_both_streams_in_order(ended: Mapping[str, TestResult]) -> None:
    assert ended["fail.py"].output == "on stdout\non stderr\n"
    assert ended["loud.py"].output.startswith("head...")
    assert ended["loud.py"].output.endswith("...tail")
    assert ended["loud.py"].output_dropped_bytes == 300_008 - 100


def test_every_case_comes_with_its_outcome(ended: Mapping[str, TestResult]) -> None:
    result = ended["cases.py"]

    assert [case.outcome for case in result.cases] == [Outcome.PASSED, Outcome.FAILED, Outcome.SKIPPED]
    assert "AssertionError: b" in result.cases[1].message


def test_a_result_tells_where_and_how_it_was_made(ended: Mapping[str, TestResult]) -> None:
    result = ended["slot.py"]

    assert result.output == f"{result.slot} x\n"
    assert result.worker != ""
    assert (result.attempt, result.runner) == (3, RunnerKind.SCRIPT)
    assert result.duration > 0
    assert result.started_at > 1.7e9


def test_a_result_names_the_interpreter_that_ran_it(ended: Mapping[str, TestResult]) -> None:
    [ok, fail, missing] = [ended[name].interpreter for name in ("ok.py", "fail.py", "missing.py")]
    assert ok.startswith(f"{platform.python_implementation()} {platform.python_version()}")
    assert fail == ok
    assert missing == ""


def test_a_task_runs_whether_or_not_the_worker_that_it_wants_is_there(place: Place) -> None:
    backend = place.open()
    backend.submit([task("ok.py")])
    first = results(collect(backend, 1))["ok.py"]
    backend.submit([task("ok.py", attempt=2, wanted_worker=first.worker)], urgent=True)
    backend.submit([task("slot.py", wanted_worker="gone", environment=(("PASSMUSTER_X", "x"),))])

    found = results(collect(backend, 2))

    assert {name: result.status for name, result in found.items()} == {
        "ok.py": Status.PASS,
        "slot.py": Status.PASS,
    }
    assert found["ok.py"].worker == first.worker


def test_each_task_has_one_start_and_one_result_and_no_other(place: Place) -> None:
    backend = place.open()
    tasks = [task("ok.py", attempt=number + 1) for number in range(8)]
    backend.submit(tasks)

    events = collect(backend, len(tasks))

    for kind in (TaskStarted, TaskFinished):
        seen = [event.task.attempt_id for event in events if isinstance(event, kind)]
        assert sorted(seen) == sorted(one.attempt_id for one in tasks)
    assert backend.poll(0.2) == ()


def test_with_one_slot_the_order_is_that_of_the_submission(place: Place) -> None:
    backend = place.open(slots=1)
    names = ["ok.py", "fail.py", "slot.py", "crash.py"]
    backend.submit([task(name) for name in names])

    events = collect(backend, len(names))

    for kind in (TaskStarted, TaskFinished):
        assert [event.task.file_path for event in events if isinstance(event, kind)] == names


def test_a_further_attempt_is_a_task_of_its_own(place: Place) -> None:
    backend = place.open()
    backend.submit([task("flaky.py")])
    first = results(collect(backend, 1))["flaky.py"]
    backend.submit([task("flaky.py", attempt=2)], urgent=True)
    second = results(collect(backend, 1))["flaky.py"]

    assert [(one.attempt, one.status) for one in (first, second)] == [(1, Status.FAIL), (2, Status.PASS)]


def test_a_stop_ends_what_runs_and_its_result_still_comes(place: Place) -> None:
    backend = place.open()
    backend.submit([task("hangs.py")])
    collect(backend, 1, until=lambda: place.has("hangs"))

    backend.stop(StopReason.CANCELLED, grace_s=5)

    [result] = results(collect(backend, 1)).values()
    assert (result.status, result.stop_reason) == (Status.CANCELLED, StopReason.CANCELLED)


def test_what_is_withdrawn_never_starts_and_what_runs_goes_on(place: Place) -> None:
    backend = place.open(slots=1)
    backend.submit([task("hangs.py"), task("ok.py"), task("flaky.py")])
    collect(backend, 1, until=lambda: place.has("hangs"))

    withdrawn = backend.withdraw()

    assert [one.file_path for one in withdrawn] == ["ok.py", "flaky.py"]
    assert backend.withdraw() == ()
    backend.stop(StopReason.RUN_TIMEOUT, grace_s=0)
    found = results(collect(backend, 1))
    assert {name: result.status for name, result in found.items()} == {"hangs.py": Status.CANCELLED}
    assert backend.poll(0.2) == ()
    assert not place.has("flaky")


def test_a_spare_task_runs_beside_others_and_is_withdrawn_with_them(place: Place) -> None:
    backend = place.open(slots=2)
    backend.submit([task("hangs.py")])
    collect(backend, 1, until=lambda: place.has("hangs"))
    backend.submit([task("ok.py")], best_effort=True)

    assert results(collect(backend, 1))["ok.py"].status is Status.PASS
    backend.submit([task("flaky.py")])
    collect(backend, 1)
    backend.stop(StopReason.CANCELLED, grace_s=0)
    collect(backend, 1)
    backend.submit([task("slot.py")], best_effort=True)
    # Nobody else runs: what is left over is not worth a start.
    assert [one.file_path for one in backend.withdraw()] == ["slot.py"]


def test_a_wake_ends_a_wait(place: Place) -> None:
    backend = place.open()
    backend.wake()
    started_s = time.monotonic()

    assert backend.poll(DEADLINE_S) == ()

    assert time.monotonic() - started_s < DEADLINE_S / 2


def test_the_place_tells_its_limits_and_what_is_used(place: Place) -> None:
    backend = place.open()
    backend.submit([task("hangs.py")])
    collect(backend, 1, until=lambda: place.has("hangs"))

    usage = backend.usage()

    assert {limit.name for limit in backend.limits()} >= {"slots", "memory budget"}
    assert all(limit.source for limit in backend.limits())
    assert usage.slots == 2
    assert [file.file_path for file in usage.files] == ["hangs.py"]
    backend.stop(StopReason.CANCELLED, grace_s=0)
    collect(backend, 1)
