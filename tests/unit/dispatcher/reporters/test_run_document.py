"""What a program reads of a run: one document, as its schema describes it."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import jsonschema
import msgspec

from dispatcher.model.events import RunEvent
from dispatcher.reporters.console.line_reporter import ConsoleContext
from dispatcher.reporters.run_document import DocumentReporter, RunDocument
from passmuster.model.status import Status
from tests.support.console_events import finished, once, started
from tests.unit.dispatcher.reporters.console.test_compact import CART, GOOD, a_red_run, failed, file, result


def document(events: Sequence[RunEvent]) -> dict[str, Any]:
    out = io.StringIO()
    context = ConsoleContext(
        stream=out,
        warn_stream=io.StringIO(),
        rerun=lambda record: f"run-tests {record.file.label}",
        log=lambda run_id, record: f"runs/{run_id}/{record.file.path}.log",
    )
    reporter = DocumentReporter(context)
    for event in events:
        reporter.handle(event)
    reporter.close()
    text = out.getvalue()
    assert text.isascii()
    assert text.count("\n") == 1
    assert "##" not in text
    found = json.loads(text)
    jsonschema.validate(found, msgspec.json.schema(RunDocument), jsonschema.Draft202012Validator)
    assert isinstance(found, dict)
    return found


def test_a_red_run_has_every_file_and_what_failed() -> None:
    found = document(a_red_run())

    assert (found["version"], found["result"], found["run_id"]) == (1, "failed", "r1")
    assert found["files_by_result"] == {
        "total": 5,
        "passed": 2,
        "failed": 3,
        "not_run": 0,
        "without_tests": 0,
        "flaky": 1,
        "cached": 0,
    }
    assert found["tests"] == {"passed": 3, "failed": 2}
    files = {one["path"]: one for one in found["files"]}
    assert {path: one["attempts"] for path, one in files.items() if one["flaky"]} == {
        "tests/test_flaky.py": ["FAIL", "PASS"]
    }
    assert [path for path, one in files.items() if one["failed"] is None] == [
        "tests/test_flaky.py",
        GOOD.path,
    ]
    assert files[CART.path]["failed"] == {
        "error": "",
        "failures": [
            {
                "test": "tests/test_cart.py::test_total",
                "message": "AssertionError: the total",
                "detail": ["assert 4 == 5"],
                "place": "tests/test_cart.py:12",
                "line": 12,
            },
            {
                "test": "tests/test_cart.py::Cart::test_items",
                "message": "assert [1, 2, 3] == [1, 2]",
                "detail": [],
                "place": "tests/test_cart.py:19",
                "line": 19,
            },
        ],
        "output_tail": "".join(f"line {number}\n" for number in range(1, 13)),
        "log": "runs/r1/tests/test_cart.py.log",
        "rerun": "run-tests tests/test_cart.py",
    }


def test_text_that_is_not_unicode_and_commands_to_a_ci_are_only_text() -> None:
    evil = file("tests/\udcff.py")
    bad = result(evil, Status.FAIL, failed("T.##[error]x", "E   ##vso[task.complete]\udcff"), output="##[x")
    found = document([started(evil), finished(once(evil, bad))])

    assert found["escaped"] is True
    (one,) = found["files"]
    assert (one["path"], one["failed"]["output_tail"]) == ("tests/\\udcff.py", "##[x")
    assert one["failed"]["failures"][0]["test"] == "T.##[error]x"


def test_a_run_without_files_has_a_document() -> None:
    assert document([finished()])["files"] == []
