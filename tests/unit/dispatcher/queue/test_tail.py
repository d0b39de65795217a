"""Tests following a file until it finishes, moves or loses its worker, and finding the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.config.model import TestConfig
from dispatcher.queue.tail import PARTIAL_S, Follower, find_file
from passmuster.model.errors import ConfigurationError
from passmuster.wire.broker_inspector import BrokerInspector
from passmuster.wire.broker_keys import LEASE_S
from passmuster.wire.broker_messages import FileStage, FileStatus, RunStatus
from passmuster.wire.output_stream import OutputPiece, OutputStream

DONE = FileStatus(stage=FileStage.DONE, delivery=101)
WAITING = FileStatus(stage=FileStage.WAITING, delivery=102)


def running(delivery: int = 101, worker: str = "w1") -> FileStatus:
    return FileStatus(stage=FileStage.RUNNING, delivery=delivery, worker=worker)


class Broker(BrokerInspector, OutputStream):
    """Gives one reply a poll: the status of the file, and its new output. The last reply repeats."""

    def __init__(self, *replies: tuple[FileStatus | None, list[OutputPiece]]) -> None:
        self.replies = list(replies)
        self.now_s = 0.0
        self.overdue_s = 0.0
        self.problem = ""
        self.subscriptions = 0
        self.blocked: list[float] = []
        self.written = ""
        self.lines: list[str] = []

    def file(self, run_id: str, path: str) -> FileStatus | None:
        return self.replies[0][0]

    def expired_for_s(self, run_id: str, path: str, status: FileStatus) -> float:
        return self.overdue_s

    def subscribe(self, run_id: str, path: str) -> None:
        self.subscriptions += 1

    def read(
        self, run_id: str, path: str, last_id: str, *, block_s: float
    ) -> tuple[str, list[OutputPiece], str]:
        self.blocked.append(block_s)
        _, pieces = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        self.now_s += block_s
        return last_id, pieces, self.problem

    def write(self, text: str) -> None:
        self.written += text

    def follow(self) -> None:
        follower = Follower(self, self, self.write, self.lines.append, clock=lambda: self.now_s)
        follower.follow("r", "a.py")


def piece(start: int, data: bytes, delivery: int = 101) -> OutputPiece:
    return OutputPiece(delivery=delivery, start=start, data=data)


def test_a_file_is_followed_until_it_finishes() -> None:
    broker = Broker(
        (running(), [piece(0, b"one\ntw")]), (running(), []), (DONE, [piece(6, b"o\nend")]), (None, [])
    )

    broker.follow()

    assert broker.written == "one\ntwo\nend\n"
    assert broker.lines == ["a.py of run r runs on w1; its output follows", "a.py has finished"]
    assert broker.subscriptions == 3
    assert broker.blocked == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("status", "words"), [(None, "has finished"), (DONE, "has finished"), (WAITING, "waits for a worker")]
)
def test_a_file_that_does_not_run_is_not_followed(status: FileStatus | None, words: str) -> None:
    broker = Broker((status, []))

    broker.follow()

    assert broker.lines == [f"a.py {words} in run r: there is nothing to follow"]
    assert (broker.subscriptions, broker.written) == (0, "")


def test_a_returned_file_is_no_longer_followed() -> None:
    broker = Broker((running(), []), (WAITING, []))

    broker.follow()

    assert broker.lines[-1] == "a.py waits for a worker"


def test_a_redelivered_file_starts_anew_without_output_of_the_delivery_before() -> None:
    broker = Broker(
        (running(), [piece(0, b"old, ha")]),
        (running(102, "w2"), [piece(7, b"lf"), piece(0, b"new\n", delivery=102)]),
        (DONE, []),
    )

    broker.follow()

    assert broker.written == "old, ha\nnew\n"
    assert broker.lines[1:] == ["a.py was redelivered to w2", "a.py has finished"]


@pytest.mark.parametrize("next_look", [running(201), FileStatus(stage=FileStage.WAITING, delivery=201)])
def test_another_attempt_is_not_followed(next_look: FileStatus) -> None:
    broker = Broker((running(), []), (next_look, [piece(0, b"the end\n"), piece(0, b"new\n", delivery=201)]))

    broker.follow()

    assert broker.written == "the end\n"
    assert broker.lines[-1] == "a.py has finished, and will rerun"


def test_an_incomplete_line_is_shown_after_a_while() -> None:
    quiet = [(running(), list[OutputPiece]())] * int(PARTIAL_S)
    broker = Broker((running(), [piece(0, b"waiting for the lock")]), *quiet, (DONE, []))
    shown: list[str] = []
    write, broker.write = broker.write, lambda text: (shown.append(text), write(text))[1]  # type: ignore[func-returns-value,method-assign]

    broker.follow()

    assert [text for text in shown if text] == ["waiting for the lock", "\n"]


def test_following_ends_when_the_worker_sends_no_heartbeat() -> None:
    broker = Broker((running(), []))
    broker.overdue_s = LEASE_S + 1.0

    broker.follow()

    assert broker.lines[-1] == "a.py is no longer followed: its worker w1 sends no heartbeat"


def test_output_that_cannot_be_decoded_is_reported_once() -> None:
    broker = Broker((running(), []), (running(), []), (DONE, []))
    broker.problem = "a message has a wrong signature"

    broker.follow()

    assert broker.lines[1:] == [
        "part of the output cannot be shown: a message has a wrong signature",
        "a.py has finished",
    ]


class Runs(BrokerInspector):
    """Runs and their files."""

    def __init__(self, **files: tuple[str, ...]) -> None:
        self.files = files

    def runs(self) -> list[RunStatus]:
        return [
            RunStatus(run_id=name, started_at=0, seconds=0, heartbeat_age_s=0, waiting=0, running=0, done=0)
            for name in self.files
        ]

    def file(self, run_id: str, path: str) -> FileStatus | None:
        return running() if path in self.files[run_id] else None

    def expired_for_s(self, run_id: str, path: str, status: FileStatus) -> float:
        raise AssertionError("nobody asks")

    def paths(self, run_id: str) -> list[str]:
        return sorted(self.files[run_id])


ROOT = Path("/project")


@pytest.mark.parametrize(
    "name", ["app/tests/a.py", "./app//tests/a.py", "/project/app/tests/a.py", "tests/a.py", "a.py"]
)
def test_a_file_is_found_by_any_path_that_names_it(name: str) -> None:
    status = Runs(r1=("app/tests/a.py", "app/tests/aa.py"), r2=("b.py",))

    assert find_file(status, name, TestConfig(root=ROOT)) == ("r1", "app/tests/a.py")


def test_an_exact_path_wins_over_a_suffix() -> None:
    assert find_file(Runs(r1=("a.py", "x/a.py")), "a.py", TestConfig(root=ROOT)) == ("r1", "a.py")


def test_the_named_one_of_several_runs_is_searched() -> None:
    status = Runs(r1=("a.py",), r2=("a.py",))

    assert find_file(status, "a.py", TestConfig(root=ROOT, tail_run_id="r2")) == ("r2", "a.py")


MANY = Runs(**{f"r{number}": ("x/a.py", "y/a.py") for number in range(5)})


@pytest.mark.parametrize(
    ("find", "message"),
    [
        (
            lambda: find_file(MANY, "b.py", TestConfig(root=ROOT)),
            "no run on the broker has published a file 'b.py': its runs are r0, r1, r2 and 2 more",
        ),
        (
            lambda: find_file(Runs(), "b.py", TestConfig(root=ROOT)),
            "no run on the broker has published a file 'b.py': there are none",
        ),
        (
            lambda: find_file(MANY, "x/a.py", TestConfig(root=ROOT)),
            "several runs have 'x/a.py': add --run-id with one of r0, r1, r2 and 2 more",
        ),
        (
            lambda: find_file(MANY, "a.py", TestConfig(root=ROOT, tail_run_id="r1")),
            "several files are called 'a.py': say which of x/a.py, y/a.py",
        ),
        (
            lambda: find_file(MANY, "a.py", TestConfig(root=ROOT, tail_run_id="r9")),
            "there is no run 'r9' on the broker: it has r0, r1, r2 and 2 more",
        ),
    ],
)
def test_an_ambiguous_or_unknown_file_is_refused(find: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        find()

    assert str(caught.value) == message
