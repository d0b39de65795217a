"""The one table of settings: from it come arguments, variables, keys of the file, help and documents.

Add a setting here and nowhere else: `arguments.py`, `sources.py`, `merge.py`, `show.py` and
`help_text.py` only read this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dispatcher.config.model import DEFAULT_COVERAGE_DIR, ColorChoice, Mode, Verbosity
from dispatcher.config.values import (
    BYTES,
    FLAG,
    PATH,
    PERCENT,
    SIZE,
    TEXT,
    TEXTS,
    TIME,
    Kind,
    choice,
    count,
    optional,
)
from passmuster.status import RunnerKind

MOST_JOBS = 4096
"""More files at once than this is a slip of the finger: no machine we plan for has as many cores."""

MOST_FILES = 10_000_000
MOST_RETRIES = 100


class Group(StrEnum):
    """The headings of the help text, in their order."""

    SELECTION = "What runs"
    EXECUTION = "How a file runs"
    LIMITS = "Limits"
    COVERAGE = "Coverage"
    OUTPUT = "Output"
    LAYOUT = "Layout (configuration file and variables only)"
    OTHER = "Other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One thing a user may set.

    Args:
        name: its name for `--show-config`, and its key in the configuration file.
        target: the field of `TestConfig` it fills; `layout.X` for one of `Layout`; empty: neither.
        group: the heading of the help text under which it stands.
        kind: how its text is read.
        summary: the help text, a fragment without a full stop.
        default: what holds when nothing is given, in words.
        options: arguments that take a value.
        constants: arguments that stand for a value, each with that value's text.
        variables: environment variables, the strongest first.
        in_file: whether the configuration file may set it.
        repeats: whether a further argument adds to the earlier ones instead of replacing them.
    """

    name: str
    target: str
    group: Group
    kind: Kind
    summary: str
    default: str
    options: tuple[str, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()
    variables: tuple[str, ...] = ()
    in_file: bool = True
    repeats: bool = False


def variable_name(name: str) -> str:
    """Return the environment variable of a setting: `memory-limit` is `PASSMUSTER_MEMORY_LIMIT`."""
    return f"PASSMUSTER_{name.upper().replace('-', '_')}"


def _valued(
    name: str,
    target: str,
    group: Group,
    kind: Kind,
    summary: str,
    default: str,
    *,
    short: str = "",
    constants: tuple[tuple[str, str], ...] = (),
    legacy: str = "",
    option: str | None = None,
    in_file: bool = True,
) -> Setting:
    long = f"--{name}" if option is None else option
    return Setting(
        name=name,
        target=target,
        group=group,
        kind=kind,
        summary=summary,
        default=default,
        options=tuple(word for word in (short, long) if word),
        constants=constants,
        variables=tuple(word for word in (variable_name(name), legacy) if word),
        in_file=in_file,
        repeats=kind.is_list,
    )


def _switch(
    name: str, target: str, group: Group, summary: str, *, default: str = "false", in_file: bool = True
) -> Setting:
    constants = ((f"--{name}", "true"), (f"--no-{name}", "false"))
    return Setting(
        name=name,
        target=target,
        group=group,
        kind=FLAG,
        summary=summary,
        default=default,
        constants=constants if default == "false" else constants[::-1],
        variables=(variable_name(name),),
        in_file=in_file,
    )


def _layout(name: str, kind: Kind, summary: str, default: str) -> Setting:
    target = f"layout.{name.replace('-', '_')}"
    return _valued(name, target, Group.LAYOUT, kind, summary, default, option="")


_COUNT_FROM_ONE = optional(count(least=1, most=MOST_FILES))

PATHS = Setting(
    name="paths",
    target="paths",
    group=Group.SELECTION,
    kind=TEXTS,
    summary="files or folders to which the run is narrowed",
    default="everything",
    in_file=False,
)

MODE = Setting(
    name="mode",
    target="mode",
    group=Group.OTHER,
    kind=choice(Mode),
    summary="only show something: the files, the plan, or all settings with their origins",
    default=Mode.RUN.value,
    constants=(("--list", "list"), ("--dry-run", "dry-run"), ("--show-config", "show-config")),
    in_file=False,
)

ROOT = _valued(
    "root", "root", Group.SELECTION, PATH, "the project's folder", "the current directory", in_file=False
)

SETTINGS: tuple[Setting, ...] = (
    PATHS,
    ROOT,
    _switch("integration", "include_integration", Group.SELECTION, "run integration tests too"),
    _switch(
        "failed",
        "failed_only",
        Group.SELECTION,
        "only the files that did not pass when they last ran",
        in_file=False,
    ),
    _valued(
        "limit",
        "limit",
        Group.SELECTION,
        _COUNT_FROM_ONE,
        "at most this many files",
        "no limit",
        legacy="CI_TEST_LIMIT",
    ),
    _valued(
        "runner",
        "runner",
        Group.EXECUTION,
        choice(RunnerKind),
        "how each file is executed",
        RunnerKind.AUTO.value,
    ),
    _valued(
        "python",
        "python",
        Group.EXECUTION,
        TEXT,
        "the project's interpreter: a path, a name on PATH, or a virtual environment's folder",
        "venv/, then .venv/ of the root, then $VIRTUAL_ENV, then the runner's own",
    ),
    _switch("allow-no-tests", "allow_no_tests", Group.EXECUTION, "let a file that runs no test pass"),
    _switch("keep-tmp", "keep_tmp", Group.EXECUTION, "keep the temporary folder of a file that fails"),
    _valued(
        "retries",
        "retries",
        Group.EXECUTION,
        count(least=0, most=MOST_RETRIES),
        "how often a file that failed runs again",
        "0",
    ),
    _switch("history", "history", Group.EXECUTION, "read and write .passmuster/ in the root", default="true"),
    _valued(
        "jobs",
        "max_workers",
        Group.LIMITS,
        optional(count(least=1, most=MOST_JOBS)),
        "files at once at most",
        "the smallest of the CPUs, GiB of memory / 2 (at least 2), and 8",
        short="-j",
    ),
    _valued(
        "memory-budget",
        "memory_budget",
        Group.LIMITS,
        optional(SIZE),
        "memory for all test processes together",
        "the smaller of 4 GiB and 80% of what is available",
    ),
    _valued(
        "memory-limit", "memory_limit", Group.LIMITS, optional(SIZE), "memory for one file", "the budget"
    ),
    _valued("timeout", "timeout_s", Group.LIMITS, TIME, "time for each file", "300s", legacy="TEST_TIMEOUT"),
    _valued(
        "run-timeout",
        "run_timeout_s",
        Group.LIMITS,
        optional(TIME),
        "time for the whole run",
        "no limit",
        legacy="TEST_SUITE_TIMEOUT",
    ),
    _valued("slow", "slow_s", Group.LIMITS, TIME, "time after which a running file is mentioned", "60s"),
    _valued("grace", "grace_s", Group.LIMITS, TIME, "time between SIGTERM and SIGKILL", "5s"),
    _valued(
        "max-fail",
        "max_fail",
        Group.LIMITS,
        _COUNT_FROM_ONE,
        "failed files after which nothing further starts (-x, --fail-fast: 1)",
        "no limit",
        constants=(("-x", "1"), ("--fail-fast", "1")),
    ),
    _valued("output-limit", "output_limit_bytes", Group.LIMITS, BYTES, "output kept of each file", "2MiB"),
    _switch("coverage", "enable_coverage", Group.COVERAGE, "measure coverage and report it"),
    _valued(
        "coverage-dir",
        "coverage_dir",
        Group.COVERAGE,
        PATH,
        "where the reports go",
        str(DEFAULT_COVERAGE_DIR),
    ),
    _valued(
        "coverage-source",
        "coverage_source",
        Group.COVERAGE,
        TEXTS,
        "what is measured; may be repeated",
        "the project's own coverage settings, else the working directory",
    ),
    _valued("coverage-xml", "coverage_xml", Group.COVERAGE, PATH, "write a Cobertura XML report", "none"),
    _valued(
        "coverage-fail-under",
        "coverage_fail_under",
        Group.COVERAGE,
        optional(PERCENT),
        "percentage below which the run fails",
        "none",
    ),
    _valued(
        "coverage-key-files",
        "coverage_key_files",
        Group.COVERAGE,
        TEXTS,
        "a file whose row is printed with the summary; may be repeated",
        "none",
        option="--coverage-key-file",
    ),
    _valued("junit-xml", "junit_xml", Group.OUTPUT, PATH, "write a JUnit XML report", "none"),
    _valued("events", "events", Group.OUTPUT, PATH, "write every event as a line of JSON", "none"),
    _valued("color", "color", Group.OUTPUT, choice(ColorChoice), "colour the output", ColorChoice.AUTO.value),
    _valued(
        "verbosity",
        "verbosity",
        Group.OUTPUT,
        choice(Verbosity),
        "print less or more",
        Verbosity.NORMAL.value,
        option="",
        constants=(("-q", "quiet"), ("--quiet", "quiet"), ("-v", "verbose"), ("--verbose", "verbose")),
    ),
    _layout(
        "workdir",
        TEXT,
        "folder the tests run in, relative to the root",
        "mvp_site where it exists, else the root",
    ),
    _layout(
        "unit-roots",
        TEXTS,
        "folders of unit tests, relative to the working directory",
        "tests; where there are none, every test file below the root",
    ),
    _layout(
        "integration-roots", TEXTS, "folders of integration tests", "test_integration, tests/test_integration"
    ),
    _layout("extra-roots", TEXTS, "further folders of unit tests", "those of the shell scripts"),
    _layout(
        "patterns",
        TEXTS,
        "names of test files, as shell patterns",
        "test_*.py; outside the scripts' layout also *_test.py",
    ),
    _layout(
        "exclude", TEXTS, "names, or paths relative to the working directory, that are left out", "nothing"
    ),
    MODE,
    _switch("strict-args", "", Group.OTHER, "make an unknown argument an error instead of a warning"),
)

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}
