"""What a test file read while it passed: what its result depends on."""

from __future__ import annotations

from sys import intern

from msgspec import Struct

MAX_INPUTS = 20_000
"""Maximum number of values in the inputs of one file; a file that has more has no usable record."""

MAX_INPUT_CHARS = 4 * 1024 * 1024
"""Maximum number of characters of all values together, so that the result fits a message on the broker."""


class Listing(Struct, frozen=True, order=True):
    """Names in a folder that the file has asked for."""

    folder: str
    """Relative to the root, or absolute if it is elsewhere."""
    pattern: str
    """`*`, or a pattern below the folder, as `glob` has it."""


class FileInputs(Struct, frozen=True, kw_only=True):
    """What the processes of one file read.

    Paths are relative to the root, with forward slashes; those of places elsewhere are absolute. The standard
    library, installed packages, and the file's own temporary directory are left out.
    """

    read: tuple[str, ...] = ()
    """Files that it opened or executed."""
    absent: tuple[str, ...] = ()
    """Files that it tried to open and that did not exist."""
    listed: tuple[Listing, ...] = ()
    modules: tuple[str, ...] = ()
    """Where it looked for modules of the project's packages: paths without suffix."""
    path: tuple[str, ...] = ()
    """The folders of its `sys.path` in the root, relative to it."""
    names: tuple[str, ...] = ()
    """The top-level modules that it looked for, each in every folder of `path`."""
    unsure: str = ""
    """Why it may have read more than this; empty: nothing is known that says so."""
    has_network: bool = False
    """Whether it used the network."""

    def shared(self) -> FileInputs:
        """Return the same inputs with strings that other files share: a run keeps those of all its files."""
        return FileInputs(
            read=tuple(map(intern, self.read)),
            absent=tuple(map(intern, self.absent)),
            listed=self.listed,
            modules=tuple(map(intern, self.modules)),
            path=tuple(map(intern, self.path)),
            names=tuple(map(intern, self.names)),
            unsure=intern(self.unsure),
            has_network=self.has_network,
        )
