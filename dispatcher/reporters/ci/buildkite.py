"""Buildkite's log: groups, each up to the next one's header. Pure.

A line that begins with `---`, `+++` or `~~~` and a space is a header, and `^^^ +++` opens the group it is in
(buildkite.com/docs/pipelines/configure/managing-log-output). The contract's rules have no space behind them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dispatcher.reporters.ci.annotations import Annotation
from dispatcher.reporters.ci.dialect import Section, margined

_HEADER = re.compile(r"^(?=(?:---|\+\+\+|~~~|\^\^\^)\s)", re.MULTILINE)


class BuildkiteLog:
    """Buildkite's log."""

    most_section_chars = 16 * 1024 * 1024

    def begin(self) -> str:
        """Return nothing: the step's own group is open."""
        return ""

    def end(self) -> str:
        """Return nothing: the last group is an open one."""
        return ""

    def section(self, section: Section) -> str:
        """Return a closed group, and the header of an open one for what follows."""
        return f"--- {section.title}\n{margined(section.lines)}+++ Passmuster\n"

    def annotations(self, _shown: Sequence[Annotation]) -> str:
        """Return nothing: an annotation is made by a command of the agent, which tests may not have."""
        return ""

    def inert(self, text: str) -> str:
        """Return the text; only a file whose own path looks like a header can begin a line so."""
        return _HEADER.sub(r"\\", text)

    def inert_warning(self, text: str) -> str:
        """Return the same."""
        return self.inert(text)
