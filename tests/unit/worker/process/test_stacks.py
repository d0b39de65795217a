"""At a timeout every Python process of a file says where it is, and a slow reader takes nothing away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from passmuster.model.result import TestResult
from passmuster.model.status import Status
from tests.unit.worker.workbench import Workbench

TIMEOUTS_S = (1.0, 4.0, 16.0, 30.0)
"""Tried in turn until the programs hang and their stacks arrive, which depends on the machine."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path)
    yield bench
    bench.executor.close()


def run_to_its_timeout(bench: Workbench, text: str, *, names: tuple[str, ...] = ()) -> TestResult:
    """Run a script that makes a file `hangs` before it hangs, until its stacks hold these names.

    A process has a quarter of a second to write its stacks, which a busy machine may not give it.
    """
    for timeout_s in TIMEOUTS_S:
        result = bench.run_text(text, timeout_s=timeout_s)
        if (bench.root / "hangs").exists() and all(name in result.stacks for name in names):
            break
    assert result.status is Status.TIMEOUT
    return result


def test_the_stacks_of_forked_threaded_and_executed_processes_are_collected(bench: Workbench) -> None:
    waits = "import time\ndef in_an_exec():\n    open('hangs', 'w')\n    time.sleep(600)\nin_an_exec()\n"
    bench.write("waits.py", waits)
    names = ("in_a_thread", "in_a_fork", "in_an_exec", "in_the_main_thread")
    result = run_to_its_timeout(
        bench,
        """
        import os, subprocess, sys, threading, time
        def in_a_thread(): time.sleep(600)
        def in_a_fork(): time.sleep(600)
        threading.Thread(target=in_a_thread, daemon=True).start()
        child = subprocess.Popen([sys.executable, "waits.py"], stderr=subprocess.PIPE)
        if os.fork() == 0:
            in_a_fork()
        def in_the_main_thread(): child.communicate()
        in_the_main_thread()
        """,
        names=names,
    )

    assert [name for name in names if name not in result.stacks] == []


def test_a_process_that_is_not_python_gets_no_signal_before_its_kill(bench: Workbench) -> None:
    task = bench.task("shell.py", timeout_s=TIMEOUTS_S[0], grace_s=0.1)
    bench.write(
        "shell.py",
        """
        import subprocess
        subprocess.run(["sh", "-c", "trap 'echo ABRT' ABRT; while :; do sleep 0.05; done"])
        """,
    )

    result = bench.run(task)

    assert result.status is Status.TIMEOUT
    assert bench.left_of(task) == []


def test_a_test_that_handles_the_signal_itself_is_still_killed(bench: Workbench) -> None:
    result = run_to_its_timeout(
        bench,
        """
        import signal, time
        signal.signal(60, lambda *_: print("mine", flush=True))
        open("hangs", "w")
        while True:
            time.sleep(600)
        """,
    )

    assert result.stacks == ""
    assert "mine" in result.output


def test_no_stacks_are_collected_if_nothing_hangs(bench: Workbench) -> None:
    result = bench.run_text("import os\nos.write(198, b'a line of its own\\n')\n")

    assert (result.status, result.stacks) == (Status.PASS, "")
