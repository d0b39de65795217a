"""Notices changes below the root: by notifications of the system, or by looking at all files now and then.

`watchfiles` gives the notifications. Without it, or where the system gives none (too many folders for its
limit, a file system without notifications), the files are compared by size and time.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dispatcher.watch.events import Changed, is_ignored

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

FAST_STEP_MS, SLOW_STEP_MS = 5, 50
"""Milliseconds between two looks at what was notified: after a change, and while there was none for long. A
change is reported when a look finds nothing further, so within two steps. At 5 ms they take 1.4 % of a CPU,
at 50 ms 0.1 %."""

FAST_MS = 20_000
"""Milliseconds after a change in which another one is likely."""

DEBOUNCE_MS = 200
"""Milliseconds after which a change is reported even if further ones follow without a pause."""

POLL_S = 1.0
POLL_SHARE = 20
"""Seconds between two looks at all files, or this many times the duration of one, if that is longer."""

_Stamp = tuple[int, int, int]


class ChangeWatcher:
    """Reports changes below a folder, in a thread of its own, until it is closed.

    Args:
        root: absolute, without symlinks.
        warn: receives one line if there are no notifications.
        polls: whether to look at all files in any case.
    """

    def __init__(
        self, root: Path, report: Callable[[Changed], None], warn: Callable[[str], None], *, polls: bool
    ) -> None:
        self._root, self._report, self._warn = str(root), report, warn
        self._polls = polls
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes", daemon=True)
        self._started = threading.Event()

    def start(self) -> None:
        """Start to watch. From its return on, no change is missed."""
        self._thread.start()
        self._started.wait()

    def close(self) -> None:
        """Stop to watch."""
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        if self._polls:
            self._poll()
            return
        try:
            self._follow(self._notifications())
        except Exception as error:  # It is a matter of the system or the library: polling needs neither.
            self._warn(f"looking at all files every {POLL_S:g} s or less often: {_reason(error)}")
            self._poll()

    def _notifications(self) -> RustNotify:
        from watchfiles._rust_notify import RustNotify  # Loaded by this thread: it takes 0.1 s.

        return RustNotify([self._root], False, False, 0, True, False)  # noqa: FBT003 - positional only.

    def _follow(self, notify: RustNotify) -> None:
        self._started.set()
        is_fast = True
        while True:
            step_ms, timeout_ms = (FAST_STEP_MS, FAST_MS) if is_fast else (SLOW_STEP_MS, 0)
            found = notify.watch(DEBOUNCE_MS, step_ms, timeout_ms, self._closing)
            if isinstance(found, str):
                if self._closing.is_set():
                    return
                is_fast = False
                continue
            is_fast = True
            self._report_paths(path for _, path in found)

    def _poll(self) -> None:
        before, wait_s = self._snapshot()
        if self._started.is_set():
            self._report(Changed(frozenset()))  # What happened meanwhile is not known.
        self._started.set()
        while not self._closing.wait(wait_s):
            now, wait_s = self._snapshot()
            self._report_paths(path for path, _ in before.items() ^ now.items())
            before = now

    def _snapshot(self) -> tuple[dict[str, _Stamp], float]:
        """Return the state of all files, and the seconds to wait before the next look."""
        began_s = time.monotonic()
        found: dict[str, _Stamp] = {}
        for folder, folders, names in os.walk(self._root):
            folders[:] = [name for name in folders if not is_ignored(name)]
            for name in names:
                path = f"{folder}/{name}"
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                found[path] = (status.st_size, status.st_mtime_ns, status.st_ino)
        return found, max(POLL_S, POLL_SHARE * (time.monotonic() - began_s))

    def _report_paths(self, paths: Iterable[str]) -> None:
        relative = {os.path.relpath(path, self._root) for path in paths}
        if found := frozenset(path for path in relative if not is_ignored(path)):
            self._report(Changed(found))


def _reason(error: Exception) -> str:
    if isinstance(error, ImportError):
        return "the package watchfiles is not installed here (pip install watchfiles)"
    return f"the system does not notify of changes ({' '.join(str(error).split())})"
