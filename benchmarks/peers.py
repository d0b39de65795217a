"""What the runner is measured against: the unlimited script, and a bare loop that does nothing else.

As a command, `python -m benchmarks.peers JOBS LOG INTERPRETER FILE...` is the bare loop: fork and exec of
`INTERPRETER FILE`, that many at once, all output to one file. Nothing of a runner costs less.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

UNLIMITED = """
python=$1 statuses=$2; shift 2
for file in "$@"; do
    ( "$python" "$file" > "$statuses/$(basename "$file").log" 2>&1
      echo $? > "$statuses/$(basename "$file").status" ) &
done
wait
"""
"""The script that is replaced: every file at once. The statuses are for us; it lost them."""


def unlimited_command(interpreter: Path, files: Sequence[Path], *, statuses: Path) -> list[str]:
    """Return the command of the unlimited script; `statuses` is a directory for output and exit statuses."""
    return ["bash", "-c", UNLIMITED, "bash", str(interpreter), str(statuses), *map(str, files)]


def unlimited_failures(files: Sequence[Path], *, statuses: Path) -> list[str]:
    """Return the names of the files that did not exit with 0."""
    found: list[str] = []
    for file in files:
        status = statuses / f"{file.name}.status"
        if not status.exists() or status.read_text().strip() != "0":
            found.append(file.name)
    return found


def bare_command(interpreter: Path, files: Sequence[Path], *, jobs: int, log: Path) -> list[str]:
    """Return the command of the bare loop."""
    words = [str(jobs), str(log), str(interpreter), *map(str, files)]
    # Without site and by path, so that the loop's own start costs as little as it can.
    return [sys.executable, "-I", "-S", str(Path(__file__).resolve()), *words]


def _loop(jobs: int, log: str, interpreter: str, files: Sequence[str]) -> int:
    """Run the files, `jobs` at once; return how many did not exit with 0."""
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    empty = os.open(os.devnull, os.O_RDONLY)
    redirections = [(os.POSIX_SPAWN_DUP2, empty, 0), *((os.POSIX_SPAWN_DUP2, output, fd) for fd in (1, 2))]
    running = failed = 0
    for file in files:
        if running == jobs:
            failed += os.wait()[1] != 0
            running -= 1
        os.posix_spawn(interpreter, [interpreter, file], os.environ, file_actions=redirections)
        running += 1
    while running:
        failed += os.wait()[1] != 0
        running -= 1
    return failed


if __name__ == "__main__":
    sys.exit(min(1, _loop(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])))
