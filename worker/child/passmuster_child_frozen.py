"""Keeps the garbage collector of a fork server from visiting its objects, unseen by the code that it imports
and by its forked processes.

Collections do not visit frozen objects, so forked processes keep sharing their memory. But `gc.get_objects`
and `gc.get_referrers` omit them too, so a test would miss objects that it finds in a fresh interpreter:
hypothesis, for example, warns of a random generator that only frozen objects refer to. Both functions
therefore unfreeze everything first. That costs nothing by itself; the next full collection visits all
objects.
"""

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

_get_objects, _get_referrers, _unfreeze = gc.get_objects, gc.get_referrers, gc.unfreeze
_frozen: "list[bool]" = []
"""Empty if the server froze nothing: objects that a test itself freezes stay frozen."""

_paused: "list[tuple[int, int, int]]" = []
"""The thresholds that are in force again when collections resume; empty while they are not paused."""


def pause() -> None:
    """Have no collection start by itself while libraries are imported.

    The collector stays enabled: a library may disable it for a moment and enable it again.
    """
    if not _paused:
        _paused.append(gc.get_threshold())
        gc.set_threshold(0, *_paused[0][1:])


def resume() -> None:
    """Have collections start again, before code of the project runs that may look at the thresholds."""
    if _paused:
        thresholds = _paused.pop()
        if not gc.get_threshold()[0]:  # Else a library has set its own.
            gc.set_threshold(*thresholds)


def freeze() -> None:
    """Collect garbage, and freeze everything else."""
    gc.collect()
    gc.freeze()
    _frozen.append(True)


def watch_collector() -> None:
    """Have the two functions thaw first, in this process and in all that are forked from it."""
    for function in (get_objects, get_referrers):
        original = getattr(gc, function.__name__)
        function.__doc__, function.__module__ = original.__doc__, original.__module__
        setattr(gc, function.__name__, function)


def get_objects(generation: "Optional[int]" = None) -> "list[object]":
    """Thaw, then call the original."""
    _thaw()
    return _get_objects(generation)


def get_referrers(*objs: object) -> "list[object]":
    """Thaw, then call the original; our own tuple of arguments does not count."""
    _thaw()
    return [each for each in _get_referrers(*objs) if each is not objs]


def _thaw() -> None:
    if _frozen:
        _frozen.clear()
        _unfreeze()
