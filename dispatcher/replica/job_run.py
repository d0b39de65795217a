"""Runs what a workflow's job runs: Passmuster for its own command, a shell for the others."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir, suppress
from pathlib import Path

from msgspec import Struct, structs

from dispatcher.model.exit_codes import ExitCode
from dispatcher.replica.python import ChosenPython, choose_python, find_base_python
from dispatcher.replica.script_run import ScriptRunner
from dispatcher.replica.workflow_command import Replica, RunTests, WorkflowCommand
from dispatcher.terminal.tags import Tag
from passmuster.model.errors import ConfigurationError, InfrastructureError
from passmuster.settings.values import on_one_line

_INSTALLER_SETTINGS = ("PIP_", "UV_")
"""The caller's variables with these beginnings are kept for installing: they name indexes and proxies."""

_ELSEWHERE = frozenset(
    {
        *("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_BREAK_SYSTEM_PACKAGES"),
        *("UV_SYSTEM_PYTHON", "UV_BREAK_SYSTEM_PACKAGES", "UV_PYTHON"),
    }
)
"""Variables that make an installer use another environment than the active one."""

_SYSTEM_OPTION = re.compile(r"(?<=\s)--system(?=\s|\Z)")
"""Of `uv pip`: install into the system's Python."""


class JobRun(Struct, kw_only=True):
    """Runs the commands of a job one after another; as in CI, the first failure ends it.

    Args:
        run_tests: runs the commands that are Passmuster's own.
        scripts: runs the others, and holds the environment of the tests.
        limits: the arguments that make `run_tests.py` behave as on the imitated machine.
        environ: the caller's environment.
        is_dry: whether each command is only printed.
        is_installing: whether the steps that install packages run, in a private environment.
        installed: the interpreter of that environment; None: it was not made.
    """

    replica: Replica
    run_tests: RunTests
    say: Callable[[Tag, str], None]
    scripts: ScriptRunner
    limits: Sequence[str]
    environ: Mapping[str, str]
    is_dry: bool
    is_installing: bool
    installed: str | None = None

    def run(self) -> int:
        """Run the job; return the exit status.

        Raises:
            ConfigurationError: a command cannot be run here.
            InfrastructureError: the private environment cannot be made.
        """
        replica = self.replica
        self.say(Tag.INFO, f"Job: {replica.job}{replica.matrix and f', {replica.matrix}'}")
        for text in replica.differences:
            self.say(Tag.INFO, f"Not replicated: {text}")
        if any(command.script for command in replica.commands):
            self.say(Tag.INFO, "Not replicated: the limit of memory, because a shell runs the step")
        for command in replica.commands:
            self._refuse(command)
        if self.is_installing:
            status = self._install()
            if status != ExitCode.OK:
                return status
        else:
            for step in replica.installation:
                self.say(Tag.INFO, f"Not replicated: {step.step}: {step.shown}")
        for command in replica.commands:
            status = self._run_script(command) if command.script else self._run_own(command)
            if status != ExitCode.OK:
                if replica.installation and not self.is_installing:
                    self.say(
                        Tag.WARN, "Packages may be missing here: --install runs the steps that install them"
                    )
                return status
        return ExitCode.OK

    def _refuse(self, command: WorkflowCommand) -> None:
        """Refuse a script that would do something else here than in CI, or change this machine."""
        problem = None
        if command.machine:
            problem = f"changes this machine ({command.machine[0]}): put the tests into a step of their own"
        elif command.installs and not self.is_installing:
            problem = f"installs packages ({command.installs[0]}): give --install, for a private environment"
        elif command.unknown:
            problem = f"uses {command.unknown[0]}, whose value only CI knows: choose another step with --step"
        if problem is None:
            return
        if not self.is_dry:
            raise ConfigurationError(f"{command.step} {problem}")
        self.say(Tag.WARN, f"{command.step} {problem}")

    def _install(self) -> int:
        """Run the steps that install packages, in a new environment that later commands use."""
        python = find_base_python(self.replica.python, self.scripts.variables)
        self.say(Tag.INFO if python.is_the_same else Tag.WARN, f"Installing for {python.description}")
        tools = [
            WorkflowCommand(
                step=f"the action that installs {name}",
                script=f"pip install {name}",
                shown=f"pip install {name}",
                shell=_SH,
            )
            for name in self.replica.tools
        ]
        if not self.is_dry:
            self._make_environment(python.path)
        for step in (*tools, *self.replica.installation):
            self.say(Tag.INFO, f"{step.step}: {step.shown}")
            status = ExitCode.OK if self.is_dry else self.scripts.run(_private(step))
            if status != ExitCode.OK:
                if status != ExitCode.INTERRUPTED:
                    raise InfrastructureError(f"{step.step} failed: the tests were not run")
                return status
        return ExitCode.OK

    def _make_environment(self, python: str) -> None:
        folder = self.scripts.scratch / "environment"
        kept = {
            name: value
            for name, value in self.environ.items()
            if name.startswith(_INSTALLER_SETTINGS) and name not in _ELSEWHERE
        }
        self.scripts.variables |= kept
        made = subprocess.run(
            [python, "-m", "venv", str(folder)],
            env=self.scripts.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if made.returncode != 0:
            said = on_one_line(made.stdout.strip().rpartition("\n")[2])
            raise InfrastructureError(
                f"{python} cannot make a private environment (exit status {made.returncode}, {said}): "
                "install its module venv; on Debian and Ubuntu, pythonX.Y-venv"
            )
        self.installed = str(folder / "bin" / "python")
        self._enter(self.installed)
        # uv, which otherwise uses the project's own.
        self.scripts.variables["UV_PROJECT_ENVIRONMENT"] = str(folder)
        self.scripts.variables["PIP_REQUIRE_VIRTUALENV"] = "1"

    def _enter(self, python: str) -> None:
        """Make `python` in scripts this interpreter, and its environment the active one."""
        folder = Path(python).parent
        if (folder.parent / "pyvenv.cfg").exists():
            self.scripts.variables["VIRTUAL_ENV"] = str(folder.parent)
        else:
            self.scripts.variables.pop("VIRTUAL_ENV", None)
            links = self.scripts.scratch / "python"
            links.mkdir(exist_ok=True)
            for name in ("python", "python3"):
                (links / name).unlink(missing_ok=True)
                (links / name).symlink_to(python)
            # Behind its name, its own programs such as pytest.
            self._put_on_path(folder)
            folder = links
        self._put_on_path(folder)

    def _put_on_path(self, folder: Path) -> None:
        places = self.scripts.variables.get("PATH", os.defpath).split(os.pathsep)
        kept = [place for place in places if place != str(folder)]
        self.scripts.variables["PATH"] = os.pathsep.join((str(folder), *kept))

    def _warn_of_another_python(self, program: str) -> None:
        """Warn if a program such as pytest belongs to another Python than the chosen one."""
        path = self.scripts.variables["PATH"]
        found = shutil.which(program, path=path) if program in _OF_ONE_PYTHON else None
        chosen = shutil.which("python", path=path)
        if found is None or chosen is None:
            return
        with suppress(OSError, UnicodeDecodeError), Path(found).open(encoding="utf-8") as file:
            first = file.readline().strip()
            interpreter = first.removeprefix("#!").strip().partition(" ")[0]
            is_python = first.startswith("#!") and "python" in Path(interpreter).name
            if is_python and not _is_same_python(interpreter, chosen):
                self.say(Tag.WARN, f"{program} ({found}) runs under another Python: {interpreter}")

    def _run_script(self, command: WorkflowCommand) -> int:
        folder = self.scripts.folder(command)
        if not self.is_installing:
            self._enter(self._choose_python(command, folder).path)
            # Without this, `uv run` installs into the project's own environment.
            self.scripts.variables["UV_NO_SYNC"] = "1"
            for program in command.programs:
                self._warn_of_another_python(program)
        self._describe(command, command.shown, folder)
        if self.is_dry:
            return ExitCode.OK
        return self.scripts.run(command if self.installed is None else _private(command))

    def _run_own(self, command: WorkflowCommand) -> int:
        folder = self.scripts.folder(command)
        variables = {**self.scripts.variables, **dict(command.variables)}
        arguments = (*self.limits, *command.arguments, *(("--dry-run",) if self.is_dry else ()))
        self._describe(command, shlex.join(("run_tests.py", *command.arguments)), folder)
        with chdir(folder):
            if self.installed is not None:
                arguments = ("--python", self.installed, *arguments)
            elif self.replica.python:
                chosen = self._choose_python(command, folder)
                arguments = (*chosen.arguments, *arguments)
            return self.run_tests(arguments, variables)

    def _choose_python(self, command: WorkflowCommand, folder: Path) -> ChosenPython:
        variables = {**self.scripts.variables, **dict(command.variables)}
        chosen = choose_python(self.replica.python, command.arguments, variables, folder=folder)
        self.say(Tag.INFO if chosen.is_the_same else Tag.WARN, chosen.description)
        return chosen

    def _describe(self, command: WorkflowCommand, shown: str, folder: Path) -> None:
        names = ", ".join(name for name, _ in command.variables)
        self.say(Tag.INFO, f"{command.step}: {shown}, in {folder}{names and f', with {names}'}")


_SH = ("sh", "-e", "{0}")
_OF_ONE_PYTHON = frozenset(
    {"pytest", "py.test", "coverage", "trial", "nosetests", "nose2", "stestr", "green"}
)
"""Programs that run the tests in their own Python; others, such as tox, find one."""


def _is_same_python(first: str, second: str) -> bool:
    """Return whether two interpreters have the same packages: the same environment, or the same program."""
    in_environment = [(Path(one).parent.parent / "pyvenv.cfg").exists() for one in (first, second)]
    if any(in_environment):
        return Path(first).parent.resolve() == Path(second).parent.resolve()
    return os.path.realpath(first) == os.path.realpath(second)


def _private(command: WorkflowCommand) -> WorkflowCommand:
    """Return a command that installs into the active environment, not into another one."""
    is_uv = any(one.startswith("uv pip") for one in command.installs)
    return structs.replace(
        command,
        script=_SYSTEM_OPTION.sub("", command.script) if is_uv else command.script,
        variables=tuple(one for one in command.variables if one[0] not in _ELSEWHERE),
    )
