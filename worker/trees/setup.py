"""Makes an uploaded tree ready for its tests: runs the worker's `--setup`, or checks its packages.

The command comes only from the worker's command line; no part of a message is ever executed. In a
requirements.txt, only packages and versions pinned with `==` are checked: no options, included files, markers
or ranges.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

from passmuster.model.errors import InfrastructureError
from passmuster.model.task import Limits
from worker.process.attempt_monitor import AttemptMonitor
from worker.process.child_report import ChildReport
from worker.process.command import CHILD_DIR
from worker.process.output_capture import OutputCapture
from worker.process.supervisor_client import start_supervisor

_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?P<rest>(?:[<>=!~@(].*)?)"
)
_EXACT = re.compile(r"==\s*([A-Za-z0-9.+!_-]+)")


def parse_requirements(text: str) -> dict[str, str]:
    """Return the packages of the simple lines of a requirements.txt: their normalized names, and the required
    versions, or "" for any.
    """
    found: dict[str, str] = {}
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        words = re.sub(r"(^|\s)#.*", "", line)
        words = re.split(r"\s--", words, maxsplit=1)[0].strip()
        matched = _LINE.fullmatch(words)
        if matched is None or ";" in words:
            continue
        name = re.sub(r"[-_.]+", "-", matched["name"]).lower()  # Normalized as in PEP 503.
        exact = _EXACT.fullmatch(matched["rest"].strip())
        found.setdefault(name, exact[1] if exact else "")
    return found


def missing_requirements(wanted: Mapping[str, str], installed: Mapping[str, str]) -> tuple[str, ...]:
    """Return the missing packages as text for the user; both have the version of each package by name."""
    found = []
    for name, version in wanted.items():
        present = installed.get(name)
        if present is None:
            found.append(f"{name}=={version}" if version else name)
        elif version and not _is_same(version, present):
            found.append(f"{name}=={version} (it has {present})")
    return tuple(found)


def _is_same(wanted: str, version: str) -> bool:
    """Compare as PEP 440 does for plain versions: `1.0` equals `1`, and `1` accepts `1+local`."""
    if "+" not in wanted:
        version = version.partition("+")[0]
    return _plain(wanted) == _plain(version)


def _plain(version: str) -> str:
    return re.sub(r"(\.0+)+$", "", version.lower().removeprefix("v"))


SETUP_S = 1800.0
"""Seconds that `--setup` may take: enough to build packages without a wheel."""

ASK_S = 60.0
"""Seconds that listing the installed packages may take: it takes 0.2 for hundreds of packages."""

REQUIREMENTS_FILE = "requirements.txt"

_SHELL = "/bin/sh"
_GRACE_S = 5.0
_OUTPUT_BYTES = 64 * 1024
_SHOWN_LINES, _SHOWN_CHARS = 5, 600
_MAX_REQUIREMENTS_BYTES = 1024 * 1024
_ASK = CHILD_DIR / "passmuster_child_installed.py"


def run_setup(command: str, tree: Path, interpreter: str, environ: Mapping[str, str]) -> str | None:
    """Run the worker's own shell command in a tree; return its problem with the last output, or None.

    No process that it starts survives it. PATH starts with the directory of the tests' interpreter and its
    `pip`.
    """
    capture = OutputCapture(_OUTPUT_BYTES)
    path = f"{Path(interpreter).parent}{os.pathsep}{environ.get('PATH', os.defpath)}"
    try:
        with closing(start_supervisor()) as supervisor:
            limits = Limits(timeout_s=SETUP_S, grace_s=_GRACE_S)
            supervised = AttemptMonitor(supervisor, limits, capture, ChildReport()).run(
                lambda output, report: supervisor.spawn(
                    [_SHELL, "-c", command],
                    {**environ, "PATH": path},
                    str(tree),
                    output=output,
                    report=report,
                ),
                lambda: None,
            )
    except OSError as error:
        return f"--setup {command!r} cannot be executed: {error}"
    if supervised.ended is None:
        reason = supervised.failed.text if supervised.failed is not None else "its supervisor was killed"
        return f"--setup {command!r} cannot be executed: {reason}"
    if supervised.stop_detail:
        return f"--setup {command!r} {supervised.stop_detail}{_last_lines(capture.text())}"
    code = os.waitstatus_to_exitcode(supervised.ended.wait_status)
    return None if code == 0 else f"--setup {command!r} ended with status {code}{_last_lines(capture.text())}"


def requirements_problem(tree: Path, interpreter: str, environ: Mapping[str, str]) -> str | None:
    """Return the packages of the tree's requirements.txt that the tests' interpreter lacks, as an error.

    Raises:
        InfrastructureError: the interpreter cannot list its packages.
    """
    try:
        with (tree / REQUIREMENTS_FILE).open("rb") as file:
            text = file.read(_MAX_REQUIREMENTS_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    wanted = parse_requirements(text)
    lacking = missing_requirements(wanted, _installed(wanted, interpreter, environ)) if wanted else ()
    if not lacking:
        return None
    return (
        f"{interpreter} lacks packages of {REQUIREMENTS_FILE}: {', '.join(lacking)}; install them there, or"
        f' start the worker with --setup "pip install -r {REQUIREMENTS_FILE}"'
    )


def _installed(names: Iterable[str], interpreter: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of installed packages by name, from the tests' interpreter."""
    try:
        asked = subprocess.run(
            [interpreter, str(_ASK)],
            env=dict(environ),
            cwd=CHILD_DIR,
            input="\n".join(names),
            capture_output=True,
            text=True,
            errors="backslashreplace",
            check=False,
            timeout=ASK_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfrastructureError(f"{interpreter} cannot list its packages: {error}") from error
    if asked.returncode != 0:
        raise InfrastructureError(f"{interpreter} cannot list its packages{_last_lines(asked.stderr)}")
    pairs = (line.partition(" ") for line in asked.stdout.splitlines())
    return {name: version for name, _, version in pairs}


def _last_lines(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    text = " | ".join(lines[-_SHOWN_LINES:])
    return f"; its last lines: {text[-_SHOWN_CHARS:]}" if text else "; it printed nothing"
