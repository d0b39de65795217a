"""Runners of many files by one command: pytest and what spreads it, and those of unittest's world."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.bed.counting import pytest_fast_sum, pytest_sum, regrtest_sum, stestr_sum, unittest_sum
from benchmarks.bed.model import Counts, Kind, SuiteDefinition, Verdict
from benchmarks.bed.runner import Job, Runner
from benchmarks.public.place import RECORDERS

FILE_GROUPS = "passmuster_benchmark_file_groups"
"""The plugin, beside the recorders, that has pytest-isolated run each file in one process."""

NO_COVERAGE = "not set up here to measure coverage"


class Pytest(Runner):
    """`python -m pytest FILE...`, in one process or spread by a plugin.

    Args:
        name: what it is called in tables.
        options: its options, in which `{cores}` is replaced.
    """

    isolates = False

    def __init__(self, name: str, *options: str) -> None:
        super().__init__(name)
        self._options = options

    def why_not(self, suite: SuiteDefinition) -> str:
        """Say no to scripts and to coverage."""
        if suite.kind is not Kind.PYTEST:
            return "the suite is one of scripts"
        return NO_COVERAGE if suite.with_coverage else suite.refusal(self.name)

    def command(self, job: Job) -> list[str]:
        """Return the command with all files."""
        options = [option.format(cores=job.cores) for option in self._options]
        return [str(job.suite.interpreter), "-m", "pytest", *options, *_paths(job)]

    def verdict(self, job: Job) -> Verdict:
        """Read pytest's last line."""
        return _checked(pytest_sum(job.read_log()), job)


class Rstest(Pytest):
    """`rstest FILE...`, which brings a pytest of its own, 9.1.

    The others have an older one, because click's tests end in a warning of pytest 9.1's that they make an
    error; it is ignored here.
    """

    def command(self, job: Job) -> list[str]:
        """Return the command with all files."""
        python = job.suite.interpreter
        options = [option.format(cores=job.cores) for option in self._options]
        words = ["--python", str(python), "-W", "ignore::pytest.PytestRemovedIn10Warning"]
        return [str(python.with_name("rstest")), *words, *options, *_paths(job)]


class PytestIsolated(Pytest):
    """pytest-isolated: a pytest process for each file, from a plugin that puts each file into a group.

    With its option `--isolated` each test would have a process of its own.
    """

    isolates = True

    def variables(self, job: Job) -> Mapping[str, str]:
        """Return where the plugin is."""
        return {"PYTHONPATH": str(RECORDERS)}


class PytestFast(Pytest):
    """pytest-fast: collects once, and forks workers from that process.

    It runs without its daemon, which would outlive the run, and takes files and plugins only from
    pytest's variable. It adds an option of pytest-xdist's if that is installed, so both must be loaded.
    """

    def command(self, job: Job) -> list[str]:
        """Return the command, without files."""
        return [str(job.suite.interpreter), "-m", "pytest_fast", "--workers", str(job.cores)]

    def variables(self, job: Job) -> Mapping[str, str]:
        """Return the variable with the plugins and the files."""
        plugins = [*job.suite.definition.pytest_options, "-p", "xdist", "-p", "pytest_fast"]
        # pytest warns that it has been imported already, which some suites make an error.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        return {"PYTEST_ADDOPTS": shlex.join([*plugins, *quiet, *_paths(job)])}

    def verdict(self, job: Job) -> Verdict:
        """Read the totals that it prints."""
        return _checked(pytest_fast_sum(job.read_log()), job)


class Discovering(Runner):
    """A runner of unittest's that finds the files by itself, in a folder.

    Args:
        name: what it is called in tables.
        command: makes the command.
        count: reads its output.
    """

    isolates = False

    def __init__(
        self,
        name: str,
        command: Callable[[Job, str], list[str]],
        count: Callable[[str], Counts],
    ) -> None:
        super().__init__(name)
        self._command = command
        self._count = count

    def why_not(self, suite: SuiteDefinition) -> str:
        """Say no where unittest cannot discover the suite."""
        if suite.kind is not Kind.SCRIPT:
            return "the suite is pytest's"
        if suite.discovery is None:
            return "unittest's discovery would find other files, too"
        return suite.refusal(self.name)

    def command(self, job: Job) -> list[str]:
        """Return the command for the suite's folder."""
        return self._command(job, job.suite.definition.discovery or ".")

    def verdict(self, job: Job) -> Verdict:
        """Read the totals that it prints."""
        return _checked(self._count(job.read_log()), job)


class Regrtest(Runner):
    """CPython's own runner, which starts a process for each file, too."""

    def why_not(self, suite: SuiteDefinition) -> str:
        """Say no to all but CPython's own tests."""
        return "" if suite.is_cpython else "runs only CPython's own tests"

    def command(self, job: Job) -> list[str]:
        """Return the command with all files, by the names of their modules."""
        # All resources: that is what `python FILE` means to these tests.
        words = ["-m", "test", f"-j{job.cores}", "-u", "all", "--testdir", str(job.suite.root)]
        return [str(job.suite.interpreter), *words, *(Path(file).stem for file in job.suite.files)]

    def verdict(self, job: Job) -> Verdict:
        """Read the totals that it prints."""
        return _checked(regrtest_sum(job.read_log()), job)


def _paths(job: Job) -> Sequence[str]:
    """Return what pytest is given: a folder where that means the same, as people do.

    It looks for each file that is named among all of the folder's: a thousand names cost minutes.
    """
    discovery = job.suite.definition.discovery
    return job.suite.files if discovery is None else (discovery,)


def _checked(total: Counts, job: Job) -> Verdict:
    """Return an outcome; no test at all is none, whatever the exit status."""
    problem = "" if total.ran else "it counted no test: " + " ".join(job.read_log().split()[-40:])
    return Verdict(total=total, problem=problem)


def _unittest(job: Job, folder: str) -> list[str]:
    return [str(job.suite.interpreter), "-m", "unittest", "discover", "-s", folder, "-t", folder]


def _unittest_parallel(job: Job, folder: str) -> list[str]:
    program = job.suite.interpreter.with_name("unittest-parallel")
    return [str(program), f"-j{job.cores}", "-s", folder, "-t", folder]


def _stestr(job: Job, folder: str) -> list[str]:
    program = job.suite.interpreter.with_name("stestr")
    place = job.work / "stestr"
    place.mkdir()
    repository = ["--repo-url", str(place)]
    words = ["--test-path", folder, "--top-dir", folder, *repository, "run", "--concurrency", str(job.cores)]
    return ["env", f"PATH={program.parent}:/usr/bin:/bin", str(program), *words]


ISOLATED = ("-p", "pytest_isolated.plugin", "-p", FILE_GROUPS, "--isolated-numprocesses={cores}")

POOLED_RUNNERS: Sequence[Runner] = (
    Pytest("pytest", "-p", "no:xdist"),
    *(
        Pytest(f"xdist-{mode}", "-p", "xdist", "-n{cores}", "--dist", mode)
        for mode in ("load", "loadfile", "worksteal")
    ),
    Pytest("pytest-zygote", "-p", "zygote", "--workers", "{cores}"),
    Rstest("rstest", "-n", "{cores}"),
    Rstest("rstest-fork-pool", "-n", "{cores}", "--fork-pool"),
    PytestFast("pytest-fast"),
    PytestIsolated("pytest-isolated", *ISOLATED),
    Discovering("unittest", _unittest, unittest_sum),
    Discovering("unittest-parallel", _unittest_parallel, unittest_sum),
    Discovering("stestr", _stestr, stestr_sum),
    Regrtest("regrtest"),
)
