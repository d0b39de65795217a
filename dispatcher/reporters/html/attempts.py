"""What is shown of a file that did not simply pass: attempts, failing tests, what they printed. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, Finding
from dispatcher.reporters.failure_text import headline
from dispatcher.reporters.html.markup import badge, counted, line
from dispatcher.reporters.html.outputs import OutputBudget
from dispatcher.reporters.html.report_model import ReportModel
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, RunnerKind
from passmuster.model.units import format_bytes, format_seconds

MAX_CASES = 50
"""Failing tests shown of each attempt; the rest is counted."""

CASE_CHARS = 8 * 1024
"""Characters of one test's message: a long traceback."""

MAX_LEAKED = 10

SHORT_LINES = 12
"""Lines that a narrow window shows without scrolling them."""

REASONS = {
    RerunReason.RETRY: "ran again because it had failed",
    RerunReason.EVICTED: "ran again because it had been stopped to make room",
    RerunReason.VERIFY_FAILURE: "ran in a fresh interpreter because it had failed when forked",
    RerunReason.REFORK: "was forked once more because it had passed twice in a fresh interpreter",
    RerunReason.RECHECK: "ran in a fresh interpreter once more",
    RerunReason.VERIFY_PASS: "ran in a fresh interpreter to confirm that it passes there too",
    RerunReason.EXCLUSIVE: "ran alone because it had failed beside others",
}

FINDINGS = {
    Finding.UNVERIFIED: "It passed when forked, and was not run in a fresh interpreter too.",
    Finding.FAILS_WHEN_FORKED: "It failed twice when forked and passed twice in a fresh interpreter.",
    Finding.PASSES_ONLY_FORKED: "It passed when forked and failed twice in a fresh interpreter.",
    Finding.FAILS_IN_PARALLEL: "It failed in parallel and passed exclusively, as it runs until it changes.",
}


def count_texts(records: tuple[FileAttempts, ...]) -> int:
    """Return how many texts of what was printed these files would show."""
    return sum(
        bool(attempt.output)
        + bool(attempt.stacks)
        + min(MAX_CASES, sum(case.outcome.is_bad for case in attempt.cases))
        for record in records
        for attempt in record.attempts
    )


def reason_line(record: FileAttempts) -> str:
    """Return in one line why a file failed, as HTML: the first failing test's message, else the status."""
    bad = next((case for case in record.final.cases if case.outcome.is_bad), None)
    words = headline(bad.message) if bad is not None else ""
    return line((words or record.final.error)[:300])


def file_body(told: ReportModel, record: FileAttempts, outputs: OutputBudget) -> Iterator[str]:
    """Yield everything about a file's attempts, the one that counts first."""
    command = told.rerun(record) if told.rerun is not None else record.file.label
    what = "Run it again" if told.rerun is not None else "File"
    yield f'<p class="rerun"><span>{what}</span><code>{line(command)}</code>'
    yield '<button type="button" class="copy" hidden>Copy</button></p>\n'
    finding = FINDINGS.get(record.finding) if record.finding is not None else None
    if finding:
        yield f'<p class="finding">{finding}</p>\n'
    final, several = record.final, len(record.attempts) > 1
    reasons = dict(zip(map(id, record.attempts), record.reasons, strict=False))
    for attempt in (final, *record.others):
        yield from _attempt(
            attempt, reasons.get(id(attempt)), outputs, is_open=attempt is final, several=several
        )


def _attempt(
    attempt: TestResult, reason: RerunReason | None, outputs: OutputBudget, *, is_open: bool, several: bool
) -> Iterator[str]:
    if several:
        counts = " <b>counts</b>" if is_open else ""
        yield f'<details class="attempt"{" open" if is_open else ""}><summary>{badge(attempt.status)} '
        yield f"Attempt {attempt.attempt}{counts}</summary>\n"
    yield f'<p class="facts">{"".join(f"<span>{fact}</span>" for fact in _facts(attempt, reason))}</p>\n'
    yield from _cases(attempt, outputs)
    if attempt.stacks:
        yield _printed("Where it was when its time was over", outputs.shown(attempt.stacks))
    if attempt.output:
        dropped = attempt.output_dropped_bytes
        cut = f" ({format_bytes(dropped)} in the middle were not kept)" if dropped else ""
        yield _printed(f"What it printed{cut}", outputs.shown(attempt.output))
    elif attempt.status.is_pass:
        yield '<p class="quiet">What a passed attempt printed is not kept.</p>\n'
    else:
        yield '<p class="quiet">It printed nothing.</p>\n'
    if several:
        yield "</details>\n"


def _facts(attempt: TestResult, reason: RerunReason | None) -> Iterator[str]:
    """Yield what is known of an attempt, as short pieces of HTML."""
    if attempt.error or attempt.note:
        yield line(attempt.error or attempt.note)
    if reason is not None:
        yield REASONS[reason]
    if attempt.started_at:
        yield format_seconds(attempt.duration)
    if attempt.exit_code is not None and f"exit status {attempt.exit_code}" not in attempt.error:
        yield f"exit status {attempt.exit_code}"
    if attempt.signal is not None:
        yield f"ended by {_signal_name(attempt.signal)}"
    if attempt.peak_bytes:
        yield f"{format_bytes(attempt.peak_bytes)} at most"
    if attempt.cpu_s is not None:
        yield f"{format_seconds(attempt.cpu_s)} CPU"
    if attempt.worker:
        yield f"{line(attempt.worker)}, slot {attempt.slot + 1}"
    if attempt.isolation is Isolation.FORK:
        yield "forked"
    if attempt.runner is RunnerKind.COMMAND:
        yield "run by a command of the project"
    if attempt.waited_for:
        yield f"waited for {line(attempt.waited_for)}"
    for process in attempt.leaked[:MAX_LEAKED]:
        yield f"left behind: {line(process[:300])}"
    if attempt.kept_tmp:
        yield f"its temporary directory: <code>{line(attempt.kept_tmp)}</code>"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _cases(attempt: TestResult, outputs: OutputBudget) -> Iterator[str]:
    bad = [case for case in attempt.cases if case.outcome.is_bad]
    if not bad:
        return
    good = len(attempt.cases) - len(bad)
    yield f'<p class="of">{counted(len(bad), "failing test")}, {good:,} other</p>\n<ul class="cases">\n'
    for case in bad[:MAX_CASES]:
        how = f"{case.outcome}, {format_seconds(case.seconds)}"
        yield f"<li><p><code>{line(case.case_id)}</code> <span>{how}</span></p>"
        if case.message:
            yield _printed("", outputs.shown(case.message, most_chars=CASE_CHARS))
        yield "</li>\n"
    if len(bad) > MAX_CASES:
        yield f'<li class="quiet">and {len(bad) - MAX_CASES:,} more</li>\n'
    yield "</ul>\n"


def _printed(title: str, shown: str) -> str:
    """Return a text that was printed, as it was; one that scrolls can be reached by the keyboard."""
    heading = f'<p class="of">{title}</p>\n' if title else ""
    is_long = shown.count("\n") >= SHORT_LINES or len(shown) >= 80 * SHORT_LINES
    focusable = ' tabindex="0"' if is_long else ""
    return f"{heading}<pre{focusable}>{shown}</pre>\n"
