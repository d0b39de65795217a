"""Asks pytest which files it would collect, without importing any test file.

    python passmuster_child_discover.py ANSWER_FILE DESCRIPTOR [PATH...]

Runs in the project's root, under the project's interpreter. pytest reads its configuration and its initial
conftests as `pytest` without arguments does, and walks its collectors; each file's collector is noted instead
of being collected. The answer is one JSON object in ANSWER_FILE. What the project prints goes to standard
output and error, which say what was wrong when there is no answer. DESCRIPTOR is a pipe whose other end
closes when the runner dies. PATHs take the place of `testpaths`.
"""

import fcntl
import json
import os
import shlex
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, TypeVar

    _Hook = TypeVar("_Hook", bound="Callable[..., Any]")


def _first(hook: "_Hook") -> "_Hook":
    """Mark a hook as `pytest.hookimpl(tryfirst=True)` does, without importing pytest here."""
    hook.pytest_impl = {"tryfirst": True}  # type: ignore[attr-defined]
    return hook


class Folders:
    """Records each listed directory, with its modification time before the listing."""

    def __init__(self) -> None:
        self.mtimes_ns: dict[str, int] = {}
        self._original = os.scandir

    def watch(self) -> None:
        """Start recording."""
        os.scandir = self._scandir

    def note(self, folder: str) -> None:
        """Record a directory that affects the answer, whether it is listed or not."""
        try:
            self.mtimes_ns.setdefault(os.path.abspath(folder), os.stat(folder).st_mtime_ns)
        except OSError:
            pass

    def _scandir(self, path: "Any" = ".") -> "Any":
        if not isinstance(path, int):
            self.note(os.fsdecode(os.fspath(path)))
        return self._original(path)


class Collection:
    """A pytest plugin that records the files of a collection.

    Args:
        paths: what to collect instead of what the project's settings say; empty: as they say.
        answer: called once, when the collection is complete.
    """

    def __init__(self, paths: "list[str]", folders: Folders, answer: "Callable[[Collection], None]") -> None:
        self.files: dict[str, None] = {}
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.options: list[list[Any]] = []
        self.config: Any = None
        self._paths, self._folders, self._answer = paths, folders, answer

    @_first
    def pytest_configure(self, config: "Any") -> None:
        """Switch off plugins that start processes or write reports: nothing runs here."""
        self.config = config
        self.options = _changed_options(config)
        for name, value in _NEUTRAL:
            if hasattr(config.option, name):
                setattr(config.option, name, value)

    def pytest_load_initial_conftests(self, early_config: "Any") -> None:
        """Keep pytest-cov, which looks only here, from measuring."""
        namespace = early_config.known_args_namespace
        namespace.no_cov = True
        if self._paths:
            # They replace `testpaths`, but pytest learns about them only later.
            ignored = "ignore:No files were found in testpaths:pytest.PytestConfigWarning"
            namespace.pythonwarnings = [*(namespace.pythonwarnings or ()), ignored]

    @_first
    def pytest_collection(self, session: "Any") -> None:
        """Set what to collect: whole files, whatever the settings name inside them."""
        args = self._paths or [str(arg).split("::")[0] for arg in session.config.args]
        session.config.args = list(dict.fromkeys(args))
        for arg in session.config.args:
            if os.path.isdir(arg):
                self._folders.note(arg)

    @_first
    def pytest_make_collect_report(self, collector: "Any") -> "Any":
        """Record a file instead of collecting it; directories are collected as usual."""
        import pytest

        # Before pytest 8 a package is a kind of module.
        if not isinstance(collector, pytest.File) or isinstance(collector, pytest.Package):
            return None
        self.files[str(getattr(collector, "path", None) or collector.fspath)] = None
        return pytest.CollectReport(collector.nodeid, "passed", None, [])

    def pytest_collectreport(self, report: "Any") -> None:
        """Record why a directory could not be collected."""
        if report.failed:
            self.errors.append("%s: %s" % (report.nodeid or ".", _last_error(report.longreprtext)))

    def pytest_warning_recorded(self, warning_message: "Any", when: str) -> None:
        """Record pytest's warnings about its own configuration."""
        if when == "config" and warning_message.category.__name__ == "PytestConfigWarning":
            self.warnings.append(" ".join(str(warning_message.message).split()))

    @_first
    def pytest_collection_modifyitems(self) -> None:
        """Answer, before plugins see a collection without tests."""
        import pytest

        self._answer(self)
        pytest.exit("the files are known", returncode=0)


_NEUTRAL: "tuple[tuple[str, Any], ...]" = (
    ("dist", "no"),
    ("tx", []),
    ("no_cov", True),
    ("xmlpath", None),
    ("htmlpath", None),
    ("report_log", None),
    ("json_report", False),
    ("lf", False),
    ("failedfirst", False),
    ("newfirst", False),
    ("stepwise", False),
    ("stepwise_skip", False),
    ("basetemp", None),
)
"""Options that would start processes, write reports, remove folders, or choose files by an earlier run."""


def _changed_options(config: "Any") -> "list[list[Any]]":
    """Return name, value and source of each option that the project's settings change."""
    try:
        defaults = vars(config._parser.parse_known_args([]))
        words = shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
        own = vars(config._parser.parse_known_args(words))
    except (Exception, SystemExit):  # Inner functions of pytest, and parsers of plugins.
        return []
    inifile = str(getattr(config, "inipath", None) or getattr(config, "inifile", None) or "")
    found = []
    for name, value in vars(config.option).items():
        if name in defaults and value != defaults[name]:
            source = "PYTEST_ADDOPTS" if own.get(name) != defaults[name] else inifile or "a conftest"
            first = value[0] if isinstance(value, list) and value else value
            if first is not None and not isinstance(first, list):
                plain = first if isinstance(first, (bool, int, float, str)) else str(first)
                found.append([name, plain, source])
    return found


def _last_error(text: str) -> str:
    """Return the line of a traceback that names the error; of any other text, its beginning."""
    lines = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    if lines:
        return lines[0]
    if "Traceback (most recent call last)" in text:
        return text.strip().splitlines()[-1].strip()
    words = " ".join(text.split())
    # pytest explains in several sentences, the first of which says what is wrong.
    return words if len(words) <= 300 else words[:300].rpartition(" ")[0] + " ..."


def _project_modules(roots: "Iterable[str]") -> "list[str]":
    """Return the files of all imported modules of the project: conftests and what they import."""
    found = []
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and "site-packages" not in file and "dist-packages" not in file:
            file = os.path.abspath(file)
            if any(file.startswith(os.path.join(root, "")) for root in roots):
                found.append(file)
    return sorted(set(found))


def _reads_environment(files: "Iterable[str]") -> bool:
    for name in files:
        try:
            with open(name, "rb") as file:
                text = file.read()
        except OSError:
            return True
        if b"environ" in text or b"getenv" in text:
            return True
    return False


def _write(path: str, answer: "dict[str, object]") -> None:
    with open(path, "w", encoding="ascii") as file:
        json.dump(answer, file)


def end_with(descriptor: int) -> None:
    """Have the kernel kill this process group when the other end of a pipe closes (fcntl(2), F_SETSIG).

    No thread waits for it, since a conftest may fork. Without that signal (not Linux), only the runner's own
    time limit bounds this process.
    """
    fcntl.fcntl(descriptor, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    if not hasattr(fcntl, "F_SETSIG"):
        return
    fcntl.fcntl(descriptor, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)
    try:
        os.read(descriptor, 1)
    except BlockingIOError:
        return
    sys.exit(1)  # It closed before the kernel was asked to look.


def main(argv: "list[str]") -> int:
    """Ask pytest and write its answer; the status is pytest's own if it gives no answer."""
    answer_file, descriptor, *paths = argv[1:]
    end_with(int(descriptor))
    here = os.getcwd()
    script_folder = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [here, *[folder for folder in sys.path if os.path.abspath(folder) != script_folder]]
    search = list(sys.path)
    from importlib.machinery import PathFinder

    if PathFinder.find_spec("pytest", sys.path) is None:
        _write(answer_file, {"pytest": ""})
        return 0
    import pytest

    folders = Folders()
    folders.note(here)

    def answer(collection: Collection) -> None:
        config = collection.config
        modules = _project_modules((here, str(getattr(config, "rootpath", None) or config.rootdir)))
        own = set(modules)
        _write(
            answer_file,
            {
                "pytest": pytest.__version__,
                "rootdir": str(getattr(config, "rootpath", None) or config.rootdir),
                "inifile": str(getattr(config, "inipath", None) or getattr(config, "inifile", None) or ""),
                "files": list(collection.files),
                "errors": collection.errors,
                "warnings": collection.warnings,
                "options": collection.options,
                "folders": folders.mtimes_ns,
                "modules": modules,
                "reads_environment": _reads_environment(own),
                "path": [os.path.abspath(folder) for folder in search[1:] if os.path.isdir(folder)],
            },
        )

    folders.watch()
    sys.argv[:] = [os.path.join(os.path.dirname(pytest.__file__), "__main__.py")]
    cache = "-ocache_dir=" + os.path.join(os.environ.get("TMPDIR", "/tmp"), "pytest_cache")
    return int(pytest.main(["--collect-only", cache], plugins=[Collection(paths, folders, answer)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
