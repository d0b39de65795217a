"""The command that reruns one file."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from msgspec.structs import replace

from dispatcher.config.rerun import rerun_command, resume_command
from dispatcher.config.settings import RUN_PARSER
from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts
from passmuster.model.result import CaseResult, TestResult
from passmuster.model.status import Outcome, RunnerKind, Status
from passmuster.model.test_selection import TestSelection


def attempts(label: str, *failing: str, runner: RunnerKind = RunnerKind.PYTEST) -> FileAttempts:
    """A failed file with these failing tests."""
    cases = tuple(CaseResult(case_id=case, outcome=Outcome.FAILED) for case in failing)
    result = TestResult(file_path=label, status=Status.FAIL, cases=cases, runner=runner)
    return FileAttempts(file=TestFile(path=label, label=label), attempts=(result,))


@pytest.mark.parametrize(
    ("failing", "runner", "named"),
    [
        (["t.py::C::test_a"], RunnerKind.PYTEST, "t.py::C::test_a"),
        (["t.py::test_a[1-x]"], RunnerKind.PYTEST, "'t.py::test_a[1-x]'"),
        (["pkg.t.C.test_a", "pkg.t.C.test_b"], RunnerKind.UNITTEST, "t.py::C::test_a t.py::C::test_b"),
        (["setUpClass (pkg.t.C)"], RunnerKind.UNITTEST, "t.py"),
        (["t.py"], RunnerKind.PYTEST, "t.py"),
        (["t.C.test_a"], RunnerKind.SCRIPT, "t.py"),
        ([f"t.py::test_{n}" for n in range(4)], RunnerKind.PYTEST, "t.py"),
    ],
)
def test_few_failing_tests_are_named(failing: list[str], runner: RunnerKind, named: str) -> None:
    assert rerun_command("run", [], attempts("t.py", *failing, runner=runner)) == f"run {named}"


def test_the_selection_of_a_run_is_kept() -> None:
    record = attempts("t.py")
    chosen = replace(record, file=replace(record.file, selection=TestSelection(tests=("C",))))

    command = rerun_command("run", ["-k", "a or b", "t.py::C", "--", "--slow"], chosen)

    assert command == "run -k 'a or b' t.py::C -- --slow"


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        ([], []),
        (["tests/a.py", "tests/b.py"], []),
        (["--timeout", "5s", "tests/a.py"], ["--timeout", "5s"]),
        (["--timeout=5s", "-v"], ["--timeout", "5s", "-v"]),
        (["--integration", "--coverage", "-x", "--failed", "--unit", "--full", "--parallel"], []),
        (["--junit-xml", "r.xml", "--runner", "pytest"], ["--runner", "pytest"]),
        (["--junit-xml=r.xml", "--limit=3", "--events=e", "--max-fail=1"], []),
        (["--coverage-fail-under", "80", "--coverage-xml", "c.xml", "-q"], ["-q"]),
        (["--runner", "script", "script"], ["--runner", "script"]),
        (["-xj4", "--root", "elsewhere"], ["-j", "4", "--root", "elsewhere"]),
        (["--word"], []),
    ],
)
def test_only_options_that_apply_to_one_file_are_kept(argv: list[str], kept: list[str]) -> None:
    assert rerun_command("run", argv, attempts("t.py")).split() == ["run", *kept, "t.py"]


@pytest.mark.parametrize(
    ("argv", "kept"),
    [
        (["--shuffle", "a.py"], ["--shuffle", "a.py"]),
        (["--shuffle=5", "a.py"], ["--shuffle=5", "a.py"]),
        (["--changed", "--resume", "x"], ["--changed"]),
        (["--changed=HEAD~1", "-x"], ["--changed=HEAD~1", "-x"]),
        (["--limit=3", "--no-history", "--", "--slow"], ["--limit", "3", "--no-history", "--", "--slow"]),
    ],
)
def test_a_resumed_run_gets_the_arguments_of_the_interrupted_one(argv: list[str], kept: list[str]) -> None:
    program, *words = shlex.split(resume_command("run", argv, "ID"))

    assert program == "run"
    found, expected = RUN_PARSER.parse(words), RUN_PARSER.parse(["--resume", "ID", *kept])
    assert (found.paths, found.passed_on) == (expected.paths, expected.passed_on)
    values = [{one.setting.name: one.texts for one in parsed.given} for parsed in (found, expected)]
    assert values[0] == values[1]


@pytest.mark.parametrize("label", ["tests/test_a.py", "te st/test_ä.py", "a\nb'\\c.py", "-x.py", "\udcff.py"])
def test_a_shell_reads_back_the_very_name(label: str) -> None:
    command = rerun_command("printf", [], attempts(label))

    assert command.isprintable()
    shown = subprocess.run(
        ["bash", "-c", command.replace("printf", "printf '%s|'", 1)], capture_output=True, check=True
    ).stdout
    assert shown.removeprefix(b"./").rstrip(b"|") == label.encode("utf-8", "surrogateescape")
