"""Machines that join runs while things go wrong: `python -m tests.faults.joined --runs 20 --seed 1`.

Each run is drawn from its seed: three machines, and two to five times something happens. A machine is killed
(a new one comes for it), asked to end, stopped for a while, joined by a further one, or its disk is full for
a while; the server loses its memory; or a run of another project begins beside them, and may be killed.
Afterwards every machine that is left must have ended with the same status, and its JUnit report must have
each file once, with the right result; the other runs must have come to theirs; and no key may stay on the
server for ever.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
import venv
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from enum import StrEnum
from pathlib import Path

from dispatcher.model.exit_codes import ExitCode
from dispatcher.queue.embedded_server import EmbeddedServer
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.wire.run_store import connect
from tests.e2e.support.joined import LONG_S, Machines, kill
from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Running
from tests.faults.keys import wrong_keys
from tests.faults.other_runs import OtherRun, OtherRuns
from tests.faults.small_disk import SmallDisk, can_mount

FILES = 40
BAD = (3, 11)
MAX_MACHINES = 12

RESULT_IS_GONE = "has expired (kept for one day)"
"""Words of the error of a machine for which the result of its round is no longer there."""


class Fault(StrEnum):
    """What happens to a machine, to the server, or beside them."""

    KILL = "killed"
    ASK = "asked to end"
    STOP = "stopped"
    LATE = "joined late"
    FORGET = "the server forgot"
    DISK_FULL = "disk full"
    OTHER_RUN = "another run began"
    OTHER_RUN_KILLED = "another run began and was killed"


OF_ONE_MACHINE = (Fault.KILL, Fault.ASK, Fault.STOP, Fault.DISK_FULL)


def main() -> int:
    """Do the runs; return 1 where something was wrong in one."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.joined", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how many; their seeds follow one another")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    found = parser.parse_args()
    wrong, faults, began_s = 0, Counter[str](), time.monotonic()
    for seed in range(found.seed, found.seed + found.runs):
        seed_began_s = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="joined-") as folder:
            happened, problems = one_run(seed, Path(folder))
        wrong += bool(problems)
        faults.update(fault for fault, _ in happened)
        line = (
            f"seed {seed}: {time.monotonic() - seed_began_s:.1f} s: {', '.join(text for _, text in happened)}"
        )
        print(f"{'WRONG' if problems else 'ok   '} {line}", *problems, sep="\n  ", flush=True)
    kinds = ", ".join(f"{fault} {count}" for fault, count in sorted(faults.items()))
    print(f"{found.runs} runs in {time.monotonic() - began_s:.0f} s; {kinds}; violations in {wrong} runs")
    return int(wrong > 0)


def one_run(seed: int, folder: Path) -> tuple[list[tuple[Fault, str]], list[str]]:
    """Do the run of a seed; return what happened, and what was wrong."""
    draw = random.Random(seed)
    venv.create(folder / "environment")
    for name in ("server", "others", "claims"):
        (folder / name).mkdir(mode=0o700)
    with ExitStack() as undo:
        server = undo.enter_context(closing(EmbeddedServer(folder / "server")))
        machines = undo.enter_context(
            closing(Machines(folder, folder / "environment", server.url, MAX_MACHINES))
        )
        machines.write({f"tests/test_{number}.py": _file(number) for number in range(FILES)})
        sharing = ("--machine-folder", str(folder / "claims"), "--machine-memory", "3GiB")
        environ = machines.projects[0].environment({"PASSMUSTER_SLOT": None})
        others = undo.enter_context(
            closing(OtherRuns(folder / "others", environ, sharing, folder / "claims"))
        )
        return _Drawn(draw, machines, others, sharing, undo).run()


class _Drawn:
    def __init__(
        self,
        draw: random.Random,
        machines: Machines,
        others: OtherRuns,
        sharing: tuple[str, ...],
        undo: ExitStack,
    ) -> None:
        self._draw, self._machines, self._others = draw, machines, others
        self._sharing, self._undo = sharing, undo
        self._running: dict[int, Running] = {}
        self._disks: dict[int, SmallDisk] = {}
        self._mends: list[Callable[[], None]] = []
        self._next = 0

    def run(self) -> tuple[list[tuple[Fault, str]], list[str]]:
        for _ in range(3):
            self._begin()
        happened = [one for _ in range(self._draw.randint(2, 5)) for one in self._fault()]
        time.sleep(self._draw.uniform(0, 20))
        self._mend()
        outcomes = {number: one.end(timeout_s=2 * LONG_S) for number, one in self._running.items()}
        if any(fault is Fault.FORGET for fault, _ in happened):
            # Who had the result has ended by then; to run all files again could come to another one.
            outcomes = {number: one for number, one in outcomes.items() if not _came_too_late(one)}
        problems = [] if outcomes else ["no machine has the result"]
        problems += [str(outcome) for outcome in outcomes.values() if outcome.code != 1]
        wanted = {
            f"tests/test_{number}.py": ["failure" if number in BAD else "passed"] for number in range(FILES)
        }
        for number in outcomes:
            try:
                cases = self._machines.junit(number)
            except (OSError, ElementTree.ParseError) as error:
                problems.append(f"machine {number} has no report: {error}")
                continue
            if {name: [kind for _, kind in found] for name, found in cases.items()} != wanted:
                problems.append(f"machine {number} reports {cases}")
        with connect(self._machines.url, timeout_s=5) as client:
            problems += wrong_keys(client)
        return happened, [*problems, *self._others.wrong(), *self._others.wrong_claims()]

    def _begin(self) -> None:
        number, self._next = self._next, self._next + 1
        if can_mount():
            folder = self._machines.projects[number].root / STATE_DIRECTORY
            self._disks[number] = self._undo.enter_context(closing(SmallDisk(folder)))
        # Numbered, so that none of them is taken for a retry.
        self._running[number] = self._machines.start(
            number, *self._sharing, PASSMUSTER_ATTEMPT="1", PASSMUSTER_SLOT=None
        )

    def _fault(self) -> Iterator[tuple[Fault, str]]:
        """Let something happen, unless all machines have ended; yield it, and what it says to people."""
        time.sleep(self._draw.uniform(2, 12))
        alive = [number for number, one in self._running.items() if one.process.poll() is None]
        if not alive:
            return
        fault, number = self._draw.choice(list(Fault)), self._draw.choice(alive)
        FAULTS[fault](self, number)
        yield fault, f"{number} {fault}" if fault in OF_ONE_MACHINE else str(fault)
        if self._mends and self._draw.random() < 0.5:
            time.sleep(self._draw.uniform(0, 18))
            self._mend()

    def _mend(self) -> None:
        for mend in self._mends:
            mend()
        self._mends.clear()

    def _kill(self, number: int) -> None:
        kill(self._running.pop(number))
        self._begin()

    def _ask(self, number: int) -> None:
        self._mend()
        self._running[number].send(signal.SIGINT)
        self._running.pop(number).end()
        self._begin()

    def _stop(self, number: int) -> None:
        stopped = self._running[number]
        stopped.send(signal.SIGSTOP)
        self._mends.append(lambda: stopped.send(signal.SIGCONT))

    def _join_late(self, _: int) -> None:
        self._begin()

    def _forget(self, _: int) -> None:
        with connect(self._machines.url, timeout_s=5) as client:
            client.flushall()

    def _fill_disk(self, number: int) -> None:
        if number in self._disks:
            self._disks[number].fill()
            self._mends.append(self._disks[number].free)

    def _begin_other(self, _: int) -> OtherRun:
        return self._others.begin()

    def _begin_and_kill_other(self, _: int) -> None:
        begun = self._others.begin()
        time.sleep(self._draw.uniform(0.5, 4))
        self._others.kill(begun)


FAULTS: Mapping[Fault, Callable[[_Drawn, int], object]] = {
    Fault.KILL: _Drawn._kill,
    Fault.ASK: _Drawn._ask,
    Fault.STOP: _Drawn._stop,
    Fault.LATE: _Drawn._join_late,
    Fault.FORGET: _Drawn._forget,
    Fault.DISK_FULL: _Drawn._fill_disk,
    Fault.OTHER_RUN: _Drawn._begin_other,
    Fault.OTHER_RUN_KILLED: _Drawn._begin_and_kill_other,
}


def _came_too_late(outcome: Outcome) -> bool:
    """Whether the server forgot a round that was complete before this machine had read what it came to."""
    return outcome.code == ExitCode.INFRASTRUCTURE and RESULT_IS_GONE in outcome.stderr


def _file(number: int) -> str:
    check = "self.fail('bad')" if number in BAD else "pass"
    return (
        "import time, unittest\n\n\nclass T(unittest.TestCase):\n    def test_it(self):\n"
        f"        time.sleep({0.5 + number % 5 * 0.6})\n        {check}\n\n\n"
        "if __name__ == '__main__':\n    unittest.main()\n"
    )


if __name__ == "__main__":
    sys.exit(main())
