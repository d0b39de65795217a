"""Finds out what the project's code does, while it is imported, that processes must not share.

Runs in a *probe*: a process that is forked to import what a fork server is about to import, and then ends. A
finding is something that the project's code does itself, or has a library do when it calls one: it writes
files, starts programs, connects, or takes a value that differs from process to process or from moment to
moment. What libraries do while they are imported themselves is not looked at here: that is preloading of
installed modules, see `passmuster_child_side_effects` for its limits.

An audit hook cannot be removed, and a profiler takes half as long again as the imports themselves. That is
why no test runs in a process with this module's hooks.
"""

import os
import sys

from passmuster_child_identity import BY_FILE, is_viewed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Iterable, Iterator, Optional

_MACHINERY = ("<frozen importlib", "<frozen zipimport")
_WITHOUT_TRACE = frozenset(("_pytest", "logging", "pluggy", "pytest", "threading", "unittest", "warnings"))
"""Packages that read clocks and process IDs for their callers, and keep no such value."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_CHANGES = {
    "os.mkdir": "makes the directory",
    "os.rename": "renames",
    "os.remove": "removes",
    "os.rmdir": "removes the directory",
    "os.link": "makes a link of",
    "os.symlink": "makes a link to",
    "os.truncate": "truncates",
    "os.chmod": "changes the mode of",
    "os.chown": "changes the owner of",
    "os.utime": "changes the times of",
    "sqlite3.connect": "opens the database",
}
"""Events of the audit hook whose first argument is a path."""

_ACTIONS = {
    "subprocess.Popen": "runs a program",
    "os.system": "runs a program",
    "os.exec": "runs a program",
    "os.posix_spawn": "runs a program",
    "os.spawn": "runs a program",
    "os.fork": "forks",
    "os.forkpty": "forks",
    "os.kill": "sends a signal",
    "os.killpg": "sends a signal",
    "signal.pthread_kill": "sends a signal",
    "socket.connect": "connects a socket",
    "socket.bind": "binds a socket",
    "socket.sendto": "sends over a socket",
    "socket.sendmsg": "sends over a socket",
}

_CLOCKS = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time")
_MOMENTS = frozenset(("now", "today", "utcnow"))


class Proof:
    """Watches this process from its construction to its end.

    Args:
        project: folders of the project; code in them is its own, unless it lies in one of `installed`.
        installed: folders of the standard library and of installed packages.
    """

    def __init__(self, project: "Iterable[str]", installed: "Iterable[str]") -> None:
        self._project = tuple(os.path.join(os.path.realpath(folder), "") for folder in project)
        self._installed = tuple(os.path.join(os.path.realpath(folder), "") for folder in installed)
        self._first = ""
        self.end_of_module: "Callable[[dict[str, Any]], object]" = bool
        """Called with the variables of each module whose code has ended."""
        self._watch_calls()
        self._watch_environment()
        sys.argv = _Arguments(sys.argv, self._note_arguments)
        sys.addaudithook(self._on_event)

    def take(self) -> str:
        """Return the first finding since the last call, as the end of "it ..."; empty: there is none."""
        first, self._first = self._first, ""
        return first

    def is_own(self, file: str) -> bool:
        """Return whether a file is the project's."""
        return file.startswith(self._project) and not file.startswith(self._installed)

    def _on_event(self, event: str, arguments: "tuple[Any, ...]") -> None:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, int) or not _is_write(mode, flags):
                return
            text = "writes"
        elif event in _CHANGES:
            path, text = arguments[0], _CHANGES[event]
        elif event in _ACTIONS:
            path, text = "", _ACTIONS[event]
        else:
            return
        name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
        if "__pycache__" not in name and name != os.devnull:
            self._note((text + " " + name).strip(), sys._getframe(1))

    def _note(self, text: str, frame: "Optional[FrameType]") -> None:
        place = self._place(frame) if not self._first else ""
        if place:
            self._first = "%s in %s" % (text, place)

    def _note_arguments(self) -> None:
        self._note("reads the arguments in sys.argv, which differ from file to file,", sys._getframe(2))

    def _place(self, frame: "Optional[FrameType]") -> str:
        """Return where the project's code does what a frame does; empty: it is a library's own import."""
        while frame is not None:
            file = frame.f_code.co_filename
            if file.startswith(_MACHINERY):
                return ""
            if self.is_own(file):
                return "%s:%d" % (os.path.relpath(file), frame.f_lineno)
            package = str(frame.f_globals.get("__name__")).partition(".")[0]
            is_import = frame.f_code.co_name == "<module>" and not file.startswith("<")
            if is_import or package in _WITHOUT_TRACE:
                return ""
            frame = frame.f_back
        return ""

    def _watch_calls(self) -> None:
        """Watch the calls of functions that give each process another value: all are seen by the profiler."""
        import atexit
        import datetime
        import signal
        import tempfile
        import time
        import uuid

        self._dates = datetime.date
        self._functions: "dict[Any, str]" = {getattr(time, name): "reads the clock" for name in _CLOCKS}
        self._functions[os.getpid] = "reads the process id"
        self._functions[atexit.register] = "registers a function with atexit"
        self._codes = {
            tempfile.gettempdir.__code__: "reads where temporary files belong",
            uuid.uuid1.__code__: "makes a UUID",
            # A server ignores some signals.
            signal.getsignal.__code__: "looks at the handler of a signal",
        }
        for function in (tempfile.mktemp, tempfile.mkstemp, tempfile.mkdtemp):
            self._codes[function.__code__] = "makes a temporary name"
        sys.setprofile(self._on_call)

    def _on_call(self, frame: "FrameType", event: str, function: "Any") -> None:
        if event == "c_call":
            text = self._functions.get(function) or self._date(function)
            if text:
                self._note(text, frame)
        elif event == "call" and frame.f_code in self._codes:
            self._note(self._codes[frame.f_code], frame.f_back)
        elif event == "return" and frame.f_code.co_name == "<module>":
            self.end_of_module(frame.f_globals)

    def _date(self, function: "Any") -> str:
        """Return what a method of a class of `datetime` does if it depends on the time."""
        owner = function.__self__ if function.__name__ in _MOMENTS else None
        return "reads the clock" if isinstance(owner, type) and issubclass(owner, self._dates) else ""

    def _watch_environment(self) -> None:
        environ: "Any" = os.environ
        original = environ.encodekey

        def encodekey(key: "Any") -> "Any":
            if key in BY_FILE and not is_viewed(sys._getframe(1)):  # `IdentityReads` sees what is kept.
                self._note("reads %s, which differs from file to file," % key, sys._getframe(1))
            return original(key)

        environ.encodekey = encodekey


class _Arguments(list[str]):
    """Arguments of which only the first, the program, may be read: the others name the file."""

    def __init__(self, arguments: "list[str]", note: "Callable[[], None]") -> None:
        super().__init__(arguments)
        self._note = note

    def __getitem__(self, place: "Any") -> "Any":
        if place != 0:
            self._note()
        return super().__getitem__(place)

    def __iter__(self) -> "Iterator[Any]":
        self._note()
        return super().__iter__()

    def __contains__(self, word: object) -> bool:
        self._note()
        return super().__contains__(word)

    def __len__(self) -> int:
        self._note()
        return super().__len__()


def _is_write(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & _WRITES)
