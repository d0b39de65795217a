"""A watch answers changes and keys with rounds, whatever goes wrong in one of them."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.config.model import TestConfig
from dispatcher.run.inputs import ProjectInputs
from dispatcher.run.runner import TestRunner
from dispatcher.watch.events import Key
from dispatcher.watch.session import WatchContext, WatchSession
from passmuster.model.errors import ConfigurationError
from passmuster.settings.origins import NO_ORIGINS, Origins
from tests.unit.dispatcher.scripted_target import ScriptedTarget

DEADLINE_S = 30.0


class Watched:
    """A project that is watched by the main thread, while another one plays the user."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.target = ScriptedTarget()
        self.rounds: list[list[str]] = []
        self.lines: list[str] = []
        self.problem = ""
        self.is_unread = False
        self._idle = queue.SimpleQueue[None]()
        self._failures: list[BaseException] = []
        for name in ("one", "two"):
            self.save(f"tests/test_{name}.py", "print(1)\n")
        context = WatchContext(
            load=self._load,
            run=self._run,
            target=self.target,
            polls=False,
            environ=dict(os.environ),
            cwd=root,
            say=self._say,
            warn=self.lines.append,
            complain=self.lines.append,
            is_unread=lambda: self.is_unread,
        )
        self.session = WatchSession(context, root)

    def save(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def wait(self) -> None:
        """Wait for the end of what is being done."""
        self._idle.get(timeout=DEADLINE_S)

    def watch(self, user: Callable[[], None]) -> None:
        """Watch until the user has done what he does."""

        def act() -> None:
            try:
                self.wait()
                user()
            except BaseException as error:
                self._failures.append(error)
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGTERM)

        thread = threading.Thread(target=act)
        thread.start()
        self.session.execute()
        thread.join()
        assert not self._failures, (self._failures, self.lines)

    def _load(self) -> tuple[TestConfig, Origins]:
        if self.problem:
            raise ConfigurationError(self.problem)
        return TestConfig(root=self.root, python=sys.executable), NO_ORIGINS

    def _run(self, runner: TestRunner, _config: TestConfig) -> int:
        self.rounds.append([Path(file.path).stem for file in runner.selection.files])
        runner.run_tests()
        return 0

    def _say(self, line: str) -> None:
        self.lines.append(line)
        if line.startswith("Waiting"):
            self._idle.put(None)


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path.resolve())


def test_a_wrong_configuration_is_said_and_the_next_change_is_answered(watched: Watched) -> None:
    def user() -> None:
        assert len(watched.target.announced) == 1
        watched.problem = "timeout must be positive"
        watched.save("tests/test_one.py", "print(2)\n")
        watched.wait()
        assert "timeout must be positive" in watched.lines
        watched.problem = ""
        watched.save("tests/test_one.py", "print(3)\n")
        watched.wait()

    watched.watch(user)

    assert watched.rounds[0] == ["test_one", "test_two"]
    assert len(watched.rounds) == 2
    assert "test_one" in watched.rounds[1]


def test_a_change_of_the_packages_replaces_the_servers(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = ["before"]
    monkeypatch.setattr(ProjectInputs, "environment", lambda _: packages[0])

    def user() -> None:
        assert watched.target.discarded == 0
        packages[0] = "after"
        watched.session._press(Key.ALL)
        watched.wait()
        assert watched.target.discarded == 1

    watched.watch(user)


def test_a_watch_whose_output_nobody_reads_ends(watched: Watched) -> None:
    watched.is_unread = True

    watched.session.execute()

    assert len(watched.rounds) == 1


def test_keys_run_all_files_the_last_ones_or_those_that_failed(watched: Watched) -> None:
    def user() -> None:
        for key in (Key.ALL, Key.AGAIN, Key.FAILED):
            watched.session._press(key)
            watched.wait()

    watched.watch(user)

    assert watched.rounds == [["test_one", "test_two"]] * 3
    assert "No file failed when it last ran" in watched.lines
    assert watched.target.closed
