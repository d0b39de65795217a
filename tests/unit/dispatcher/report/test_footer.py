"""The footer fits its terminal, whatever is in it."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from dispatcher.events import FileFinished, FileStarted, RunStarted, UsageSampled
from dispatcher.plan import Plan, PlannedFile, TestFile
from dispatcher.report.footer import footer, footer_lines
from dispatcher.report.progress import Progress
from passmuster.executor import FileUsage, Usage
from passmuster.result import TestResult
from passmuster.status import Status
from passmuster.task import TestTask

MIB = 1024**2
FILES = ("tests/test_a.py", "tests/test_größe_日本語日本語.py", "t/\x1b[2Jevil\n[bold]x[/bold]:smile:.py")


def watched(paths: tuple[str, ...] = FILES, *, used_bytes: int = 300 * MIB) -> Progress:
    files = tuple(TestFile(path=path, label=path) for path in (*paths, "done.py", "waiting.py"))
    planned = tuple(
        PlannedFile(file=file, task=TestTask(run_id="r", file_path=file.path, predicted_s=65.0))
        for file in files
    )
    made = Progress()
    made.run_started(RunStarted(at_s=0, started_at=0, plan=Plan(run_id="r", files=planned), limits=()))
    for file in files[:-1]:
        made.file_started(FileStarted(at_s=0, file=file, attempt=1))
    failed = TestResult(file_path="done.py", status=Status.FAIL, duration=1.0)
    made.file_finished(FileFinished(at_s=1, file=files[-2], result=failed))
    usage = Usage(
        slots=3,
        budget_bytes=400 * MIB,
        used_bytes=used_bytes,
        peak_bytes=used_bytes,
        files=tuple(
            FileUsage(attempt_id="", file_path=path, slot=0, seconds=5, used_bytes=100 * MIB)
            for path in paths
        ),
    )
    made.usage_sampled(UsageSampled(at_s=5, usage=usage, waiting=1))
    return made


def recorded(progress: Progress, *, columns: int, rows: int) -> list[str]:
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


@pytest.mark.parametrize("columns", [20, 21, 30, 49, 50, 80, 300])
@pytest.mark.parametrize("rows", [4, 5, 8, 24, 100])
def test_it_never_grows_beyond_its_terminal(columns: int, rows: int) -> None:
    many = tuple(f"tests/{'日本' * number}{'x' * number}.py" for number in range(30))
    for color in (False, True):
        lines = footer_lines(watched(many), columns=columns, rows=rows, color=color)
        assert 1 <= len(lines) <= max(1, rows // 2)
        for line in lines:
            assert cell_len(Text.from_ansi(line).plain) <= columns


def test_files_without_room_are_counted() -> None:
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
