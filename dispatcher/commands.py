"""What each subcommand does; its code is loaded only when its word is given."""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.subcommands import Call


def _completion(call: Call) -> int:
    from dispatcher.completion import show_completion

    return show_completion(call)


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


SUBCOMMANDS: dict[str, Callable[[Call], int]] = {
    "completion": _completion,
    "explain": _explain,
    "merge": _merge,
    "plan": _plan,
    "migrate": _migrate,
    "status": _status,
}
"""Each returns the exit status and may raise a `PassmusterError`. The words are those of the help."""
