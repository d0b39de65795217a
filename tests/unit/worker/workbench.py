"""A project and a real executor over it, for tests of everything between a task and its result."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

from passmuster.model.result import TestResult
from passmuster.model.status import RunnerKind
from passmuster.model.task import Limits, TestTask
from worker.executor.local import LocalExecutor
from worker.forkserver.server_pool import ServerPool
from worker.process.process_tree import marked
from worker.process.settings import WorkerSettings

GIB = 1024**3
DEADLINE_S = 30.0


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds, but not for ever."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain until {what}"
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def open_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count is all that is needed.


class Workbench:
    """A project root with an executor of its own."""

    def __init__(self, folder: Path, *, slots: int = 2, interpreter: str = sys.executable) -> None:
        self.root = folder / "project"
        self.tmp_parent = folder / "tmp"
        self.root.mkdir()
        self.tmp_parent.mkdir()
        self.settings = WorkerSettings(
            root=self.root,
            workdir=self.root,
            interpreter=interpreter,
            # The pytest that runs these tests has set this variable, as the one that runs their files has to.
            environ={name: value for name, value in os.environ.items() if name != "PYTEST_VERSION"},
            slots=slots,
            budget_bytes=2 * GIB,
            tmp_parent=self.tmp_parent,
        )
        self._count = 0
        self._run_id = f"bench-{os.getpid()}-{id(self)}"
        self._begin()

    def use(self, settings: WorkerSettings) -> None:
        """Start anew with other settings."""
        self.executor.close()
        self.settings = settings
        self._begin()

    def _begin(self) -> None:
        self.fleet = ServerPool(self.settings)
        self.executor = LocalExecutor(self.settings, self.fleet)

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def task(
        self, name: str, *, timeout_s: float = 60.0, grace_s: float = 5.0, output_bytes: int = 1 << 20
    ) -> TestTask:
        """Return a task for a file to run as a script, with a name that no other has."""
        self._count += 1
        limit = Limits(timeout_s=timeout_s, grace_s=grace_s, output_bytes=output_bytes)
        run_id = f"{self._run_id}-{self._count}"
        return TestTask(run_id=run_id, file_path=name, runner=RunnerKind.SCRIPT, limits=limit)

    def run(self, task: TestTask) -> TestResult:
        """Run a task to its end."""
        assert self.executor.admit(task)
        return self.executor.run_single_test(task)

    def run_text(self, text: str, *, timeout_s: float = 60.0, output_bytes: int = 1 << 20) -> TestResult:
        """Run a script with this text."""
        self.write("script.py", text)
        return self.run(self.task("script.py", timeout_s=timeout_s, output_bytes=output_bytes))

    def start(self, task: TestTask) -> Started:
        """Run a task in a thread of its own."""
        assert self.executor.admit(task)
        return Started(self.executor, task)

    def left_of(self, task: TestTask) -> list[int]:
        """Return the processes that a task's file left behind."""
        return [pid for pid in marked(f"PASSMUSTER_ATTEMPT={task.attempt_id}") if is_alive(pid)]


class Started:
    """A task that runs in a thread."""

    def __init__(self, executor: LocalExecutor, task: TestTask) -> None:
        self._results: list[TestResult] = []
        self._thread = threading.Thread(target=lambda: self._results.append(executor.run_single_test(task)))
        self._thread.start()

    def result(self) -> TestResult:
        """Wait for its end."""
        self._thread.join(DEADLINE_S)
        assert self._results, "it has not ended"
        return self._results[0]
