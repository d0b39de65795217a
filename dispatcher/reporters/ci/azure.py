"""The log of Azure Pipelines. Pure.

A command is `##vso[area.event ...]` anywhere in a line of standard output or standard error (`TryParse` in
microsoft/azure-pipelines-agent, src/Microsoft.VisualStudio.Services.Agent/Command.cs). Commands cannot be
switched off: so each that a test prints is broken up. A format such as `##[group]` has to begin a line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dispatcher.reporters.ci.annotations import Annotation
from dispatcher.reporters.ci.dialect import Section, margined

_FORMAT = re.compile(r"^##\[", re.MULTILINE)
_LOOKS_ESCAPED = re.compile(r"%(?=3B|0D|0A|5D|AZP25)")
"""Where a text would be taken for an escape. Any other percent sign stays: agents of old do not decode it."""


class AzureLog:
    """The log of Azure Pipelines.

    Args:
        folder: the project root in the repository, with a slash at its end; empty: it is the repository.
    """

    most_section_chars = 16 * 1024 * 1024

    def __init__(self, folder: str = "") -> None:
        self._folder = folder

    def begin(self) -> str:
        """Return nothing: there is nothing to prepare."""
        return ""

    def end(self) -> str:
        """Return nothing: every group is closed."""
        return ""

    def section(self, section: Section) -> str:
        """Return a group."""
        title, lines = self.inert(section.title), self.inert(margined(section.lines))
        return f"##[group]{title}\n{lines}##[endgroup]\n"

    def annotations(self, shown: Sequence[Annotation]) -> str:
        """Return a command for each issue."""
        return "".join(map(self._issue, shown))

    def inert(self, text: str) -> str:
        """Return the text with a backslash in what would be obeyed."""
        return _FORMAT.sub(r"##\\[", text.replace("##vso[", "##vso\\["))

    def inert_warning(self, text: str) -> str:
        """Return the same."""
        return self.inert(text)

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
