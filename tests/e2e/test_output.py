"""What a red run prints: for a person on a terminal, and for programs."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios

import jsonschema
import msgspec

from dispatcher.reporters.run_document import RunDocument
from tests.e2e.support.project import Project
from tests.e2e.support.sources import PASSING, script

TWO_FAIL = """
import unittest
class Basket(unittest.TestCase):
    def test_apples(self):
        self.assertEqual({"apples": 8}, {"apples": 7}, "too few")
    def test_pears(self):
        with self.subTest(sort="green"):
            self.assertEqual(1, 2)
        with self.subTest(sort="red"):
            self.assertEqual(3, 4)
    def test_plums(self):
        pass
if __name__ == "__main__":
    unittest.main()
"""
FLAKY = script(
    """
    import pathlib
    mark = pathlib.Path('been_here')
    seen = mark.exists()
    mark.write_text('x')
    sys.exit(0 if seen else 1)
    """
)
LONG = "tests/a_directory/of_another_directory/with_a_long_name/test_that_passes_at_once.py"


def write_red(project: Project) -> None:
    project.write({"tests/test_basket.py": TWO_FAIL, "tests/test_flaky.py": FLAKY, LONG: PASSING})


def on_a_terminal(project: Project, *words: str) -> str:
    """Run the command on a terminal of 80 columns; return what it wrote, without colours."""
    terminal, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    process = subprocess.Popen(
        project.command(*words),
        cwd=project.root,
        env=project.environment({"TERM": "xterm-256color"}),
        stdin=inner,
        stdout=inner,
        stderr=inner,
    )
    os.close(inner)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other end is closed.
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    assert process.wait(timeout=20) == 1
    return re.sub(r"\x1b\[[0-9;?]*m", "", shown.decode()).replace("\r\n", "\n")


def test_a_terminal_shows_what_did_not_pass(project: Project) -> None:
    write_red(project)

    shown = on_a_terminal(project, "--retries", "1", "--isolation", "spawn")

    # What the footer wiped does not begin a line of the report.
    rows = [line for part in shown.split("\x1b[J") for line in part.split("\n") if line.startswith("[")]
    rows = [re.sub(r" +\d+\.\d+s +[\d.]+ [KM]iB$", "  TIME", row) for row in rows]
    (retry,) = [row for row in rows if row.startswith("[RETRY] tests/test_flaky.py")]
    assert re.fullmatch(r"\S+ \S+  FAIL: exit status 1; no test [a-z ]*…  TIME", retry)
    assert "[PASS] tests/test_flaky.py  passed in attempt 2  TIME" in rows
    assert rows.count("[FAIL] tests/test_basket.py  2 of 3 tests failed  TIME") == 1
    assert not [row for row in rows if LONG in row]
    (block,) = re.findall(r"(?m)^\[FAIL\] tests/test_basket\.py\n((?:  .*\n)+)", shown)
    lines = block.splitlines()
    assert lines[0].startswith(
        "  tests/test_basket.py:5: Basket.test_apples: AssertionError: {'apples': 8} != "
    )
    assert "  tests/test_basket.py:8: Basket.test_pears: AssertionError: 1 != 2" in lines
    assert "  tests/test_basket.py:10: Basket.test_pears: AssertionError: 3 != 4" in lines
    (log,) = [line.removeprefix("  Log: ") for line in lines if line.startswith("  Log: ")]
    assert "FAILED (failures=" in (project.root / log).read_text()
    assert lines[-1].endswith("/run_tests.py --retries 1 --isolation spawn tests/test_basket.py")
    assert rows[-2:] == [
        "[INFO] 4 test(s): 2 passed, 2 failed",
        "[FAIL] 3 file(s): 2 passed, 1 failed, 1 flaky",
    ]


def test_programs_get_one_document_and_nothing_else(project: Project) -> None:
    write_red(project)
    report = ("--junit-xml", "report.xml", "--isolation", "spawn")

    outcome = project.run("--output", "json", *report, env={"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1"})
    brief = project.run("--output", "brief", *report, "tests/test_basket.py")

    found = json.loads(outcome.stdout)
    jsonschema.validate(found, msgspec.json.schema(RunDocument), jsonschema.Draft202012Validator)
    assert outcome.code == brief.code == 1
    assert {one["path"]: one["status"] for one in found["files"]} == outcome.statuses()
    (failed,) = [one["failed"] for one in found["files"] if one["path"] == "tests/test_basket.py"]
    assert [failure["line"] for failure in failed["failures"]] == [5, 8, 10]
    assert "::error file=tests/test_basket.py,title=Basket.test_apples,line=5::" in outcome.stderr
    lines = brief.lines
    assert lines[0].startswith("FAILED: 1 file(s): 0 passed, 1 failed; 3 test(s): 1 passed, 2 failed; in ")
    assert lines[1] == "[FAIL] tests/test_basket.py"
    assert [line for line in lines if ".py:" in line and "Error" in line] == [
        line for line in lines if line.startswith("  tests/test_basket.py:")
    ]
    assert "\x1b" not in brief.stdout
    assert brief.stderr == ""
