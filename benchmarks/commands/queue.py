"""`queue`: the same trivial files by the pool of one process, and over a broker by one or two workers.

The server and the workers stand before a run begins and outlive it, as they do in use. CPU is told apart: of
the command that decides, of the server, and of the workers themselves, without what they run.
"""

from __future__ import annotations

import os
import resource
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.commands.setting import Setting, forget_history, fresh_suite
from benchmarks.environments import base_interpreter
from benchmarks.measure import plain_environment
from benchmarks.process_memory import proportional_bytes, tree
from benchmarks.suites import trivial
from benchmarks.tables import median, print_table, spread, write_json
from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.wire.access import open_broker
from passmuster.wire.broker import parse_broker
from passmuster.wire.broker_settings import BROKER_VARIABLE, SECRET_VARIABLE
from passmuster.wire.run_store import WorkerDirectory

HOME = Path(__file__).resolve().parents[2]
IDLE_S = 20.0
"""Seconds for which an idle worker is watched."""

MOST_TIMES_EAGER = 1.1
"""One worker may take this much longer than the pool of one process, on the same machine."""

MOST_DISPATCHER_MS = 3.0
"""CPU of the deciding command for each file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRecord:
    """One measured run.

    Args:
        variant: `eager`, `1 worker` or `2 workers`.
        files: how many.
        wall_s: seconds of the command.
        command_cpu_s: of the command itself, without what it ran.
        server_cpu_s: of the broker.
        worker_cpu_s: of the workers themselves.
        peak_rss_bytes: the command's largest resident size.
        passed: whether the command said so.
    """

    variant: str
    files: int
    wall_s: float
    command_cpu_s: float
    server_cpu_s: float
    worker_cpu_s: float
    peak_rss_bytes: int
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Farm:
    """A server and workers that stand.

    Args:
        url: the server's address, password included.
        secret: what signs messages.
        server: its process.
        workers: theirs.
    """

    url: str
    secret: str
    server: psutil.Process
    workers: tuple[psutil.Process, ...]


def run(setting: Setting) -> bool:
    """Measure and print; return whether every file passed and one worker keeps up with the pool."""
    slots = setting.jobs or len(os.sched_getaffinity(0))
    root = fresh_suite(setting.cache / "suites" / "queue")
    trivial.write_suite(root, files=setting.files)
    records: list[QueueRecord] = []
    measure_run(setting, root, "eager", setting.files, slots, None)
    for _ in range(setting.rounds):
        records.append(measure_run(setting, root, "eager", setting.files, slots, None))
        for count in (1, 2):
            with farm(setting, root, [max(1, slots // count)] * count) as place:
                records.append(measure_run(setting, root, f"{count} worker(s)", setting.files, slots, place))
    with farm(setting, root, [slots]) as place:
        idle_bytes, idle_cpu = _idle(place)
    _print(records, idle_bytes, idle_cpu)
    write_json(setting.output, "queue", records)
    return all(record.passed for record in records) and _ratio(records) <= MOST_TIMES_EAGER


@contextmanager
def farm(setting: Setting, root: Path, slots: Sequence[int]) -> Iterator[Farm]:
    """Have a server and workers with so many slots each, all of them ready."""
    with ExitStack() as undo:
        folder = fresh_suite(setting.work / "server")
        server = undo.enter_context(closing(EmbeddedServer(folder)))
        secret = secrets.token_urlsafe()
        environment = {
            **plain_environment(),
            BROKER_VARIABLE: server.url,
            SECRET_VARIABLE: secret,
        }
        workers = []
        for number, share in enumerate(slots):
            log = undo.enter_context(open(setting.work / f"worker-{number}.log", "wb"))
            words = ("--root", str(root), "--python", str(base_interpreter()), "--slots", str(share))
            worker = subprocess.Popen(
                [sys.executable, "-P", str(HOME / "worker" / "__main__.py"), *words, "--exit-with-stdin"],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            undo.callback(worker.wait)
            if worker.stdin is not None:
                undo.callback(worker.stdin.close)
            workers.append(worker)
        address = parse_broker(server.url, source="the benchmark")
        with closing(open_broker(address)) as client:
            while len(WorkerDirectory(client).statuses()) < len(slots):
                time.sleep(0.05)
            server_pid = int(client.info("server")["process_id"])
        yield Farm(
            url=server.url,
            secret=secret,
            server=psutil.Process(server_pid),
            workers=tuple(psutil.Process(worker.pid) for worker in workers),
        )


def measure_run(
    setting: Setting, root: Path, variant: str, files: int, slots: int, place: Farm | None
) -> QueueRecord:
    """Run the suite once, measured."""
    forget_history(root)
    options = ["--python", str(base_interpreter()), "-q", *setting.ours_options]
    environment = plain_environment()
    if place is None:
        options += ["--jobs", str(slots)]
    else:
        environment |= {BROKER_VARIABLE: place.url, SECRET_VARIABLE: place.secret}
    before = _cpu(place)
    started = time.monotonic()
    command = [sys.executable, str(HOME / "run_tests.py"), *options]
    with open(setting.work / f"{variant.split()[0]}.log", "wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    after = _cpu(place)
    return QueueRecord(
        variant=variant,
        files=files,
        wall_s=time.monotonic() - started,
        command_cpu_s=_own_cpu_s(used) if place is not None else float("nan"),
        server_cpu_s=after[0] - before[0],
        worker_cpu_s=after[1] - before[1],
        peak_rss_bytes=used.ru_maxrss * 1024,
        passed=process.returncode == 0,
    )


def _own_cpu_s(used: resource.struct_rusage) -> float:
    """Return the CPU of a command that ran nothing itself."""
    return used.ru_utime + used.ru_stime


def _cpu(place: Farm | None) -> tuple[float, float]:
    """Return the CPU seconds of the server, and of the workers without what they run."""
    if place is None:
        return 0.0, 0.0
    server = place.server.cpu_times()
    workers = [worker.cpu_times() for worker in place.workers]
    return server.user + server.system, sum(times.user + times.system for times in workers)


def _idle(place: Farm) -> tuple[int, float]:
    """Return the memory (PSS of all its processes) and the share of a CPU of a worker with nothing to do."""
    before = _cpu(place)[1]
    time.sleep(IDLE_S)
    used = (_cpu(place)[1] - before) / IDLE_S
    return proportional_bytes(tree(place.workers[0].pid)), used


def _ratio(records: Sequence[QueueRecord]) -> float:
    """Return how much longer one worker takes than the pool: the median of the rounds."""
    eager = [record.wall_s for record in records if record.variant == "eager"]
    queue = [record.wall_s for record in records if record.variant == "1 worker(s)"]
    return median([mine / other for mine, other in zip(queue, eager, strict=True)])


def _print(records: Sequence[QueueRecord], idle_bytes: int, idle_cpu: float) -> None:
    rows = []
    for variant in dict.fromkeys(record.variant for record in records):
        mine = [record for record in records if record.variant == variant]
        each = [1000 / record.files for record in mine]
        rows.append(
            [
                variant,
                spread([record.wall_s for record in mine], 2),
                *(
                    spread([value * ms for value, ms in zip(values, each, strict=True)], 2)
                    for values in (
                        [record.command_cpu_s for record in mine],
                        [record.server_cpu_s for record in mine],
                        [record.worker_cpu_s for record in mine],
                    )
                ),
                spread([record.peak_rss_bytes / 1e6 for record in mine], 1),
            ]
        )
    head = "variant,wall s,command ms / file,server ms / file,workers ms / file,command peak MB"
    print_table(f"queue: {records[0].files} trivial files", head.split(","), rows)
    print(f"one worker to the pool: {_ratio(records):.3f} (at most {MOST_TIMES_EAGER})")
    print(f"an idle worker: {idle_bytes / 1e6:.1f} MB, {idle_cpu * 100:.2f} % of a CPU")
