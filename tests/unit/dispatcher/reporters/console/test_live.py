"""On a terminal the report is the same, with a footer that leaves nothing behind."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from dispatcher.model.events import (
    AttemptFinished,
    AttemptStarted,
    Notice,
    RunEvent,
    RunFinished,
    RunStarted,
    UsageSampled,
)
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.model.results import FileAttempts, TestResults
from dispatcher.reporters.console.line_reporter import ConsoleContext
from dispatcher.reporters.console.live import REFRESH_S, FooterStream, LiveReporter
from dispatcher.reporters.console.reporter import ConsoleReporter
from dispatcher.terminal.stream import TextStream
from passmuster.model.executor import FileUsage, Usage
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.model.task import TestTask

ROOT = Path(__file__).parents[5]
FILES = tuple(TestFile(path=f"tests/test_{name}.py", label=f"tests/test_{name}.py") for name in "abc")
SIZE = os.terminal_size((60, 20))


class Utf8Stream(io.TextIOWrapper):
    """A terminal's stream, kept in memory."""

    def __init__(self) -> None:
        self._raw = io.BytesIO()
        super().__init__(self._raw, encoding="utf-8")

    def isatty(self) -> bool:
        return True

    def getvalue(self) -> str:
        return self._raw.getvalue().decode()


class Screen:
    """As much of a terminal as the reporter uses: text, carriage return, cursor up, erase below, wrapping."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.rows: list[str] = [""]
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b\[\d*[A-Za-z]|\x1b\[[\d;]*m|.|\n", text):
            self._act(part)

    def _act(self, part: str) -> None:
        if part == "\n":
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.rows):
                self.rows.append("")
        elif part == "\r":
            self.column = 0
        elif part.startswith("\x1b") and part.endswith("A"):
            self.row -= int(part[2:-1] or "1")
            assert self.row >= 0, "the footer climbed above the screen"
        elif part == "\x1b[J":
            self.rows[self.row] = self.rows[self.row][: self.column]
            del self.rows[self.row + 1 :]
        elif part.startswith("\x1b"):
            assert part.endswith("m"), f"unexpected sequence {part!r}"
        else:
            if self.column == self.columns:
                self._act("\n")
                self.column = 0
            self.rows[self.row] = self.rows[self.row][: self.column] + part
            self.column += 1

    def text(self) -> str:
        return "\n".join(self.rows)


def sampled(at_s: float, *files: TestFile) -> UsageSampled:
    running = tuple(
        FileUsage(attempt_id="", file_path=file.path, slot=0, seconds=1, used_bytes=1024) for file in files
    )
    usage = Usage(slots=2, budget_bytes=4096, used_bytes=1024, peak_bytes=2048, files=running)
    return UsageSampled(at_s=at_s, usage=usage, waiting=0)


def a_run() -> list[RunEvent]:
    planned = tuple(PlannedFile(file=file, task=TestTask(run_id="r", file_path=file.path)) for file in FILES)
    events: list[RunEvent] = [
        RunStarted(at_s=0, started_at=0, plan=RunPlan(run_id="r", files=planned), limits=()),
        sampled(0.1),
    ]
    records: list[FileAttempts] = []
    for number, file in enumerate(FILES):
        status = Status.FAIL if number == 1 else Status.PASS
        result = TestResult(file_path=file.path, status=status, output="x\n" * number)
        events += [
            AttemptStarted(at_s=number + 0.2, file=file, attempt=1),
            sampled(number + 0.3, file),
            sampled(number + 0.4, file),
            sampled(number + 0.8, file),
            AttemptFinished(at_s=number + 0.9, file=file, result=result),
        ]
        records.append(FileAttempts(file=file, attempts=(result,)))
    events.append(RunFinished(at_s=4, results=TestResults(records=tuple(records), duration_s=4.0)))
    return events


def context(
    stream: TextStream, *, color: bool = True, size: Callable[[], os.terminal_size] = lambda: SIZE
) -> ConsoleContext:
    return ConsoleContext(
        stream=stream,
        warn_stream=stream,
        color=color,
        warn_color=color,
        rerun=lambda record: f"again {record.file.label}",
        size=size,
    )


def live(stream: Utf8Stream, *, clock: Sequence[float] = (), size: os.terminal_size = SIZE) -> LiveReporter:
    times = iter(clock or [number * 1.0 for number in range(1000)])
    terminal = context(stream, size=lambda: size)
    return LiveReporter(terminal, ConsoleReporter, clock=lambda: next(times))


def plain_report(events: Sequence[RunEvent]) -> str:
    out = io.StringIO()
    reporter = ConsoleReporter(context(out))
    for event in events:
        reporter.handle(event)
    return out.getvalue()


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_the_terminal_finally_shows_only_the_plain_report() -> None:
    stream, events = Utf8Stream(), a_run()
    reporter = live(stream)
    for event in events:
        reporter.handle(event)
    screen = Screen(columns=200)
    screen.feed(stream.getvalue())
    reporter.close()
    assert screen.text() == without_styles(plain_report(events))
    assert "0/3 done" in stream.getvalue()
    assert "memory 1 KiB of 4 KiB" in stream.getvalue()


def test_the_footer_is_below_the_lines_while_files_run() -> None:
    stream = Utf8Stream()
    reporter = live(stream)
    for event in a_run()[:4]:
        reporter.handle(event)
    screen = Screen(columns=60)
    screen.feed(stream.getvalue())
    assert [row.rstrip() for row in screen.rows[-5:]] == [
        "  - tests/test_c.py",
        "[INFO] Running: tests/test_a.py",
        "0/3 done, 1 running",
        "memory 1 KiB of 4 KiB ━━━━━━╺━━━━━━━━━━━━━━━━━",
        "  tests/test_a.py 0.10s 1 KiB",
    ]


def test_an_interrupted_run_leaves_no_footer_and_a_visible_cursor() -> None:
    stream, events = Utf8Stream(), a_run()[:4]
    reporter = live(stream)
    for event in events:
        reporter.handle(event)
    reporter.close()
    screen = Screen(columns=60)
    screen.feed(stream.getvalue())
    assert screen.text() == without_styles(plain_report(events))
    assert "\x1b[?25l" not in stream.getvalue()


def test_a_notice_goes_above_the_footer() -> None:
    stream = Utf8Stream()
    reporter = live(stream)
    for event in [*a_run()[:4], Notice(at_s=1, text="careful")]:
        reporter.handle(event)
    reporter.close()
    screen = Screen(columns=60)
    screen.feed(stream.getvalue())
    assert screen.rows[-2:] == ["[WARN] careful", ""]


def test_it_is_drawn_at_most_a_few_times_a_second() -> None:
    stream = Utf8Stream()
    reporter = live(stream, clock=[number * REFRESH_S / 10 for number in range(101)])
    before = 0
    drawn = 0
    for number in range(101):
        reporter.handle(sampled(number * 1.0, FILES[0]))
        reporter.handle(AttemptStarted(at_s=number * 1.0, file=FILES[number % 3], attempt=number + 1))
        drawn += stream.getvalue().count(" done", before) > 1
        before = len(stream.getvalue())
    assert 9 <= drawn <= 11


def test_a_terminal_that_became_narrower_is_wiped_to_the_last_wrapped_row() -> None:
    stream = Utf8Stream()
    columns = 40
    footer = FooterStream(stream, size=lambda: os.terminal_size((columns, 20)))
    footer.write("report\n")
    footer.draw(("x" * 30, "y" * 39), (30, 39))
    columns = 10
    footer.draw((), ())
    assert stream.getvalue().endswith("\r\x1b[6A\x1b[J")


def test_a_footer_of_long_paths_does_not_reach_the_last_column() -> None:
    stream = Utf8Stream()
    reporter = live(stream, size=os.terminal_size((30, 20)))
    file = TestFile(path="p" * 100, label="p" * 100)
    planned = (PlannedFile(file=file, task=TestTask(run_id="r", file_path=file.path)),)
    reporter.handle(RunStarted(at_s=0, started_at=0, plan=RunPlan(run_id="r", files=planned), limits=()))
    reporter.handle(AttemptStarted(at_s=0, file=file, attempt=1))
    before = len(stream.getvalue())
    reporter.handle(sampled(1.0, file))
    footer = without_styles(stream.getvalue()[before:]).split("\n")
    assert len(footer) == 3
    assert max(map(len, footer)) == 29


def test_a_terminal_that_is_too_small_gets_the_report_only() -> None:
    stream, events = Utf8Stream(), a_run()
    reporter = live(stream, size=os.terminal_size((10, 3)))
    for event in events:
        reporter.handle(event)
    reporter.close()
    assert stream.getvalue() == plain_report(events)


def test_without_utf_8_there_is_no_footer() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    reporter = LiveReporter(context(stream, color=False), ConsoleReporter)
    for event in a_run():
        reporter.handle(event)
    reporter.close()
    assert b" done" not in raw.getvalue()


def test_rich_is_loaded_only_when_a_footer_is_drawn() -> None:
    program = "import sys, dispatcher.reporters.console.live; print('rich' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert done.stdout == "False\n"


PROGRAM = textwrap.dedent(
    """
    import importlib.util, sys
    from dispatcher.terminal.stream import terminal_size
    spec = importlib.util.spec_from_file_location("model", sys.argv[1])
    model = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model)
    times = iter(range(1000))
    reporter = model.LiveReporter(
        model.context(sys.stdout, color=False, size=lambda: terminal_size(sys.stdout)),
        model.ConsoleReporter, clock=lambda: next(times))
    try:
        for event in model.a_run()[: int(sys.argv[2])]:
            reporter.handle(event)
        if int(sys.argv[2]) < 10:
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    finally:
        reporter.close()
    """
)


def run_in_a_terminal(events: int) -> str:
    controller, terminal = pty.openpty()
    received: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(controller, 65536)
            except OSError:
                return
            if not data:
                return
            received.append(data)

    reader = threading.Thread(target=read)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, __file__, str(events)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "TERM": "xterm"},
    )
    os.close(terminal)
    reader.start()
    try:
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
        reader.join(timeout=60)
        os.close(controller)
    return b"".join(received).decode().replace("\r\n", "\n")


def test_a_real_terminal_ends_with_the_plain_report() -> None:
    events = a_run()
    received = run_in_a_terminal(len(events))
    assert "0/3 done" in received
    screen = Screen(columns=80)
    screen.feed(received)
    expected = without_styles(plain_report(events))
    assert screen.text() == expected


def test_a_real_terminal_is_clean_after_an_interrupt() -> None:
    received = run_in_a_terminal(4)
    assert "0/3 done" in received
    screen = Screen(columns=80)
    screen.feed(received)
    assert screen.text() == without_styles(plain_report(a_run()[:4]))
    assert "\x1b[?" not in received
