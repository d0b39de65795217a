"""Processes are held still while they are counted, and go on afterwards as if nothing had been."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.budget.freeze import PausableClock, frozen
from worker.process.process_tree import descendants

COUNTING = "while True:\n    pass\n"
FORKING = "import os, time\nfor _ in range(5):\n    os.fork()\ntime.sleep(60)\n"
DEADLINE_S = 20.0


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"


@pytest.fixture
def start() -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(program: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.DEVNULL, start_new_session=True
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_every_process_of_a_tree_is_paused_and_resumed(
    start: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    parent = start(FORKING)
    until(lambda: len(descendants(parent.pid)) == 31)

    def tree() -> list[int]:
        return [parent.pid, *descendants(parent.pid)]

    with frozen([tree]):
        # A process that is waiting for a CPU stops when it gets one, before any code of its own runs.
        until(lambda: {state(pid) for pid in tree()} == {"T"})

    until(lambda: {state(pid) for pid in tree()} <= {"S", "R"})


def test_a_busy_process_makes_no_progress_while_paused(
    start: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    busy = start(COUNTING)

    def ticks() -> int:
        return sum(map(int, Path(f"/proc/{busy.pid}/stat").read_text(encoding="ascii").split()[13:15]))

    until(lambda: ticks() > 3)

    with frozen([lambda: [busy.pid]]):
        until(lambda: state(busy.pid) == "T")
        before = ticks()
        time.sleep(0.1)  # Time in which it would run ten ticks; nothing is waited for.
        assert ticks() == before

    until(lambda: ticks() > before)


def test_a_process_that_its_test_stopped_stays_stopped(
    start: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    process = start("import time; time.sleep(60)")
    process.send_signal(signal.SIGSTOP)
    until(lambda: state(process.pid) == "T")

    with frozen([lambda: [process.pid]]):
        pass

    assert state(process.pid) == "T"


def test_a_process_that_is_gone_or_killed_while_paused_is_ignored(
    start: Callable[[str], subprocess.Popen[bytes]],
) -> None:
    process = start("import time; time.sleep(60)")

    with frozen([lambda: [process.pid, 2**22 + 1]]):
        process.kill()
        assert process.wait(DEADLINE_S) == -signal.SIGKILL


def test_the_clock_pauses_while_trees_are_paused(start: Callable[[str], subprocess.Popen[bytes]]) -> None:
    seconds = [10.0]
    clock = PausableClock(lambda: seconds[0])
    process = start("import time; time.sleep(60)")

    with clock.frozen([lambda: [process.pid]]):
        seconds[0] = 15.0
        assert clock.now_s() == 10.0
    assert clock.now_s() == 10.0
    seconds[0] = 16.0
    assert clock.now_s() == 11.0
    with clock.frozen(()):
        seconds[0] = 17.0
        assert clock.now_s() == 12.0
