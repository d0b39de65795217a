"""The arguments of each subcommand: its own options as rows, and the run settings that it accepts."""

# Without `from __future__ import annotations`: the annotations are tables.

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.cli.command import CommandCall
from dispatcher.config.choices import Subcommand
from dispatcher.config.load import config_of
from dispatcher.config.model import TestConfig
from dispatcher.config.settings import BY_NAME, PATHS, PYTEST_ARGUMENTS, RUN_PARSER, SETTINGS, WITHOUT_EFFECT
from dispatcher.migrate.names import NewCommand
from passmuster.model.errors import ConfigurationError
from passmuster.model.version import VERSION
from passmuster.settings.argument_parser import (
    ArgumentParser,
    read_record,
    read_variables,
    refuse_problems,
    refuse_unknown,
)
from passmuster.settings.completion import Shell
from passmuster.settings.help import program_help
from passmuster.settings.origins import NO_ORIGINS, Origins, rename_notes
from passmuster.settings.path_resolver import PathResolver
from passmuster.settings.relations import Relations
from passmuster.settings.setting import Conflict, Group, Setting, flag, option, rows_of, variable_name
from passmuster.settings.values import PATH, TEXT, ValueType, choice, count

MAX_NODES = 1024
"""A higher number of machines is a typing error."""

_JSON = flag("json", "one object on one line, for programs")
_Options = TypeVar("_Options")


class SubcommandArguments(Struct, Generic[_Options], frozen=True, kw_only=True):
    """The parsed arguments of a subcommand."""

    options: _Options  # its own options
    origins: Origins = NO_ORIGINS  # where each of these, and each value of `config`, comes from
    config: TestConfig = TestConfig()
    """The configuration of a run, with the settings that the subcommand accepts."""
    words: tuple[str, ...] = ()
    """The arguments that are not options, for a subcommand that takes no paths of a run."""
    notes: tuple[str, ...] = ()  # lines about former names that were used
    answer: str = ""  # the help text or the version, if one was requested and nothing else is to be done


class SubcommandTable(Generic[_Options]):
    """The arguments of one subcommand.

    Args:
        record: the class of its own options.
        notes: the last lines of its help.
        aliases: further options of settings that it accepts, by the setting's name.
        takes_words: whether it accepts arguments that are not options.
        settings: the names of the settings that it accepts.
    """

    def __init__(
        self,
        name: Subcommand,
        record: type[_Options],
        *,
        usage: str,
        description: str,
        notes: Sequence[str] = (),
        aliases: Mapping[str, str] = {},
        takes_words: bool = False,
        settings: Iterable[str] = (),
    ) -> None:
        self._usage, self._description, self._notes = usage, description, notes
        self._record = record
        self._own = rows_of(record)
        names = {BY_NAME[name].name for name in settings}
        self._settings = tuple(
            replace(row, options=(*row.options, aliases[row.name])) if row.name in aliases else row
            for row in SETTINGS
            if row.name in names
        )
        self._takes_words = takes_words or any(row.name == PATHS.name for row in self._settings)
        self.rows = (*self._own, *self._settings)
        self.name = name
        self._parser = ArgumentParser(
            self.rows,
            ignored=WITHOUT_EFFECT if self._settings else (),
            passes_on=PYTEST_ARGUMENTS in self._settings,
        )

    def parse(self, call: CommandCall) -> SubcommandArguments[_Options]:
        """Parse the arguments behind the subcommand.

        Raises:
            ConfigurationError: one is unknown, or a value is wrong.
        """
        arguments, program = self._parser.parse(call.argv), f"{call.program} {self.name}"
        if arguments.wants_help:
            text = program_help(f"{program} {self._usage}", self._description, self.rows, notes=self._notes)
            return SubcommandArguments(options=self._record(), answer=f"{text}\n")
        if arguments.wants_version:
            return SubcommandArguments(options=self._record(), answer=f"{program} {VERSION}\n")
        refuse_problems(arguments)
        for word in arguments.unknown:
            if (option := word.partition("=")[0]) in RUN_PARSER.known:
                what = f"it is an option of a run, not of {self.name}"
                raise ConfigurationError(f"unknown argument: {option}; {what}; see --help")
        refuse_unknown(arguments.unknown, self._parser)
        if not self._takes_words:
            refuse_unknown(arguments.paths, self._parser)
        own = [one for one in arguments.given if one.setting in self._own]
        given = (*read_variables(self._own, call.environ), *own)
        resolver = PathResolver(cwd=call.cwd, root=call.cwd, home=call.environ.get("HOME", ""))
        options = read_record(self._record, given, resolver)
        origins = Origins({one.setting.name: one.origin for one in given})
        Relations(self._own, options, origins).check()
        notes = rename_notes(given)
        if not self._settings:
            return SubcommandArguments(
                options=options, origins=origins, words=tuple(arguments.paths), notes=notes
            )
        arguments.given = [one for one in arguments.given if one.setting not in self._own]
        loaded = config_of(arguments, call.environ, call.cwd)
        return SubcommandArguments(
            options=options,
            origins=Origins({**loaded.origins, **origins}),
            config=loaded.config,
            notes=(*notes, *loaded.notes),
        )


class NoOptions(Struct, frozen=True, kw_only=True):
    """A subcommand without options of its own."""


class ExplainOptions(Struct, frozen=True, kw_only=True):
    """The options of `explain`."""

    run_id: Annotated[
        str | None,
        option(
            "run-id",
            replace(TEXT, metavar="RUN"),
            "the run to report on; the last ten are kept",
            default="the last one with the file",
            renamed_from="run",
        ),
    ] = None
    json: Annotated[bool, _JSON] = False


class PlanOptions(Struct, frozen=True, kw_only=True):
    """The options of `plan`."""

    nodes: Annotated[
        int,
        option(
            "nodes",
            count(minimum=1, maximum=MAX_NODES),
            "number of machines like this one, each with its shard of the files",
        ),
    ] = 1
    json: Annotated[bool, _JSON] = False


class MergeOptions(Struct, frozen=True, kw_only=True):
    """The options of `merge`."""

    cancelled: Annotated[
        bool,
        flag(
            "cancelled",
            "the CI cancelled the run: what the records lack is no failure, and the exit status is 130",
        ),
    ] = False


class StatusOptions(Struct, frozen=True, kw_only=True):
    """The options of `status`."""

    json: Annotated[bool, _JSON] = False


class WatchOptions(Struct, frozen=True, kw_only=True):
    """The options of `watch`."""

    poll: Annotated[
        bool,
        flag("poll", "look at all files every second or less often, for a file system without notifications"),
    ] = False


class MigrateAction(StrEnum):
    """What `migrate` does."""

    SHOW = "show"
    CHECK = "check"
    APPLY = "apply"
    ROLLBACK = "rollback"


_NEW_COMMANDS = {"run_tests.py": NewCommand.FILE, **{command.value: command for command in NewCommand}}
_NEW_COMMAND = ValueType(parse=_NEW_COMMANDS.get, expected=" or ".join(NewCommand), metavar="NAME")


class MigrateOptions(Struct, frozen=True, kw_only=True):
    """The options of `migrate`."""

    action: Annotated[
        MigrateAction,
        Setting(
            name="action",
            group=Group.OTHER,
            type=choice(MigrateAction),
            summary="what to do",
            constants=tuple((f"--{action}", action.value) for action in MigrateAction if action != "show"),
            values_help=(
                (
                    "check",
                    "list remaining references to the scripts, and test files that only one of the two finds",
                ),
                ("apply", "make the changes, all or none; the scripts become run_tests.sh.backup, ..."),
                ("rollback", "restore every file to its content before --apply"),
            ),
            is_exclusive=True,
            in_file=False,
        ),
    ] = MigrateAction.SHOW
    wrappers: Annotated[
        bool,
        flag(
            "wrappers",
            "keep scripts under the old names that call the new commands, for callers elsewhere",
            conflicts=(
                Conflict(
                    name="action",
                    why="only --apply makes wrappers",
                    values=(MigrateAction.CHECK, MigrateAction.ROLLBACK),
                ),
            ),
        ),
    ] = False
    command: Annotated[
        NewCommand | None,
        option(
            "command",
            _NEW_COMMAND,
            "run-tests (the installed command) or ./run_tests.py (the file in the repository)",
            default="the one that exists",
        ),
    ] = None
    root: Annotated[
        Path | None,
        option(
            "root",
            PATH,
            "the repository",
            default="the current directory",
            variables=(variable_name("root"),),
        ),
    ] = None


_PRINTING = ("output", "color", "verbosity", "ci")
_PLANNED = ("paths", "root", "isolation", "split", "jobs", "oversubscribe", "memory-budget")
"""What decides how files would run."""

SCHEMA = SubcommandTable(
    Subcommand.SCHEMA,
    NoOptions,
    usage="",
    description="Prints the JSON schema of pyproject.toml with [tool.passmuster], for editors and checkers.",
)
COMPLETION = SubcommandTable(
    Subcommand.COMPLETION,
    NoOptions,
    usage="|".join(Shell),
    description="Prints the completion script for a shell.",
    notes=(
        "  bash    source <(run-tests completion bash)     in ~/.bashrc",
        "  zsh     source <(run-tests completion zsh)      in ~/.zshrc, after compinit",
        "  fish    run-tests completion fish | source      in ~/.config/fish/config.fish",
    ),
    takes_words=True,
)
EXPLAIN = SubcommandTable(
    Subcommand.EXPLAIN,
    ExplainOptions,
    usage="[OPTION...] FILE",
    description="Prints how a test file ran in the last run that included it, how its next run is planned"
    " and why, and how its last runs ended. Runs nothing.",
    settings=(*_PLANNED, "machine-folder", "memory-limit", "timeout"),
)
MERGE = SubcommandTable(
    Subcommand.MERGE,
    MergeOptions,
    usage="[OPTION...] DIR...",
    description="Merges the records that --record wrote on the machines of a sharded run: checks that they"
    " belong to one plan and are complete, and reports them as one run, with all requested"
    " reports. Includes coverage if the shards measured it.",
    notes=(
        "Exit status:",
        "  0    every planned file passed",
        "  1    at least one file did not pass",
        "  3    a record is missing, duplicated, of another plan, or incomplete; each is named",
        "  130  a shard was interrupted, or the CI cancelled the run (--cancelled): there is no verdict",
    ),
    settings=(
        *("paths", "root", "python", "allow-no-tests", "history", "regression-factor", "fail-on-regression"),
        *("junit-xml", "report", "events", *_PRINTING),
        *(row.name for row in SETTINGS if row.group is Group.COVERAGE),
    ),
)
MIGRATE = SubcommandTable(
    Subcommand.MIGRATE,
    MigrateOptions,
    usage="[--check|--apply|--rollback] [--wrappers] [--command NAME] [--root PATH]",
    description="Replaces every reference to run_tests.sh and run_ci_replica.sh in a repository by this"
    " program. Without --check, --apply or --rollback it shows what would change, as a diff, and changes"
    " nothing.",
    notes=(
        'A line that contains "passmuster: keep" is not changed, and neither is a file with',
        '"passmuster: keep file".',
    ),
)
PLAN = SubcommandTable(
    Subcommand.PLAN,
    PlanOptions,
    usage="[--jobs N] [--memory SIZE] [--nodes N] [OPTION...] [PATH...]",
    description="Predicts the time and memory of a run of these files from earlier runs, shows what"
    " limits it, and compares other numbers of jobs, memory and machines. Runs nothing.",
    aliases={"memory-budget": "--memory"},
    settings=(*_PLANNED, "integration", "failed", "changed", "limit"),
)
STATUS = SubcommandTable(
    Subcommand.STATUS,
    StatusOptions,
    usage="[OPTION...]",
    description="Prints the runs on this machine, and the runs and the workers on a broker if one is given"
    " by --broker, PASSMUSTER_BROKER_URL, or [tool.passmuster] in the root's pyproject.toml.",
    settings=("root", "machine-folder", "broker", "broker-password-file"),
)
_WATCHED = (Group.SELECTION, Group.EXECUTION, Group.LIMITS, Group.BY_FILE, Group.LAYOUT)
_NOT_WATCHED = {
    *("failed", "changed", "limit", "shuffle", "resume", "cached", "run-timeout", "fail-on-regression"),
}
WATCH = SubcommandTable(
    Subcommand.WATCH,
    WatchOptions,
    usage="[OPTION...] [PATH...]",
    description="Stays, and runs the files that a change affects, at once: by what each file read when it"
    " last passed. Starts with the files that did not pass or whose inputs have changed since.",
    notes=(
        "Keys:",
        "  a        run all files",
        "  f        run the tests that failed last",
        "  Enter    run the files of the last round again",
        "  q        quit; Ctrl-C ends a round, and quits while none runs",
    ),
    settings={
        *(row.name for row in SETTINGS if row.group in _WATCHED and row.name not in _NOT_WATCHED),
        *_PRINTING,
    },
)
SUBCOMMANDS: Mapping[str, SubcommandTable[Any]] = {
    table.name: table for table in (COMPLETION, EXPLAIN, MERGE, MIGRATE, PLAN, SCHEMA, STATUS, WATCH)
}
