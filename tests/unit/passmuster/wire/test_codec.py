"""Values are decoded unchanged, and nothing else is accepted."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask
from passmuster.wire.codec import (
    MAX_RESULT_CHARS,
    MAX_TASK_CHARS,
    RESULT_CODEC,
    TASK_CODEC,
    CodecError,
)
from tests.support.sent_records import NOT_FINITE, json_values, results, tasks

TASK = TestTask(run_id="r", file_path="tests/test_a.py")


def changed(**changes: object) -> str:
    """Return a task's text with other values."""
    return json.dumps({**json.loads(TASK_CODEC.encode(TASK)), **changes})


@given(tasks)
def test_a_task_comes_back_the_same(task: TestTask) -> None:
    assert TASK_CODEC.decode(TASK_CODEC.encode(task)) == task


@given(results)
def test_a_result_comes_back_the_same(result: TestResult) -> None:
    assert RESULT_CODEC.decode(RESULT_CODEC.encode(result)) == result


def test_a_file_name_that_is_not_utf_8_is_preserved() -> None:
    task = TestTask(run_id="r", file_path="a\udcff.py")

    assert TASK_CODEC.encode(task).isascii()
    assert TASK_CODEC.decode(TASK_CODEC.encode(task)) == task


@given(json_values)
def test_any_other_json_raises_a_codec_error(value: object) -> None:
    with pytest.raises(CodecError):
        TASK_CODEC.decode(json.dumps(value))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"attempt": True}, "attempt is True, it must be of type int"),
        ({"attempt": 1.0}, "attempt is 1.0"),
        ({"attempt": 2**63}, "attempt is a number of more than 64 bits"),
        ({"exclusive": 1}, "exclusive is 1"),
        ({"group": None}, "group is None"),
        ({"runner": "shell"}, "runner is 'shell', it must be one of auto, script, pytest, unittest"),
        ({"attempt": "\udcff"}, "the task has '\\udcff' where it is not allowed"),
        ({"runner": "\udcff"}, "the task has '\\udcff' where it is not allowed"),
        ({"predicted_s": 2**63}, "predicted_s is a number of more than 64 bits"),
        ({"predicted_s": "1"}, "predicted_s is '1'"),
        ({"limits": {}}, "limits lacks the key"),
        ({"limits": []}, "limits is [], it must be an object"),
        ({"environment": {}}, "environment is {}, it must be a list"),
        ({"environment": [["A"]]}, "environment[0] has 1 items, 2 are expected"),
        ({"environment": [["A", 1]]}, "environment[0][1] is 1"),
        ({"command": "rm"}, "unknown key 'command'"),
        ({"file_path": "/etc/a.py"}, "is absolute"),
        ({"file_path": "a/../../b.py"}, "leads upwards"),
        ({"file_path": ".."}, "leads upwards"),
        ({"file_path": "a\0.py"}, "contains a NUL"),
        ({"file_path": "a\\b.py"}, "contains a backslash"),
        ({"file_path": ""}, "is empty"),
    ],
)
def test_the_error_names_what_is_wrong_with_a_task(changes: dict[str, object], named: str) -> None:
    with pytest.raises(CodecError) as caught:
        TASK_CODEC.decode(changed(**changes))

    assert named in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named() -> None:
    fields = json.loads(TASK_CODEC.encode(TASK))
    del fields["group"]

    with pytest.raises(CodecError, match="lacks the key 'group'"):
        TASK_CODEC.decode(json.dumps(fields))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "9" * 5000, '{"a":1,"a":2}', "NaN", "[1e999]"])
def test_invalid_json_is_rejected(text: str) -> None:
    with pytest.raises(CodecError):
        TASK_CODEC.decode(text)


@pytest.mark.parametrize("number", NOT_FINITE)
def test_nan_and_infinity_are_neither_sent_nor_accepted(number: float) -> None:
    with pytest.raises(CodecError):
        TASK_CODEC.encode(TestTask(run_id="r", file_path="a.py", predicted_s=number))
    with pytest.raises(CodecError):
        TASK_CODEC.decode(changed(predicted_s=number))


def test_a_number_too_large_for_a_float_is_rejected() -> None:
    with pytest.raises(CodecError, match="a finite number"):
        TASK_CODEC.decode(changed(predicted_s=1.5).replace("1.5", "1e999"))


def test_a_path_that_the_receiver_would_reject_is_not_sent() -> None:
    with pytest.raises(CodecError, match="is absolute"):
        TASK_CODEC.encode(TestTask(run_id="r", file_path="/a.py"))
    with pytest.raises(CodecError, match="is absolute"):
        RESULT_CODEC.encode(TestResult(file_path="/a.py", status=Status.PASS))


@pytest.mark.parametrize(("codec", "most"), [(TASK_CODEC, MAX_TASK_CHARS), (RESULT_CODEC, MAX_RESULT_CHARS)])
def test_a_text_that_is_too_long_is_not_parsed(codec: Any, most: int) -> None:
    with pytest.raises(CodecError, match=f"at most {most}"):
        codec.decode(" " * (most + 1))


def test_a_task_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(CodecError, match="at most"):
        TASK_CODEC.encode(TestTask(run_id="r", file_path="a.py", group="g" * MAX_TASK_CHARS))
