"""Tests the smallest API: real files, in parallel or one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind, Status
from run_tests import ProcessManager, TestConfig, TestRunner, calculate_max_workers, run_single_test

FILES = {
    "tests/test_fail.py": (Status.FAIL, "print('x')\nraise SystemExit(1)\n"),
    "tests/test_none.py": (Status.NO_TESTS, "def test_a(): pass\n"),
    "tests/test_ok.py": (Status.PASS, "print('fine')\n"),
}
NAMES = tuple(FILES)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestConfig:
    # A run inside a test takes no part in what the machine's runs share.
    monkeypatch.setenv("PASSMUSTER_SLOT", "0")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").mkdir()
    for name, (_, text) in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return TestConfig(root=tmp_path, runner=RunnerKind.SCRIPT, history=False)


def test_parallel_and_sequential_runs_give_the_same_results(config: TestConfig) -> None:
    manager = ProcessManager(2, config=config)

    parallel, sequential = manager.run_parallel_tests(NAMES), manager.run_sequential_tests(NAMES)

    assert [(result.file_path, result.status) for result in parallel] == [
        (name, status) for name, (status, _) in FILES.items()
    ]
    for one, other in zip(parallel, sequential, strict=True):
        assert (one.file_path, one.status, one.output, one.error) == (
            other.file_path,
            other.status,
            other.output,
            other.error,
        )
    assert {result.slot for result in sequential} == {0}


def test_no_files_are_no_results(config: TestConfig) -> None:
    assert ProcessManager(config=config).run_parallel_tests([]) == ()
    assert ProcessManager(config=config).run_sequential_tests([]) == ()


def test_a_single_file_gives_its_result(config: TestConfig) -> None:
    result = run_single_test("tests/test_ok.py", config=config)

    assert (result.file_path, result.status, result.output) == ("tests/test_ok.py", Status.PASS, "fine\n")


def test_a_missing_file_is_named(config: TestConfig) -> None:
    with pytest.raises(ConfigurationError, match=r"test_gone\.py"):
        run_single_test("tests/test_gone.py", config=config)


def test_the_api_runs_a_project_as_the_command_does(config: TestConfig) -> None:
    runner = TestRunner(config)

    assert [file.path for file in runner.discover_tests()] == list(NAMES)
    results = runner.run_tests()
    assert {record.file.path: record.status for record in results.records} == {
        name: status for name, (status, _) in FILES.items()
    }
    assert results.peak_bytes >= 0


def test_the_machine_has_a_number_of_workers() -> None:
    assert 1 <= calculate_max_workers() <= 8
