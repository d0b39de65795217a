"""Problems with coverage are found before the first test starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from dispatcher.config.model import TestConfig
from dispatcher.coverage.request import plan_coverage, require_coverage
from passmuster.model.errors import ConfigurationError


def script(directory: Path, text: str) -> str:
    path = directory / "python"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_with_coverage_is_accepted() -> None:
    require_coverage(sys.executable)


def test_a_missing_coverage_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The folder of reports must not pass for the package.
    (tmp_path / "coverage").mkdir()
    monkeypatch.chdir(tmp_path)
    python = script(tmp_path, f'exec "{sys.executable}" -S "$@"')
    with pytest.raises(ConfigurationError) as caught:
        require_coverage(python)
    message = str(caught.value)
    assert message.endswith(f"install it with: {python} -m pip install coverage")
    assert "\n" not in message


@pytest.mark.parametrize("text", ["echo it is broken >&2; exit 9", "exit 126"])
def test_an_interpreter_that_does_not_work_is_not_called_one_without_coverage(
    tmp_path: Path, text: str
) -> None:
    with pytest.raises(ConfigurationError, match="does not work"):
        require_coverage(script(tmp_path, text))


def test_an_interpreter_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be started"):
        require_coverage(str(tmp_path / "nowhere"))


def test_the_plan_makes_the_directories_of_the_reports(tmp_path: Path) -> None:
    config = TestConfig(
        coverage_dir=tmp_path / "a" / "b",
        coverage_xml=tmp_path / "c" / "coverage.xml",
        coverage_source=("shop",),
        coverage_fail_under=80.0,
    )
    plan = plan_coverage(config, interpreter=sys.executable, workdir=tmp_path, run_directory=tmp_path / "run")
    assert (tmp_path / "a" / "b").is_dir()
    assert (tmp_path / "c").is_dir()
    assert plan.data_directory == tmp_path / "run" / "coverage"
    assert plan.source == ("shop",)


def test_relative_report_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = TestConfig(coverage_dir=Path("htmlcov"), coverage_xml=Path("coverage.xml"))
    plan = plan_coverage(config, interpreter=sys.executable, workdir=Path("/"), run_directory=tmp_path)
    assert plan.report_directory == tmp_path / "htmlcov"
    assert plan.xml_path == tmp_path / "coverage.xml"


def test_a_directory_that_cannot_be_created_stops_the_run_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    config = TestConfig(coverage_dir=tmp_path / "file" / "reports")
    with pytest.raises(ConfigurationError, match=r"coverage directory .* cannot be made"):
        plan_coverage(config, interpreter=sys.executable, workdir=tmp_path, run_directory=tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_is_not_writable_stops_the_run_before_it_starts(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(ConfigurationError, match="not writable"):
            plan_coverage(
                TestConfig(coverage_dir=tmp_path),
                interpreter=sys.executable,
                workdir=tmp_path,
                run_directory=tmp_path,
            )
    finally:
        tmp_path.chmod(0o755)
