"""The footer fits its terminal, whatever it contains."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from dispatcher.model.events import AttemptFinished, AttemptStarted, RunStarted, UsageSampled
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.reporters.console.footer import footer, footer_lines
from dispatcher.reporters.console.progress import RunProgress
from passmuster.model.executor import FileUsage, OtherRuns, Usage, WorkerUsage
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask

MIB = 1024**2
FILES = ("tests/test_a.py", "tests/test_größe_日本語日本語.py", "t/\x1b[2Jevil\n[bold]x[/bold]:smile:.py")


def watched(
    paths: tuple[str, ...] = FILES,
    *,
    used_bytes: int = 300 * MIB,
    workers: tuple[WorkerUsage, ...] = (),
    other_runs: OtherRuns | None = None,
) -> RunProgress:
    files = tuple(TestFile(path=path, label=path) for path in (*paths, "done.py", "waiting.py"))
    planned = tuple(
        PlannedFile(file=file, task=TestTask(run_id="r", file_path=file.path, predicted_s=65.0))
        for file in files
    )
    made = RunProgress()
    made.handle(RunStarted(at_s=0, started_at=0, plan=RunPlan(run_id="r", files=planned), limits=()))
    for file in files[:-1]:
        on = workers[0].name if workers else ""
        made.handle(AttemptStarted(at_s=0, file=file, attempt=1, worker=on))
    failed = TestResult(file_path="done.py", status=Status.FAIL, duration=1.0)
    made.handle(AttemptFinished(at_s=1, file=files[-2], result=failed))
    usage = Usage(
        slots=3,
        budget_bytes=400 * MIB,
        used_bytes=used_bytes,
        peak_bytes=used_bytes,
        files=tuple(
            FileUsage(attempt_id="", file_path=path, slot=0, seconds=5, used_bytes=100 * MIB)
            for path in paths
        ),
        workers=workers,
        other_runs=other_runs,
    )
    made.handle(UsageSampled(at_s=5, usage=usage, waiting=1))
    return made


def recorded(progress: RunProgress, *, columns: int, rows: int) -> list[str]:
    console = Console(file=io.StringIO(), record=True, width=columns, height=rows, force_terminal=True)
    console.print(footer(progress, columns=columns, rows=rows))
    return [line.rstrip() for line in console.export_text().splitlines()]


def test_a_wide_terminal_shows_everything() -> None:
    assert recorded(watched(), columns=100, rows=24) == [
        "1/5 done, 1 failed, 3 running, about 1m 22s left",
        "memory 300 MiB of 400 MiB ━━━━━━━━━━━━━━━━━━╺━━━━━",
        "  tests/test_a.py                  5.0s 100 MiB",
        "  tests/test_größe_日本語日本語.py 5.0s 100 MiB",
        "  t/evil\\n[bold]x[/bold]:smile:.py 5.0s 100 MiB",
    ]


def worker(number: int, *, busy: int = 0, used: int = 0, name: str = "") -> WorkerUsage:
    return WorkerUsage(
        name=name or f"box-{number:02d}", slots=4, busy=busy, budget_bytes=1000 * MIB, used_bytes=used * MIB
    )


def test_resources_of_other_runs_are_shown_while_a_file_waits_for_them() -> None:
    other_runs = OtherRuns(
        what="memory", seconds=3.0, needed_bytes=600 * MIB, held_by="/home/a\x1b[2J: 3 GiB"
    )
    lines = recorded(watched(other_runs=other_runs), columns=100, rows=24)
    assert lines[2] == "  has waited 3.0s for 600 MiB of memory, held by /home/a: 3 GiB"


def test_a_run_over_a_queue_shows_its_workers() -> None:
    workers = (worker(0, busy=2, used=300, name="b\x1b[2Jox\n0"), worker(1, busy=1, used=850))

    assert recorded(watched(FILES[:1], workers=workers), columns=100, rows=24) == [
        "1/3 done, 1 failed, 1 running, about 1m 00s left",
        "memory 300 MiB of 400 MiB ━━━━━━━━━━━━━━━━━━╺━━━━━",
        "  box\\n0 2/4 slots 300 MiB of 1000 MiB",
        "  box-01 1/4 slots 850 MiB of 1000 MiB",
        "  tests/test_a.py 5.0s 100 MiB box\\n0",
    ]


def test_of_many_workers_those_near_their_budget_and_the_busiest_are_shown() -> None:
    idle = [worker(number) for number in range(50)]
    idle[7], idle[30], idle[31] = (
        worker(7, busy=1, used=900),
        worker(30, busy=4, used=100),
        worker(31, busy=3, used=790),
    )

    lines = recorded(watched(FILES[:1], workers=tuple(idle)), columns=100, rows=24)

    assert [line.split()[0] for line in lines[2:5]] == ["box-07", "box-30", "box-31"]
    assert lines[5:] == ["  and 47 more workers, 0/188 slots", "  tests/test_a.py 5.0s 100 MiB box-00"]


@pytest.mark.parametrize("count", [0, 1, 30])
@pytest.mark.parametrize("columns", [20, 21, 30, 49, 50, 80, 300])
@pytest.mark.parametrize("rows", [4, 5, 8, 24, 100])
def test_it_never_grows_beyond_its_terminal(columns: int, rows: int, count: int) -> None:
    many = tuple(f"tests/{'日本' * number}{'x' * number}.py" for number in range(30))
    workers = tuple(worker(number, name=f"{'日' * number}-{number}") for number in range(count))
    for color in (False, True):
        lines = footer_lines(watched(many, workers=workers), columns=columns, rows=rows, color=color)
        assert 1 <= len(lines) <= max(1, rows // 2)
        for line in lines:
            assert cell_len(Text.from_ansi(line).plain) <= columns


def test_outputs_that_do_not_fit_are_counted() -> None:
    many = tuple(f"t{number}.py" for number in range(30))
    lines = recorded(watched(many), columns=80, rows=50)
    assert lines[0].startswith("1/32 done, 1 failed, 30 running")
    assert len(lines) == 10
    assert lines[-1] == "  and 23 more"


def test_without_colour_there_is_no_escape_sequence() -> None:
    assert "\x1b" not in "".join(footer_lines(watched(), columns=80, rows=24, color=False))
    assert "\x1b[" in "".join(footer_lines(watched(), columns=80, rows=24, color=True))


@pytest.mark.parametrize(("used", "code"), [(100, "32"), (330, "33"), (399, "31"), (900, "31")])
def test_the_bar_warns_when_memory_runs_short(used: int, code: str) -> None:
    lines = footer_lines(watched(used_bytes=used * MIB), columns=80, rows=24, color=True)
    assert f"\x1b[{code}m━" in lines[1]


def test_large_counts_have_separators() -> None:
    paths = tuple(f"test_{number}.py" for number in range(1234))

    assert recorded(watched(paths), columns=100, rows=24)[0].startswith("1/1,236 done, ")
