"""`queue-load`: what a run of very many files on very many workers asks of the server and of the command.

Measured here: what one idle worker and one file cost the server and the command. Calculated from that: the
load of any number of both, and what reaches the end of its CPU first. Each of the two has one CPU.
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass

import psutil

from benchmarks.commands.queue import farm, measure_run
from benchmarks.commands.setting import Setting, fresh_suite
from benchmarks.suites import trivial
from benchmarks.tables import print_table, write_json
from dispatcher.queue.worker_registry import WorkerRegistry
from passmuster.model.executor import Limit
from passmuster.wire.access import open_broker
from passmuster.wire.broker import parse_broker
from passmuster.wire.broker_messages import WorkerStatus
from passmuster.wire.run_store import WorkerDirectory

WATCH_S = 20.0
"""Seconds for which idle workers are watched."""

CARDS = 1000
LOOKS = 20

SCENES = ((10_000, 2, 2, 0.02), (10_000, 100, 4, 1.0), (100_000, 1_000, 2, 5.0), (100_000, 1_000, 8, 1.0))
"""Files, workers, slots of each, seconds a file takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What is measured, in CPU seconds.

    Args:
        server_for_worker_s: of the server, for a worker that is there, each second.
        command_for_worker_s: of the command, for a worker that is there, each second.
        server_for_file_s: of the server, for each file.
        command_for_file_s: of the command, for each file.
        command_bytes_for_file: memory of the command, for each further file of the plan.
    """

    server_for_worker_s: float
    command_for_worker_s: float
    server_for_file_s: float
    command_for_file_s: float
    command_bytes_for_file: float


def run(setting: Setting) -> bool:
    """Measure, calculate and print; return whether every file passed."""
    root = fresh_suite(setting.cache / "suites" / "queue")
    few, many = max(50, setting.files // 10), setting.files
    trivial.write_suite(root, files=few)
    with farm(setting, root, [1, 1]) as two:
        small = measure_run(setting, root, "few", few, 2, two)
        trivial.write_suite(root, files=many)
        large = measure_run(setting, root, "many", many, 2, two)
        server_for_worker_s = _idle_server(two.server) / 2
        command_for_worker_s = _cards(two.url)
    further = many - few
    costs = Costs(
        server_for_worker_s=server_for_worker_s,
        command_for_worker_s=command_for_worker_s,
        server_for_file_s=(large.server_cpu_s - small.server_cpu_s) / further,
        command_for_file_s=(large.command_cpu_s - small.command_cpu_s) / further,
        command_bytes_for_file=(large.peak_rss_bytes - small.peak_rss_bytes) / further,
    )
    _print(costs)
    write_json(setting.output, "queue-load", [costs])
    return small.passed and large.passed


def _idle_server(server: psutil.Process) -> float:
    """Return the CPU seconds of the server in a second in which its workers have nothing to do."""
    before = server.cpu_times()
    time.sleep(WATCH_S)
    after = server.cpu_times()
    return float(after.user + after.system - before.user - before.system) / WATCH_S


def _cards(url: str) -> float:
    """Return the CPU seconds for which the command reads one worker's card each second."""
    limits = tuple(
        Limit(name=name, value="4 GiB", source="cgroup v2 memory.max") for name in ("slots", "memory")
    )
    with closing(open_broker(parse_broker(url, source="the benchmark"))) as client:
        board = WorkerDirectory(client)
        for number in range(CARDS):
            board.publish(
                WorkerStatus(
                    name=f"machine-{number}-0123abcd",
                    host=f"machine-{number}",
                    slots=8,
                    busy=8,
                    budget_bytes=1 << 32,
                    version="0",
                    limits=limits,
                )
            )
        crew = WorkerRegistry(version="0", timeout_s=60, now_s=0)
        started = time.process_time()
        for look in range(LOOKS):
            crew.update(board.statuses(), now_s=float(look))
        return (time.process_time() - started) / LOOKS / CARDS


def _print(costs: Costs) -> None:
    rows = []
    for files, workers, slots, seconds in SCENES:
        rate = workers * slots / seconds
        server = workers * costs.server_for_worker_s + rate * costs.server_for_file_s
        command = workers * costs.command_for_worker_s + rate * costs.command_for_file_s
        most_s = max(server, command, 1.0)
        rows.append(
            [
                f"{files:,} files of {seconds:g} s on {workers:,} x {slots}",
                f"{rate:,.0f}",
                f"{server * 100:.0f} %",
                f"{command * 100:.0f} %",
                f"{files * costs.command_bytes_for_file / 1e6:.0f}",
                f"{files / rate * most_s:,.0f} s",
                "nothing" if most_s == 1.0 else "the command" if command > server else "the server",
            ]
        )
    ms = {
        "worker at the server": costs.server_for_worker_s,
        "worker at the command": costs.command_for_worker_s,
        "file at the server": costs.server_for_file_s,
        "file at the command": costs.command_for_file_s,
    }
    print("ms of CPU (a worker: each second):", {name: round(value * 1e3, 3) for name, value in ms.items()})
    print(f"memory of the command for a file: {costs.command_bytes_for_file / 1e3:.1f} kB")
    head = "run,files a second,server,command,command MB,takes,what bounds it"
    print_table("queue-load: one CPU is 100 %", head.split(","), rows)
