#!/usr/bin/env python3
"""Runs the unit tests as CI would: in a clean environment, with a CI runner's CPUs and memory.

As a command: `./run_ci_replica.py`, from the project root. As a module: `CIReplicaRunner`.
"""

import os
import sys

if __name__ == "__main__":
    # As in `run_tests.py`: nothing may come before the private environment.
    sys.path[0] = os.path.dirname(os.path.realpath(__file__))
    from passmuster.launch.bootstrap import (
        end_at_interrupt,
        ensure_environment,
        import_msgspec,
        raise_at_interrupt,
    )

    # Only a call with a workflow needs the YAML reader.
    _is_workflow = any(word.startswith("--workflow") for word in sys.argv)
    ensure_environment(home=sys.path[0], groups=("runtime", "workflow") if _is_workflow else ("runtime",))
    end_at_interrupt()
    import_msgspec()

from collections.abc import Mapping, Sequence
from pathlib import Path

import run_tests
from dispatcher.config.choices import ColorChoice
from dispatcher.replica import ci_replica
from dispatcher.replica.environment import setup_ci_environment
from dispatcher.terminal.stream import use_color
from passmuster.model.errors import PassmusterError
from passmuster.model.units import Amount

__all__ = ["CIReplicaRunner", "main", "setup_ci_environment"]


class CIReplicaRunner(ci_replica.CIReplicaRunner):
    """A `dispatcher.replica.ci_replica.CIReplicaRunner` that runs the tests on this machine.

    Args:
        root: the project root; None: the current directory.
        cpus: CPUs to imitate; None: those of GitHub's standard runner.
        memory: memory to imitate; None: that of GitHub's standard runner.
    """

    def __init__(
        self, root: Path | None = None, *, cpus: int | None = None, memory: Amount | None = None
    ) -> None:
        super().__init__(run=_run, environ=os.environ, root=root or Path.cwd(), cpus=cpus, memory=memory)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command `run_ci_replica.py` and return its exit status.

    Args:
        argv: the words after the program's name; None: this process's.
    """
    words = sys.argv[1:] if argv is None else argv
    color = use_color(ColorChoice.AUTO, os.environ, is_terminal=sys.stdout.isatty())
    try:
        return ci_replica.run_replica_command(words, os.environ, run=_run, color=color)
    except PassmusterError as error:
        sys.stderr.write(f"[FAIL] {error}\n")
        return error.exit_code


def _run(words: Sequence[str], environ: Mapping[str, str]) -> int:
    # A single file is rerun by the other command, in the same directory.
    folder, name = os.path.split(sys.argv[0])
    name = name.replace("ci_replica", "tests").replace("ci-replica", "tests")
    return run_tests.main(words, environ=environ, program=os.path.join(folder, name))


if __name__ == "__main__":
    raise_at_interrupt()
    sys.exit(main())
