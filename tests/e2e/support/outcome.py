"""What came of one call of a command: exit status, both streams, and the events it wrote."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

EventValue = str | int | float | bool | None | list["EventValue"] | dict[str, "EventValue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test inside a file, as the events have it."""

    case_id: str
    outcome: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One attempt that ended, as the events have it."""

    label: str
    attempt: int
    status: str
    error: str
    rerun_reason: str | None
    runner: str
    exit_code: int | None
    signal: int | None
    peak_bytes: int
    start_delayed_by: str
    leaked: tuple[str, ...]
    cases: tuple[Case, ...]
    output: str
    output_dropped_bytes: int
    stacks: str
    kept_tmp: str
    duration_s: float
    isolation: str
    isolation_note: str

    @property
    def is_verdict(self) -> bool:
        """Whether it decides the file, unless a later one does."""
        return self.rerun_reason in (None, "verify-pass", "exclusive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One call that has ended.

    Args:
        command: what was called.
        code: its exit status.
        stdout: what it printed.
        stderr: what it warned of.
        events: the objects of its `--events` file, in order; empty when it wrote none.
        duration_s: wall-clock seconds of the whole call.
    """

    __test__: ClassVar[bool] = False

    command: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    events: tuple[dict[str, EventValue], ...] = ()
    duration_s: float = 0.0

    def __repr__(self) -> str:
        return (
            f"\n$ {shlex.join(self.command)}\nexit status {self.code} after {self.duration_s:.1f} s\n"
            f"--- stdout\n{self.stdout}--- stderr\n{self.stderr}---"
        )

    @property
    def lines(self) -> list[str]:
        """The lines of stdout."""
        return self.stdout.splitlines()

    def statuses(self) -> dict[str, str]:
        """Return the deciding status of each file, by its label; `NOT_RUN` for one that never started."""
        statuses = {ended.label: ended.status for ended in self.finished() if ended.is_verdict}
        statuses |= {_text(one["label"]): _text(one["status"]) for one in self.of_kind("file-settled")}
        planned = {_text(event["path"]): _text(event["label"]) for event in self.of_kind("file-planned")}
        for event in self.of_kind("run-finished"):
            for path in map(_text, _list(event["not_run_paths"])):
                statuses.setdefault(planned[path], "NOT_RUN")
            assert statuses.keys() == set(planned.values()), (
                "files without a result, or results without a file"
            )
        return statuses

    def final(self, label: str) -> Finished:
        """Return the deciding attempt of a file."""
        return [ended for ended in self.finished() if ended.label == label and ended.is_verdict][-1]

    def attempts(self, label: str) -> list[Finished]:
        """Return all attempts of a file, in order."""
        return [ended for ended in self.finished() if ended.label == label]

    def finished(self) -> list[Finished]:
        """Return every attempt that ended, in order."""
        return [_finished(event) for event in self.events if event["event"] == "file-finished"]

    def start_methods(self) -> dict[str, str]:
        """Return how each file's first attempt was started, by its label: later ones may verify it."""
        return {ended.label: ended.isolation for ended in reversed(self.finished())}

    def of_kind(self, name: str) -> list[dict[str, EventValue]]:
        """Return all events of one name."""
        return [event for event in self.events if event["event"] == name]

    def lines_after(self, heading: str) -> list[str]:
        """Return the lines of stdout that follow the line `heading`, which must be there."""
        assert heading in self.lines, str(self)
        return self.lines[self.lines.index(heading) + 1 :]


def read_events(path: Path) -> tuple[dict[str, EventValue], ...]:
    """Return the objects of a JSON Lines file; none when it does not exist."""
    if not path.exists():
        return ()
    return tuple(json.loads(line) for line in path.read_text(encoding="ascii").splitlines())


def _finished(event: dict[str, EventValue]) -> Finished:
    return Finished(
        label=_text(event["label"]),
        attempt=_number(event["attempt"]),
        status=_text(event["status"]),
        error=_text(event["error"]),
        rerun_reason=None if event["rerun_reason"] is None else _text(event["rerun_reason"]),
        runner=_text(event["runner"]),
        exit_code=None if event["exit_code"] is None else _number(event["exit_code"]),
        signal=None if event["signal"] is None else _number(event["signal"]),
        peak_bytes=_number(event["peak_bytes"] or 0),
        start_delayed_by=_text(event["start_delayed_by"]),
        leaked=tuple(map(_text, _list(event["leaked"]))),
        cases=tuple(map(_case, _list(event["cases"]))),
        output=_text(event["output_tail"]),
        output_dropped_bytes=_number(event["output_dropped_bytes"]),
        stacks=_text(event["stacks_tail"]),
        kept_tmp=_text(event["kept_tmp"]),
        duration_s=_seconds(event["duration_s"]),
        isolation=_text(event["isolation"]),
        isolation_note=_text(event["isolation_note"]),
    )


def _case(value: EventValue) -> Case:
    assert isinstance(value, dict)
    return Case(case_id=_text(value["id"]), outcome=_text(value["outcome"]), message=_text(value["message"]))


def _text(value: EventValue) -> str:
    assert isinstance(value, str)
    return value


def _number(value: EventValue) -> int:
    assert isinstance(value, int)
    return value


def _seconds(value: EventValue) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _list(value: EventValue) -> list[EventValue]:
    assert isinstance(value, list)
    return value
