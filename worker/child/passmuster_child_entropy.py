"""Tracks the random generators that a fork server holds, and reseeds them in each forked process.

A randomly seeded generator differs from process to process and must also differ in forked processes; one
seeded with a value yields the same numbers in each. A server therefore records how generators are seeded
while it imports, and a forked process reseeds those without a value. Other random values that an import
draws, such as a session identifier, cannot be renewed: `EntropyWatch.take` reports that a module draws some,
and that module is not preloaded.
"""

import gc
import os
import sys
import time
from _weakref import ref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, Callable, Optional

_RENEWED = frozenset(("multiprocessing", "numpy", "bson"))
"""Packages that draw when they are imported and have new values after a fork: see `passmuster_child_reset`,
`renew`; `bson.objectid` asks for the process id."""

_PRIVATE = frozenset(("billiard", "distributed", "opentelemetry", "rich", "scipy"))
"""Packages whose drawn values tell objects of one process apart, or are examples."""

_FORWARD = frozenset(("random", "secrets", "uuid"))
"""Modules that draw for their callers."""

_NUMPY_BYTES = 16
"""numpy seeds a generator with so many bytes of `secrets.randbits`."""

_CLOCK_UNITS = (1, 10**3, 10**6, 10**9)
_CLOCK_S = 60.0
"""A seed as near to the clock's time as this was taken from it."""

_get_objects = gc.get_objects
"""Without thawing what a server has frozen (`passmuster_child_frozen`)."""

_generators: "list[ref[Any]]" = []
_bit_generators: "list[Any]" = []
_global_state: "Any" = None
"""The state of `random`'s own generator where a module has seeded it with a value; None: none has."""


class EntropyWatch:
    """Watches how generators are seeded, and who draws, while this process imports."""

    def __init__(self) -> None:
        self._drawn: "list[str]" = []
        self._entropies: "set[int]" = set()
        self._by_chance: "dict[int, ref[Any]]" = {}
        self._is_global_by_chance = True
        self._modules = set(sys.modules)
        self._known_modules = self._modules - {"os", "random"}

    def __enter__(self) -> "EntropyWatch":
        import random

        self._random: "Any" = random
        self._global: "Any" = getattr(random, "_inst", random.Random())
        if _global_state is not None:  # `random` has forgotten it when this process was forked.
            self._global.setstate(_global_state)
            self._is_global_by_chance = False
        self._state = self._global.getstate()
        self._seed, self._module_seed, self._urandom = random.Random.seed, random.seed, os.urandom
        random.Random.seed = self._wrap_seed(random.Random.seed)  # type: ignore[method-assign]
        random.seed = self._global.seed
        os.urandom = random._urandom = self._wrap_urandom(os.urandom)  # type: ignore[attr-defined]
        return self

    def __exit__(self, *error: object) -> None:
        random = self._random
        replaced = {id(os.urandom): self._urandom, id(random.seed): self._module_seed}
        random.Random.seed = self._seed
        for module_name in set(sys.modules) - self._known_modules:  # Some have taken them by name.
            module = sys.modules.get(module_name)
            if type(module) is type(sys):
                names = vars(module)
                for name in [name for name, value in names.items() if id(value) in replaced]:
                    names[name] = replaced[id(names[name])]

    def take(self) -> str:
        """Return what was drawn since the last call and is no generator's, as the end of "it ..."."""
        drawn, self._drawn = self._drawn, []
        new, self._modules = set(sys.modules) - self._modules, set(sys.modules)
        state, self._state = self._state, self._global.getstate()
        for name in drawn:
            if name.partition(".")[0] not in _RENEWED | _PRIVATE:
                return "draws random numbers, in %s" % name
        is_moved = state != self._state and self._is_global_by_chance
        if is_moved and not _PRIVATE.intersection(name.partition(".")[0] for name in new):
            return "draws random numbers"
        return ""

    def remember(self) -> None:
        """Note which generators that came into being here a forked process has to renew."""
        global _global_state
        self.take()
        _global_state = None if self._is_global_by_chance else self._global.getstate()
        _generators.extend(self._by_chance.values())
        kind: "Any" = getattr(sys.modules.get("numpy.random"), "BitGenerator", None)
        # What is frozen was remembered by the server that this one was forked from.
        for each in _get_objects() if kind is not None else ():
            if issubclass(type(each), kind) and _entropy(each) in self._entropies:
                _bit_generators.append(each)

    def _wrap_seed(self, original: "Callable[..., None]") -> "Callable[..., None]":
        def seed(generator: "Any", a: "Any" = None, version: int = 2) -> None:
            original(generator, a, version)
            is_by_chance = a is None or _is_from_clock(a)
            if generator is self._global:
                self._state, self._is_global_by_chance = generator.getstate(), is_by_chance
            elif is_by_chance:
                self._by_chance[id(generator)] = ref(generator)
            else:
                self._by_chance.pop(id(generator), None)

        seed.__doc__, seed.__qualname__, seed.__module__ = original.__doc__, "Random.seed", "random"
        return seed

    def _wrap_urandom(self, original: "Callable[[int], bytes]") -> "Callable[[int], bytes]":
        def urandom(size: int) -> bytes:
            data = original(size)
            self._entropies.add(int.from_bytes(data, "big"))
            self._drawn.append(_caller(size))
            return data

        return urandom


def renew() -> None:
    """Seed anew, in a forked process, what was seeded by chance before the fork."""
    import random

    for reference in _generators:
        generator = reference()
        if generator is not None:
            random.Random.seed(generator)
    if _global_state is not None:
        random.setstate(_global_state)
    for each in _bit_generators:
        try:
            each.__setstate__(type(each)().__getstate__())
        except Exception:  # One of another package than numpy, made in another way.
            continue


def _caller(size: int) -> str:
    """Return the name of the module that has so many bytes drawn for it."""
    frame: "Optional[FrameType]" = sys._getframe(2)
    called = frame and frame.f_code.co_name
    if size == _NUMPY_BYTES and called == "getrandbits" and "numpy.random" in sys.modules:
        return "numpy"  # It has no frames of its own.
    while frame is not None and frame.f_globals.get("__name__") in _FORWARD:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")) if frame is not None else ""


def _is_from_clock(seed: object) -> bool:
    """Whether a seed is the time or the process id, which differ from process to process as well."""
    if type(seed) not in (int, float):
        return False
    number: "Any" = seed
    now = time.time()
    return number == os.getpid() or any(abs(number / unit - now) < _CLOCK_S for unit in _CLOCK_UNITS)


def _entropy(bit_generator: "Any") -> object:
    """Return what a generator of numpy was seeded with; None where it has a seed of the old kind."""
    sequence = getattr(bit_generator, "seed_seq", None) or getattr(bit_generator, "_seed_seq", None)
    entropy = getattr(sequence, "entropy", None)
    return entropy if type(entropy) is int else None
