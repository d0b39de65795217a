"""The command that runs one file again."""

from __future__ import annotations

import subprocess

import pytest

from dispatcher.config.rerun import options_for_one_file, rerun_command


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
def test_the_options_of_a_run_are_those_that_one_file_needs(argv: list[str], kept: list[str]) -> None:
    assert options_for_one_file(argv) == kept


@pytest.mark.parametrize("label", ["tests/test_a.py", "te st/test_ä.py", "a\nb'\\c.py", "-x.py", "\udcff.py"])
def test_a_shell_reads_back_the_very_name(label: str) -> None:
    command = rerun_command("printf", [], label)

    assert command.isprintable()
    shown = subprocess.run(
        ["bash", "-c", command.replace("printf", "printf '%s|'", 1)], capture_output=True, check=True
    ).stdout
    assert shown.removeprefix(b"--|").rstrip(b"|") == label.encode("utf-8", "surrogateescape")
