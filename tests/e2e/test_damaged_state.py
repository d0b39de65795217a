"""What a run keeps on disk: damaged, full, from the future, or pruned by other runs. No verdict is lost."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING, script

FULL_DISK_BYTES = 24 * 1024 * 1024

WAITS = script(
    """
    open('started', 'w').write('yes')
    while not os.path.exists('go'):
        time.sleep(0.02)
    print('the long one went wrong')
    sys.exit(1)
    """
)


def test_newer_runs_do_not_remove_the_folder_of_one_under_way(project: Project) -> None:
    project.write({"tests/test_long.py": WAITS, "tests/test_quick.py": PASSING})
    long = project.start("tests/test_long.py")
    long.wait_for_file("started")
    (folder,) = (project.root / ".passmuster" / "runs").iterdir()
    os.utime(folder, (0, 0))
    apart = project.base / "apart"  # So that the short runs do not share the machine with the long one.
    apart.mkdir(mode=0o700)

    for _ in range(11):
        assert project.run("tests/test_quick.py", env={"XDG_RUNTIME_DIR": str(apart)}).code == 0
    kept = (folder / "journal").exists()
    (project.root / "go").touch()
    outcome = long.end()

    assert kept
    assert outcome.code == 1
    assert "the long one went wrong" in (folder / "output" / "tests" / "test_long.py.log").read_text()


def test_a_file_from_the_year_2300_is_remembered_like_any_other(project: Project) -> None:
    project.write({"tests/test_now.py": PASSING, "tests/test_future.py": PASSING})
    os.utime(project.root / "tests" / "test_future.py", (10_413_792_000, 10_413_792_000))

    first, second = project.run(), project.run("--dry-run", events=False)

    assert (first.code, first.statuses()) == (
        0,
        {"tests/test_now.py": "PASS", "tests/test_future.py": "PASS"},
    )
    assert "Traceback" not in first.stderr + second.stderr
    assert "never ran" not in second.stdout


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line[: len(line) // 2],
        lambda line: line.replace(b"test_1", b"test_3"),
        lambda line: line.replace(b"FAIL", b"PASS"),
        lambda line: bytes(len(line)),
    ],
    ids=["cut short", "another file", "another status", "zeros"],
)
def test_a_damaged_line_of_the_journal_makes_its_file_run_again(
    project: Project, damage: Callable[[bytes], bytes]
) -> None:
    project.write({"tests/test_1.py": FAILING, "tests/test_2.py": PASSING, "tests/test_3.py": WAITS})
    stopped = project.start("--jobs", "2", "--isolation", "spawn")
    stopped.wait_for_file("started")
    (journal,) = project.root.glob(".passmuster/runs/*/journal")
    wait_until(lambda: journal.read_bytes().count(b"\n") == 3, "the two short files do not end")
    stopped.send(signal.SIGKILL)
    stopped.end()
    wait_until(lambda: not project.processes(), "the processes of the killed run do not end")
    project.may_leave_tmp = True
    head, *lines = journal.read_bytes().split(b"\n")
    (failed,) = (line for line in lines if b"test_1.py" in line)
    journal.write_bytes(b"\n".join([head, *(damage(line) if line is failed else line for line in lines)]))
    (project.root / "go").touch()

    resumed = project.run("--resume", "last", "--jobs", "1", "--isolation", "spawn")

    assert resumed.code == 1, str(resumed)
    assert resumed.statuses() == {
        "tests/test_1.py": "FAIL",
        "tests/test_2.py": "PASS",
        "tests/test_3.py": "FAIL",
    }
    assert "1 damaged line(s) of" in resumed.stderr
    assert "Traceback" not in resumed.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={FULL_DISK_BYTES}", "none", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"root may not mount a file system here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_during_a_run_costs_no_verdict(project: Project, small_disk: Path) -> None:
    root = small_disk / "project"
    (root / "tests").mkdir(parents=True)
    for number in range(3):
        # More than what is left of the last page that was written.
        (root / "tests" / f"test_{number}.py").write_text(script("print('x' * 20_000)"))
    (root / "tests" / "test_fills_it.py").write_text(
        script(
            f"""
            print('x' * 20_000)
            with open({str(small_disk / "fill")!r}, 'wb', buffering=0) as file:
                try:
                    while file.write(bytes(4096)):
                        pass
                except OSError:
                    pass
            """
        )
    )

    outcome = project.run("--root", str(root), "--jobs", "1")

    assert "Traceback" not in outcome.stderr, str(outcome)
    assert outcome.code in (0, 3), str(outcome)
    assert set(outcome.statuses().values()) == {"PASS"}
    assert len(outcome.statuses()) == 4
