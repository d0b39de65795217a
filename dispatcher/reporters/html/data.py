"""Turns the report model into the values that `page.html.j2` prints and `page.js` draws. Pure.

Values are plain text and numbers, never HTML: the template escapes whatever it prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import reduce
from typing import NamedTuple

from dispatcher.model.results import FileAttempts, Finding, TestResults
from dispatcher.reporters.console.summary import MAX_LEAKED, cancelled_text, regression_text
from dispatcher.reporters.console.totals import by_path
from dispatcher.reporters.html.entries import (
    FINDINGS,
    LOOKS,
    MAX_TEXT_CHARS,
    OutputBudget,
    Values,
    count_texts,
    file_entry,
)
from dispatcher.reporters.html.report_model import (
    MAX_MACHINES,
    Bar,
    ReportModel,
    Sample,
    budget_bytes,
    file_group,
    group_counts,
    peak_bytes,
)
from dispatcher.reporters.html.trends import trend_rows
from passmuster.model.status import Status
from passmuster.model.text import JsonValue, first_texts, one_line
from passmuster.model.units import format_bytes, format_seconds

MAX_FILES = 1000
"""Entries of files in each of the sections Failures and Flaky; the table names all files."""

OPEN_AT_FIRST = 3
"""Failures up to which all entries start open; if there are more, only the first does."""

MAX_NAMED = 200
"""Files named in each list of the notes; the rest is counted."""

OPEN_UP_TO = 20
"""Entries up to which a list of the notes starts open."""

FIRST_ROWS = 50
"""Rows of the table in the page itself, and rows that the script adds at a time."""

MAX_LABEL_CHARS = 300
"""Characters of a path in the table: its end, where paths differ."""

MAX_BARS = 50_000
"""Bars in the timeline, the longest ones: more than these make a browser stutter."""

MAX_DRAWN = 24
"""Machines with a chart of their own, those with the highest peaks."""

TABLE_ROWS = 12
"""Rows of the table with the figures of the memory chart."""

MAX_BUDGET_RATIO = 8
"""Multiple of the highest use up to which the budget is drawn: a higher one would flatten the curve."""

_LEGEND = {
    "pass": "passed",
    "fail": "failed",
    "timeout": "timed out",
    "memory": "exceeded its memory limit",
    "trouble": "could not run",
    "evicted": "evicted to free memory",
    "stopped": "stopped with the run",
}


class RunBanner(NamedTuple):
    """The result of the run in one sentence; the look is `good`, `bad`, or `open` for an incomplete run."""

    look: str
    text: str


def page_values(model: ReportModel) -> Values:
    """Return all that the template prints, by name."""
    failed = by_path(model.results.failed)
    flaky = by_path(record for record in model.results.flaky if record.status.is_pass)
    groups = group_counts(model.records)
    entries = (*failed[:MAX_FILES], *flaky[:MAX_FILES])
    budget = OutputBudget.for_texts(count_texts(entries))
    positions = {model.positions[record.file.path] for record in entries}
    bars = _drawn_bars(model)
    machines = _charted_machines(model)
    return {
        "model": model,
        "banner": banner_of(model.results),
        "started": _instant(model.started_at) if model.started_at else None,
        "groups": groups,
        "shares": _shares(groups),
        "tiles": list(_tiles(model)),
        "failed": [
            file_entry(model, record, budget, is_open=number == 0 or len(failed) <= OPEN_AT_FIRST)
            for number, record in enumerate(failed[:MAX_FILES])
        ],
        "more_failed": max(0, len(failed) - MAX_FILES),
        "flaky": [file_entry(model, record, budget, is_open=False) for record in flaky[:MAX_FILES]],
        "more_flaky": max(0, len(flaky) - MAX_FILES),
        "failed_flaky": len(model.results.flaky) - len(flaky),
        "timeline": _timeline(model, bars),
        "memory": _memory(model, machines),
        "notes": [listed for listed in _notes(model) if listed["entries"]],
        "cut_texts": budget.cut,
        "trends": trend_rows(model),
        "table": _table(model, positions),
        "data": _script_data(model, bars, machines, positions),
    }


def counted(number: int, one: str) -> str:
    """Return a number with its noun: `1 file`, `2,000 files`."""
    return f"{number:,} {one if number == 1 else f'{one}s'}"


def banner_of(results: TestResults) -> RunBanner:
    """Return the result in one sentence; a run that is not complete has not passed."""
    total = len(results.records) - len(results.without_tests)
    failed, not_run = len(results.failed), len(results.cancelled)
    if failed:
        return RunBanner("bad", f"{failed:,} of {counted(total, 'file')} failed")
    if not_run:
        return RunBanner("open", f"Not complete: {not_run:,} of {counted(total, 'file')} did not run")
    if results.differing:
        number = len(results.differing)
        verb = "differs" if number == 1 else "differ"
        return RunBanner("bad", f"{counted(number, 'file')} {verb} when forked")
    if results.failing_regressions:
        return RunBanner("bad", _regressed(results))
    if results.interrupted:
        return RunBanner("open", "Interrupted")
    if results.ran_no_test:
        return RunBanner("open", "No test ran")
    if not total:
        return RunBanner("open", "No test files were run")
    return RunBanner("good", "The one file passed" if total == 1 else f"All {total:,} files passed")


def _regressed(results: TestResults) -> str:
    return f"{counted(len({found.file.path for found in results.regressions}), 'file')} regressed"


def _instant(unix_s: float) -> Values:
    moment = datetime.fromtimestamp(unix_s, tz=UTC)
    text = f"{moment.day} {moment:%b %Y, %H:%M:%S} UTC"
    return {"iso": moment.isoformat(timespec="seconds"), "text": text}


def _shares(counts: Mapping[str, int]) -> list[Values]:
    """Return the parts of the bar of results, in percent of its width."""
    # One failure among ten thousand files must be visible.
    widths = {name: max(100 * count / sum(counts.values()), 0.8) for name, count in counts.items()}
    whole = sum(widths.values())
    shares: list[Values] = []
    left = 0.0
    for name, width in widths.items():
        share = 100 * width / whole
        shares.append({"name": name, "left": f"{left:.3f}", "width": f"{share:.3f}"})
        left += share
    return shares


def _tile(
    name: str, value: str, remark: str = "", *, suffix: str = "", percent: float | None = None
) -> Values:
    return {"name": name, "value": value, "suffix": suffix, "remark": remark, "percent": percent}


def _tiles(model: ReportModel) -> Iterator[Values]:
    summary, results = model.summary, model.results
    rate = f"success rate {summary.success_percent:.1f}%"
    yield _tile("Files", f"{summary.passed:,}", rate, suffix=f" of {summary.total:,} passed")
    if summary.cases:
        total = sum(count for _, count in summary.cases)
        words = ", ".join(f"{count:,} {outcome}" for outcome, count in summary.cases)
        yield _tile("Test cases", f"{total:,}", words)
    busy_s = sum(bar.end_s - bar.start_s for bar in model.bars)
    remark = f"{format_seconds(busy_s)} one after the other" if busy_s > results.duration_s else ""
    yield _tile("Duration", format_seconds(results.duration_s), remark)
    if results.tests_cpu_s:
        own = "" if results.own_cpu_s is None else f"; {format_seconds(results.own_cpu_s)} in Passmuster"
        yield _tile("CPU time", format_seconds(results.tests_cpu_s), f"in tests{own}")
    yield _memory_tile(model)
    slots = sum(map(len, model.machines.values()))
    if len(model.machines) > 1:
        yield _tile("Machines", f"{len(model.machines)}", f"{counted(slots, 'slot')} used")
    elif model.machines:
        (name,) = model.machines
        yield _tile("Slots used", f"{slots}", f"on {name}" if name else "")
    if summary.without_tests:
        yield _tile("Without tests", f"{summary.without_tests:,}", "they have no verdict")
    if summary.forked:
        yield _tile("Forked", f"{summary.forked:,}", f"of {counted(summary.total, 'file')}")


def _memory_tile(model: ReportModel) -> Values:
    peak = max(model.results.peak_bytes, peak_bytes(model.samples))
    if not peak:
        return _tile("Peak memory", "not measured")
    if not model.budget_bytes:
        return _tile("Peak memory", format_bytes(peak))
    percent = 100 * peak / model.budget_bytes
    remark = f"{percent:.0f}% of {format_bytes(model.budget_bytes)}"
    return _tile("Peak memory", format_bytes(peak), remark, percent=percent)


def _drawn_bars(model: ReportModel) -> Sequence[Bar]:
    """Return the bars of the timeline in their order: the longest, if there are too many."""
    if len(model.bars) <= MAX_BARS:
        return model.bars
    chosen = sorted(range(len(model.bars)), key=lambda at: model.bars[at].start_s - model.bars[at].end_s)
    return [model.bars[at] for at in sorted(chosen[:MAX_BARS])]


def _timeline(model: ReportModel, bars: Sequence[Bar]) -> Values:
    looks = {"evicted" if bar.result.is_evicted else LOOKS[bar.result.status] for bar in bars}
    busy_s = sum(bar.end_s - bar.start_s for bar in model.bars)
    return {
        "slots": sum(map(len, model.machines.values())),
        "busy_s": busy_s,
        "parallel": f"{busy_s / max(model.results.duration_s, 0.001):.1f}",
        "legend": [(name, words) for name, words in _LEGEND.items() if name in looks],
        "hidden": len(model.bars) - len(bars),
    }


def _memory(model: ReportModel, machines: Sequence[tuple[str, Sequence[Sample]]]) -> Values | None:
    """Return what is said of the samples; None if there are none."""
    if not model.samples:
        return None
    seen = max(model.samples, key=lambda sample: sample.used_bytes)
    size = -(-len(model.samples) // TABLE_ROWS)
    parts = [model.samples[at : at + size] for at in range(0, len(model.samples), size)]
    return {
        "peak": max(model.results.peak_bytes, seen.used_bytes),
        "seen": seen,
        "peak_text": _peak_text(model.samples),
        "draws_budget": _draws_budget(model.samples),
        "rows": [{"until_s": part[-1].at_s, "top": reduce(Sample.merged, part)} for part in parts],
        "machines": [(name, _peak_text(samples)) for name, samples in machines],
        "hidden": len(model.machine_samples) - len(machines),
        "are_all_known": len(model.machine_samples) < MAX_MACHINES,
    }


def _charted_machines(model: ReportModel) -> list[tuple[str, Sequence[Sample]]]:
    by_peak = sorted(model.machine_samples.items(), key=lambda item: -peak_bytes(item[1]))
    return sorted(by_peak[:MAX_DRAWN])


def _peak_text(samples: Sequence[Sample]) -> str:
    budget = budget_bytes(samples)
    text = f"at most {format_bytes(peak_bytes(samples))}"
    return f"{text} of {format_bytes(budget)}" if budget else text


def _draws_budget(samples: Sequence[Sample]) -> bool:
    return 0 < budget_bytes(samples) <= MAX_BUDGET_RATIO * max(peak_bytes(samples), 1)


def _notes(model: ReportModel) -> Iterator[Values]:
    notices = [("", format_seconds(at_s), [text]) for at_s, text in model.notices]
    yield _note("Messages of the run", notices, more=model.hidden_notices)
    not_run = [
        (record.file.label, "", [text for text in (cancelled_text(record), record.final.error) if text])
        for record in by_path(model.results.cancelled)
    ]
    yield _note(f"{counted(len(not_run), 'file')} did not run to the end", not_run)
    regressions = [(one.file.label, "", [regression_text(one)]) for one in model.results.regressions]
    yield _note(_regressed(model.results), regressions)
    differing = [
        (one.file.label, "", [text[:MAX_TEXT_CHARS] for text in one.texts[:10]])
        for one in sorted(model.results.differing, key=lambda difference: difference.file.path)
    ]
    yield _note(f"{counted(len(differing), 'file')} differ when forked", differing)
    leaked = [
        (record.file.label, "", first_texts([one[:MAX_TEXT_CHARS] for one in processes], MAX_LEAKED))
        for record in model.records
        if (processes := [one for attempt in record.attempts for one in attempt.leaked])
    ]
    yield _note(f"{counted(len(leaked), 'file')} left processes behind, which Passmuster killed", leaked)
    for finding, (title, sentence) in FINDINGS.items():
        found = [(one.file.label, "", [sentence]) for one in by_path(model.results.found(finding))]
        # Unverified passes are common, and later runs verify them.
        is_common = finding is Finding.UNVERIFIED
        yield _note(f"{counted(len(found), 'file')} {title}", found, is_closed=is_common)


def _note(
    title: str, entries: Sequence[tuple[str, str, list[str]]], *, more: int = 0, is_closed: bool = False
) -> Values:
    """Return a list of the notes: a path, a time, and texts for each entry.

    Args:
        more: further entries that were not kept.
        is_closed: whether the list starts closed, however short it is.
    """
    shown = [{"label": label, "time": time, "texts": texts} for label, time, texts in entries[:MAX_NAMED]]
    return {
        "title": title,
        "entries": shown,
        "more": more + len(entries) - len(shown),
        "is_open": not is_closed and len(shown) <= OPEN_UP_TO,
    }


def _table(model: ReportModel, with_entry: set[int]) -> Values:
    by_duration = sorted(range(len(model.records)), key=lambda at: (-model.records[at].final.duration, at))
    several = len(model.machines) > 1
    rows = []
    for at in by_duration[:FIRST_ROWS]:
        record = model.records[at]
        is_flaky = file_group(record) == "flaky"
        rows.append(
            {
                "label": _label(record),
                "link": f"#file-{at}" if at in with_entry else "",
                "look": "again" if is_flaky else LOOKS[record.status],
                "status": "flaky" if is_flaky else _text_of(record.final.status_text),
                "duration": format_seconds(record.final.duration) if record.started else "",
                "peak": format_bytes(record.final.peak_bytes) if record.final.peak_bytes else "",
                "cpu": "" if record.final.cpu_s is None else format_seconds(record.final.cpu_s),
                "attempts": _attempts(record),
                "machine": record.final.worker if several else "",
            }
        )
    return {"rows": rows, "has_machines": several}


def _label(record: FileAttempts) -> str:
    label = one_line(record.file.label)
    return label if len(label) <= MAX_LABEL_CHARS else f"...{label[-MAX_LABEL_CHARS:]}"


def _attempts(record: FileAttempts) -> int:
    """Return how often a file started; a placeholder for a file that never did is no attempt."""
    return len(record.attempts) if record.started else 0


def _text_of(status: str) -> str:
    return status.replace("_", " ").lower()


def _script_data(
    model: ReportModel,
    bars: Sequence[Bar],
    machines: Sequence[tuple[str, Sequence[Sample]]],
    with_entry: set[int],
) -> dict[str, JsonValue]:
    """Return what `page.js` shows and draws; it names the columns of files, bars and samples."""
    statuses = {status: number for number, status in enumerate(Status)}
    workers = {worker: number for number, worker in enumerate(sorted(model.machines))}
    files: list[JsonValue] = [
        [
            _label(record),
            file_group(record),
            statuses[record.status],
            record.final.duration,
            record.final.peak_bytes or 0,
            record.final.cpu_s,
            _attempts(record),
            workers.get(record.final.worker, -1),
            int(at in with_entry),
        ]
        for at, record in enumerate(model.records)
    ]
    drawn: list[JsonValue] = [
        [
            bar.file,
            bar.result.attempt,
            statuses[bar.result.status],
            round(bar.start_s, 3),
            round(bar.end_s - bar.start_s, 3),
            bar.result.peak_bytes or 0,
            workers[bar.result.worker],
            bar.result.slot,
            int(bar.is_verdict),
            int(bar.result.is_evicted),
        ]
        for bar in bars
    ]
    return {
        "statuses": [_text_of(status.value) for status in Status],
        "looks": [LOOKS[status] for status in Status],
        "workers": [one_line(worker)[:200] for worker in workers],
        "slots": [[*sorted(model.machines[worker])] for worker in workers],
        "files": files,
        "bars": drawn,
        "memory": _curve(model.samples),
        "machines": [_curve(samples) for _, samples in machines],
        "draws_budget": {
            "memory": _draws_budget(model.samples),
            "machines": _draws_budget([sample for _, samples in machines for sample in samples]),
        },
        "start": round(model.start_s, 3),
        "end": round(model.end_s, 3),
        "rows": FIRST_ROWS,
    }


def _curve(samples: Sequence[Sample]) -> list[JsonValue]:
    return [
        [round(sample.at_s, 2), sample.used_bytes, sample.budget_bytes, sample.running] for sample in samples
    ]
