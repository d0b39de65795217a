"""Chooses the job of a workflow that runs the tests, and reads its steps in order. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping

from msgspec.structs import replace

from dispatcher.config.choices import SUBCOMMAND_HELP
from dispatcher.replica.expressions import Context, Unknowns, combinations, evaluate, format_combination
from dispatcher.replica.node import Node
from dispatcher.replica.options import OF_MANY_MACHINES, forward_options
from dispatcher.replica.script import Script, TestCommand, read_script
from dispatcher.replica.workflow_command import Replica, WorkflowCommand
from passmuster.model.errors import ConfigurationError

OF_THIS_MACHINE = frozenset({"PATH", "HOME", "TMPDIR"})
"""Variables with paths of a machine: those of CI do not exist here."""

_SHELL = re.compile(r"(.*/)?(ba|da|z)?sh( .*)?")
_VERSION = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?")
_ACTION = re.compile(r"actions/(checkout|setup-python)(@.*)?")
_MENTIONS_RUNNER = re.compile(r"run[_-](tests|ci[_-]replica)")
_SET_BY_CI = ("GITHUB_", "RUNNER_")
"""A workflow cannot change these."""


class JobReader:
    """Collects what one job does."""

    def __init__(self, *, name: str, workflow: Node, workspace: str) -> None:
        self.name, self.workflow, self.workspace = name, workflow, workspace
        self.job = workflow["jobs"][name]
        self.unknowns = Unknowns()
        self.context = Context(workspace=workspace)
        self.matrix = self.python = ""
        self.calls: list[WorkflowCommand] = []
        self.differences: list[str] = []
        self.not_run: list[str] = []
        self.variables: dict[str, str] = {}

    def read(self) -> Replica:
        """Return what the job does; without calls if it does not run the tests.

        Raises:
            ConfigurationError: a part does not have the shape that it has in a workflow.
        """
        self._set_variables(self.workflow["env"])
        self._choose_combination()
        self._read_machine()
        self._set_variables(self.job["env"])
        for number, step in enumerate(self.job["steps"].elements(), start=1):
            self._read_step(number, step)
        return Replica(
            job=self.name,
            commands=tuple(self.calls),
            matrix=self.matrix,
            python=self.python,
            differences=tuple(dict.fromkeys(self.differences)),
        )

    def _text(self, node: Node) -> str:
        return evaluate(node.text(), self.context, self.unknowns)

    def _choose_combination(self) -> None:
        """Take the first combination that runs on Linux."""
        found = combinations(self.job["strategy"]["matrix"])
        if found is None:
            self.differences.append(
                f"the matrix, computed by an expression: {self.job['strategy']['matrix'].value}"
            )
            return
        contexts = [
            replace(self.context, matrix=one, job_index=index, job_total=len(found))
            for index, one in enumerate(found)
        ]
        self.context = next((one for one in contexts if self._is_linux(one)), contexts[0])
        if found != ({},):
            which = self.context.job_index + 1
            self.matrix = f"{format_combination(dict(self.context.matrix))} (number {which} of {len(found)})"

    def _runs_on(self, context: Context) -> str:
        node = self.job["runs-on"]
        if isinstance(node.value, dict):
            node = node["labels"]
        labels = list(node.elements()) if node.is_list else [node]
        return ", ".join(evaluate(label.text(), context, self.unknowns) for label in labels)

    def _is_linux(self, context: Context) -> bool:
        return any(word in self._runs_on(context).lower() for word in ("ubuntu", "linux"))

    def _read_machine(self) -> None:
        """Record the features of the job's machine that this machine lacks."""
        if self.job["runs-on"].is_there and not self._is_linux(self.context):
            machine = self.unknowns.restore(self._runs_on(self.context))
            self.differences.append(f"runs-on: {machine}: this is Linux")
        container = self.job["container"]
        if container.is_there:
            image = container if container.is_text else container["image"]
            self.differences.append(f"the container {self.unknowns.restore(self._text(image))}")
        for name, service in self.job["services"].items():
            image = service if service.is_text else service["image"]
            self.differences.append(f"the service {name} ({self.unknowns.restore(self._text(image))})")
        self._record_conditions(self.job, "the job")

    def _record_conditions(self, node: Node, what: str) -> None:
        if node["if"].is_there:
            self.differences.append(f"if: {node['if'].text()} of {what}, which is assumed to be true")
        if node["continue-on-error"].text() not in ("", "false"):
            self.differences.append(f"continue-on-error of {what}: here a failure fails the job")

    def _set_variables(self, env: Node) -> None:
        """Add the variables of the workflow or of the job, and make them available to expressions."""
        self.variables |= self._evaluated(env)
        self._set_env(self.variables)

    def _evaluated(self, env: Node) -> dict[str, str]:
        if env.is_text and env.is_there:
            self.differences.append(f"the variables, computed by an expression: {env.text()}")
            return {}
        return {name: self._text(node) for name, node in env.items() if not name.startswith(_SET_BY_CI)}

    def _set_env(self, variables: Mapping[str, str]) -> None:
        known = {name: value for name, value in variables.items() if not self.unknowns.are_in(value)}
        self.context = replace(self.context, env=known)

    def _read_step(self, number: int, step: Node) -> None:
        label = f"step {number}"
        if step["uses"].is_there:
            self._read_action(step, label)
            return
        before = self.context
        variables = self.variables | self._evaluated(step["env"])
        self._set_env(variables)
        if step["name"].is_there:
            label = f"step '{self.unknowns.restore(self._text(step['name']))}'"
        self._read_script_step(step, label, variables)
        self.context = before

    def _read_action(self, step: Node, label: str) -> None:
        action = step["uses"].text()
        match = _ACTION.fullmatch(action)
        if match is None:
            name = step["name"].text() or label
            self.not_run.append(f"the action {action} ({name})")
        elif match[1] == "setup-python" and not self.calls:
            self._read_python(step["with"])

    def _read_python(self, inputs: Node) -> None:
        """Record the Python that a step sets up; of several, the last one counts."""
        wanted = [line.strip() for line in self._text(inputs["python-version"]).splitlines() if line.strip()]
        if wanted and _VERSION.fullmatch(wanted[-1]):
            self.python = wanted[-1]
            if wanted[-1] == "3.1":
                self.differences.append(
                    "Python 3.1: a version such as 3.10 must be in quotes, or CI reads 3.1"
                )
        else:
            said = wanted[-1] if wanted else inputs["python-version-file"].text() or "none named"
            self.differences.append(f"the choice of Python by setup-python: {self.unknowns.restore(said)}")

    def _read_script_step(self, step: Node, label: str, variables: Mapping[str, str]) -> None:
        shell = self._own_or_default(step, "shell")
        if shell and not _SHELL.fullmatch(shell) and not self.unknowns.are_in(shell):
            self.not_run.append(f"{label} (shell: {shell})")
            return
        script = self._script(step, label)
        folder = self._own_or_default(step, "working-directory")
        runs = [run for run in script.test_commands if not _is_subcommand(run)]
        if script.other_commands:
            self.not_run.append(f"{label}: {'; '.join(script.other_commands)}")
        if not runs:
            return
        self._record_conditions(step, label)
        self.differences.extend(self.not_run)
        self.not_run.clear()
        for run in runs:
            self._add_call(run, label, folder, {**variables, **dict(run.variables)})

    def _script(self, step: Node, label: str) -> Script:
        text = self._text(step["run"])
        try:
            return read_script(text, {**self.context.env, "GITHUB_WORKSPACE": self.workspace}, self.unknowns)
        except ValueError as error:
            if _MENTIONS_RUNNER.search(text):
                raise ConfigurationError(
                    f"{step.where}: its script cannot be read ({str(error).lower()}); "
                    "put the command that runs the tests into a step of its own"
                ) from error
            self.not_run.append(label)
            return Script()

    def _own_or_default(self, step: Node, key: str) -> str:
        for node in (step[key], self.job["defaults"]["run"][key], self.workflow["defaults"]["run"][key]):
            if node.is_there:
                return self._text(node)
        return ""

    def _add_call(self, run: TestCommand, label: str, base: str, variables: Mapping[str, str]) -> None:
        kept = forward_options(run.arguments, self.unknowns)
        if run.program == "run_ci_replica" and run.arguments:
            words = self.unknowns.restore(" ".join(run.arguments))
            self.differences.append(f"{words} of {label}: pass it to this command")
        elif kept.elsewhere:
            self.differences.append(
                f"{' '.join(kept.elsewhere)} of {label}: here all files run on this machine"
            )
        self.differences.extend(f"{what} of {label}, whose value is unknown here" for what in kept.unresolved)
        self.differences.extend(f"'{what}' around the command of {label}" for what in run.wrappers)
        folder = posixpath.normpath(posixpath.join(base, run.folder)) if base or run.folder else ""
        if self.unknowns.are_in(folder):
            self.differences.append(f"the working directory {self.unknowns.restore(folder)} of {label}")
            folder = ""
        self.calls.append(
            WorkflowCommand(
                step=label,
                arguments=kept.arguments if run.program == "run_tests" else (),
                variables=tuple(self._usable(variables).items()),
                folder=folder,
            )
        )

    def _usable(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that can be set here; the others are recorded."""
        usable = {}
        for name, value in variables.items():
            if name in OF_MANY_MACHINES:
                continue
            if name in OF_THIS_MACHINE:
                self.differences.append(f"the variable {name}, which describes CI's machine")
            elif self.unknowns.are_in(value):
                self.differences.append(f"the variable {name}, which is {self.unknowns.restore(value)}")
            else:
                usable[name] = value
        return usable


def _is_subcommand(run: TestCommand) -> bool:
    return run.program == "run_tests" and run.arguments[:1] != () and run.arguments[0] in SUBCOMMAND_HELP


def choose_job(workflow: Node, *, workspace: str, wanted: str | None) -> Replica:
    """Return the job that runs the tests.

    Args:
        wanted: the job's name; None: the only one that runs the tests.

    Raises:
        ConfigurationError: there is no such job, none that runs the tests, or several; or a part does not
            have the shape that it has in a workflow.
    """
    names = [name for name, _ in workflow["jobs"].items()]
    if wanted is not None and wanted not in names:
        raise ConfigurationError(
            f"{workflow.where} has no job {wanted!r} (from --job); it has {', '.join(names) or 'none'}"
        )
    read = [
        JobReader(name=name, workflow=workflow, workspace=workspace).read()
        for name in names
        if wanted in (None, name)
    ]
    found = [replica for replica in read if replica.commands]
    if not found:
        where = workflow.where if wanted is None else f"the job {wanted!r} (from --job) of {workflow.where}"
        raise ConfigurationError(
            f"{where} does not run the tests: expected a step that runs run_tests.py, run-tests, "
            "run_tests.sh or run_ci_replica.py"
        )
    if len(found) > 1:
        jobs = ", ".join(replica.job for replica in found)
        raise ConfigurationError(
            f"several jobs of {workflow.where} run the tests ({jobs}): name one, such as --job {found[0].job}"
        )
    return found[0]
