"""Stores, from run to run, the imports of files, the costs of modules, and the findings of probes.

The file is only a cache: if it is damaged, missing, or not writable, runs are slower. Concurrent runs may
both write it: each first reads the other's additions, then replaces the file atomically.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from worker.forkserver.module_costs import ModuleCost
from worker.forkserver.server import HeldFile
from worker.forkserver.source import SourceAnalysis

FILE_NAME = "imports.json"

_VERSION = 5
_MAX_BYTES = 32 * 2**20
_MAX_FILES = 20_000
_MAX_FACTS = 5_000
_MAX_PYTHONS = 4
_LONGEST_VERDICT = 200
_FADING = 0.9
_PARTS = ("sources", "learned", "facts", "conftests")


class ImportStore:
    """The stored facts about imports; `save` writes the additions.

    Args:
        state_dir: the directory of `imports.json`; None: nothing is stored.
    """

    def __init__(self, state_dir: Path | None) -> None:
        self._path = None if state_dir is None else state_dir / FILE_NAME
        self._known, self._read_as = _load(self._path)
        self._added: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}

    def get(self, path: str, size: int, mtime_ns: int) -> SourceAnalysis | None:
        """Return the analysis of a file with this size in bytes and modification time; None: unknown."""
        match self._find("sources", path):
            case [
                int(known_size),
                int(known_time),
                str(imports),
                str(why),
                list(folders),
                str(hooks),
                int(flags),
            ]:
                if (known_size, known_time) != (size, mtime_ns):
                    return None
                return SourceAnalysis(
                    imports=tuple(imports.split()),
                    why_spawn=why,
                    folders=tuple(str(folder) for folder in folders),
                    is_script=bool(flags & 1),
                    is_readable=bool(flags & 2),
                    hooks=tuple(hooks.splitlines()),
                )
        return None

    def put(self, path: str, size: int, mtime_ns: int, source: SourceAnalysis) -> None:
        """Store the analysis of a file."""
        flags = source.is_script + 2 * source.is_readable
        self._added["sources"][path] = [
            size,
            mtime_ns,
            " ".join(source.imports),
            source.why_spawn,
            list(source.folders),
            "\n".join(source.hooks),
            flags,
        ]

    def learned(self, path: str, stamp: str) -> tuple[str, ...]:
        """Return the observed imports of a file; none if its stamp has changed."""
        match self._find("learned", path):
            case [str(known), str(names)] if known == stamp:
                return tuple(names.split())
        return ()

    def has_learned(self, path: str, stamp: str) -> bool:
        """Return whether the imports of a file with this stamp were ever observed."""
        match self._find("learned", path):
            case [str(known), str()]:
                return known == stamp
        return False

    def learn(self, path: str, stamp: str, names: Iterable[str]) -> None:
        """Add observed imports of a file; those of an older stamp are dropped."""
        before = self.learned(path, stamp)
        after = tuple(dict.fromkeys((*before, *names)))
        if after != before or not self.has_learned(path, stamp):
            self._added["learned"][path] = [stamp, " ".join(after)]

    def facts(self, identity: str) -> dict[str, ModuleCost]:
        """Return the known costs of modules for one interpreter, see `installed`."""
        entries = {**self._all_facts(self._known, identity), **self._all_facts(self._added, identity)}
        found = ((name, _fact(entry)) for name, entry in entries.items())
        return {name: fact for name, fact in found if fact is not None}

    def fact(self, identity: str, name: str) -> ModuleCost | None:
        """Return the known cost of one module."""
        found = (self._all_facts(content, identity).get(name) for content in (self._added, self._known))
        return next((fact for entry in found if (fact := _fact(entry)) is not None), None)

    def record(self, identity: str, results: Iterable[tuple[str, float, int, str]]) -> None:
        """Store the results of a preload: name, seconds, bytes, verdict.

        A module that another one had already imported took no time, which says nothing about its cost.
        Of two durations the longer one is kept, and decays. Only a probe sees that a module modifies another,
        so the servers that import it later do not take that back.
        """
        known = self.facts(identity)
        added = self._added["facts"].setdefault(identity, {})
        for name, seconds, size, verdict in results:
            before = known.get(name)
            if before is not None and before.modifies_another and verdict == "ok":
                verdict = before.verdict
            if before is not None and before.verdict == verdict:
                if seconds == 0:
                    continue
                seconds = max(seconds, before.seconds * _FADING)
                size = max(size, int(before.bytes * _FADING))
            added[name] = [round(seconds, 6), size, verdict[:_LONGEST_VERDICT]]

    def session_verdict(self, identity: str, key: str) -> str:
        """Return what was found when an interpreter prepared a session, or "" if it is unknown.

        Nothing is known any more if one of the files has changed that were imported then.

        Args:
            identity: of the interpreter, and the part of the session.
            key: what the verdict depends on in addition to files.
        """
        match self._find("conftests", identity):
            case [str(known), str(verdict), list(files)] if known == key:
                return verdict if all(map(_is_current, files)) else ""
        return ""

    def record_session(self, identity: str, key: str, files: Iterable[HeldFile], verdict: str) -> None:
        """Remember what was found when an interpreter prepared a session, which imports files."""
        entries = [[file.path, file.size, file.changed_ns] for file in files]
        self._added["conftests"][identity] = [key, verdict[:_LONGEST_VERDICT], entries]

    def save(self) -> None:
        """Write the additions; a failure is ignored."""
        if self._path is None or not any(self._added.values()):
            return
        if _identity(self._path) != self._read_as:
            self._known, _ = _load(self._path)
        for part in ("sources", "learned"):
            self._known[part] = _newest({**self._known[part], **self._added[part]}, self._added[part])
        facts = self._known["facts"]
        for identity, entries in self._added["facts"].items():
            merged = {**self._all_facts(self._known, identity), **entries}
            facts.pop(identity, None)
            facts[identity] = dict(list(merged.items())[-_MAX_FACTS:])
        self._known["facts"] = dict(list(facts.items())[-_MAX_PYTHONS:])
        conftests = {**self._known["conftests"], **self._added["conftests"]}
        self._known["conftests"] = dict(list(conftests.items())[-2 * _MAX_PYTHONS :])
        self._added = {part: {} for part in _PARTS}
        self._read_as = _write(self._path, self._known)

    def _find(self, part: str, key: str) -> object:
        entry: object = self._added[part].get(key)
        return self._known[part].get(key) if entry is None else entry

    @staticmethod
    def _all_facts(content: Mapping[str, Any], identity: str) -> dict[str, Any]:
        entries = content["facts"].get(identity)
        return entries if isinstance(entries, dict) else {}


def _fact(entry: object) -> ModuleCost | None:
    match entry:
        case [float() | int() as seconds, int(size), str(verdict)]:
            return ModuleCost(seconds=float(seconds), bytes=size, verdict=verdict)
    return None


def _is_current(entry: object) -> bool:
    match entry:
        case [str(path), int(size), int(changed_ns)]:
            return HeldFile(path, size, changed_ns).is_current
    return False


def _newest(entries: dict[str, Any], added: Mapping[str, Any]) -> dict[str, Any]:
    """Return the newest entries, at most the maximum number; added entries are the newest."""
    if len(entries) <= _MAX_FILES:
        return entries
    ordered = [*(name for name in entries if name not in added), *added]
    return {name: entries[name] for name in ordered[-_MAX_FILES:]}


def _load(path: Path | None) -> tuple[dict[str, dict[str, Any]], object]:
    """Return the content of the file, empty if there is none, and the identity of this version."""
    empty: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    if path is None:
        return empty, None
    import json  # Not needed if nothing is stored.

    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            read_as = (status.st_ino, status.st_mtime_ns, status.st_size)
            content: object = json.loads(file.read(_MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return empty, _identity(path)
    if not isinstance(content, dict) or content.get("version") != _VERSION:
        return empty, read_as
    return {part: entries for part in _PARTS if isinstance(entries := content.get(part), dict)} | {
        part: {} for part in _PARTS if not isinstance(content.get(part), dict)
    }, read_as


def _identity(path: Path) -> object:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size)


def _write(path: Path, content: Mapping[str, Any]) -> object:
    """Replace the file atomically; return its identity."""
    import json  # Not needed if nothing is stored.

    temporary = path.with_name(f".{FILE_NAME}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        text = json.dumps({"version": _VERSION, **content}, separators=(",", ":")).encode()
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            file.write(text)
        temporary.replace(path)
    except (OSError, ValueError):
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return _identity(path)
