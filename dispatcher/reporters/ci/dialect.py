"""What a CI's log understands, as far as we use it: `github`, `gitlab`, `buildkite` and `azure` say it each.

Whatever tests print or are named reaches the log as well. So each of these also says how text that is not
ours is kept from being obeyed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from dispatcher.reporters.ci.annotations import Annotation

MARGIN = "| "
"""What stands before each line of a folded output.

No CI takes such a line for a mark of its own, and neither do the problem matchers of GitHub that look for
tracebacks in the log (actions/setup-python installs one): an annotation that these make counts among the
ten that a step may have.
"""


class Section(Struct, frozen=True, kw_only=True):
    """Something to fold away in the log.

    Args:
        number: counts the sections of a run, from 1.
        title: one line, sanitized.
        lines: what is folded, sanitized.
        started_at: Unix time in seconds at which what printed it started.
        ended_at: and ended.
    """

    number: int
    title: str
    lines: Sequence[str]
    started_at: float
    ended_at: float


class Dialect(Protocol):
    """One CI's log. All of it is pure: text in, text out, whole lines."""

    most_section_chars: int
    """Characters of all sections of a run together."""

    def begin(self) -> str:
        """Return what is printed before all else."""

    def end(self) -> str:
        """Return what is printed after all else, however the run ended."""

    def section(self, section: Section) -> str:
        """Return a folded section, with all that has to be around it."""

    def annotations(self, shown: Sequence[Annotation]) -> str:
        """Return what shows annotations at the source; empty: this CI has none."""

    def inert(self, text: str) -> str:
        """Return a text for standard output, that may hold what tests print, so that none of it is obeyed."""

    def inert_warning(self, text: str) -> str:
        """Return the same for standard error."""


def margined(lines: Sequence[str]) -> str:
    """Return lines behind the margin."""
    return "".join(f"{MARGIN}{line}\n" for line in lines)
