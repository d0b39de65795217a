"""Several runs at once on one machine: they share its memory and its processors."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.support.processes import wait_until
from tests.e2e.support.project import Project, Running
from tests.e2e.support.sources import PASSING, script

HOLDS_ON = script(
    """
    import pathlib
    here = pathlib.Path(__file__)
    here.with_suffix('.runs').write_text('x')
    while not pathlib.Path(os.environ['RELEASE']).exists():
        time.sleep(0.01)
    """
)
"""A file that says that it runs, and then waits for a mark."""

HOLDS_MUCH = HOLDS_ON.replace("here =", "data = b'x' * 290_000_000; here =")
"""The same, with much memory."""

WORKS_ON = HOLDS_ON.replace("time.sleep(0.01)", "pass")
"""The same, keeping a processor busy."""


class Others:
    """Other runs beside those of a test, with files that run until they are released."""

    def __init__(self, project: Project, stack: ExitStack) -> None:
        self._project = project
        self._mark = project.base / "release"
        self._runs: list[Running] = []
        stack.callback(self.release)

    def start(
        self, name: str, source: str, *, files: int, running: int, options: tuple[str, ...] = ()
    ) -> Path:
        """Start a run of files; return its root once so many of them run."""
        root = self._project.root / name
        self._project.write({f"{name}/tests/test_{number}.py": source for number in range(files)})
        self._runs.append(
            self._project.start("--root", str(root), *options, env={"RELEASE": str(self._mark)})
        )
        wait_until(
            lambda: len(list(root.rglob("*.runs"))) >= running, f"{running} files of {name} run", within_s=60
        )
        return root

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the runners alone."""
        for run in self._runs:
            run.send(number)

    def release(self) -> None:
        """Let all their files end, and see that they all passed."""
        self._mark.write_text("x")
        for run in self._runs:
            outcome = run.end()
            assert set(outcome.statuses().values()) == {"PASS"}, str(outcome)
        self._runs.clear()

    @property
    def all_run(self) -> bool:
        """Whether none of them has ended."""
        return all(run.process.poll() is None for run in self._runs)


@pytest.fixture
def others(project: Project) -> Others:
    stack = ExitStack()
    return Others(project, stack)


@pytest.mark.parametrize("source", [HOLDS_ON, WORKS_ON], ids=["sleeping", "working"])
@pytest.mark.parametrize("count", [1, 3])
def test_a_small_suite_runs_to_its_end_while_long_runs_go_on(
    project: Project, others: Others, source: str, count: int
) -> None:
    for number in range(count):
        others.start(f"long{number}", source, files=4, running=1)
    project.write({f"small/tests/test_{number}.py": PASSING for number in range(11)})
    outcome = project.run("--root", str(project.root / "small"))
    assert others.all_run
    assert list(outcome.statuses().values()) == ["PASS"] * 11, str(outcome)
    others.release()


def test_a_small_suite_runs_although_all_memory_of_the_machine_is_reserved(
    project: Project, others: Others
) -> None:
    options = ("--machine-memory", "300MiB")
    others.start("long", HOLDS_ON, files=2, running=1, options=options)
    project.write({f"small/tests/test_{number}.py": PASSING for number in range(3)})
    outcome = project.run("--root", str(project.root / "small"), *options)
    assert others.all_run
    assert list(outcome.statuses().values()) == ["PASS"] * 3, str(outcome)
    others.release()


def test_an_unknown_project_is_taken_to_need_what_others_took_on_this_machine(
    project: Project, others: Others
) -> None:
    project.write({f"known/tests/test_{number}.py": PASSING for number in range(4)})
    assert project.run("--root", str(project.root / "known")).code == 0
    others.start("unknown", HOLDS_ON, files=1, running=1)
    command = project.command("status", "--json")
    shown = subprocess.run(command, env=project.environment(), capture_output=True, text=True, check=True)
    (run,) = json.loads(shown.stdout)["local_runs"]
    assert 0 < run["reserved_bytes"] < 100 * 1024**2, shown.stdout
    others.release()


def test_a_run_that_a_test_starts_stays_within_what_that_test_may_use(project: Project) -> None:
    command = project.command("--root", str(project.root / "inner"), "--events", "inner.jsonl")
    project.write(
        {
            "tests/test_outer.py": script(f"import subprocess\nsys.exit(subprocess.call({list(command)!r}))"),
            "inner/tests/test_a.py": PASSING,
        }
    )
    outcome = project.run("--memory-limit", "200MiB", "tests/test_outer.py")
    assert outcome.code == 0, str(outcome)
    limits = json.loads((project.root / "inner.jsonl").read_text().splitlines()[0])["limits"]
    assert [(limit["value"], limit["source"]) for limit in limits] == [
        ("1", "inside a test of another run"),
        ("160 MiB", "80% of what the test may use that started this run"),
    ]


def test_a_frozen_run_does_not_keep_others_from_running(project: Project, others: Others) -> None:
    others.start("frozen", HOLDS_ON, files=2, running=2)
    others.send(signal.SIGSTOP)
    project.write({f"small/tests/test_{number}.py": PASSING for number in range(5)})
    outcome = project.run("--root", str(project.root / "small"))
    shown = subprocess.run(
        project.command("status"), env=project.environment(), capture_output=True, text=True, check=True
    ).stdout
    others.send(signal.SIGCONT)
    assert list(outcome.statuses().values()) == ["PASS"] * 5, str(outcome)
    assert "Runs on this machine: 1\n" in shown
    assert ", stopped\n    2 file(s) running" in shown
    others.release()


def test_nice_lowers_the_priority_of_test_processes(project: Project) -> None:
    project.write({"tests/test_a.py": script("print('nice', os.nice(0))")})
    for isolation in ("fork", "spawn"):
        plain = project.run("-v", "--isolation", isolation)
        nice = project.run("-v", "--isolation", isolation, "--nice")
        found = [re.findall(r"nice (-?\d+)", outcome.stdout) for outcome in (plain, nice)]
        assert int(found[1][0]) == min(19, int(found[0][0]) + 10), (str(plain), str(nice))


def test_a_run_that_waits_says_for_what_and_who_holds_it(project: Project, others: Others) -> None:
    root = others.start("long", HOLDS_MUCH, files=1, running=1, options=("--machine-memory", "500MiB"))
    project.write({"big/tests/test_big.py": HOLDS_MUCH})
    mark = str(project.base / "release")
    options = ("--root", str(project.root / "big"), "--machine-memory", "500MiB")
    running = project.start(*options, env={"RELEASE": mark})
    events = running.events
    wait_until(
        lambda: events.exists() and "has waited" in events.read_text(), "the wait was said", within_s=60
    )
    explained = project.run("explain", *options[:2], "tests/test_big.py", events=False)
    others.release()
    outcome = running.end()
    assert list(outcome.statuses().values()) == ["PASS"], str(outcome)
    said = [line for line in outcome.stderr.splitlines() if "has waited" in line]
    assert len(said) == 1
    waited = r"\[WARN\] this run has waited [0-9.]+s for [0-9.]+ MiB of memory"
    found = re.match(rf"{waited}, held by (.*) \(process \d+, since .*", said[0])
    assert found is not None, said
    assert found[1] == str(root)
    waits = re.search(
        rf"running now +the run of process {running.pid} has waited .* of memory, held by (.*) \(process",
        explained.stdout,
    )
    assert waits is not None, str(explained)
    assert waits[1] == str(root)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_one_of_24_runs_at_once_ends_and_leaves_no_claim(project: Project) -> None:
    runs = []
    for number in range(24):
        project.write({f"p{number}/tests/test_{file}.py": PASSING for file in range(2)})
        runs.append(project.start("--root", str(project.root / f"p{number}")))
    outcomes = [run.end(timeout_s=500) for run in runs]
    assert [list(outcome.statuses().values()) for outcome in outcomes] == [["PASS"] * 2] * 24
    assert list((project.runtime / "passmuster-pool").glob("*.claim")) == []


@pytest.mark.skipif(shutil.which("prlimit") is None, reason="prlimit sets the limit for one command")
@pytest.mark.parametrize(("limit", "code"), [(64, 3), (199, 0)])
def test_with_few_open_files_a_run_ends_or_says_what_it_needs(
    project: Project, limit: int, code: int
) -> None:
    project.write({f"tests/test_{number}.py": PASSING for number in range(3)})
    outcome = project.run("-j", "2", prefix=("prlimit", f"--nofile={limit}:{limit}"))
    assert outcome.code == code, str(outcome)
    if code:
        said = "only 64 open files are allowed, and test processes need 199; allow more (ulimit -n 1024)"
        assert said in outcome.stderr
        assert "Traceback" not in outcome.stderr
