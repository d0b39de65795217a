"""The run store of a joined run, in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from dispatcher.join.liveness import BrokerRetry, JoinedRun
from passmuster.wire.envelope import Envelope
from passmuster.wire.join_messages import JoinCodec
from passmuster.wire.join_store import JoinStore, LeaderLease, NotLeadingError

CODEC = JoinCodec(Envelope("secret"), "run")


class FakeStore(JoinStore):
    """Keeps what is stored; raises the errors of `breaks` first, one a call."""

    def __init__(self) -> None:
        self.journal: list[tuple[str, str]] = []
        self.chunks: dict[tuple[int, str, int], str] = {}
        self.outcomes: dict[int, str] = {}
        self.breaks: list[Exception] = []
        self.holder: LeaderLease | None = None

    def append(self, claim: LeaderLease, entries: Sequence[str]) -> None:
        self._answer(claim)
        self.journal += [("result", entry) for entry in entries]

    def entries(self) -> Iterator[tuple[str, str]]:
        return iter(self.journal)

    def put_chunk(self, number: int, name: str, index: int, text: str) -> None:
        self._answer(None)
        self.chunks[number, name, index] = text

    def chunk(self, number: int, name: str, index: int) -> str | None:
        return self.chunks.get((number, name, index))

    def finish_round(self, claim: LeaderLease, outcome: str, *, is_green: bool) -> None:
        self._answer(claim)
        self.outcomes[claim.number] = outcome

    def outcome(self, number: int) -> str | None:
        return self.outcomes.get(number)

    def _answer(self, claim: LeaderLease | None) -> None:
        if self.breaks:
            raise self.breaks.pop(0)
        if claim is not None and self.holder is not None and claim is not self.holder:
            raise NotLeadingError


class FakeTime:
    """A clock that only `pause` moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def pause(self, seconds: float) -> None:
        self.now_s += seconds


def broker_retry(time: FakeTime | None = None, **options: Any) -> BrokerRetry:
    time = time or FakeTime()
    return BrokerRetry(options.get("is_leaving", lambda: False), clock=time, pause=time.pause)


def joined_run(store: FakeStore, codec: JoinCodec = CODEC) -> JoinedRun:
    return JoinedRun(store, codec, broker_retry())
