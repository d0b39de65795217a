"""Builds the command that runs one file, and checks the file before anything is executed."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from passmuster.model.task import TestTask
from worker.process.settings import WorkerSettings

CHILD_DIR = Path(__file__).parents[1] / "child"
CHILD_MAIN = CHILD_DIR / "passmuster_child_main.py"


def build_command(
    task: TestTask, settings: WorkerSettings, coverage_file: Path | None, code_dir: Path | None
) -> list[str]:
    """Return the command line for a task's file; see `passmuster_child_main` for its form."""
    path = settings.root / task.file_path
    source = task.coverage.source if task.coverage is not None else ()
    selection = task.selection.as_words()
    return [
        settings.interpreter,
        str(CHILD_MAIN),
        os.path.relpath(path, settings.workdir),
        task.runner.value,
        "" if code_dir is None else str(code_dir),
        str(settings.root) if settings.records_inputs else "",
        "" if coverage_file is None else str(coverage_file),
        *source,
        *(["--", *selection] if selection else ()),
    ]


def execution_problem(task: TestTask, settings: WorkerSettings) -> str | None:
    """Return why a task's file must not or cannot be executed, or None if it can.

    Only a regular file that is inside the root after links are resolved is ever executed.
    """
    if "\0" in task.file_path or task.file_path.startswith("/"):
        return f"refusing {task.file_path!r}: not a path relative to the project root"
    path = os.path.join(settings.root, task.file_path)  # noqa: PTH118 - twice as fast, for every file.
    real, root = os.path.realpath(path), os.path.realpath(settings.root)
    if real != root and not real.startswith(root.rstrip("/") + "/"):
        return f"refusing {task.file_path!r}: it is outside the project root {root}"
    if not os.path.exists(real):  # noqa: PTH110
        return f"{task.file_path!r} does not exist any more"
    if not os.path.isfile(real):  # noqa: PTH113
        return f"refusing {task.file_path!r}: not a regular file"
    return None


def prepare_child(interpreter: str, cache_tag: str) -> None:
    """Compile the child's modules for the project's interpreter unless they are up to date.

    If the environment forbids writing bytecode (PYTHONDONTWRITEBYTECODE), every test process would otherwise
    compile them again. `cache_tag` is the interpreter's `sys.implementation.cache_tag` (`cpython-311`).
    A failure costs only time, so it is not reported.
    """
    with suppress(OSError):
        if all(_is_compiled(source, cache_tag) for source in CHILD_DIR.glob("*.py")):
            return
        subprocess.run(
            [interpreter, "-I", "-m", "compileall", "-q", str(CHILD_DIR)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )


def _is_compiled(source: Path, cache_tag: str) -> bool:
    """Return whether a compiled module is newer than its source."""
    compiled = source.parent / "__pycache__" / f"{source.stem}.{cache_tag}.pyc"
    return compiled.exists() and compiled.stat().st_mtime >= source.stat().st_mtime
