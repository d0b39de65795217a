"""The log formats of CIs: one class for each log with control sequences.

Output and names of tests also reach the log. Each class therefore neutralizes such text, so that the CI does
not obey it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence

from msgspec import Struct

from dispatcher.reporters.ci.annotations import Annotation

MARGIN = "| "
"""Precedes each line of a folded output.

No CI takes such a line for a command, and neither do GitHub's problem matchers, which look for tracebacks in
the log (actions/setup-python installs one): their annotations count among the ten that a step may have.
"""


class Section(Struct, frozen=True, kw_only=True):
    """A foldable section of the log, sanitized; the instants are those of the process behind the output."""

    number: int
    """Counts the sections of a run, from 1."""
    title: str
    lines: Sequence[str]
    started_at: float
    ended_at: float


def margined(lines: Sequence[str]) -> str:
    """Return lines behind the margin."""
    return "".join(f"{MARGIN}{line}\n" for line in lines)


class CiLog:
    """A log without control sequences, and the base of all others. Pure: text in, text out, whole lines.

    Args:
        folder: the project root in the repository, with a slash at its end; empty: it is the repository.
    """

    max_section_chars = 16 * 1024 * 1024
    """Characters of all sections of a run together."""

    def __init__(self, folder: str = "") -> None:
        self._folder = folder

    def begin(self) -> str:
        """Return what is printed before everything else."""
        return ""

    def end(self) -> str:
        """Return what is printed after everything else, however the run ended."""
        return ""

    def section(self, section: Section) -> str:
        """Return a folded section: here the lines behind a margin, below their title."""
        return f"{section.title}\n{margined(section.lines)}"

    def annotations(self, _shown: Sequence[Annotation]) -> str:
        """Return the text that makes the CI show annotations; empty: this CI has none."""
        return ""

    def neutralize(self, text: str) -> str:
        """Return a text for standard output, possibly test output, so that the CI obeys none of it."""
        return text

    def neutralize_warning(self, text: str) -> str:
        """Return the same for standard error."""
        return self.neutralize(text)


class GithubLog(CiLog):
    """GitHub's log.

    What counts as a command is in actions/runner, src/Runner.Common/ActionCommand.cs, as of August 2026: a
    line that begins with `::name` after any white space (`TryParseV2`), or holds `##[name` anywhere
    (`TryParse`), on standard output and standard error alike. Both are switched off by
    `::stop-commands::TOKEN` until `::TOKEN::` (src/Runner.Worker/ActionCommandManager.cs). They are off for
    the whole run except Passmuster's own lines, so nothing that a test prints is obeyed. A run that is killed
    leaves them off for the rest of its step and no longer, as each step has a manager of its own
    (`CreateService` in src/Runner.Worker/Handlers/Handler.cs).

    Args:
        token: switches commands on again; it must be unguessable, and not the name of a command. The runner
            compares it without regard to case, and hides it in the log. None: a random one.
    """

    def __init__(self, folder: str = "", *, token: str | None = None) -> None:
        super().__init__(folder)
        token = token or secrets.token_hex(16)
        self._on, self._off = f"::{token}::\n", f"::stop-commands::{token}\n"

    def begin(self) -> str:
        """Switch commands off."""
        return self._off

    def end(self) -> str:
        """Switch commands on again for what follows in this step."""
        return self._on

    def section(self, section: Section) -> str:
        """Return a group; commands stay off inside it."""
        start = self._ours(f"::group::{escaped_data(section.title)}\n")
        end = self._ours("::endgroup::\n")
        return f"{start}{margined(section.lines)}{end}"

    def annotations(self, shown: Sequence[Annotation]) -> str:
        """Return a command for each."""
        return self._ours("".join(map(self._annotation, shown))) if shown else ""

    def neutralize_warning(self, text: str) -> str:
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


_ERASE = "\x1b[0K"


class GitlabLog(CiLog):
    """GitLab's log.

    A section's mark needs a carriage return and an escape sequence (docs.gitlab.com, "Create custom
    collapsible sections"). Neither comes out of `text.sanitize`, through which all goes that tests print or
    are named. There are no annotations: GitLab takes failures from a JUnit report.
    """

    max_section_chars = 2 * 1024 * 1024
    """A runner cuts a log at 4 MiB by default (`output_limit`), and the summary comes last."""

    def section(self, section: Section) -> str:
        """Return a section that takes as long as the file took."""
        name = f"passmuster_output_{section.number}"
        start, end = int(section.started_at), int(section.ended_at)
        return (
            f"{_ERASE}section_start:{start}:{name}[collapsed=true]\r{_ERASE}{section.title}\n"
            f"{margined(section.lines)}{_ERASE}section_end:{end}:{name}\r{_ERASE}\n"
        )


_HEADER = re.compile(r"^(?=(?:---|\+\+\+|~~~|\^\^\^)\s)", re.MULTILINE)


class BuildkiteLog(CiLog):
    """Buildkite's log.

    A line that begins with `---`, `+++` or `~~~` and a space is a header, and `^^^ +++` opens the group it
    is in (buildkite.com/docs/pipelines/configure/managing-log-output). The contract's rules have no space
    behind them. There are no annotations: they need a command of the agent, which may be missing.
    """

    def section(self, section: Section) -> str:
        """Return a closed group, and the header of an open one for what follows."""
        return f"--- {section.title}\n{margined(section.lines)}+++ Passmuster\n"

    def neutralize(self, text: str) -> str:
        """Return the text; only a file whose own path looks like a header can begin a line so."""
        return _HEADER.sub(r"\\", text)


_FORMAT = re.compile(r"^##\[", re.MULTILINE)
_LOOKS_ESCAPED = re.compile(r"%(?=3B|0D|0A|5D|AZP25)")
"""Where a text would be taken for an escape. Any other percent sign stays: old agents do not decode it."""


class AzureLog(CiLog):
    """The log of Azure Pipelines.

    A command is `##vso[area.event ...]` anywhere in a line of standard output or standard error (`TryParse`
    in microsoft/azure-pipelines-agent, src/Microsoft.VisualStudio.Services.Agent/Command.cs). Commands
    cannot be switched off: so each that a test prints is broken up. A format such as `##[group]` has to
    begin a line.
    """

    def section(self, section: Section) -> str:
        """Return a group."""
        title, lines = self.neutralize(section.title), self.neutralize(margined(section.lines))
        return f"##[group]{title}\n{lines}##[endgroup]\n"

    def annotations(self, shown: Sequence[Annotation]) -> str:
        """Return a command for each issue."""
        return "".join(map(self._issue, shown))

    def neutralize(self, text: str) -> str:
        """Return the text with a backslash in what would be obeyed."""
        return _FORMAT.sub(r"##\\[", text.replace("##vso[", "##vso\\["))

    def _issue(self, annotation: Annotation) -> str:
        properties = {"type": str(annotation.level)}
        if annotation.path:
            properties["sourcepath"] = self._folder + annotation.path
        if annotation.line is not None:
            properties["linenumber"] = str(annotation.line)
        listed = "".join(f"{name}={escaped(value)};" for name, value in properties.items())
        return f"##vso[task.logissue {listed}]{escaped(f'{annotation.title}: {annotation.message}')}\n"


def escaped(text: str) -> str:
    """Return a text as a part of a command."""
    text = _LOOKS_ESCAPED.sub("%AZP25", text)
    for character, code in ((";", "%3B"), ("\r", "%0D"), ("\n", "%0A"), ("]", "%5D")):
        text = text.replace(character, code)
    return text


LOGS: Mapping[str, type[CiLog]] = {
    "github": GithubLog,
    "gitlab": GitlabLog,
    "buildkite": BuildkiteLog,
    "azure": AzureLog,
}
"""The logs, by the names of the CIs for `--ci`. Other CIs have a `CiLog`."""
