"""The table of public suites, `suites.toml`: where each comes from, what it needs, how its authors run it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TABLE = Path(__file__).with_name("suites.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why some differences are not Passmuster's.

    Args:
        match: shell patterns of `file::name`.
        why: the reason, as it is printed.
    """

    match: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicSuite:
    """One row of the table.

    Args:
        name: the project's name, as pip has it.
        version: the pinned version.
        python: the version of Python that runs it, such as `3.12`.
        requires: what pip installs; `.` is the unpacked archive.
        command: the project's own command.
        source: `sdist`, or `wheel` for a project whose wheel holds its tests.
        folder: where the command is run, relative to the unpacked archive.
        paths: arguments for the command and for Passmuster, where only a part of the suite is run.
        env: variables that the project's own settings for its tests set.
        explained: known differences.
        configuration: lines of `[tool.passmuster]` without which Passmuster cannot run the tests;
            "" for almost every suite.
    """

    name: str
    version: str
    python: str
    requires: tuple[str, ...]
    command: str = "pytest"
    source: str = "sdist"
    folder: str = ""
    paths: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    explained: tuple[Explanation, ...] = ()
    configuration: str = ""

    @property
    def uses_pytest(self) -> bool:
        """Whether the project's own command is pytest."""
        return "pytest" in self.command.split()


def read_table(path: Path = TABLE) -> tuple[PublicSuite, ...]:
    """Return the rows of the table, in its order."""
    rows = tomllib.loads(path.read_text("utf-8"))["suite"]
    return tuple(_suite(row) for row in rows)


def chosen_suites(suites: Sequence[PublicSuite], only: Sequence[str]) -> tuple[PublicSuite, ...]:
    """Return the suites of these names; all, if no name is given.

    Raises:
        ValueError: the table has no suite of that name.
    """
    known = {suite.name: suite for suite in suites}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ValueError(f"no suite is named {unknown[0]!r}; known are {', '.join(known)}")
    return tuple(known[name] for name in only) if only else tuple(suites)


def _suite(row: Mapping[str, Any]) -> PublicSuite:
    explained = tuple(
        Explanation(match=tuple(entry["match"]), why=entry["why"]) for entry in row.get("explained", ())
    )
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    fields["explained"] = explained
    return PublicSuite(**fields)
