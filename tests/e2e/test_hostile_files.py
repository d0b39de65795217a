"""Files that misbehave: each gets the verdict it deserves, and none harms another one or the runner.

All of them run in one run, so that whoever does harm is seen by the verdicts of the others.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys

import pytest

from tests.e2e.support.hostile import HOSTILE_FILES, Hostile
from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.e2e.support.sources import FAILING, PASSING
from tests.e2e.support.unprivileged import UNPRIVILEGED


@pytest.fixture(scope="module")
def hostile_run(shared_project: Project) -> Outcome:
    shared_project.write({f"tests/{file.name}": file.source for file in HOSTILE_FILES})
    # Without a chance alone for those that fail: each runs once, and is judged by that.
    return shared_project.run("--jobs", "4", "--oversubscribe", "off")


def label_of(file: Hostile) -> str:
    """Return a file's label as the events have it: what is no character is escaped."""
    return f"tests/{file.name}".encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("file", HOSTILE_FILES, ids=lambda file: ascii(file.name).strip("'\""))
def test_it_gets_its_verdict(file: Hostile, hostile_run: Outcome) -> None:
    *before, attempt = hostile_run.attempts(label_of(file))
    # In an idle moment a pass is confirmed spawned; nothing else runs a file again here, but a check.
    assert {earlier.rerun_reason for earlier in before} <= {"verify-failure", "verify-pass"}, str(hostile_run)
    assert (attempt.status, file.error in attempt.error) == (file.status, True), attempt
    assert file.also(attempt), attempt


def test_every_file_is_counted_once(hostile_run: Outcome) -> None:
    passed = sum(file.status == "PASS" for file in HOSTILE_FILES)
    failed = len(HOSTILE_FILES) - passed
    assert hostile_run.code == 1
    assert hostile_run.stderr == ""
    assert f"[INFO] Found {len(HOSTILE_FILES)} test file(s):" in hostile_run.lines
    assert hostile_run.lines_after("[INFO] 🧪 Test Summary:")[:3] == [
        f"  Total tests: {len(HOSTILE_FILES)}",
        f"  Passed: {passed}",
        f"  Failed: {failed}",
    ]
    assert f"SUMMARY: {passed} passed, {failed} failed" in hostile_run.lines
    assert len(hostile_run.lines_after("FAILED TESTS:")) == failed


def test_nothing_that_a_test_prints_reaches_the_terminal_as_a_control_character(hostile_run: Outcome) -> None:
    assert re.findall(r"[^\n -~\u00a0-\uffff🎉🧪]", hostile_run.stdout) == []
    shown = hostile_run.lines_after("  - tests/test_prints_control_characters.py")
    start = shown.index("  - tests/test_prints_control_characters.py")
    assert shown[start + 1 : start + 4] == [
        "    Last few lines of output:",
        r"       over\x08",
        "      \\u202e\\u2028 \\ufffe \N{PARTY POPPER} ]]>",
    ]


def test_leaked_processes_are_named(hostile_run: Outcome) -> None:
    after = hostile_run.lines_after("[WARN] 3 file(s) left processes behind, which Passmuster killed:")
    assert [line.partition(":")[0] for line in after[:3]] == [
        "  - tests/test_forks_50_children.py",
        "  - tests/test_leaves_a_daemon.py",
        "  - tests/test_leaves_a_stubborn_daemon.py",
    ]
    assert all(len(line) < 2000 for line in after[:3])


def test_outputs_are_kept_as_they_were_printed(hostile_run: Outcome, shared_project: Project) -> None:
    (kept,) = shared_project.root.glob(
        ".passmuster/runs/*/output/tests/test_prints_control_characters.py.log"
    )
    assert kept.read_bytes().startswith(b"\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m \\xff\\xfe\x00 ")
    (long,) = shared_project.root.glob(".passmuster/runs/*/output/tests/test_prints_50_mb.py.log")
    text = long.read_text()
    assert text.startswith("the head\n")
    assert text.endswith("the tail\n")
    assert len(text) < 2_200_000
    assert re.search(r"\n\[\.\.\. [0-9]+ bytes dropped here \.\.\.\]\n", text)


@pytest.mark.parametrize(
    "name",
    [b"test_byte_\xff.py", b"test_new\nline.py", "test_naïve_日本.py".encode(), b"test_it's a $(file).py"],
    ids=ascii,
)
def test_the_command_that_runs_a_file_again_does_so_in_a_shell(project: Project, name: bytes) -> None:
    project.write({f"tests/{os.fsdecode(name)}": FAILING, "tests/test_other.py": PASSING})
    first = project.run()
    (command,) = [line for line in first.lines if line.startswith("    Run it again: ")]
    again = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} {command.removeprefix('    Run it again: ')}"],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        check=False,
    )
    lines = again.stdout.decode().splitlines()
    assert (again.returncode, lines[0]) == (1, "[INFO] Found 1 test file(s):"), again
    assert lines[1] in first.lines


def test_a_file_that_may_not_be_read_is_named(project: Project) -> None:
    project.write({"tests/test_secret.py": PASSING, "tests/test_open.py": PASSING})
    (project.root / "tests/test_secret.py").chmod(0o000)
    outcome = project.run(prefix=UNPRIVILEGED)
    assert outcome.statuses() == {"tests/test_secret.py": "START_ERROR", "tests/test_open.py": "PASS"}
    assert outcome.final("tests/test_secret.py").error == "cannot read the file: Permission denied"
    assert outcome.code == 1


def test_a_directory_that_may_not_be_read_is_warned_of(project: Project) -> None:
    project.write({"tests/secret/test_a.py": PASSING, "tests/test_open.py": PASSING})
    (project.root / "tests/secret").chmod(0o000)
    outcome = project.run(prefix=UNPRIVILEGED)
    (project.root / "tests/secret").chmod(0o700)
    assert outcome.statuses() == {"tests/test_open.py": "PASS"}
    assert outcome.stderr == "[WARN] cannot read directory tests/secret: Permission denied\n"


def test_links_neither_loop_nor_lead_out(project: Project) -> None:
    project.write({"tests/sub/test_a.py": PASSING})
    outside = project.base / "outside"
    outside.mkdir()
    (outside / "test_far.py").write_text(PASSING)
    tests = project.root / "tests"
    (tests / "loop").symlink_to(tests)
    (tests / "sub" / "up").symlink_to(project.root)
    (tests / "test_self.py").symlink_to("test_self.py")
    (tests / "away").symlink_to(outside)
    (tests / "test_away.py").symlink_to(outside / "test_far.py")
    outcome = project.run()
    assert outcome.statuses() == {"tests/sub/test_a.py": "PASS"}
    assert sorted(outcome.stderr.splitlines()) == [
        "[WARN] skipped tests/test_away.py: the link leads outside of the root",
        "[WARN] skipped tests/test_self.py: broken link (Too many levels of symbolic links)",
    ]


def test_a_file_that_goes_away_while_the_run_lasts_is_named(project: Project) -> None:
    project.write(
        {
            "tests/test_remover.py": "import os\n# The longest file starts first.\n"
            "if __name__ == '__main__':\n    os.remove('tests/test_a.py')\n",
            "tests/test_a.py": "",
        }
    )
    outcome = project.run("--jobs", "1")
    assert outcome.statuses() == {"tests/test_remover.py": "PASS", "tests/test_a.py": "START_ERROR"}
    assert outcome.final("tests/test_a.py").error == "'tests/test_a.py' does not exist any more"
