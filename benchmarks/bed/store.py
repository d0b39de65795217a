"""The file of results: read, and written anew after every run, so that a killed session keeps what it has."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bed.model import BedRun, Counts, FileCounts, Ledger, Machine, NotMeasured, Verdict


def this_machine() -> Machine:
    """Return what is measured on."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=platform.release(),
        python=platform.python_version(),
    )


def read_ledger(path: Path | None) -> Ledger:
    """Return what a file of results holds; a file that is not there, or none, holds nothing.

    Raises:
        ValueError: it is no file of results.
    """
    if path is None or not path.exists():
        return Ledger(machine=this_machine())
    document = json.loads(path.read_text())
    try:
        return Ledger(
            machine=Machine(**document["machine"]),
            runs=tuple(_read_run(entry) for entry in document["runs"]),
            not_measured=tuple(NotMeasured(**entry) for entry in document["not_measured"]),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} is no file of the bed's results: {error}") from error


def write_ledger(path: Path | None, ledger: Ledger) -> None:
    """Replace a file of results at once; without one nothing is written."""
    if path is None:
        return
    document = {
        "machine": dataclasses.asdict(ledger.machine),
        "not_measured": [dataclasses.asdict(entry) for entry in ledger.not_measured],
        "runs": [_written_run(run) for run in ledger.runs],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.writing")
    beside.write_text(json.dumps(document) + "\n")
    beside.replace(path)


def with_run(ledger: Ledger, run: BedRun) -> Ledger:
    """Return the results with one more run; its pair is no longer one that was not measured."""
    others = (
        entry for entry in ledger.not_measured if (entry.suite, entry.runner) != (run.suite, run.runner)
    )
    return dataclasses.replace(ledger, runs=(*ledger.runs, run), not_measured=tuple(others))


def with_not_measured(ledger: Ledger, added: NotMeasured) -> Ledger:
    """Return the results with a pair that was not measured; one that was measured before stays as it is."""
    if any((run.suite, run.runner) == (added.suite, added.runner) for run in ledger.runs):
        return ledger
    kept = (one for one in ledger.not_measured if (one.suite, one.runner) != (added.suite, added.runner))
    return dataclasses.replace(ledger, not_measured=(*kept, added))


def _written_run(run: BedRun) -> dict[str, Any]:
    """Return a run as JSON has it; the files' counts, by far the most of it, as short lists."""
    document = dataclasses.asdict(run)
    document["verdict"]["by_file"] = [
        [entry.path, *dataclasses.astuple(entry.counts)] for entry in run.verdict.by_file
    ]
    return document


def _read_run(document: Mapping[str, Any]) -> BedRun:
    verdict = dict(document["verdict"])
    bad_files = verdict["bad_files"]
    verdict |= {
        "total": Counts(**verdict["total"]),
        "bad_files": None if bad_files is None else tuple(bad_files),
        "by_file": tuple(
            FileCounts(path=path, counts=Counts(ran=ran, failed=failed, errors=errors, skipped=skipped))
            for path, ran, failed, errors, skipped in verdict["by_file"]
        ),
    }
    return BedRun(**{**document, "verdict": Verdict(**verdict)})
