"""Records which installed modules are imported in the process of a test file.

The next run then knows which modules are worth preloading, also those that a library or pytest imports only
when it is used. Imports after the start of the first test are not recorded, because preloading them saves
nothing, nor are imports that another installed module makes when it is imported. A finder at the head of
`sys.meta_path` observes each import, and lets the other finders find the module.
"""

import os
import sys
from _thread import get_ident
from os.path import realpath
from sys import _getframe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import FrameType
    from typing import Any, Iterable, Optional

_HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "")


class ImportRecorder:
    """The finder; `start` puts it in place.

    Args:
        project: folders of the project; code in them is its own, unless it lies in one of `installed`.
        installed: folders of the standard library and of installed packages.

    Attributes:
        names: the dotted names of the modules, in the order of their imports.
    """

    def __init__(self, project: "Iterable[str]", installed: "Iterable[str]") -> None:
        self._project = tuple(os.path.join(os.path.realpath(folder), "") for folder in project)
        self._installed = tuple(os.path.join(os.path.realpath(folder), "") for folder in installed)
        self._thread = 0
        self.names: "list[str]" = []

    def start(self) -> None:
        """Record what is imported from now on, by this thread."""
        self._thread = get_ident()
        sys.meta_path.insert(0, self)

    def tests_begin(self) -> None:
        """Record nothing from now on."""
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "Optional[ModuleSpec]":
        """Find a module by means of the other finders; None where nothing is to be recorded."""
        if get_ident() != self._thread or self._is_nested():
            return None
        spec = self._ask(name, path, target)
        # Built-in and frozen modules have classes for loaders; they cost nothing.
        if spec is None or spec.loader is None or isinstance(spec.loader, type):
            return spec
        try:
            is_own = self._is_own(spec.origin or "")
        except Exception:  # A test may have replaced a function of `os` that this needs.
            return spec
        if not is_own:
            self.names.append(name)
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
        return self._is_project(real)

    def _is_nested(self) -> bool:
        """Return whether the import is part of the import of an installed module."""
        frame: "Optional[FrameType]" = _getframe(2)
        while frame is not None:
            code = frame.f_code
            if code.co_name == "<module>" and not code.co_filename.startswith("<"):
                return not self._is_project(code.co_filename) and not code.co_filename.startswith(_HERE)
            frame = frame.f_back
        return False

    def _is_project(self, file: str) -> bool:
        return file.startswith(self._project) and not file.startswith(self._installed)
