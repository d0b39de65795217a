"""The one table of settings: from it come arguments, variables, keys of the file, help and documents.

Add a setting here and nowhere else: `arguments.py`, `sources.py`, `merge.py`, `show.py` and
`help_text.py` only read this table.
"""

from __future__ import annotations

from dispatcher.config.model import (
    DEFAULT_COVERAGE_DIR,
    DEFAULT_REGRESSION_FACTOR,
    CiChoice,
    ColorChoice,
    Explain,
    LayoutKind,
    Mode,
    Overcommit,
    Verbosity,
)
from dispatcher.config.setting import Group, Setting, file_only, layout, switch, table, valued
from dispatcher.config.settings_machines import MACHINES
from dispatcher.config.values import (
    BYTES,
    COMMAND,
    MODULES,
    PATH,
    PERCENT,
    RATIO,
    REPORT,
    SIZE,
    TABLE,
    TABLES,
    TEXT,
    TEXTS,
    TIME,
    choice,
    count,
    optional,
)
from passmuster.status import Isolation, RunnerKind

MOST_JOBS = 4096
"""More files at once than this is a slip of the finger: no machine we plan for has as many cores."""

MOST_FILES = 10_000_000
MOST_RETRIES = 100

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
    constants=(
        ("--list", "list"),
        ("--collect-only", "list"),
        ("--co", "list"),
        ("--dry-run", "dry-run"),
        ("--show-config", "show-config"),
    ),
    in_file=False,
)

EXPLAIN = valued(
    "explain",
    "explain",
    Group.OTHER,
    choice(Explain),
    "only explain what would be imported before files are forked, what would not, and why",
    "nothing",
    in_file=False,
)

ROOT = valued(
    "root", "root", Group.SELECTION, PATH, "the project's folder", "the current directory", in_file=False
)

SETTINGS: tuple[Setting, ...] = (
    PATHS,
    ROOT,
    switch("integration", "include_integration", Group.SELECTION, "run integration tests too"),
    switch(
        "failed",
        "failed_only",
        Group.SELECTION,
        "only the files that did not pass when they last ran",
        aliases=("--lf", "--last-failed"),
        in_file=False,
    ),
    valued(
        "limit",
        "limit",
        Group.SELECTION,
        _COUNT_FROM_ONE,
        "at most this many files",
        "no limit",
        legacy="CI_TEST_LIMIT",
    ),
    valued(
        "layout",
        "layout.kind",
        Group.SELECTION,
        choice(LayoutKind),
        "which files are tests: those that pytest collects, that the scripts' names and folders say, or that"
        " unittest discovers; auto: the project's own files decide",
        LayoutKind.AUTO.value,
    ),
    valued(
        "runner",
        "runner",
        Group.EXECUTION,
        choice(RunnerKind),
        "how each file is executed",
        RunnerKind.AUTO.value,
    ),
    file_only(
        "command",
        "command",
        Group.EXECUTION,
        COMMAND,
        "the project's own command for a file: a list of words with {file} or {module}, and {python}, {slot},"
        " {junit}",
        "none",
    ),
    valued(
        "python",
        "python",
        Group.EXECUTION,
        TEXT,
        "the project's interpreter: a path, a name on PATH, or a virtual environment's folder",
        "venv/, then .venv/ of the root, then $VIRTUAL_ENV, then the runner's own",
    ),
    valued(
        "isolation",
        "isolation",
        Group.EXECUTION,
        choice(Isolation),
        "how a file's process comes into being: forked from a warm server, a fresh interpreter,"
        " or forked where that is known to change nothing",
        Isolation.AUTO.value,
    ),
    valued(
        "preload",
        "preload",
        Group.EXECUTION,
        MODULES,
        "the project's own packages to import before a file's process is forked; may be repeated",
        "none",
    ),
    switch(
        "verify-isolation",
        "verify_isolation",
        Group.EXECUTION,
        "run every forked file in a fresh interpreter too, and fail where that makes a difference",
    ),
    switch("allow-no-tests", "allow_no_tests", Group.EXECUTION, "let a file that runs no test pass"),
    switch("keep-tmp", "keep_tmp", Group.EXECUTION, "keep the temporary folder of a file that fails"),
    valued(
        "retries",
        "retries",
        Group.EXECUTION,
        count(least=0, most=MOST_RETRIES),
        "how often a file that failed runs again",
        "0",
    ),
    valued(
        "resume",
        "resume",
        Group.EXECUTION,
        optional(TEXT),
        "go on with a run that was broken off, by its id or as `last`; what had ended does not run again",
        "a new run",
        in_file=False,
    ),
    switch("history", "history", Group.EXECUTION, "read and write .passmuster/ in the root", default="true"),
    valued(
        "jobs",
        "max_workers",
        Group.LIMITS,
        optional(count(least=1, most=MOST_JOBS), word="auto"),
        "files at once at most",
        "the smallest of the CPUs, GiB of memory / 2 (at least 2), and 8",
        short="-j",
        aliases=("-n", "--numprocesses"),
    ),
    valued(
        "overcommit",
        "overcommit",
        Group.LIMITS,
        choice(Overcommit),
        "whether further files start while those that run leave processors idle",
        "auto; off where jobs is given",
    ),
    valued(
        "memory-budget",
        "memory_budget",
        Group.LIMITS,
        optional(SIZE),
        "memory for all test processes together",
        "the smaller of 4 GiB and 80% of what is available",
    ),
    valued(
        "machine-memory",
        "machine_memory",
        Group.LIMITS,
        optional(SIZE),
        "memory for the test processes of all runs on this machine; a share is one of what it can give",
        "80%",
    ),
    valued(
        "machine-folder",
        "machine_folder",
        Group.LIMITS,
        PATH,
        "folder in which runs of several users or containers share the machine",
        "one of the user's own",
    ),
    switch(
        "nice",
        "nice",
        Group.LIMITS,
        "give way to other programs and runs: test processes get a lower priority, and no further file starts"
        " while another run waits",
    ),
    valued("memory-limit", "memory_limit", Group.LIMITS, optional(SIZE), "memory for one file", "the budget"),
    valued("timeout", "timeout_s", Group.LIMITS, TIME, "time for each file", "300s", legacy="TEST_TIMEOUT"),
    valued(
        "run-timeout",
        "run_timeout_s",
        Group.LIMITS,
        optional(TIME),
        "time for the whole run",
        "no limit",
        legacy="TEST_SUITE_TIMEOUT",
    ),
    valued("slow", "slow_s", Group.LIMITS, TIME, "time after which a running file is mentioned", "60s"),
    valued("grace", "grace_s", Group.LIMITS, TIME, "time between SIGTERM and SIGKILL", "5s"),
    valued(
        "max-fail",
        "max_fail",
        Group.LIMITS,
        _COUNT_FROM_ONE,
        "failed files after which nothing further starts (-x, --exitfirst, --fail-fast, --failfast: 1)",
        "no limit",
        aliases=("--maxfail",),
        constants=(("-x", "1"), ("--exitfirst", "1"), ("--fail-fast", "1"), ("--failfast", "1")),
    ),
    valued(
        "regression-factor",
        "regression_factor",
        Group.LIMITS,
        RATIO,
        "how many times its own usual time or memory a file may take before it is warned of",
        str(DEFAULT_REGRESSION_FACTOR),
    ),
    switch(
        "fail-on-regression",
        "fail_on_regression",
        Group.LIMITS,
        "fail where a file takes that much more than it used to",
    ),
    valued("output-limit", "output_limit_bytes", Group.LIMITS, BYTES, "output kept of each file", "2MiB"),
    *MACHINES,
    switch("coverage", "enable_coverage", Group.COVERAGE, "measure coverage and report it"),
    valued(
        "coverage-dir",
        "coverage_dir",
        Group.COVERAGE,
        PATH,
        "where the reports go",
        str(DEFAULT_COVERAGE_DIR),
    ),
    valued(
        "coverage-source",
        "coverage_source",
        Group.COVERAGE,
        TEXTS,
        "what is measured; may be repeated",
        "the project's own coverage settings, else the working directory",
    ),
    valued("coverage-xml", "coverage_xml", Group.COVERAGE, PATH, "write a Cobertura XML report", "none"),
    valued(
        "coverage-fail-under",
        "coverage_fail_under",
        Group.COVERAGE,
        optional(PERCENT),
        "percentage below which the run fails",
        "none",
    ),
    valued(
        "coverage-key-files",
        "coverage_key_files",
        Group.COVERAGE,
        TEXTS,
        "a file whose row is printed with the summary; may be repeated",
        "none",
        option="--coverage-key-file",
    ),
    valued(
        "junit-xml",
        "junit_xml",
        Group.OUTPUT,
        PATH,
        "write a JUnit XML report",
        "none",
        aliases=("--junitxml",),
    ),
    valued(
        "report",
        "html_report",
        Group.OUTPUT,
        REPORT,
        "write a report to look at: one page that needs nothing else; report.html among the run's own files,"
        " or where =PATH says",
        "none",
    ),
    valued("events", "events", Group.OUTPUT, PATH, "write every event as a line of JSON", "none"),
    valued(
        "ci",
        "ci",
        Group.OUTPUT,
        choice(CiChoice),
        "for which CI annotations, a summary and folded output are printed; auto: for the one whose variables"
        " are set",
        CiChoice.AUTO.value,
    ),
    valued("color", "color", Group.OUTPUT, choice(ColorChoice), "colour the output", ColorChoice.AUTO.value),
    valued(
        "verbosity",
        "verbosity",
        Group.OUTPUT,
        choice(Verbosity),
        "print less or more",
        Verbosity.NORMAL.value,
        option="",
        constants=(("-q", "quiet"), ("--quiet", "quiet"), ("-v", "verbose"), ("--verbose", "verbose")),
    ),
    layout(
        "workdir",
        TEXT,
        "folder the tests run in, relative to the root",
        "mvp_site where it exists, else the root",
    ),
    layout(
        "unit-roots",
        TEXTS,
        "folders of unit tests, relative to the working directory",
        "tests; where there are none, every test file below the root",
    ),
    layout(
        "integration-roots", TEXTS, "folders of integration tests", "test_integration, tests/test_integration"
    ),
    layout("extra-roots", TEXTS, "further folders of unit tests", "those of the shell scripts"),
    layout(
        "patterns",
        TEXTS,
        "names of test files, as shell patterns",
        "test_*.py; outside the scripts' layout also *_test.py",
    ),
    layout(
        "exclude", TEXTS, "names, or paths relative to the working directory, that are left out", "nothing"
    ),
    table(
        "overrides",
        TABLES,
        "what holds for the files that match patterns: files, and any of isolation, runner, command, timeout,"
        " memory, retries, group, serial",
    ),
    table("groups", TABLE, "files of which only max run at once, by the name that overrides call them"),
    MODE,
    EXPLAIN,
    switch("strict-args", "", Group.OTHER, "make an unknown argument an error instead of a warning"),
)

BY_NAME: dict[str, Setting] = {setting.name: setting for setting in SETTINGS}
