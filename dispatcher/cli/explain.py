"""`run-tests explain FILE`: how a file last ran, and how and why it will run next."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from msgspec import structs

from dispatcher.cli.subcommands import ExplainOptions, SubcommandArguments, SubcommandCall
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import group_limits
from dispatcher.history.file_history import FileHistory
from dispatcher.history.history import History
from dispatcher.history.merge import read_outcomes
from dispatcher.history.schema import FILE_NAME as HISTORY
from dispatcher.insight.explain_report import explain_json, explain_lines
from dispatcher.insight.explanation import Explanation, overrides_of, start_method_of
from dispatcher.insight.last_run import find_newest_run
from dispatcher.insight.status_report import local_runs, waits_of
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.plan import FileKind, TestFile
from passmuster.host.state_directory import STATE_DIRECTORY
from passmuster.model.errors import ConfigurationError
from passmuster.settings.values import MERGE_BASE, on_one_line


def show_explanation(call: SubcommandCall, arguments: SubcommandArguments[ExplainOptions]) -> int:
    """Print what is known about a file; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong, there is no such file, or no history.
    """
    config = arguments.config
    if len(config.paths) != 1:
        raise ConfigurationError(f"explain needs one file, got {len(config.paths)}: {call.program} FILE")
    if not config.history:
        raise ConfigurationError("explain needs the history, which is switched off")
    explanation = _explain(structs.replace(config, broker=None, cluster=None), call, arguments.options.run_id)
    local = local_runs(config.machine_folder, call.environ)
    explanation = structs.replace(explanation, waits=waits_of(config.root, local, now_at=time.time()))
    if arguments.options.json:
        call.write(explain_json(explanation).decode("ascii"))
    else:
        call.write_lines(explain_lines(explanation))
    return ExitCode.OK


def _explain(config: TestConfig, call: SubcommandCall, wanted: str | None) -> Explanation:
    everything = structs.replace(
        config, paths=(), include_integration=True, limit=None, failed_only=False, changed=None, shard=None
    )
    found = call.runner(everything).discover_tests()
    histories = _load_history(config.root)
    file, exists = _locate(config, call, found, histories)
    known = histories.get(file.path)
    last = find_newest_run(config.root / STATE_DIRECTORY / "runs", file.path, wanted=wanted)
    outcomes = () if known is None else read_outcomes(known.outcomes)
    explanation = Explanation(file=file, last=last, known=known, outcomes=outcomes)
    if not exists:
        return explanation
    is_found = any(one.path == file.path for one in found)
    if not is_found and explanation.never_ran:
        raise ConfigurationError(
            f"{file.path} is no test file by its name and place, and never ran: see --list for those that are"
        )
    mine = structs.replace(
        everything,
        include_integration=file.kind is FileKind.INTEGRATION,
        paths=() if is_found else (str(config.root / file.path),),
    )
    affected = _affected(file, mine, call)
    return _with_plan(structs.replace(explanation, is_found=is_found, affected=affected), mine, call)


def _affected(file: TestFile, config: TestConfig, call: SubcommandCall) -> tuple[str, ...]:
    """Return why a change may affect a file; empty: none does."""
    only = structs.replace(config, paths=(str(config.root / file.path),), changed=MERGE_BASE)
    return call.runner(only).selection.reasons.get(file.path, ())


def _with_plan(explanation: Explanation, config: TestConfig, call: SubcommandCall) -> Explanation:
    """Return the explanation, completed with the plan of a run that includes the file."""
    prepared = call.runner(config).prepare()
    plan, budget_bytes = prepared.plan, prepared.capacity.budget_bytes
    place = [planned.file.path for planned in plan.files].index(explanation.file.path)
    planned = plan.files[place]
    limit_bytes = planned.task.limits.memory_bytes or budget_bytes
    if planned.task.limits.memory_bytes is None and config.memory_limit is not None:
        limit_bytes = min(config.memory_limit.resolve(budget_bytes), budget_bytes)
    group = planned.task.group
    return structs.replace(
        explanation,
        planned=planned,
        position=place + 1,
        total=len(plan.files),
        limit_bytes=limit_bytes,
        budget_bytes=budget_bytes,
        overrides=overrides_of(explanation.file.path, config),
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
    config: TestConfig, call: SubcommandCall, found: Iterable[TestFile], histories: dict[str, FileHistory]
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
