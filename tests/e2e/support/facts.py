"""Small programs run by plain Python and by us, spawned and forked, to compare output and exit status.

Many programs share one call of the runner: that is far quicker than one call each.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.support.project import Project
from worker.forkserver.server import ForkServer, Setup, start_server
from worker.process.environment import get_test_environment
from worker.process.supervisor_client import Ended, SupervisorClient

Seen = dict[str, tuple[str, int | None]]
"""What each program printed, normalised, and its exit status (negative: the signal that ended it)."""

STATIC = {"TESTING": "true", "TEST_MODE": "mock", "PYTHONFAULTHANDLER": "1", "PASSMUSTER_SLOT": "0"}
"""What each file gets in its environment beside the caller's, as far as it is the same for all."""

_VARYING = (
    (r"in [0-9.]+s", "in TIME"),
    (r"0x[0-9a-f]+", "ADDRESS"),
    (r"psm_[0-9a-f]+", "SHARED"),
    # What warnings say more while the interpreter is whole.
    (r"\w+Warning: Enable tracemalloc to get the object allocation traceback\n", ""),
    # Where faulthandler shows stacks, our one frame, and which extensions are loaded.
    (r'  File ".*passmuster_child_main\.py", line .*\n', ""),
    (r"\n\nExtension modules: .*\n", "\n"),
    (r"\n\nCurrent thread's C stack trace \(most recent call first\):\n(  .*\n)+", "\n"),
)


def normalised(text: str) -> str:
    """Return output without what is different each time."""
    for pattern, name in _VARYING:
        text = re.sub(pattern, name, text)
    return text


def file_of(name: str) -> str:
    """Return the path of a program's file."""
    return f"tests/test_{name.replace(' ', '_')}.py"


class Facts:
    """The programs of one test module, run in each way at most once.

    Args:
        project: an empty project, which gets them.
        interpreter: that runs them.
        programs: their sources, by name.
        others: further files of the project.
        environment: changes to the caller's environment.
        runner: as the setting of that name.
    """

    def __init__(
        self,
        project: Project,
        interpreter: str,
        programs: Mapping[str, str],
        *,
        others: Mapping[str, str | bytes] | None = None,
        environment: Mapping[str, str | None] | None = None,
        runner: str = "script",
    ) -> None:
        self._project = project
        self._interpreter = interpreter
        self._names = list(programs)
        # Sockets in a TMPDIR may have no path of more than 107 bytes (unix(7)), and a test's own is long.
        self._changes = {"TMPDIR": "/tmp", **(environment or {})}
        self._runner = runner
        self._seen: dict[str, Seen] = {}
        project.write({file_of(name): source for name, source in programs.items()} | dict(others or {}))

    def plain(self) -> Seen:
        """Return what `python FILE`, `python -m pytest FILE` or `python -m unittest MODULE` makes of them."""
        if "plain" not in self._seen:
            with ThreadPoolExecutor(2) as pool:
                self._seen["plain"] = dict(zip(self._names, pool.map(self._plain, self._names), strict=True))
        return self._seen["plain"]

    def ours(self, isolation: str) -> Seen:
        """Return what comes of them with `--isolation`."""
        if isolation not in self._seen:
            arguments = ("--runner", self._runner, "--python", self._interpreter, "-j", "2", "-q")
            outcome = self._project.run("--isolation", isolation, *arguments, env=self._changes)
            (started,) = outcome.of_kind("run-started")
            folder = self._project.root / ".passmuster/runs" / str(started["run_id"]) / "output"
            seen: Seen = {}
            for name in self._names:
                ended = outcome.final(file_of(name))
                log = (folder / f"{file_of(name)}.log").read_text(errors="backslashreplace")
                seen[name] = (normalised(log), ended.exit_code if ended.signal is None else -ended.signal)
            used = {event["isolation"] for event in outcome.of_kind("file-finished")}
            assert used == {isolation}, outcome
            self._seen[isolation] = seen
        return self._seen[isolation]

    def preloaded(self, modules: Sequence[str], own: Mapping[str, str] | None = None) -> Seen:
        """Return what comes of them when forked from a server that has imported these modules.

        Args:
            modules: what the server imports.
            own: those of them that are the project's, each with its file.
        """
        if "preloaded" not in self._seen:
            environment, root = self._environment(), self._project.root
            files = [(name, str(root / file)) for name, file in (own or {}).items()]
            with warm_supervisor(self._interpreter, environment, root, modules, files) as supervisor:
                self._seen["preloaded"] = {name: self._forked(supervisor, name) for name in self._names}
        return self._seen["preloaded"]

    def _environment(self) -> dict[str, str]:
        return get_test_environment(self._project.environment(self._changes))

    def _changes_for(self, name: str, way: str) -> dict[str, str]:
        folder = tempfile.mkdtemp(prefix="pmf-", dir="/tmp")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        return {"TMPDIR": folder, "PASSMUSTER_ATTEMPT": f"{way}:{name}"}

    def _plain(self, name: str) -> tuple[str, int]:
        how = {
            "script": [file_of(name)],
            "pytest": ["-m", "pytest", file_of(name)],
            "unittest": ["-m", "unittest", Path(file_of(name)).stem],
        }[self._runner]
        changes = self._changes_for(name, "plain")
        if self._runner == "unittest":
            changes["PYTHONPATH"] = "tests"
        finished = subprocess.run(
            [self._interpreter, *how],
            cwd=self._project.root,
            env={**self._environment(), **changes},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            timeout=60,
            check=False,
        )
        return normalised(finished.stdout.decode(errors="backslashreplace")), finished.returncode

    def _forked(self, supervisor: SupervisorClient, name: str) -> tuple[str, int | None]:
        argv = ["passmuster_child_main.py", file_of(name), self._runner, "", "", ""]
        read, write = os.pipe()
        output: list[bytes] = []

        def drain() -> None:
            while part := os.read(read, 1 << 16):
                output.append(part)

        with open(os.devnull, "wb") as report:
            changes = self._changes_for(name, "preloaded")
            supervisor.fork(argv, changes, str(self._project.root), [], output=write, report=report.fileno())
        os.close(write)
        reader = threading.Thread(target=drain)
        reader.start()
        ended = next(message for message in _messages(supervisor) if isinstance(message, Ended))
        reader.join()
        os.close(read)
        text = normalised(b"".join(output).decode(errors="backslashreplace"))
        return text, os.waitstatus_to_exitcode(ended.wait_status)


def _messages(supervisor: SupervisorClient) -> Iterator[object]:
    while True:
        yield from supervisor.receive()


@contextmanager
def warm_supervisor(
    interpreter: str,
    environment: Mapping[str, str],
    cwd: Path,
    modules: Sequence[str],
    own: Sequence[tuple[str, str]] = (),
) -> Iterator[SupervisorClient]:
    """Have a supervisor that forks from a server with unittest and further modules imported."""
    never = threading.Event()
    servers: list[ForkServer] = [start_server(interpreter, environment, str(cwd), never)]
    supervisor: SupervisorClient | None = None
    try:
        servers.append(servers[-1].derive(Setup(base="script"), never))
        servers.append(servers[-1].derive(Setup(modules=tuple(modules), own=tuple(own)), never))
        assert not servers[-1].answer.why_not, servers[-1].answer.why_not
        supervisor = servers[-1].supervisor()
        yield supervisor
    finally:
        if supervisor is not None:
            supervisor.close()
        for server in reversed(servers):
            server.close()
