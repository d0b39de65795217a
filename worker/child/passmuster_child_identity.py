"""Detects code that reads the slot number before the file is known, and hides the number from such code.

Forked files share everything that a server has imported and configured. A name derived there from
`PYTEST_XDIST_WORKER`, such as that of a database, would be the same for all files that run at once.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Optional

WORKER, _COUNT = "PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT"
IDENTITY = (WORKER, "PASSMUSTER_SLOT", *(() if _COUNT in os.environ else (_COUNT,)))
"""Variables with a value that no other running file has, and the number of slots where a server lacks it:
over a broker, each run has its own."""

BY_FILE = (
    *(*IDENTITY, "PYTEST_XDIST_TESTRUNUID", "PASSMUSTER_ATTEMPT", "PASSMUSTER_FILE_MEMORY"),
    *("TMPDIR", "TMP", "TEMP"),
)
"""Variables that differ from file to file, are set for files alone, or say where temporary files belong."""

_RENEWED = "wsgiref.handlers"
"""A module that copies the environment when it is imported, for example by `django.test`. A forked process
copies the environment again (`passmuster_child_reset`)."""

_READ_FRAMES = 4
"""Maximum number of frames between `IdentityReads` and a function that iterates over the environment."""

_hidden: "list[None]" = []
"""Not empty while code is called that may look `WORKER` up but must not see it."""


class IdentityReads:
    """Notices, as a context, that one of these variables is looked at, by itself or in a copy of all.

    Who looks for others among `os.environ.items()` sees these as well, which counts only if they are kept.

    Attributes:
        names: those that were.
    """

    def __init__(self) -> None:
        self.names: "set[str]" = set()
        self._viewed = ""
        self._values = [("", _Value())]
        """Values from a view of the environment; the first one is known to be kept nowhere else."""

    def __enter__(self) -> "IdentityReads":
        self._environ: "Any" = os.environ
        self._original = original = self._environ.encodekey
        self._original_value = original_value = self._environ.decodevalue

        # Each way of reading a variable comes by here.
        def encodekey(key: "Any") -> "Any":
            if key in IDENTITY and not _hidden and not _is_renewed():
                if is_viewed(sys._getframe(1)):
                    self._viewed = key
                else:
                    self.names.add(key)
            return original(key)

        def decodevalue(value: "Any") -> "Any":
            text = original_value(value)
            if self._viewed:
                text = _Value(text)
                self._values.append((self._viewed, text))
                self._viewed = ""
            return text

        self._environ.encodekey, self._environ.decodevalue = encodekey, decodevalue
        return self

    def __exit__(self, *error: object) -> None:
        self._environ.encodekey, self._environ.decodevalue = self._original, self._original_value

    def reason(self) -> str:
        """Return what was read, in words that follow the name of who did it; empty: nothing."""
        counts = [(name, sys.getrefcount(value)) for name, value in self._values]
        self.names.update(name for name, count in counts if count > counts[0][1])
        return "reads %s, which differs from file to file" % min(self.names) if self.names else ""


class _Value(str):
    """A value that is no other object, so that the references to it can be counted."""


def is_viewed(frame: "Optional[FrameType]") -> bool:
    """Return whether a variable is read because somebody iterates over the environment's values or items."""
    for _ in range(_READ_FRAMES):
        if frame is None:
            return False
        is_view = frame.f_code.co_name == "__iter__" and frame.f_globals.get("__name__") == "collections.abc"
        if is_view and getattr(frame.f_locals.get("self"), "_mapping", None) is os.environ:
            return True
        frame = frame.f_back
    return False


def _is_renewed() -> bool:
    """Return whether the environment is being copied by a module that forked processes have copy it again."""
    frame = sys._getframe(2)
    for _ in range(_READ_FRAMES):
        if frame.f_globals.get("__name__") == _RENEWED:
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False


def outside_of_workers(function: "Callable[..., Any]") -> "Callable[..., Any]":
    """Return a function that does the same where `PYTEST_XDIST_WORKER` is not set."""

    def call(*args: object, **named: object) -> "Any":
        _hidden.append(None)
        worker = os.environ.pop(WORKER, None)
        try:
            return function(*args, **named)
        finally:
            if worker is not None:
                os.environ[WORKER] = worker
            _hidden.pop()

    return call
