"""Tells every reporter every event, and goes on without a reporter that fails."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.model.events import Notice, Reporter, RunEvent
from passmuster.model.errors import PassmusterError


class EventBus:
    """Hands events on in the order of the reporters.

    A run must not be lost because its report cannot be written: a reporter that raises is dropped, the
    others are told why, and `failures` makes sure that the command does not end as if all were well.

    Args:
        reporters: who is told.
        keepers: who is told too, and may fail without the run being any less complete.
    """

    def __init__(self, reporters: Sequence[Reporter], keepers: Sequence[Reporter] = ()) -> None:
        self._reporters = [*reporters, *keepers]
        self._keepers = tuple(keepers)
        self._failures: list[str] = []

    @property
    def failures(self) -> tuple[str, ...]:
        """Why reporters were dropped, a line each; without keepers."""
        return tuple(self._failures)

    def __call__(self, event: RunEvent) -> None:
        """Tell everybody of one event."""
        for reporter in list(self._reporters):
            if reporter not in self._reporters:
                continue  # It was dropped just now, by the notice of another one's failure.
            try:
                reporter.handle(event)
            except Exception as error:  # A border: whatever goes wrong in a report must not end the run.
                self._drop(reporter, error, event.at_s)

    def _drop(self, reporter: Reporter, error: Exception, at_s: float) -> None:
        self._reporters.remove(reporter)
        if isinstance(error, PassmusterError):
            text = str(error)
        else:
            text = f"{type(reporter).__name__} failed and is left out: {type(error).__name__}: {error}"
        if reporter not in self._keepers:
            self._failures.append(text)
        self(Notice(at_s=at_s, text=text))
