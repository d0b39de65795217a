"""The coverage settings that a run needs from its start: where data and reports go, and what combines them.

`plan_coverage` makes the checks that should fail before the first test; `combine` then finds and combines the
data, and `finalize` prints the summary.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from msgspec import Struct

from dispatcher.config.model import TestConfig
from passmuster.model.errors import ConfigurationError

_HAS_COVERAGE = (
    # The current directory is removed from the path, and a spec without an origin is ignored: a directory
    # of reports called `coverage` must not be mistaken for the package.
    "import sys, importlib.util as u\n"
    "sys.path[:] = [p for p in sys.path if p]\n"
    "s = u.find_spec('coverage')\n"
    "sys.exit(0 if s is not None and s.origin is not None else 3)\n"
)
_MISSING = 3
_CHECK_TIMEOUT_S = 60.0


class CoveragePlan(Struct, frozen=True, kw_only=True):
    """The coverage settings that are fixed before the first test starts. Paths are absolute."""

    root: Path
    interpreter: str
    workdir: Path
    """The working directory of the tests; coverage reads the project's settings there."""
    data_directory: Path
    report_directory: Path
    """The directory of the HTML and the text report."""
    source: tuple[str, ...] = ()
    """What is measured; empty: the project's own settings, else `workdir`."""
    xml_path: Path | None = None
    key_files: tuple[str, ...] = ()
    """Files whose rows are printed with the summary: names, paths or shell patterns."""


def plan_coverage(
    config: TestConfig, *, interpreter: str, workdir: Path, run_directory: Path
) -> CoveragePlan:
    """Return the plan, after checking everything that can fail.

    Raises:
        ConfigurationError: the interpreter has no coverage, or a report cannot be written.
    """
    require_coverage(interpreter)
    _require_writable(config.coverage_dir, "coverage directory")
    if config.coverage_xml is not None:
        _require_writable(config.coverage_xml.absolute().parent, "directory of the coverage XML report")
    return CoveragePlan(
        root=config.root,
        interpreter=interpreter,
        workdir=workdir,
        data_directory=run_directory / "coverage",
        report_directory=config.coverage_dir.absolute(),
        source=config.coverage_source,
        xml_path=None if config.coverage_xml is None else config.coverage_xml.absolute(),
        key_files=config.coverage_key_files,
    )


def require_coverage(interpreter: str) -> None:
    """Check that the project's interpreter has coverage, without importing it (about 20 ms).

    Raises:
        ConfigurationError: it lacks coverage (the message has the command that installs it), or does not
            start.
    """
    try:
        answer = subprocess.run(
            [interpreter, "-c", _HAS_COVERAGE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_CHECK_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ConfigurationError(f"the project's interpreter {interpreter} cannot be started: {exc}") from exc
    if answer.returncode == _MISSING:
        raise ConfigurationError(
            f"coverage is not installed for the project's interpreter {interpreter}; "
            f"install it with: {interpreter} -m pip install coverage"
        )
    if answer.returncode != 0:
        last_line = answer.stderr.decode("utf-8", "backslashreplace").strip().rpartition("\n")[2]
        raise ConfigurationError(
            f"the project's interpreter {interpreter} does not work (status {answer.returncode}): {last_line}"
        )


def _require_writable(directory: Path, what: str) -> None:
    """Make the directory and check that files can be made in it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigurationError(f"the {what} {directory} cannot be made: {exc.strerror}") from exc
    if not os.access(directory, os.W_OK | os.X_OK):
        raise ConfigurationError(f"the {what} {directory} is not writable; choose another one")
