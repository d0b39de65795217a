"""A real worker of a queue in a process of its own, and a dispatcher that can only what a test needs."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kombu.entity import Exchange, Queue
from msgspec import structs

from passmuster.model.result import TestResult
from passmuster.model.status import RunnerKind, Status
from passmuster.model.task import CoverageRequest, Limits, TestTask
from passmuster.model.version import VERSION
from passmuster.wire.broker_keys import PRIORITY_NORMAL, TASK_NAME, queue_name, worker_queue_name
from passmuster.wire.broker_messages import result_kind
from passmuster.wire.codec import RESULT_CODEC, TASK_CODEC
from passmuster.wire.envelope import Envelope, unpack_bytes
from passmuster.wire.run_spec import SPEC_CODEC, SPEC_KIND, RunSpec
from passmuster.wire.run_store import RunStore, WorkerDirectory, connect
from worker.queue.celery_app import make_app

DEADLINE_S = 60.0
SECRET = "the tests' secret"
MAIN = Path(__file__).resolve().parents[2] / "worker" / "__main__.py"


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until a condition holds, but not for ever."""
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"waited in vain until {what}"
        time.sleep(0.02)


def waiting(record: RunStore, paths: Sequence[str]) -> dict[str, int]:
    """Return the take of each of these files that waits."""
    return {path: take for path, (letter, take) in record.states(paths).items() if letter == "Q"}


class WorkerProcess:
    """A worker over a folder.

    Args:
        url: the broker.
        root: the folder; None: it has none, and serves shipped trees alone.
        words: further arguments.
        name: of the worker; empty: any.
        cache: where it puts trees.
    """

    def __init__(
        self, url: str, root: Path | None, *words: str, name: str = "", cache: Path | None = None
    ) -> None:
        self.name = name or f"worker-{secrets.token_hex(4)}"
        # A run inside a test takes no part in what the machine's runs share; see
        # `passmuster.host.host_budget`.
        environ = {
            **os.environ,
            "PASSMUSTER_BROKER_URL": url,
            "PASSMUSTER_SECRET": SECRET,
            "PASSMUSTER_SLOT": "0",
        }
        if cache is not None:
            environ["XDG_CACHE_HOME"] = str(cache)
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                str(MAIN),
                *(() if root is None else ("--root", str(root))),
                "--name",
                self.name,
                "--slots",
                "2",
                *words,
            ],
            cwd=root or cache,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, str]:
        """Wait for its end; return its status and what it printed."""
        output, _ = self.process.communicate(timeout=DEADLINE_S)
        return self.process.returncode, output

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


Start = Callable[..., WorkerProcess]
"""Starts a worker with these words; it is ready when it is returned."""


class Run:
    """One run, as a dispatcher would have it."""

    def __init__(self, url: str) -> None:
        self.url, self.run_id = url, secrets.token_hex(8)
        self.client = connect(url, timeout_s=5)
        self.record = RunStore(self.client, self.run_id)
        self._envelope = Envelope(SECRET)
        self._app = make_app(url)
        self._last_id = "0"
        self.results: dict[str, TestResult] = {}
        self.coverage: dict[str, bytes] = {}
        self.started: list[tuple[str, int, str]] = []
        self.released: list[tuple[str, int, str]] = []
        self.refused: list[tuple[str, str]] = []

    def submit(self, *tasks: TestTask, **changes: Any) -> None:
        """Start the run with these tasks, and with these changes to the plain spec."""
        self.seed(*tasks, spec=self.signed_spec(**changes))
        for task in tasks:
            self.publish(task, task.attempt * 100 + 1)

    def seed(self, *tasks: TestTask, spec: str | None = None) -> None:
        """Let these tasks wait, without a message."""
        takes = {task.file_path: task.attempt * 100 + 1 for task in tasks}
        self.record.seed(takes, epoch="word", spec=self.signed_spec() if spec is None else spec)

    def signed_spec(self, *, secret: str = SECRET, **changes: object) -> str:
        plain = RunSpec(
            run_id=self.run_id, version=VERSION, grace_s=5.0, has_coverage=False, environment_names=()
        )
        return Envelope(secret).sign(SPEC_KIND, SPEC_CODEC.encode(structs.replace(plain, **changes)))

    def publish(self, task: TestTask, take: int) -> None:
        self.publish_text(Envelope(SECRET).sign("task", TASK_CODEC.encode(task), str(take)))

    def publish_for(self, worker: str, task: TestTask, take: int) -> None:
        """Put a message on one worker's queue."""
        text = Envelope(SECRET).sign("task", TASK_CODEC.encode(task), str(take))
        self.publish_text(text, name=worker_queue_name(self.run_id, worker))

    def publish_text(self, text: str, *, name: str = "") -> None:
        """Put a message on a queue, whatever it holds; no name: the run's."""
        name = name or queue_name(self.run_id)
        queue = Queue(name, Exchange("", type="direct"), routing_key=name, no_declare=True)
        self._app.send_task(TASK_NAME, args=[text], queue=queue, priority=PRIORITY_NORMAL, declare=[])

    def task(
        self, name: str, *, timeout_s: float = 60.0, with_coverage: bool = False, **changes: object
    ) -> TestTask:
        plain = TestTask(
            run_id=self.run_id,
            file_path=name,
            runner=RunnerKind.SCRIPT,
            limits=Limits(timeout_s=timeout_s),
            coverage=CoverageRequest() if with_coverage else None,
        )
        return structs.replace(plain, **changes)

    def look(self) -> None:
        """Take the news."""
        for entry in self.record.read(self._last_id, block_s=0.1):
            self._last_id = entry.entry_id
            if entry.kind == "started":
                self.started.append((entry.path, entry.delivery, entry.worker))
            elif entry.kind == "released":
                self.released.append((entry.path, entry.delivery, entry.worker))
            elif entry.kind == "refused":
                self.refused.append((entry.worker, entry.body))
            else:
                text, packed = self._envelope.verify(result_kind(self.run_id), entry.body)
                assert entry.path not in self.results, "a second result"
                self.results[entry.path] = RESULT_CODEC.decode(text)
                if packed:
                    self.coverage[entry.path] = unpack_bytes(packed, limit_bytes=1 << 26)

    def opened_refusals(self) -> list[str]:
        """Return what workers said that do not serve the run."""
        return [self._envelope.verify("refused", body)[0] for _, body in self.refused]

    def wait(self, count: int) -> dict[str, TestResult]:
        """Wait for so many results; return all there are."""

        def is_there() -> bool:
            self.look()
            return len(self.results) >= count

        until(is_there, f"{count} results are there")
        return self.results

    def wait_for_start(self, count: int = 1) -> None:
        def is_there() -> bool:
            self.look()
            return len(self.started) >= count

        until(is_there, f"{count} files run")

    def workers(self) -> list[str]:
        return [card.name for card in WorkerDirectory(self.client).statuses()]

    def busy(self, name: str) -> int | None:
        """Return how many files a worker says it runs."""
        cards = WorkerDirectory(self.client).statuses()
        return next((card.busy for card in cards if card.name == name), None)

    def body(self, name: str) -> str:
        """Return the message of a pass by another worker."""
        result = TestResult(file_path=name, status=Status.PASS, worker="somebody")
        return self._envelope.sign(result_kind(self.run_id), RESULT_CODEC.encode(result), "")

    def close(self) -> None:
        self.record.end()
        self._app.close()
        self.client.close()
