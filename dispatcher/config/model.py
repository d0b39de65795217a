"""The configuration of a run, with every value in the type and unit that the program uses.

`TestConfig()` is the configuration of a run without arguments, variables and a configuration file. Its fields
are the table of settings, which yields arguments, variables, keys of the file, help and documents. Add a
setting here, or in the module of its part of the table.

Some modules list the settings that they treat specially: those that a subcommand accepts (`cli.subcommands`),
that the leader of a joined run decides (`join.run_request`), that a worker receives (`queue.worker_process`),
that the rerun of one file leaves out (`config.rerun`), and that an override can set (`config.file`).
"""

# Without `from __future__ import annotations`: the annotations are the table.

from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar

from msgspec import Struct

from dispatcher.config.choices import Explain, FileGroup, LayoutKind, Mode, Override, Oversubscription, Split
from dispatcher.config.settings_machines import MachineSettings
from dispatcher.config.settings_selection import MAX_FILES
from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.task import DEFAULT_GRACE_S, DEFAULT_OUTPUT_LIMIT_BYTES, DEFAULT_TIMEOUT_S
from passmuster.model.units import Amount
from passmuster.settings.setting import Conflict, Group, Requirement, Setting, layout, setting, switch, table
from passmuster.settings.values import (
    BYTES,
    COMMAND,
    MODULES,
    PATH,
    RATIO,
    SIZE,
    TABLE,
    TABLES,
    TEXT,
    TEXTS,
    TIME,
    VARIABLES,
    choice,
    count,
    optional,
)

MAX_JOBS = 4096
"""A higher number of files at once is a typing error: no supported machine has as many cores."""

MAX_RETRIES = 100

DEFAULT_SLOW_TIMEOUT_S = 60.0
"""Seconds after which a running file is reported as slow: a fifth of the default time limit."""

DEFAULT_REGRESSION_FACTOR = 2.0
"""The allowed multiple of a file's usual time or memory: shared machines vary by half."""

_COUNT_FROM_ONE = optional(count(minimum=1, maximum=MAX_FILES))

_execution = partial(setting, group=Group.EXECUTION)
_limit = partial(setting, group=Group.LIMITS)


class Layout(Struct, frozen=True, kw_only=True):
    """The location of test files.

    Each field is a row of the table of settings, as those of `TestConfig`.
    """

    kind: Annotated[
        LayoutKind,
        setting(
            "layout",
            choice(LayoutKind),
            "which files are tests: those that pytest collects, that match the names and folders of the"
            " shell scripts, or that unittest discovers; auto: decide by the project's own files",
            group=Group.SELECTION,
        ),
    ] = LayoutKind.AUTO
    workdir: Annotated[
        str | None,
        layout(
            "workdir",
            TEXT,
            "working directory of the tests, relative to the root",
            "mvp_site if it exists, else the root",
        ),
    ] = None
    unit_roots: Annotated[
        tuple[str, ...] | None,
        layout(
            "unit-roots",
            TEXTS,
            "directories of unit tests, relative to the working directory",
            "tests; if it has none, every test file below the root",
        ),
    ] = None
    integration_roots: Annotated[
        tuple[str, ...] | None,
        layout(
            "integration-roots",
            TEXTS,
            "directories of integration tests",
            "test_integration, tests/test_integration",
        ),
    ] = None
    extra_roots: Annotated[
        tuple[str, ...] | None,
        layout("extra-roots", TEXTS, "further directories of unit tests", "those of the shell scripts"),
    ] = None
    patterns: Annotated[
        tuple[str, ...] | None,
        layout(
            "patterns",
            TEXTS,
            "names of test files, as shell patterns",
            "test_*.py; outside the scripts' layout also *_test.py",
        ),
    ] = None
    exclude: Annotated[
        tuple[str, ...],
        layout(
            "exclude", TEXTS, "names, or paths relative to the working directory, to leave out", "nothing"
        ),
    ] = ()


class TestConfig(MachineSettings, frozen=True, kw_only=True):
    """The configuration of a run.

    Each field is a row of the table of settings (`setting.py`), which describes it. If None means "decide at
    run time", the row's default describes how.
    """

    __test__: ClassVar[bool] = False

    layout: Layout = Layout()
    runner: Annotated[RunnerKind, _execution("runner", choice(RunnerKind), "how each file is executed")] = (
        RunnerKind.AUTO
    )
    command: Annotated[
        tuple[str, ...],
        Setting(
            name="command",
            group=Group.EXECUTION,
            type=COMMAND,
            summary="the project's own command for a file: a list of words with {file} or {module}, with"
            " optional {python}, {slot}, {junit}",
        ),
    ] = ()
    python: Annotated[
        str | None,
        _execution(
            "python",
            TEXT,
            "the project's interpreter: a path, a name on PATH, or the directory of a virtual environment",
            default="venv/, then .venv/ of the root, then $VIRTUAL_ENV, then the runner's own",
        ),
    ] = None
    isolation: Annotated[
        Isolation,
        _execution(
            "isolation",
            choice(Isolation),
            "how to start a file's process: fork it from a fork server, spawn a fresh interpreter, or"
            " fork only if that is known to change nothing",
        ),
    ] = Isolation.AUTO
    split: Annotated[
        Split,
        _execution(
            "split",
            choice(Split),
            "run long files in several parts, each in its own process: auto, where that shortens the run;"
            " force, wherever a file can be cut",
        ),
    ] = Split.OFF
    preload: Annotated[
        tuple[str, ...],
        _execution(
            "preload",
            MODULES,
            "the project's own packages to import before a file's process is forked; may be repeated",
        ),
    ] = ()
    verify_isolation: Annotated[
        bool,
        switch(
            "verify-isolation",
            "run every forked file in a fresh interpreter too, and fail if the results differ",
            group=Group.EXECUTION,
            conflicts=(
                Conflict(name="isolation", why="it compares with forked runs", values=(Isolation.SPAWN,)),
            ),
        ),
    ] = False
    allow_no_tests: Annotated[
        bool, switch("allow-no-tests", "pass a file that runs no test", group=Group.EXECUTION)
    ] = False
    keep_tmp: Annotated[
        bool, switch("keep-tmp", "keep the temporary directory of a file that fails", group=Group.EXECUTION)
    ] = False
    retries: Annotated[
        int,
        _execution("retries", count(minimum=0, maximum=MAX_RETRIES), "how often a failed file runs again"),
    ] = 0
    resume: Annotated[
        str | None,
        _execution(
            "resume",
            optional(TEXT),
            "continue an interrupted run, by ID or `last`; finished files are not rerun",
            default="a new run",
            in_file=False,
            needs=(Requirement(name="history", what="the history"),),
        ),
    ] = None
    history: Annotated[
        bool, switch("history", "read and write .passmuster/ in the root", group=Group.EXECUTION, is_on=True)
    ] = True
    record_inputs: Annotated[
        bool,
        switch(
            "record-inputs",
            "record what each file reads, by which --changed and --cached select files",
            group=Group.EXECUTION,
            is_on=True,
        ),
    ] = True
    cached: Annotated[
        bool,
        switch(
            "cached",
            "report files as passed without running them if all that they read is as when they last passed",
            group=Group.EXECUTION,
            in_file=False,
            needs=(Requirement(name="history", what="the history"),),
            conflicts=(
                Conflict(name="coverage", why="a file that does not run has no coverage data"),
                Conflict(name="verify-isolation", why="it compares runs of every file"),
                Conflict(name="join", why="each machine has its own history"),
            ),
        ),
    ] = False
    input_variables: Annotated[
        tuple[str, ...],
        _execution(
            "input-variables",
            VARIABLES,
            "environment variables that tests read: a change of one affects every file; may be repeated",
        ),
    ] = ()
    max_workers: Annotated[
        int | None,
        _limit(
            "jobs",
            optional(count(minimum=1, maximum=MAX_JOBS), word="auto"),
            "maximum number of files at once",
            default="the smallest of the CPUs, GiB of memory / 2 (at least 2), and 8",
            short="-j",
            aliases=("-n", "--numprocesses"),
        ),
    ] = None
    oversubscription: Annotated[
        Oversubscription | None,
        _limit(
            "oversubscribe",
            choice(Oversubscription),
            "start extra files while running files leave CPUs idle",
            default="auto; off if jobs is given",
            renamed_from="overcommit",
        ),
    ] = None
    memory_budget: Annotated[
        Amount | None,
        _limit(
            "memory-budget",
            optional(SIZE),
            "memory for all test processes together",
            default="the smaller of 4 GiB and 80% of what is available",
        ),
    ] = None
    machine_memory: Annotated[
        Amount | None,
        _limit(
            "machine-memory",
            optional(SIZE),
            "memory for the test processes of all runs on this machine; a share is of what it can give",
            default="80%",
        ),
    ] = None
    machine_folder: Annotated[
        Path | None,
        _limit(
            "machine-folder",
            PATH,
            "directory through which runs of several users or containers share the machine",
            default="one of the user's own",
        ),
    ] = None
    nice: Annotated[
        bool,
        switch(
            "nice",
            "yield to other programs and runs: test processes get a lower priority, and no"
            " further file starts while another run waits",
            group=Group.LIMITS,
        ),
    ] = False
    memory_limit: Annotated[
        Amount | None, _limit("memory-limit", optional(SIZE), "memory for one file", default="the budget")
    ] = None
    timeout_s: Annotated[float, _limit("timeout", TIME, "time for each file", legacy="TEST_TIMEOUT")] = (
        DEFAULT_TIMEOUT_S
    )
    run_timeout_s: Annotated[
        float | None,
        _limit(
            "run-timeout",
            optional(TIME),
            "time for the whole run",
            default="no limit",
            legacy="TEST_SUITE_TIMEOUT",
        ),
    ] = None
    slow_timeout_s: Annotated[
        float,
        _limit(
            "slow-timeout", TIME, "time after which a running file is reported as slow", renamed_from="slow"
        ),
    ] = DEFAULT_SLOW_TIMEOUT_S
    grace_period_s: Annotated[
        float, _limit("grace-period", TIME, "time between SIGTERM and SIGKILL", renamed_from="grace")
    ] = DEFAULT_GRACE_S
    max_fail: Annotated[
        int | None,
        _limit(
            "max-fail",
            _COUNT_FROM_ONE,
            "failed files after which nothing further starts (-x, --exitfirst, --fail-fast, --failfast: 1)",
            default="no limit",
            aliases=("--maxfail",),
            constants=(("-x", "1"), ("--exitfirst", "1"), ("--fail-fast", "1"), ("--failfast", "1")),
        ),
    ] = None
    regression_factor: Annotated[
        float,
        _limit("regression-factor", RATIO, "warn when a file takes this many times its usual time or memory"),
    ] = DEFAULT_REGRESSION_FACTOR
    fail_on_regression: Annotated[
        bool,
        switch(
            "fail-on-regression",
            "fail the run when a file exceeds --regression-factor",
            group=Group.LIMITS,
            only_with=("history", "history-from"),
        ),
    ] = False
    output_limit_bytes: Annotated[int, _limit("output-limit", BYTES, "output kept of each file")] = (
        DEFAULT_OUTPUT_LIMIT_BYTES
    )
    overrides: Annotated[
        tuple[Override, ...],
        table(
            "overrides",
            TABLES,
            "settings for files that match patterns: files, and any of isolation, runner,"
            " command, pytest-args, split, cached, timeout, memory, retries, group, serial",
        ),
    ] = ()
    groups: Annotated[
        tuple[FileGroup, ...],
        table(
            "groups",
            TABLE,
            "concurrency groups, by the name used in overrides: at most max of a group's files run at once",
        ),
    ] = ()
    mode: Annotated[
        Mode,
        Setting(
            name="mode",
            is_exclusive=True,
            group=Group.OTHER,
            type=choice(Mode),
            summary="run nothing; show the files, the plan, or all settings with their origins",
            constants=(
                ("--list", "list"),
                ("--collect-only", "list"),
                ("--co", "list"),
                ("--dry-run", "dry-run"),
                ("--show-config", "show-config"),
            ),
            values_help=(
                ("list", "print the files that would run, and exit"),
                ("dry-run", "print the plan: order, slots, predicted memory and time, and exit"),
                ("show-config", "print every setting with its value and where it came from, and exit"),
            ),
            in_file=False,
        ),
    ] = Mode.RUN
    explain: Annotated[
        Explain | None,
        setting(
            "explain",
            choice(Explain),
            "run nothing; explain which modules are imported before files are forked, which not, and why",
            default="nothing",
            in_file=False,
            conflicts=(Conflict(name="mode", why="each asks for something else"),),
            group=Group.OTHER,
        ),
    ] = None
    strict_args: Annotated[
        bool,
        switch("strict-args", "make an unknown argument an error instead of a warning", group=Group.OTHER),
    ] = False

    @property
    def keeps_inputs(self) -> bool:
        """Whether what files read is recorded: it was not switched off, and something stores it."""
        return self.record_inputs and (self.history or self.record is not None)

    @property
    def usual_runner(self) -> RunnerKind:
        """How a file without an override is executed: by the command, unless a runner was named."""
        if self.command and self.runner is RunnerKind.AUTO:
            return RunnerKind.COMMAND
        return self.runner
