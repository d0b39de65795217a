"""The command with a scripted target: exit statuses, streams, and rerun commands."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import msgspec
import pytest

from dispatcher.cli.main import Command
from dispatcher.insight.file_list import FileListDocument
from dispatcher.model.exit_codes import ExitCode
from passmuster.model.errors import InfrastructureError
from passmuster.model.result import CaseResult
from passmuster.model.status import Isolation, Outcome, Status, StopReason
from tests.unit.dispatcher.engine.scripted_backend import Step
from tests.unit.dispatcher.scripted_target import ClosedBackend, ScriptedTarget

PATHS = ("tests/test_a.py", "tests/test_b.py")
FAIL = Step(status=Status.FAIL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    status: int
    out: str
    err: str


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    for path in PATHS:
        (tmp_path / path).write_text("pass\n", encoding="utf-8")
    return tmp_path


def run(root: Path, *argv: str, target: ScriptedTarget | None = None, **variables: str) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    command = Command(
        argv,
        environ={"PATH": os.environ["PATH"], **variables},
        cwd=root,
        target=target or ScriptedTarget(),
        warm_target=ScriptedTarget,
        program="./run_tests.py",
        stdout=out,
        stderr=err,
    )
    return Ran(status=command.run(), out=out.getvalue(), err=err.getvalue())


@dataclass(kw_only=True)
class TroubledTarget(ScriptedTarget):
    """A place whose backend does something at its third poll."""

    def trouble(self, act: Callable[[ClosedBackend], None]) -> TroubledTarget:
        make = super().backend

        def backend(request: object) -> ClosedBackend:
            made = make(request)  # type: ignore[arg-type]  # Handed on.
            made.on_poll = lambda number: act(made) if number == 3 else None
            return made

        self.backend = backend  # type: ignore[method-assign]  # The script of one test.
        return self


def breaks(backend: ClosedBackend) -> None:
    backend.trouble = InfrastructureError("the pool broke")


def interrupts(_: ClosedBackend) -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("status", list(Status))
def test_a_run_is_green_only_when_all_passed(root: Path, status: Status) -> None:
    ran = run(root, target=ScriptedTarget(script={PATHS[0]: [Step(status=status)]}))

    assert ran.status == (ExitCode.OK if status.is_pass else ExitCode.FAILED)
    assert "Total tests: 2" in ran.out
    assert ran.err == ""


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (("--help",), ExitCode.OK),
        (("--version",), ExitCode.OK),
        (("--list",), ExitCode.OK),
        (("--dry-run",), ExitCode.OK),
        (("--show-config",), ExitCode.OK),
        (("--unknown-word",), ExitCode.OK),
        (("--unknown-word", "--strict-args"), ExitCode.USAGE),
        (("--timeout", "soon"), ExitCode.USAGE),
        (("--jobs", "0"), ExitCode.USAGE),
        (("tests/test_gone.py",), ExitCode.USAGE),
        (("--python", "/no/such/python"), ExitCode.USAGE),
        (("--root", "/no/such/root"), ExitCode.USAGE),
    ],
)
def test_every_way_to_end_has_its_status(root: Path, argv: Sequence[str], status: ExitCode) -> None:
    ran = run(root, *argv)

    assert ran.status == status
    assert (ran.err == "") is (status is ExitCode.OK and not {"--unknown-word", "--list"} & {*argv})
    if status is ExitCode.USAGE:
        assert ran.err.startswith("[FAIL] ")
        assert ran.err.count("\n") == 1


def test_an_interrupt_ends_with_its_own_status_and_the_summary(root: Path) -> None:
    target = TroubledTarget(script={PATHS[0]: [Step(hangs=True)]}).trouble(interrupts)
    handlers = [
        (number, signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    ]
    try:
        ran = run(root, target=target)
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)

    assert ran.status == ExitCode.INTERRUPTED
    assert "Test Summary" in ran.out
    assert PATHS[1] in ran.out
    [backend] = target.backends
    assert backend.stops[0][0] is StopReason.CANCELLED
    assert backend.closed == 1


@pytest.mark.parametrize("steps", [(), (FAIL,)])
def test_a_failing_infrastructure_is_an_infrastructure_error(root: Path, steps: Sequence[Step]) -> None:
    ran = run(root, target=TroubledTarget(script={PATHS[0]: steps}).trouble(breaks))

    assert ran.status == ExitCode.INFRASTRUCTURE
    assert "[FAIL] the pool broke\n" in ran.err


def test_a_report_that_cannot_be_written_does_not_end_as_if_all_were_well(root: Path) -> None:
    ran = run(root, "--events", "/dev/full")

    assert ran.status == ExitCode.INFRASTRUCTURE
    assert "/dev/full" in ran.err
    assert "Passed: 2" in ran.out


def test_a_failed_test_takes_precedence_over_a_lost_report(root: Path) -> None:
    ran = run(root, "--events", "/dev/full", target=ScriptedTarget(script={PATHS[0]: [FAIL]}))

    assert ran.status == ExitCode.FAILED
    assert "/dev/full" in ran.err


def test_a_list_is_nothing_but_the_files(root: Path) -> None:
    listed = run(root, "--list")
    empty = run(root, "--list", "--failed")

    assert listed.out == "".join(f"{path}\n" for path in PATHS)
    assert (empty.out, "No file failed" in empty.err) == ("", True)


@pytest.mark.parametrize("mode", ["--list", "--dry-run"])
def test_a_list_as_json_is_one_document_of_its_schema(root: Path, mode: str) -> None:
    listed = run(root, mode, "--output", "json")
    empty = run(root, mode, "--output", "json", "--failed")

    for ran in (listed, empty):
        document = json.loads(ran.out)
        jsonschema.validate(document, msgspec.json.schema(FileListDocument), jsonschema.Draft202012Validator)
    assert sorted(file["path"] for file in json.loads(listed.out)["files"]) == [*PATHS]
    is_planned = [file["planned"] is not None for file in json.loads(listed.out)["files"]]
    assert set(is_planned) == {mode == "--dry-run"}
    assert (json.loads(empty.out)["files"], empty.status) == ([], ExitCode.OK)
    assert "No file failed" in empty.err


@pytest.mark.parametrize(("folder", "status"), [("mvp_site", ExitCode.OK), ("src", ExitCode.NO_TESTS)])
def test_nothing_to_run_is_reported_and_green_only_in_the_layout_of_the_scripts(
    tmp_path: Path, folder: str, status: ExitCode
) -> None:
    (tmp_path / folder).mkdir()
    ran = run(tmp_path)

    assert ran.status == status
    assert ran.out.startswith("[WARN] ")


def test_the_words_of_a_user_can_neither_break_nor_colour_an_error(root: Path) -> None:
    ran = run(root, "tests/\x1b[31m\nx.py")

    assert ran.status == ExitCode.USAGE
    assert "\x1b" not in ran.err
    assert ran.err.count("\n") == 1


def test_a_failure_shows_the_command_that_runs_it_again(root: Path) -> None:
    target = ScriptedTarget(script={PATHS[0]: [FAIL]})

    ran = run(root, "--timeout", "9s", "--max-fail", "5", "--integration", *PATHS, target=target)

    [again] = [line for line in ran.out.splitlines() if "./run_tests.py" in line]
    words = shlex.split(again[again.index("./run_tests.py") :])
    assert words == ["./run_tests.py", "--timeout", "9s", PATHS[0]]


def test_explaining_prints_the_target_s_lines_and_runs_nothing(root: Path) -> None:
    target = ScriptedTarget()

    ran = run(root, "--explain", "preload", target=target)

    assert (ran.status, ran.out, target.backends) == (ExitCode.OK, "2 files explained\n", [])


FORKED = Step(isolation=Isolation.FORK)
DIFFERS = Step(cases=(CaseResult(case_id="T.a", outcome=Outcome.PASSED),))


def test_a_difference_that_was_to_be_found_makes_the_run_fail(root: Path) -> None:
    target = ScriptedTarget(script={PATHS[0]: [FORKED, DIFFERS, DIFFERS], PATHS[1]: [FORKED, Step()]})

    ran = run(root, "--verify-isolation", "--no-history", target=target)

    assert ran.status == ExitCode.FAILED
    assert "  - tests/test_a.py: T.a: ran only when spawned\n[FAIL] 1 file(s) differ when forked\n" in ran.out
    assert "All tests passed" not in ran.out


def test_what_forking_changes_is_remembered_until_the_file_changes(root: Path) -> None:
    forked_failure = Step(isolation=Isolation.FORK, status=Status.FAIL)
    first = ScriptedTarget(script={PATHS[0]: [forked_failure, Step(), Step(), forked_failure]})
    assert run(root, target=first).status == ExitCode.OK

    second, third = ScriptedTarget(), ScriptedTarget()
    run(root, target=second)
    (root / PATHS[0]).write_text("changed = True\n", encoding="utf-8")
    run(root, target=third)

    found = [
        {task.file_path: task.isolation for task in target.backends[0].tasks}[PATHS[0]]
        for target in (second, third)
    ]
    assert found == [Isolation.SPAWN, Isolation.AUTO]


def test_a_pass_that_was_confirmed_is_not_confirmed_again(root: Path) -> None:
    script = {PATHS[0]: [FORKED, Step()], PATHS[1]: [Step(seconds=99)]}
    first, second = ScriptedTarget(script=script), ScriptedTarget(script=script)

    run(root, target=first)
    run(root, target=second)

    assert first.backends[0].spare == [f"{PATHS[0]}#2"]
    assert second.backends[0].spare == []


@pytest.mark.parametrize(("argv", "is_alone"), [((), True), (("--oversubscribe", "off"), False)])
def test_a_file_that_fails_in_parallel_stays_failed_and_runs_exclusively_next_time(
    root: Path, argv: tuple[str, ...], is_alone: bool
) -> None:
    crowded = Step(status=Status.FAIL, was_alone=False)
    target = ScriptedTarget(script={PATHS[0]: [crowded, Step()]})

    assert run(root, *argv, target=target).status == ExitCode.FAILED
    later = ScriptedTarget()
    run(root, target=later)

    assert {task.file_path: task.exclusive for task in later.backends[0].tasks} == {
        PATHS[0]: is_alone,
        PATHS[1]: False,
    }
