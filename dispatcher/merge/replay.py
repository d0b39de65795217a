"""Feeds recorded events to reporters, as a run does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from dispatcher.model.event_bus import EventBus
from dispatcher.model.events import Reporter, RunEvent
from passmuster.model.errors import PassmusterError


def replay_events(
    events: Sequence[RunEvent], reporters: Sequence[Reporter], *, keepers: Sequence[Reporter] = ()
) -> tuple[str, ...]:
    """Pass every event to every reporter, and close them; return why reports are incomplete, a line each.

    Args:
        keepers: also receive the events; reports count as complete even if one of them fails.
    """
    announce = EventBus(reporters, keepers)
    for event in events:
        announce(event)
    lost = list(announce.failures)
    for reporter in reporters:
        try:
            reporter.close()
        except PassmusterError as error:
            lost.append(str(error))
    for keeper in keepers:
        with suppress(PassmusterError):
            keeper.close()
    return tuple(dict.fromkeys(lost))
