"""What somebody else puts on a run's queue: a real worker names it, starts nothing of it, and goes on."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from passmuster.model.status import Status
from passmuster.wire.broker_keys import queue_keys
from passmuster.wire.codec import TASK_CODEC
from passmuster.wire.envelope import Envelope
from tests.support.queue_worker import SECRET, Run, Start

Forge = Callable[[dict[str, Any]], Any]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    for name in ("ok.py", "evil.py"):
        (root / name).write_text(f"open('proof-{name}', 'w')\n", encoding="utf-8")
    (tmp_path / "outside.py").write_text("open('proof-outside', 'w')\n", encoding="utf-8")
    (root / "link.py").symlink_to(tmp_path / "outside.py")
    return root


def genuine(run: Run) -> dict[str, Any]:
    """Return a message as it lies on the queue, which is empty afterwards."""
    run.publish(run.task("evil.py"), 101)
    client: Any = run.client
    found: dict[str, Any] = json.loads(client.lpop(queue_keys(run.run_id)[1]))
    return found


def text_of(message: dict[str, Any]) -> str:
    return str(json.loads(base64.b64decode(message["body"]))[0][0])


def with_text(message: dict[str, Any], *texts: object) -> dict[str, Any]:
    body = base64.b64encode(json.dumps([texts, {}, {}]).encode()).decode()
    return message | {"body": body}


FORGERIES: dict[str, tuple[Forge, str]] = {
    "no JSON": (lambda _: "\x80\x04\x95", "it is not JSON"),
    "another form": (lambda _: {"body": "x"}, "it does not have the form of a task's message"),
    "another task": (
        lambda message: message | {"headers": message["headers"] | {"task": "celery.map"}},
        "it is for the task 'celery.map', the only one is pm.run_file",
    ),
    "a pickle": (
        lambda message: (
            message
            | {
                "content-type": "application/x-python-serialize",
                "body": base64.b64encode(b"cos\nsystem\n(S'touch proof-pickle'\ntR.").decode(),
            }
        ),
        "its body is damaged",
    ),
    "two texts": (lambda message: with_text(message, "a", "b"), "its body does not contain exactly one text"),
    "too large": (
        lambda message: with_text(message, "x" * (1 << 20)),
        "characters, at most 1048576 are allowed",
    ),
    "tampered": (
        lambda message: with_text(message, text_of(message).replace("evil.py", "link.py")),
        "a message has a wrong signature",
    ),
    "unsigned": (
        lambda message: with_text(message, json.dumps([2, "task", "t{}", "t101", ""])),
        "a message has a wrong signature",
    ),
    "another secret": (
        lambda message: with_text(message, Envelope("").sign("task", "{}", "101")),
        "a message has a wrong signature",
    ),
    "another kind": (
        lambda message: with_text(message, Envelope(SECRET).sign("result", "{}", "")),
        "a message is of the kind 'result', 'task' was expected",
    ),
    "no task": (
        lambda message: with_text(message, Envelope(SECRET).sign("task", "{}", "101")),
        "the task lacks the key",
    ),
}


def test_forged_messages_are_named_and_the_worker_goes_on(run: Run, start: Start, root: Path) -> None:
    run.seed(run.task("evil.py"), run.task("ok.py"))
    message = genuine(run)
    forged = {name: forge(dict(message)) for name, (forge, _) in FORGERIES.items()}
    worker = start()

    for name, body in forged.items():
        run.client.lpush(queue_keys(run.run_id)[1], body if name == "no JSON" else json.dumps(body))
    run.publish(run.task("ok.py"), 101)

    assert run.wait(1)["ok.py"].status is Status.PASS
    worker.process.terminate()
    status, output = worker.end()
    assert status == 0, output
    dropped = [line for line in output.splitlines() if line.startswith("a message was dropped: ")]
    for (name, (_, complaint)), line in zip(FORGERIES.items(), dropped, strict=True):
        assert complaint in line, name
    assert "Traceback" not in output
    assert [path.name for path in root.glob("proof*")] == ["proof-ok.py"]


def test_a_replayed_message_starts_nothing(run: Run, start: Start, root: Path) -> None:
    run.seed(run.task("evil.py"), run.task("ok.py"))
    message = json.dumps(genuine(run))
    start()
    key = queue_keys(run.run_id)[1]

    run.client.lpush(key, message, message)
    run.wait(1)
    (root / "proof-evil.py").unlink()
    run.client.lpush(key, message)
    run.publish(run.task("ok.py"), 101)
    run.wait(2)

    assert [path for path, *_ in run.started] == ["evil.py", "ok.py"]
    assert not (root / "proof-evil.py").exists()


def test_a_message_of_another_run_on_this_queue_starts_nothing(run: Run, start: Start, root: Path) -> None:
    other = Run(run.url)
    other.seed(other.task("evil.py"), spec=other.signed_spec(version="0"))
    message = json.dumps(genuine(other))
    run.seed(run.task("ok.py"))
    worker = start()

    run.client.lpush(queue_keys(run.run_id)[1], message)
    run.publish(run.task("ok.py"), 101)
    run.wait(1)
    other.record.cancel()
    worker.process.terminate()
    worker.end()
    other.close()

    assert not (root / "proof-evil.py").exists()


def test_what_a_signed_task_must_not_do_is_its_result(run: Run, start: Start, root: Path) -> None:
    (root / "folder").mkdir()
    start()

    run.submit(
        run.task("link.py"),
        run.task("evil.py", environment=(("LD_PRELOAD", "/tmp/evil.so"),)),
        run.task("folder"),
    )
    results = run.wait(3)

    assert {result.status for result in results.values()} == {Status.START_ERROR}
    assert "refusing 'link.py': it is outside the project root" in results["link.py"].error
    assert "does not allow a task to set LD_PRELOAD" in results["evil.py"].error
    assert "refusing 'folder': not a regular file" in results["folder"].error
    assert list(root.glob("proof*")) == []


def test_a_task_cannot_name_a_path_that_leads_upwards(run: Run, start: Start, root: Path) -> None:
    run.seed(run.task("ok.py"))
    worker = start()
    text = TASK_CODEC.encode(run.task("evil.py")).replace("evil.py", "../outside.py")

    run.publish_text(Envelope(SECRET).sign("task", text, "101"))
    run.publish(run.task("ok.py"), 101)
    run.wait(1)
    worker.process.terminate()

    assert "file_path '../outside.py' leads upwards" in worker.end()[1]
    assert not list(root.glob("proof-outside"))
