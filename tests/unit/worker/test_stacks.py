"""At a timeout every Python process of a file says where it is, and a slow reader takes nothing away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from passmuster.status import Status
from tests.unit.worker.workbench import Workbench

TIMEOUT_S = 2.5
"""Long enough for a few interpreters to start on a busy machine."""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path)
    yield bench
    bench.executor.close()


def test_forked_threaded_and_executed_processes_tell_their_stacks(bench: Workbench) -> None:
    result = bench.run_text(
        """
        import os, subprocess, sys, threading, time
        def in_a_thread(): time.sleep(600)
        def in_a_fork(): time.sleep(600)
        threading.Thread(target=in_a_thread, daemon=True).start()
        child = subprocess.Popen(
            [sys.executable, "-c", "import time\\ndef in_an_exec(): time.sleep(600)\\nin_an_exec()"],
            stderr=subprocess.PIPE,
        )
        if os.fork() == 0:
            in_a_fork()
        def in_the_main_thread(): child.communicate()
        in_the_main_thread()
        """,
        timeout_s=TIMEOUT_S,
    )

    assert result.status is Status.TIMEOUT
    for name in ("in_a_thread", "in_a_fork", "in_an_exec", "in_the_main_thread"):
        assert name in result.stacks, name


def test_a_process_that_is_no_python_is_left_alone_until_it_is_ended(bench: Workbench) -> None:
    task = bench.task("shell.py", timeout_s=TIMEOUT_S, grace_s=0.1)
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


def test_a_test_that_took_the_signal_for_itself_is_still_ended(bench: Workbench) -> None:
    result = bench.run_text(
        """
        import signal, time
        signal.signal(60, lambda *_: print("mine", flush=True))
        while True:
            time.sleep(600)
        """,
        timeout_s=TIMEOUT_S,
    )

    assert (result.status, result.stacks) == (Status.TIMEOUT, "")
    assert "mine" in result.output


def test_no_stacks_are_asked_for_where_nothing_hangs(bench: Workbench) -> None:
    result = bench.run_text("import os\nos.write(198, b'a line of its own\\n')\n")

    assert (result.status, result.stacks) == (Status.PASS, "")
