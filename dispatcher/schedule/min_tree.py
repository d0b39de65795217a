"""A row of numbers that tells at once where the first one is that does not exceed a bound.

Used by `dispatcher.schedule.line`, whose keys grow at both ends. A segment tree of minima: each operation
takes about as many steps as the number of keys has binary digits.
"""

from __future__ import annotations

_NOTHING = float("inf")
_SMALLEST = 64


class MinTree:
    """Numbers by integer key, with search for the lowest key whose number is small enough."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._base_key = 0
        self._size = 0
        self._minima: list[float] = []

    def set(self, key: int, number: int) -> None:
        """Put a number at a key."""
        self._numbers[key] = number
        if not self._base_key <= key < self._base_key + self._size:
            self._rebuild()
        else:
            self._update(key, number)

    def discard(self, key: int) -> None:
        """Remove the number at a key, if there is one."""
        if self._numbers.pop(key, None) is not None:
            self._update(key, _NOTHING)

    def first(self) -> int | None:
        """Return the lowest key; None when there is none."""
        return self._search(_NOTHING) if self._numbers else None

    def first_at_most(self, bound: int) -> int | None:
        """Return the lowest key whose number is at most `bound`; None when there is none."""
        if not self._minima or self._minima[1] > bound:
            return None
        return self._search(bound)

    def _search(self, bound: float) -> int:
        """Return the lowest key within a bound that some number is known to keep."""
        node = 1
        while node < self._size:
            node *= 2
            # An empty leaf is as large as no bound: without one, whatever is there will do.
            if self._minima[node] > bound or self._minima[node] == _NOTHING:
                node += 1
        return self._base_key + node - self._size

    def _update(self, key: int, number: float) -> None:
        """Change one leaf, and the minima above it as far as they change."""
        node = key - self._base_key + self._size
        self._minima[node] = number
        while node > 1:
            node //= 2
            minimum = min(self._minima[2 * node], self._minima[2 * node + 1])
            if self._minima[node] == minimum:
                break
            self._minima[node] = minimum

    def _rebuild(self) -> None:
        """Lay the numbers out anew, in the middle of twice the keys they span: there is room at both ends.

        The span at least doubles before the next time, so that a key costs no more on average than a step.
        """
        lowest, highest = min(self._numbers), max(self._numbers)
        span = highest - lowest + 1
        self._size = _SMALLEST
        while self._size < 2 * span:
            self._size *= 2
        self._base_key = lowest - (self._size - span) // 2
        self._minima = [_NOTHING] * (2 * self._size)
        for key, number in self._numbers.items():
            self._minima[key - self._base_key + self._size] = number
        for node in range(self._size - 1, 0, -1):
            self._minima[node] = min(self._minima[2 * node], self._minima[2 * node + 1])
