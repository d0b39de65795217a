"""`overhead`: what ours adds to each of 200 trivial files, against bare fork and exec of the same command.

Both are run with 200 files and with a few, so that what is paid once can be told from what each file costs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import GIB, Setting, fresh_suite, run_ours
from benchmarks.environments import base_interpreter
from benchmarks.measure import Measured, measure, plain_environment
from benchmarks.peers import bare_command
from benchmarks.suites import trivial
from benchmarks.tables import median, print_table, spread, write_json

FILES = 200
FEW = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadRecord:
    """One measured run.

    Args:
        variant: `bare` or `ours`.
        files: how many.
        jobs: how many at once.
        measured: what it took.
        passed: how many passed.
    """

    variant: str
    files: int
    jobs: int
    measured: Measured
    passed: int


def run(setting: Setting) -> bool:
    """Measure and print; return whether every file passed."""
    interpreter = base_interpreter()
    jobs = setting.jobs or len(os.sched_getaffinity(0))
    root = fresh_suite(setting.cache / "suites" / "trivial")
    files = trivial.write_suite(root, files=FILES)
    _bare(setting, root, files, interpreter, jobs)
    _ours(setting, root, files, interpreter, jobs)
    records: list[OverheadRecord] = []
    for _ in range(setting.rounds):
        for some in (files, files[:FEW]):
            records.append(_bare(setting, root, some, interpreter, jobs))
            records.append(_ours(setting, root, some, interpreter, jobs))
    _print(records, jobs)
    write_json(setting.output, "overhead", records)
    return all(record.passed == record.files for record in records)


def _bare(setting: Setting, root: Path, files: list[Path], interpreter: Path, jobs: int) -> OverheadRecord:
    measured = measure(
        bare_command(interpreter, files, jobs=jobs, log=setting.work / "bare.log"),
        cwd=root,
        environment=plain_environment(),
        output=setting.work / "bare-loop.log",
    )
    passed = len(files) if measured.exit_code == 0 else 0
    return OverheadRecord(variant="bare", files=len(files), jobs=jobs, measured=measured, passed=passed)


def _ours(setting: Setting, root: Path, files: list[Path], interpreter: Path, jobs: int) -> OverheadRecord:
    measured, record = run_ours(
        setting,
        root,
        interpreter=interpreter,
        budget_bytes=4 * GIB,
        options=[] if setting.jobs is not None else ["--jobs", str(jobs)],
        paths=[f"tests/{file.name}" for file in files],
    )
    passed = sum(attempt.status == "PASS" for attempt in record.final.values())
    return OverheadRecord(variant="ours", files=len(files), jobs=jobs, measured=measured, passed=passed)


def _print(records: list[OverheadRecord], jobs: int) -> None:
    rows: list[list[str]] = []
    for files in (FILES, FEW):
        for variant in ("bare", "ours"):
            mine = [record for record in records if (record.files, record.variant) == (files, variant)]
            rows.append(
                [
                    f"{variant}, {files} files",
                    spread([record.measured.wall_s * 1000 for record in mine], 0),
                    spread([record.measured.wall_s * 1000 * jobs / files for record in mine], 1),
                    spread([record.measured.cpu_s * 1000 for record in mine], 0),
                    spread([record.measured.cpu_s * 1000 / files for record in mine], 1),
                ]
            )
    head = "variant,wall ms,slot ms / file,CPU ms,CPU ms / file"
    print_table(f"overhead: {jobs} at once", head.split(","), rows)
    beyond = [_beyond(records, files, jobs) for files in (FILES, FEW)]
    for files, (wall_ms, cpu_ms) in zip((FILES, FEW), beyond, strict=True):
        print(f"beyond bare, {files} files: {wall_ms:.2f} ms of a slot and {cpu_ms:.2f} ms CPU a file")
    each = [(beyond[0][kind] * FILES - beyond[1][kind] * FEW) / (FILES - FEW) for kind in (0, 1)]
    print(f"each further file: {each[0]:.2f} ms of a slot and {each[1]:.2f} ms CPU; the rest is paid once")


def _beyond(records: list[OverheadRecord], files: int, jobs: int) -> tuple[float, float]:
    """Return slot ms and CPU ms a file that ours takes beyond bare: medians of the rounds' differences."""
    bare = [record.measured for record in records if (record.files, record.variant) == (files, "bare")]
    ours = [record.measured for record in records if (record.files, record.variant) == (files, "ours")]
    walls = [(mine.wall_s - other.wall_s) * jobs for mine, other in zip(ours, bare, strict=True)]
    cpus = [mine.cpu_s - other.cpu_s for mine, other in zip(ours, bare, strict=True)]
    return median(walls) * 1000 / files, median(cpus) * 1000 / files
