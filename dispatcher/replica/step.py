"""Reads the steps of a job in order, those of its composite actions included. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct, field, structs

from dispatcher.model.invocation import SHELLS
from dispatcher.replica.command_kind import CommandKind, names_installation, names_tests
from dispatcher.replica.expressions import (
    UNKNOWN,
    Context,
    Unknowns,
    assume_condition,
    evaluate,
    evaluate_expression,
    single_expression,
)
from dispatcher.replica.node import Node, as_text
from dispatcher.replica.script import ScriptCommand, read_script
from passmuster.model.errors import ConfigurationError

LoadFile = Callable[[str], "Node | None"]
"""Returns a YAML file of the repository by its relative path; None: it does not exist."""

_BASH = "bash --noprofile --norc -eo pipefail {0}"
_SHELL_COMMANDS = {
    "": "bash -e {0}",
    "bash": _BASH,
    "sh": "sh -e {0}",
    "python": "python {0}",
    # Of the action setup-micromamba: bash, in an environment that does not exist here.
    "micromamba-shell {0}": _BASH,
}
"""What CI runs for the value of `shell`; other values are run as they are."""

TOOLS = {
    "astral-sh/setup-uv": "uv",
    "yezz123/setup-uv": "uv",
    "hynek/setup-cached-uv": "uv",
    "snok/install-poetry": "poetry",
    "abatilo/actions-poetry": "poetry",
    "pdm-project/setup-pdm": "pdm",
    "pypa/hatch": "hatch",
    "wntrblm/nox": "nox",
}
"""The package that an action installs."""

_PYTHON_ACTIONS = ("actions/setup-python", "astral-sh/setup-uv", "pdm-project/setup-pdm", "deadsnakes/action")
_REPLICATED_ACTIONS = ("actions/checkout", *_PYTHON_ACTIONS, *TOOLS)
_VERSION = re.compile(r"[0-9]+\.[0-9]+(\.[0-9]+)?")
_MENTIONS_TESTS = re.compile(r"run[_-](tests|ci[_-]replica)|(\b|-\w*m)(pytest|tox|nox|unittest)\b")
_SET_BY_CI = ("GITHUB_", "RUNNER_")
"""A workflow cannot change these."""


class Step(Struct, frozen=True, kw_only=True):
    """A step that CI runs, as far as it is known.

    Args:
        keys: by which it can be named: its name, its ID, its number.
        label: for messages.
        action: what it uses; empty: it runs a script.
        script: its script, with marks of unknown parts.
        shell: the value of `shell`.
        variables: its environment.
        is_active: whether its `if` is true or unknown.
    """

    keys: tuple[str, ...]
    label: str
    node: Node
    action: str = ""
    script: str = ""
    shell: str = ""
    folder: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[ScriptCommand, ...] = ()
    is_active: bool = True
    is_assumed: bool = False

    @property
    def is_readable(self) -> bool:
        """Whether the language of its script is that of a shell."""
        # Perhaps behind another program: `env bash {0}`, `nix develop --command bash -e {0}`.
        names = {word.rpartition("/")[2] for word in self.shell_command.split()}
        return bool(names & SHELLS) or Unknowns.are_in(self.shell)

    @property
    def shell_command(self) -> str:
        """The command that runs its script, with `{0}` for the script's file."""
        return _SHELL_COMMANDS.get(self.shell, self.shell)

    def of_kind(self, *kinds: CommandKind) -> tuple[ScriptCommand, ...]:
        """Return its commands of some kinds."""
        return tuple(command for command in self.commands if command.kind in kinds)

    @property
    def is_named_for_tests(self) -> bool:
        """Whether its name says that it runs tests."""
        is_other = bool(self.of_kind(CommandKind.OTHER_LANGUAGE))
        return bool(self.script) and self.is_readable and not is_other and names_tests(self.label)

    @property
    def installs(self) -> bool:
        """Whether it installs packages, and changes nothing else on the machine."""
        if self.of_kind(CommandKind.MACHINE):
            return False
        # Behind the name, only what the project itself contains: no installer of another program.
        is_own = all("/" in command.words[0] or command.program == "make" for command in self.commands)
        return bool(self.of_kind(CommandKind.INSTALL)) or (
            names_installation(self.label) and bool(self.commands) and is_own
        )

    @property
    def condition(self) -> str:
        """Its `if`, as written."""
        return " ".join(self.node["if"].text().split())


def _no_default(_: str) -> str:
    return ""


class StepReader(Struct, kw_only=True):
    """Reads steps; collects what actions set up.

    Args:
        default: returns the value of a setting of `defaults.run` by its name.
        python: the version that the steps so far set up; empty: none.
        tools: the packages that their actions install.
        differences: what they do that is not replicated.
    """

    context: Context
    unknowns: Unknowns
    load: LoadFile
    default: Callable[[str], str] = _no_default
    variables: Mapping[str, str] = field(default_factory=dict)
    python: str = ""
    tools: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def read(self, steps: Node, *, inside: str = "") -> Iterator[Step]:
        """Yield the steps of a list.

        Args:
            inside: the composite action that they belong to; empty: the job.

        Raises:
            ConfigurationError: a part does not have the shape that it has in a workflow.
        """
        for number, node in enumerate(steps.elements(), start=1):
            yield from self._read_step(number, node, inside)

    def text(self, node: Node) -> str:
        """Return the value of a node, with marks of unknown parts."""
        return evaluate(node.text(), self.context, self.unknowns)

    def environment(self, env: Node) -> dict[str, str]:
        """Return the variables under an `env`."""
        if env.is_text and env.is_there:
            value = self._value(env)
            if isinstance(value, dict):
                return {as_text(name): as_text(one) for name, one in value.items()}
            self.differences.append(f"the variables, computed by an expression: {env.text()}")
            return {}
        return {name: self.text(node) for name, node in env.items() if not name.startswith(_SET_BY_CI)}

    def set_env(self, variables: Mapping[str, str]) -> None:
        """Make variables available to expressions."""
        known = {name: value for name, value in variables.items() if not self.unknowns.are_in(value)}
        self.context = self.context.with_scope("env", known)

    def inputs(self, declared: Node, given: Node) -> dict[str, object]:
        """Return the inputs of an action or of a called workflow."""
        values: dict[str, object] = {name: one["default"].value or "" for name, one in declared.items()}
        return values | {name: self._value(node) for name, node in given.items()}

    def _value(self, node: Node) -> object:
        expression = single_expression(node.text())
        if expression is not None:
            return evaluate_expression(expression, self.context)
        text = self.text(node)
        return UNKNOWN if self.unknowns.are_in(text) else (node.value if text == node.text() else text)

    def _read_step(self, number: int, node: Node, inside: str) -> Iterator[Step]:
        before = self.context
        variables = {**self.variables, **self.environment(node["env"])}
        self.set_env(variables)
        truth = assume_condition(node["if"].text(), self.context) if node["if"].is_there else True
        name = self.unknowns.restore(self.text(node["name"])).strip()
        label = f"step '{name}'" if name else f"step {number}"
        step = Step(
            keys=tuple(key for key in (name, node["id"].text(), "" if inside else str(number)) if key),
            label=f"{label} of {inside}" if inside else label,
            node=node,
            action=node["uses"].text(),
            variables=variables,
            is_active=truth is not False,
            is_assumed=truth is None,
        )
        if step.action:
            yield from self._read_action(step, inside)
        else:
            yield self._read_script(step, inside)
        self.context = before
        if node["id"].is_there and step.is_active:
            done = dict(self.context.scopes.get("steps", {}))
            done[node["id"].text()] = {"outcome": "success", "conclusion": "success"}
            self.context = self.context.with_scope("steps", done)

    def _read_action(self, step: Step, inside: str) -> Iterator[Step]:
        name = step.action.partition("@")[0].lower()
        # An action inside itself would never end.
        if step.action.startswith("./") and f"{step.action} (" not in inside:
            action = self._load_action(step.action)
            if action is not None and action["runs"]["steps"].is_there and step.is_active:
                yield from self._read_composite(step, action)
                return
        elif step.is_active and name in _PYTHON_ACTIONS:
            self._read_python(step.node["with"], is_optional=name != "actions/setup-python")
        if step.is_active and name in TOOLS:
            self.tools.append(TOOLS[name])
        if name not in _REPLICATED_ACTIONS:
            yield step

    def _load_action(self, path: str) -> Node | None:
        folder = path.removeprefix("./").rstrip("/")
        # A checkout into a folder puts that folder before the paths.
        places = dict.fromkeys((folder, folder.partition("/")[2] or folder))
        names = ("action.yml", "action.yaml")
        found = (self.load(f"{place}/{name}".lstrip("/")) for place in places for name in names)
        return next((action for action in found if action is not None), None)

    def _read_composite(self, step: Step, action: Node) -> Iterator[Step]:
        outer, outer_variables = self.context, self.variables
        self.context = self.context.with_scope("inputs", self.inputs(action["inputs"], step.node["with"]))
        self.variables = step.variables
        yield from self.read(action["runs"]["steps"], inside=f"{step.action} ({step.label})")
        self.context, self.variables = outer, outer_variables

    def _read_python(self, inputs: Node, *, is_optional: bool) -> None:
        """Record the Python that a step sets up; of several, the last one counts."""
        wanted = [line.strip() for line in self.text(inputs["python-version"]).splitlines() if line.strip()]
        if wanted and _VERSION.fullmatch(wanted[-1]):
            self.python = wanted[-1]
            if wanted[-1] == "3.1":
                self.differences.append(
                    "Python 3.1: a version such as 3.10 must be in quotes, or CI reads 3.1"
                )
        elif wanted or not is_optional:
            said = wanted[-1] if wanted else inputs["python-version-file"].text() or "none named"
            self.differences.append(f"the choice of Python by setup-python: {self.unknowns.restore(said)}")

    def _read_script(self, step: Step, inside: str) -> Step:
        node = step.node
        # The defaults of a job do not apply inside an action.
        default = _no_default if inside else self.default
        shell = self.text(node["shell"]) or default("shell")
        folder = self.text(node["working-directory"]) or default("working-directory")
        read = structs.replace(step, script=self.text(node["run"]), shell=shell, folder=folder)
        if not read.is_readable:
            return read
        return structs.replace(read, commands=self._commands(read))

    def _commands(self, step: Step) -> tuple[ScriptCommand, ...]:
        known = self.context.scopes.get("env", {})
        workspace = as_text(self.context.scopes.get("github", {}).get("workspace"))
        variables = {name: as_text(value) for name, value in known.items()} | {"GITHUB_WORKSPACE": workspace}
        try:
            return read_script(step.script, variables, self.unknowns)
        except ValueError as error:
            if _MENTIONS_TESTS.search(step.script):
                raise ConfigurationError(
                    f"{step.node.where}: its script cannot be read ({str(error).lower()}); "
                    "put the command that runs the tests into a step of its own"
                ) from error
            return ()
