"""GitLab's log: collapsed sections. Pure.

A section's mark needs a carriage return and an escape sequence (docs.gitlab.com, "Create custom collapsible
sections"). Neither comes out of `text.sanitize`, through which all goes that tests print or are named.
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.reporters.ci.annotations import Annotation
from dispatcher.reporters.ci.dialect import Section, margined

_ERASE = "\x1b[0K"


class GitlabLog:
    """GitLab's log."""

    most_section_chars = 2 * 1024 * 1024
    """A runner cuts a log at 4 MiB by default (`output_limit`), and the summary comes last."""

    def begin(self) -> str:
        """Return nothing: there is nothing to prepare."""
        return ""

    def end(self) -> str:
        """Return nothing: every section is closed."""
        return ""

    def section(self, section: Section) -> str:
        """Return a section that takes as long as the file took."""
        name = f"passmuster_output_{section.number}"
        start, end = int(section.started_at), int(section.ended_at)
        return (
            f"{_ERASE}section_start:{start}:{name}[collapsed=true]\r{_ERASE}{section.title}\n"
            f"{margined(section.lines)}{_ERASE}section_end:{end}:{name}\r{_ERASE}\n"
        )

    def annotations(self, _shown: Sequence[Annotation]) -> str:
        """Return nothing: GitLab takes failures from a JUnit report."""
        return ""

    def inert(self, text: str) -> str:
        """Return the text, which holds no mark."""
        return text

    def inert_warning(self, text: str) -> str:
        """Return the text, which holds no mark."""
        return text
