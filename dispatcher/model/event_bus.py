"""Passes every event to every reporter, and drops a reporter that fails."""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.model.events import Notice, Reporter, RunEvent
from passmuster.model.errors import PassmusterError


class EventBus:
    """Passes events to the reporters, in their order.

    A reporter that raises is dropped and the others receive a notice, so that a run is not lost because its
    report cannot be written. `failures` lists the dropped reporters, so that the command does not exit with
    success.

    Args:
        keepers: also receive every event; the run counts as complete even if one of them fails.
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
        """Pass one event to all reporters."""
        for reporter in list(self._reporters):
            if reporter not in self._reporters:
                continue  # It was dropped just now, by the notice of another one's failure.
            try:
                reporter.handle(event)
            except Exception as error:  # A boundary: no error in a report may end the run.
                self._drop(reporter, error, event.at_s)

    def _drop(self, reporter: Reporter, error: Exception, at_s: float) -> None:
        self._reporters.remove(reporter)
        if isinstance(error, PassmusterError):
            text = str(error)
        else:
            text = f"{type(reporter).__name__} failed and was dropped: {type(error).__name__}: {error}"
        if reporter not in self._keepers:
            self._failures.append(text)
        self(Notice(at_s=at_s, text=text))
