"""Runs a public suite by its authors' command and by Passmuster, and reads what each said of every case."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import fingerprint
from benchmarks.measure import Measured, measure
from benchmarks.ours import REPOSITORY, FileRun, read_record
from benchmarks.public.compare import Case, Outcomes, collect_outcomes
from benchmarks.public.place import PYTEST_RECORDER, UNITTEST_RECORDER, Place

LONGEST_S = 900.0
"""Seconds after which a run is killed."""

WORST_LAST = ("passed", "skipped", "xfailed", "xpassed", "error", "failed")

ALONE_RUNS = 2
"""How often a file is run alone, where that is asked at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRun:
    """One run of a suite.

    Args:
        exit_code: of the command.
        wall_s: seconds.
        cpu_s: CPU seconds of all its processes.
        outcomes: of its cases.
        failed_files: for Passmuster, the files that did not pass, each with status and reason.
    """

    exit_code: int
    wall_s: float
    cpu_s: float
    outcomes: Outcomes
    failed_files: tuple[tuple[str, str], ...] = ()


def plain_run(place: Place, number: int) -> SuiteRun:
    """Return one of the runs of the project's own command, on a fresh copy; it is kept for the next time.

    Args:
        place: the suite.
        number: which of several.
    """
    kept = _kept(place, f"plain-{number}")
    if not kept.with_suffix(".json").exists():
        place.refresh()
    return _run_plainly(place, kept, place.suite.paths)


def plain_alone(place: Place, file: str) -> tuple[Outcomes, ...]:
    """Return the cases of one file that the project's own command runs alone; nothing if it is not pytest."""
    if not place.suite.uses_pytest:
        return ()
    kept = [_kept(place, f"alone-{fingerprint(file)}-{number}") for number in range(ALONE_RUNS)]
    return tuple(_run_plainly(place, name, [file]).outcomes for name in kept)


def our_run(place: Place, work: Path, *, is_first: bool, options: Sequence[str]) -> SuiteRun:
    """Run Passmuster without configuration, as somebody would in the project's folder.

    Args:
        place: the suite.
        work: a folder for logs and events, which are kept there.
        is_first: on a fresh copy, without history; otherwise on what the last run left.
        options: further options of Passmuster.
    """
    suite = place.suite
    if is_first:
        place.refresh()
        if suite.configuration:
            with (place.root / "pyproject.toml").open("a") as project:
                project.write(f"\n[tool.passmuster]\n{suite.configuration}\n")
    label = f"{suite.name}-{'first' if is_first else 'later'}"
    events = work / f"{label}.jsonl"
    events.unlink(missing_ok=True)
    environment = place.environment()
    record = work / f"{label}-record.jsonl"
    record.unlink(missing_ok=True)
    if suite.configuration:
        # The project's own runner executes each file: only the recorder sees its cases.
        environment |= {"PYTHONPATH": str(UNITTEST_RECORDER), "BENCHMARK_RECORD": str(record)}
    command = [sys.executable, str(REPOSITORY / "run_tests.py"), "--events", str(events), *options]
    measured = measure(
        [*command, *suite.paths],
        cwd=place.root,
        environment=environment,
        output=work / f"{label}.log",
        timeout_s=LONGEST_S,
        with_memory=False,
    )
    final = read_record(events).final if events.exists() else {}
    return SuiteRun(
        exit_code=measured.exit_code,
        wall_s=measured.wall_s,
        cpu_s=measured.cpu_s,
        outcomes=_standing(
            record, place.root, failed=[path for path, run in final.items() if run.status != "PASS"]
        )
        if suite.configuration
        else our_outcomes(final),
        failed_files=tuple(
            (path, f"{run.status}: {run.error}")
            for path, run in sorted(final.items())
            if run.status != "PASS"
        ),
    )


def our_outcomes(final: Mapping[str, FileRun]) -> Outcomes:
    """Return the outcome of each case in the attempts of ours that count."""
    return collect_outcomes(
        (Case(path, name_inside(path, name)), outcome)
        for path, run in final.items()
        for name, outcome in run.cases
    )


def name_inside(file: str, case_id: str) -> str:
    """Return the name of a case inside its file, as pytest spells it, for an ID of pytest or of unittest.

    >>> name_inside("tests/test_a.py", "tests/test_a.py::Some::test_it")
    'Some::test_it'
    >>> name_inside("tests/test_a.py", "tests.test_a.Some.test_it")
    'Some::test_it'
    """
    if "::" in case_id:
        return case_id.partition("::")[2]
    for module in ("__main__", Path(file).stem):
        _, found, inside = f".{case_id}".partition(f".{module}.")
        if found:
            return inside.replace(".", "::")
    return "" if case_id.endswith(Path(file).name) else case_id


def _run_plainly(place: Place, kept: Path, arguments: Sequence[str]) -> SuiteRun:
    result = kept.with_suffix(".json")
    if not result.exists():
        record = kept.with_suffix(".jsonl")
        record.unlink(missing_ok=True)
        measured = _measure_plain(place, record, arguments, kept.with_suffix(".log"))
        if measured.exit_code < 0:
            raise LookupError(f"{place.suite.command!r} was ended by signal {-measured.exit_code}")
        fields = {"exit_code": measured.exit_code, "wall_s": measured.wall_s, "cpu_s": measured.cpu_s}
        result.write_text(json.dumps(fields))
    return SuiteRun(
        outcomes=recorded_outcomes(kept.with_suffix(".jsonl"), place.root), **json.loads(result.read_text())
    )


def _measure_plain(place: Place, record: Path, arguments: Sequence[str], log: Path) -> Measured:
    words = shlex.split(place.suite.command)
    environment = {**place.environment(), "BENCHMARK_RECORD": str(record)}
    if place.suite.uses_pytest:
        words += ["-p", PYTEST_RECORDER]
    else:
        environment["PYTHONPATH"] = str(UNITTEST_RECORDER)
    words[0] = shutil.which(words[0], path=environment["PATH"]) or words[0]
    return measure(
        [*words, *arguments],
        cwd=place.root,
        environment=environment,
        output=log,
        timeout_s=LONGEST_S,
        with_memory=False,
    )


def recorded_outcomes(record: Path, root: Path) -> Outcomes:
    """Return the outcome of each case that a recorder has written, files relative to `root`."""
    return collect_outcomes(_recorded_cases(record, root))


def _standing(record: Path, root: Path, *, failed: Sequence[str]) -> Outcomes:
    """Return one outcome of each case where every attempt at a file has recorded its cases.

    Of a file that did not pass, the worst one stands; of another, the last one.
    """
    found: dict[Case, str] = {}
    for case, outcome in _recorded_cases(record, root):
        before = found.get(case, outcome)
        is_worse = WORST_LAST.index(before) > WORST_LAST.index(outcome)
        found[case] = before if case.file in failed and is_worse else outcome
    return collect_outcomes(found.items())


def _recorded_cases(record: Path, root: Path) -> Iterator[tuple[Case, str]]:
    for line in record.read_text("ascii").splitlines() if record.exists() else ():
        file, name, outcome = json.loads(line)
        yield Case(_relative(file, root), name), outcome


def _relative(file: str, root: Path) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file


def _kept(place: Place, name: str) -> Path:
    """Return where a result is kept: it stands as long as the suite's row in the table does."""
    suite = place.suite
    made_from = (
        suite.command,
        suite.python,
        suite.requires,
        suite.paths,
        sorted(suite.env.items()),
        suite.folder,
    )
    folder = place.home / f"plain-{fingerprint(repr(made_from))}"
    folder.mkdir(exist_ok=True)
    return folder / name
