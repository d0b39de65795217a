"""Detects the side effects of an import on the process, so that only clean modules are preloaded.

Linux only: on other systems the side effects cannot be detected, so no module counts as clean.
"""

import _locale
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Collection, Optional

CAN_TELL = sys.platform == "linux" and os.path.isdir("/proc/self/fd")
"""Whether the traces of an import can be seen on this system."""

_PATIENCE_MS = 50
_STREAMS = 3
_SIGNALS = range(1, 65)
_THREAD_SIGNALS = 0b11 << 31
"""The C library catches signals 32 and 33 for itself once a thread was started."""

_BUILTINS = ("__import__", "open", "print", "input", "compile", "exec")
PATCHED = ("time.sleep", "_thread.start_new_thread")
"""What gevent and eventlet replace when they make other modules cooperative."""

_FOR_LIBRARIES = ("KMP_",)
"""Variables by which packages set up the native libraries they carry; scikit-learn does for OpenMP."""

_FINDERS = ("sys.meta_path", "sys.path_hooks")
_HOOKS = ("excepthook", "displayhook", "unraisablehook", "breakpointhook", "stdin", "stdout", "stderr")


class SideEffects:
    """The state of this process that every process forked from it would inherit.

    Args:
        output: a descriptor that has taken the place of stdout and stderr; what is written there counts.
    """

    def __init__(self, output: int) -> None:
        self.output = output
        self.status = read_status()
        self.descriptors = _descriptors()
        self.environ = dict(os.environ)
        self.cwd = os.getcwd()
        self.locale = _locale.setlocale(_locale.LC_ALL)
        self.handlers = _handlers()
        self.hooks = _hooks()
        self.finders: "list[list[Any]]" = [list(sys.meta_path), list(sys.path_hooks)]
        self.path = list(sys.path)
        self.threads = _python_threads()
        self.children = _children()
        self.written = os.fstat(output).st_size
        has_threads = self.status["Threads"] > 1
        self.libraries = _openblas() if has_threads else set()
        self.allocator_threads = _allocator_threads() if has_threads else 0

    def settle(self, before: "SideEffects") -> None:
        """Give threads that were waited for the moment that they need to be gone for the kernel, too."""
        for _ in range(_PATIENCE_MS):
            if not _threads(before, self):
                return
            time.sleep(0.001)
            self.threads = _python_threads()
            self.status["Threads"] = read_status()["Threads"]

    def difference(
        self,
        before: "SideEffects",
        *,
        by_file: "Optional[Collection[str]]" = None,
        allows_path: bool = False,
    ) -> str:
        """Return the first thing that happened since `before`, as the end of "it ..."; empty: nothing.

        Args:
            before: of this process, too.
            by_file: None where an installed module was imported, which must not write to the environment. A
                module of the project may: each file that is forked later would import it at the same point,
                and inherits the variable. These are the variables that it must not write nevertheless.
            allows_path: whether `sys.path` may have changed, which is inherited as well.
        """
        for look in (_threads, _processes, _open_files, _signals, _interpreter, _surroundings):
            found = look(before, self)
            if found:
                return found
        if before.path != self.path and not allows_path:
            return "changes sys.path"
        return _environment(before, self, by_file)


def _threads(before: SideEffects, now: SideEffects) -> str:
    if now.threads > before.threads:
        return "starts a thread"
    started = now.status["Threads"] - before.status["Threads"]
    if started <= 0:
        return ""
    # OpenBLAS starts one for each core but the first, stops them before a fork, and starts them again after;
    # jemalloc, which pyarrow carries, looks after its own as well.
    new = len(now.libraries - before.libraries)
    allowed = new * max((os.cpu_count() or 1) - 1, 1) + now.allocator_threads - before.allocator_threads
    if started <= allowed:
        return ""
    started -= max(0, allowed)
    return "starts %d native thread%s" % (started, "" if started == 1 else "s")


def _processes(before: SideEffects, now: SideEffects) -> str:
    return "leaves a process running" if now.children - before.children else ""


def _open_files(before: SideEffects, now: SideEffects) -> str:
    for number, target in now.descriptors.items():
        if before.descriptors.get(number) != target:
            return "leaves a descriptor open: %s" % target
    for number, target in before.descriptors.items():
        if number not in now.descriptors and (number < _STREAMS or target != os.devnull):
            return "closes a descriptor that is not its own"
    return "maps memory that processes share" if now.status["RssShmem"] > before.status["RssShmem"] else ""


def _signals(before: SideEffects, now: SideEffects) -> str:
    for number, (old, new) in enumerate(zip(before.handlers, now.handlers), 1):  # noqa: B905 - not in Python 3.9.
        if old is not new and old != new:
            return "changes the handler of signal %d" % number
    for name in ("SigBlk", "SigIgn", "SigCgt"):
        if before.status[name] != now.status[name]:
            return "changes how signals are handled"
    return ""


def _interpreter(before: SideEffects, now: SideEffects) -> str:
    for name, old in before.hooks.items():
        if now.hooks[name] is not old:
            return "replaces %s" % name
    for name, old_list, new_list in zip(_FINDERS, before.finders, now.finders):  # noqa: B905 - as above.
        # Another finder is what many libraries add (six and whatever carries it): children inherit it.
        if any(finder not in new_list for finder in old_list):
            return "takes a finder out of %s" % name
    return ""


def _surroundings(before: SideEffects, now: SideEffects) -> str:
    if before.cwd != now.cwd:
        return "changes the working directory"
    if before.status["Umask"] != now.status["Umask"]:
        return "changes the umask"
    if before.locale != now.locale:
        return "changes the locale"
    return "prints" if now.written > before.written else ""


def _environment(before: SideEffects, now: SideEffects, by_file: "Optional[Collection[str]]") -> str:
    changed = {name for name, _ in set(before.environ.items()) ^ set(now.environ.items())}
    if by_file is not None:
        seen = [name for name in changed if name in by_file]
    else:
        # Those that are new and for a library to read are what importing it in the file would set as well.
        seen = [name for name in changed if name in before.environ or not name.startswith(_FOR_LIBRARIES)]
    return "sets the environment: %s" % ", ".join(sorted(seen))[:120] if seen else ""


def read_status() -> "dict[str, int]":
    """Return threads, signal masks, umask and resident memory (anonymous and shared, in bytes)."""
    found = {"Threads": 1, "SigBlk": 0, "SigIgn": 0, "SigCgt": 0, "Umask": 0, "RssAnon": 0, "RssShmem": 0}
    with open("/proc/self/status", "rb") as file:
        lines = file.read().decode("ascii", "replace").split("\n")
    for line in lines:
        name, _, value = line.partition(":")
        if name in found:
            number = int(value.split()[0], 16 if name.startswith("Sig") else 8 if name == "Umask" else 10)
            found[name] = number * 1024 if name.startswith("Rss") else number
    found["SigCgt"] &= ~_THREAD_SIGNALS
    return found


def _children() -> "set[str]":
    """Return the processes that this one has started and not waited for."""
    found: "set[str]" = set()
    try:
        for task in os.listdir("/proc/self/task"):
            with open("/proc/self/task/%s/children" % task, "r") as file:
                found.update(file.read().split())
    except FileNotFoundError:
        # A kernel without that file: query without reaping, so no exit status is lost.
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            found.add("some")
        except ChildProcessError:
            pass
    return found


def _descriptors() -> "dict[int, str]":
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink("/proc/self/fd/" + name)
        except OSError:
            # The descriptor with which the folder itself was read.
            continue
    return found


def _handlers() -> "list[Any]":
    import _signal

    handlers = []
    for number in _SIGNALS:
        try:
            handlers.append(_signal.getsignal(number))
        except ValueError:
            handlers.append(None)
    return handlers


def _hooks() -> "dict[str, Any]":
    import builtins

    hooks: "dict[str, Any]" = {"sys." + name: getattr(sys, name, None) for name in _HOOKS}
    for dotted in PATCHED:
        module, _, name = dotted.partition(".")
        hooks[dotted] = getattr(sys.modules.get(module), name, None)
    hooks["sys.settrace"] = sys.gettrace()
    hooks["sys.setprofile"] = sys.getprofile()
    hooks.update(("builtins." + name, getattr(builtins, name, None)) for name in _BUILTINS)
    return hooks


def _python_threads() -> int:
    import _thread

    return _thread._count()


def _allocator_threads() -> int:
    """Return how many threads of jemalloc there are."""
    count = 0
    for task in os.listdir("/proc/self/task"):
        try:
            with open("/proc/self/task/%s/comm" % task, "rb") as file:
                count += file.read().startswith(b"jemalloc_bg_thd")
        except OSError:
            continue
    return count


def _openblas() -> "set[str]":
    """Return the files of OpenBLAS that are mapped."""
    with open("/proc/self/maps", "rb") as file:
        lines = file.read().decode("utf-8", "surrogateescape").split("\n")
    paths = {line[line.find("/") :] for line in lines if "/" in line}
    return {path for path in paths if "openblas" in path.rpartition("/")[2]}
