"""The cost of importing modules, measured or estimated, and sets of modules as bit masks."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from msgspec import Struct

from worker.forkserver.file_imports import CONFTEST

UNKNOWN_S = 0.1
UNKNOWN_PART_S = 0.01
UNKNOWN_STDLIB_S = 0.002
"""Assumed seconds of an unmeasured import: an installed package, a module in one, a module of Python."""

UNKNOWN_BYTES = 8 * 2**20
UNKNOWN_SMALL_BYTES = 2**18

MODIFIES = "modifies "
"""Starts the verdict on a module that changes what another module of the project holds."""

ABSENT = ("missing", "outside")
"""Verdicts on a module that is not found, or not where it was looked for."""

_MIN_MODULE_S = 0.0001  # Cheaper modules are left to the file: they only make sets differ.


class ModuleCost(Struct, frozen=True, kw_only=True):
    """The measured cost of importing one module, and whether it may be preloaded.

    Attributes:
        seconds: CPU time of its import.
        bytes: memory that its import took.
        verdict: "ok"; "attribute" if it is not a module; "modifies A" if importing it changes what module A
            of the project holds; otherwise why it must not be preloaded.
    """

    seconds: float
    bytes: int
    verdict: str

    @property
    def is_allowed(self) -> bool:
        """Whether it may be preloaded."""
        return is_allowed(self.verdict)

    @property
    def modifies_another(self) -> bool:
        """Whether importing it changes another module of the project, so that its position matters."""
        return modifies_another(self.verdict)


def modifies_another(verdict: str) -> bool:
    """Return whether a module with this verdict changes another module of the project."""
    return verdict.startswith(MODIFIES)


def is_allowed(verdict: str) -> bool:
    """Return whether a module with this verdict may be preloaded."""
    return verdict in ("ok", "attribute") or modifies_another(verdict)


class HasModules(Protocol):
    """The modules of a file, as in `Preloadable`."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that it imports, in order."""

    @property
    def own(self) -> Collection[str]:
        """Those of them that are the project's."""

    @property
    def writers(self) -> Collection[str]:
        """Those of the project's whose position among the others matters."""


class ModuleIndex:
    """The modules that matter, each as one bit of a number, so that sets of modules are numbers.

    `a:b` becomes `a.b` if that is known to be a module, and is left out if it is known not to be one.

    A module has another bit for each history, which is what of the project was imported up to the last
    writer. So the modules that files have in common are those that each of them imports in the same state,
    and a server with a writer has all of the project that its files import before it.
    """

    def __init__(
        self,
        needs: Mapping[str, HasModules],
        facts: Mapping[str, ModuleCost],
        base: Collection[str],
    ) -> None:
        self._facts = dict(facts)
        for name, fact in facts.items():
            if ":" in name and fact.verdict != "attribute":
                self._facts.setdefault(name.replace(":", "."), fact)
        self._base = frozenset(base)
        asked = {name for need in needs.values() for name in need.modules}
        self._modules = {part for name in asked | set(facts) if ":" not in name for part in parents_of(name)}
        self._bits: dict[tuple[str, int], int] = {}
        self._histories: dict[tuple[int, frozenset[str]], int] = {}
        self.names: list[str] = []
        self.seconds: list[float] = []
        self.bytes: list[int] = []

    def ordered(self, need: HasModules) -> tuple[str, ...]:
        """Return the modules of a file that may be preloaded, each after its parents."""
        found: dict[str, None] = {}
        required = 0
        for name in need.modules:
            for part in self._parts(name):
                if not self._is_allowed(part):
                    break
                if part not in self._base:
                    found[part] = None
            if name in need.writers and name not in self._base:
                if name not in found:
                    break  # What follows may depend on it.
                required = len(found)
        # Cheap modules are left to the file, unless they would then come after a writer.
        return tuple(
            name
            for place, name in enumerate(found)
            if self.cost(name) >= _MIN_MODULE_S or (place < required and name in need.own)
        )

    def number(self, names: Iterable[str], need: HasModules) -> int:
        """Return modules of a file, in the order of their import, as a number."""
        number = history = 0
        before: set[str] = set()
        for name in names:
            if name in need.own:
                before.add(name)
            if name in need.writers:
                key = (history, frozenset(before))
                history = self._histories.setdefault(key, len(self._histories) + 1)
                before.clear()
            number |= 1 << self._place(name, history)
        return number

    def _place(self, name: str, history: int) -> int:
        place = self._bits.get((name, history))
        if place is None:
            place = self._bits[name, history] = len(self.names)
            self.names.append(name)
            self.seconds.append(self.cost(name))
            self.bytes.append(self._size(name))
        return place

    def cost(self, name: str) -> float:
        """Return the measured or estimated seconds of an import."""
        known = self._facts.get(name)
        if known is not None:
            return known.seconds
        if name.partition(".")[0].partition(":")[0] in sys.stdlib_module_names:
            return UNKNOWN_STDLIB_S
        return UNKNOWN_PART_S if "." in name or ":" in name else UNKNOWN_S

    def total_seconds(self, number: int) -> float:
        """Return the seconds that importing a set takes."""
        return sum(self.seconds[place] for place in places_of(number))

    def total_bytes(self, number: int) -> int:
        """Return the bytes that a set takes."""
        return sum(self.bytes[place] for place in places_of(number))

    def _size(self, name: str) -> int:
        known = self._facts.get(name)
        if known is not None:
            return max(0, known.bytes)
        return UNKNOWN_BYTES if self.cost(name) >= UNKNOWN_S else UNKNOWN_SMALL_BYTES

    def _parts(self, name: str) -> list[str]:
        module, _, attribute = name.partition(":")
        parts = parents_of(module)
        if attribute:
            dotted = f"{module}.{attribute}"
            known = self._facts.get(name)
            is_module = dotted in self._modules or (known is not None and known.verdict == "ok")
            parts.append(dotted if is_module and (known is None or known.verdict == "ok") else name)
        return parts

    def _is_allowed(self, name: str) -> bool:
        known = self._facts.get(name)
        return known is None or known.is_allowed


def parents_of(name: str) -> list[str]:
    """Return the packages around a dotted name, the outermost first, and the name; a conftest has none."""
    if name.startswith(CONFTEST):
        return [name]
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def places_of(number: int) -> Iterable[int]:
    """Yield the positions of a set's modules in `ModuleIndex.names`."""
    while number:
        lowest = number & -number
        yield lowest.bit_length() - 1
        number ^= lowest
