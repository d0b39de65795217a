"""The configuration of a run, with every value in the type and unit that the program uses.

`TestConfig()` is what a run without any argument, variable or configuration file gets. Where a value
of None means "decide at run time", its documentation says how.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from msgspec import Struct

from dispatcher.config.shard import Shard
from passmuster.hidden_fields import repr_without
from passmuster.status import Isolation, RunnerKind
from passmuster.task import DEFAULT_GRACE_S, DEFAULT_OUTPUT_LIMIT_BYTES, DEFAULT_TIMEOUT_S
from passmuster.units import Amount

DEFAULT_COVERAGE_DIR = Path("/tmp/worldarchitectai/coverage")
"""Where the shell scripts put their coverage reports: their users' other tools read it there."""

DEFAULT_SLOW_S = 60.0
"""Seconds after which a running file is mentioned: a fifth of the default time limit."""

DEFAULT_WAIT_WORKERS_S = 60.0
"""Seconds to wait for a first worker: a container takes some of them to start."""

DEFAULT_REGRESSION_FACTOR = 2.0
"""What times its own usual time or memory a file may take: shared machines vary by half of it."""

SERIAL = "serial: "
"""How the name of a group begins that `serial = true` makes: one of its files runs at a time."""


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
    """Who decides which files are tests, and how they run."""

    AUTO = "auto"
    """The project's own files decide which of the others it is."""
    PYTEST = "pytest"
    """pytest decides which files are tests, and runs them all."""
    SCRIPTS = "scripts"
    """Names and folders decide; a file with a `__main__` guard runs as `python FILE`."""
    UNITTEST = "unittest"
    """The files that `python -m unittest` would discover, run by unittest."""


class CiChoice(StrEnum):
    """For which CI's pages something is printed."""

    AUTO = "auto"
    NONE = "none"
    GITHUB = "github"
    GITLAB = "gitlab"
    BUILDKITE = "buildkite"
    AZURE = "azure"


class Overcommit(StrEnum):
    """Whether more files run than the machine has places for, while those that run leave processors idle."""

    OFF = "off"
    AUTO = "auto"


class Explain(StrEnum):
    """What the command explains instead of running."""

    PRELOAD = "preload"


class Override(Struct, frozen=True, kw_only=True):
    """What holds for some files only; None everywhere: as for all others.

    Args:
        files: shell patterns of paths, relative to the root; `*` stays within a folder, `**` does not, and a
            folder stands for all that is in it.
        isolation: how their processes come into being.
        runner: how they are executed.
        timeout_s: wall-clock seconds for each.
        memory: what each may use.
        retries: how often one that failed runs again.
        group: the group they belong to; empty: to none.
        command: the words of the command that runs each of them, as `TestConfig.command`.
    """

    files: tuple[str, ...]
    isolation: Isolation | None = None
    runner: RunnerKind | None = None
    timeout_s: float | None = None
    memory: Amount | None = None
    retries: int | None = None
    group: str | None = None
    command: tuple[str, ...] | None = None


class FileGroup(Struct, frozen=True, kw_only=True):
    """Files of which only so many run at once.

    Args:
        name: what overrides call it.
        most: how many of its files may run at the same time.
    """

    name: str
    most: int


class Layout(Struct, frozen=True, kw_only=True):
    """Where test files lie.

    Args:
        kind: who decides which files are tests.
        workdir: directory the tests run in, relative to the root; None: `mvp_site` where it exists,
            else the root.
        unit_roots: directories searched for unit tests, relative to `workdir`; None: the layout of
            the shell scripts, and where that holds nothing every test file below the root.
        integration_roots: directories searched when integration tests are included; None: the shell
            scripts' own.
        extra_roots: further directories of unit tests; None: the shell scripts' own.
        patterns: names of test files, as shell patterns.
        exclude: directories never entered: names, or paths relative to `workdir`.
    """

    kind: LayoutKind = LayoutKind.AUTO
    workdir: str | None = None
    unit_roots: tuple[str, ...] | None = None
    integration_roots: tuple[str, ...] | None = None
    extra_roots: tuple[str, ...] | None = None
    patterns: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()


class TestConfig(Struct, frozen=True, kw_only=True):
    """What a run is asked to do.

    Args:
        root: the project root, absolute once loaded.
        paths: files or directories to which the run is narrowed; empty: everything.
        include_integration: whether integration tests run too.
        enable_coverage: whether coverage is measured and reported.
        mode: run, or only show something.
        explain: what to explain instead of running; None: nothing.
        layout: where test files lie.
        runner: how each file is executed.
        command: the words of the command that runs a file, with the placeholders of
            `passmuster.command_template`; empty: there is none.
        isolation: how the files' processes come into being.
        preload: the project's own packages that are imported before a file's process is forked.
        verify_isolation: whether every forked file runs once more in a fresh interpreter, for comparison.
        python: the project's interpreter; None: `venv/` or `.venv/` of the root, `$VIRTUAL_ENV`, else
            the interpreter that the runner's own environment was made from.
        max_workers: files at once at most; None: `min(cpus, max(2, GiB / 2), 8)`.
        overcommit: whether further files run while processors are idle; None: yes, unless `max_workers`
            says how many.
        memory_budget: what all test processes together may use; None: the smaller of 4 GiB and 80 %
            of what is available.
        machine_memory: what the test processes of all runs on this machine may use together; None: 80 % of
            what it can give.
        machine_folder: where runs of several users or containers meet to share it; None: in a folder of the
            user's own.
        nice: whether the run gives way to other programs and runs.
        memory_limit: what one file may use; None: the budget.
        timeout_s: wall-clock seconds for each file.
        run_timeout_s: wall-clock seconds for the whole run; None: no limit.
        slow_s: seconds after which a running file is mentioned.
        grace_s: seconds between SIGTERM and SIGKILL.
        retries: how often a file that failed runs again.
        max_fail: failed files after which nothing further starts; None: no limit.
        limit: at most this many files; None: all.
        failed_only: only the files that did not pass when they last ran.
        allow_no_tests: whether a file that runs no test passes.
        keep_tmp: whether the private TMPDIR of a file that fails is kept.
        output_limit_bytes: bytes of a file's output that are kept.
        broker: the address of the server over which workers run the files, password included; None: this
            machine runs them.
        broker_password_file: the file with the server's password; None: the address has it, or there is none.
        secret_file: the file with the secret that signs messages; None: `$PASSMUSTER_SECRET`.
        wait_workers_s: seconds to wait for a first worker.
        mixed_workers: whether a run ends once its workers' interpreters or packages are seen to differ.
        tail: the file of a run on the broker whose output is printed instead of running anything; None: none.
        tail_run: the run it is of; None: the one that has the file.
        cluster: workers on this machine that the run starts for itself, with a server; None: none.
        ship: whether the project's files are sent to the workers; else these must have the same ones.
        join: the run in which this machine takes part with others that say the same; None: no such run.
        shard: the part of the run that this machine has; None: all of it.
        history_from: the history by which shards are balanced; None: by the number of files.
        record: the folder below which everything is written down for `merge`; None: nowhere.
        coverage_dir: where the coverage reports go.
        coverage_source: what is measured; empty: the project's own coverage settings, else `.`.
        coverage_xml: where a Cobertura XML report goes; None: nowhere.
        coverage_fail_under: percent below which the run fails; None: never.
        coverage_key_files: files whose rows are printed with the coverage summary.
        junit_xml: where the JUnit report goes; None: nowhere.
        html_report: where the page with the report goes, an empty path meaning among the run's own files;
            None: nowhere.
        regression_factor: how many times its usual time or memory a file may take before it is warned of.
        fail_on_regression: whether that makes the run fail.
        ci: for which CI's pages something is printed.
        events: where the events go, as JSON Lines; None: nowhere.
        color: whether output is coloured.
        verbosity: how much is printed.
        resume: the id of the run to go on with, or `last`; None: a new run begins.
        history: whether `.passmuster/` in the root is read and written.
        overrides: what holds for some files only; later ones are stronger.
        groups: the groups that overrides put files into.
    """

    __test__: ClassVar[bool] = False

    root: Path = Path()
    paths: tuple[str, ...] = ()
    include_integration: bool = False
    enable_coverage: bool = False
    mode: Mode = Mode.RUN
    explain: Explain | None = None
    layout: Layout = Layout()
    runner: RunnerKind = RunnerKind.AUTO
    command: tuple[str, ...] = ()
    isolation: Isolation = Isolation.AUTO
    preload: tuple[str, ...] = ()
    verify_isolation: bool = False
    python: str | None = None
    max_workers: int | None = None
    overcommit: Overcommit | None = None
    memory_budget: Amount | None = None
    machine_memory: Amount | None = None
    machine_folder: Path | None = None
    nice: bool = False
    memory_limit: Amount | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    run_timeout_s: float | None = None
    slow_s: float = DEFAULT_SLOW_S
    grace_s: float = DEFAULT_GRACE_S
    retries: int = 0
    max_fail: int | None = None
    limit: int | None = None
    failed_only: bool = False
    allow_no_tests: bool = False
    keep_tmp: bool = False
    output_limit_bytes: int = DEFAULT_OUTPUT_LIMIT_BYTES
    broker: str | None = None
    broker_password_file: Path | None = None
    secret_file: Path | None = None
    wait_workers_s: float = DEFAULT_WAIT_WORKERS_S
    mixed_workers: MixedWorkers = MixedWorkers.WARN
    cluster: int | None = None
    ship: bool = False
    tail: str | None = None
    tail_run: str | None = None
    join: str | None = None
    shard: Shard | None = None
    history_from: Path | None = None
    record: Path | None = None
    coverage_dir: Path = DEFAULT_COVERAGE_DIR
    coverage_source: tuple[str, ...] = ()
    coverage_xml: Path | None = None
    coverage_fail_under: float | None = None
    coverage_key_files: tuple[str, ...] = ()
    junit_xml: Path | None = None
    html_report: Path | None = None
    regression_factor: float = DEFAULT_REGRESSION_FACTOR
    fail_on_regression: bool = False
    ci: CiChoice = CiChoice.AUTO
    events: Path | None = None
    color: ColorChoice = ColorChoice.AUTO
    verbosity: Verbosity = Verbosity.NORMAL
    resume: str | None = None
    history: bool = True
    overrides: tuple[Override, ...] = ()
    groups: tuple[FileGroup, ...] = ()

    __repr__ = repr_without("broker")

    @property
    def usual_runner(self) -> RunnerKind:
        """How a file is executed for which no override says it: by the command, unless a runner was named."""
        if self.command and self.runner is RunnerKind.AUTO:
            return RunnerKind.COMMAND
        return self.runner
