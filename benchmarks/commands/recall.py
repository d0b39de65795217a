"""`recall`: whether --changed selects every test file that a fault in the product makes fail.

Faults are made by seed in modules of public packages, one at a time. After each fault plain pytest runs all
files in one process, which is cheapest, and those that fail must be among the selected ones. The same process
says what pytest-testmon would select. A failing file that one of them does not select runs twice more, by our
runner, with the fault and without it: an unstable test, or one that another file made fail, is no miss.

`--files` bounds the faults of each package. What is in `--output` already is not repeated, so an interrupted
study goes on where it stopped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from benchmarks.commands.setting import Setting
from benchmarks.ours import read_record
from benchmarks.public.place import RECORDERS
from benchmarks.suites.faults import Fault, draw_faults
from benchmarks.suites.products import PRODUCTS, ProductCopy
from benchmarks.tables import print_table, read_records, write_json

USAGE_ERROR = 4
"""The exit status of pytest if a conftest cannot be imported."""

CPU_LIMIT_S = 60
"""CPU seconds of one process: a fault can make a loop endless, and on a busy machine no wall time tells."""

TIMEOUT_S = 300
"""Seconds for one file that waits for something."""

LIMITED = ("/bin/sh", "-c", f'ulimit -t {CPU_LIMIT_S}; exec "$@"', "sh")

WHOLE = (
    *("-p", "passmuster_benchmark_selection", "--testmon-nocollect"),
    *("--continue-on-collection-errors", "--tb=no"),
)
"""Options of a pytest that runs all files."""

ONE_ATTEMPT = (
    *("--isolation", "fork", "--jobs", "1", "--no-history", "--no-record-inputs"),
    *("--timeout", str(TIMEOUT_S)),
)
"""Options with which no failure is verified by another attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """What one fault led to; numbers of test files.

    Args:
        suite: the package.
        seed: of the draw.
        number: which of the drawn faults it is, from 1.
        place: module and line of the fault.
        files: all test files.
        failing: those that fail with the fault.
        selected: those that --changed selects.
        missed: failing files that it does not select.
        peer_selected: those in which pytest-testmon selects a test.
        peer_missed: failing files that it does not select.
        unstable: files that failed, were not selected, and then passed with the fault or failed without it.
    """

    suite: str
    seed: int
    number: int
    place: str
    files: int
    failing: int
    selected: int
    missed: tuple[str, ...]
    peer_selected: int
    peer_missed: tuple[str, ...]
    unstable: tuple[str, ...]


def run(setting: Setting) -> bool:
    """Measure and print; return whether no failing file was missed."""
    records = read_records(setting.output, "recall", FaultRecord)
    known = {(one.suite, one.seed, one.number) for one in records}
    benches = [
        _Bench(setting, ProductCopy(setting.cache, product))
        for product in PRODUCTS
        if not setting.only or product.name in setting.only
    ]
    faults = [list(islice(bench.draw(), setting.files)) for bench in benches]
    for number in range(1, setting.files + 1):  # In turns, so that an interrupted study has some of each.
        for bench, drawn in zip(benches, faults, strict=True):
            if (bench.name, setting.seed, number) not in known:
                records.append(bench.try_fault(drawn[number - 1], number))
                print(records[-1], flush=True)
                write_json(setting.output, "recall", records)
    names = {bench.name for bench in benches}
    shown = [one for one in records if one.suite in names]
    _print(shown)
    return not any(record.missed for record in shown)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """How one run ended; test files."""

    files: list[str]
    failing: list[str]


class _Bench:
    """A copy of a package whose tests have run, so that both tools know what each depends on."""

    def __init__(self, setting: Setting, copy: ProductCopy) -> None:
        self._setting, self._copy, self.name = setting, copy, copy.product.name
        if copy.prepared.exists():
            self._whole = _Ran(**json.loads(copy.prepared.read_text()))
        else:
            self._whole = self._prepare()
            copy.prepared.write_text(json.dumps(asdict(self._whole)))

    def _prepare(self) -> _Ran:
        """Run all files with either tool, and return which fail without any fault."""
        ran = self._ours()
        if not ran.files:
            raise RuntimeError(f"{self.name} does not run: see {self._copy.home / 'output.log'}")
        self._copy.read(self._copy.pytest("--testmon"))
        self._whole = _Ran(files=ran.files, failing=[])
        failing, _ = self._run_all()
        return _Ran(files=ran.files, failing=sorted({*ran.failing, *failing}))

    def draw(self) -> Iterator[Fault]:
        """Yield faults in the product."""
        folders = [self._copy.root / folder for folder in self._copy.product.folders]
        return draw_faults(folders, seed=self._setting.seed)

    def try_fault(self, fault: Fault, number: int) -> FaultRecord:
        """Return what one fault leads to."""
        before = fault.module.read_bytes()
        try:
            fault.module.write_bytes(fault.source)
            selected = self._selected()
            failing, peer = self._run_all()
            doubtful = failing - (selected & peer)
            again = self._failing(*doubtful) if doubtful else set()
        finally:
            fault.module.write_bytes(before)
        unstable = doubtful - again
        if again:
            unstable |= self._failing(*again)
        failing -= unstable
        return FaultRecord(
            suite=self.name,
            seed=self._setting.seed,
            number=number,
            place=f"{fault.module.relative_to(self._copy.root)}:{fault.line}",
            files=len(self._whole.files),
            failing=len(failing),
            selected=len(selected),
            missed=tuple(sorted(failing - selected)),
            peer_selected=len(peer),
            peer_missed=tuple(sorted(failing - peer)),
            unstable=tuple(sorted(unstable)),
        )

    def _run_all(self) -> tuple[set[str], set[str]]:
        """Run all files; return those that do not fail otherwise, and those that pytest-testmon selects."""
        record = self._copy.home / "selection.json"
        record.unlink(missing_ok=True)
        code = self._copy.read(
            [*LIMITED, *self._copy.pytest(*WHOLE)],
            {"PYTHONPATH": str(RECORDERS), "BENCHMARK_RECORD": str(record)},
        ).returncode
        everything = set(self._whole.files)
        if code == USAGE_ERROR:
            return everything - set(self._whole.failing), everything
        if code not in (0, 1):  # An endless loop or a crash has ended it: each file alone.
            return self._failing(), self._peer_selected()
        known = json.loads(record.read_text())
        return set(known["failing"]) - set(self._whole.failing), set(known["selected"])

    def _failing(self, *files: str) -> set[str]:
        """Return which of these files, or of all, fail now in processes of their own and do not otherwise."""
        ran = self._ours(*ONE_ATTEMPT, files=files)
        # A run without any file could not start, and fails as a whole.
        failing = ran.failing if ran.files else files or self._whole.files
        return set(failing) - set(self._whole.failing)

    def _selected(self) -> set[str]:
        done = self._copy.read(self._copy.ours("--changed", "--list"))
        if done.returncode != 0:  # The fault keeps pytest from collecting anything: the run fails as a whole.
            return set(self._whole.files)
        return set(done.stdout.split("\n")) & set(self._whole.files)

    def _peer_selected(self) -> set[str]:
        done = self._copy.read(self._copy.pytest("--testmon-nocollect", "--collect-only"))
        if done.returncode == USAGE_ERROR:  # A conftest cannot be imported, and the run fails as a whole.
            return set(self._whole.files)
        errors = re.findall(r"^ERROR (\S+\.py)", done.stdout, re.MULTILINE)
        return {*re.findall(r"^(\S+?\.py)::", done.stdout, re.MULTILINE), *errors}

    def _ours(self, *options: str, files: Collection[str] = ()) -> _Ran:
        events = self._copy.home / "events"
        events.write_text("")  # A run that cannot start writes none.
        words = self._copy.ours(*self._setting.ours_options, *options, files=files, events=events)
        self._copy.measure([*LIMITED, *words])
        final = read_record(events).final
        failing = sorted(path for path, one in final.items() if one.status != "PASS")
        return _Ran(files=sorted(final), failing=failing)


def _print(records: Sequence[FaultRecord]) -> None:
    rows = []
    for suite in (*dict.fromkeys(record.suite for record in records), "all"):
        some = [record for record in records if suite in (record.suite, "all")]
        failing = sum(record.failing for record in some)
        files = sum(record.files for record in some)
        rows.append(
            (
                suite,
                str(len(some)),
                str(sum(record.failing > 0 for record in some)),
                str(failing),
                _share(failing - sum(len(record.missed) for record in some), failing),
                _share(sum(record.selected for record in some), files),
                _share(failing - sum(len(record.peer_missed) for record in some), failing),
                _share(sum(record.peer_selected for record in some), files),
            )
        )
    heads = (
        *("suite", "faults", "noticed", "failing files", "recall", "share run"),
        *("testmon recall", "its share"),
    )
    print_table("Selection by what files read", heads, rows)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
