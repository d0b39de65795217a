"""The part of a member's configuration that must be the same on all members of a run. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from dispatcher.config.model import TestConfig
from dispatcher.config.settings import SETTINGS
from dispatcher.model.plan import TestFile
from passmuster.model.text import first_texts
from passmuster.settings.setting import Setting
from passmuster.settings.values import on_one_line

Request = tuple[tuple[str, str], ...]
"""Names and values, for people too."""

DECIDED_BY_LEADER = frozenset(
    {
        *("runner", "command", "isolation", "split", "verify-isolation", "overrides", "groups"),
        *("keyword", "marker", "deselect", "pytest-args", "quarantine", "shuffle", "allow-no-tests"),
        *("retries", "memory-limit", "timeout", "run-timeout", "grace-period", "output-limit"),
        *("max-fail", "fail-on-regression", "coverage", "coverage-source", "coverage-fail-under"),
    }
)
"""Settings that decide the result. The others are each machine's own: slots, interpreter, reports."""

_FILES = "files"
_SHOWN_CHARS = 60
_MAX_NAMED = 3


def make_request(config: TestConfig, files: Sequence[TestFile]) -> Request:
    """Return the request of this machine for these files."""
    paths = sorted(file.path for file in files)
    text = "\n".join(paths).encode("utf-8", "surrogateescape")
    shown = f"{len(paths)} ({hashlib.sha256(text).hexdigest()[:12]})"
    rows = [row for row in SETTINGS if row.name in DECIDED_BY_LEADER]
    return ((_FILES, shown), *((_name(row), str(row.value_in(config))) for row in rows))


def _name(row: Setting) -> str:
    """Return a setting's name as users know it: its option, or its key in the configuration file."""
    return next((word for word in row.arguments if word.startswith("--")), row.name)


def request_digest(request: Request) -> str:
    """Return a short digest that distinguishes requests, for people."""
    text = "\0".join(word for pair in request for word in pair)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def request_mismatch(here: Request, there: Request, *, run: str, machine: str) -> str | None:
    """Return how this machine's request differs from that of a run, on one line; None: they are equal.

    Args:
        machine: the first member of the run.
    """
    if here == there:
        return None
    ours, theirs = dict(here), dict(there)
    differing = [name for name in dict.fromkeys([*ours, *theirs]) if ours.get(name) != theirs.get(name)]
    texts = [f"{name} {_shown(ours, name)} here, {_shown(theirs, name)} there" for name in differing]
    shown = "; ".join(first_texts(texts, _MAX_NAMED))
    return (
        f"this machine requests something else (request {request_digest(here)}) than run {on_one_line(run)} "
        f"(request {request_digest(there)}, of {on_one_line(machine)}): {shown}: "
        "give every machine the same arguments, or choose another name for --join"
    )


def _shown(request: dict[str, str], name: str) -> str:
    return on_one_line(request.get(name, "nothing"))[:_SHOWN_CHARS]
