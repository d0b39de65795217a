"""Several runs at once on one machine: they share its memory and its processors."""

from __future__ import annotations

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
        wait_until(lambda: len(list(root.rglob("*.runs"))) >= running, f"{running} files of {name} run")
        return root

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
