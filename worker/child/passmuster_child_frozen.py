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


_thresholds: "list[tuple[int, int, int]]" = []
"""Those that are in force again in a forked process; empty if a server never paused collections."""


def pause() -> None:
    """Have no collection start by itself.

    The collector stays enabled: code that asks, or that disables it for its process, must find what it finds
    without a server.
    """
    first, second, third = gc.get_threshold()
    if first:
        _thresholds[:] = [(first, second, third)]
        gc.set_threshold(0, second, third)


def resume() -> None:
    """Have collections start again, unless imported code has set thresholds of its own since."""
    if _thresholds and not gc.get_threshold()[0]:
        gc.set_threshold(*_thresholds[0])


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
