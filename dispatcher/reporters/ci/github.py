"""GitHub's log. Pure.

What counts as a command is in actions/runner, src/Runner.Common/ActionCommand.cs, as of August 2026: a line
that begins with `::name` after any white space (`TryParseV2`), or holds `##[name` anywhere (`TryParse`), on
standard output and standard error alike. Both are switched off by `::stop-commands::TOKEN` until `::TOKEN::`
(src/Runner.Worker/ActionCommandManager.cs). They are off for the whole run but for our own lines: so nothing
that a test prints is obeyed. A run that is killed leaves them off for the rest of its step and no longer, as
each step has a manager of its own (`CreateService` in src/Runner.Worker/Handlers/Handler.cs).
"""

from __future__ import annotations

from collections.abc import Sequence

from dispatcher.reporters.ci.annotations import Annotation
from dispatcher.reporters.ci.dialect import Section, margined


class GithubLog:
    """GitHub's log.

    Args:
        token: switches commands on again; nobody must be able to guess it, and it must not be the name of a
            command. The runner compares it without regard to case, and hides it in the log.
        folder: the project root in the repository, with a slash at its end; empty: it is the repository.
    """

    most_section_chars = 16 * 1024 * 1024

    def __init__(self, token: str, folder: str = "") -> None:
        self._on = f"::{token}::\n"
        self._off = f"::stop-commands::{token}\n"
        self._folder = folder

    def begin(self) -> str:
        """Switch commands off."""
        return self._off

    def end(self) -> str:
        """Switch commands on again for whoever comes after us in this step."""
        return self._on

    def section(self, section: Section) -> str:
        """Return a group; what is in it is not ours."""
        return "".join(
            (
                self._ours(f"::group::{escaped_data(section.title)}\n"),
                margined(section.lines),
                self._ours("::endgroup::\n"),
            )
        )

    def annotations(self, shown: Sequence[Annotation]) -> str:
        """Return a command for each."""
        return self._ours("".join(map(self._annotation, shown))) if shown else ""

    def inert(self, text: str) -> str:
        """Return the text: commands are off."""
        return text

    def inert_warning(self, text: str) -> str:
        """Return a text for standard error, where our lines begin with a tag, without older commands.

        The runner reads both streams at the same time: a warning may reach it while commands are on.
        """
        return text.replace("##[", "##\\[")

    def _ours(self, lines: str) -> str:
        return f"{self._on}{lines}{self._off}"

    def _annotation(self, annotation: Annotation) -> str:
        properties = {"title": annotation.title}
        if annotation.path:
            properties = {"file": self._folder + annotation.path, **properties}
        if annotation.line is not None:
            properties["line"] = str(annotation.line)
        listed = ",".join(f"{name}={escaped_property(value)}" for name, value in properties.items())
        return f"::{annotation.level} {listed}::{escaped_data(annotation.message)}\n"


def escaped_data(text: str) -> str:
    """Return a text as the last part of a command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escaped_property(text: str) -> str:
    """Return a text as the value of a command's property."""
    return escaped_data(text).replace(":", "%3A").replace(",", "%2C")
