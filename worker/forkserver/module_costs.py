"""The cost of importing modules, measured or estimated, and sets of modules as bit masks."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from worker.forkserver.file_imports import CONFTEST

UNKNOWN_S = 0.1
UNKNOWN_PART_S = 0.01
UNKNOWN_STDLIB_S = 0.002
"""Assumed seconds of an unmeasured import: an installed package, a module in one, a module of Python."""

UNKNOWN_BYTES = 8 * 2**20
UNKNOWN_SMALL_BYTES = 2**18

_MIN_MODULE_S = 0.0001  # Cheaper modules are left to the file: they only make sets differ.


class ModuleCost(Struct, frozen=True, kw_only=True):
    """The measured cost of importing one module, and whether it may be preloaded.

    Attributes:
        seconds: duration of its import.
        bytes: memory that its import took.
        verdict: "ok"; "attribute" if it is not a module; otherwise why it must not be preloaded.
    """

    seconds: float
    bytes: int
    verdict: str

    @property
    def is_allowed(self) -> bool:
        """Whether it may be preloaded."""
        return is_allowed(self.verdict)


def is_allowed(verdict: str) -> bool:
    """Return whether a module with this verdict may be preloaded."""
    return verdict in ("ok", "attribute")


class HasModules(Protocol):
    """The modules of a file, as in `Preloadable`."""

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules that it imports, in order."""

    @property
    def writers(self) -> tuple[str, ...]:
        """Those of them that write to the environment."""


class ModuleIndex:
    """The modules that matter, each as one bit of a number, so that sets of modules are numbers.

    `a:b` becomes `a.b` if that is known to be a module, and is left out if it is known not to be one.
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
        self._writers = {name for need in needs.values() for name in need.writers}
        self._undecided = _undecided(needs.values(), self._base)
        asked = {name for need in needs.values() for name in need.modules}
        self._modules = {part for name in asked | set(facts) if ":" not in name for part in parents_of(name)}
        self._bits: dict[str, int] = {}
        self.names: list[str] = []
        self.seconds: list[float] = []
        self.bytes: list[int] = []

    def ordered(self, modules: Sequence[str]) -> tuple[str, ...]:
        """Return the modules of a file that may be preloaded, each after its parents."""
        found: dict[str, None] = {}
        for name in modules:
            if name in self._undecided:
                continue
            for part in self._parts(name):
                if not self._is_allowed(part):
                    break
                # What follows these may depend on them, whatever they cost.
                has_effects = part in self._writers or part.startswith(CONFTEST)
                is_worth_it = self.cost(part) >= _MIN_MODULE_S or has_effects
                if part not in self._base and is_worth_it:
                    found[part] = None
        return tuple(found)

    def number(self, names: Iterable[str]) -> int:
        """Return the set of names as a number."""
        number = 0
        for name in names:
            place = self._bits.get(name)
            if place is None:
                place = self._bits[name] = len(self.names)
                self.names.append(name)
                self.seconds.append(self.cost(name))
                self.bytes.append(self._size(name))
            number |= 1 << place
        return number

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


def _undecided(needs: Iterable[HasModules], base: Collection[str]) -> set[str]:
    """Return the modules that some files import before a module that writes to the environment, others after.

    One server cannot import them for both.
    """
    written: dict[str, frozenset[str]] = {}
    undecided: set[str] = set()
    for need in needs:
        before: frozenset[str] = frozenset()
        for name in need.modules:
            if written.setdefault(name, before) != before:
                undecided.add(name)
            if name in need.writers and name not in base:
                before |= {name}
    return undecided


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
