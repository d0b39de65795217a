"""What the old scripts are called, and what stands for them now. Pure."""

from __future__ import annotations

from enum import StrEnum

TESTS = "run_tests"
REPLICA = "run_ci_replica"
STEMS = (TESTS, REPLICA)
"""The scripts' names without their ending."""

SCRIPTS = tuple(f"{stem}.sh" for stem in STEMS)
BACKUPS = tuple(f"{script}.backup" for script in SCRIPTS)


class NewCommand(StrEnum):
    """What references are changed to; the value is what `--command` is given."""

    FILE = "./run_tests.py"
    """The files `run_tests.py` and `run_ci_replica.py` beside where the scripts lay."""
    PACKAGE = "run-tests"
    """The commands `run-tests` and `run-ci-replica` of the installed package."""

    def for_stem(self, stem: str) -> str:
        """Return what is called instead of a script."""
        return f"./{stem}.py" if self is NewCommand.FILE else stem.replace("_", "-")
