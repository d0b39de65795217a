"""Modules that several files need are imported once, unfit ones never, and `explain` says so."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.model.status import Isolation, Status
from tests.unit.worker.workbench import Workbench
from worker.forkserver.explain import explain
from worker.forkserver.fork_advice import ForkAdvisor
from worker.forkserver.server_pool import ServerPool

COUNTS = "with open({place!r}, 'ab') as file:\n    file.write(b'.')\n"
"""A module that tells how often it was imported."""

SLOW = "import time\nend = time.process_time() + 0.05\nwhile time.process_time() < end:\n    pass\n"
"""A module that is worth importing once."""


class Installation(Workbench):
    """A bench whose interpreter has packages of our own making."""

    def __init__(self, folder: Path) -> None:
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
        super().__init__(folder, interpreter=str(venv / "bin" / "python"))
        (self.site_packages,) = venv.glob("lib/*/site-packages")
        self.state_dir = folder / "state"
        self.state_dir.mkdir()
        self.use(structs.replace(self.settings, state_dir=self.state_dir))

    def install(self, name: str, text: str) -> None:
        path = self.site_packages / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")

    def write_files(self, text: str, count: int = 4) -> list[str]:
        names = [f"test_{number}.py" for number in range(count)]
        for name in names:
            self.write(name, text)
        return names

    def think(self, names: list[str]) -> ForkAdvisor:
        """Start the servers that these files need, as a run does when it has had the time."""
        assert isinstance(self.executor._server_pool, ServerPool)
        return self.executor._server_pool.probe([self.task(name) for name in names])

    def outputs(self, names: list[str]) -> list[str]:
        results = [self.run(self.task(name)) for name in names]
        assert {(result.status, result.isolation) for result in results} == {(Status.PASS, Isolation.FORK)}
        return [result.output for result in results]

    def explanation(self, names: list[str], settings: object = None) -> list[str]:
        with closing(ServerPool(settings or self.settings)) as fleet:  # type: ignore[arg-type]
            return list(explain(fleet, [self.task(name) for name in names]))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Installation]:
    bench = Installation(tmp_path)
    yield bench
    bench.executor.close()


def test_a_module_that_several_files_need_is_imported_once(bench: Installation) -> None:
    place = str(bench.root / "imports")
    bench.install("heavy.py", COUNTS.format(place=place) + SLOW)
    names = bench.write_files("import heavy\nprint(heavy.__name__)\n")
    bench.think(names)

    assert bench.outputs(names) == ["heavy\n"] * 4
    assert Path(place).read_text(encoding="utf-8") == "."


def test_a_missing_import_stays_missing(bench: Installation) -> None:
    bench.install("heavy/__init__.py", SLOW)
    bench.install("heavy/part.py", "")
    names = bench.write_files("import heavy.part\n")
    bench.write("test_forgot.py", "import heavy\nprint(hasattr(heavy, 'part'))\n")
    bench.think([*names, "test_forgot.py"])

    assert bench.outputs(["test_forgot.py"]) == ["False\n"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n",
            "thread",
        ),
        ("import signal\nsignal.signal(signal.SIGUSR1, lambda *_: None)\n", "signal"),
        ("import os\nkept = os.open('/', os.O_RDONLY)\n", "open"),
        ("print('hello')\n", "prints"),
        ("raise ImportError('broken')\n", "ImportError"),
        ("import sys\nsys.excepthook = print\n", "excepthook"),
    ],
)
def test_a_module_that_is_unfit_is_left_out_and_named(bench: Installation, text: str, reason: str) -> None:
    bench.install("unfit.py", text)
    bench.install("heavy.py", SLOW)
    use = "try:\n    import unfit\nexcept ImportError:\n    pass\nimport heavy\n"
    names = bench.write_files(use + "import os\nos._exit(0)\n")

    lines = bench.explanation(names)
    advisor = bench.think(names)

    assert any(line.startswith("left out: unfit: ") and reason in line for line in lines), lines
    assert [chosen.modules for choice in advisor.choices().values() for chosen in choice.sets] == [("heavy",)]


def test_a_file_that_needs_a_module_that_patches_others_is_spawned(bench: Installation) -> None:
    bench.install("green.py", SLOW + "time.sleep = lambda seconds: None\n")
    names = bench.write_files("import green\n")
    bench.think(names)

    results = [bench.run(bench.task(name)) for name in names]

    assert {(result.status, result.isolation) for result in results} == {(Status.PASS, Isolation.SPAWN)}
    assert {result.isolation_note for result in results} == {"importing green replaces time.sleep"}


ONLY_IN_A_SERVER = "import sys, time, os\nif '--serve' in sys.orig_argv:\n    {act}\n"


@pytest.mark.parametrize(
    ("act", "reason"), [("os._exit(3)", "ends the process"), ("time.sleep(600)", "does not end within 1 s")]
)
def test_a_module_whose_import_never_returns_is_left_out(
    bench: Installation, monkeypatch: pytest.MonkeyPatch, act: str, reason: str
) -> None:
    bench.run_text("pass\n")  # The servers below are there: the limit is for that one import.
    monkeypatch.setattr("worker.forkserver.server.IMPORT_WAIT_S", 1.0)
    bench.install("stuck.py", ONLY_IN_A_SERVER.format(act=act))
    bench.install("heavy.py", SLOW)
    names = bench.write_files("import stuck, heavy\n")
    advisor = bench.think(names)
    monkeypatch.undo()

    assert advisor.facts()["stuck"].verdict == reason
    assert bench.outputs(names) == [""] * 4


def test_what_a_file_was_seen_to_import_is_preloaded_next_time(bench: Installation) -> None:
    bench.install("hidden.py", SLOW)
    names = bench.write_files("__import__('hid' + 'den')\n")
    assert bench.think(names).choices()["script"].sets == ()
    bench.outputs(names)

    bench.use(bench.settings)
    advisor = bench.think(names)

    assert [chosen.modules for chosen in advisor.choices()["script"].sets] == [("hidden",)]
    # Until the file changes.
    bench.write(names[0], "__import__('hid' + 'den')\n# changed\n")
    bench.use(bench.settings)
    assert bench.think(names).choices()["script"].set_of(names[0]) is None


def test_a_package_of_the_project_is_preloaded_only_where_that_is_asked_for(bench: Installation) -> None:
    place = str(bench.root / "imports")
    bench.write("shop/__init__.py", COUNTS.format(place=place) + SLOW)
    names = bench.write_files("import shop\n")
    bench.think(names)
    bench.outputs(names)
    assert Path(place).read_text(encoding="utf-8") == "...."

    bench.use(structs.replace(bench.settings, preload=("shop",)))
    bench.think(names)
    bench.outputs(names)

    assert Path(place).read_text(encoding="utf-8") == "....."


WRITES = "import os\nos.environ['WRITTEN'] = 'early'\n"


def test_a_write_to_the_environment_is_carried_by_the_module_that_writes_or_named(
    bench: Installation,
) -> None:
    bench.install("heavy.py", "import os\nVALUE = os.environ.get('WRITTEN')\n" + SLOW)
    bench.write("shop/__init__.py", WRITES)
    names = bench.write_files("import shop\nimport heavy\nprint(heavy.VALUE)\n")

    lines = bench.explanation(names)

    place = "shop/__init__.py:2, which writes to the environment"
    assert any(line.startswith(f"left out: what 4 file(s) import after {place}") for line in lines), lines
    assert bench.think(names).choices()["script"].sets == ()
    assert bench.outputs(names) == ["early\n"] * 4

    bench.use(structs.replace(bench.settings, preload=("shop",)))
    [chosen] = bench.think(names).choices()["script"].sets

    assert chosen.modules == ("shop", "heavy")
    assert bench.outputs(names) == ["early\n"] * 4


def test_a_named_package_that_costs_next_to_nothing_is_named_as_such(bench: Installation) -> None:
    bench.write("shop/__init__.py", WRITES)
    names = bench.write_files("import shop\n")

    lines = bench.explanation(names, structs.replace(bench.settings, preload=("shop",)))

    assert any(line.startswith("left out: shop (") and "save too little" in line for line in lines), lines


def test_the_explanation_names_the_files_that_are_spawned_and_why(bench: Installation) -> None:
    names = bench.write_files("import sys\nsys.modules\n", 1)

    assert any(
        line.startswith("spawned: test_0.py: ") and "sys.modules" in line for line in bench.explanation(names)
    )
    spawning = structs.replace(bench.settings, isolation=Isolation.SPAWN)
    assert bench.explanation(names, spawning) == [
        "nothing is forked: the configuration asks for spawned processes"
    ]
    broken = structs.replace(bench.settings, interpreter="/bin/false")
    [line] = bench.explanation(names, broken)
    assert line.startswith("nothing is forked: the fork server died")
