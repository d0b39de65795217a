"""CI notices when the runner tells something else about the project's tests than pytest does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "compare_counts.py"
ENDS = {"p": "", "f": "<failure/>", "e": "<error/>", "s": '<skipped message="no such machine"/>'}


def report(path: Path, cases: str) -> Path:
    """Write a JUnit report with a case for each letter of `cases`: passed, failed, error, skipped."""
    rows = [
        f'<testcase classname="tests.t" name="n{i}">{ENDS[end]}</testcase>' for i, end in enumerate(cases)
    ]
    path.write_text(f"<testsuites><testsuite>{''.join(rows)}</testsuite></testsuites>")
    return path


@pytest.mark.parametrize(
    ("by_pytest", "by_us", "options", "status", "said"),
    [
        ("ppp", "ppp", [], 0, ""),
        ("pps", "psp", [], 0, ""),
        ("pps", "pps", ["--no-skips"], 1, "tests.t::n2 (no such machine) was skipped, and is not listed"),
        ("pps", "pps", ["--no-skips", "--allow-skip", "t::n2"], 0, ""),
        ("pps", "pps", ["--no-skips", "--allow-skip", "no such"], 0, ""),
        ("pps", "pps", ["--no-skips", "--allow-skip", "t::n1"], 1, "(no such machine) was skipped"),
        ("ppp", "pp", [], 1, "the two reports differ"),
        ("ppp", "pps", [], 1, "the two reports differ"),
        ("ppf", "ppe", [], 1, "some tests failed"),
        ("", "", [], 1, "no test passed"),
    ],
)
def test_reports_are_compared(
    tmp_path: Path, by_pytest: str, by_us: str, options: list[str], status: int, said: str
) -> None:
    first, second = report(tmp_path / "1.xml", by_pytest), report(tmp_path / "2.xml", by_us)

    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options, str(first), str(second)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == status, done.stdout + done.stderr
    complaints = [line for line in done.stdout.splitlines() if line.startswith("[FAIL]")]
    assert any(said in line for line in complaints) if said else complaints == []


def test_the_last_line_is_the_plain_count(tmp_path: Path) -> None:
    path = report(tmp_path / "1.xml", "pppfes")

    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(path), str(path)], capture_output=True, text=True, check=False
    )

    assert done.stdout.splitlines()[-1] == "3 passed, 2 failed, 1 skipped"


def test_only_files_below_the_given_folders_are_compared(tmp_path: Path) -> None:
    by_pytest, ours = report(tmp_path / "1.xml", "pp"), tmp_path / "2.xml"
    ours.write_text(
        '<testsuites><testsuite name="tests/a/test_1.py"><testcase/></testsuite>'
        '<testsuite name="tests/ab/test_2.py"><testcase><failure/></testcase></testsuite>'
        '<testsuite name="tests/c/test_3.py"><testcase/></testsuite></testsuites>'
    )
    below = ["--below", "tests/a", "--below", "tests/c"]

    done = [
        subprocess.run(
            [sys.executable, str(SCRIPT), *options, str(by_pytest), str(ours)],
            capture_output=True,
            text=True,
            check=False,
        )
        for options in (below, below[:2], [])
    ]

    assert [one.returncode for one in done] == [0, 1, 1], [one.stdout for one in done]
