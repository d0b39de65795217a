"""What a runner is to the bed, and what all of them are given."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bed.model import BedSuite, Kind, SuiteDefinition, Verdict
from benchmarks.measure import plain_environment


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A suite for a runner, and where to put things.

    Args:
        suite: what is run.
        work: an empty directory for outputs of this run.
        state: a directory of this pair alone, kept between runs and sessions.
        cores: CPUs, and so the files or workers at once for runners that have to be told.
    """

    suite: BedSuite
    work: Path
    state: Path
    cores: int

    @property
    def log(self) -> Path:
        """The file that gets the runner's stdout and stderr."""
        return self.work / "output.log"

    def read_log(self) -> str:
        """Return what the runner printed."""
        return self.log.read_text("utf-8", "replace")

    def list_file(self) -> Path:
        """Write the suite's files, a line each, for runners that read them; return the list's path."""
        path = self.work / "files.txt"
        path.write_text("".join(f"{file}\n" for file in self.suite.files))
        return path

    def environment(self) -> dict[str, str]:
        """Return the environment of every runner: plain, and without plugins that nobody asked for."""
        added: Mapping[str, str] = {}
        if self.suite.kind is Kind.PYTEST:
            added = {
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
                "PYTEST_ADDOPTS": " ".join(self.suite.definition.pytest_options),
            }
        return {**plain_environment(), **added, **dict(self.suite.definition.environment)}


class Runner(ABC):
    """Something that runs a suite.

    Args:
        name: what it is called in tables.
    """

    isolates = True
    """Whether each file has a process of its own, so that no run is shorter than the longest file."""

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def why_not(self, suite: SuiteDefinition) -> str:
        """Return why it cannot run this suite here; empty: it can."""

    @abstractmethod
    def command(self, job: Job) -> list[str]:
        """Return the command that is measured; what it needs is made here."""

    def variables(self, job: Job) -> Mapping[str, str]:
        """Return variables that its command gets beside those of the job, or in their place."""
        return {}

    @abstractmethod
    def verdict(self, job: Job) -> Verdict:
        """Return the outcome of the run that has just ended."""

    def clean_up(self, job: Job) -> None:  # noqa: B027 - most leave nothing behind.
        """Put away what must not be there when the next runner starts."""


def missing_program(program: str, package: str) -> str:
    """Return that a program is not installed; empty: it is.

    Args:
        program: its name.
        package: what to install.
    """
    return "" if shutil.which(program) else f"{program} is not installed (Debian package {package})"


def available_bytes() -> int:
    """Return the memory that the machine has left."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
