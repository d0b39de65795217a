"""The words that may stand first instead of options and paths, and what each of them does.

The first word alone decides: a file or folder of such a name is given as `./status`. What a word does is
loaded only when it is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec import Struct

from dispatcher.backends.base import Site
from dispatcher.report.stream import TextStream
from passmuster.hidden_fields import repr_without


class Call(Struct, frozen=True, kw_only=True):
    """How a subcommand was called.

    Args:
        argv: the words behind it.
        environ: the environment.
        cwd: the current directory, absolute.
        program: the program and the subcommand, as the user called them.
        write: prints text.
        stdout: where `write` prints to.
        stderr: where warnings and errors go.
        runner_python: the interpreter for a project that has none.
        site: where files would run.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path
    program: str
    write: Callable[[str], None]
    stdout: TextStream
    stderr: TextStream
    runner_python: str
    site: Site

    __repr__ = repr_without("environ")


def _status(call: Call) -> int:
    from dispatcher.watch.status import show_status

    return show_status(call)


def _explain(call: Call) -> int:
    from dispatcher.insight.explain import show_explanation

    return show_explanation(call)


def _plan(call: Call) -> int:
    from dispatcher.insight.planning import show_plan

    return show_plan(call)


def _merge(call: Call) -> int:
    from dispatcher.record.merging import merge

    return merge(call)


def _migrate(call: Call) -> int:
    from dispatcher.migrate.command import migrate

    return migrate(call)


SUBCOMMANDS: dict[str, tuple[Callable[[Call], int], str]] = {
    "explain": (_explain, "print how a file ran last, and how and why it will run next (--json)"),
    "merge": (_merge, "prove that the records of all shards are there, and report them as one run"),
    "plan": (_plan, "print what a run would take, and what would make it quicker (--json)"),
    "migrate": (_migrate, "change what calls the shell scripts to this program (shows it; --apply does it)"),
    "status": (
        _status,
        "print the runs on this machine, and the runs and workers on a broker (--json), and exit",
    ),
}
"""What each does, returning the exit status, and what the help says of it. May raise a `PassmusterError`."""
