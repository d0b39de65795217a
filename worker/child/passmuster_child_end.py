"""Ends a test process: all that a normal exit owes the file, without the interpreter taking itself to pieces.

Tearing down the interpreter takes a fifth of the time of a process that imported much, and changes nothing
that anybody sees. What a file can see of it is done here, in the interpreter's own order (`Py_FinalizeEx` in
CPython's `Python/pylifecycle.c`): threads are waited for, `atexit` callbacks run, streams are flushed, the
file's own globals go, with their `__del__` methods and `ResourceWarning`s, and C's streams are flushed.
Left out: modules that the file imported are not taken to pieces, so that what only they keep alive gets no
`__del__`; and what C and C++ code registered with `atexit(3)` is not called.
"""

from __future__ import annotations

import os
import sys

from passmuster_child_procs import flush_c_streams

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

FLUSH_FAILED = 120
"""The interpreter's exit status where the last output could not be written."""


def status_of(error: SystemExit) -> int:
    """Return the exit status that `sys.exit(...)` asked for, printing its text as the interpreter does."""
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    flush(sys.stdout)
    try:
        sys.stderr.write(str(code))
        sys.stderr.write("\n")
    except Exception:
        pass
    return 1


def end(status: int, *, owner: str, is_interrupted: bool) -> NoReturn:
    """End this process.

    Args:
        status: its exit status.
        owner: name in `sys.modules` of the module whose globals are the file's own; empty: none.
        is_interrupted: whether an uncaught KeyboardInterrupt ended the file: then SIGINT ends the process.
    """
    wait_for_threads()
    run_callbacks()
    is_flushed = flush(sys.stdout)
    flush(sys.stderr)
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    if owner:
        release(owner)
        is_flushed = flush(sys.stdout) and is_flushed
        flush(sys.stderr)
    if has_foreign_extensions():
        flush_c_streams()
    if is_interrupted:
        import _signal

        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), _signal.SIGINT)
    os._exit(status if is_flushed else FLUSH_FAILED)


def wait_for_threads() -> None:
    """Wait for every thread that is no daemon."""
    threading = sys.modules.get("threading")
    if threading is None:
        return
    try:
        threading._shutdown()
    except BaseException as error:
        sys.stderr.write(f"Exception ignored in: {threading!r}\n")
        sys.excepthook(type(error), error, error.__traceback__)


def run_callbacks() -> None:
    """Run what was registered with `atexit`; it prints by itself what goes wrong."""
    import atexit

    try:
        atexit._run_exitfuncs()
    except BaseException:  # Python 3.9 has printed it, and raises it once more.
        pass


def flush(stream: object) -> bool:
    """Flush a standard stream; False: its content is lost."""
    if stream is None or getattr(stream, "closed", False):
        return True
    try:
        stream.flush()  # type: ignore[attr-defined]
    except Exception:
        return False
    return True


def release(owner: str) -> None:
    """Let a module go, so that what only it keeps alive is finalised now."""
    module = sys.modules.pop(owner, None)
    if module is None:
        return
    import _weakref
    import gc

    alive = _weakref.ref(module)
    del module
    gc.collect()
    module = alive()
    if module is None:
        return
    # Somebody keeps the module itself: then the interpreter takes its globals one by one.
    namespace = module.__dict__
    names = [name for name in namespace if name != "__builtins__"]
    for is_private in (True, False):
        for name in names:
            if (name[:1] == "_" and name[1:2] != "_") is is_private:
                namespace[name] = None


def has_foreign_extensions() -> bool:
    """Return whether C code beyond the standard library's is loaded, or C was called by `ctypes`."""
    if "ctypes" in sys.modules:
        return True
    for module in list(sys.modules.values()):
        origin = getattr(getattr(module, "__spec__", None), "origin", None)
        if isinstance(origin, str) and origin.endswith((".so", ".pyd")) and "lib-dynload" not in origin:
            return True
    return False
