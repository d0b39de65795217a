"""What is known of a file before it starts: whether it may be forked, and what it needs.

Joins the look at its text, what earlier runs have learned, and the choice of what is imported beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from passmuster.task import TestTask
from worker.settings import WorkerSettings
from worker.warm.server import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """How a file should be started.

    Args:
        why_spawn: why it must not be forked; empty: it may.
        modules: what a server should have imported for it, in order.
    """

    why_spawn: str = ""
    modules: tuple[str, ...] = ()


class Advisor:
    """Knows the files of one run. Thread-safe."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def expect(self, paths: tuple[str, ...]) -> None:
        """Think about what these files need together."""

    def advise(self, task: TestTask) -> Advice:
        """Return how a task's file should be started."""
        return Advice()

    def parent_of(self, modules: tuple[str, ...]) -> tuple[str, ...]:
        """Return the modules of the server that one with `modules` is forked from."""
        return ()

    def learn(self, verdicts: Sequence[Verdict]) -> None:
        """Take note of what came of importing modules."""

    def close(self) -> None:
        """Keep what was learned."""
