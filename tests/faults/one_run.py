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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faults import check
from tests.faults.broker import Broker
from tests.faults.crew import Crew, Worker, processes_with
from tests.faults.network import Network
from tests.faults.plan import OF_WORKERS, Fault, Kind, Plan
from tests.faults.project import STARTS_VARIABLE, Note, read_notes, write_project
from worker.private_tmp import sweep

REPOSITORY = Path(__file__).resolve().parents[2]

RUN_S = 240.0
"""Seconds after which a dispatcher hangs."""

BEGIN_S = 60.0
"""Seconds until the dispatchers have begun, before anything goes wrong."""

GONE_S = 20.0
"""Seconds for what a run used to be gone after its end."""

LOOK_S = 0.02

MOST_RESUMES = 10
"""How often a killed dispatcher is started again where it finds no server: a cut lasts 15 s at most."""

EXIT_INFRASTRUCTURE = 3


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


@dataclass(kw_only=True)
class _Dispatcher:
    process: subprocess.Popen[bytes]
    log: Path
    events: Path
    junit: Path
    is_down: bool = False
    known_id: str = ""
    resumes_left: int = 0

    @property
    def run_id(self) -> str:
        """The run's id, once it has begun; a resumed one begins its events anew."""
        events = [] if self.known_id else check.read_events(self.events)
        if events:
            self.known_id = str(events[0]["run_id"])
        return self.known_id


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
        report.tails = [_tail(path) for path in sorted(folder.rglob("*.log"))]
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
        environ = self._environment = self._environ()
        self._broker = undo.enter_context(
            closing(Broker(folder / "server", environ, keeps_data=plan.keeps_data))
        )
        self._network = undo.enter_context(closing(Network(self._broker.port)))
        self._ways = [self._network.open() for _ in range(plan.workers)]
        self._dispatchers_way = self._network.open()
        urls = [self._broker.url(way.port) for way in self._ways]
        words = ["--slots", str(plan.slots), "--memory-budget", "1GiB", "--isolation", plan.isolation]
        self._crew = undo.enter_context(closing(Crew(self._root, folder, environ, urls, words)))
        self._dispatchers = [self._start(number) for number in range(plan.runs)]
        undo.callback(self._end_dispatchers)
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._zero = 0.0

    def go(self) -> None:
        """Begin, break things, wait for the end, and judge."""
        self._wait(lambda: all(one.run_id for one in self._dispatchers), BEGIN_S, "a run begins")
        self._zero = time.monotonic()
        for fault in self._plan.faults:
            self._at(fault.at_s, partial(self._break, fault))
        if self._plan.interrupt_s is not None:
            self._at(self._plan.interrupt_s, self._interrupt)
        is_over = self._wait(self._has_ended, RUN_S, "all dispatchers have ended")
        self._report.duration_s = time.monotonic() - self._zero
        if not is_over:
            for one in self._dispatchers:
                if one.process.poll() is None:
                    one.process.send_signal(signal.SIGABRT)  # Its stacks go to its log.
            time.sleep(1)
        for _, _, step in self._due:  # What is broken gets mended, and nothing further is broken.
            if isinstance(step, partial) and step.func == self._mend:
                step()
        self._report.violations += self._wrong() if is_over else ()
        self._check_server("after the run's end")
        self._report.violations += self._crew.end()
        self._report.violations += self._wrong_ends()
        self._check_server("after the workers' end")

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

    def _has_ended(self) -> bool:
        for one in self._dispatchers:
            if one.is_down or one.process.poll() is None:
                return False
            if one.resumes_left and one.process.returncode == EXIT_INFRASTRUCTURE:
                # It was started again while the server could not be reached. Its user tries once more.
                one.resumes_left -= 1
                self._note("resumed once more")
                one.process = self._call(one.log, one.events, one.junit, "--resume", one.run_id)
                return False
        return True

    def _interrupt(self) -> None:
        self._note("Ctrl-C")
        for one in self._dispatchers:
            if one.process.poll() is None:
                one.process.send_signal(signal.SIGINT)

    def _break(self, fault: Fault) -> None:
        self._note(fault.kind + (f" {fault.target}" if fault.kind in OF_WORKERS else ""))
        mend = self._broken(fault)
        if mend is not None:
            self._at(fault.at_s + fault.length_s, partial(self._mend, fault, mend))

    def _mend(self, fault: Fault, mend: Callable[[], None]) -> None:
        self._note(f"{fault.kind} is over")
        mend()

    def _broken(self, fault: Fault) -> Callable[[], None] | None:
        """Break something; return what mends it."""
        place, way = fault.target, self._ways[fault.target]
        match fault.kind:
            case Kind.KILL:
                self._crew.kill(place)
            case Kind.TERM:
                self._crew.ask(place)
            case Kind.FREEZE | Kind.FREEZE_ALL:
                frozen = self._crew.freeze(place, with_files=fault.kind is Kind.FREEZE_ALL)
                return lambda: self._crew.thaw(frozen)
            case Kind.CUT | Kind.CUT_DISPATCHER:
                way = way if fault.kind is Kind.CUT else self._dispatchers_way
                way.cut()
                return way.heal
            case Kind.DELAY | Kind.DELAY_DISPATCHER:
                way = way if fault.kind is Kind.DELAY else self._dispatchers_way
                way.slow(0.3)
                return way.hasten
            case Kind.KILL_DISPATCHER:
                return self._kill_dispatcher(self._dispatchers[fault.target % len(self._dispatchers)])
            case Kind.RESET:
                way.reset()
            case Kind.RESET_DISPATCHER:
                self._dispatchers_way.reset()
            case Kind.CRASH | Kind.REPLACE:
                self._broker.kill(forget=fault.kind is Kind.REPLACE)
                return self._broker.start
            case Kind.FLUSH:
                self._broker.command("FLUSHALL")
            case Kind.FULL:
                self._broker.command("CONFIG", "SET", "maxmemory", 1)
                return lambda: self._broker.command("CONFIG", "SET", "maxmemory", 0)
        return None

    def _kill_dispatcher(self, one: _Dispatcher) -> Callable[[], None] | None:
        """Kill a dispatcher; return what starts it again, where it was still there."""
        run_id = one.run_id
        if one.process.poll() is not None:
            return None
        one.process.kill()
        one.process.wait()
        one.is_down, one.resumes_left = True, MOST_RESUMES

        def resume() -> None:
            one.process = self._call(one.log, one.events, one.junit, "--resume", run_id)
            one.is_down = False

        return resume

    def _start(self, number: int) -> _Dispatcher:
        log, events = self._folder / f"dispatcher-{number}.log", self._folder / f"events-{number}.jsonl"
        junit = self._folder / f"junit-{number}.xml"
        return _Dispatcher(process=self._call(log, events, junit), log=log, events=events, junit=junit)

    def _call(self, log: Path, events: Path, junit: Path, *words: str) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, str(REPOSITORY / "run_tests.py"), *words),
                    *("--broker", self._broker.url(self._dispatchers_way.port)),
                    *("--events", str(events), "--junit-xml", str(junit)),
                ],
                cwd=self._root,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _end_dispatchers(self) -> None:
        for one in self._dispatchers:
            if one.process.poll() is None:
                one.process.kill()
            one.process.wait()

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
            "PASSMUSTER_SLOT": "0",  # A run inside a test takes no part in what the machine's runs share.
        }

    # What must hold.

    def _wrong(self) -> Iterator[str]:
        notes = read_notes(self._starts)
        self._report.starts = sum(note.word == "start" for note in notes)
        for number, one in enumerate(self._dispatchers):
            events, status = check.read_events(one.events), one.process.returncode
            if self._plan.interrupt_s is not None and status == 130:
                found = check.wrong_when_stopped(events, status, self._expected)
            else:
                found = check.wrong_results(events, one.junit, status, self._expected)
            yield from (f"run {number}: {text}" for text in found)
            if self._plan.only_kills and self._plan.interrupt_s is None:
                yield from self._slow_recoveries(
                    [note for note in notes if note.attempt_id.startswith(one.run_id)]
                )

    def _slow_recoveries(self, notes: list[Note]) -> Iterator[str]:
        deaths = {one.name: one.ended_at for one in self._crew.workers if one.ended_at is not None}
        for what, seconds in check.recovery_times(notes, deaths).items():
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
        runs = [one.run_id for one in self._dispatchers]
        with closing(self._broker.client()) as client:
            deadline = time.monotonic() + GONE_S
            while True:
                keys = sorted(key for key in client.scan_iter(count=1000) if any(run in key for run in runs))
                members = sorted(client.smembers("pm:runs"))
                if not keys and not members:
                    return
                if time.monotonic() >= deadline:
                    break
                time.sleep(0.2)
        self._report.violations.append(f"on the server is left {when}: {keys}, runs {members}")


def _tail(path: Path) -> str:
    lines = path.read_text(errors="backslashreplace").splitlines()[-25:]
    return "\n".join([f"--- {path.name}", *(f"    {line[:300]}" for line in lines)])
