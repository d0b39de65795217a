"""Formats the output of `plan`, as lines for people and JSON for programs, and of `--dry-run`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from msgspec import Struct

from dispatcher.insight.prediction import LowerBound, LowerBoundKind, Prediction, is_limited_by_longest_file
from dispatcher.model.plan import PlannedFile, RunPlan
from dispatcher.planning.simulation import simulate_plan
from dispatcher.reporters.console.lines import layout_lines, shard_lines
from dispatcher.terminal.tags import Tag, tagged
from passmuster.host.capacity import Capacity
from passmuster.host.interpreter import ProjectInterpreter
from passmuster.model.oversubscription import max_slots
from passmuster.model.status import RunnerKind
from passmuster.model.text import JsonValue, json_fields, json_line, one_line
from passmuster.model.units import format_bytes, format_seconds

VERSION = 2
"""Of the JSON: counts up when a field changes its meaning or goes away."""

WORTH_IT = 1.1
"""The factor in a run's time from which a change of configuration is worth suggesting."""


class PlanReport(Struct, frozen=True, kw_only=True):
    """The predictions for a run, as it was requested and otherwise."""

    files: int
    unknown: int
    """How many of them never ran, and were assumed to take the median time."""
    assumed_s: float | None = None
    """That median; None: all files ran, or none ever did."""
    requested: Prediction | None = None
    """None: no file ever ran, so nothing can be predicted."""
    alternatives: tuple[Prediction, ...] = ()
    groups: tuple[tuple[str, int], ...] = ()


def plan_lines(report: PlanReport) -> list[str]:
    """Return the lines for people."""
    requested = report.requested
    if requested is None:
        return [f"{report.files} test file(s), of which none ever ran: nothing can be predicted"]
    lines = [_headline(report.files, requested)]
    if report.unknown:
        usual = format_seconds(report.assumed_s or 0.0)
        lines.append(
            f"{report.unknown} of {report.files} never ran and are assumed to take the median ({usual})"
        )
    where = "Lower bound" if requested.nodes == 1 else "Lower bound of the slowest machine"
    groups = dict(report.groups)
    rows = [
        (_bound_text(bound, requested.machine, groups), format_seconds(bound.lower_bound_s))
        for bound in requested.bounds
    ]
    lines += ["", *_table((where, "at least"), rows)]
    if report.alternatives:
        rows = [(_difference_text(one, requested), format_seconds(one.wall_s)) for one in report.alternatives]
        lines += ["", *_table(("Alternative", "time"), rows)]
    return [*lines, "", *_advice(requested, report.alternatives)]


def plan_json(report: PlanReport) -> bytes:
    """Return the same as one JSON object on one line."""
    return json_line(
        {
            "version": VERSION,
            **json_fields(report, "files", "unknown", "assumed_s"),
            "requested": None if report.requested is None else _object(report.requested),
            "alternatives": [_object(other) for other in report.alternatives],
        }
    )


def _object(one: Prediction) -> dict[str, JsonValue]:
    return {
        "jobs": one.machine.slots,
        "oversubscribed": one.machine.idle_cpus is not None,
        "budget_bytes": one.machine.budget_bytes,
        "cpus": one.machine.cpus,
        **json_fields(one, "nodes", "duration_s=wall_s", "peak_bytes"),
        "bounds": [json_fields(bound, "kind", "lower_bound_s", "name") for bound in one.bounds],
    }


def _headline(files: int, requested: Prediction) -> str:
    machine, nodes = requested.machine, requested.nodes
    further = ", more while CPUs are idle" if machine.idle_cpus is not None else ""
    where, each = ("", "") if nodes == 1 else (f" on {nodes} machines like this one", " on each")
    memory = f"{format_bytes(requested.peak_bytes)} of {format_bytes(machine.budget_bytes)}"
    return (
        f"{files} test file(s){where} ({machine.slots} at once{further}): "
        f"{format_seconds(requested.wall_s)}, at most {memory} reserved{each}"
    )


def _bound_text(bound: LowerBound, machine: Capacity, groups: Mapping[str, int]) -> str:
    match bound.kind:
        case LowerBoundKind.FILE:
            return f"the longest file: {one_line(bound.name)}"
        case LowerBoundKind.CPUS:
            used = format_seconds(bound.lower_bound_s * (machine.cpus or 1))
            return f"CPUs: {used} of CPU time on {machine.cpus}"
        case LowerBoundKind.MEMORY:
            return f"memory: {format_bytes(machine.budget_bytes)} for all"
        case LowerBoundKind.GROUP:
            return f"group {one_line(bound.name)}: {groups.get(bound.name, 1)} at once"
        case LowerBoundKind.JOBS:
            most = max_slots(machine.slots, cpus=machine.idle_cpus)
            further = "" if most == machine.slots else f", up to {most} while CPUs are idle"
            return f"jobs: {machine.slots} at once{further}"


def _difference_text(other: Prediction, requested: Prediction) -> str:
    """Return how another configuration differs from the requested one."""
    if other.nodes != requested.nodes:
        return "1 machine" if other.nodes == 1 else f"{other.nodes} machines"
    if other.machine.budget_bytes != requested.machine.budget_bytes:
        return f"--memory {format_bytes(other.machine.budget_bytes).replace(' ', '')}"
    return f"--jobs {other.machine.slots}"


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield two columns below their headings, the second one right-aligned."""
    left = max(len(one) for one, _ in (head, *rows))
    right = max(len(other) for _, other in (head, *rows))
    for number, (one, other) in enumerate((head, *rows)):
        yield f"{'  ' if number else ''}{one.ljust(left + 2 - (2 if number else 0))}  {other.rjust(right)}"


def _advice(requested: Prediction, others: Sequence[Prediction]) -> list[str]:
    """Return, in a sentence, what would make the run faster and what would not."""
    more = [other for other in others if other.nodes > requested.nodes]
    tried = [other for other in others if other.nodes == requested.nodes] + more[:1]
    good = [other for other in tried if other.wall_s * WORTH_IT < requested.wall_s]
    lines = []
    if good:
        texts = [f"{_difference_text(other, requested)} ({format_seconds(other.wall_s)})" for other in good]
        lines.append(f"It would help: {', or '.join(texts)}.")
    last = (requested, *more)[-1]
    if is_limited_by_longest_file(last):
        few = f"More than {last.nodes} machines" if last.nodes > 1 else "More machines"
        alone = f"{one_line(last.longest.name)} alone takes {format_seconds(last.longest.lower_bound_s)}"
        lines.append(f"{few} would not help: {alone}.")
    elif not good:
        lines.append("None of these would help much.")
    return lines


def dry_run_lines(
    plan: RunPlan, layout: str, capacity: Capacity, interpreter: ProjectInterpreter
) -> list[str]:
    """Return the lines."""
    info = partial(tagged, Tag.INFO)
    python = f"{one_line(interpreter.path)} {interpreter.version}"
    lines = [
        *layout_lines(layout),
        info(f"Interpreter: {python} ({one_line(interpreter.origin)})"),
        *(info(f"{limit.name.capitalize()}: {limit.value} ({limit.source})") for limit in capacity.limits),
        *shard_lines(plan),
        info(f"Would run {len(plan.files)} test file(s), in this order:"),
        *(_file_line(number, planned) for number, planned in enumerate(plan.files, start=1)),
    ]
    forecast = simulate_plan(plan, capacity)
    took = "unknown, no file has run yet" if forecast.wall_s is None else format_seconds(forecast.wall_s)
    lines.append(info(f"Predicted time: {took}"))
    lines.append(info(f"Predicted peak of reserved memory: {format_bytes(forecast.peak_bytes)}"))
    if forecast.unknown and forecast.wall_s is not None:
        lines.append(info(f"{forecast.unknown} file(s) never ran and are assumed to take the median time"))
    return lines


def _file_line(number: int, planned: PlannedFile) -> str:
    task = planned.task
    seconds = "?" if task.predicted_s is None else format_seconds(task.predicted_s)
    memory = "?" if task.predicted_bytes is None else format_bytes(task.predicted_bytes)
    reason = (
        f"{planned.order_reason}, by a command" if task.runner is RunnerKind.COMMAND else planned.order_reason
    )
    if task.parts:
        reason = f"{reason}, in {len(task.parts)} parts"
    return f"  {number:>4}  {seconds:>8}  {memory:>9}  {one_line(planned.file.label)}  ({reason})"
