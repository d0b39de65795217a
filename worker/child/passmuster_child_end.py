"""Ends a test process with all visible effects of a normal exit, but without the teardown of the interpreter.

The teardown takes a fifth of the time of a process that imported much, and has no visible effect. The
interpreter starts its finalization (`Py_FinalizeEx` in CPython's `Python/pylifecycle.c`): it waits for
threads and calls the `atexit` callbacks. Passmuster's callbacks were registered first, so they are called
last. They continue in the interpreter's own order: they flush streams, clear the file's globals, with their
`__del__` methods and `ResourceWarning`s, and flush open files and C's streams. Then the process exits. Two
effects are missing: objects that only imported modules keep alive get no `__del__`, and callbacks that C and
C++ code registered with `atexit(3)` are not called.
"""

import _io
import _signal
import _weakref
import atexit
import gc
import sys
from _frozen_importlib import ModuleSpec
from os import _exit, getpid, kill

from passmuster_child_procs import flush_c_streams, is_libc_loaded

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

_get_objects, _signal_function = gc.get_objects, _signal.signal


def status_of(error: SystemExit) -> int:
    """Return the exit status that `sys.exit(...)` asked for, printing its text as the interpreter does."""
    code = error.code
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF if -(1 << 63) <= code < 1 << 63 else 0xFF
    for text in (code, "\n"):
        try:
            sys.stderr.write(str(text))
        except Exception:
            continue
    return 1


def flush_both() -> None:
    """Flush the standard streams and ignore errors, which occur again at the end."""
    for stream in (sys.stderr, sys.stdout):
        try:
            stream.flush()
        except Exception:
            continue


def show(error: "BaseException | None") -> "tuple[int, bool]":
    """Show what the file ended with, as the interpreter does.

    Returns:
        The exit status, and whether an uncaught KeyboardInterrupt ended the file.
    """
    if error is None:
        return 0, False
    if isinstance(error, SystemExit):
        return status_of(error), False
    below = error.__traceback__ and error.__traceback__.tb_next  # Without the frame that executed the file.
    error.__traceback__ = below
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, below
    if sys.version_info >= (3, 12):
        sys.last_exc = error
    if not hasattr(sys, "excepthook"):
        sys.stderr.write("sys.excepthook is missing\n")
        sys.__excepthook__(type(error), error, below)
        return 1, type(error) is KeyboardInterrupt
    try:
        sys.excepthook(type(error), error, below)
    except SystemExit as another:
        return status_of(another), False
    except BaseException as another:
        wrong = another
    else:
        return 1, type(error) is KeyboardInterrupt
    flush_both()
    within = wrong.__traceback__ and wrong.__traceback__.tb_next
    sys.stderr.write("Error in sys.excepthook:\n")
    sys.__excepthook__(type(wrong), wrong.with_traceback(within), within)
    sys.stderr.write("\nOriginal exception was:\n")
    sys.__excepthook__(type(error), error, below)
    return 1, type(error) is KeyboardInterrupt


_ending: "tuple[int, str, bool] | None" = None
_on_end: "list[Callable[[], object]]" = []
_going: "list[object]" = []
_gone: object = None
_is_registered = False


def register() -> None:
    """Have the interpreter end this process in our way.

    Our callbacks must be the first, so that they are called last. Where something that the interpreter
    imports at its start was quicker, `leave` calls everything instead.
    """
    global _is_registered
    if not atexit._ncallbacks():
        atexit.register(_end)
        # No line of Passmuster may be executing when the file's globals are cleared: warnings name the line.
        atexit.register(gc.collect)
        atexit.register(_going.clear)
        atexit.register(_begin_end)
        _is_registered = True


def leave(
    status: int, *, owner: str, is_interrupted: bool, on_end: "Callable[[], object] | None" = None
) -> None:
    """Have this process end once the caller has raised SystemExit; it may end in here already.

    Args:
        owner: name in `sys.modules` of the module whose globals are the file's own; empty: none.
        is_interrupted: whether an uncaught KeyboardInterrupt ended the file: then SIGINT ends the process.
        on_end: called after all callbacks of the file; it must not raise.
    """
    global _ending
    _ending = status, owner, is_interrupted
    _on_end[:] = [on_end] if on_end is not None else []
    if not _is_registered:
        wait_for_threads()
        run_callbacks()
        _begin_end()
        _going.clear()
        gc.collect()
        _end()


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
    try:
        atexit._run_exitfuncs()
    except BaseException:  # Python 3.9 has printed it, and raises it once more.
        pass


def _begin_end() -> None:
    """Flush the streams, and take hold of the file's own globals."""
    global _ending, _gone
    if _ending is None:
        return
    while _on_end:
        _on_end.pop()()
    is_flushed = flush(sys.stdout) and flush(sys.stderr)
    if not is_flushed and not _ending[2]:
        _ending = None  # The interpreter ends by itself, so as to say and do what it does then.
        return
    for name in ("last_type", "last_value", "last_traceback", "last_exc"):
        if hasattr(sys, name):
            setattr(sys, name, None)
    module = sys.modules.pop(_ending[1], None)
    if module is not None:
        # The interpreter, too, sets these back before it lets modules go.
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        _gone = _weakref.ref(module)
        _going.append(module)


def _end() -> None:
    """Let go what is left, and end the process."""
    if _ending is None:
        return
    status, _, is_interrupted = _ending
    module = _gone() if _gone is not None else None  # type: ignore[operator]
    if module is not None:
        clear(module.__dict__)
        del module
    flush_open_files()
    flush_both()
    if is_libc_loaded() or has_foreign_extensions():
        flush_c_streams()
    if is_interrupted:
        _signal_function(_signal.SIGINT, _signal.SIG_DFL)
        kill(getpid(), _signal.SIGINT)
    _exit(status)


def flush(stream: object) -> bool:
    """Flush a standard stream; False: its content is lost."""
    try:
        if stream is not None and not getattr(stream, "closed", False):
            stream.flush()  # type: ignore[attr-defined]
    except BaseException:
        return False
    return True


def flush_open_files() -> None:
    """Flush the files that are still open: the interpreter does so when it deallocates them."""
    # By type: `isinstance` asks an object for its `__class__`, which runs code of lazy objects.
    for file in [each for each in _get_objects() if issubclass(type(each), _io._IOBase)]:
        if issubclass(type(file), (_io.TextIOWrapper, _io.BufferedWriter, _io.BufferedRandom)):
            try:
                file.flush()
            except BaseException:
                continue


def clear(namespace: "dict[str, object]") -> None:
    """Release the globals of a module that is still referenced one by one, as the interpreter does."""
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
        # Anything may stand in `sys.modules`, and run code of its own when it is asked for an attribute.
        spec = vars(module).get("__spec__") if issubclass(type(module), type(sys)) else None
        origin = spec.origin if type(spec) is ModuleSpec else None
        if type(origin) is str and origin.endswith((".so", ".pyd")) and "lib-dynload" not in origin:
            return True
    return False
