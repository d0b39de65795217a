"""Memory over time against the budget: one drawing for the run, a small one for each machine. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dispatcher.reporters.html.axis import byte_ticks, percent, time_label, time_ticks
from dispatcher.reporters.html.markup import counted, line
from dispatcher.reporters.html.report_model import ReportModel
from dispatcher.reporters.html.samples import MAX_MACHINES, Sample
from passmuster.model.text import JsonValue
from passmuster.model.units import format_bytes, format_seconds

MAX_DRAWN = 24
"""Machines with a drawing of their own, those with the highest peaks; more would say no more."""

TABLE_ROWS = 12
"""Rows of the table that says in figures what the drawing shows."""

FLATTEST = 8
"""How many times what was used the budget may be, to be drawn with it."""

TALL, LOW = 180, 72
"""Pixels of the plot of the whole run, and of a machine."""


def memory_section(told: ReportModel) -> Iterator[str]:
    """Yield the section."""
    yield '<section id="memory" aria-labelledby="memory-h"><h2 id="memory-h">Memory</h2>\n'
    if not told.samples:
        peak = told.results.peak_bytes
        known = f" The most that all files used together was {format_bytes(peak)}." if peak else ""
        yield (
            '<p class="quiet">Not sampled: the run ended before memory was looked at, or nobody looked.'
            f"{known}</p></section>\n"
        )
        return
    yield f'<p class="quiet">{_described(told)}</p>\n'
    yield '<p id="memory-details" class="readout" role="status" hidden>Point at the curve.</p>\n'
    label = f"Memory over time, {_peak_words(told.samples, told.budget_bytes)}"
    yield from _chart(told, told.samples, height=TALL, label=label, scale=told.samples, name="memory-chart")
    yield '<ul class="legend"><li><span class="key is-used" aria-hidden="true"></span>'
    yield "in use by all files</li>"
    if _shows_budget(told.samples):
        yield '<li><span class="key is-budget" aria-hidden="true"></span>budget</li>'
    elif told.budget_bytes:
        yield f"<li>the budget, {format_bytes(told.budget_bytes)}, is far above what is drawn</li>"
    yield "</ul>\n"
    yield from _table(told.samples)
    if told.machine_samples:
        yield from _machines(told)
    yield "</section>\n"


def memory_data(told: ReportModel) -> list[JsonValue]:
    """Return the samples of the whole run: seconds, bytes in use, budget, files running."""
    return [
        [round(sample.at_s, 2), sample.used_bytes, sample.budget_bytes, sample.running]
        for sample in told.samples
    ]


def _described(told: ReportModel) -> str:
    peak = max(told.results.peak_bytes, *(sample.used_bytes for sample in told.samples))
    text = f"At most {format_bytes(peak)}"
    if told.budget_bytes:
        text += f" of {format_bytes(told.budget_bytes)} ({_share(peak, told.budget_bytes)})"
    seen = max(told.samples, key=lambda sample: sample.used_bytes)
    if peak > seen.used_bytes:
        text += f"; the highest sample, {format_bytes(seen.used_bytes)}, after {format_seconds(seen.at_s)}"
    else:
        text += f", after {format_seconds(seen.at_s)}"
    return (
        f"{text}. {counted(len(told.samples), 'point')}, each a sample or the highest of several neighbours."
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%"


def _peak_words(samples: Sequence[Sample], budget_bytes: int) -> str:
    peak = max(sample.used_bytes for sample in samples)
    words = f"at most {format_bytes(peak)}"
    return f"{words} of {format_bytes(budget_bytes)}" if budget_bytes else words


def _chart(
    told: ReportModel,
    samples: Sequence[Sample],
    *,
    height: int,
    label: str,
    scale: Sequence[Sample],
    name: str = "",
) -> Iterator[str]:
    """Yield a drawing: an area for what was used, a line for the budget, both with their axes.

    Args:
        told: the run, for the axis of time.
        samples: what is drawn.
        height: pixels of the plot.
        label: what is said in place of the drawing.
        scale: what the axis of sizes reaches to; drawings with the same can be compared.
        name: the drawing's id; empty: none.
    """
    used = max(sample.used_bytes for sample in scale)
    budget = max(sample.budget_bytes for sample in samples)
    shows_budget = _shows_budget(scale) and budget > 0
    highest = max(sample.budget_bytes for sample in scale)
    ticks = byte_ticks(max(used, highest if shows_budget else 0, 1), most=4 if height >= TALL else 2)
    top = ticks[-1]
    named = f' id="{name}"' if name else ""
    yield f'<svg class="chart"{named} width="100%" height="{height + 34}" role="img" aria-label="{label}">'
    for size in ticks:
        y = 10 + height - height * size / top
        yield f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
    times = time_ticks(told.start_s, told.end_s, most=5 if height >= TALL else 3)
    step_s = times[1] - times[0] if len(times) > 1 else told.end_s
    for at_s in times:
        x = percent(at_s, told.start_s, told.end_s)
        anchor = "" if at_s <= told.start_s else ' text-anchor="middle"'
        if float(x[:-1]) < 95:
            yield f'<text x="{x}" y="{height + 28}"{anchor}>{time_label(at_s, step_s)}</text>'
    yield (
        f'<svg x="0" y="10" width="100%" height="{height}" viewBox="0 0 1000 {height}" '
        'preserveAspectRatio="none">'
    )
    curve = _points(told, samples, height, top)
    first, last = curve.split(" ")[0].split(",")[0], curve.rsplit(" ", 1)[-1].split(",")[0]
    yield f'<path class="area" d="M{first},{height} L{curve} L{last},{height} Z"/>'
    yield f'<path class="used" d="M{curve}" vector-effect="non-scaling-stroke"/></svg>'
    for size in ticks[1:]:
        y = 10 + height - height * size / top
        yield f'<text x="0" y="{y:.1f}" dy="12">{format_bytes(size)}</text>'
    if shows_budget:
        y = 10 + height - height * budget / top
        yield f'<line class="budget" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="budget-name" x="100%" y="{y:.1f}" dy="-4" text-anchor="end">budget</text>'
    yield "</svg>\n"


def _shows_budget(samples: Sequence[Sample]) -> bool:
    """Whether the budget is drawn: one far above everything in use would press the curve flat."""
    used = max(sample.used_bytes for sample in samples)
    return 0 < max(sample.budget_bytes for sample in samples) <= FLATTEST * max(used, 1)


def _points(told: ReportModel, samples: Sequence[Sample], height: int, top: int) -> str:
    width_s = max(told.end_s - told.start_s, 0.001)
    return " ".join(
        f"{1000 * (sample.at_s - told.start_s) / width_s:.1f},{height - height * sample.used_bytes / top:.1f}"
        for sample in samples
    )


def _table(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield the drawing's content in figures, for who cannot see it."""
    size = -(-len(samples) // TABLE_ROWS)
    parts = [samples[at : at + size] for at in range(0, len(samples), size)]
    yield '<details class="figures"><summary>In figures</summary><table><thead><tr>'
    yield '<th scope="col">Until</th><th scope="col">At most in use</th><th scope="col">Budget</th>'
    yield '<th scope="col">Files at once</th></tr></thead><tbody>\n'
    for part in parts:
        budget = max(sample.budget_bytes for sample in part)
        yield (
            f"<tr><td>{format_seconds(part[-1].at_s)}</td>"
            f"<td>{format_bytes(max(sample.used_bytes for sample in part))}</td>"
            f"<td>{format_bytes(budget) if budget else 'not known'}</td>"
            f"<td>{max(sample.running for sample in part)}</td></tr>\n"
        )
    yield "</tbody></table></details>\n"


def _machines(told: ReportModel) -> Iterator[str]:
    by_peak = sorted(
        told.machine_samples.items(), key=lambda item: -max(sample.used_bytes for sample in item[1])
    )
    shown = sorted(by_peak[:MAX_DRAWN])
    scale = [sample for _, samples in shown for sample in samples]
    yield '<h3>By machine</h3>\n<div class="multiples">\n'
    for name, samples in shown:
        words = _peak_words(samples, max(sample.budget_bytes for sample in samples))
        yield f"<figure><figcaption><b>{line(name)}</b> <span>{words}</span></figcaption>\n"
        yield from _chart(told, samples, height=LOW, label=f"Memory of {line(name)}, {words}", scale=scale)
        yield "</figure>\n"
    yield "</div>\n"
    hidden = len(told.machine_samples) - len(shown)
    if hidden:
        more = " or more" if len(told.machine_samples) == MAX_MACHINES else ""
        yield f'<p class="note">{hidden}{more} machines with lower peaks are not drawn.</p>\n'
