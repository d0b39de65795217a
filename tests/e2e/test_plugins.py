"""The plugins of a project do what they do under plain pytest: each case ends alike."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.plugin_projects import PROJECTS
from tests.e2e.support.project import Project
from tests.support.pip_environment import make_environment

REQUIREMENTS = Path(__file__).parent / "support" / "plugin_requirements.txt"

ONLY_NAMED = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

TELLS_OUTCOMES = """
import json
RANKS = ["passed", "skipped", "xfailed", "xpassed", "error", "failed"]
def pytest_terminal_summary(terminalreporter, config):
    found = {}
    for outcome in RANKS:
        for report in terminalreporter.stats.get(outcome, ()):
            found[report.nodeid] = outcome
    with open(config.rootpath / "outcomes.json", "w") as file:
        json.dump(found, file)
"""
"""A plugin that writes what pytest itself counts, the worst of each test: a test can end in more than one."""


class Comparison:
    """One project, run by pytest, and by us in both ways, in folders of its own."""

    def __init__(self, base: Path, files: dict[str, str], python: Path, env: dict[str, str]) -> None:
        self._base, self._files, self._python, self._env = base, files, python, env

    def _project(self, name: str) -> Project:
        (self._base / name).mkdir(parents=True)
        project = Project(base=self._base / name, python_home=self._python.parent.parent)
        project.write(self._files)
        return project

    def plain(self) -> tuple[dict[str, str], int]:
        """Return how each case ends under pytest, and its exit status."""
        project = self._project("plain")
        plugins = project.base / "plugins"
        plugins.mkdir()
        (plugins / "tells_outcomes.py").write_text(TELLS_OUTCOMES, encoding="utf-8")
        done = subprocess.run(
            [self._python, "-m", "pytest", "-p", "tells_outcomes", "-p", "no:cacheprovider"],
            cwd=project.root,
            env=project.environment({**self._env, "PYTHONPATH": str(plugins)}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        outcomes = project.root / "outcomes.json"
        assert outcomes.exists(), done.stdout + done.stderr
        return json.loads(outcomes.read_text(encoding="utf-8")), done.returncode

    def ours(self, isolation: str) -> Outcome:
        """Return what we say of the same."""
        project = self._project(isolation)
        words = ("--isolation", isolation, "-j", "3", "--oversubscribe", "off")
        outcome = project.run("--python", str(self._python), *words, env=self._env, timeout_s=300.0)
        project.check_nothing_is_left()
        return outcome


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest) -> Path:
    return make_environment(REQUIREMENTS, request.config.cache)


SPAWNED = (
    *("pytest-cov", "pytest-django", "pytest-html", "pytest-xdist", "syrupy"),
    "pytest-rerunfailures beside pytest-xdist",
)
"""Projects that also run spawned: options that Passmuster handles for the whole run, and worker numbers.

A spawned file of any other project runs exactly as `python -m pytest FILE` does.
"""

Runs = dict[str, tuple[Future[tuple[dict[str, str], int]], dict[str, Future[Outcome]]]]


@pytest.fixture(scope="module")
def runs(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All runs of all projects, four at a time."""
    pool = ThreadPoolExecutor(4)
    found: Runs = {}
    for name, files in PROJECTS.items():
        one = Comparison(tmp_path_factory.mktemp("project"), files, python, ONLY_NAMED)
        ours = {way: pool.submit(one.ours, way) for way in ("fork", *(["spawn"] if name in SPAWNED else []))}
        found[name] = pool.submit(one.plain), ours
    return found


@pytest.mark.parametrize(
    ("name", "isolation"), [*((name, "fork") for name in PROJECTS), *((name, "spawn") for name in SPAWNED)]
)
def test_each_case_ends_as_under_plain_pytest(runs: Runs, name: str, isolation: str) -> None:
    plain, status = runs[name][0].result()
    ours = runs[name][1][isolation].result()

    files = {label: ours.final(label) for label in ours.statuses()}
    cases = [(case.case_id, case.outcome) for file in files.values() for case in file.cases]
    assert sorted(cases) == sorted(plain.items()), ours
    assert (ours.code == 0) == (status == 0), ours
