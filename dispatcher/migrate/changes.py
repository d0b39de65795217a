"""Changes several files, all or none, each atomically: no reader ever sees a partial file."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from passmuster.model.errors import InfrastructureError
from passmuster.model.hidden_fields import repr_without


class Change(Struct, frozen=True, kw_only=True):
    """The change of a file.

    Args:
        before: its current content; None: it does not exist.
        after: its new content; None: it is removed.
    """

    path: str
    before: bytes | None
    after: bytes | None
    mode: int

    __repr__ = repr_without("before", "after")


def current(path: Path) -> bytes | None:
    """Return the content of a file; None: it does not exist.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def mode_of(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def stage_path(root: Path, path: str, number: int) -> Path:
    """Return the path of the new content of the change with this number, next to the replaced file."""
    return (root / path).parent / f".passmuster-{number}.new"


def change_all(root: Path, changes: Sequence[Change]) -> None:
    """Make all the changes, or none.

    Raises:
        InfrastructureError: a file cannot be written, or differs from `before`; nothing was changed.
    """
    done: list[Change] = []
    try:
        for number, change in enumerate(changes):
            _stage(root, change, number)
        for number, change in enumerate(changes):
            # Registered first, so that an interrupted change is undone too.
            done.append(change)
            if change.after is None:
                (root / change.path).unlink()
            else:
                stage_path(root, change.path, number).replace(root / change.path)
        _flush_folders(root, changes)
    except BaseException as error:
        _undo(root, done)
        clear_stages(root, [change.path for change in changes])
        if isinstance(error, OSError):
            raise InfrastructureError(
                f"{change.path} cannot be written: {error.strerror}; nothing was changed"
            ) from error
        raise


def clear_stages(root: Path, paths: Iterable[str]) -> None:
    """Remove the files that a killed process left next to the files of its changes."""
    for number, path in enumerate(paths):
        with suppress(OSError):
            stage_path(root, path, number).unlink()


def write_flushed(path: Path, content: bytes, mode: int) -> None:
    """Write a new file, and flush it to the disk.

    Raises:
        OSError: it cannot be written, or already exists.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)


def _stage(root: Path, change: Change, number: int) -> None:
    target = root / change.path
    if target.is_symlink() or current(target) != change.before:
        raise InfrastructureError(
            f"{change.path} was changed by another process; nothing was written: try again"
        )
    if change.after is None:
        if not os.access(target.parent, os.W_OK):
            raise PermissionError(13, os.strerror(13))
        return
    stage = stage_path(root, change.path, number)
    stage.unlink(missing_ok=True)
    write_flushed(stage, change.after, change.mode)
    if change.before is not None:
        owner, ours = target.stat(), stage.stat()
        if (owner.st_uid, owner.st_gid) != (ours.st_uid, ours.st_gid):
            with suppress(PermissionError):
                os.chown(stage, owner.st_uid, owner.st_gid)
                stage.chmod(change.mode)


def _undo(root: Path, done: Sequence[Change]) -> None:
    for number, change in enumerate(done):
        target, stage = root / change.path, stage_path(root, change.path, number)
        with suppress(OSError):
            if current(target) == change.before:
                continue
            if change.before is None:
                target.unlink()
            else:
                stage.unlink(missing_ok=True)
                write_flushed(stage, change.before, change.mode)
                stage.replace(target)


def _flush_folders(root: Path, changes: Sequence[Change]) -> None:
    for folder in {(root / change.path).parent for change in changes}:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
