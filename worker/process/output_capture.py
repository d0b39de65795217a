"""Captures the output of a file within a bound: its head, its tail, and the number of dropped bytes."""

from __future__ import annotations

import threading

LINE_CHARS = 200
"""Characters of the last line that are quoted as a reason."""

LINE_SEARCH_BYTES = 8192
"""Bytes at the end of the output that are searched for its last line."""


class OutputCapture:
    """Collects bytes. Uses at most twice the memory of its limit.

    One thread feeds it; any other may call `since` at the same time.
    """

    def __init__(self, limit_bytes: int) -> None:
        """Keep `limit_bytes`, half of them from the start and half from the end."""
        self._head_limit = limit_bytes // 2
        self._tail_limit = limit_bytes - self._head_limit
        self._head = bytearray()
        self._tail = bytearray()
        self._cut_bytes = 0
        self._lock = threading.Lock()

    def feed(self, data: bytes) -> None:
        """Add the next bytes."""
        with self._lock:
            room = self._head_limit - len(self._head)
            if room > 0:
                self._head += data[:room]
                data = data[room:]
            self._tail += data
            # Cut only when twice the bound is reached, so that each byte is moved once on average.
            surplus = len(self._tail) - self._tail_limit
            if surplus >= self._tail_limit:
                del self._tail[:surplus]
                self._cut_bytes += surplus

    def since(self, offset: int, *, max_bytes: int) -> tuple[int, bytes]:
        """Return the offset of the first returned byte, and the newest bytes from `offset` on.

        The first offset is larger than `offset` if there are more than `max_bytes`, or if some were dropped.
        """
        with self._lock:
            tail_start = len(self._head) + self._cut_bytes
            total = tail_start + len(self._tail)
            start = max(offset, total - max_bytes)
            if start >= tail_start:
                return min(start, total), bytes(self._tail[start - tail_start :])
            if self._cut_bytes:
                return tail_start, bytes(self._tail)
            return start, bytes(self._head[start:] + self._tail)

    def text(self) -> str:
        """Return the kept output, undecodable bytes backslash-escaped, with a line for dropped bytes."""
        dropped = self.total_dropped_bytes()
        head, tail = bytes(self._head), bytes(self._tail[max(0, len(self._tail) - self._tail_limit) :])
        if dropped:
            head, tail = _whole_characters(head), _from_character(tail)
            gap = f"\n[... {dropped} bytes dropped here ...]\n"
        else:
            head, tail, gap = head + tail, b"", ""
        return head.decode("utf-8", "backslashreplace") + gap + tail.decode("utf-8", "backslashreplace")

    def last_line(self) -> str:
        """Return the last line that is not blank, cut to `LINE_CHARS`, or "" if there is none."""
        end = bytes(self._tail or self._head)[-LINE_SEARCH_BYTES:]
        lines = end.decode("utf-8", "backslashreplace").splitlines()
        found = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return found if len(found) <= LINE_CHARS else found[: LINE_CHARS - 3] + "..."

    def total_dropped_bytes(self) -> int:
        """Return the number of bytes that `text` omits."""
        return self._cut_bytes + max(0, len(self._tail) - self._tail_limit)


def _whole_characters(data: bytes) -> bytes:
    """Remove an incomplete UTF-8 character from the end."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            needed = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data if needed <= back else data[:-back]
        if byte < 0x80:
            break
    return data


def _from_character(data: bytes) -> bytes:
    """Remove the rest of a UTF-8 character from the start."""
    start = 0
    while start < min(3, len(data)) and 0x80 <= data[start] < 0xC0:
        start += 1
    return data[start:]
