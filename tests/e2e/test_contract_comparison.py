"""The shell script, written from its contract, runs beside `run_tests.py`: both print the same lines.

The order of the files' lines, times, sizes, and places are normalised. The lines that only Passmuster prints
are known and removed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.e2e.support.project import REPOSITORY, Project
from tests.e2e.support.sources import FAILING, PASSING, script
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

SCRIPT = REPOSITORY / "tests" / "fixtures" / "run_tests.sh"
ONLY_OURS = re.compile(
    r"\[INFO\] (Workers: |Layout: |Text coverage report: |CPU time: )"
    r"|\[INFO\] \d+(/\d+ files|( file\(s\))) passed"
    r"|\[WARN\] \S+: FAIL: "
    r"|  Test cases: "
    r"|    (Status: |Failing tests:|Run it again: )"
    r"|      (__main__\.\S+ \(|\(it printed nothing\))"
)
"""Lines that the script did not print."""

LONG = script("for number in range(15):\n    print('line', number)\nsys.exit(3)")
SHOWS_ENVIRONMENT = script("print(os.environ['TESTING'], os.environ['TEST_MODE'])\nsys.exit(1)")
MIXED = {
    "tests/test_good.py": PASSING,
    "tests/deep/er/test_bad.py": FAILING,
    "tests/test_long.py": LONG,
    "tests/test_silent.py": script("sys.exit(1)"),
    "tests/manual_tests/test_never.py": FAILING,
    "tests/helper.py": "",
    "test_integration/test_shop.py": FAILING,
    "tests/test_integration/test_more.py": PASSING,
    "orchestration/tests/test_agents.py": PASSING,
}
WITH_WORKDIR = {
    "mvp_site/tests/test_here.py": SHOWS_ENVIRONMENT,
    "mvp_site/test_integration/test_integration_mock.py": PASSING,
    "mvp_site/test_integration/test_other.py": PASSING,
    "tests/test_not_here.py": FAILING,
}
EMPTY = {"mvp_site/tests/helper.py": PASSING}
ARGUMENTS = [
    (),
    ("--integration",),
    ("--coverage", "--unit", "--parallel", "--full"),
    ("--integration", "--coverage"),
    ("--no-such-word", "--integration"),
]


def normalised(text: str) -> list[str]:
    """Return the lines that both print; those of the files, and the failures' details, sorted."""
    text = re.sub(r"Ran (\d+) tests? in [0-9.]+s", r"Ran \1 in TIME", text)
    text = re.sub(r'File "/[^"]*/(tests|test_integration)/', r'File "\1/', text)
    lines = [line for line in text.splitlines() if not ONLY_OURS.match(line)]
    running = [number for number, line in enumerate(lines) if re.match(r"\[INFO\] Running: ", line)]
    summary = next((number for number, line in enumerate(lines) if "Test Summary" in line), len(lines))
    first = running[0] if running else summary
    return [*lines[:first], *sorted(lines[first:summary]), *_sorted_details(lines[summary:])]


def _sorted_details(lines: list[str]) -> Iterable[str]:
    """Return the lines of the summary, each failed file's details and name in the order of their paths."""
    starts = [number for number, line in enumerate(lines) if line.startswith("  - ")]
    if not starts:
        return lines
    end = next(number for number, line in enumerate(lines) if line.startswith("[FAIL] "))
    blocks = sorted(lines[start:after] for start, after in zip(starts, [*starts[1:], end], strict=True))
    names = lines.index("FAILED TESTS:") + 1
    last = names + len(blocks)
    return [
        *lines[: starts[0]],
        *(line for block in blocks for line in block),
        *lines[end:names],
        *sorted(lines[names:last]),
        *lines[last:],
    ]


def run_script(project: Project, *words: str, environ: dict[str, str]) -> tuple[int, list[str], str]:
    ran = subprocess.run(
        ["bash", SCRIPT, *words],
        cwd=project.root,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    plain = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout)
    return ran.returncode, normalised(plain), re.sub(r"\x1b\[[0-9;]*m", "", ran.stderr)


def both(project: Project, *words: str) -> tuple[tuple[int, list[str], str], tuple[int, list[str], str]]:
    """Run the script and ours with the same words; return status, lines, and standard error of each."""
    # Only this environment has the package coverage.
    home = PYTEST_ENVIRONMENT if "--coverage" in words else project.python_home
    theirs = {"VIRTUAL_ENV": str(home), "COVERAGE_DIR": str(project.base / "theirs")}
    old = run_script(project, *words, environ={**project.environment(), **theirs})
    reports = str(project.base / "ours")
    changes: dict[str, str | None] = {"VIRTUAL_ENV": str(home)}
    if "--coverage" in words:
        changes["PASSMUSTER_COVERAGE_DIR"] = reports
    outcome = project.run(*words, env=changes, events=False)
    new = [line.replace(reports, theirs["COVERAGE_DIR"]) for line in normalised(outcome.stdout)]
    return old, (outcome.code, new, outcome.stderr)


@pytest.mark.parametrize("words", ARGUMENTS, ids=" ".join)
def test_the_lines_of_a_project_are_the_same(project: Project, words: tuple[str, ...]) -> None:
    project.write(MIXED)

    old, new = both(project, *words)

    assert new == old
    assert old[0] == 1


@pytest.mark.parametrize("words", [(), ("--integration",)], ids=" ".join)
def test_the_lines_are_the_same_in_the_working_directory_and_without_files(
    project: Project, words: tuple[str, ...]
) -> None:
    project.write(EMPTY)
    old, new = both(project, *words)
    assert new == old
    assert old[0] == 0

    shutil.rmtree(project.root / "mvp_site")
    project.write(WITH_WORKDIR)
    old, new = both(project, *words)
    assert new == old
    assert "      true mock" in old[1]


def test_the_files_whose_verdict_differs_are_those_that_the_check_lists(project: Project) -> None:
    silent = PASSING.replace("unittest.main()", "print('nothing')")
    project.write(
        {
            "mvp_site/tests/test_good.py": PASSING,
            "mvp_site/tests/test_bad.py": FAILING,
            "mvp_site/tests/test_silent.py": silent,
            "mvp_site/tests/test_unguarded.py": FAILING.partition("if __name__")[0],
        }
    )

    old, new = both(project)
    checked = project.run("migrate", "--check", events=False)

    passed = [
        {line.split()[1] for line in lines if line.startswith("[PASS] tests/")} for _, lines, _ in (old, new)
    ]
    listed = {
        Path(line.partition(":")[0]).name for line in checked.lines if "the old script ran none of" in line
    }
    assert {Path(name).name for name in passed[0] ^ passed[1]} == listed
    assert listed == {"test_silent.py", "test_unguarded.py"}
    assert "[WARN] Verdicts: 2 file(s) can get another one than from the old script" in checked.lines
