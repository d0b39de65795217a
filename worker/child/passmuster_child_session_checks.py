"""Checks whether a prepared pytest session is equivalent to the one that `pytest.main` would start.

The functions change nothing. Each returns the reason why it is not, in one line, or an empty text.
"""

import gc
import os
import re
import sys
import tempfile
import threading
import warnings
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

_TOO_LATE = re.compile(
    r"pytest_load_initial_conftests|pytest_cmdline_main|pytest_cmdline_parse|pytest_cmdline_preparse"
    r"|pytest_plugins"
)
"""What a conftest cannot do any more when it is loaded into a session that has been configured."""

_WRAPPER = re.compile(
    r"wrapper\s*=\s*True[^\n]*\n(?:\s*@[^\n]*\n)*\s*def\s+(pytest_sessionstart|pytest_configure)"
)

_LATE_HOOKS = (
    "pytest_load_initial_conftests",
    "pytest_cmdline_main",
    "pytest_cmdline_parse",
    "pytest_cmdline_preparse",
)

_WRAPPABLE = ("pytest_load_initial_conftests", "pytest_cmdline_main", "pytest_sessionstart")
"""Hooks that are called in two halves, so that a wrapper would not be around the whole."""


class ProcessSnapshot:
    """Snapshot of the process state that preparing a session must not change."""

    def __init__(self) -> None:
        self.modules = set(sys.modules)
        self.environ = dict(os.environ)
        self.path = list(sys.path)
        self.threads = _entries("/proc/self/task")
        self.descriptors = _entries("/proc/self/fd")
        self.children = _children()
        self._tempdir = tempfile.tempdir

    def why_changed(self, allowed_descriptors: "tuple[int, ...]") -> str:
        """Return what was begun since, and would be shared by all files; descriptors in /dev are no harm."""
        if len(_entries("/proc/self/task")) > len(self.threads):
            return "a plugin of pytest started a thread"
        if _children() - self.children:
            return "a plugin of pytest started a process"
        for number in _entries("/proc/self/fd") - self.descriptors:
            try:
                target = os.readlink("/proc/self/fd/" + number)
            except OSError:
                continue  # The one that listed them.
            if int(number) not in allowed_descriptors and target != os.devnull:
                return "a plugin of pytest keeps %s open" % target
        return ""

    def forget_temporary_directory(self) -> None:
        """Have each child find out again where its temporary files belong."""
        tempfile.tempdir = self._tempdir

    def changed_environment(self) -> "dict[str, str | None]":
        """Return the variables set since, None: removed."""
        return changed_environment(self.environ)


def changed_environment(before: "dict[str, str]") -> "dict[str, str | None]":
    """Return the variables that are not as they were before, None: removed."""
    now = dict(os.environ)
    changed: "dict[str, str | None]" = {
        name: value for name, value in now.items() if before.get(name) != value
    }
    changed.update({name: None for name in before if name not in now})
    return changed


class InterpreterState:
    """What pytest changes in the interpreter while a session lasts, as it is now.

    The server must not have it: what happens there, a warning or an error in a destructor, would be found
    by pytest in each child.
    """

    def __init__(self) -> None:
        self._filters = list(warnings.filters)
        self._hooks = exception_hooks()

    def restore(self) -> None:
        """Make it so again."""
        warnings.filters[:] = self._filters  # type: ignore[index]  # A list, whatever the stubs say.
        with warnings.catch_warnings():
            pass  # Has the interpreter notice.
        sys.unraisablehook, threading.excepthook = self._hooks


def exception_hooks() -> "tuple[Any, Any]":
    """Return the hooks that get the exceptions which no code can catch."""
    return sys.unraisablehook, threading.excepthook


class Silence:
    """Keeps what is printed away from standard output and error, and tells whether anything was."""

    def __enter__(self) -> "Silence":
        self.has_output = False
        self._file = tempfile.TemporaryFile()
        self._saved = [(number, os.dup(number)) for number in (1, 2)]
        _flush()
        for number, _ in self._saved:
            os.dup2(self._file.fileno(), number)
        return self

    def __exit__(self, *exc_info: object) -> None:
        _flush()
        for number, copy in self._saved:
            os.dup2(copy, number)
            os.close(copy)
        self.has_output = self._file.seek(0, os.SEEK_END) > 0
        self._file.close()


class StreamWatch:
    """Finds out what has kept the streams that pytest installs while it captures.

    Modules that have one as a variable, such as by `from sys import stdout`, can get another one.
    """

    def __init__(self) -> None:
        self._streams: "dict[str, weakref.ref[Any]]" = {}
        self._variables: "list[tuple[dict[str, Any], str, str]]" = []

    def note(self) -> None:
        """Remember the streams that are in place now."""
        self._streams = {name: weakref.ref(getattr(sys, name)) for name in ("stdin", "stdout", "stderr")}

    def are_kept(self) -> bool:
        """Return whether anything but variables of modules refers to a stream that was replaced."""
        gc.collect()
        in_place = (sys.stdin, sys.stdout, sys.stderr)
        namespaces = {id(vars(module)) for module in list(sys.modules.values())}
        for stream_name, reference in self._streams.items():
            stream = reference()
            if stream is None or stream in in_place:
                continue
            for referrer in gc.get_referrers(stream):
                if id(referrer) in namespaces:
                    names = _names_of(stream, referrer)
                    self._variables += [(referrer, name, stream_name) for name in names]
                elif referrer is not sys._getframe():
                    return True
        return False

    def renew(self) -> None:
        """Give the variables the streams that are in place now."""
        for namespace, name, stream_name in self._variables:
            namespace[name] = getattr(sys, stream_name)


def _names_of(value: object, namespace: "dict[str, Any]") -> "list[str]":
    return [name for name in namespace if namespace[name] is value]


def why_foreign(config: "Any", ours: object) -> str:
    """Return what a plugin does that a session in two halves cannot do."""
    for name in _WRAPPABLE:
        for impl in getattr(config.hook, name).get_hookimpls():
            is_wrapper = impl.hookwrapper or getattr(impl, "wrapper", False)
            if is_wrapper and impl.plugin is not ours and not _is_pytests_own(impl.plugin):
                return "the plugin %s wraps %s" % (impl.plugin_name, name)
    for kwargs, _ in config.hook.pytest_warning_recorded._call_history or ():
        if kwargs["warning_message"].category.__name__ == "PytestAssertRewriteWarning":
            return "a plugin of pytest was imported before pytest did"
    return ""


def why_setting(config: "Any") -> str:
    """Return which setting makes a session unfit to be prepared before its file is known."""
    option = config.option
    if getattr(option, "log_file", None) or _ini(config, "log_file"):
        return "log_file is set"
    if getattr(option, "session_timeout", None) or _ini(config, "session_timeout"):
        return "session_timeout is set"
    if getattr(option, "debug", None) or getattr(option, "pastebin", None):
        return "pytest's debugging output is on"
    factory = getattr(config, "_tmp_path_factory", None)
    if factory is not None and getattr(factory, "_basetemp", "") is not None:
        return "a plugin of pytest made a temporary directory"
    return ""


def why_own(names: "Iterable[str]", plugins: "Iterable[Any]", *, may_hold: bool) -> str:
    """Return which module of the project must not be imported before the file is known; empty: none.

    Args:
        names: the project's modules that were imported, for example for a category in `filterwarnings`.
        plugins: all plugins. Those of the project are left to each file, with what they import.
        may_hold: whether the others are allowed.
    """
    of_plugins = {getattr(plugin, "__name__", type(plugin).__module__) for plugin in plugins}
    for name in names:
        if not may_hold or name in of_plugins or name.startswith("_pytest"):
            return "a plugin of pytest imported %s, which belongs to the project" % name
    return ""


def own_modules(before: "set[str]", roots: "list[str]") -> "list[str]":
    """Return the modules of the project that were imported since; pytest counts if it is the project's."""
    homes = [sys.prefix, sys.base_prefix, os.path.dirname(os.__file__)]
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        is_old = name in before and name != "_pytest"
        if is_old or name.startswith("passmuster_child_") or not isinstance(file, str):
            continue
        file = os.path.abspath(file)
        parts = file.split(os.sep)
        if "site-packages" in parts or "dist-packages" in parts:
            continue
        for root in roots:
            # An environment inside the project is not the project's; a project inside an environment is.
            inside = [home for home in homes if _is_below(home, root)]
            if _is_below(file, root) and not any(_is_below(file, home) for home in inside):
                found.append(name)
                break
    return found


def why_late(plugins: "list[Any]") -> str:
    """Return what loaded conftests define, in whatever way, that comes too late."""
    for plugin in plugins:
        for name in _LATE_HOOKS:
            if hasattr(plugin, name):
                return "a conftest defines %s" % name
        if getattr(plugin, "pytest_plugins", None):
            return "a conftest names pytest_plugins"
    if "twisted.trial.unittest" in sys.modules:
        return "a conftest imports twisted.trial"
    return ""


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(os.path.join(folder, ""))


def why_conftest(path: str) -> str:
    """Return what a conftest does that must happen before the session is configured."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        return "%s cannot be read: %s" % (path, error.strerror)
    found = _TOO_LATE.search(text) or _WRAPPER.search(text)
    return "%s names %s" % (path, found.group(found.lastindex or 0)) if found else ""


def _is_pytests_own(plugin: object) -> bool:
    name = getattr(plugin, "__name__", None) or type(plugin).__module__
    return str(name).partition(".")[0] == "_pytest"


def faulthandler_descriptor(config: "Any") -> int:
    """Return the descriptor that pytest has stacks of crashes written to; -1: none."""
    from _pytest import faulthandler

    return int(config.stash.get(faulthandler.fault_handler_stderr_fd_key, -1))


def aim_faulthandler(config: "Any") -> None:
    """Have stacks of crashes written to what is standard error now, as pytest saves it when it starts."""
    descriptor = faulthandler_descriptor(config)
    if descriptor >= 0:
        os.dup2(2, descriptor, inheritable=False)


def _ini(config: "Any", name: str) -> object:
    try:
        return config.getini(name)
    except (KeyError, ValueError):
        return None


def _entries(folder: str) -> "set[str]":
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _children() -> "set[str]":
    found: "set[str]" = set()
    for thread in _entries("/proc/self/task"):
        try:
            with open("/proc/self/task/%s/children" % thread, encoding="ascii") as file:
                found.update(file.read().split())
        except OSError:
            pass
    return found


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
