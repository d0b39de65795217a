"""A small file system below one folder, which can be full. It needs the right to mount: root has it."""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

SIZE = "48m"
"""More than what one run keeps: little is filled, and quickly."""

_FILLER = "filler"
_PIECE_BYTES = 4096


class SmallDisk:
    """One file system.

    Args:
        folder: where it is mounted; made here.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700)
        _mount(folder)
        folder.chmod(0o700)

    def fill(self) -> None:
        """Leave no room for anything."""
        with suppress(OSError), (self._folder / _FILLER).open("ab", buffering=0) as file:
            while file.write(b"x" * _PIECE_BYTES):
                pass

    def free(self) -> None:
        """Give the room back."""
        (self._folder / _FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount it, whatever still uses it."""
        subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


@cache
def can_mount() -> bool:
    """Return whether this process may mount file systems."""
    with tempfile.TemporaryDirectory(prefix="faults-mount-") as folder:
        try:
            _mount(Path(folder))
        except (OSError, subprocess.CalledProcessError):
            return False
        subprocess.run(["umount", folder], check=True)
    return True


def _mount(folder: Path) -> None:
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "passmuster-faults", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
