"""Records which installed modules the project's code imports in the process of a test file.

The next run then knows which modules are worth preloading. Imports after the start of the first test are not
recorded, because preloading them saves nothing, nor are imports within an installed module. A finder at the
head of `sys.meta_path` observes each import by the code of the project, and lets the other finders find the
module.
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

_MACHINERY = ("<frozen importlib", "<frozen zipimport")
_ON_BEHALF = (os.path.join("importlib", "__init__.py"), os.path.join("_pytest", "outcomes.py"))
"""Files that import what their caller named: `import_module`, `importorskip`."""


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
        if get_ident() != self._thread or not self._is_from_project():
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
