"""Chooses the sets of modules to preload, and the set from which each test file is forked.

A file is assigned to a set only if it imports every module of the set itself, so an import that it lacks
stays missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from worker.forkserver.module_costs import HasModules, ModuleCost, ModuleIndex, parents_of, places_of

MAX_SETS = 8
MIN_GAIN_S = 0.03
"""A set that saves less than this in the whole run is not worth a process."""

_MAX_GROUPS = 300
_MAX_SINGLES = 60
_MAX_PAIRED = 24


class ImportSet(Struct, frozen=True, kw_only=True):
    """Modules that one server imports.

    Attributes:
        modules: all of them, in the order of import.
        parent: the position in `Choice.sets`, always an earlier one, of the set that this one extends;
            None: it extends the base.
        added: those of the modules that the parent does not have, in order.
        seconds: estimated time to import `added`.
        bytes: estimated memory that importing `added` takes.
        files: how many files are forked from it.
    """

    modules: tuple[str, ...]
    parent: int | None
    added: tuple[str, ...]
    seconds: float
    bytes: int
    files: int


class Choice(Struct, frozen=True, kw_only=True):
    """The sets, and the set from which each file is forked.

    Attributes:
        sets: smaller ones before those that extend them.
        places: for each file that has a set, its position in `sets`.
        saved_s: estimated CPU seconds that the sets save; never negative.
    """

    sets: tuple[ImportSet, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    saved_s: float = 0.0

    def set_of(self, path: str) -> ImportSet | None:
        """Return the set from which a file is forked; None: from the base."""
        place = self.places.get(path)
        return None if place is None else self.sets[place]

    def without(self, path: str) -> Choice:
        """Return the choice with a file that is forked from the base."""
        return replace(self, places={file: place for file, place in self.places.items() if file != path})


def choose_import_sets(
    needs: Mapping[str, HasModules],
    facts: Mapping[str, ModuleCost],
    *,
    base: Collection[str] = (),
    max_sets: int = MAX_SETS,
    max_bytes: int,
) -> Choice:
    """Return the sets that save the most time.

    Args:
        needs: what each file imports, by path.
        facts: known costs of modules; those of other modules are estimated.
        base: modules that every server has imported.
        max_sets: the maximum number of sets.
        max_bytes: memory that all servers together may add to the base.
    """
    words = ModuleIndex(needs, facts, base)
    groups = _groups(needs, words)
    plan = _Plan(words, groups)
    return plan.result(plan.pick(max_sets, max_bytes))


def serves(modules: Sequence[str], need: HasModules, base: Collection[str]) -> bool:
    """Return whether a file may be forked from a server that was chosen for other imports of it.

    Args:
        modules: those that the server has imported, in order.
        need: what the file imports now.
        base: modules that every server has imported.
    """
    spellings = (part for name in need.modules for part in (*parents_of(name.replace(":", ".")), name))
    order = [name for name in dict.fromkeys(spellings) if name not in base]
    if not set(modules) <= set(order):
        return False
    for writer in set(need.writers) - set(base):
        at = order.index(writer)
        if writer not in modules:
            if not set(modules).isdisjoint(order[at:]):
                return False
        elif set(modules[: modules.index(writer)]) & set(need.own) != set(order[:at]) & set(need.own):
            return False
    return True


class _Group(Struct, frozen=True):
    """Files that need the same modules."""

    number: int
    order: tuple[str, ...]
    paths: tuple[str, ...]


def _groups(needs: Mapping[str, HasModules], words: ModuleIndex) -> list[_Group]:
    """Return the files grouped by the modules that they need; the group with the most to save comes first."""
    paths: dict[int, list[str]] = {}
    orders: dict[int, tuple[str, ...]] = {}
    for path in sorted(needs):
        order = words.ordered(needs[path])
        number = words.number(order, needs[path])
        if number:
            paths.setdefault(number, []).append(path)
            orders.setdefault(number, order)
    groups = [_Group(number, orders[number], tuple(paths[number])) for number in paths]
    # Sorting is stable and the paths were sorted, so the same files always give the same order.
    return sorted(groups, key=lambda group: -words.total_seconds(group.number) * len(group.paths))


class _Candidates:
    """Candidate sets: the modules that files which share costly modules have in common."""

    def __init__(self, words: ModuleIndex, groups: list[_Group]) -> None:
        self._groups = groups[:_MAX_GROUPS]
        weights = [0.0] * len(words.names)
        for group in self._groups:
            for place in places_of(group.number):
                weights[place] += words.seconds[place] * len(group.paths)
        places = sorted(range(len(weights)), key=lambda place: (-weights[place], place))
        self._masks = [1 << place for place in places[:_MAX_SINGLES]]
        self.users: dict[int, list[_Group]] = {}
        pairs = self._masks[:_MAX_PAIRED]
        for mask in (0, *self._masks):
            self._add(mask)
        for index, one in enumerate(pairs):
            for other in pairs[index + 1 :]:
                self._add(one | other)
        for group in self._groups:
            self._add(group.number)

    def extend(self, number: int) -> None:
        """Add sets that extend one that was picked."""
        for mask in self._masks:
            self._add(number | mask)

    def _add(self, mask: int) -> None:
        users = [group for group in self._groups if group.number & mask == mask]
        common = -1
        for group in users:
            common &= group.number
        if common > 0 and common not in self.users and sum(len(group.paths) for group in users) > 1:
            self.users[common] = users


class _Plan:
    """Weighs sets against each other."""

    def __init__(self, words: ModuleIndex, groups: list[_Group]) -> None:
        self._words = words
        self._groups = groups
        self._seconds: dict[int, float] = {0: 0.0}

    def pick(self, max_sets: int, max_bytes: int) -> list[int]:
        """Return the best sets, picked one after another, without those that save nothing."""
        candidates = _Candidates(self._words, self._groups)
        picked: list[int] = []
        while len(picked) < max_sets:
            current = {group.number: self._value(self._best(group.number, picked)) for group in self._groups}
            best, best_gain = 0, MIN_GAIN_S
            for number, users in candidates.users.items():
                gain = self._gain(number, users, current, picked)
                if gain > best_gain and self._bytes([*picked, number]) <= max_bytes:
                    best, best_gain = number, gain
            if not best:
                break
            picked.append(best)
            candidates.extend(best)
        return self._pruned(picked)

    def _gain(
        self, number: int, users: list[_Group], current: Mapping[int, float], picked: list[int]
    ) -> float:
        """Return the seconds that one more set saves, minus the seconds that building it takes."""
        value = self._value(number)
        saved = sum(max(0.0, value - current[group.number]) * len(group.paths) for group in users)
        return saved - (value - self._value(self._best(number, picked)))

    def result(self, picked: list[int]) -> Choice:
        """Return the choice for the sets that were picked."""
        ordered = sorted(picked, key=lambda number: (number.bit_count(), picked.index(number)))
        files: dict[int, list[str]] = {number: [] for number in ordered}
        for group in self._groups:
            number = self._best(group.number, ordered)
            if number:
                files[number].extend(group.paths)
        sets = tuple(self._set(number, ordered, len(files[number])) for number in ordered)
        places = {path: ordered.index(number) for number, paths in files.items() for path in paths}
        return Choice(sets=sets, places=places, saved_s=max(0.0, self._saved(ordered)))

    def _set(self, number: int, ordered: list[int], files: int) -> ImportSet:
        parent = self._parent(number, ordered)
        group = next(group for group in self._groups if group.number & number == number)
        names = {self._words.names[place] for place in places_of(number)}
        inherited = {self._words.names[place] for place in places_of(parent)}
        inherited_order = self._order(parent, ordered)
        added = tuple(name for name in group.order if name in names and name not in inherited)
        return ImportSet(
            modules=inherited_order + added,
            parent=ordered.index(parent) if parent else None,
            added=added,
            seconds=self._value(number) - self._value(parent),
            bytes=self._words.total_bytes(number & ~parent),
            files=files,
        )

    def _order(self, number: int, ordered: list[int]) -> tuple[str, ...]:
        return self._set(number, ordered, 0).modules if number else ()

    def _pruned(self, picked: list[int]) -> list[int]:
        """Return the sets without those that later ones made useless; checks the last set first."""
        kept = list(picked)
        for number in reversed(picked):
            others = [other for other in kept if other != number]
            files = sum(
                len(group.paths) for group in self._groups if self._best(group.number, kept) == number
            )
            is_parent = any(self._parent(other, kept) == number for other in others)
            gain = self._saved(kept) - self._saved(others)
            if gain < MIN_GAIN_S or (files < 2 and not is_parent):
                kept = others
        return kept

    def _saved(self, picked: list[int]) -> float:
        saved = sum(
            self._value(self._best(group.number, picked)) * len(group.paths) for group in self._groups
        )
        return saved - sum(self._value(n) - self._value(self._parent(n, picked)) for n in picked)

    def _bytes(self, picked: list[int]) -> int:
        return sum(self._words.total_bytes(n & ~self._parent(n, picked)) for n in picked)

    def _best(self, number: int, picked: Iterable[int]) -> int:
        """Return the most costly of the picked sets that a set of modules contains; 0: none."""
        best = 0
        for candidate in picked:
            if number & candidate == candidate and self._value(candidate) > self._value(best):
                best = candidate
        return best

    def _parent(self, number: int, picked: Iterable[int]) -> int:
        return self._best(number, [other for other in picked if other != number])

    def _value(self, number: int) -> float:
        known = self._seconds.get(number)
        if known is None:
            known = self._seconds[number] = self._words.total_seconds(number)
        return known
