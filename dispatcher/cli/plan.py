"""`run-tests plan`: predicts a run, and what would make it faster, without running anything."""

from __future__ import annotations

from msgspec import structs

from dispatcher.cli.subcommands import PlanOptions, SubcommandArguments, SubcommandCall
from dispatcher.insight.plan_report import PlanReport, plan_json, plan_lines
from dispatcher.insight.prediction import alternatives, fill_in, median_time, predict
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.plan import RunPlan
from dispatcher.reporters.console.lines import nothing_found_line
from passmuster.host.capacity import Capacity
from passmuster.model.errors import ConfigurationError


def show_plan(call: SubcommandCall, arguments: SubcommandArguments[PlanOptions]) -> int:
    """Print the prediction for a run; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong, or there is no history.
    """
    if not arguments.config.history:
        raise ConfigurationError("plan needs the history, which is switched off")
    # The prediction is for this machine, or for several like it.
    config = structs.replace(arguments.config, broker=None, cluster=None, shard=None)
    runner = call.runner(config)
    if not runner.discover_tests():
        line = config.nothing_selected or nothing_found_line(include_integration=config.include_integration)
        call.write(f"{line}\n")
        return ExitCode.OK
    prepared = runner.prepare()
    answer = answer_for(prepared.plan, prepared.capacity, nodes=arguments.options.nodes)
    if arguments.options.json:
        call.write(plan_json(answer).decode("ascii"))
    else:
        call.write_lines(plan_lines(answer))
    return ExitCode.OK


def answer_for(plan: RunPlan, capacity: Capacity, *, nodes: int = 1) -> PlanReport:
    """Return the prediction for a plan on this many machines of that capacity."""
    planned = [task for item in plan.files for task in item.task.as_parts]
    unknown = sum(task.predicted_s is None for task in planned)
    assumed_s = median_time(planned)
    if assumed_s is None:
        return PlanReport(files=len(plan.files), unknown=unknown)
    tasks, groups = fill_in(planned, assumed_s), dict(plan.groups)
    requested = predict(tasks, capacity, nodes=nodes, groups=groups)
    return PlanReport(
        files=len(plan.files),
        unknown=unknown,
        assumed_s=assumed_s if unknown else None,
        requested=requested,
        alternatives=alternatives(tasks, requested, groups=groups),
        groups=plan.groups,
    )
