"""Machines that join one run: each a checkout of its own, all on one broker, each with its own processes."""

from __future__ import annotations

import signal
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.e2e.support.outcome import Outcome, read_events
from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project, Running
from tests.e2e.support.queue_runs import SECRET

LONG_S = 90.0
"""Seconds for what takes a claim's time and more."""

RUN = "the run of 12 commits"


class Machines:
    """So many checkouts of one project.

    Args:
        base: where they lie.
        python_home: the virtual environment that calls find active.
        url: the broker.
        count: how many.
    """

    def __init__(self, base: Path, python_home: Path, url: str, count: int) -> None:
        self.shared = base / "shared"
        self.shared.mkdir()
        self.url = url
        self.projects: list[Project] = []
        self._started: list[Running] = []
        for number in range(count):
            folder = base / f"machine-{number}"
            folder.mkdir()
            self.projects.append(Project(base=folder, python_home=python_home))

    def write(self, files: Mapping[str, str]) -> None:
        """Write the same files into all checkouts."""
        for project in self.projects:
            project.write(files)

    def environment(self, number: int, **changes: str | None) -> dict[str, str | None]:
        return {
            "PASSMUSTER_BROKER_URL": self.url,
            "PASSMUSTER_SECRET": SECRET,
            "PASSMUSTER_SLOT": "0",
            "PASSMUSTER_JOB_INDEX": str(number),
            "SHARED": str(self.shared),
            **changes,
        }

    def start(
        self, number: int, *arguments: str, prefix: tuple[str, ...] = (), **changes: str | None
    ) -> Running:
        """Start the command on one machine."""
        running = self.projects[number].start(
            *("--join", RUN, "-j", "2", "--junit-xml", "report.xml", *arguments),
            env=self.environment(number, **changes),
            prefix=prefix,
        )
        self._started.append(running)
        return running

    def junit(self, number: int) -> dict[str, list[tuple[str, str]]]:
        """Return what a machine's JUnit report has of each file: its cases, each with how it ended."""
        return junit_cases(self.projects[number].root / "report.xml")

    def runs_of(self, name: str) -> int:
        """Return how often a file was run, on whatever machine."""
        path = self.shared / f"{name}.ran"
        return len(path.read_text()) if path.exists() else 0

    def wait_for(self, name: str) -> None:
        """Wait until somebody has made this file in the folder that all share."""
        wait_until((self.shared / name).exists, f"nobody makes {name}", within_s=LONG_S)

    def tell(self, name: str) -> None:
        """Make a file there."""
        (self.shared / name).touch()

    def close(self) -> None:
        """End what a failed test has left."""
        for running in self._started:
            if running.process.poll() is None:
                kill(running)

    def check(self) -> None:
        """Fail when a process of any machine is left."""
        for project in self.projects:
            # A worker whose machine was killed ends by itself, but later.
            wait_until(lambda project=project: not project.processes(), f"processes are left: {project}")  # type: ignore[misc]
            project.check_nothing_is_left()


def leader_of(running: Mapping[int, Running]) -> int:
    """Wait until one of them leads; return which."""
    found: list[int] = []

    def leads() -> bool:
        found[:] = [
            number
            for number, one in running.items()
            if any(event["event"] == "run-started" for event in _complete_events(one.events))
        ]
        return bool(found)

    wait_until(leads, "nobody leads", within_s=LONG_S)
    return found[0]


def has_ended(events: Path, count: int) -> bool:
    """Return whether so many files have ended, as a leader's events have it."""
    finished = {event["label"] for event in _complete_events(events) if event["event"] == "file-finished"}
    return len(finished) >= count


def kill(running: Running) -> None:
    """Kill a machine's command; its worker sees that, and ends."""
    running.send(signal.SIGKILL)
    running.end()
    running.project.may_leave_tmp = True


def ends(running: Mapping[int, Running]) -> dict[int, Outcome]:
    """Wait for the ends of all."""
    return {number: one.end(timeout_s=LONG_S) for number, one in running.items()}


def junit_cases(path: Path) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        found[suite.get("name", "")] = sorted(_cases(suite))
    return found


def _cases(suite: ElementTree.Element) -> Iterator[tuple[str, str]]:
    for case in suite.iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        yield f"{case.get('classname')}.{case.get('name')}", kinds[0] if kinds else "passed"


def _complete_events(path: Path) -> tuple[dict[str, object], ...]:
    """Return the events written so far; none while the last line is not whole."""
    try:
        return tuple(dict(event) for event in read_events(path))
    except ValueError:
        return ()


def counted(name: str, body: str = "") -> str:
    """Return a file with one test, which notes in the folder that all share that it ran."""
    lines = "".join(f"        {line}\n" for line in body.splitlines())
    return (
        "import os, time, unittest\n\n\nclass Counted(unittest.TestCase):\n"
        "    def test_it(self):\n"
        "        shared = os.environ['SHARED']\n"
        f"        with open(os.path.join(shared, '{name}.ran'), 'a') as file: file.write('x')\n"
        f"{lines}\n\nif __name__ == '__main__':\n    unittest.main()\n"
    )


def waits(name: str) -> str:
    """Return such a file, which waits until the test lets it go on."""
    return counted(
        name,
        "until = time.monotonic() + 80\n"
        f"open(os.path.join(shared, '{name}.waits'), 'w').close()\n"
        "while not os.path.exists(os.path.join(shared, 'go')) and time.monotonic() < until: time.sleep(0.02)",
    )


FAILS_UNTIL_MENDED = counted(
    "test_fails", "self.assertTrue(os.path.exists(os.path.join(shared, 'mended')), 'not mended')"
)
