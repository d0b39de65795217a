"""The entry of a file that did not simply pass: its attempts, failing tests, and printed text. Pure."""

from __future__ import annotations

import html
import signal
from collections import Counter
from collections.abc import Iterator, Sequence

from msgspec import Struct

from dispatcher.model.rerun_reason import RerunReason
from dispatcher.model.results import FileAttempts, Finding
from dispatcher.reporters.console.lines import attempts_text
from dispatcher.reporters.failure_text import headline
from dispatcher.reporters.html.report_model import ReportModel
from passmuster.model.result import TestResult
from passmuster.model.status import Isolation, RunnerKind, Status
from passmuster.model.text import bounded_tail, shown_lines
from passmuster.model.units import format_bytes, format_seconds

Values = dict[str, object]

TOTAL_BYTES = 8 * 1024 * 1024
"""Bytes of printed text in a page: a browser opens it at once, and a mail takes it."""

MAX_CHARS = 64 * 1024
"""Characters of one output: what a run keeps of an attempt that did not pass."""

MIN_CHARS = 2 * 1024
"""Characters of one output if there are very many: about 20 lines, the end of a traceback."""

CASE_CHARS = 8 * 1024
"""Characters of one test's message: a long traceback."""

MAX_CASES = 50
"""Failing tests shown of each attempt; the rest are counted."""

MAX_LEAKED = 10
MAX_TEXT_CHARS = 300
"""Characters of a process, a difference, or the reason of a failure in one line."""

SHORT_LINES = 12
"""Lines that a narrow window shows without scrolling."""

REASONS = {
    RerunReason.RETRY: "reran because it had failed",
    RerunReason.EVICTED: "reran because it had been evicted to free memory",
    RerunReason.VERIFY_FAILURE: "ran in a fresh interpreter because it had failed when forked",
    RerunReason.REFORK: "was forked once more because it had passed twice in a fresh interpreter",
    RerunReason.RECHECK: "ran in a fresh interpreter once more",
    RerunReason.VERIFY_PASS: "ran in a fresh interpreter to verify that it passes there too",
    RerunReason.EXCLUSIVE: "ran alone because it had failed in parallel with other files",
    RerunReason.WHOLE: "ran as a whole because it had not passed in parts",
    RerunReason.REPART: "ran in parts once more because it had passed as a whole",
}

FINDINGS = {
    Finding.FAILS_WHEN_FORKED: (
        "failed only when forked",
        "It failed twice when forked and passed twice in a fresh interpreter.",
    ),
    Finding.PASSES_ONLY_FORKED: (
        "failed only in a fresh interpreter",
        "It passed when forked and failed twice in a fresh interpreter, which decides.",
    ),
    Finding.FAILS_IN_PARALLEL: (
        "failed only in parallel with other files",
        "It failed in parallel with other files and passed alone. It runs alone until it changes.",
    ),
    Finding.FAILS_IN_PARTS: (
        "failed only in parts",
        "It failed twice in parts and passed as a whole. It runs as a whole until it changes.",
    ),
    Finding.INDIVISIBLE: (
        "could not run in parts",
        "Its parts were not the whole file. It runs as a whole until it changes.",
    ),
    Finding.UNVERIFIED: (
        "passed when forked and not verified",
        "It passed when forked, and did not run in a fresh interpreter too.",
    ),
}
"""The findings that the page names: the title of their list, and the sentence about a file."""

LOOKS = {
    Status.PASS: "pass",
    Status.FAIL: "fail",
    Status.CRASH: "fail",
    Status.NO_TESTS: "fail",
    Status.COLLECT_ERROR: "fail",
    Status.TIMEOUT: "timeout",
    Status.MEMORY: "memory",
    Status.START_ERROR: "trouble",
    Status.LOST: "trouble",
    Status.CANCELLED: "stopped",
}
"""The class that gives a status its color."""


class PrintedText(Struct, frozen=True, kw_only=True):
    """The part of a printed text that the page shows, without control characters."""

    text: str
    note: str = ""
    """Says that the text was cut or left out; empty: it is complete."""

    @property
    def is_long(self) -> bool:
        """Whether it scrolls in a narrow window, so that it must be reachable by keyboard."""
        return self.text.count("\n") >= SHORT_LINES or len(self.text) >= 80 * SHORT_LINES


class OutputBudget(Struct):
    """Shares the page's bytes for printed text equally among all texts. The end of a text is kept."""

    share_chars: int
    """Characters of each text."""
    left_bytes: int = TOTAL_BYTES
    cut: int = 0
    """Texts that were cut or left out."""

    @classmethod
    def for_texts(cls, count: int) -> OutputBudget:
        """Return the budget for `count` texts."""
        return cls(share_chars=max(MIN_CHARS, min(MAX_CHARS, TOTAL_BYTES // max(1, count))))

    def take(self, text: str, *, max_chars: int = MAX_CHARS) -> PrintedText:
        """Return what is shown of `text`: at most its share, and never more than `max_chars`."""
        tail = bounded_tail(text, min(self.share_chars, max_chars))
        shown = "\n".join(shown_lines(tail))
        size = len(html.escape(shown, quote=False).encode())
        if size > self.left_bytes:
            self.cut += 1
            return PrintedText(text="", note="Left out: the page has no more room for printed text.")
        self.left_bytes -= size
        left_out = len(text) - len(tail)
        if not left_out:
            return PrintedText(text=shown)
        self.cut += 1
        return PrintedText(text=shown, note=f"The first {left_out:,} characters are left out.")


def count_texts(records: Sequence[FileAttempts]) -> int:
    """Return how many printed texts the entries of these files show."""
    return sum(
        bool(attempt.output) + bool(attempt.stacks) + min(MAX_CASES, len(attempt.bad_cases))
        for record in records
        for attempt in record.attempts
    )


def file_entry(model: ReportModel, record: FileAttempts, budget: OutputBudget, *, is_open: bool) -> Values:
    """Return everything about a file that did not simply pass, the attempt that counts first."""
    final = record.final
    reason = next((headline(case.message) for case in final.bad_cases), "") or final.error
    reasons = dict(zip(map(id, record.attempts), record.reasons, strict=False))
    finding = FINDINGS.get(record.finding) if record.finding is not None else None
    looks = [run_look(run.statuses) for run in model.earlier_runs.get(record.file.path, ())]
    return {
        "record": record,
        "id": f"file-{model.positions[record.file.path]}",
        "is_open": is_open,
        "reason": reason[:MAX_TEXT_CHARS],
        "attempts_text": attempts_text(record),
        "earlier_runs": looks,
        "history": _history_text(looks),
        "command": model.rerun(record),
        "finding": finding[1] if finding else "",
        "attempts": [
            _attempt(attempt, reasons.get(id(attempt)), budget) for attempt in (final, *record.others)
        ],
    }


def run_look(run: Sequence[Status]) -> str:
    """Return the class that gives the attempts of one run their color."""
    if run[-1].is_pass:
        return "again" if len(set(run)) > 1 else "pass"
    return LOOKS[run[-1]]


def _history_text(looks: Sequence[str]) -> str:
    if not looks:
        return "The history has no earlier run of this file."
    words = {"pass": "passed", "again": "passed only when run again"}
    counts = Counter(words.get(one, "failed") for one in looks)
    text = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    earlier = "In the run before" if len(looks) == 1 else f"In the {len(looks)} runs before"
    return f"{earlier}: {text}."


def _attempt(attempt: TestResult, reason: RerunReason | None, budget: OutputBudget) -> Values:
    dropped = attempt.output_dropped_bytes
    return {
        "result": attempt,
        "facts": list(_facts(attempt, reason)),
        "cases": [
            (case, budget.take(case.message, max_chars=CASE_CHARS) if case.message else None)
            for case in attempt.bad_cases[:MAX_CASES]
        ],
        "stacks": budget.take(attempt.stacks) if attempt.stacks else None,
        "output": budget.take(attempt.output) if attempt.output else None,
        "dropped": f" ({format_bytes(dropped)} in the middle were not kept)" if dropped else "",
    }


def _facts(attempt: TestResult, reason: RerunReason | None) -> Iterator[str]:
    if attempt.error or attempt.note:
        yield attempt.error or attempt.note
    if reason is not None:
        yield REASONS[reason]
    if attempt.started_at:
        yield format_seconds(attempt.duration)
    if attempt.exit_code is not None and f"exit status {attempt.exit_code}" not in attempt.error:
        yield f"exit status {attempt.exit_code}"
    if attempt.signal is not None:
        known = {one.value: one.name for one in signal.Signals}
        yield f"ended by {known.get(attempt.signal, f'signal {attempt.signal}')}"
    if attempt.peak_bytes:
        yield f"peak memory {format_bytes(attempt.peak_bytes)}"
    if attempt.cpu_s is not None:
        yield f"{format_seconds(attempt.cpu_s)} CPU"
    if attempt.worker:
        yield f"{attempt.worker}, slot {attempt.slot + 1}"
    if attempt.isolation is Isolation.FORK:
        yield "forked"
    if attempt.runner is RunnerKind.COMMAND:
        yield "run by the project's command"
    if attempt.start_delayed_by:
        yield f"start delayed by {attempt.start_delayed_by}"
    for process in attempt.leaked[:MAX_LEAKED]:
        yield f"left behind: {process[:MAX_TEXT_CHARS]}"
    if attempt.kept_tmp:
        yield f"TMPDIR kept at: {attempt.kept_tmp}"
