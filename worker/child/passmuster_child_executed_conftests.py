"""Executes conftests before a fork, and hands them to pytest when it loads them.

A server only executes the module, at its position among the imports of the files. In the forked process
pytest loads, registers, and configures the conftest as usual, but finds that the module has been executed.
This is done with conftests that pytest loads when it collects the folder of a file, and with initial ones
that no server can load into its session (`passmuster_child_conftests`), for example because of what they do
when they are configured.
"""

import os
import sys
from contextlib import contextmanager, nullcontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Collection, Iterator, Optional

_NAME = "conftest"
"""The name that the modules of all conftests outside of packages have."""


class ExecutedConftests:
    """The conftests that this process, or a server that it was forked from, has executed.

    Between `resume` and `suspend`, `sys.path` and `sys.modules` are as they are when pytest has loaded these.

    Args:
        config: pytest's `Config`.
        initial: the paths of the initial conftests.
    """

    def __init__(self, config: "Any", initial: "Collection[str]") -> None:
        self._config = config
        self._initial = initial
        self._modules: "dict[str, ModuleType]" = {}
        self._collecting: "Optional[tuple[list[str], Optional[ModuleType]]]" = None
        self._before: "tuple[list[str], Optional[ModuleType]]" = ([], None)

    def resume(self) -> None:
        """Make `sys.path` and `sys.modules` what imports find that come after these conftests."""
        self._before = _state()
        if self._collecting is not None:
            _restore(*self._collecting)

    def suspend(self) -> None:
        """Make `sys.path` and `sys.modules` what they are before pytest loads any of them."""
        self._collecting = _state()
        _restore(*self._before)

    def paths(self) -> "list[str]":
        """Return the conftests that have been executed, and not been handed to pytest."""
        return list(self._modules)

    def has(self, path: str) -> bool:
        """Return whether a conftest has been executed."""
        return path in self._modules or self._config.pluginmanager.has_plugin(path)

    def extend_path(self, path: str) -> bool:
        """Change `sys.path` as pytest does for a conftest; return False if it imports it in another way."""
        mode = str(self._config.getoption("importmode"))
        folder = os.path.dirname(_package_of(path) or path)
        if mode == "prepend" and sys.path[0] != folder:
            sys.path.insert(0, folder)
        elif mode == "append" and folder not in sys.path:
            sys.path.append(folder)
        return mode in ("prepend", "append")

    def execute(self, path: str) -> None:
        """Import a conftest as pytest does, but do not register it."""
        from pathlib import Path

        config_module: "Any" = sys.modules["_pytest.config"]
        if not self._modules:
            self._wrap(config_module)
        if not _package_of(path):
            sys.modules.pop(_NAME, None)
        named = {"mode": self._config.getoption("importmode"), "root": self._config.rootpath}
        try:
            named["consider_namespace_packages"] = self._config.getini("consider_namespace_packages")
        except ValueError:
            pass  # Before pytest 8.2.
        with unchecked_marks() if path in self._initial else nullcontext():
            self._modules[path] = config_module.import_path(Path(path), **named)

    def _wrap(self, config_module: "Any") -> None:
        original = config_module.import_path

        def import_path(path: "Any", *args: "Any", **named: "Any") -> "ModuleType":
            module = self._modules.pop(str(path), None)
            if module is not None:
                sys.modules[module.__name__] = module
            imported: "ModuleType" = original(path, *args, **named)
            return imported

        config_module.import_path = import_path


@contextmanager
def unchecked_marks() -> "Iterator[None]":
    """Let code use any mark, as pytest does before it is configured: a conftest may add marks only then."""
    from _pytest.mark.structures import MARK_GEN

    marks: "Any" = MARK_GEN
    config, marks._config = marks._config, None
    try:
        yield
    finally:
        marks._config = config


def _package_of(path: str) -> str:
    """Return the folder of the outermost package around a file, as pytest finds it; empty: there is none."""
    from pathlib import Path

    from _pytest.pathlib import resolve_package_path

    return str(resolve_package_path(Path(path)) or "")


def _state() -> "tuple[list[str], Optional[ModuleType]]":
    return list(sys.path), sys.modules.get(_NAME)


def _restore(path: "list[str]", conftest: "Optional[ModuleType]") -> None:
    sys.path[:] = path
    if conftest is None:
        sys.modules.pop(_NAME, None)
    else:
        sys.modules[_NAME] = conftest
