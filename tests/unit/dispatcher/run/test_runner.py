"""Tests the Python API from a configuration to results."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from msgspec import structs

from dispatcher.config.choices import Override
from dispatcher.config.model import TestConfig
from dispatcher.model.events import Notice
from dispatcher.run.runner import TestRunner
from passmuster.model.errors import ConfigurationError, PassmusterError
from passmuster.model.status import Status
from passmuster.model.units import Amount
from tests.unit.dispatcher.engine.scripted_backend import Listener, Step
from tests.unit.dispatcher.scripted_target import GIB, ScriptedTarget

FAIL = Step(status=Status.FAIL)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    for name in ("a", "b"):
        (tmp_path / "tests" / f"test_{name}.py").write_text("pass\n", encoding="utf-8")
    return tmp_path


def runner_of(
    root: Path,
    target: ScriptedTarget | None = None,
    environ: Mapping[str, str] = {"A": "1"},
    **changes: object,
) -> TestRunner:
    config = TestConfig(root=root, python=sys.executable)
    config = structs.replace(config, **changes)
    return TestRunner(config, target=target or ScriptedTarget(), environ=environ, cwd=root)


def test_the_files_that_are_discovered_are_those_that_run(root: Path) -> None:
    runner = runner_of(root)

    files = runner.discover_tests()
    results = runner.run_tests()

    assert [file.path for file in files] == ["tests/test_a.py", "tests/test_b.py"]
    assert sorted(record.file.path for record in results.records) == [file.path for file in files]
    assert len(results.passed) == 2


def test_the_backend_gets_the_request_and_is_closed_after_the_run(root: Path) -> None:
    target = ScriptedTarget()

    runner_of(root, target).run_tests()

    [request], [backend] = target.requests, target.backends
    assert (request.workdir, request.interpreter, len(request.tasks)) == (root, sys.executable, 2)
    assert (dict(request.environ), request.coverage_dir) == ({"A": "1"}, None)
    assert request.cache_tag == sys.implementation.cache_tag
    assert backend.closed == 1


def test_tests_do_not_see_the_variables_that_configure_the_run_that_they_belong_to(root: Path) -> None:
    target = ScriptedTarget()
    own = ("METRICS", "METRICS_FILE", "JUNIT_XML", "ROOT", "OVERCOMMIT", "BROKER_URL", "SECRET")
    others = {"TEST_TIMEOUT": "60", "PASSMUSTER_OF_THE_PROJECT": "1"}
    environ = {f"PASSMUSTER_{name}": "x" for name in own} | others

    runner_of(root, target, environ).run_tests()

    [request] = target.requests
    assert request.environ == others


def test_reporters_get_the_events_and_are_closed_once_each(root: Path) -> None:
    bad, good = Listener(fails_at=object), Listener()
    runner = runner_of(root)

    runner.run_tests([bad, good])

    assert (bad.closed, good.closed) == (1, 1)
    assert good.names()[-1] == "RunFinished"
    assert len(runner.lost_reports) == 1
    assert runner.breakdown == ""


def test_a_report_that_cannot_be_finished_costs_neither_results_nor_other_reports(root: Path) -> None:
    class Unfinished(Listener):
        def close(self) -> None:
            super().close()
            raise OSError("disk full")

    unfinished, good = Unfinished(), Listener()
    runner = runner_of(root)

    results = runner.run_tests([good, unfinished])

    assert len(results.passed) == 2
    assert (unfinished.closed, good.closed) == (1, 1)
    assert runner.lost_reports == ("Unfinished could not be closed: disk full",)


def test_reporters_are_closed_when_nothing_can_run(root: Path) -> None:
    listener = Listener()

    with pytest.raises(ConfigurationError):
        runner_of(root, python=str(root / "no-python")).run_tests([listener])

    assert (listener.closed, listener.events) == (1, [])


def test_the_retries_of_the_configuration_hold(root: Path) -> None:
    target = ScriptedTarget(script={"tests/test_a.py": [FAIL]})

    results = runner_of(root, target, retries=1).run_tests()

    assert [record.file.path for record in results.flaky] == ["tests/test_a.py"]


def test_only_files_that_failed_last_time_run_with_failed(root: Path) -> None:
    runner_of(root, ScriptedTarget(script={"tests/test_b.py": [FAIL]})).run_tests()

    again = runner_of(root, failed_only=True)

    assert [file.path for file in again.discover_tests()] == ["tests/test_b.py"]
    again.run_tests()
    assert runner_of(root, failed_only=True).discover_tests() == ()


def test_without_history_nothing_is_left_in_the_root(root: Path) -> None:
    before = sorted(root.rglob("*"))

    runner_of(root, history=False).run_tests()

    assert sorted(root.rglob("*")) == before
    with pytest.raises(ConfigurationError, match="--failed needs the history"):
        runner_of(root, history=False, failed_only=True).discover_tests()


def test_preparing_a_run_runs_nothing(root: Path) -> None:
    target = ScriptedTarget()

    plan = runner_of(root, target).prepare().plan

    assert len(plan.files) == 2
    assert target.backends == []


def test_more_than_the_machine_has_is_refused_before_anything_runs(root: Path) -> None:
    target = ScriptedTarget(total_bytes=GIB)

    with pytest.raises(ConfigurationError):
        runner_of(root, target, memory_budget=Amount(size_bytes=2 * GIB)).run_tests()

    assert target.backends == []


def test_coverage_without_a_run_is_an_expected_error(root: Path) -> None:
    with pytest.raises(PassmusterError, match="no run with coverage came before"):
        runner_of(root).generate_coverage()
    runner = runner_of(root)
    runner.run_tests()
    with pytest.raises(PassmusterError, match="no run with coverage came before"):
        runner.generate_coverage()


def notices_of(runner: TestRunner) -> tuple[str, ...]:
    listener = Listener()
    runner.run_tests([listener])
    return tuple(notice.text for notice in listener.of(Notice))


def test_an_override_that_matches_no_file_of_the_project_is_named(root: Path) -> None:
    overrides = (Override(files=("tests/test_b.py",)), Override(files=("tests/gone_*.py", "x/**")))

    whole = notices_of(runner_of(root, overrides=overrides))
    narrowed = notices_of(runner_of(root, overrides=overrides, paths=("tests/test_a.py",)))

    assert whole == narrowed == ("an override matches no test file: tests/gone_*.py, x/**",)


def test_a_root_that_cannot_be_written_is_named_in_one_line(root: Path) -> None:
    (root / ".passmuster").write_text("in the way", encoding="utf-8")

    [notice] = notices_of(runner_of(root))

    assert notice.startswith("outputs and history of this run are not kept: ")


def test_explain_preload_asks_the_target_and_runs_nothing(root: Path) -> None:
    target = ScriptedTarget()

    lines = runner_of(root, target, enable_coverage=True).explain_preload()

    assert lines == ("2 files explained",)
    tasks = target.requests[0].tasks
    assert sorted(task.file_path for task in tasks) == ["tests/test_a.py", "tests/test_b.py"]
    assert target.backends == []


def test_cpu_time_from_before_a_run_is_not_its_own(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter([100.0, 103.0, 110.0, 112.0, 112.0])
    for module in ("prepare", "runner"):
        monkeypatch.setattr(f"dispatcher.run.{module}.run_cpu_s", lambda: next(seconds))

    runner = runner_of(root)
    own_s = [runner.run_tests().own_cpu_s for _ in range(2)]

    assert own_s == [3.0, 2.0]
