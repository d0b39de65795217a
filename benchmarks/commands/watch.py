"""`watch`: from the save of a small pytest file to its verdict, ours, pytest-watcher, and pytest in a loop.

Each runner watches a project of its own, and they take turns. `pytest FILE` is started by this process at
once, as if it had noticed the save in no time.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import Setting, fresh_suite
from benchmarks.environments import ensure_environment
from benchmarks.measure import plain_environment
from benchmarks.ours import REPOSITORY
from benchmarks.process_memory import tree
from benchmarks.tables import median, print_table, spread, write_json

MAX_RATIO = 0.3
"""How long ours may take, as a part of the time of each of the others."""

MAX_MS = 250.0

PACKAGES = ("pytest==9.2.0", "pytest-watcher==0.6.3", "watchdog==6.0.0")
"""With watchdog 7, this pytest-watcher finds that no file matches its pattern `*.py`."""

FILES = 20
"""Test files of the project: only one of them changes."""

PAUSE_S = 0.5
"""Seconds between two saves, in which pytest and pytest-watcher come to rest."""

WAIT_S = 30.0
CALM_S = 22.0
"""Seconds without a change before idle time is measured: for some of them, ours expects another change."""

IDLE_S = 10.0

FILE = "tests/test_0.py"
TEXT = "import shop\n\n\ndef test_price():\n    assert shop.price({number}) == {number} * 2\n"
OURS, WATCHER, LOOP = "ours", "pytest-watcher", "pytest in a loop"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRecord:
    """One save.

    Args:
        variant: what watched.
        verdict_ms: milliseconds until the verdict was printed.
        load: processes that ran or wanted a CPU just before, on the whole machine.
    """

    variant: str
    verdict_ms: float
    load: int


class Watcher:
    """A process that watches a project, and what it prints."""

    def __init__(self, command: Sequence[str], root: Path) -> None:
        self._lines: queue.SimpleQueue[tuple[float, str]] = queue.SimpleQueue()
        self.process = subprocess.Popen(
            command,
            cwd=root,
            env={**plain_environment(), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def wait_for(self, text: str) -> float:
        """Return when a line with `text` was read, by the monotonic clock.

        Raises:
            queue.Empty: there was none in time.
        """
        while True:
            at_s, line = self._lines.get(timeout=WAIT_S)
            if text in line:
                return at_s

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put((time.monotonic(), line))


def run(setting: Setting) -> bool:
    """Measure and print; return whether the aims are met."""
    python = ensure_environment(setting.cache / "environments" / "watch", PACKAGES)
    folder = fresh_suite(setting.cache / "suites" / "watch")
    roots = [_write_project(folder / name) for name in ("ours", "watcher", "loop")]
    ours_command = [shutil.which("python3") or "python3", str(REPOSITORY / "run_tests.py"), "watch"]
    records: list[WatchRecord] = []
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(
            _watch([*ours_command, "--python", str(python), *setting.ours_options], roots[0])
        )
        ours.wait_for("Waiting for changes")
        watcher = stack.enter_context(
            _watch(
                [str(python), "-m", "pytest_watcher", ".", "--runner", f"{python.parent}/pytest", FILE],
                roots[1],
            )
        )
        watcher.wait_for("Waiting for file changes")
        time.sleep(1.0)  # Its observer starts after it says so.

        def ours_verdict(root: Path, number: int) -> float:
            began_s = _save(root, number)
            ended_s = ours.wait_for(f"[PASS] {FILE}")
            ours.wait_for("Waiting for changes")
            return ended_s - began_s

        def watcher_verdict(root: Path, number: int) -> float:
            began_s = _save(root, number)
            return watcher.wait_for("1 passed") - began_s

        def loop_verdict(root: Path, number: int) -> float:
            began_s = _save(root, number)
            pytest = Watcher([f"{python.parent}/pytest", FILE], root)
            ended_s = pytest.wait_for("1 passed")
            pytest.process.wait()
            return ended_s - began_s

        variants: list[tuple[str, Callable[[Path, int], float]]] = [
            (OURS, ours_verdict),
            (WATCHER, watcher_verdict),
            (LOOP, loop_verdict),
        ]
        for number in range(setting.rounds + 1):  # The first one is for the caches.
            for (variant, verdict), root in zip(variants, roots, strict=True):
                load = _runnable()
                took_s = verdict(root, number + 10)
                if number:
                    records.append(WatchRecord(variant=variant, verdict_ms=took_s * 1000, load=load))
                time.sleep(PAUSE_S)
        time.sleep(CALM_S)
        idle_ms = _idle_cpu_ms(ours.process.pid)
    is_met = _print(records, idle_ms)
    write_json(setting.output, "watch", records)
    return is_met


@contextlib.contextmanager
def _watch(command: Sequence[str], root: Path) -> Iterator[Watcher]:
    watcher = Watcher(command, root)
    try:
        yield watcher
    finally:
        watcher.close()


def _write_project(root: Path) -> Path:
    (root / "tests").mkdir(parents=True)
    (root / "pyproject.toml").write_text('[tool.pytest.ini_options]\npythonpath = ["."]\n')
    (root / "shop.py").write_text("def price(number):\n    return number * 2\n")
    for number in range(FILES):
        (root / "tests" / f"test_{number}.py").write_text(TEXT.format(number=number))
    return root


def _save(root: Path, number: int) -> float:
    """Save the file with another content, as editors do: a new file gets its name."""
    path = root / FILE
    new = path.with_name(".saving~")
    new.write_text(TEXT.format(number=number))
    began_s = time.monotonic()
    new.replace(path)
    return began_s


def _runnable() -> int:
    """Return how many processes of the machine run or want a CPU, without this one."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0]) - 1


def _idle_cpu_ms(pid: int) -> float:
    """Return the CPU milliseconds of a tree of processes for each second, while nothing happens."""
    before_s, began_s = _cpu_s(pid), time.monotonic()
    time.sleep(IDLE_S)
    return (_cpu_s(pid) - before_s) * 1000 / (time.monotonic() - began_s)


def _cpu_s(pid: int) -> float:
    ticks = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _print(records: Sequence[WatchRecord], idle_ms: float) -> bool:
    """Print the table; return whether the aims are met."""
    times = {
        name: [one.verdict_ms for one in records if one.variant == name] for name in (OURS, WATCHER, LOOP)
    }
    ours_ms = median(times[OURS])
    ratios = {name: ours_ms / median(found) for name, found in times.items()}
    rows = [[name, spread(found, 0), f"{ratios[name]:.2f}"] for name, found in times.items()]
    print_table("watch: from a save to the verdict", ["variant", "ms", "ours takes"], rows)
    loads = [one.load for one in records]
    print(f"other processes that wanted a CPU before a save: {median(loads):g} (at most {max(loads)})")
    print(f"CPU while nothing happens: {idle_ms:.1f} ms a second, with its servers")
    print(f"ours {ours_ms:.0f} ms; the aims are {MAX_MS:.0f} ms, and {MAX_RATIO} of each of the others")
    return ours_ms <= MAX_MS and max(ratios[WATCHER], ratios[LOOP]) <= MAX_RATIO
