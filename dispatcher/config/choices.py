"""The value types of settings other than numbers, texts and paths: choices, and the records of tables."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.units import Amount

SERIAL = "serial: "
"""The prefix of the group names that `serial = true` creates: one of the group's files runs at a time."""


class Mode(StrEnum):
    """What the command does with the plan."""

    RUN = "run"
    LIST = "list"
    DRY_RUN = "dry-run"
    SHOW_CONFIG = "show-config"


class ColorChoice(StrEnum):
    """Whether output is coloured."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class MixedWorkers(StrEnum):
    """What a run does about workers whose interpreters or packages differ."""

    WARN = "warn"
    REFUSE = "refuse"


class Verbosity(StrEnum):
    """How much is printed."""

    QUIET = "quiet"
    NORMAL = "normal"
    VERBOSE = "verbose"


class LayoutKind(StrEnum):
    """Which configuration decides which files are tests and how they run."""

    AUTO = "auto"
    """The project's own files decide which of the other layouts applies."""
    PYTEST = "pytest"
    """pytest decides which files are tests, and runs them all."""
    SCRIPTS = "scripts"
    """Names and folders decide; a file with a `__main__` guard runs as `python FILE`."""
    UNITTEST = "unittest"
    """The files that `python -m unittest` would discover, run by unittest."""


class Overcommit(StrEnum):
    """Whether more files than slots run while the running files leave CPUs idle."""

    OFF = "off"
    AUTO = "auto"


class Explain(StrEnum):
    """What the command explains instead of running."""

    PRELOAD = "preload"


class Override(Struct, frozen=True, kw_only=True):
    """Settings for some files only. None in a field: the file has the same value as all others.

    Args:
        files: shell patterns of paths, relative to the root; `*` does not match a slash, `**` does, and a
            directory stands for everything in it.
        timeout_s: wall-clock seconds for each file.
        memory: the limit of each file.
        retries: how often a failed file runs again.
        group: the files' concurrency group; empty: none.
        command: the words of the command that runs each file, as `TestConfig.command`.
        pytest_arguments: further arguments of the files' pytest, instead of those of all files.
    """

    files: tuple[str, ...]
    isolation: Isolation | None = None
    runner: RunnerKind | None = None
    timeout_s: float | None = None
    memory: Amount | None = None
    retries: int | None = None
    group: str | None = None
    command: tuple[str, ...] | None = None
    pytest_arguments: tuple[str, ...] | None = None


class FileGroup(Struct, frozen=True, kw_only=True):
    """A concurrency group: a limited number of its files run at once.

    Args:
        name: as overrides refer to it.
        most: how many of its files may run at the same time.
    """

    name: str
    most: int


class Subcommand(StrEnum):
    """The subcommands: a first word that replaces options and paths."""

    COMPLETION = "completion"
    EXPLAIN = "explain"
    MERGE = "merge"
    MIGRATE = "migrate"
    PLAN = "plan"
    STATUS = "status"
