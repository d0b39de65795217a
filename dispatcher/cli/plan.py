"""`run-tests plan`: what a run would take, and what would make it quicker, without running anything."""

from __future__ import annotations

from msgspec import structs

from dispatcher.cli.call import Call, read_words
from dispatcher.cli.option_parsing import renamed, take_value
from dispatcher.config.choices import Subcommand
from dispatcher.insight.plan_report import Answer, plan_json, plan_lines
from dispatcher.insight.prediction import Machine, alternatives, fill_in, predict
from dispatcher.model.exit_codes import ExitCode
from dispatcher.model.plan import Plan
from dispatcher.reporters.console.lines import nothing_found_line
from dispatcher.run.runner import TestRunner
from passmuster.host.capacity import Capacity
from passmuster.model.errors import ConfigurationError

JSON, MEMORY, NODES = "--json", "--memory", "--nodes"
MOST_NODES = 1024


def show_plan(call: Call) -> int:
    """Print what a run would take; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong, or there is no history.
    """
    nodes_text, argv = take_value(call.argv, NODES, allowed=_NODES_ALLOWED)
    words = read_words(
        renamed(argv, MEMORY, "--memory-budget"),
        call.environ,
        call.cwd,
        command=Subcommand.PLAN,
        switches=(JSON,),
    )
    if words.wants_help:
        call.write(_help(call.program))
        return ExitCode.OK
    if not words.config.history:
        raise ConfigurationError("plan needs the history, which is switched off")
    # What is asked is what this machine, or some like it, would take.
    config = structs.replace(words.config, broker=None, cluster=None, shard=None)
    runner = TestRunner(
        config,
        site=call.site,
        environ=call.environ,
        cwd=call.cwd,
        runner_python=call.runner_python,
    )
    nodes = 1 if nodes_text is None else _nodes(nodes_text)
    if not runner.discover_tests():
        line = nothing_found_line(include_integration=config.include_integration, color=False)
        call.write("No file failed when it last ran\n" if config.failed_only else f"{line}\n")
        return ExitCode.OK
    answer = answer_for(runner.plan(), runner.capacity(), nodes=nodes)
    if JSON in words.switches:
        call.write(plan_json(answer).decode("ascii"))
    else:
        call.write("".join(f"{line}\n" for line in plan_lines(answer)))
    return ExitCode.OK


def answer_for(plan: Plan, capacity: Capacity, *, nodes: int = 1) -> Answer:
    """Return what can be said of a plan on so many machines of that capacity."""
    planned = [item.task for item in plan.files]
    unknown = sum(task.predicted_s is None for task in planned)
    tasks = fill_in(planned)
    if tasks is None:
        return Answer(files=len(planned), unknown=unknown)
    machine = Machine(
        slots=capacity.slots,
        budget_bytes=capacity.budget_bytes,
        cpus=capacity.cpus,
        idle_cpus=capacity.idle_cpus,
    )
    groups = dict(plan.groups)
    asked = predict(tasks, machine, nodes=nodes, groups=groups)
    usual_s = [task.predicted_s for task, before in zip(tasks, planned, strict=True) if before is not task]
    return Answer(
        files=len(planned),
        unknown=unknown,
        usual_s=usual_s[0] if usual_s else None,
        asked=asked,
        others=alternatives(tasks, asked, groups=groups),
        groups=plan.groups,
    )


_NODES_ALLOWED = f"a number from 1 to {MOST_NODES}"


def _nodes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_NODES):
        raise ConfigurationError(f"wrong value for nodes: expected {_NODES_ALLOWED}, got {text[:80]!r}")
    return int(text)


def _help(program: str) -> str:
    return f"""usage: {program} [--jobs N] [--memory SIZE] [--nodes N] [OPTION...] [PATH...]

Prints what a run of these files would take, from what earlier runs took, what bounds it, and what other
jobs, memory and machines would come to. Nothing is run.

  -j, --jobs N      files at once
  --memory SIZE     what all files together may use; also --memory-budget
  --nodes N         machines like this one, each with its part of the files
  --integration     integration tests too
  --failed          only the files that did not pass when they last ran
  --limit N         at most this many files
  --overcommit auto|off
  --isolation auto|fork|spawn
  --root PATH       the project's folder
  --json            one object on one line, for programs
"""
