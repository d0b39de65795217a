"""Watches one file from its start to the end of its last process: output, report, time limit, stop requests.

One thread runs `AttemptMonitor.run` for each file. It waits on four descriptors at once: the process
supervisor, the output, the report, and a pipe by which other threads wake it. Output is always read, so
printing never blocks the test for long. pytest writes a few bytes twice for each test case. To wake up for
each of them would take more CPU time than many tests do, so the pipes are read at intervals (`ReadPace`).
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from msgspec import Struct

from passmuster.model.status import StopReason
from passmuster.model.task import Limits
from worker.process.child_report import ChildReport
from worker.process.output_capture import OutputCapture
from worker.process.process_tree import descendants
from worker.process.stacks import ask_for_stacks
from worker.process.supervisor_client import (
    Ended,
    Failed,
    Started,
    SupervisorClient,
    SupervisorGoneError,
    SupervisorMessage,
)

READ_BYTES = 1 << 18
"""Bytes read from a pipe at a time: four times the capacity of a pipe."""

REST_S = 0.02
"""Seconds for which the pipes are not read after the start, and after a read that found little."""

FLOOD_BYTES = 1 << 15
"""A read of so many bytes, half the capacity of a pipe, means that a longer rest would block the test."""

FLOOD_S = 0.1
"""Seconds without a rest after that."""

DRAIN_S = 0.5
"""Seconds to wait for the last output after all processes ended. Only a process that escaped its supervisor
can still hold the pipe open."""

DEAD_WAIT_S = 15.0
"""Seconds the supervisor may take to report the end after SIGKILL; longer than its own bound for reaping."""


class Supervised(Struct, frozen=True, kw_only=True):
    """How a file's processes ended."""

    ended: Ended | None = None
    """The supervisor's report; None: nothing was started, or the supervisor died."""
    failed: Failed | None = None
    """Why nothing was started; None: the file started."""
    supervisor_died: bool = False
    """Whether the test killed its supervisor."""
    stop_reason: StopReason | None = None
    """Why Passmuster stopped it; None: it ended by itself."""
    stop_detail: str = ""
    duration_s: float = 0.0
    """Seconds from the start to the end of the last process."""
    started_at: float = 0.0
    """Unix time."""
    stacks: str = ""
    """Stacks of its Python processes at the timeout."""


class ReadPace:
    """Decides when to read what a test writes. All times are of one clock, in seconds."""

    def __init__(self, now_s: float) -> None:
        self._rests_until_s = now_s + REST_S
        self._floods_until_s = now_s

    def rest_s(self, now_s: float) -> float:
        """Return the seconds until the pipes should be read again; 0: they should be now."""
        return max(0.0, self._rests_until_s - now_s)

    def record(self, count: int, now_s: float) -> None:
        """Record a read of `count` bytes."""
        if count >= FLOOD_BYTES:
            self._floods_until_s = now_s + FLOOD_S
        elif count and now_s >= self._floods_until_s:
            self._rests_until_s = now_s + REST_S


class AttemptMonitor:
    """Runs one file under one process supervisor. Only `stop` may be called from any thread."""

    def __init__(
        self, supervisor: SupervisorClient, limits: Limits, capture: OutputCapture, report: ChildReport
    ) -> None:
        self._supervisor = supervisor
        self._limits = limits
        self._capture = capture
        self._report = report
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe()
        self._stop_request: tuple[StopReason, str, float] | None = None
        """Reason, detail, and grace period in seconds."""
        self._poll = select.poll()
        self._poll_without_pipes = select.poll()
        self._pace = ReadPace(time.monotonic())
        self._pipes: dict[int, Callable[[bytes], None]] = {}
        self._messages: list[SupervisorMessage] = []
        self._stacks = ""
        self._output_inode = 0
        self._stop_reason: StopReason | None = None
        self._stop_detail = ""
        self._kill_at: float | None = None

    def stop(self, reason: StopReason, detail: str, *, grace_s: float) -> None:
        """Request the end of the file: SIGTERM, and SIGKILL after `grace_s`; 0: SIGKILL immediately.

        Of several requests, the first reason and the shortest grace period count. `detail` is for the user.
        """
        with self._lock:
            if self._stop_request is not None:
                reason, detail, earlier_grace_s = self._stop_request
                grace_s = min(grace_s, earlier_grace_s)
            self._stop_request = (reason, detail, grace_s)
            if self._wake_write >= 0:
                os.write(self._wake_write, b"!")

    def run(self, start: Callable[[int, int], None], on_started: Callable[[], None]) -> Supervised:
        """Start the file and return when its last process has ended.

        `start` makes the supervisor start it; it takes the descriptors for the output and for the report.
        `on_started` is called once the file's first process exists.
        """
        started_at, begin = time.time(), time.monotonic()
        try:
            self._start(start)
            ended, failed = self._wait(begin, on_started)
            died = False
        except SupervisorGoneError:
            ended, failed, died = None, None, True
        finally:
            self._drain_rest()
            self._close()
        return Supervised(
            ended=ended,
            failed=failed,
            supervisor_died=died,
            stop_reason=self._stop_reason,
            stop_detail=self._stop_detail,
            duration_s=time.monotonic() - begin,
            started_at=started_at,
            stacks=self._stacks,
        )

    def _start(self, start: Callable[[int, int], None]) -> None:
        for poll in (self._poll, self._poll_without_pipes):
            poll.register(self._wake_read, select.POLLIN)
            poll.register(self._supervisor.fileno(), select.POLLIN)
        with ExitStack() as writing_ends:
            output = self._open_pipe(self._capture.feed, writing_ends)
            report = self._open_pipe(self._report.feed, writing_ends)
            self._output_inode = os.fstat(output).st_ino
            start(output, report)

    def _open_pipe(self, sink: Callable[[bytes], None], writing_ends: ExitStack) -> int:
        """Open a pipe whose content goes to `sink`; return its writing end, closed with the stack."""
        reading, writing = os.pipe()
        writing_ends.callback(os.close, writing)
        os.set_blocking(reading, False)
        self._poll.register(reading, select.POLLIN)
        self._pipes[reading] = sink
        return writing

    def _wait(self, start: float, on_started: Callable[[], None]) -> tuple[Ended | None, Failed | None]:
        """Serve the descriptors until the supervisor reports the end."""
        deadline = start + self._limits.timeout_s
        dead_by: float | None = None
        while True:
            now = time.monotonic()
            if self._stop_reason is None and now >= deadline:
                self._handle_timeout()
                now = time.monotonic()
            self._apply_stop_request(now)
            if self._kill_at is not None and now >= self._kill_at and dead_by is None:
                self._supervisor.kill()
                dead_by = now + DEAD_WAIT_S
            if dead_by is not None and now >= dead_by:
                raise SupervisorGoneError
            self._serve(
                _seconds_until_first(
                    now, deadline if self._stop_reason is None else None, self._kill_at, dead_by
                )
            )
            messages, self._messages = self._messages, []
            for message in messages:
                match message:
                    case Started():
                        on_started()
                    case Failed():
                        return None, message
                    case Ended():
                        if os.waitstatus_to_exitcode(message.wait_status) == -signal.SIGKILL:
                            # The memory governor may have killed it before this thread saw its request.
                            self._apply_stop_request(time.monotonic())
                        return message, None

    def _handle_timeout(self) -> None:
        """Collect the stacks, then start to stop the file."""
        pids = descendants(self._supervisor.pid)
        self._stacks = ask_for_stacks(pids, self._output_inode, self._serve_for)
        detail = f"ran longer than its time limit of {self._limits.timeout_s:g} s"
        self.stop(StopReason.TIMEOUT, detail, grace_s=self._limits.grace_s)

    def _apply_stop_request(self, now: float) -> None:
        """Start to stop the file once that is requested; shorten the grace period on further requests."""
        with self._lock:
            request = self._stop_request
        if request is None:
            return
        reason, detail, grace_s = request
        if self._stop_reason is None:
            self._stop_reason, self._stop_detail = reason, detail
            self._kill_at = now + grace_s
            if grace_s > 0:
                self._supervisor.signal(signal.SIGTERM)
        elif self._kill_at is not None:
            self._kill_at = min(self._kill_at, now + grace_s)

    def _serve(self, timeout_s: float | None) -> int:
        """Wait for any descriptor or the end of a rest; return the number of bytes that the test wrote."""
        rest_s = self._pace.rest_s(time.monotonic())
        if rest_s > 0:
            timeout_s = rest_s if timeout_s is None else min(rest_s, timeout_s)
            return self._wait_for(self._poll_without_pipes, timeout_s)
        count = self._wait_for(self._poll, timeout_s)
        self._pace.record(count, time.monotonic())
        return count

    def _wait_for(self, poll: select.poll, timeout_s: float | None) -> int:
        """Wait for a descriptor and read all that are ready. Return as `_serve`."""
        count = 0
        for descriptor, _ in poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000):
            if descriptor == self._wake_read:
                os.read(descriptor, 512)
            elif descriptor in self._pipes:
                count += self._read(descriptor)
            else:
                self._messages.extend(self._supervisor.receive())
        return count

    def _serve_for(self, seconds: float) -> int:
        """Serve for a while, leaving the supervisor's messages to the loop. Return as `_serve`."""
        deadline, count = time.monotonic() + seconds, 0
        while (left := deadline - time.monotonic()) > 0:
            count += self._wait_for(self._poll, left)
        return count

    def _read(self, descriptor: int) -> int:
        """Read once from a pipe; return the number of bytes, 0 if it is empty now or at its end."""
        try:
            data = os.read(descriptor, READ_BYTES)
        except BlockingIOError:
            return 0
        if data:
            self._pipes[descriptor](data)
            return len(data)
        self._poll.unregister(descriptor)
        del self._pipes[descriptor]
        os.close(descriptor)
        return 0

    def _drain_rest(self) -> None:
        """Read the rest of the pipes after all writers have ended."""
        deadline = time.monotonic() + DRAIN_S
        for descriptor in list(self._pipes):
            while self._read(descriptor) and time.monotonic() < deadline:
                pass

    def _close(self) -> None:
        for descriptor in self._pipes:
            os.close(descriptor)
        with self._lock:
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1


def _seconds_until_first(now: float, *moments: float | None) -> float | None:
    """Return the seconds until the first of the moments that are set."""
    coming = [moment - now for moment in moments if moment is not None and moment > now]
    return min(coming) if coming else None
