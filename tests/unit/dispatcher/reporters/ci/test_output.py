"""The output on a CI: its detection, its order, and that commands work again after the run."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from dispatcher.config.choices import Verbosity
from dispatcher.config.model import TestConfig
from dispatcher.model.ci import AUTO, CIS, NONE, Ci, detect_ci
from dispatcher.model.events import AttemptFinished, RunEvent
from dispatcher.model.rerun_reason import RerunReason
from dispatcher.reporters.ci import reporters as reporters_module
from dispatcher.reporters.ci.logs import GitlabLog
from dispatcher.reporters.ci.output import CiOutput, project_folder, source_url
from dispatcher.reporters.ci.reporters import MAX_BYTES, FoldReporter, append_summary
from dispatcher.reporters.console.line_reporter import PlainOutput
from passmuster.model.status import Status
from tests.support.actions_runner import Runner
from tests.unit.dispatcher.reporters.ci.runs import (
    case,
    ended,
    file,
    finished,
    planned,
    record,
    result,
    started,
)

GITHUB_CI, GITLAB_CI, BUILDKITE_CI, AZURE_CI = (ci for ci in CIS if ci.choice)

GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "7"}


@pytest.mark.parametrize(
    ("environ", "ci"),
    [
        ({}, None),
        ({"CI": "true"}, None),
        (GITHUB, GITHUB_CI),
        ({"GITHUB_ACTIONS": "true"}, None),
        ({"GITHUB_RUN_ID": "7"}, None),
        ({"GITLAB_CI": "true"}, GITLAB_CI),
        ({"BUILDKITE": "true"}, BUILDKITE_CI),
        ({"TF_BUILD": "True"}, AZURE_CI),
        ({"TF_BUILD": ""}, None),
    ],
)
def test_the_ci_is_detected_by_its_variables(environ: dict[str, str], ci: Ci | None) -> None:
    assert detect_ci(AUTO, environ) is ci


def test_an_explicit_choice_takes_precedence() -> None:
    assert detect_ci(NONE, GITHUB) is None
    assert detect_ci("azure", GITHUB) is AZURE_CI


def test_paths_are_those_of_the_repository(tmp_path: Path) -> None:
    root = tmp_path / "repository" / "sub" / "project"
    root.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "repository")

    def folder(checkout: str, ci: Ci = GITHUB_CI, name: str = "GITHUB_WORKSPACE") -> str:
        return project_folder(ci, {name: checkout}, root)

    assert folder(str(tmp_path / "repository")) == "sub/project/"
    assert folder(str(tmp_path / "link")) == "sub/project/"
    assert folder(str(root)) == ""
    assert folder(str(tmp_path / "elsewhere")) == folder("") == ""
    assert folder(str(tmp_path / "repository"), AZURE_CI, "BUILD_SOURCESDIRECTORY") == "sub/project/"
    assert project_folder(GITLAB_CI, {}, root) == ""


def test_links_need_all_that_names_the_commit() -> None:
    known = {
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_SHA": "abcdef0123",
    }

    assert source_url(known, "a b/") == "https://github.example/o/r/blob/abcdef0123/a%20b/"
    assert source_url({**known, "GITHUB_SHA": ""}, "") == ""
    assert source_url({**known, "GITHUB_SERVER_URL": 'https://x"onclick="'}, "") == ""


class Console:
    """Stands for the console: prints a line for each event."""

    def __init__(self, output: CiOutput) -> None:
        self._out = output.out

    def handle(self, event: RunEvent) -> None:
        self._out.write(f"console: {type(event).__name__}\n")

    def close(self) -> None:
        pass


def run_of(
    ci: Ci,
    *events: RunEvent,
    environ: dict[str, str] | None = None,
    verbosity: Verbosity = Verbosity.NORMAL,
) -> tuple[list[str], str]:
    out, err = io.StringIO(newline=""), io.StringIO(newline="")
    config = TestConfig(root=Path("/project"), verbosity=verbosity)
    output = CiOutput(ci, PlainOutput(out, err, document=out), config, environ or {})
    with output:
        reporters = output.around(Console(output))
        for event in events:
            for reporter in reporters:
                reporter.handle(event)
        for reporter in reporters:
            reporter.close()
    return out.getvalue().split("\n"), err.getvalue()


FAILED = result("a.py", Status.FAIL, case("m.T.x"), output="one\ntwo\n", error="exit status 1")


def test_an_output_follows_its_verdict_and_annotations_precede_the_summary() -> None:
    lines, _ = run_of(AZURE_CI, started(planned("a.py")), ended(FAILED), finished(record(FAILED)))

    assert lines == [
        "console: RunStarted",
        "console: AttemptFinished",
        "##[group]Output of a.py (FAIL: exit status 1)",
        "| one",
        "| two",
        "##[endgroup]",
        "##vso[task.logissue type=error;sourcepath=a.py;]m.T.x: failed without a message",
        "console: RunFinished",
        "",
    ]


def test_a_run_that_passed_adds_nothing_but_the_switch() -> None:
    passed = result("a.py", Status.PASS, output="one\n")
    events = started(planned("a.py")), ended(passed), finished(record(passed))

    for ci in (GITLAB_CI, BUILDKITE_CI, AZURE_CI):
        assert run_of(ci, *events)[0] == [*(f"console: {type(event).__name__}" for event in events), ""]
    lines, _ = run_of(GITHUB_CI, *events)
    assert lines[1:-2] == [f"console: {type(event).__name__}" for event in events]
    assert lines[0].startswith("::stop-commands::")


def test_each_token_is_another_one() -> None:
    [first], [second] = ({run_of(GITHUB_CI)[0][0]} for _ in range(2))

    assert first != second
    assert len(first) >= len("::stop-commands::") + 32


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_github_obeys_again_after_an_error_too(error: type[BaseException]) -> None:
    out = io.StringIO()
    plain = PlainOutput(out, io.StringIO(), document=out)
    output = CiOutput(GITHUB_CI, plain, TestConfig(root=Path("/project")), {})

    def run() -> None:
        with output:
            output.out.write("::error::x\n")
            raise error

    with pytest.raises(error):
        run()

    runner = Runner().read(out.getvalue().splitlines())
    assert runner.token is None
    assert runner.obeyed == []


def test_verbose_runs_fold_nothing_since_all_is_printed() -> None:
    events = started(planned("a.py")), ended(FAILED)

    assert run_of(AZURE_CI, *events, verbosity=Verbosity.VERBOSE)[0] == [
        "console: RunStarted",
        "console: AttemptFinished",
        "",
    ]


def again(why: RerunReason | None, reason: RerunReason | None = None) -> AttemptFinished:
    return AttemptFinished(
        at_s=1.0, file=file("a.py"), result=FAILED, rerun_reason=why, attempt_reason=reason
    )


@pytest.mark.parametrize(
    ("events", "count"),
    [
        ([again(RerunReason.RETRY)], 0),
        ([again(RerunReason.VERIFY_FAILURE)], 0),
        ([again(RerunReason.RETRY), again(None)], 1),
        ([again(RerunReason.EXCLUSIVE), again(None, RerunReason.EXCLUSIVE)], 1),
        ([again(None, RerunReason.VERIFY_PASS)], 1),
    ],
)
def test_an_output_is_folded_once_after_the_verdict(events: list[AttemptFinished], count: int) -> None:
    written: list[str] = []
    reporter = FoldReporter(GitlabLog(), written.append)

    for event in events:
        reporter.handle(event)

    assert len(written) == count


def test_a_log_without_room_gets_ends_of_outputs_and_then_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GitlabLog, "max_section_chars", 1000)
    monkeypatch.setattr(reporters_module, "MIN_ROOM_CHARS", 100)
    attempts = [result(f"{name}.py", output="".join(f"line {n}\n" for n in range(200))) for name in "abc"]

    lines, _ = run_of(
        GITLAB_CI, started(), *map(ended, attempts), finished(*(record(attempt) for attempt in attempts))
    )

    folded = [line for line in lines if line.startswith("| ")]
    assert folded[0].startswith("| [... ")
    assert folded[-1] == "| line 199"
    assert sum(map(len, folded)) < 1300
    assert lines[-3:] == [
        "[INFO] The log has no room for the output of 2 more file(s)",
        "console: RunFinished",
        "",
    ]


def test_a_timeout_is_folded_with_its_stacks() -> None:
    slow = result("a.py", Status.TIMEOUT, error="too long", stacks="Thread 1\n")

    lines, _ = run_of(AZURE_CI, ended(slow))

    assert lines[1:] == [
        "##[group]Output of a.py (TIMEOUT: too long)",
        "| ",
        "| Stacks at the timeout:",
        "| Thread 1",
        "##[endgroup]",
        "",
    ]


def test_the_summary_is_appended(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")

    _, warnings = run_of(
        GITHUB_CI,
        started(planned("a.py")),
        finished(record(FAILED)),
        environ={"GITHUB_STEP_SUMMARY": str(path)},
    )

    assert path.read_text().startswith("before\n\n## ❌ 1 of 1 test files failed\n")
    assert warnings == ""


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("", "GITHUB_STEP_SUMMARY is not set"),
        ("missing/summary.md", "No such file or directory"),
        (".", "Is a directory"),
        ("pipe", "No such device or address"),
    ],
)
def test_a_summary_that_cannot_be_written_is_a_warning(tmp_path: Path, where: str, why: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    environ = {"GITHUB_STEP_SUMMARY": str(tmp_path / where)} if where else {}

    lines, warnings = run_of(GITHUB_CI, started(), finished(record(FAILED)), environ=environ)

    assert "console: RunFinished" in lines
    assert warnings.startswith("[WARN] the step summary is not written")
    assert why in warnings
    assert warnings.count("\n") == 1


def test_a_pipe_with_a_reader_is_not_a_summary_file(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert str(append_summary(str(path), lambda _: "page")).endswith("is not a file")
    finally:
        os.close(reader)


def test_text_of_other_programs_counts_for_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_bytes(b"x" * 1000)
    rooms: list[int] = []

    def make(room_bytes: int) -> str:
        rooms.append(room_bytes)
        return ""

    assert "no room left" in str(append_summary(str(path), make))
    assert rooms == [MAX_BYTES - 1000]
    assert path.stat().st_size == 1000


def test_no_ci_obeys_a_warning_of_ours() -> None:
    _, warnings = run_of(
        GITHUB_CI,
        started(),
        finished(record(FAILED)),
        environ={"GITHUB_STEP_SUMMARY": "/missing/##[error]x\n::error::y"},
    )

    assert Runner().read(warnings.splitlines()).obeyed == []
    assert warnings.count("\n") == 1
