"""Formats the output of `--dry-run`: the order, the slots, and the prediction for the run. Pure."""

from __future__ import annotations

from dispatcher.config.interpreter import ProjectInterpreter
from dispatcher.model.plan import PlannedFile, RunPlan
from dispatcher.planning.simulation import simulate_run
from dispatcher.reporters.console.lines import layout_lines, shard_line
from dispatcher.terminal.tags import Tag, tagged
from passmuster.host.capacity import Capacity
from passmuster.model.status import RunnerKind
from passmuster.model.text import one_line
from passmuster.model.units import format_bytes, format_seconds


def dry_run_lines(
    plan: RunPlan, layout: str, capacity: Capacity, interpreter: ProjectInterpreter, *, color: bool
) -> list[str]:
    """Return the lines.

    Args:
        layout: which configuration decides what is a test file, and why.
        capacity: the slots and the memory that the run would get.
        interpreter: the project's.
    """

    def info(text: str) -> str:
        return tagged(Tag.INFO, text, color=color)

    shard = shard_line(plan, color=color)
    version = ".".join(map(str, interpreter.version))
    lines = [
        *layout_lines(layout, color=color),
        info(f"Interpreter: {one_line(interpreter.path)} {version} ({one_line(interpreter.origin)})"),
        *(info(f"{limit.name.capitalize()}: {limit.value} ({limit.source})") for limit in capacity.limits),
        *([shard] if shard else []),
        info(f"Would run {len(plan.files)} test file(s), in this order:"),
        *(_file_line(number, planned) for number, planned in enumerate(plan.files, start=1)),
    ]
    forecast = simulate_run(
        [planned.task for planned in plan.files],
        slots=capacity.slots,
        budget_bytes=capacity.budget_bytes,
        idle_cpus=capacity.idle_cpus,
        groups=dict(plan.groups),
    )
    took = "unknown, no file has run yet" if forecast.wall_s is None else format_seconds(forecast.wall_s)
    lines.append(info(f"Predicted time: {took}"))
    lines.append(info(f"Predicted peak of reserved memory: {format_bytes(forecast.peak_bytes)}"))
    if forecast.unknown and forecast.wall_s is not None:
        lines.append(info(f"{forecast.unknown} file(s) never ran and were taken for ordinary ones"))
    return lines


def _file_line(number: int, planned: PlannedFile) -> str:
    task = planned.task
    seconds = "?" if task.predicted_s is None else format_seconds(task.predicted_s)
    memory = "?" if task.predicted_bytes is None else format_bytes(task.predicted_bytes)
    reason = (
        f"{planned.order_reason}, by a command" if task.runner is RunnerKind.COMMAND else planned.order_reason
    )
    return f"  {number:>4}  {seconds:>8}  {memory:>9}  {one_line(planned.file.label)}  ({reason})"
