"""Notices that importing a module changes what another module of the project holds, such as a registry.

The order in which such modules are imported can be seen by tests: two plugins that append themselves to a
list are found there in that order. Looked at are the variables of the project's modules, the attributes of
their classes, and what lists, sets, dictionaries, and instances among them hold, a few levels deep. Not seen
are changes in installed modules, in closures, and in the order of `__subclasses__()`.

Used in a probe alone (see `passmuster_child_proof`), since everything that is watched is kept alive.
"""

import gc
import sys
from types import ModuleType

from passmuster_child_preload import MODIFIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable

_DEPTH = 6
"""An attribute of an instance is two levels below it: its dictionary is one."""

_MOST_OBJECTS = 300_000
"""Objects that are looked at in all: a limit for projects with large tables among their variables."""

_OPEN = ("builtins", "collections", "types", "weakref", "_weakrefset")
"""Modules of the standard library whose instances are looked into: others, such as loggers, share more."""

_STDLIB = ("_abc", "_thread", "abc", "functools", "logging", "re", "threading")
"""Those that matter most, for Python 3.9, which cannot tell."""

_CLOSED = ("_pytest", "pluggy", *getattr(sys, "stdlib_module_names", _STDLIB))
"""Packages whose other instances are not looked into: pytest's hold the state of the session."""

_LEAVES = (ModuleType, type(lambda: None), type(len), type(sys._getframe()), type(_DEPTH), str, bytes, float)


class ModificationWatch:
    """Watches the project's modules that are imported now, and those that will be.

    Args:
        is_own: returns whether a file is the project's.
    """

    def __init__(self, is_own: "Callable[[str], bool]") -> None:
        self._is_own = is_own
        self._seen: "set[int]" = set()
        self._kept: "list[Any]" = []
        self._known: "dict[tuple[str, str], _Holdings]" = {}
        """By the name and the file of the module: several conftests have the same name."""
        self._importing = ""
        self._look_at_new()

    def begin(self, name: str) -> None:
        """Note that a module is about to be imported."""
        self._importing = name

    def end_of_module(self, variables: "dict[str, Any]") -> None:
        """Note what a module holds whose code has ended, and whose importer may change it next."""
        name, file = variables.get("__name__"), variables.get("__file__")
        if isinstance(name, str) and isinstance(file, str):
            if (name, file) not in self._known and self._is_own(file):
                self._known[name, file] = self._holdings(variables, ())

    def take(self) -> str:
        """Return which module was changed since the last call, as "modifies NAME"; empty: none.

        What a package does to its own parts is left out: whoever needs them imports the package before.
        """
        profiler = sys.getprofile()
        sys.setprofile(None)  # It would be called for each of the objects.
        try:
            touched = {key: known for key, known in self._known.items() if known.is_touched()}
            changed = [key for key, known in touched.items() if known.has_changed()]
            for key, known in touched.items():
                self._known[key] = self._holdings(known.variables, known.found)
            self._look_at_new()
        finally:
            sys.setprofile(profiler)
        parts = self._importing + "."
        others = [name for name, _ in changed if not (name + ".").startswith(parts)]
        return MODIFIES + others[0] if others else ""

    def _look_at_new(self) -> None:
        for module in list(sys.modules.values()):
            if issubclass(type(module), ModuleType):
                self.end_of_module(vars(module))

    def _holdings(self, variables: "dict[str, Any]", before: "Iterable[Any]") -> "_Holdings":
        """Find what a module holds that no other module was found to hold, besides what it held before."""
        found = list(before)
        level = [*_own_variables(variables).values(), *gc.get_referents(*found)]
        for _ in range(_DEPTH):
            below: "list[Any]" = []
            for each in level:
                if id(each) in self._seen or len(self._kept) >= _MOST_OBJECTS or not self._is_open(each):
                    continue
                self._seen.add(id(each))
                self._kept.append(each)  # Its id stays its own.
                found.append(each)
                below += gc.get_referents(each)
            level = below
        return _Holdings(variables, found)

    def _is_open(self, value: "Any") -> bool:
        """Return whether it is looked at what a value holds."""
        kind = type(value)
        if issubclass(kind, _LEAVES):
            return False
        if issubclass(kind, type):
            return self._is_own(str(getattr(sys.modules.get(_module_of(value)), "__file__", None)))
        top = _module_of(kind).partition(".")[0]
        return top in _OPEN or top not in _CLOSED


class _Holdings:
    """What a module held at one moment."""

    def __init__(self, variables: "dict[str, Any]", found: "list[Any]") -> None:
        self.found = found
        self.variables = variables
        self._state, self._identities = self._now(), _identities(variables)

    def is_touched(self) -> bool:
        """Return whether it holds something else now, or got a submodule."""
        return self._now() != self._state

    def has_changed(self) -> bool:
        """Return whether somebody changed what a touched module holds."""
        if self._now()[1:] != self._state[1:]:
            return True
        now = _identities(self.variables)
        if "__getattr__" in self.variables:  # It may keep what it was asked for (PEP 562).
            now = {name: now[name] for name in self._identities if name in now}
        return now != self._identities

    def _now(self) -> "list[int]":
        return [hash(tuple(map(id, gc.get_referents(each)))) for each in (self.variables, *self.found)]


def _module_of(kind: type) -> str:
    """Return the module of a class, whatever its metaclass says."""
    try:
        return str(vars(type)["__module__"].__get__(kind))
    except AttributeError:
        return ""


def _own_variables(variables: "dict[str, Any]") -> "dict[str, Any]":
    """Return the variables that a module's code sets, without other modules."""
    return {
        name: value
        for name, value in list(variables.items())
        if not issubclass(type(value), ModuleType) and not name.startswith("__")
    }


def _identities(variables: "dict[str, Any]") -> "dict[str, int]":
    return {name: id(value) for name, value in _own_variables(variables).items()}
