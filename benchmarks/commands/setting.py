"""What every subcommand is given, and how each runs our runner."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Measured, measure, plain_environment
from benchmarks.ours import RunRecord, our_command, read_record

GIB = 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every subcommand is given.

    Args:
        cache: where suites and environments are kept between runs.
        output: the JSON file to write; None: none.
        rounds: how often each variant is measured, in turns.
        jobs: files at once for our runner; None: its default.
        seed: of the suites.
        files: how many the suite of `queue` has.
        only: the suites of `outcomes`, or the parts of `machine`, that are wanted; none: all.
        ours_options: further options of our runner.
    """

    cache: Path
    output: Path | None
    rounds: int
    jobs: int | None
    seed: int
    files: int = 1000
    only: tuple[str, ...] = ()
    ours_options: tuple[str, ...] = ()

    @property
    def work(self) -> Path:
        """A directory for outputs and event files of this run."""
        folder = self.cache / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def fresh_suite(folder: Path) -> Path:
    """Return an empty directory for a suite."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def forget_history(root: Path) -> None:
    """Remove what our runner remembers of a project."""
    shutil.rmtree(root / ".passmuster", ignore_errors=True)


def run_ours(
    setting: Setting,
    root: Path,
    *,
    interpreter: Path,
    budget_bytes: int,
    options: Sequence[str] = (),
    paths: Sequence[str] = (),
    limit_bytes: int | None = None,
    environment: Mapping[str, str] | None = None,
) -> tuple[Measured, RunRecord]:
    """Run a project by our runner, measured; return that and what it says itself.

    Args:
        setting: of the benchmark.
        root: the project's folder.
        interpreter: the project's Python.
        budget_bytes: the budget it has by its options, or by default.
        options: further options.
        paths: files to run; none: all.
        limit_bytes: hard limit of its cgroup; None: none.
        environment: its environment; None: a plain one.
    """
    events = setting.work / "events.jsonl"
    events.unlink(missing_ok=True)
    jobs = [] if setting.jobs is None else ["--jobs", str(setting.jobs)]
    measured = measure(
        our_command(
            root,
            interpreter=interpreter,
            events=events,
            options=[*jobs, *options, *setting.ours_options],
            paths=paths,
        ),
        cwd=root,
        environment=plain_environment() if environment is None else environment,
        output=setting.work / "ours.log",
        budget_bytes=budget_bytes,
        limit_bytes=limit_bytes,
    )
    return measured, read_record(events)
