"""The names of the old scripts, what replaces each, and the scripts that stay for callers elsewhere. Pure."""

from __future__ import annotations

from enum import StrEnum

TESTS = "run_tests"
REPLICA = "run_ci_replica"
STEMS = (TESTS, REPLICA)
"""The scripts' names without their ending."""

SCRIPTS = tuple(f"{stem}.sh" for stem in STEMS)
BACKUPS = tuple(f"{script}.backup" for script in SCRIPTS)


class NewCommand(StrEnum):
    """The replacement for references; the value is the argument of `--command`."""

    FILE = "./run_tests.py"
    """The files `run_tests.py` and `run_ci_replica.py` in the directory of the old scripts."""
    PACKAGE = "run-tests"
    """The commands `run-tests` and `run-ci-replica` of the installed package."""

    def for_stem(self, stem: str) -> str:
        """Return the command that replaces a script."""
        return f"./{stem}.py" if self is NewCommand.FILE else stem.replace("_", "-")


_MARK = b"passmuster: wrapper"
"""Distinguishes a wrapper from an old script."""


def is_wrapper(content: bytes | None) -> bool:
    """Return whether a script is a wrapper. None stands for a missing script."""
    return content is not None and _MARK in content


def wrapper(stem: str, command: NewCommand) -> bytes:
    """Return a script that calls the new command with all its arguments."""
    new = command.for_stem(stem)
    called = new
    if command is NewCommand.FILE:
        # The script may be called by a link that lies elsewhere.
        called = f'"$(dirname -- "$(readlink -f -- "$0" || printf %s "$0")")/{stem}.py"'
    return f"""#!/bin/sh
# passmuster: wrapper. For callers outside of this repository; inside it, call {new}.
exec {called} "$@"
""".encode()
