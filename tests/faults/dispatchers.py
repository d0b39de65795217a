"""The dispatchers of one run of the harness: started, killed, and started again with `--resume`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.faults import check

REPOSITORY = Path(__file__).resolve().parents[2]

EXIT_INFRASTRUCTURE = 3

MAX_RESUMES = 10
"""How often a killed dispatcher is started again where it finds no server: a cut lasts 15 s at most."""

NO_SPACE = "No space left on device"


@dataclass(kw_only=True)
class Dispatcher:
    """One dispatcher, and the one that went on with its run.

    Args:
        process: the last one.
        log: what all of them print.
        events: of the last one.
        junit: its report.
        log_start: where the last one's lines begin in the log, in bytes.
        is_down: whether it was killed, and is to be started again.
        resumes_left: how often it may be started again where it finds no server.
    """

    process: subprocess.Popen[bytes]
    log: Path
    events: Path
    junit: Path
    log_start: int = 0
    is_down: bool = False
    resumes_left: int = 0
    _known_id: str = ""

    @property
    def run_id(self) -> str:
        """The run's id, once it has begun; a resumed one begins its events anew."""
        events = [] if self._known_id else check.read_events(self.events)
        if events:
            self._known_id = str(events[0]["run_id"])
        return self._known_id

    @property
    def had_no_space(self) -> bool:
        """Whether the last one said that a disk is full."""
        return NO_SPACE.encode() in self.log.read_bytes()[self.log_start :]

    @property
    def found_no_server(self) -> bool:
        """Whether the last one ended for want of a server: its user tries once more."""
        return self.process.poll() == EXIT_INFRASTRUCTURE and not self.had_no_space


class Dispatchers:
    """Those of all runs.

    Args:
        root: the project.
        folder: for logs and reports.
        environ: what they get.
        url: the server's address.
        count: how many.
    """

    def __init__(self, root: Path, folder: Path, environ: Mapping[str, str], url: str, count: int) -> None:
        self._root, self._environ, self._url = root, environ, url
        self._is_abandoned = False
        self.all = [self._started(folder, number) for number in range(count)]

    def have_begun(self) -> bool:
        """Return whether each has told which run it is."""
        return all(one.run_id for one in self.all)

    def have_ended(self, note: Callable[[str], None]) -> bool:
        """Return whether all have; try once more for one that was resumed while there was no server."""
        for one in self.all:
            if one.is_down or one.process.poll() is None:
                return False
            if one.resumes_left and one.found_no_server:
                one.resumes_left -= 1
                note("resumed once more")
                self._resume(one)
                return False
        return True

    def kill(self, number: int) -> Callable[[], None] | None:
        """Kill one; return what resumes its run. None: it had ended."""
        one = self.all[number % len(self.all)]
        run_id = one.run_id
        if one.process.poll() is not None or not run_id:
            return None
        one.process.kill()
        one.process.wait()
        one.is_down, one.resumes_left = True, MAX_RESUMES
        return lambda: self._resume(one)

    def abandon(self) -> None:
        """Kill all for good."""
        self._is_abandoned = True
        for one in self.all:
            one.is_down, one.resumes_left = False, 0
        self.send(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all that run."""
        for one in self.all:
            if one.process.poll() is None:
                one.process.send_signal(number)

    def close(self) -> None:
        """End what is left."""
        self.send(signal.SIGKILL)
        for one in self.all:
            one.process.wait()

    def _started(self, folder: Path, number: int) -> Dispatcher:
        log, events = folder / f"dispatcher-{number}.log", folder / f"events-{number}.jsonl"
        junit = folder / f"junit-{number}.xml"
        return Dispatcher(process=self._call(log, events, junit), log=log, events=events, junit=junit)

    def _resume(self, one: Dispatcher) -> None:
        if self._is_abandoned:
            return
        one.log_start = one.log.stat().st_size
        one.process = self._call(one.log, one.events, one.junit, "--resume", one.run_id)
        one.is_down = False

    def _call(self, log: Path, events: Path, junit: Path, *words: str) -> subprocess.Popen[bytes]:
        words = (*words, "--broker", self._url, "--events", str(events), "--junit-xml", str(junit))
        return start_command(self._root, log, self._environ, *words)


def start_command(root: Path, log: Path, environ: Mapping[str, str], *words: str) -> subprocess.Popen[bytes]:
    """Start `run_tests.py` over a project; what it prints is appended to the log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, str(REPOSITORY / "run_tests.py"), *words],
            cwd=root,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
