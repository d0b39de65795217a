"""Puts a finished HTML report into the directory where people look for it, in place of the last one.

Only files that an earlier report put there are ever removed: those a list of ours names, and those that
coverage's own `status.json` names where the report before was not ours.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path

LIST_NAME = ".passmuster_report.json"
"""The names of the files that the last report consists of."""

_STATUS_NAME = "status.json"
_NEVER_REPLACED = frozenset({".gitignore"})


def publish(source: Path, target: Path) -> None:
    """Copy the files of `source` into `target`, and remove what the last report left and this one lacks.

    Args:
        source: a flat directory with a complete report.
        target: the directory people look into; it exists.

    Raises:
        OSError: a file could not be written.
    """
    names = sorted(path.name for path in source.iterdir() if path.is_file())
    stale = _last_report(target) - set(names) - _NEVER_REPLACED
    # The index comes last, so that it never names a page that is not there yet.
    for name in sorted(names, key=lambda name: name == "index.html"):
        if name not in _NEVER_REPLACED or not os.path.lexists(target / name):
            _copy(source / name, target / name)
    for name in stale:
        with suppress(OSError):
            (target / name).unlink()
    list_file = target / LIST_NAME
    fresh = list_file.with_name(f"{LIST_NAME}.{os.getpid()}.tmp")
    fresh.write_text(json.dumps(names), encoding="utf-8")
    fresh.replace(list_file)


def _copy(source: Path, target: Path) -> None:
    # Beside the target and then renamed: a reader, or a second run, never sees half a page.
    fresh = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.copyfile(source, fresh)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _last_report(target: Path) -> set[str]:
    """Return the plain names of the files that the last report put into `target`."""
    named = _read(target / LIST_NAME)
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    if not names:
        status = _read(target / _STATUS_NAME)
        pages = status.get("files") if isinstance(status, dict) else None
        names = [f"{page}.html" for page in pages] if isinstance(pages, dict) else []
    return {name for name in names if Path(name).name == name and name not in ("", ".", "..")}


def _read(path: Path) -> object:
    """Return what a JSON file holds; None when it is missing or none."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found
