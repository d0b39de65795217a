"""`run-tests explain`, `plan`, and `status`: what is known of a file, of a coming run, and of active runs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from msgspec import structs

from dispatcher.cli.command import CommandCall
from dispatcher.cli.subcommands import (
    ExplainOptions,
    PlanOptions,
    StatusOptions,
    SubcommandArguments,
)
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import group_limits
from dispatcher.history.file_history import FileHistory
from dispatcher.history.history import History
from dispatcher.history.merge import read_outcomes
from dispatcher.history.schema import FILE_NAME as HISTORY
from dispatcher.insight.explain_report import explain_json, explain_lines
from dispatcher.insight.explanation import Explanation, overrides_of, start_method_of
from dispatcher.insight.last_run import find_newest_run
from dispatcher.insight.plan_report import PlanReport, plan_json, plan_lines
from dispatcher.insight.prediction import alternatives, fill_in, median_time, predict
from dispatcher.insight.status_report import (
    BrokerState,
    local_lines,
    local_runs,
    status_json,
    status_lines,
    waits_of,
)
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.plan import FileKind, RunPlan, TestFile
from dispatcher.reporters.console.lines import nothing_found_line
from passmuster.host.capacity import Capacity, resolve_limit
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.settings.values import MERGE_BASE, on_one_line


def show_explanation(call: CommandCall, arguments: SubcommandArguments[ExplainOptions]) -> int:
    """Print what is known about a file; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong, there is no such file, or no history.
    """
    config = arguments.config
    if len(config.paths) != 1:
        raise ConfigurationError(
            f"explain needs one file, got {len(config.paths)}: {call.program} explain FILE"
        )
    if not config.history:
        raise ConfigurationError("explain needs the history, which is switched off")
    config = structs.replace(config, broker=None, cluster=None)
    local = local_runs(config.machine_folder, call.environ)
    explanation = structs.replace(
        _explain(config, call, arguments.options.run_id),
        waits=waits_of(config.root, local, now_at=time.time()),
    )
    if arguments.options.json:
        call.out.write(explain_json(explanation).decode("ascii"))
    else:
        call.write_lines(explain_lines(explanation))
    return ExitCode.OK


def _explain(config: TestConfig, call: CommandCall, wanted: str | None) -> Explanation:
    everything = structs.replace(
        config, paths=(), include_integration=True, limit=None, failed_only=False, changed=None, shard=None
    )
    found = call.runner(everything).discover_tests()
    histories = _load_history(config.root)
    file, exists = _locate(config, call, found, histories)
    known = histories.get(file.path)
    last = find_newest_run(config.root / STATE_DIRECTORY / "runs", file.path, wanted=wanted)
    is_found = any(one.path == file.path for one in found)
    outcomes = () if known is None else read_outcomes(known.outcomes)
    explanation = Explanation(file=file, last=last, known=known, outcomes=outcomes, is_found=is_found)
    if not exists:
        return explanation
    if not is_found and explanation.never_ran:
        raise ConfigurationError(
            f"{file.path} is no test file by its name and place, and never ran: see --list for those that are"
        )
    named = (str(config.root / file.path),)
    only = structs.replace(everything, include_integration=file.kind is FileKind.INTEGRATION, paths=named)
    affected = call.runner(structs.replace(only, changed=MERGE_BASE)).selection.reasons.get(file.path, ())
    explanation = structs.replace(explanation, affected=affected)
    return _with_plan(explanation, structs.replace(only, paths=()) if is_found else only, call)


def _with_plan(explanation: Explanation, config: TestConfig, call: CommandCall) -> Explanation:
    """Return the explanation, completed with the plan of a run that includes the file."""
    prepared = call.runner(config).prepare()
    plan, budget_bytes = prepared.plan, prepared.capacity.budget_bytes
    path = explanation.file.path
    position, planned = next(
        (number, one) for number, one in enumerate(plan.files, start=1) if one.file.path == path
    )
    limit_bytes = planned.task.limits.memory_bytes or resolve_limit(
        config.memory_limit, budget_bytes=budget_bytes
    )
    group = planned.task.group
    return structs.replace(
        explanation,
        planned=planned,
        position=position,
        total=len(plan.files),
        limit_bytes=limit_bytes or budget_bytes,
        budget_bytes=budget_bytes,
        overrides=overrides_of(path, config),
        group_max=group_limits(config).get(group) if group else None,
        start_method=start_method_of(planned, explanation.known, config),
    )


def _load_history(root: Path) -> dict[str, FileHistory]:
    """Return the history; if there is none, do not create one."""
    if not (root / STATE_DIRECTORY / HISTORY).exists():
        return {}
    with closing(History(root)) as history:
        return dict(history.load())


def _locate(
    config: TestConfig, call: CommandCall, found: Iterable[TestFile], histories: dict[str, FileHistory]
) -> tuple[TestFile, bool]:
    """Return the file that the user means, and whether it exists.

    Raises:
        ConfigurationError: there is none, and never was.
    """
    (text,) = config.paths
    try:
        files = call.runner(structs.replace(config, limit=None, shard=None)).discover_tests()
    except ConfigurationError as error:
        if text in histories:
            return TestFile(path=text, label=text), False
        raise ConfigurationError(f"{error}{_advice(text, str(error), found)}") from error
    if len(files) != 1:
        raise ConfigurationError(f"{on_one_line(text)} contains {len(files)} test files: name one of them")
    return files[0], True


def _advice(text: str, message: str, found: Iterable[TestFile]) -> str:
    """Return which test files the user may mean, unless the message already says so."""
    # Only needed after an error.
    from difflib import get_close_matches

    if "did you mean" in message:
        return ""
    labels = {file.label: file.label for file in found} | {
        Path(file.label).name: file.label for file in found
    }
    name = Path(text).name
    matches = [name] if name in labels else get_close_matches(text, labels, n=1)
    return f"; did you mean {on_one_line(labels[matches[0]])}?" if matches else ""


def show_plan(call: CommandCall, arguments: SubcommandArguments[PlanOptions]) -> int:
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
        call.out.write(f"{line}\n")
        return ExitCode.OK
    prepared = runner.prepare()
    report = make_plan_report(prepared.plan, prepared.capacity, nodes=arguments.options.nodes)
    if arguments.options.json:
        call.out.write(plan_json(report).decode("ascii"))
    else:
        call.write_lines(plan_lines(report))
    return ExitCode.OK


def make_plan_report(plan: RunPlan, capacity: Capacity, *, nodes: int = 1) -> PlanReport:
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


def show_status(call: CommandCall, arguments: SubcommandArguments[StatusOptions]) -> int:
    """Print the runs on this machine, and the runs and workers of a broker; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong.
        InfrastructureError: the broker cannot be used.
    """
    local = local_runs(arguments.config.machine_folder, call.environ)
    state = _broker_state(arguments.config) if arguments.config.broker is not None else None
    if arguments.options.json:
        call.out.write(status_json(state, local).decode("ascii"))
    else:
        lines = local_lines(local, now_at=time.time())
        if state is not None:
            lines += ["", *status_lines(state)]
        call.write_lines(lines)
    return ExitCode.OK


def _broker_state(config: TestConfig) -> BrokerState:
    # Only a status with a broker loads redis.
    from dispatcher.queue.broker import broker_address
    from passmuster.wire.access import BROKER_ERRORS, open_broker
    from passmuster.wire.broker_inspector import BrokerInspector
    from passmuster.wire.run_store import WorkerDirectory

    address = broker_address(config)
    try:
        with closing(open_broker(address)) as client:
            return BrokerState(
                broker=address.shown,
                runs=tuple(BrokerInspector(client).runs()),
                workers=tuple(WorkerDirectory(client).statuses()),
            )
    except BROKER_ERRORS as error:
        raise InfrastructureError(
            f"the broker {address.shown} does not report: {error}; check that it is running"
        ) from error
