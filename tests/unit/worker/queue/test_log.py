"""A worker's log, as text and as JSON."""

from __future__ import annotations

import json

import pytest

from worker.queue.in_flight import InFlightFile
from worker.queue.log import LogFormat, LogLevel, WorkerLog

ABOUT = InFlightFile(run_id="r1", path="a b.py", delivery=201, attempt_id="r1:a b.py#2")


def said(form: LogFormat, event: str, about: InFlightFile | None = None) -> str:
    lines: list[str] = []
    WorkerLog(lines.append, log_format=form, worker="w1", clock=lambda: 86400.5)(
        event, about=about, level=LogLevel.WARNING
    )
    [line] = lines
    return line


def test_a_plain_line_names_the_event_and_the_file() -> None:
    assert said(LogFormat.PLAIN, "ready") == "ready"
    assert said(LogFormat.PLAIN, "PASS", ABOUT) == "PASS run=r1 file='a b.py' attempt=2"


def test_a_json_line_is_one_object() -> None:
    assert json.loads(said(LogFormat.JSON, "two\nlines", ABOUT)) == {
        "time": "1970-01-02T00:00:00.500000+00:00",
        "level": "warning",
        "event": "two\nlines",
        "run": "r1",
        "file": "a b.py",
        "attempt": 2,
        "worker": "w1",
    }
    assert "\n" not in said(LogFormat.JSON, "two\nlines")
    assert "run" not in json.loads(said(LogFormat.JSON, "ready"))


@pytest.mark.parametrize("form", list(LogFormat))
def test_a_file_s_name_cannot_forge_a_line(form: LogFormat) -> None:
    about = InFlightFile(run_id="r1", path="a.py\nready", delivery=101, attempt_id="x")

    assert "\n" not in said(form, "PASS", about)
