"""Asks the project's pytest which files it collects, and caches the answer.

`child/passmuster_child_discover.py` asks, under the project's interpreter. If nothing has changed since
(`answer_cache.py`), a run does not ask again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from dispatcher.discovery.answer_cache import AnswerCache, PytestAnswer, read_answer
from passmuster.host.interpreter_probe import probe_pytest
from passmuster.model.errors import ConfigurationError
from passmuster.model.process_limit import require_process
from passmuster.model.test_environment import base_test_environment
from passmuster.settings.values import on_one_line

ASK_TIMEOUT_S = 300.0
"""Seconds that pytest may take to read its configuration, import the conftests and list the folders."""

CHILD = Path(__file__).with_name("child") / "passmuster_child_discover.py"

_LOCK = ".lock"
"""In a temporary folder `pm-...`, locked: the next run removes the folder of a process that was killed."""

_MAX_OUTPUT_BYTES = 65536
"""Of what was printed, what is read from the end: the reason for a failure stands there."""


class ProjectPython(Struct, frozen=True, kw_only=True):
    """The project's interpreter and what is needed to run it.

    Args:
        cache_dir: the directory for cached answers; None: there is none.
    """

    path: str
    environ: Mapping[str, str]
    cache_dir: Path | None = None


class CollectionError(ConfigurationError):
    """pytest cannot collect; the message says why."""

    def is_about(self, path: str) -> bool:
        """Return whether the reason is that pytest collects nothing from `path`."""
        return str(self).endswith((f": not found: {path}", f": found no collectors for {path}"))


def has_pytest(python: ProjectPython, workdir: Path) -> bool:
    """Return whether `python -m pytest` would find pytest in a directory."""
    environment = base_test_environment(python.environ)
    answer = probe_pytest(python.path, environment, workdir, cache_dir=python.cache_dir)
    return answer is not None and answer.version != ""


def ask_pytest(python: ProjectPython, workdir: Path, paths: Sequence[str]) -> PytestAnswer:
    """Return what pytest collects in a directory, from the cache if possible.

    Args:
        workdir: where `pytest` would be called, absolute, its symlinks resolved.
        paths: absolute paths to collect from; empty: as the project's settings say.

    Raises:
        CollectionError: its settings, a conftest or a plugin is wrong; the message says which.
        ConfigurationError: pytest is missing.
    """
    environment = base_test_environment(python.environ)
    cache = AnswerCache(python.cache_dir, python.path, environment, workdir=workdir, paths=paths)
    answer = cache.load()
    if answer is None:
        answer = _ask(python.path, environment, workdir, paths)
        cache.store(answer)
    return answer


def _ask(python: str, environment: Mapping[str, str], workdir: Path, paths: Sequence[str]) -> PytestAnswer:
    with tempfile.TemporaryDirectory(prefix="pm-discover-", ignore_cleanup_errors=True) as folder:
        answer_file, output_file = Path(folder, "answer.json"), Path(folder, "output")
        with open(Path(folder, _LOCK), "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            status = _run(
                [python, str(CHILD), str(answer_file)],
                paths,
                {**environment, "TMPDIR": folder},
                workdir,
                output_file,
            )
        try:
            content: object = json.loads(answer_file.read_bytes())
        except (OSError, ValueError, RecursionError):
            content = None
        if isinstance(content, dict) and content.get("pytest") == "":
            raise pytest_missing(python)
        answer = read_answer(content)
        if answer is None:
            output = _end_of(output_file)
            reason = "it gave no answer in time" if status is None else _reason(output, status)
            raise CollectionError(f"pytest cannot collect the tests of {on_one_line(str(workdir))}: {reason}")
    if answer.errors:
        raise ConfigurationError(f"pytest cannot collect {on_one_line(answer.errors[0])}")
    return answer


def pytest_missing(python: str) -> ConfigurationError:
    """Return the error that says how to install pytest."""
    shown = on_one_line(python)
    return ConfigurationError(
        f"pytest is not installed for {shown}, and this is a pytest project: install it with "
        f"`{shown} -m pip install pytest`, name another interpreter with --python, or run the tests "
        "by unittest with --layout unittest"
    )


def _run(
    command: Sequence[str],
    paths: Sequence[str],
    environment: Mapping[str, str],
    workdir: Path,
    output_file: Path,
) -> int | None:
    """Run the child to its end, with its output into a file; return its status, None: it took too long.

    The child gets one end of a pipe to which nothing is ever written. When this process dies, the other end
    closes, and the child ends.
    """
    alive_fd, our_end = os.pipe()
    with open(output_file, "wb") as output, open(our_end, "wb", buffering=0):
        try:
            process = subprocess.Popen(
                [*command, str(alive_fd), *paths],
                pass_fds=[alive_fd],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=workdir,
                env=dict(environment),
                start_new_session=True,
            )
        except OSError as error:
            require_process(error, on_one_line(command[0]))
            raise ConfigurationError(
                f"interpreter {on_one_line(command[0])} cannot be started: {error.strerror}"
            ) from error
        finally:
            os.close(alive_fd)
        try:
            return process.wait(timeout=ASK_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return None
        finally:
            # The child has its own session, so this also kills what plugins and conftests started.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _end_of(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _MAX_OUTPUT_BYTES))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


def _reason(output: str, status: int) -> str:
    """Return, in one line, why pytest ended without an answer, taken from its output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    conftest = next((line for line in lines if line.startswith("ImportError while loading conftest")), "")
    if conftest:
        name = conftest.partition("'")[2].partition("'")[0] or conftest
        error = next((line[1:].strip() for line in lines if line.startswith("E ")), "it cannot be imported")
        return on_one_line(f"{name}: {error}")
    usage = next((line.partition("error: ")[2] for line in lines if ": error: " in line), "")
    if usage:
        source = next((line for line in lines if line.startswith("inifile: ")), "inifile: None")
        source = source.removeprefix("inifile: ")
        return on_one_line(usage if source == "None" else f"{usage} (from {source} or PYTEST_ADDOPTS)")
    errors, traceback = (
        [line.removeprefix(mark) for line in lines if line.startswith(mark)]
        for mark in ("ERROR: ", "INTERNALERROR> ")
    )
    if errors or traceback:
        return on_one_line(errors[0] if errors else _error_of(traceback))
    stripped = (line.strip("!= ") for line in reversed(lines))
    last = next(filter(None, stripped), "")
    return on_one_line(last) if last else f"it ended with status {status} without output"


def _error_of(traceback: Sequence[str]) -> str:
    """Return the first line of an error, which names its type: the first one below the last frame."""
    frames = [number for number, line in enumerate(traceback) if line.startswith('  File "')]
    below = traceback[frames[-1] :] if frames else ()
    return next((line for line in below if not line[0].isspace()), traceback[-1])
