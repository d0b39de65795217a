"""The messages of a queue that reach Celery."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from passmuster.wire.broker_keys import TASK_NAME
from worker.queue.transport import MAX_BODY_CHARS, ForeignMessageError, rebuild_message


def body(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def message(**changes: object) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "body": body([["sealed"], {}, {"callbacks": None}]),
        "headers": {"task": TASK_NAME, "id": "x", "eta": "2099-01-01", "timelimit": [1, 1]},
        "content-type": "application/json",
        "properties": {"priority": 0, "delivery_tag": "tag", "reply_to": "x", "delivery_info": {}},
    }
    return plain | changes


def test_only_text_and_priority_are_kept() -> None:
    passed: Any = rebuild_message(message(body=body([["sealed"], {}, {"chain": ["evil"]}])), "pm.r")

    number = passed["headers"]["id"]
    assert json.loads(base64.b64decode(passed["body"])) == [["sealed"], {}, {}]
    assert passed["headers"] == {"lang": "py", "task": TASK_NAME, "id": number, "root_id": number}
    assert passed["properties"] == {
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": number,
        "delivery_info": {"exchange": "", "routing_key": "pm.r"},
    }
    assert number not in ("x", "tag")


def test_a_rebuilt_message_can_be_rebuilt() -> None:
    passed: Any = rebuild_message(rebuild_message(message(), "pm.r"), "pm.r")

    assert json.loads(base64.b64decode(passed["body"])) == [["sealed"], {}, {}]


@pytest.mark.parametrize("priority", [3, -1, "0", None, [0]])
def test_an_unknown_priority_becomes_normal(priority: object) -> None:
    passed: Any = rebuild_message(message(properties={"priority": priority}), "pm.r")

    assert passed["properties"]["priority"] == 5


@pytest.mark.parametrize(
    ("foreign", "complaint"),
    [
        (5, "not have the form of a task's message"),
        ([], "not have the form of a task's message"),
        ({}, "not have the form of a task's message"),
        (message(headers={}), "not have the form of a task's message"),
        (message(properties=[]), "not have the form of a task's message"),
        (message(headers={"task": "celery.map"}), "for the task 'celery.map', the only one is"),
        (message(body="!"), "its body is damaged"),
        (message(body=body("[")[:-2]), "its body is damaged"),
        (message(body=base64.b64encode(b"[" * 100_000).decode()), "its body is damaged"),
        (message(body=body([])), "not contain exactly one text"),
        (message(body=body([["a", "b"], {}, {}])), "not contain exactly one text"),
        (message(body=body([[5], {}, {}])), "not contain exactly one text"),
        (message(body="A" * (MAX_BODY_CHARS + 1)), f"at most {MAX_BODY_CHARS} are allowed"),
    ],
)
def test_a_foreign_message_is_rejected_with_the_reason(foreign: object, complaint: str) -> None:
    with pytest.raises(ForeignMessageError, match=complaint):
        rebuild_message(foreign, "pm.r")
