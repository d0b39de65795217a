"""Reads a job of a workflow: its machine, its variables, and the steps that run the tests. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from msgspec import Struct, structs

from dispatcher.config.choices import SUBCOMMAND_HELP
from dispatcher.model.invocation import ASSIGNMENT
from dispatcher.replica.command_kind import CommandKind, language_of
from dispatcher.replica.expressions import Context, Unknowns, assume_condition
from dispatcher.replica.matrix import combinations, format_combination
from dispatcher.replica.node import Node
from dispatcher.replica.options import OF_MANY_MACHINES, forward_options
from dispatcher.replica.script import ScriptCommand
from dispatcher.replica.step import LoadFile, Step, StepReader
from dispatcher.replica.workflow_command import Certainty, Replica, WorkflowCommand
from passmuster.model.errors import ConfigurationError

_PYTHON_IMAGE = re.compile(r"(?:^|/)python:([0-9]+\.[0-9]+(?:\.[0-9]+)?)")
_ONLY_PRINT = frozenset({"echo", "printf", "ls", "cat", "env", "date"})
OF_THIS_MACHINE = frozenset({"PATH", "HOME", "TMPDIR"})
"""Variables with paths of a machine: those of CI do not exist here."""


class JobSource(Struct, frozen=True, kw_only=True):
    """Where a job comes from.

    Args:
        name: for messages; of a called workflow, `CALLER / JOB`.
        context: the values that its expressions may use, without a matrix.
    """

    name: str
    job: Node
    workflow: Node
    context: Context
    load: LoadFile


def read_job(source: JobSource, *, wanted_step: str | None = None, python: str = "") -> Replica:
    """Return what a job does, with the first combination of its matrix on Linux that runs the tests.

    Args:
        wanted_step: the name, ID or number of the step to run; None: those that run the tests.
        python: a version such as `3.12`; a combination that sets it up is preferred.

    Raises:
        ConfigurationError: a part does not have the shape that it has in a workflow, or cannot be run.
    """
    found = [
        _JobReader(source, context, matrix).read(wanted_step)
        for context, matrix in matrix_contexts(source.job, source.context)
    ]
    # Of equals, the first one.
    return max(found, key=lambda one: (one.certainty, one.is_linux, bool(python) and one.python == python))


def matrix_contexts(job: Node, context: Context) -> Iterator[tuple[Context, str]]:
    """Yield a context for each combination of a job's matrix, with the combination for people."""
    found = combinations(job["strategy"]["matrix"], context)
    if found is None:
        yield context, ""
        return
    for index, one in enumerate(found):
        strategy = {"job-index": index, "job-total": len(found)}
        text = "" if found == ({},) else f"{format_combination(one)} (number {index + 1} of {len(found)})"
        # Each combination has its own assumptions.
        fresh = structs.replace(context, assumed=dict(context.assumed))
        yield fresh.with_scope("matrix", one).with_scope("strategy", strategy), text


class _JobReader:
    """Collects what one job does."""

    def __init__(self, source: JobSource, context: Context, matrix: str) -> None:
        self.job, self.workflow, self.name = source.job, source.workflow, source.name
        self.matrix = matrix
        self.unknowns = Unknowns()
        self.steps = StepReader(
            context=context, unknowns=self.unknowns, load=source.load, default=self._default
        )
        self.differences = self.steps.differences
        self.is_linux = True

    def read(self, wanted_step: str | None) -> Replica:
        self._set_variables(self.workflow["env"])
        self._read_machine()
        is_skipped = self._is_skipped()
        self._set_variables(self.job["env"])
        steps = list(self.steps.read(self.job["steps"]))
        certainty, chosen = _chosen_steps(steps, wanted_step)
        commands, installation = self._commands(steps, chosen)
        return Replica(
            job=self.name,
            commands=commands,
            installation=installation,
            tools=tuple(dict.fromkeys(self.steps.tools)),
            matrix=self.matrix,
            python=self.steps.python,
            differences=tuple(dict.fromkeys(self.differences)),
            is_linux=self.is_linux,
            is_skipped=is_skipped,
            certainty=certainty,
            steps=tuple(self._shown_steps(steps)),
        )

    def _default(self, name: str) -> str:
        for node in (self.job["defaults"]["run"][name], self.workflow["defaults"]["run"][name]):
            if node.is_there:
                return self.steps.text(node)
        return ""

    def _set_variables(self, env: Node) -> None:
        """Add the variables of the workflow or of the job, and make them available to expressions."""
        self.steps.variables = {**self.steps.variables, **self.steps.environment(env)}
        self.steps.set_env(self.steps.variables)

    def _shown(self, node: Node) -> str:
        return self.unknowns.restore(self.steps.text(node))

    def _read_machine(self) -> None:
        """Record the features of the job's machine that this machine lacks."""
        matrix = self.job["strategy"]["matrix"]
        if matrix.is_text and matrix.is_there:
            self.differences.append(f"the matrix, computed by an expression: {matrix.value}")
        node = self.job["runs-on"]
        if isinstance(node.value, dict):
            node = node["labels"]
        labels = list(node.elements()) if node.is_list else [node]
        machine = ", ".join(map(self._shown, labels))
        self.is_linux = any(word in machine.lower() for word in ("ubuntu", "linux"))
        if self.job["runs-on"].is_there and not self.is_linux:
            self.differences.append(f"runs-on: {machine}: this is Linux")
        container = self.job["container"]
        if container.is_there:
            image = container if container.is_text else container["image"]
            self.differences.append(f"the container {self._shown(image)}")
            version = _PYTHON_IMAGE.search(self._shown(image))
            self.steps.python = version[1] if version else ""
        for name, service in self.job["services"].items():
            image = service if service.is_text else service["image"]
            self.differences.append(f"the service {name} ({self._shown(image)})")

    def _is_skipped(self) -> bool:
        condition = self.job["if"].text()
        truth = assume_condition(condition, self.steps.context) if condition else True
        if truth is not True:
            what = "assumed to be true" if truth is None else "false here"
            self.differences.append(f"if: {condition} of the job, which is {what}")
        self._record_tolerance(self.job, "the job")
        return truth is False

    def _record_tolerance(self, node: Node, what: str) -> None:
        if node["continue-on-error"].is_there and self._shown(node["continue-on-error"]) not in ("", "false"):
            self.differences.append(f"continue-on-error of {what}: here a failure fails the job")

    def _shown_steps(self, steps: Sequence[Step]) -> Iterator[str]:
        called = self.job["uses"].text()
        if called:
            yield f"calls {called}, which is not in this repository"
        yield from map(self._shown_step, steps)

    def _shown_step(self, step: Step) -> str:
        others = step.of_kind(CommandKind.OTHER_LANGUAGE)
        if others:
            return f"{step.label} ({self._text(others[0])}, which tests {language_of(others[0].program)})"
        if step.action:
            return f"{step.label} (uses {step.action})"
        if not step.is_readable:
            return f"{step.label} (a script for {step.shell})"
        first = " ".join(step.commands[0].words) if step.commands else step.script.strip().partition("\n")[0]
        return f"{step.label} ({self.unknowns.restore(first)})"

    def _commands(
        self, steps: Sequence[Step], chosen: Sequence[Step]
    ) -> tuple[tuple[WorkflowCommand, ...], tuple[WorkflowCommand, ...]]:
        """Return the commands of the chosen steps, and the steps before that install packages."""
        commands: list[WorkflowCommand] = []
        installation: list[WorkflowCommand] = []
        if not chosen:
            return (), ()
        last = steps.index(chosen[-1])
        for position, step in enumerate(steps):
            if not step.is_active and step not in chosen:
                if step.of_kind(CommandKind.RUNNER, CommandKind.TEST):
                    self.differences.append(f"{step.label}: its if ({step.condition}) is false here")
            elif position > last:
                self.differences.extend(self._not_run_afterwards(step))
            elif step in chosen:
                if step.is_assumed or not step.is_active:
                    what = "assumed to be true" if step.is_assumed else "false here"
                    self.differences.append(f"if: {step.condition} of {step.label}, which is {what}")
                self._record_tolerance(step.node, step.label)
                commands.extend(self._commands_of(step))
            elif step.installs:
                installation.append(self._script_of(step))
            else:
                self.differences.extend(self._not_run(step))
        return tuple(commands), tuple(installation)

    def _not_run(self, step: Step) -> Iterator[str]:
        if step.action:
            name = step.node["name"].text() or step.label
            yield f"the action {step.action} ({self.unknowns.restore(name)})"
        elif not step.is_readable:
            yield f"{step.label} (shell: {step.shell})"
        elif step.of_kind(CommandKind.OTHER_LANGUAGE):
            command = step.of_kind(CommandKind.OTHER_LANGUAGE)[0]
            language = language_of(command.program)
            yield f"{step.label}: {self._text(command)}, which tests {language}, not Python"
        elif step.commands:
            yield f"{step.label}: {'; '.join(map(self._text, step.commands))}"

    def _not_run_afterwards(self, step: Step) -> Iterator[str]:
        """Yield what may fail after the tests have passed, such as a threshold of coverage."""
        if any(command.program not in _ONLY_PRINT for command in step.commands):
            yield f"{step.label}: {'; '.join(map(self._text, step.commands))}, after the tests"

    def _text(self, command: ScriptCommand) -> str:
        return " ".join(self.unknowns.restore(" ".join(command.words)).split())

    def _commands_of(self, step: Step) -> Iterator[WorkflowCommand]:
        runs = _test_runs(step)
        if not runs:
            yield self._script_of(step)
            return
        others = [command for command in step.commands if command.kind is not CommandKind.RUNNER]
        if others:
            self.differences.append(f"{step.label}: {'; '.join(map(self._text, others))}")
        for run in runs:
            yield self._forwarded(run, step)

    def _forwarded(self, run: ScriptCommand, step: Step) -> WorkflowCommand:
        """Return the arguments of this program's own command, as far as they apply on this machine."""
        label = step.label
        kept = forward_options(run.arguments, self.unknowns)
        is_replica = "replica" in run.program
        if is_replica and run.arguments:
            words = self.unknowns.restore(" ".join(run.arguments))
            self.differences.append(f"{words} of {label}: pass it to this command")
        elif kept.elsewhere:
            self.differences.append(
                f"{' '.join(kept.elsewhere)} of {label}: here all files run on this machine"
            )
        self.differences.extend(f"{what} of {label}, whose value is unknown here" for what in kept.unresolved)
        self.differences.extend(f"'{what}' around the command of {label}" for what in run.wrappers)
        return WorkflowCommand(
            step=label,
            arguments=() if is_replica else kept.arguments,
            variables=self._usable({**step.variables, **dict(run.variables)}),
            folder=self._folder(step, run.folder),
        )

    def _script_of(self, step: Step) -> WorkflowCommand:
        """Return the whole script of a step, for a shell."""
        tests = step.of_kind(CommandKind.TEST) or step.commands
        return WorkflowCommand(
            step=step.label,
            variables=self._usable(step.variables),
            folder=self._folder(step, ""),
            script=self.unknowns.restore(step.script),
            shell=tuple(map(_without_login, self.unknowns.restore(step.shell_command).split())),
            shown="; ".join(map(self._text, tests)) or step.script.strip().partition("\n")[0],
            programs=tuple(dict.fromkeys(program for command in tests for program in _programs(command))),
            unknown=self.unknowns.expressions_in(f"{step.script}{step.shell}{step.folder}"),
            installs=tuple(map(self._text, step.of_kind(CommandKind.INSTALL))),
            machine=tuple(map(self._text, step.of_kind(CommandKind.MACHINE))),
        )

    def _folder(self, step: Step, inner: str) -> str:
        folder = posixpath.normpath(posixpath.join(step.folder, inner)) if step.folder or inner else ""
        if self.unknowns.are_in(folder):
            self.differences.append(f"the working directory {self.unknowns.restore(folder)} of {step.label}")
            return ""
        return folder

    def _usable(self, variables: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Return the variables that can be set here; the others are recorded."""
        usable = []
        for name, value in variables.items():
            if name in OF_MANY_MACHINES:
                continue
            if name in OF_THIS_MACHINE:
                self.differences.append(f"the variable {name}, which describes CI's machine")
            elif self.unknowns.are_in(value):
                self.differences.append(f"the variable {name}, which is {self.unknowns.restore(value)}")
            else:
                usable.append((name, value))
        return tuple(usable)


def _without_login(word: str) -> str:
    """Return an option of a shell without the profile of this machine, which may set another PATH."""
    if word == "--login":
        return "--noprofile"
    return word.replace("l", "") if re.fullmatch(r"-[a-z]*l[a-z]*", word) and word != "-l" else word


def _test_runs(step: Step) -> list[ScriptCommand]:
    """Return the commands of a step that this program runs itself."""
    return [
        command
        for command in step.of_kind(CommandKind.RUNNER)
        if "replica" in command.program
        or command.arguments[:1] == ()
        or command.arguments[0] not in SUBCOMMAND_HELP
    ]


def _chosen_steps(steps: Sequence[Step], wanted: str | None) -> tuple[Certainty, list[Step]]:
    """Return the steps that run the tests: those with our command, else by command, else by name."""
    if wanted is not None:
        chosen = [step for step in steps if wanted.lower() in (key.lower() for key in step.keys)]
        for step in chosen:
            if step.action:
                raise ConfigurationError(
                    f"{step.label} (from --step) uses the action {step.action}, which cannot run here: "
                    "name a step with a script"
                )
        return (Certainty.NAMED_BY_USER if chosen else Certainty.NONE), chosen
    active = [step for step in steps if step.is_active and not step.action]
    found = {
        Certainty.OWN_COMMAND: [step for step in active if _test_runs(step)],
        Certainty.BY_COMMAND: [step for step in active if step.of_kind(CommandKind.TEST)],
        Certainty.BY_NAME: [step for step in active if step.is_named_for_tests],
    }
    return next((one for one in found.items() if one[1]), (Certainty.NONE, []))


def _programs(command: ScriptCommand) -> Iterator[str]:
    """Yield the program that a shell starts for a command, and the module that Python runs."""
    yield from islice((word for word in command.words if not ASSIGNMENT.fullmatch(word)), 1)
    if command.is_module:
        yield f"-m {command.program}"
