"""What a file prints, kept within a bound: the head and the tail, and a count of what lay between."""

from __future__ import annotations

from collections import deque


class OutputCapture:
    """Collects bytes; memory stays within the limit however much arrives.

    Args:
        limit_bytes: bytes kept, half of them from the start and half from the end.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._head_limit = limit_bytes // 2
        self._tail_limit = limit_bytes - self._head_limit
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self.dropped_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if not data:
            return
        self._tail.append(data)
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0]) >= self._tail_limit:
            first = self._tail.popleft()
            self._tail_bytes -= len(first)
            self.dropped_bytes += len(first)

    def text(self) -> str:
        """Return what was kept, undecodable bytes backslash-escaped, with a line for what is missing."""
        tail = b"".join(self._tail)
        surplus = max(0, len(tail) - self._tail_limit)
        dropped = self.dropped_bytes + surplus
        tail = tail[surplus:]
        head = bytes(self._head)
        if dropped:
            head, tail = _whole_characters(head), _from_character(tail)
            gap = f"\n[... {dropped} bytes dropped here ...]\n"
        else:
            head, tail, gap = head + tail, b"", ""
        return head.decode("utf-8", "backslashreplace") + gap + tail.decode("utf-8", "backslashreplace")

    def total_dropped_bytes(self) -> int:
        """Return how many bytes `text` leaves out."""
        return self.dropped_bytes + max(0, self._tail_bytes - self._tail_limit)


def _whole_characters(data: bytes) -> bytes:
    """Cut a UTF-8 character that the bound split off the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data if needed <= back else data[:-back]
        if byte < 0x80:
            break
    return data


def _from_character(data: bytes) -> bytes:
    """Cut the rest of a UTF-8 character that the bound split off the start."""
    start = 0
    while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data[start:]
