"""Files that run by the project's own command, on a real executor."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import structs

from passmuster.model.errors import ConfigurationError
from passmuster.model.project_commands import make_commands
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, Outcome, RunnerKind, Status
from passmuster.model.task import TestTask
from tests.unit.worker.workbench import Workbench
from worker.executor.attempt import JUNIT_NAME
from worker.process.project_command import build_project_command, check_programs


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.executor.close()


def use(bench: Workbench, *words: str, workdir: str = ".") -> None:
    """Give the project a command for all its files."""
    commands = make_commands(bench.root, words, [])
    workdir_path = bench.root / workdir
    workdir_path.mkdir(exist_ok=True)
    bench.use(structs.replace(bench.settings, commands=commands, workdir=workdir_path))


def task(bench: Workbench, name: str) -> TestTask:
    return structs.replace(bench.task(name), runner=RunnerKind.COMMAND)


def run(bench: Workbench, name: str = "test_it.py", text: str = "") -> TestResult:
    bench.write(name, text)
    return bench.run(task(bench, name))


def words_of(bench: Workbench, name: str) -> list[str]:
    return build_project_command(
        task(bench, name),
        bench.settings,
        environment=dict(os.environ) | {"PASSMUSTER_SLOT": "3"},
        junit_file=Path("/t/j.xml"),
    )


def test_the_arguments_arrive_unchanged_in_the_working_directory(bench: Workbench) -> None:
    use(bench, "{python}", "show.py", "$HOME", "a  b", "{file}", "{module}", "{{}}", workdir="app")
    bench.write("app/show.py", "import os, sys; print(os.getcwd()); print(*sys.argv[1:], sep='|')")

    result = run(bench, "app/tests/test_a.py")

    assert result.output.splitlines() == [
        str(bench.root / "app"),
        "$HOME|a  b|tests/test_a.py|tests.test_a|{}",
    ]
    assert (result.status, result.runner, result.isolation) == (
        Status.PASS,
        RunnerKind.COMMAND,
        Isolation.SPAWN,
    )


def test_a_command_has_the_environment_and_directory_of_every_file(bench: Workbench) -> None:
    use(bench, "{python}", "{file}", "{slot}", "{junit}")

    result = run(
        bench,
        text="""
        import os, sys
        assert sys.argv[1] == os.environ['PASSMUSTER_SLOT']
        assert os.path.dirname(sys.argv[2]) == os.environ['TMPDIR'] and not os.listdir(os.environ['TMPDIR'])
        assert os.environ['TESTING'] == 'true' and os.environ['PASSMUSTER_ATTEMPT']
        """,
    )

    assert (result.status, result.output) == (Status.PASS, "")


def test_the_exit_status_decides_where_there_is_no_report(bench: Workbench) -> None:
    use(bench, "{python}", "{file}")

    assert run(bench, "good.py").status is Status.PASS
    failed = run(bench, "bad.py", "raise SystemExit(7)")
    killed = run(bench, "killed.py", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")

    assert (failed.status, failed.exit_code) == (Status.FAIL, 7)
    assert killed.status is Status.CRASH


def test_the_cases_are_those_of_the_report_that_the_command_writes(bench: Workbench) -> None:
    use(bench, "{python}", "{file}", "{junit}")

    result = run(
        bench,
        text="""
        import sys
        case = '<testcase classname="T" name="a"/><testcase name="b"><failure message="boom"/></testcase>'
        open(sys.argv[1], 'w').write(f'<testsuite>{case}</testsuite>')
        """,
    )

    assert [(one.case_id, one.outcome) for one in result.cases] == [
        ("T.a", Outcome.PASSED),
        ("b", Outcome.FAILED),
    ]
    assert (result.status, result.error) == (Status.FAIL, "exit status 0, but 1 of 2 tests failed")


@pytest.mark.parametrize(
    ("report", "status", "error"),
    [
        ("<testsuite>", Status.FAIL, "exit status 0; its JUnit report is damaged"),
        ("<testsuites/>", Status.NO_TESTS, "found no test"),
        ("<testsuite><testcase name='a'/></testsuite>", Status.PASS, ""),
    ],
)
def test_a_report_never_improves_a_verdict(bench: Workbench, report: str, status: Status, error: str) -> None:
    use(bench, "{python}", "{file}", "{junit}")

    result = run(bench, text=f"import sys; open(sys.argv[1], 'w').write({report!r})")

    assert result.status is status
    assert error in result.error


def test_output_of_a_command_on_the_report_descriptor_changes_nothing(bench: Workbench) -> None:
    use(bench, "{python}", "{file}")

    result = run(
        bench,
        text="""
        import os
        os.write(198, b'{"runner": "pytest"}\\n{"case": "a", "outcome": "failed", "s": 1}\\n')
        """,
    )

    assert (result.status, result.runner, result.cases) == (Status.PASS, RunnerKind.COMMAND, ())


def test_a_hanging_command_is_killed_with_all_its_processes(bench: Workbench) -> None:
    use(bench, "sh", "-c", 'sleep 600 & exec sleep 600 # "$0"', "{file}")
    bench.write("test_it.py", "")
    long = structs.replace(bench.task("test_it.py", timeout_s=0.2, grace_s=0.2), runner=RunnerKind.COMMAND)

    result = bench.run(long)

    assert result.status is Status.TIMEOUT
    assert bench.left_of(long) == []


def test_a_report_is_read_only_from_the_private_directory_and_removed_with_it(bench: Workbench) -> None:
    use(bench, "{python}", "{file}", "{junit}")

    run(bench, text="import sys; open(sys.argv[1], 'w').write('<testsuites/>')")

    assert not list(bench.tmp_parent.rglob(JUNIT_NAME))


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("test_a.py", "test_a"),
        ("app/tests/test_a.py", "app.tests.test_a"),
        ("app/tests/__init__.py", "app.tests"),
        ("a-b/test-c.py", "a-b.test-c"),
    ],
)
def test_a_module_is_named_from_the_working_directory(bench: Workbench, file: str, module: str) -> None:
    use(bench, "{python}", "{module}")

    assert words_of(bench, file) == [sys.executable, module]


@pytest.mark.parametrize("file", ["app/test_a.txt", "app.d/test_a.py", "test.a.py"])
def test_a_file_without_a_module_name_is_a_start_error(bench: Workbench, file: str) -> None:
    use(bench, "{python}", "{module}")

    result = run(bench, file)

    assert result.status is Status.START_ERROR
    assert "has no module name" in result.error
    assert "use {file}" in result.error
    assert not result.is_worker_fault


def test_a_file_outside_the_working_directory_has_a_path_and_no_module(bench: Workbench) -> None:
    use(bench, "{python}", "{file}", workdir="app")
    assert words_of(bench, "test_a.py")[1] == "../test_a.py"

    use(bench, "{python}", "{module}", workdir="app")
    assert run(bench, "test_a.py").status is Status.START_ERROR


def test_a_machine_without_the_command_reports_its_missing_configuration(bench: Workbench) -> None:
    bench.write("pyproject.toml", "[tool.passmuster]\njobs = 1\n")

    result = run(bench)

    assert result.status is Status.START_ERROR
    assert f"no command for it in [tool.passmuster] of {bench.root / 'pyproject.toml'}" in result.error
    assert not result.is_worker_fault


def test_a_worker_reads_the_command_of_its_own_project_when_a_file_needs_it(bench: Workbench) -> None:
    bench.write("pyproject.toml", "[tool.passmuster]\ncommand = ['{python}', '-c', 'print(1)', '{file}']\n")
    first = run(bench)
    bench.write("pyproject.toml", "[tool.passmuster]\ncommand = ['{python}', '-c', 'print(2)', '{file}']\n")
    second = run(bench)
    bench.write("pyproject.toml", "[tool.passmuster]\ncommand = ['{nonsense}']\n")
    broken = run(bench)

    assert [first.output, second.output] == ["1\n", "2\n"]
    assert broken.status is Status.START_ERROR
    assert "got '{nonsense}'" in broken.error


@pytest.mark.parametrize("program", ["no-such-program-anywhere", "./none.sh", "/none/there", "folder/"])
def test_a_missing_program_is_reported_with_the_origin_of_the_command(bench: Workbench, program: str) -> None:
    use(bench, program, "{file}")
    (bench.root / "folder").mkdir()

    result = run(bench)
    with pytest.raises(ConfigurationError) as caught:
        check_programs([task(bench, "test_it.py")], bench.settings)

    assert result.status is Status.START_ERROR
    assert result.error == str(caught.value)
    assert repr(program) in result.error
    assert f"[tool.passmuster] command in {bench.root / 'pyproject.toml'}" in result.error
    assert not result.is_worker_fault


def test_a_program_that_cannot_be_executed_is_not_the_workers_fault(bench: Workbench) -> None:
    bench.write("run.txt", "no program")
    (bench.root / "run.txt").chmod(0o755)
    use(bench, "./run.txt", "{file}")

    result = run(bench)

    assert result.status is Status.START_ERROR
    assert "run.txt: Exec format error" in result.error
    assert not result.is_worker_fault


def test_only_the_programs_of_planned_files_are_checked(bench: Workbench) -> None:
    use(bench, "no-such-program-anywhere", "{file}")

    check_programs([bench.task("test_it.py")], bench.settings)


def test_a_file_can_be_the_program_itself(bench: Workbench) -> None:
    use(bench, "./{file}")
    bench.write("t.sh", "#!/bin/sh\nexit 3\n")
    (bench.root / "t.sh").chmod(0o755)
    check_programs([task(bench, "t.sh")], bench.settings)

    assert bench.run(task(bench, "t.sh")).exit_code == 3


def test_a_command_is_spawned_even_if_forking_is_requested_and_a_note_says_why(bench: Workbench) -> None:
    use(bench, "{python}", "{file}")
    bench.write("test_it.py", "")

    result = bench.run(structs.replace(task(bench, "test_it.py"), isolation=Isolation.FORK))

    assert (result.status, result.isolation) == (Status.PASS, Isolation.SPAWN)
    assert "by a command" in result.isolation_note
