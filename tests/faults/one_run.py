"""One run of the harness: server, workers and dispatchers, faults by plan, and what is wrong afterwards."""

from __future__ import annotations

import heapq
import itertools
import os
import random
import resource
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.wire.broker_keys import is_worker_queue
from tests.faults import check
from tests.faults.breaks import Scene, break_it
from tests.faults.broker import Broker
from tests.faults.crew import Crew, Worker, processes_with
from tests.faults.dispatchers import EXIT_INFRASTRUCTURE, Dispatcher, Dispatchers
from tests.faults.keys import wrong_keys
from tests.faults.network import Network
from tests.faults.other_runs import OtherRuns
from tests.faults.plan import OF_WORKERS, Fault, Kind, Plan
from tests.faults.project import STARTS_VARIABLE, Note, read_notes, write_project
from tests.faults.small_disk import SmallDisk, can_mount
from worker.process.temporary import sweep

RUN_S = 240.0
"""Seconds after which a dispatcher hangs."""

BEGIN_S = 60.0
"""Seconds until the dispatchers have begun, before anything goes wrong."""

GONE_S = 20.0
"""Seconds for what a run used to be gone after its end."""

LOOK_S = 0.02

MACHINE_MEMORY = "3GiB"
"""What all runs on the machine share: less than their budgets together."""


@dataclass(kw_only=True)
class Report:
    """What came of a run.

    Args:
        plan: what was to happen.
        violations: what is wrong, a line each.
        log: what happened, with times.
        tails: the last lines of each process's log; only where something is wrong.
        duration_s: from the first fault's zero to the end of the last dispatcher.
        starts: how often a file was started.
        recovery_s: the longest recovery, where that was measured.
        folder: where the logs are kept; empty: nowhere.
    """

    plan: Plan
    violations: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    tails: list[str] = field(default_factory=list)
    duration_s: float = 0.0
    starts: int = 0
    recovery_s: float = 0.0
    folder: str = ""


def carry_out(plan: Plan) -> Report:
    """Do one run by its plan, and judge it."""
    report = Report(plan=plan)
    folder = Path(tempfile.mkdtemp(prefix=f"faults-{plan.seed}-"))
    with ExitStack() as undo:
        run = _Run(plan, folder, report, undo)
        try:
            run.go()
        finally:
            undo.close()
            report.violations += run.leftovers()
    if report.violations:
        report.folder = str(folder)
        report.tails = [_tail(path) for path in sorted([*folder.glob("*.log"), *folder.glob("*/*.log")])]
    else:
        shutil.rmtree(folder)
    return report


class _Run:
    def __init__(self, plan: Plan, folder: Path, report: Report, undo: ExitStack) -> None:
        self._plan, self._folder, self._report = plan, folder, report
        self._root, self._tmp, self._starts = folder / "project", folder / "tmp", folder / "starts"
        for path in (self._root, self._tmp, folder / "home"):
            path.mkdir()
        chance = random.Random(f"project {plan.seed}")
        self._expected = write_project(self._root, chance, is_green=plan.is_green, has_poison=plan.has_poison)
        self._mark = f"FAULTS_MARK={secrets.token_hex(8)}"
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # What runs in the background of a shell has it ignored, and dispatchers would inherit that.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        environ = self._environ()
        machine = folder / "machine"
        machine.mkdir(mode=0o700)
        sharing = ("--machine-folder", str(machine), "--machine-memory", MACHINE_MEMORY)
        disk = None
        if plan.has(Kind.DISK_FULL) and can_mount():
            disk = undo.enter_context(closing(SmallDisk(self._root / STATE_DIRECTORY)))
        self._broker = undo.enter_context(
            closing(Broker(folder / "server", environ, keeps_data=plan.keeps_data))
        )
        network = undo.enter_context(closing(Network(self._broker.port)))
        ways, dispatchers_way = [network.open() for _ in range(plan.workers)], network.open()
        self._other_runs = undo.enter_context(closing(OtherRuns(folder, environ, sharing, machine)))
        urls = [self._broker.url(way.port) for way in ways]
        words = [
            "--slots",
            str(plan.slots),
            "--memory-budget",
            "1GiB",
            "--isolation",
            plan.isolation,
            *sharing,
        ]
        self._crew = undo.enter_context(closing(Crew(self._root, folder, environ, urls, words)))
        url = self._broker.url(dispatchers_way.port)
        self._dispatchers = undo.enter_context(
            closing(Dispatchers(self._root, folder, environ, url, plan.runs))
        )
        self._scene = Scene(
            crew=self._crew,
            ways=ways,
            dispatchers=self._dispatchers,
            dispatchers_way=dispatchers_way,
            broker=self._broker,
            other_runs=self._other_runs,
            disk=disk,
        )
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._zero = 0.0

    def go(self) -> None:
        """Begin, break things, wait for the end, and judge."""
        self._wait(self._dispatchers.have_begun, BEGIN_S, "a run begins")
        self._zero = time.monotonic()
        if self._plan.has(Kind.OTHER_RUN_FROZEN):
            self._other_runs.begin()
        for fault in self._plan.faults:
            self._at(fault.at_s, partial(self._break, fault))
        if self._plan.interrupt_s is not None:
            self._at(self._plan.interrupt_s, self._interrupt)
        if self._plan.abandon_s is not None:
            self._at(self._plan.abandon_s, self._abandon)
        is_over = self._wait(
            lambda: self._dispatchers.have_ended(self._note), RUN_S, "all dispatchers have ended"
        )
        self._report.duration_s = time.monotonic() - self._zero
        if not is_over:
            self._dispatchers.send(signal.SIGABRT)  # Their stacks go to their logs.
            time.sleep(1)
        for _, _, step in self._due:  # What is broken gets mended, and nothing further is broken.
            if isinstance(step, partial) and step.func == self._mend:
                step()
        self._report.violations += self._wrong() if is_over else ()
        self._report.violations += self._other_runs.wrong()
        self._check_server("after the run's end")
        self._report.violations += self._crew.end()
        self._report.violations += self._wrong_ends()
        self._check_server("after the workers' end")
        self._report.violations += self._other_runs.wrong_claims()

    def leftovers(self) -> Iterator[str]:
        """Yield what is left when all has ended."""
        deadline = time.monotonic() + GONE_S
        while (left := processes_with(self._mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid, command in left.items():
            yield f"process {pid} is left: {command}"
            os.kill(pid, signal.SIGKILL)
        sweep(self._tmp)  # As the next worker of this machine would.
        for path in self._tmp.iterdir():
            yield f"in TMPDIR is left: {path.name} {[one.name for one in path.rglob('*')][:5]}"

    # What happens.

    def _note(self, text: str) -> None:
        at_s = time.monotonic() - self._zero if self._zero else 0.0
        self._report.log.append(f"{at_s:6.2f} s  {text}")

    def _at(self, at_s: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._zero + at_s, next(self._order), step))

    def _wait(self, condition: Callable[[], bool], within_s: float, what: str) -> bool:
        deadline = time.monotonic() + within_s
        while not condition():
            while self._due and self._due[0][0] <= time.monotonic():
                heapq.heappop(self._due)[2]()
            for note in self._crew.look():
                self._note(note)
            if time.monotonic() >= deadline:
                self._report.violations.append(f"waited {within_s:.0f} s in vain until {what}")
                return False
            time.sleep(LOOK_S)
        return True

    def _interrupt(self) -> None:
        self._note("Ctrl-C")
        self._dispatchers.send(signal.SIGINT)

    def _abandon(self) -> None:
        self._note("dispatchers and workers are killed for good")
        self._dispatchers.abandon()
        self._crew.kill_all()

    def _break(self, fault: Fault) -> None:
        self._note(fault.kind + (f" {fault.target}" if fault.kind in OF_WORKERS else ""))
        mend = break_it(self._scene, fault.kind, fault.target)
        if mend is not None:
            self._at(fault.at_s + fault.length_s, partial(self._mend, fault, mend))

    def _mend(self, fault: Fault, mend: Callable[[], None]) -> None:
        self._note(f"{fault.kind} is over")
        mend()

    def _environ(self) -> dict[str, str]:
        foreign = ("PASSMUSTER_", "TEST", "CI", "PYTEST_", "PYTHON", "CELERY_", "COVERAGE", "XDG_")
        environ = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        name, _, value = self._mark.partition("=")
        return environ | {
            name: value,
            STARTS_VARIABLE: str(self._starts),
            "HOME": str(self._folder / "home"),
            "TMPDIR": str(self._tmp),
            "PYTHONFAULTHANDLER": "1",
            "PASSMUSTER_SECRET": "the harness's secret",
        }

    # What must hold.

    def _wrong(self) -> Iterator[str]:
        notes = read_notes(self._starts)
        self._report.starts = sum(note.word == "start" for note in notes)
        for number, one in enumerate(self._dispatchers.all):
            yield from (f"run {number}: {text}" for text in self._wrong_run(one))
            if self._plan.only_kills:
                yield from self._slow_recoveries(
                    [note for note in notes if note.attempt_id.startswith(one.run_id)]
                )

    def _wrong_run(self, one: Dispatcher) -> Iterator[str]:
        events, status = check.read_events(one.events), one.process.returncode
        if status in self._ends_before_the_run():
            return check.wrong_when_stopped(events, self._expected)
        # What a full disk cannot keep may turn a green run into an incomplete one, and nothing else.
        is_incomplete = status == EXIT_INFRASTRUCTURE and self._plan.is_green and one.had_no_space
        return check.wrong_results(events, one.junit, 0 if is_incomplete else status, self._expected)

    def _ends_before_the_run(self) -> tuple[int, ...]:
        """Return the exit statuses with which a dispatcher may end before its run has come to its end."""
        if self._plan.interrupt_s is not None:
            return 130, -signal.SIGINT  # The latter: one that was about to resume had not begun.
        return () if self._plan.abandon_s is None else (-signal.SIGKILL,)

    def _slow_recoveries(self, notes: list[Note]) -> Iterator[str]:
        deaths = {one.name: one.ended_at for one in self._crew.workers if one.ended_at is not None}
        found = check.recovery_times(notes, deaths, may_wait_elsewhere=self._plan.has_poison)
        for what, seconds in found.items():
            self._report.recovery_s = max(self._report.recovery_s, seconds)
            if seconds > check.RECOVERY_S:
                yield f"{what} started again only {seconds:.1f} s after its worker's death"

    def _wrong_ends(self) -> Iterator[str]:
        for worker in self._crew.workers:
            status = worker.process.returncode
            if not (worker.is_asked and self._ended_as_asked(worker)) and not self._may_die(worker):
                yield f"worker {worker.name} ended by itself with {status}"

    def _may_die(self, worker: Worker) -> bool:
        if worker.process.returncode == EXIT_INFRASTRUCTURE:
            # It began while there was no server; its service manager tries again.
            return "ready: " not in worker.log.read_text(errors="backslashreplace")
        return worker.process.returncode == -signal.SIGKILL and (worker.is_killed or self._plan.has_poison)

    @staticmethod
    def _ended_as_asked(worker: Worker) -> bool:
        if worker.process.returncode == -signal.SIGTERM:  # Before its Python could take a signal.
            return not worker.log.read_bytes()
        return worker.process.returncode == 0

    def _check_server(self, when: str) -> None:
        with closing(self._broker.client()) as client:
            deadline = time.monotonic() + GONE_S
            while self._run_keys(client) and time.monotonic() < deadline:
                time.sleep(0.2)
            wrong = [f"{key!a} of the run is left on the server" for key in self._run_keys(client)]
            self._report.violations += [f"{text} {when}" for text in (*wrong, *wrong_keys(client))]

    def _run_keys(self, client: Any) -> list[str]:
        """Return what is left of runs that have ended, besides the queues of single workers, which expire.

        A run whose dispatcher a signal ended may be resumed for a day.
        """
        if any((one.process.poll() or 0) < 0 for one in self._dispatchers.all):
            return []
        runs = [one.run_id for one in self._dispatchers.all]
        members = [f"pm:runs: {member}" for member in sorted(client.smembers("pm:runs"))]
        keys = sorted(key for key in client.scan_iter(count=1000) if not is_worker_queue(key))
        return members + [key for key in keys if any(run in key for run in runs)]


def _tail(path: Path) -> str:
    lines = path.read_text(errors="backslashreplace").splitlines()[-25:]
    return "\n".join([f"--- {path.name}", *(f"    {line[:300]}" for line in lines)])
