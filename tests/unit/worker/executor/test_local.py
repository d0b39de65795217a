"""From a task to its result with real processes: every ending told apart, nothing left behind."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.model.errors import InfrastructureError
from passmuster.model.status import Isolation, Status, StopReason
from tests.unit.worker.workbench import Workbench, open_descriptors, until
from worker.executor.local import LocalExecutor

IGNORES_SIGTERM = """
    import pathlib, signal, time
    def note(*_):
        print("SIGTERM came", flush=True)
        pathlib.Path("asked").touch()
    signal.signal(signal.SIGTERM, note)
    pathlib.Path("ready").touch()
    while True:
        time.sleep(60)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    bench = Workbench(tmp_path)
    yield bench
    bench.executor.close()


def test_the_result_of_a_pass_is_complete(bench: Workbench) -> None:
    bench.write(
        "tests/ok.py", "import os\nprint('hello', os.getcwd(), flush=True)\nos.system('echo from a shell')\n"
    )

    task = bench.task("tests/ok.py")
    result = bench.run(task)

    assert (result.status, result.error, result.file_path) == (Status.PASS, "", "tests/ok.py")
    assert result.output == f"hello {bench.root}\nfrom a shell\n"
    assert (result.exit_code, result.signal, result.stop_reason) == (0, None, None)
    assert (result.runner, result.worker, result.slot, result.attempt) == ("script", "local", 0, 1)
    assert result.duration > 0
    assert result.started_at > 1.7e9
    assert result.cpu_s is not None
    assert result.cpu_s > 0
    assert result.leaked == ()
    assert bench.left_of(task) == []


@pytest.mark.parametrize(
    ("text", "status", "error"),
    [
        ("raise SystemExit(3)", Status.FAIL, "exit status 3; no test reported a failure"),
        ("import os; os.abort()", Status.CRASH, "killed by SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", Status.CRASH, "killed by SIGKILL, which Passmuster did not"),
        ("import os; os.killpg(0, 15)", Status.CRASH, "killed by SIGTERM, which Passmuster did not send"),
        ("if x", Status.COLLECT_ERROR, "SyntaxError: "),
        ("def test_a(): pass", Status.NO_TESTS, "none of the 1 test(s) that it defines was run"),
    ],
)
def test_every_ending_has_its_status(bench: Workbench, text: str, status: Status, error: str) -> None:
    guard = "if __name__ == '__main__':\n    pass\n" if status is not Status.NO_TESTS else ""
    bench.write("prog.py", f"{guard}{text}\n")

    result = bench.run(bench.task("prog.py"))

    assert result.status is status
    assert result.error.startswith(error)


@pytest.mark.parametrize("name", ["../out.py", "/etc/hostname", "a\0b.py", "link.py", "folder", "gone.py"])
def test_only_a_regular_file_inside_the_root_is_ever_executed(bench: Workbench, name: str) -> None:
    proof = bench.root.parent / "proof"
    (bench.root.parent / "out.py").write_text(f"open({str(proof)!r}, 'w')\n", encoding="utf-8")
    (bench.root / "link.py").symlink_to(bench.root.parent / "out.py")
    (bench.root / "folder").mkdir()

    result = bench.run(bench.task(name))

    assert result.status is Status.START_ERROR
    assert "refusing" in result.error or "does not exist any more" in result.error
    assert not result.is_worker_fault
    assert not proof.exists()


def test_a_missing_interpreter_is_a_start_error(bench: Workbench) -> None:
    bench.use(structs.replace(bench.settings, interpreter="/no/such/python"))

    result = bench.run_text("pass")

    assert result.status is Status.START_ERROR
    assert result.error.startswith("cannot execute /no/such/python: No such file or directory")
    assert result.is_worker_fault


def test_a_missing_working_directory_is_a_start_error(bench: Workbench) -> None:
    bench.write("prog.py", "pass\n")
    bench.use(structs.replace(bench.settings, workdir=bench.root / "gone"))

    result = bench.run(bench.task("prog.py"))

    assert (result.status, result.is_worker_fault) == (Status.START_ERROR, True)


def test_a_missing_temporary_directory_is_the_workers_fault(bench: Workbench) -> None:
    shutil.rmtree(bench.tmp_parent)

    result = bench.run_text("pass\n")

    assert (result.status, result.is_worker_fault) == (Status.START_ERROR, True)


@pytest.mark.parametrize("variable", [("BAD", "nul\0nul"), ("BIG", "x" * (1 << 20))])
def test_impossible_variables_are_the_tasks_fault(bench: Workbench, variable: tuple[str, str]) -> None:
    bench.write("a.py", "pass\n")

    task = structs.replace(bench.task("a.py"), environment=(variable,), isolation=Isolation.SPAWN)
    result = bench.run(task)

    assert (result.status, result.is_worker_fault) == (Status.START_ERROR, False)


def test_a_missing_parent_of_the_temporary_directory_is_reported_in_one_line(tmp_path: Path) -> None:
    bench = Workbench(tmp_path)
    bench.executor.close()
    with pytest.raises(InfrastructureError, match="cannot make a temporary directory in"):
        LocalExecutor(structs.replace(bench.settings, tmp_parent=tmp_path / "gone"), bench.fleet)


def test_each_file_has_a_private_tmpdir_that_is_gone_afterwards(bench: Workbench) -> None:
    text = """
        import os, tempfile
        print(os.environ["TMPDIR"], oct(os.stat(os.environ["TMPDIR"]).st_mode & 0o777))
        assert tempfile.gettempdir() == os.environ["TMPDIR"]
        os.makedirs(os.environ["TMPDIR"] + "/deep/er")
        tempfile.mkstemp()
    """
    first, second = (bench.run_text(text).output.split() for _ in range(2))

    assert first[1] == second[1] == "0o700"
    assert first[0] != second[0]
    assert not Path(first[0]).exists()
    assert not Path(second[0]).exists()
    assert {stat.S_IMODE(own.stat().st_mode) for own in bench.tmp_parent.iterdir()} == {0o700}
    bench.executor.close()
    assert list(bench.tmp_parent.iterdir()) == []


@pytest.mark.parametrize(("code", "is_kept"), [(0, False), (1, True)])
def test_the_tmpdir_of_a_failure_is_kept_on_request(bench: Workbench, code: int, is_kept: bool) -> None:
    # That of a fork which is checked is not: the check keeps its own.
    bench.use(structs.replace(bench.settings, keep_tmp=True, isolation=Isolation.SPAWN))

    result = bench.run_text(
        f"import os\nopen(os.environ['TMPDIR'] + '/note', 'w').close()\nraise SystemExit({code})"
    )
    bench.executor.close()

    assert (result.kept_tmp != "") is is_kept
    assert is_kept is (bool(result.kept_tmp) and (Path(result.kept_tmp) / "note").exists())
    if not is_kept:
        assert list(bench.tmp_parent.iterdir()) == []


def test_an_output_far_larger_than_a_pipe_is_read_to_its_end(bench: Workbench) -> None:
    result = bench.run_text(
        "import os\nos.write(1, b'start')\nfor _ in range(64): os.write(1, b'x' * 65536)\n"
        "os.write(2, b'end')\n",
        output_bytes=1000,
    )

    assert result.status is Status.PASS
    assert result.output.startswith("startxxx")
    assert result.output.endswith("xxxend")
    assert result.output_dropped_bytes == 64 * 65536 + 8 - 1000


def test_a_report_far_larger_than_a_pipe_arrives_whole(bench: Workbench) -> None:
    result = bench.run_text(
        """
        import unittest
        class T(unittest.TestCase): pass
        for number in range(3000):
            setattr(T, f"test_{number:04d}", lambda self: self.skipTest("why " * 25))
        if __name__ == "__main__":
            unittest.main(verbosity=0)
        """
    )

    assert result.status is Status.PASS, result.error
    assert len(result.cases) == 3000


def test_a_timeout_collects_stacks_and_then_kills_the_file(bench: Workbench) -> None:
    result = bench.run_text("import time\ndef hanging():\n    time.sleep(60)\nhanging()\n", timeout_s=1.5)

    assert result.status is Status.TIMEOUT
    assert result.stop_reason is StopReason.TIMEOUT
    assert result.error == "ran longer than its time limit of 1.5 s"
    assert "in hanging" in result.stacks


def test_sigterm_comes_first_and_sigkill_after_the_grace(bench: Workbench) -> None:
    task = bench.task("deaf.py")
    bench.write("deaf.py", IGNORES_SIGTERM)
    started = bench.start(task)
    until((bench.root / "ready").exists, "it runs")

    bench.executor.stop_all(StopReason.CANCELLED, grace_s=0.2)

    result = started.result()
    assert result.signal == 9
    assert "SIGTERM came" in result.output
    assert bench.left_of(task) == []


def test_a_stop_cancels_running_files(bench: Workbench) -> None:
    bench.write("deaf.py", "import pathlib, time\npathlib.Path('ready').touch()\ntime.sleep(60)\n")
    task = bench.task("deaf.py")
    started = bench.start(task)
    until((bench.root / "ready").exists, "it runs")

    bench.executor.stop_all(StopReason.CANCELLED, grace_s=30)

    result = started.result()
    assert (result.status, result.signal) == (Status.CANCELLED, 15)
    assert result.error == "stopped because the run was stopped"


def test_a_second_stop_shortens_the_grace_of_the_first_and_keeps_its_reason(bench: Workbench) -> None:
    bench.write("deaf.py", IGNORES_SIGTERM)
    started = bench.start(bench.task("deaf.py"))
    until((bench.root / "ready").exists, "it runs")

    bench.executor.stop_all(StopReason.RUN_TIMEOUT, grace_s=1000)
    until((bench.root / "asked").exists, "the first stop is obeyed")
    bench.executor.stop_all(StopReason.CANCELLED, grace_s=0)

    result = started.result()
    assert (result.status, result.signal, result.stop_reason) == (
        Status.CANCELLED,
        9,
        StopReason.RUN_TIMEOUT,
    )


def test_a_file_admitted_after_a_stop_is_stopped_immediately(bench: Workbench) -> None:
    bench.write("long.py", "import time\ntime.sleep(60)\n")
    bench.executor.stop_all(StopReason.CANCELLED, grace_s=5)

    assert bench.run(bench.task("long.py")).status is Status.CANCELLED


def test_a_stop_after_the_end_is_ignored(bench: Workbench) -> None:
    assert bench.run_text("pass").status is Status.PASS

    bench.executor.stop_all(StopReason.CANCELLED, grace_s=0)
    bench.executor.close()
    bench.executor.close()


def test_slots_are_numbered_and_released(bench: Workbench) -> None:
    text = "import os\nprint(os.environ['PASSMUSTER_SLOT'])\n"
    bench.write("a.py", text)
    first, second, third = (bench.task("a.py") for _ in range(3))

    assert bench.executor.admit(first)
    assert bench.executor.admit(second)
    assert not bench.executor.admit(third)
    assert bench.executor.free_capacity().slots == 0
    outputs = {bench.executor.run_single_test(task).output for task in (first, second)}
    assert outputs == {"0\n", "1\n"}
    assert bench.executor.free_capacity().slots == 2
    assert bench.executor.free_capacity().is_idle


def test_fifty_files_leave_no_descriptor_and_no_thread_behind(bench: Workbench) -> None:
    bench.write("a.py", "import os\nprint(sorted(int(name) for name in os.listdir('/proc/self/fd')))\n")
    assert bench.run(bench.task("a.py")).output == "[0, 1, 2, 3, 198]\n"
    before = open_descriptors(), threading.active_count()

    outputs = {bench.run(bench.task("a.py")).output for _ in range(50)}

    assert outputs == {"[0, 1, 2, 3, 198]\n"}
    assert (open_descriptors(), threading.active_count()) == before


def test_closing_releases_everything(tmp_path: Path) -> None:
    before = open_descriptors(), threading.active_count()
    bench = Workbench(tmp_path)
    bench.fleet.warm_up(10)
    assert bench.run_text("pass").status is Status.PASS

    bench.executor.close()

    assert (open_descriptors(), threading.active_count()) == before
    assert list(bench.tmp_parent.iterdir()) == []


def test_the_environment_is_the_callers_with_the_documented_changes(bench: Workbench) -> None:
    task = structs.replace(bench.task("env.py"), environment=(("EXTRA", "ö"), ("HOME", None)))
    bench.write("env.py", "import os\nprint(ascii(dict(os.environb)))\n")
    bench.use(structs.replace(bench.settings, environ={"HOME": "/home/ada", "TEST_MODE": "real"}))

    found: dict[bytes, bytes] = eval(bench.run(task).output)  # The test's own output.

    tmp = found.pop(b"TMPDIR").decode()
    assert tmp.startswith(str(bench.tmp_parent))
    assert found.pop(b"LC_CTYPE", b"C.UTF-8") == b"C.UTF-8"  # Set by the interpreter itself.
    assert found == {
        b"EXTRA": "ö".encode(),
        b"TEST_MODE": b"real",
        b"TESTING": b"true",
        b"PYTHONFAULTHANDLER": b"1",
        b"PASSMUSTER_SLOT": b"0",
        b"PYTEST_XDIST_WORKER": b"gw0",
        b"PYTEST_XDIST_WORKER_COUNT": b"2",
        b"PYTEST_XDIST_TESTRUNUID": hashlib.sha256(task.run_id.encode()).hexdigest()[:32].encode(),
        b"PASSMUSTER_ATTEMPT": task.attempt_id.encode(),
        b"PASSMUSTER_FILE_MEMORY": str(bench.settings.budget_bytes).encode(),
    }


def test_standard_input_is_empty(bench: Workbench) -> None:
    assert bench.run_text("import sys\nprint(repr(sys.stdin.read()))\n").output == "''\n"


def test_files_with_unusual_names_run(bench: Workbench) -> None:
    for name in ("test a.py", "-c.py", "test_\nline.py", "test_é.py", os.fsdecode(b"test_\xff.py")):
        bench.write(name, "print('ran')\n")
        task = bench.task(name)
        result = bench.run(task)
        assert (name, result.status, result.output) == (name, Status.PASS, "ran\n")


def test_a_file_that_cannot_be_executed_never_raises(bench: Workbench) -> None:
    bench.write("a.py", "pass\n")
    task = structs.replace(bench.task("a.py"), environment=(("BAD", "nul\0nul"),))

    result = bench.run(task)

    assert result.status is Status.START_ERROR
    assert bench.run(bench.task("a.py")).status is Status.PASS
