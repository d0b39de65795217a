"""Builds the command that the project's own configuration defines for a file.

The command comes from this machine's configuration alone; a task only states that the file runs by a command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath

from passmuster.model.command_template import PLACEHOLDERS, CommandTemplate, names_in
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.model.task import TestTask
from worker.process.environment import SLOT_VARIABLE
from worker.process.settings import WorkerSettings


def build_project_command(
    task: TestTask, settings: WorkerSettings, *, environment: Mapping[str, str], junit_file: Path
) -> list[str]:
    """Return the command line that runs a task's file, starting with the program's absolute path.

    The command's `environment` gives the slot, and the PATH on which the program is looked up.

    Raises:
        ConfigurationError: this machine has no command for the file, or cannot run it.
    """
    template = _find_template(task, settings)
    if task.coverage is not None:
        template = template.measured(task.coverage.source) or template
    file = os.path.relpath(settings.root / task.file_path, settings.workdir)
    words = template.fill(
        {
            "python": settings.interpreter,
            "file": file,
            "module": _module_name(file, template) if template.uses("module") else "",
            "slot": environment[SLOT_VARIABLE],
            "junit": str(junit_file),
        }
    )
    return [_find_program(words[0], template, settings, environment), *words[1:]]


def check_programs(tasks: Iterable[TestTask], settings: WorkerSettings) -> None:
    """Raise ConfigurationError unless this machine has the program of each command that these tasks need."""
    commands = settings.commands
    if commands is None:
        return
    found = (commands.find(task.file_path) for task in tasks if task.runner is RunnerKind.COMMAND)
    values = dict.fromkeys(PLACEHOLDERS, "") | {"python": settings.interpreter}
    for template in dict.fromkeys(template for template in found if template is not None):
        if set(names_in(template.words[0])) <= {"python"}:
            _find_program(template.fill(values)[0], template, settings, settings.environ)


def _find_template(task: TestTask, settings: WorkerSettings) -> CommandTemplate:
    if settings.commands is not None:
        template = settings.commands.find(task.file_path)
    else:
        from passmuster.model.project_commands import read_commands  # Few projects have one.

        template = read_commands(settings.root).find(task.file_path)
    if template is None:
        raise ConfigurationError(
            f"no command for it in [tool.passmuster] of {settings.root / 'pyproject.toml'} on this machine: "
            "add one there; over a queue every machine needs the pyproject.toml of the run"
        )
    return template


def _module_name(file: str, template: CommandTemplate) -> str:
    """Return the dotted name of a file, whose path is relative to the working directory.

    Raises:
        ConfigurationError: it has no name that can be imported.
    """
    path = PurePath(file)
    parts = [*path.parent.parts, path.stem]
    if path.suffix != ".py" or any("." in part for part in parts):
        raise ConfigurationError(
            f"{file!r} has no module name from the working directory, which {{module}} stands for "
            f"(from {template.origin}): use {{file}}"
        )
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _find_program(
    name: str, template: CommandTemplate, settings: WorkerSettings, environment: Mapping[str, str]
) -> str:
    """Return the absolute path of a program; a name with a slash is relative to the working directory.

    Raises:
        ConfigurationError: the program does not exist.
    """
    if "/" in name:
        path, where = str(settings.workdir / name), "is not an executable file"
    else:
        path, where = name, "is not on PATH"
    found = shutil.which(path, path=environment.get("PATH", os.defpath))
    if found is None:
        raise ConfigurationError(
            f"the program {name!r} {where} (from {template.origin}): install it, or name another one; "
            "['{python}', '-m', NAME] finds what is installed for the project's interpreter"
        )
    return os.path.abspath(found)  # noqa: PTH100 - links stay: a virtual environment's python is one.
