"""Runs of other projects on the same machine: they share its memory and processors with our workers."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from passmuster.host.machine_claims import claim_paths, read_claim
from tests.faults import check
from tests.faults.dispatchers import start_command

END_S = 120.0
"""Seconds after which another run hangs."""

_FILES = {
    "test_busy.py": (
        "PASS",
        "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\n",
    ),
    "test_large.py": ("PASS", "import time\nkept = b'x' * 150_000_000\ntime.sleep(1)\n"),
    "test_wrong.py": ("FAIL", "import sys\nsys.exit(1)\n"),
    **{f"test_sleeps_{number}.py": ("PASS", "import time\ntime.sleep(0.7)\n") for number in range(4)},
}


@dataclass(kw_only=True)
class OtherRun:
    """One of them.

    Args:
        process: its command.
        folder: its project, its log and its reports.
        is_killed: whether the harness killed it.
    """

    process: subprocess.Popen[bytes]
    folder: Path
    is_killed: bool = False


class OtherRuns:
    """All of them.

    Args:
        folder: each gets a folder of its own in it.
        environ: what they get.
        words: the arguments by which they share the machine with our workers.
        machine_folder: where all runs leave their claims.
    """

    def __init__(
        self, folder: Path, environ: Mapping[str, str], words: Sequence[str], machine_folder: Path
    ) -> None:
        self._folder, self._environ, self._words = folder, environ, words
        self._machine_folder = machine_folder
        self._runs: list[OtherRun] = []

    def begin(self) -> OtherRun:
        """Start one."""
        folder = self._folder / f"other-{len(self._runs)}"
        root = folder / "project"
        root.mkdir(parents=True)
        for name, (_, text) in _FILES.items():
            (root / name).write_text(text, encoding="utf-8")
        reports = ("--events", str(folder / "events.jsonl"), "--junit-xml", str(folder / "junit.xml"))
        words = ("--runner", "script", "--jobs", "2", *self._words, *reports)
        process = start_command(root, folder / "other.log", self._environ, *words)
        self._runs.append(OtherRun(process=process, folder=folder))
        return self._runs[-1]

    def under_way(self) -> OtherRun | None:
        """Return the oldest that has not ended."""
        return next((one for one in self._runs if one.process.poll() is None), None)

    def kill(self, one: OtherRun) -> None:
        """Send SIGKILL to one, if it has not ended."""
        if one.process.poll() is None:
            one.is_killed = True
            one.process.kill()
            one.process.wait()

    def send(self, one: OtherRun, number: signal.Signals) -> None:
        """Send another signal to one."""
        if one.process.poll() is None:
            one.process.send_signal(number)

    def wrong(self) -> Iterator[str]:
        """Wait for their ends; yield what is wrong with those that nobody killed."""
        deadline = time.monotonic() + END_S
        for one in self._runs:
            with suppress(subprocess.TimeoutExpired):
                one.process.wait(max(0.1, deadline - time.monotonic()))
            if one.process.poll() is None:
                yield f"{one.folder.name} has not ended after {END_S:.0f} s"
            elif not one.is_killed:
                expected = {name: status for name, (status, _) in _FILES.items()}
                events = check.read_events(one.folder / "events.jsonl")
                found = check.wrong_results(
                    events, one.folder / "junit.xml", one.process.returncode, expected
                )
                yield from (f"{one.folder.name}: {text}" for text in found)

    def wrong_claims(self) -> Iterator[str]:
        """Yield the claims that count although every run and every worker has ended."""
        for path in claim_paths(self._machine_folder):
            if read_claim(path) is not None:
                yield f"the claim {path.name} is held although everything has ended"

    def close(self) -> None:
        """End what is left."""
        for one in self._runs:
            self.kill(one)
