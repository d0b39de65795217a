"""Writes the log of a queue worker, as text for people or as JSON for machines."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from passmuster.wire.broker_keys import DELIVERIES_PER_ATTEMPT
from worker.queue.in_flight import InFlightFile


class LogFormat(StrEnum):
    """The format of log lines."""

    PLAIN = "plain"
    JSON = "json"


class LogLevel(StrEnum):
    """The severity of a line."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Say(Protocol):
    """The function by which the parts of a worker write a log line."""

    def __call__(
        self, event: str, /, *, about: InFlightFile | None = None, level: LogLevel = LogLevel.INFO
    ) -> None:
        """Log an event, and the file that it is about."""


class WorkerLog:
    """A `Say` that prints lines with `write`; `clock` returns the Unix time in seconds."""

    def __init__(
        self,
        write: Callable[[str], None],
        *,
        log_format: LogFormat,
        worker: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._write, self._format, self._worker, self._clock = write, log_format, worker, clock

    def __call__(
        self, event: str, /, *, about: InFlightFile | None = None, level: LogLevel = LogLevel.INFO
    ) -> None:
        """Write a line."""
        run, path, attempt = (
            ("", "", 0)
            if about is None
            else (about.run_id, about.path, about.delivery // DELIVERIES_PER_ATTEMPT)
        )
        if self._format is LogFormat.PLAIN:
            words = "" if about is None else f" run={run} file={_printable(path)} attempt={attempt}"
            self._write(f"{event}{words}")
            return
        line: dict[str, object] = {
            "time": datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).isoformat(),
            "level": level,
            "event": event,
        }
        if about is not None:
            line |= {"run": run, "file": path, "attempt": attempt}
        self._write(json.dumps(line | {"worker": self._worker}))


def _printable(path: str) -> str:
    """Return a path quoted as one word: it may contain spaces and line breaks."""
    return path if path.isprintable() and " " not in path else ascii(path)
