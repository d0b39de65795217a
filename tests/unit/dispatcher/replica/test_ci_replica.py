"""The replica runs the tests as CI would, says what it cannot imitate, and tells what CI would say."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.replica.ci_replica import CIReplicaRunner, missing_project_sign, run_replica_command
from dispatcher.replica.environment import (
    KEPT_VARIABLES,
    Environment,
    HostResources,
    setup_ci_environment,
    this_machine,
)
from passmuster.host.host_resources import read_machine
from passmuster.model.errors import ConfigurationError
from passmuster.model.units import Amount

GIB = 1024**3
LARGE = HostResources(cpus=frozenset(range(16)), memory_bytes=64 * GIB)
SCRATCH = Path("/scratch")


@dataclass(kw_only=True)
class FakeRun:
    """Stands for `run_tests.py`: notes how it was called, and ends as it is told."""

    status: int = 0
    arguments: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    cpus: frozenset[int] = frozenset()
    scratch_was_there: bool = False
    calls: int = 0

    def __call__(self, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        self.calls += 1
        self.arguments, self.environ = tuple(argv), dict(environ)
        self.cpus = frozenset(os.sched_getaffinity(0))
        self.scratch_was_there = all(not any(Path(environ[name]).iterdir()) for name in ("HOME", "TMPDIR"))
        return self.status


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def replica(project: Path, run: FakeRun, environ: Mapping[str, str], *, cpus: int = 1) -> tuple[int, str]:
    """Run the replica; return its status and what it printed."""
    out = io.StringIO()
    runner = CIReplicaRunner(run=run, environ=environ, root=project, cpus=cpus, out=out)
    return runner.run_ci_tests(), out.getvalue()


def environment_of(
    environ: Mapping[str, str],
    *,
    machine: HostResources = LARGE,
    cpus: int | None = None,
    memory: Amount | None = None,
) -> Environment:
    return setup_ci_environment(
        environ, root=Path("/project"), scratch=SCRATCH, machine=machine, cpus=cpus, memory=memory
    )


def test_the_tests_get_the_variables_of_ci_and_no_secret(project: Path) -> None:
    run = FakeRun()
    secrets = {"AWS_SECRET_ACCESS_KEY": "s", "PYTHONPATH": "/elsewhere", "TEST_MODE": "real", "COLUMNS": "80"}

    status, said = replica(project, run, {"PATH": "/bin", "HOME": "/home/ada", **secrets})

    assert status == 0
    assert "s" not in run.environ.values()
    private = {name: run.environ.pop(name) for name in ("HOME", "TMPDIR", "RUNNER_TEMP")}
    assert run.environ == {
        "PATH": "/bin",
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "TESTING": "true",
        "TEST_MODE": "mock",
        "GITHUB_WORKSPACE": str(project),
        "RUNNER_OS": "Linux",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
    }
    assert run.scratch_was_there
    assert not any(Path(folder).exists() for folder in private.values())
    assert "Removed 3 variable(s): AWS_SECRET_ACCESS_KEY, COLUMNS, PYTHONPATH\n" in said


def test_the_caller_sees_a_header_what_is_not_imitated_and_the_verdict(project: Path) -> None:
    _, said = replica(project, FakeRun(), {})

    lines = said.splitlines()
    assert lines[0] == "[INFO] 🔄 Running CI Environment Replica"
    assert lines[-1] == "[PASS] CI replica passed: CI should pass"
    [unlike] = [line for line in lines if line.startswith("[INFO] Not imitated: ")]
    for word in ("kernel", "secrets", "network", "speed"):
        assert word in unlike


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (0, "[PASS] CI replica passed: CI should pass"),
        (1, "[FAIL] CI replica failed: CI would fail the same way"),
        (2, "[FAIL] CI replica could not run the tests (exit status 2)"),
        (3, "[FAIL] CI replica could not run the tests (exit status 3)"),
        (130, "[WARN] CI replica was interrupted: this is no result for CI"),
    ],
)
def test_the_status_of_the_run_is_that_of_the_replica(project: Path, status: int, verdict: str) -> None:
    found, said = replica(project, FakeRun(status=status), {})

    assert found == status
    assert said.splitlines()[-1] == verdict


def test_elsewhere_than_in_a_project_nothing_runs(tmp_path: Path) -> None:
    run = FakeRun()

    status, said = replica(tmp_path, run, {})

    assert (status, run.calls) == (1, 0)
    assert said == (
        f"[FAIL] Run this from the project root: {tmp_path} has no pyproject.toml, setup.py,"
        " setup.cfg, .git or tests\n"
    )


@pytest.mark.parametrize(
    ("present", "missing"),
    [
        (("mvp_site/requirements.txt",), None),
        (("mvp_site/main.py", "pyproject.toml"), "mvp_site/requirements.txt"),
        (("setup.cfg",), None),
        (("tests/test_it.py",), None),
        ((".git/HEAD",), None),
    ],
)
def test_a_project_root_is_known_by_what_it_holds(
    tmp_path: Path, present: tuple[str, ...], missing: str | None
) -> None:
    for name in present:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()

    assert missing_project_sign(tmp_path) == missing


def test_the_run_is_bound_to_the_imitated_cpus_and_this_process_afterwards_is_not(project: Path) -> None:
    before = frozenset(os.sched_getaffinity(0))
    run = FakeRun()

    replica(project, run, {}, cpus=1)

    assert run.cpus == {min(before)}
    assert run.arguments == ("--jobs", "1")
    assert frozenset(os.sched_getaffinity(0)) == before


def test_without_options_it_is_the_standard_runner() -> None:
    found = environment_of({})

    assert found.cpus == (0, 1, 2, 3)
    assert found.memory_bytes == 16 * GIB
    assert found.arguments() == ("--jobs", "4")
    assert found.remarks == ()


def test_a_small_runner_gets_fewer_slots_and_a_smaller_budget() -> None:
    found = environment_of({}, cpus=8, memory=Amount(size_bytes=4 * GIB))

    assert found.arguments() == ("--jobs", "2", "--memory-budget", str(int(3.2 * GIB)))


def test_a_machine_smaller_than_the_runner_is_reported() -> None:
    small = HostResources(cpus=frozenset({3, 5}), memory_bytes=8 * GIB)

    found = environment_of({}, machine=small)

    assert found.cpus == (3, 5)
    assert found.memory_bytes == 8 * GIB
    assert found.remarks == (
        "This machine has 2 of the 4 CPUs.",
        "This machine has 8 GiB of the 16 GiB of memory.",
    )


def test_a_system_that_cannot_bind_processes_is_reported() -> None:
    unlike = environment_of(
        {}, machine=HostResources(cpus=frozenset({0}), memory_bytes=GIB, is_bindable=False)
    )

    assert any("number of its CPUs" in text for text in unlike.unsupported)
    assert not any("number of its CPUs" in text for text in environment_of({}).unsupported)


def test_the_users_packages_are_kept_and_named() -> None:
    found = environment_of({"VIRTUAL_ENV": "/venv"})

    assert dict(found.variables)["VIRTUAL_ENV"] == "/venv"
    assert any("/venv" in text for text in found.unsupported)


_NAMES = st.sampled_from(sorted(KEPT_VARIABLES)) | st.text("ABC_", min_size=1)


@given(
    st.dictionaries(_NAMES, st.text(max_size=5)), st.integers(1, 64), st.integers(1, 64), st.integers(1, 64)
)
def test_every_variable_is_kept_set_or_named_as_removed(
    environ: dict[str, str], cpus: int, have_cpus: int, have_gib: int
) -> None:
    machine = HostResources(cpus=frozenset(range(have_cpus)), memory_bytes=have_gib * GIB)

    found = environment_of(environ, machine=machine, cpus=cpus)

    after = dict(found.variables)
    assert environ.keys() <= after.keys() | set(found.removed)
    assert not after.keys() & set(found.removed)
    assert all(after[name] == value for name, value in environ.items() if name in KEPT_VARIABLES)
    assert 1 <= len(found.cpus) <= min(cpus, have_cpus)
    assert 1 <= found.slots <= 8
    assert found.budget_bytes is None or 0 < found.budget_bytes < 4 * GIB


def test_this_machine_has_something() -> None:
    found = this_machine()

    assert found.cpus
    assert found.memory_bytes > 0


def test_this_machine_has_no_more_memory_than_its_container() -> None:
    assert this_machine().memory_bytes == read_machine().total_bytes


def test_the_command_reads_its_options_and_warns_of_others(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project)
    run = FakeRun(status=1)

    status = run_replica_command(["--cpus", "1", "--memory", "2GiB", "--fast"], {}, run=run)

    assert status == 1
    assert run.arguments == ("--jobs", "1", "--memory-budget", str(int(1.6 * GIB)))
    captured = capsys.readouterr()
    assert captured.err == "[WARN] Unknown argument: --fast\n"
    assert captured.out.startswith("[INFO] 🔄 Running CI Environment Replica\n")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--cpu", "2"], "unknown argument: --cpu; did you mean --cpus?"),
        (["--cpus"], "--cpus needs a value: expected a whole number from 1 to 4096; see --help"),
        (
            ["--cpus", "0"],
            "wrong value for cpus: expected a whole number from 1 to 4096, got '0' (from --cpus)",
        ),
        (
            ["--cpus", "two"],
            "wrong value for cpus: expected a whole number from 1 to 4096, got 'two' (from --cpus)",
        ),
        (
            ["--memory", "much"],
            "wrong value for memory: expected a size such as 4GiB, 512MB, or 80%, got 'much' (from --memory)",
        ),
    ],
)
def test_a_wrong_option_is_named(project: Path, argv: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        run_replica_command(argv, {}, run=FakeRun())

    assert str(raised.value) == message


WORKFLOW = """
env: {LEVEL: "1", TESTING: "no"}
jobs:
  test:
    runs-on: windows-latest
    steps:
      - {name: First, run: "run-tests --limit 3"}
      - {run: run-tests -q, working-directory: sub}
"""


@pytest.fixture
def workflow(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    (project / "sub").mkdir()
    (project / "test.yml").write_text(WORKFLOW, encoding="utf-8")
    return project


@dataclass(kw_only=True)
class NotedRuns:
    """Stands for `run_tests.py`: notes where and how it was called."""

    statuses: list[int] = field(default_factory=list)
    calls: list[tuple[str, tuple[str, ...], str]] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        self.calls.append((Path.cwd().name, tuple(argv), f"{environ['LEVEL']} {environ['TESTING']}"))
        return self.statuses.pop(0) if self.statuses else 0


def test_with_a_workflow_its_commands_run_with_what_it_sets(
    workflow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = NotedRuns()

    status = run_replica_command(["--cpus", "1", "--workflow", "test.yml"], {}, run=run)

    assert status == 0
    assert run.calls == [
        (workflow.name, ("--jobs", "1", "--limit", "3"), "1 no"),
        ("sub", ("--jobs", "1", "-q"), "1 no"),
    ]
    assert Path.cwd() == workflow
    said = capsys.readouterr().out.splitlines()
    assert said[-5:] == [
        "[INFO] Job: test",
        "[INFO] Not replicated: runs-on: windows-latest: this is Linux",
        f"[INFO] step 'First': run_tests.py --limit 3, in {workflow}, with LEVEL, TESTING",
        f"[INFO] step 2: run_tests.py -q, in {workflow / 'sub'}, with LEVEL, TESTING",
        "[PASS] CI replica passed: CI should pass",
    ]


def test_the_first_command_that_fails_ends_the_job(workflow: Path) -> None:
    run = NotedRuns(statuses=[1])

    assert run_replica_command(["--workflow", "test.yml"], {}, run=run) == 1
    assert len(run.calls) == 1
    assert Path.cwd() == workflow


def test_a_dry_run_gives_no_verdict(workflow: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = NotedRuns()

    assert run_replica_command(["--workflow", "test.yml", "--dry-run"], {}, run=run) == 0
    assert [arguments[-1] for _, arguments, _ in run.calls] == ["--dry-run", "--dry-run"]
    assert "CI replica" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--job", "test"], "--job needs a workflow: give --workflow FILE, or leave out --job"),
        (["--dry-run"], "--dry-run needs a workflow: give --workflow FILE, or leave out --dry-run"),
        (["--workflow", "no.yml"], "cannot read no.yml (from --workflow): no such file or directory; "),
        (["--workflow", "test.yml", "--job", "x"], "test.yml has no job 'x' (from --job); it has test"),
    ],
)
def test_a_wrong_workflow_is_an_error(workflow: Path, argv: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        run_replica_command(argv, {}, run=FakeRun())

    assert str(raised.value).startswith(message)


def test_a_working_directory_that_is_missing_is_an_error(workflow: Path) -> None:
    (workflow / "sub").rmdir()

    with pytest.raises(ConfigurationError, match=r"sub \(from step 2\) does not exist"):
        run_replica_command(["--workflow", "test.yml"], {}, run=NotedRuns())


def test_a_missing_yaml_package_is_reported_with_the_command_to_install_it(
    workflow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    monkeypatch.delitem(sys.modules, "dispatcher.replica.reading", raising=False)

    with pytest.raises(ConfigurationError, match="not installed here: pip install PyYAML"):
        run_replica_command(["--workflow", "test.yml"], {}, run=FakeRun())
