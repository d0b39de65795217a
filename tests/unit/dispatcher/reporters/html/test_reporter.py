"""The report's file: its path, its permissions, and that it is complete or absent."""

from __future__ import annotations

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from dispatcher.config.model import TestConfig
from dispatcher.history.history import History
from dispatcher.model.events import Reporter, RunEvent, RunStarted
from dispatcher.reporters.factory import make_reporters
from dispatcher.reporters.html import reporter as module
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.model.status import Status
from tests.support.report_page import read_page, rerun_command
from tests.support.report_runs import file, record, result, told

RUN_ID = "20261125-120000-abcdef"


def reporters_of(config: TestConfig) -> list[Reporter]:
    return make_reporters(config, rerun=rerun_command, say=lambda line: None)


def tell(reporter: Reporter, events: list[RunEvent]) -> None:
    for event in events:
        reporter.handle(event)
    reporter.close()


def test_the_page_is_in_the_runs_own_directory_and_private(tmp_path: Path) -> None:
    said: list[str] = []
    config = TestConfig(root=tmp_path, html_report=Path())
    run_dir = tmp_path / ".passmuster" / "runs" / RUN_ID
    run_dir.mkdir(parents=True)
    (reporter,) = make_reporters(config, rerun=rerun_command, say=said.append)
    tell(reporter, list(told(record(result("t.py")))))

    path = run_dir / "report.html"
    assert said == [f"Report: {path}"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "The one file passed" in read_page(path.read_text(encoding="utf-8")).text
    assert [entry.name for entry in run_dir.iterdir()] == ["report.html"]


def test_the_page_is_written_to_the_named_path_and_replaces_a_file_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "page.html"
    config = TestConfig(root=tmp_path, html_report=path, history=False)
    (reporter,) = reporters_of(config)
    path.write_text("an old one")
    tell(reporter, list(told(record(result("t.py", Status.FAIL)))))

    assert "1 of 1 file failed" in path.read_text(encoding="utf-8")
    assert [entry.name for entry in path.parent.iterdir()] == ["page.html"]


def test_without_history_a_path_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="name a file: --report html=PATH"):
        reporters_of(TestConfig(root=tmp_path, html_report=Path(), history=False))


def test_where_nothing_can_be_kept_a_path_must_be_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # Root may write everywhere.
    with pytest.raises(ConfigurationError, match=r"\.passmuster' cannot be written; name a file: --report"):
        reporters_of(TestConfig(root=tmp_path, html_report=Path()))

    assert reporters_of(TestConfig(root=tmp_path, html_report=tmp_path / "out" / "page.html"))


def test_a_path_that_cannot_be_written_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot write the report to .* \(from --report\): it is a"):
        reporters_of(TestConfig(root=tmp_path, html_report=tmp_path))


def test_a_run_that_did_not_finish_leaves_no_page(tmp_path: Path) -> None:
    config = TestConfig(root=tmp_path, html_report=tmp_path / "page.html", history=False)
    (reporter,) = reporters_of(config)
    tell(reporter, list(told(record(result("t.py"))))[:-1])

    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_completely_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(_: object) -> list[str]:
        raise OSError(28, "No space left on device")

    path = tmp_path / "page.html"
    path.write_text("an old one")
    (reporter,) = reporters_of(TestConfig(root=tmp_path, html_report=path, history=False))
    monkeypatch.setattr(module, "render_page", full_disk)

    with pytest.raises(InfrastructureError, match=r"cannot write the report to .*: No space left on device"):
        tell(reporter, list(told(record(result("t.py")))))
    assert path.read_text() == "an old one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]


def test_the_command_that_reruns_a_file_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    config = TestConfig(root=tmp_path, html_report=path, history=False)
    (reporter,) = make_reporters(
        config, rerun=lambda one: f"run --again '{one.file.label}'", say=lambda line: None
    )
    tell(reporter, list(told(record(result("t.py", Status.FAIL)))))

    assert "<code>run --again &#x27;t.py&#x27;</code>" in path.read_text(encoding="utf-8")


def test_the_outcomes_of_earlier_runs_are_asked_of_the_history_without_this_run(tmp_path: Path) -> None:
    with closing(History(tmp_path)) as history:
        for run_id, status in (("r1", Status.PASS), ("r2", Status.FAIL), (RUN_ID, Status.FAIL)):
            history.record(file("t.py"), result("t.py", status), run_id=run_id)
    (reporter,) = reporters_of(TestConfig(root=tmp_path, html_report=tmp_path / "page.html"))
    events = list(told(record(result("t.py", Status.FAIL))))
    assert isinstance(events[0], RunStarted)
    assert events[0].plan.run_id == RUN_ID
    tell(reporter, events)

    assert "In the 2 runs before: 1 passed, 1 failed." in (tmp_path / "page.html").read_text(encoding="utf-8")
