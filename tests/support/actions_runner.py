"""GitHub's runner, as far as it looks at what a step prints: which lines it obeys as commands.

Follows actions/runner: `TryParseV2` and `TryParse` of src/Runner.Common/ActionCommand.cs, and
`TryProcessCommand` of src/Runner.Worker/ActionCommandManager.cs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

COMMANDS = frozenset(
    {
        "add-mask",
        "add-matcher",
        "add-path",
        "debug",
        "echo",
        "endgroup",
        "error",
        "group",
        "notice",
        "remove-matcher",
        "save-state",
        "set-env",
        "set-output",
        "warning",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Obeyed:
    """A command that was obeyed."""

    name: str
    properties: dict[str, str]
    data: str


@dataclass(slots=True)
class Runner:
    """Reads a step's output line by line; afterwards says what it did."""

    obeyed: list[Obeyed] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    """The lines that were no commands."""
    token: str | None = None
    """What commands wait for; None: they are obeyed."""

    def read(self, lines: Iterable[str]) -> Runner:
        for line in lines:
            self._read_line(line)
        return self

    def _read_line(self, line: str) -> None:
        command = self._parse_new(line) or self._parse_old(line)
        if command is None:
            self.log.append(line)
        elif self.token is not None:
            if command.name.lower() == self.token.lower():
                self.token = None
            else:
                self.log.append(line)
        elif command.name.lower() == "stop-commands":
            assert command.data, "the runner refuses an empty token"
            assert command.data.lower() not in {*COMMANDS, "stop-commands", "pause-logging"}
            self.token = command.data
        else:
            self.obeyed.append(command)

    def _is_registered(self, name: str) -> bool:
        return name.lower() in {*COMMANDS, "stop-commands", (self.token or "stop-commands").lower()}

    def _parse_new(self, line: str) -> Obeyed | None:
        line = line.lstrip()
        end = line.find("::", 2)
        if not line.startswith("::") or end < 0:
            return None
        name, _, listed = line[2:end].partition(" ")
        if not self._is_registered(name):
            return None
        pairs = [pair.split("=", 1) for pair in listed.strip().split(",") if pair]
        properties = {
            pair[0]: _unescaped(pair[1], ":", ",") for pair in pairs if len(pair) == 2 and all(pair)
        }
        return Obeyed(name=name, properties=properties, data=_unescaped(line[end + 2 :]))

    def _parse_old(self, line: str) -> Obeyed | None:
        start = line.find("##[")
        end = line.find("]", start)
        if start < 0 or end < 0:
            return None
        name, _, _listed = line[start + 3 : end].partition(" ")
        return Obeyed(name=name, properties={}, data=line[end + 1 :]) if self._is_registered(name) else None


def _unescaped(text: str, *further: str) -> str:
    for character in ("\r", "\n", *further, "%"):
        text = text.replace(f"%{ord(character):02X}", character)
    return text
