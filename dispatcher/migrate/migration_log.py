"""The private log of a migration, which allows undoing it byte for byte.

    .passmuster/migration/0001/record.json     the changes of each file, with the digests of before and after
    .passmuster/migration/0001/originals/      the previous content of the files

Each `--apply` that changes something is a step. It is on the disk before the first file changes, so that the
work of a process killed in the middle can be undone too.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, ValidationError, convert, to_builtins

from dispatcher.migrate.changes import Change, change_all, clear_stages, current, write_flushed
from passmuster.host.state_directory import STATE_DIRECTORY, ignore_by_git
from passmuster.model.errors import ConfigurationError, InfrastructureError

FOLDER = f"{STATE_DIRECTORY}/migration"
_RECORD = "record.json"
_ORIGINALS = "originals"
_VERSION = 1


class RecordedChange(Struct, frozen=True, kw_only=True):
    """One file of a step.

    Args:
        before: the digest of its previous content; None: it did not exist.
        after: the digest of its new content; None: it was removed.
        original: the name of the copy of its previous content; None: it did not exist.
    """

    path: str
    before: str | None
    after: str | None
    mode: Annotated[int, Meta(ge=0, le=0o7777)]
    original: str | None


def apply_recorded(root: Path, changes: Sequence[Change]) -> None:
    """Make the changes, recorded as one step; all of them or none.

    Raises:
        InfrastructureError: a file cannot be written; nothing was changed.
    """
    state, had_state = root / STATE_DIRECTORY, (root / STATE_DIRECTORY).exists()
    step = root / FOLDER / f"{len(_steps(root)) + 1:04}"
    try:
        _write_step(step, changes)
        ignore_by_git(state)
    except OSError as error:
        _forget(root, step, had_state=had_state)
        raise InfrastructureError(
            f"{FOLDER} cannot be written: {error.strerror}; nothing was changed: make {root} writable"
        ) from error
    try:
        change_all(root, changes)
    except BaseException:
        _forget(root, step, had_state=had_state)
        raise


class RollbackPlan(Struct, frozen=True, kw_only=True):
    """What undoes steps.

    Args:
        conflicts: the files that changed since, so that an earlier step, or all, cannot be undone.
    """

    steps: tuple[Path, ...]
    changes: tuple[Change, ...]
    conflicts: tuple[str, ...]


def plan_rollback(root: Path) -> RollbackPlan:
    """Return what undoes the steps, the last one first, as far as no file changed since.

    Raises:
        ConfigurationError: there is no step, or the log is broken.
    """
    steps = _steps(root)
    if not steps:
        raise ConfigurationError(f"there is no migration to roll back in {root}: {FOLDER} holds none")
    found: dict[str, Change] = {}
    taken: list[Path] = []
    conflicts: list[str] = []
    for step in reversed(steps):
        undone, conflicts = _undoing(root, step, found)
        if conflicts:
            break
        found |= undone
        taken.append(step)
    return RollbackPlan(steps=tuple(taken), changes=tuple(found.values()), conflicts=tuple(conflicts))


def _undoing(root: Path, step: Path, later: Mapping[str, Change]) -> tuple[dict[str, Change], list[str]]:
    """Return what undoes a step once the later ones are undone, and the files that changed since."""
    changes: dict[str, Change] = {}
    conflicts = []
    for recorded in _read_step(root, step):
        known = later.get(recorded.path)
        now = known.after if known is not None else _current(root, recorded.path)
        if _digest(now) == recorded.before:
            # It was restored by hand, or the process was killed before it reached this file.
            continue
        if _digest(now) != recorded.after:
            conflicts.append(recorded.path)
            continue
        before = known.before if known is not None else now
        changes[recorded.path] = Change(
            path=recorded.path, before=before, after=_original(step, recorded), mode=recorded.mode
        )
    return changes, conflicts


def roll_back(root: Path, back: RollbackPlan) -> None:
    """Undo steps, all of them or none, and remove them from the log.

    Raises:
        InfrastructureError: a file cannot be written; nothing was changed.
    """
    for step in back.steps:
        clear_stages(root, [recorded.path for recorded in _read_step(root, step)])
    change_all(root, back.changes)
    for step in back.steps:
        _forget(root, step, had_state=False)


def has_steps(root: Path) -> bool:
    """Return whether this repository was migrated."""
    return bool(_steps(root))


def _steps(root: Path) -> list[Path]:
    try:
        return sorted(path for path in (root / FOLDER).iterdir() if (path / _RECORD).is_file())
    except OSError:
        return []


def _write_step(step: Path, changes: Sequence[Change]) -> None:
    # A step without a record: its process was killed before it started.
    shutil.rmtree(step, ignore_errors=True)
    (step / _ORIGINALS).mkdir(parents=True, mode=0o700)
    files = []
    for number, change in enumerate(changes):
        original = None
        if change.before is not None:
            original = f"{number:05}"
            write_flushed(step / _ORIGINALS / original, change.before, 0o600)
        files.append(
            RecordedChange(
                path=change.path,
                before=_digest(change.before),
                after=_digest(change.after),
                mode=change.mode,
                original=original,
            )
        )
    unfinished = step / f"{_RECORD}.new"
    text = json.dumps({"version": _VERSION, "files": to_builtins(files)}, indent=1)
    write_flushed(unfinished, text.encode("ascii"), 0o600)
    unfinished.replace(step / _RECORD)


def _read_step(root: Path, step: Path) -> list[RecordedChange]:
    name = f"{FOLDER}/{step.name}/{_RECORD}"
    try:
        document = json.loads((step / _RECORD).read_bytes())
        if document["version"] != _VERSION:
            raise ConfigurationError(
                f"{name} has version {document['version']}, expected {_VERSION}: "
                "roll back with the version of Passmuster that wrote it"
            )
        files = convert(document["files"], list[RecordedChange])
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise ConfigurationError(f"{name} is broken: {error}; restore the files by hand") from error
    for recorded in files:
        if not Path(os.path.realpath((root / recorded.path).parent)).is_relative_to(root):
            raise ConfigurationError(f"{name} names a file outside of {root}: {recorded.path!r}")
    return files


def _current(root: Path, path: str) -> bytes | None:
    try:
        return current(root / path)
    except OSError as error:
        raise InfrastructureError(f"{path} cannot be read: {error.strerror}; nothing was changed") from error


def _original(step: Path, recorded: RecordedChange) -> bytes | None:
    if recorded.original is None:
        return None
    content = _current(step / _ORIGINALS, Path(recorded.original).name)
    if _digest(content) != recorded.before:
        raise ConfigurationError(
            f"the original of {recorded.path} in {FOLDER} differs from its digest: nothing was changed"
        )
    return content


def _digest(content: bytes | None) -> str | None:
    return None if content is None else hashlib.sha256(content).hexdigest()


def _forget(root: Path, step: Path, *, had_state: bool) -> None:
    """Remove a step, and the state directory if it never contained anything but a migration."""
    shutil.rmtree(step, ignore_errors=True)
    state = root / STATE_DIRECTORY
    with suppress(OSError):
        step.parent.rmdir()
    with suppress(OSError):
        if not had_state and {path.name for path in state.iterdir()} <= {".gitignore"}:
            shutil.rmtree(state)
