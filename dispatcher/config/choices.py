"""The value types that only the configuration of a run has: choices, the shard, the report, and tables."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from dispatcher.model.shard_option import ALLOWED as SHARDS_ALLOWED
from dispatcher.model.shard_option import Shard, read_shard
from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.units import Amount
from passmuster.settings.values import Value, ValueType

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


class OutputFormat(StrEnum):
    """What a run prints."""

    AUTO = "auto"
    """`COMPACT` on a terminal, else `CONTRACT`."""
    COMPACT = "compact"
    """A line for each file that did not pass, and a summary that fits a screen."""
    CONTRACT = "contract"
    """The lines of the shell scripts."""
    JSON = "json"
    """One JSON document at the end; everything else goes to standard error."""
    BRIEF = "brief"
    """At the end, only what failed, in at most 100 lines; everything else goes to standard error."""

    @property
    def is_document(self) -> bool:
        """Whether standard output has only what is printed at the end."""
        return self in (OutputFormat.JSON, OutputFormat.BRIEF)


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


class Oversubscription(StrEnum):
    """Whether more files than slots run while the running files leave CPUs idle."""

    OFF = "off"
    AUTO = "auto"


class Split(StrEnum):
    """Whether long files run in parts."""

    OFF = "off"
    AUTO = "auto"
    """Those that make the run longer than it has to be."""
    FORCE = "force"
    """All that can be cut."""


class Explain(StrEnum):
    """What the command explains instead of running."""

    PRELOAD = "preload"


class Override(Struct, frozen=True, kw_only=True):
    """Settings for some files only. None in a field: the file has the same value as all others."""

    files: tuple[str, ...]
    """Shell patterns of paths, relative to the root; `*` does not match a slash, `**` does, and a directory
    stands for everything in it."""
    isolation: Isolation | None = None
    runner: RunnerKind | None = None
    timeout_s: float | None = None
    memory: Amount | None = None
    retries: int | None = None
    group: str | None = None  # the files' concurrency group; empty: none
    cached: bool | None = None  # whether `--cached` may report an earlier pass of them
    command: tuple[str, ...] | None = None
    pytest_arguments: tuple[str, ...] | None = None  # instead of those of all files
    split: Split | None = None


class FileGroup(Struct, frozen=True, kw_only=True):
    """A concurrency group: a limited number of its files run at once."""

    name: str
    max_files: int


class Subcommand(StrEnum):
    """The subcommands: a first word that replaces options and paths."""

    COMPLETION = "completion"
    EXPLAIN = "explain"
    MERGE = "merge"
    MIGRATE = "migrate"
    PLAN = "plan"
    SCHEMA = "schema"
    STATUS = "status"
    WATCH = "watch"


SUBCOMMAND_HELP = {
    "completion": "print the completion script for bash, zsh, or fish",
    "explain": "print how a file last ran, and how and why it will run next (--json)",
    "merge": "check that the records cover every shard, and report them as one run",
    "plan": "predict a run's time and memory, and what would make it faster (--json)",
    "schema": "print the JSON schema of [tool.passmuster] in pyproject.toml",
    "migrate": "replace calls of the shell scripts by this program (a preview; --apply makes the changes)",
    "status": "print the runs on this machine, and the runs and workers on a broker (--json), and exit",
    "watch": "stay, and run what a change of a file affects, at once",
}
"""The help text of each subcommand. Only the first word of a call counts as one: `./status` is a file."""

IN_RUN = ""
"""The default place of a report: the directory of its own run."""

AUTO_SHARD = Shard(number=0, total=0)
"""Stands for the shard that the CI's variables name, until they were read."""


def _parse_shard(text: str) -> Value:
    return read_shard(text) or AUTO_SHARD


def _parse_report(text: str) -> str | None:
    form, is_placed, path = text.strip().partition("=")
    if form.lower() != "html" or "\0" in path or (is_placed and not path):
        return None
    return path or IN_RUN


SHARD = ValueType(parse=_parse_shard, expected=SHARDS_ALLOWED, metavar="I/N")
REPORT = ValueType(
    parse=_parse_report, expected="html, or html=PATH", metavar="html[=PATH]", is_path=True, is_output=True
)
