"""Machines that join runs while things go wrong: `python -m tests.faults.joined --runs 20 --seed 1`.

Each run is drawn from its seed: three machines, and two to five times something happens to one of them. It
is killed (a new one comes for it), asked to end, stopped for a while, joined by a further one, or the server
loses its memory. Afterwards every machine that is left must have ended with the same status, and its JUnit
report must have each file once, with the right result.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
import venv
from enum import StrEnum
from pathlib import Path

from dispatcher.backends.embedded_server import EmbeddedServer
from passmuster.run_record import connect
from tests.e2e.support.joined import LONG_S, Machines, kill
from tests.e2e.support.project import Running

FILES = 40
BAD = (3, 11)
MOST_MACHINES = 12


class Fault(StrEnum):
    """What happens to a machine, or to the server."""

    KILL = "killed"
    ASK = "asked to end"
    STOP = "stopped"
    LATE = "joined late"
    FORGET = "the server forgot"


def main() -> int:
    """Do the runs; return 1 where something was wrong in one."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.joined", description=__doc__)
    parser.add_argument("--runs", type=int, default=1, help="how many; their seeds follow one another")
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    found = parser.parse_args()
    wrong = 0
    for seed in range(found.seed, found.seed + found.runs):
        with tempfile.TemporaryDirectory(prefix="joined-") as folder:
            happened, problems = one_run(seed, Path(folder))
        wrong += bool(problems)
        print(f"{'WRONG' if problems else 'ok   '} seed {seed}: {', '.join(happened)}", *problems, sep="\n  ")
    return int(wrong > 0)


def one_run(seed: int, folder: Path) -> tuple[list[str], list[str]]:
    """Do the run of a seed; return what happened, and what was wrong."""
    draw = random.Random(seed)
    venv.create(folder / "environment")
    (folder / "server").mkdir()
    server = EmbeddedServer(folder / "server")
    machines = Machines(folder, folder / "environment", server.url, MOST_MACHINES)
    machines.write({f"tests/test_{number}.py": _file(number) for number in range(FILES)})
    try:
        return _Drawn(draw, machines).run()
    finally:
        machines.close()
        server.close()


class _Drawn:
    def __init__(self, draw: random.Random, machines: Machines) -> None:
        self._draw, self._machines = draw, machines
        self._running: dict[int, Running] = {}
        self._stopped: list[int] = []
        self._next = 0

    def run(self) -> tuple[list[str], list[str]]:
        for _ in range(3):
            self._begin()
        happened = [self._fault() for _ in range(self._draw.randint(2, 5))]
        time.sleep(self._draw.uniform(0, 20))
        self._go_on()
        outcomes = {number: one.end(timeout_s=2 * LONG_S) for number, one in self._running.items()}
        problems = [str(outcome) for outcome in outcomes.values() if outcome.code != 1]
        wanted = {
            f"tests/test_{number}.py": ["failure" if number in BAD else "passed"] for number in range(FILES)
        }
        for number in outcomes:
            cases = self._machines.junit(number)
            if {name: [kind for _, kind in found] for name, found in cases.items()} != wanted:
                problems.append(f"machine {number} reports {cases}")
        return happened, problems

    def _begin(self) -> None:
        number, self._next = self._next, self._next + 1
        # Numbered, so that none of them is taken for a retry.
        self._running[number] = self._machines.start(number, PASSMUSTER_ATTEMPT="1")

    def _fault(self) -> str:
        time.sleep(self._draw.uniform(2, 12))
        alive = [number for number, one in self._running.items() if one.process.poll() is None]
        if not alive:
            return "all had ended"
        fault, number = self._draw.choice(list(Fault)), self._draw.choice(alive)
        match fault:
            case Fault.KILL:
                kill(self._running.pop(number))
                self._begin()
            case Fault.ASK:
                self._go_on()
                self._running[number].send(signal.SIGINT)
                self._running.pop(number).end()
                self._begin()
            case Fault.STOP:
                self._running[number].send(signal.SIGSTOP)
                self._stopped.append(number)
            case Fault.LATE:
                self._begin()
            case Fault.FORGET:
                with connect(self._machines.url, timeout_s=5) as client:
                    client.flushall()
        if self._stopped and self._draw.random() < 0.5:
            time.sleep(self._draw.uniform(0, 18))
            self._go_on()
        return f"{number} {fault}" if fault is not Fault.FORGET else str(fault)

    def _go_on(self) -> None:
        for number in self._stopped:
            if number in self._running:
                self._running[number].send(signal.SIGCONT)
        self._stopped.clear()


def _file(number: int) -> str:
    check = "self.fail('bad')" if number in BAD else "pass"
    return (
        "import time, unittest\n\n\nclass T(unittest.TestCase):\n    def test_it(self):\n"
        f"        time.sleep({0.5 + number % 5 * 0.6})\n        {check}\n\n\n"
        "if __name__ == '__main__':\n    unittest.main()\n"
    )


if __name__ == "__main__":
    sys.exit(main())
