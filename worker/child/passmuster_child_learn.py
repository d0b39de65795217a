"""Records which modules a test file itself imports, and how long each took.

Runs in the process of the file, so that the next run knows which modules are worth preloading. Imports after
the start of the first test are not recorded, because preloading them saves nothing. A finder at the head of
`sys.meta_path` observes each import by the project's code, lets the other finders find the module, and times
its execution. Imports within an installed module are not observed.
"""

import os
import sys
from _thread import get_ident
from os.path import realpath
from sys import _getframe
from time import perf_counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import FrameType, ModuleType
    from typing import Any, Iterable, Optional

    _Begun = tuple[str, bool, float, float]
    """Name, whether it is the project's, seconds within the module around it, and the time."""

_MACHINERY = ("<frozen importlib", "<frozen zipimport")
_ON_BEHALF = (os.path.join("importlib", "__init__.py"), os.path.join("_pytest", "outcomes.py"))
"""Files that import what their caller named: `import_module`, `importorskip`."""


class ImportRecorder:
    """The finder; `start` puts it in place.

    Args:
        project: folders of the project; code in them is its own, unless it lies in one of `installed`.
        installed: folders of the standard library and of installed packages.
    """

    def __init__(self, project: "Iterable[str]", installed: "Iterable[str]") -> None:
        self._project = tuple(os.path.join(os.path.realpath(folder), "") for folder in project)
        self._installed = tuple(os.path.join(os.path.realpath(folder), "") for folder in installed)
        self._roots: "dict[tuple[str, bool], float]" = {}
        self._is_busy = False
        self._thread = 0
        self._inner = 0.0

    def start(self) -> None:
        """Record what is imported from now on, by this thread."""
        self._thread = get_ident()
        sys.meta_path.insert(0, self)

    def tests_begin(self) -> None:
        """Record nothing from now on."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]

    def roots(self) -> "list[tuple[str, float, bool]]":
        """Return (name, seconds, is_own) for what was imported before the first test, in order.

        Installed modules have their dotted names and the seconds that they took with all they imported;
        packages of the project have their top-level names and the seconds of their own code alone.
        """
        return [(name, seconds, is_own) for (name, is_own), seconds in self._roots.items()]

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Optional[ModuleSpec]":
        """Find a module by means of the other finders; None where nothing is to be recorded."""
        if self._is_busy or get_ident() != self._thread or not self._is_from_project():
            return None
        spec = self._ask(name, path, target)
        if spec is None:
            return None
        loader = spec.loader
        # Built-in and frozen modules have classes for loaders, which all modules share; they cost nothing.
        if loader is None or isinstance(loader, type) or "exec_module" in getattr(loader, "__dict__", "-"):
            return spec
        try:
            is_own = self._is_own(spec.origin or "")
        except Exception:  # A test may have replaced a function of `os` that this needs.
            return spec
        self._time_execution(loader, name, is_own=is_own)
        return spec

    def _ask(self, name: str, path: "Any", target: "Any") -> "Optional[ModuleSpec]":
        for finder in sys.meta_path:
            find_spec = getattr(finder, "find_spec", None)
            if find_spec is None or finder is self:
                continue
            spec: "Optional[ModuleSpec]" = find_spec(name, path, target)
            if spec is not None:
                return spec
        return None

    def _is_own(self, file: str) -> bool:
        real = realpath(file) if file else ""
        return real.startswith(self._project) and not real.startswith(self._installed)

    def _is_from_project(self) -> bool:
        """Whether the code that imports is the project's; a framework that imports a test file is not."""
        frame: "Optional[FrameType]" = _getframe(2)
        while frame is not None:
            file = frame.f_code.co_filename
            if not file.startswith(_MACHINERY) and not file.endswith(_ON_BEHALF):
                return file.startswith(self._project) and not file.startswith(self._installed)
            frame = frame.f_back
        return False

    def _time_execution(self, loader: "Any", name: str, *, is_own: bool) -> None:
        """Have the next execution of a loader timed if it is that of `name`; then all is as it was."""

        def exec_module(module: "ModuleType") -> None:
            try:
                del loader.exec_module
            except AttributeError:
                pass
            began = self._begin(module, name, is_own=is_own)
            try:
                loader.exec_module(module)
            finally:
                self._end(began)

        # The interpreter leaves its import machinery out of tracebacks by this name, and so this frame.
        exec_module.__code__ = exec_module.__code__.replace(co_filename="<frozen importlib._bootstrap>")
        try:
            loader.exec_module = exec_module
        except AttributeError:
            # A loader with slots takes no attribute: its modules are not recorded.
            return

    def _begin(self, module: "ModuleType", name: str, *, is_own: bool) -> "Optional[_Begun]":
        if self._is_busy or getattr(module.__spec__, "name", None) != name:
            return None
        outer, self._inner = self._inner, 0.0
        self._is_busy = not is_own
        return (name, is_own, outer, perf_counter())

    def _end(self, begun: "Optional[_Begun]") -> None:
        if begun is None:
            return
        name, is_own, outer, began = begun
        seconds = perf_counter() - began
        if not is_own:
            self._is_busy = False
        key = (name.partition(".")[0], True) if is_own else (name, False)
        self._roots[key] = self._roots.get(key, 0.0) + max(0.0, seconds - self._inner)
        self._inner = outer + seconds
