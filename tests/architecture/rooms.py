"""The rooms of the code: which subpackage may import which, and the graph of imports as it is.

`scripts/rooms` prints it, `test_rooms` enforces it, and `docs/explanation/architecture.md` shows the table.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

ROOMS: dict[str, tuple[str, ...]] = {
    "passmuster.launch": (),
    "passmuster.model": (),
    "passmuster.settings": ("passmuster.model",),
    "passmuster.metrics": (
        "passmuster.model",
        "passmuster.settings",
    ),
    "passmuster.host": (
        "passmuster.launch",
        "passmuster.model",
        "passmuster.settings",
    ),
    "passmuster.wire": (
        "passmuster.model",
        "passmuster.settings",
    ),
    "passmuster.source": (
        "passmuster.model",
        "passmuster.wire",
    ),
    "worker.process": (
        "passmuster.model",
        "passmuster.host",
    ),
    "worker.budget": (
        "passmuster.model",
        "passmuster.host",
    ),
    "worker.forkserver": (
        "passmuster.model",
        "passmuster.host",
        "worker.process",
    ),
    "worker.trees": (
        "passmuster.model",
        "passmuster.host",
        "passmuster.source",
        "worker.process",
    ),
    "worker.executor": (
        "passmuster.model",
        "passmuster.host",
        "worker.process",
        "worker.budget",
        "worker.forkserver",
    ),
    "worker.queue": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.host",
        "passmuster.wire",
        "passmuster.source",
        "passmuster.metrics",
        "worker.process",
        "worker.forkserver",
        "worker.trees",
        "worker.executor",
    ),
    "dispatcher.model": ("passmuster.model",),
    "dispatcher.config": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.wire",
        "passmuster.metrics",
        "dispatcher.model",
    ),
    "dispatcher.terminal": (
        "passmuster.model",
        "dispatcher.config",
    ),
    "dispatcher.inputs": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.source",
        "dispatcher.model",
    ),
    "dispatcher.history": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.host",
        "dispatcher.model",
        "dispatcher.inputs",
    ),
    "dispatcher.discovery": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.host",
        "dispatcher.model",
        "dispatcher.config",
    ),
    "dispatcher.planning": (
        "passmuster.model",
        "passmuster.host",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.history",
    ),
    "dispatcher.reporters": (
        "passmuster.model",
        "passmuster.host",
        "passmuster.metrics",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.terminal",
        "dispatcher.history",
    ),
    "dispatcher.coverage": (
        "passmuster.model",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.terminal",
    ),
    "dispatcher.engine": (
        "passmuster.model",
        "passmuster.host",
        "passmuster.wire",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.history",
        "dispatcher.planning",
    ),
    "dispatcher.queue": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.host",
        "passmuster.wire",
        "passmuster.source",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.engine",
    ),
    "dispatcher.run": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.host",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.inputs",
        "dispatcher.history",
        "dispatcher.discovery",
        "dispatcher.planning",
        "dispatcher.reporters",
        "dispatcher.coverage",
        "dispatcher.engine",
    ),
    "dispatcher.insight": (
        "passmuster.model",
        "passmuster.host",
        "passmuster.wire",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.terminal",
        "dispatcher.history",
        "dispatcher.planning",
        "dispatcher.reporters",
        "dispatcher.engine",
    ),
    "dispatcher.merge": (
        "passmuster.model",
        "passmuster.host",
        "passmuster.wire",
        "passmuster.source",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.history",
        "dispatcher.discovery",
        "dispatcher.planning",
        "dispatcher.coverage",
        "dispatcher.engine",
    ),
    "dispatcher.join": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.wire",
        "passmuster.source",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.history",
        "dispatcher.coverage",
        "dispatcher.engine",
        "dispatcher.queue",
        "dispatcher.run",
        "dispatcher.merge",
    ),
    "dispatcher.replica": (
        "passmuster.launch",
        "passmuster.model",
        "passmuster.settings",
        "passmuster.host",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.terminal",
    ),
    "dispatcher.migrate": (
        "passmuster.model",
        "passmuster.host",
        "passmuster.source",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.discovery",
    ),
    "dispatcher.watch": (
        "passmuster.model",
        "passmuster.settings",
        "dispatcher.config",
        "dispatcher.inputs",
        "dispatcher.engine",
        "dispatcher.run",
    ),
    "dispatcher.cli": (
        "passmuster.model",
        "passmuster.settings",
        "passmuster.host",
        "passmuster.wire",
        "passmuster.source",
        "dispatcher.model",
        "dispatcher.config",
        "dispatcher.terminal",
        "dispatcher.inputs",
        "dispatcher.history",
        "dispatcher.reporters",
        "dispatcher.coverage",
        "dispatcher.engine",
        "dispatcher.queue",
        "dispatcher.run",
        "dispatcher.insight",
        "dispatcher.merge",
        "dispatcher.join",
        "dispatcher.migrate",
        "dispatcher.watch",
    ),
}
"""Each room with the rooms it imports, from the bottom up: a room imports only rooms before it.

Imports inside functions and for type checking count. `run_tests.py`, `run_ci_replica.py`,
`worker/__main__.py`, `passmuster/api.py` and `passmuster/celery.py` put the parts together and may import
every room.
"""

DOORS = ("run_tests", "run_ci_replica", "worker.__main__", "passmuster.api", "passmuster.celery")
TOPS = ("passmuster", "worker", "dispatcher")

SMALL_LINES = 60

SEAMS: dict[str, str] = {}
"""Modules of fewer lines with a single importer that stand alone all the same, with the reason."""


@dataclass(frozen=True)
class Module:
    """One module of the product.

    Args:
        name: its dotted name.
        lines: its number of lines.
        imports: the modules of ours that it imports, anywhere in its text.
    """

    name: str
    lines: int
    imports: frozenset[str]


def room_of(module: str) -> str:
    """Return the room that a module stands in; a door is its own room."""
    return module if module in DOORS else ".".join(module.split(".")[:2])


def read_modules(root: Path) -> dict[str, Module]:
    """Return all modules of the product below `root` by name, without the child scripts."""
    paths = [*(path for top in TOPS for path in sorted((root / top).rglob("*.py")))]
    paths += [root / f"{door}.py" for door in DOORS if "." not in door and (root / f"{door}.py").exists()]
    names = {_name(path.relative_to(root)): path for path in paths if "child" not in path.parts}
    modules = {}
    for name, path in names.items():
        text = path.read_text(encoding="utf-8")
        found = frozenset(_imported(ast.parse(text), names)) - {name}
        modules[name] = Module(name=name, lines=len(text.splitlines()), imports=found)
    return {name: module for name, module in modules.items() if names[name].name != "__init__.py"}


def _name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imported(tree: ast.Module, names: Mapping[str, Path]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in names)
        elif isinstance(node, ast.ImportFrom) and (module := node.module or "") in names:
            parts = [f"{module}.{alias.name}" for alias in node.names]
            yield from (part if part in names else module for part in parts)


def room_imports(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    found: dict[str, set[str]] = {room_of(name): set() for name in modules}
    for name, module in modules.items():
        found[room_of(name)] |= {room_of(other) for other in module.imports} - {room_of(name)}
    return found


def cycles(imports: Mapping[str, Set[str]]) -> list[list[str]]:
    """Return the groups of names that reach each other, each sorted."""
    reached = {name: _reachable(name, imports) for name in imports}
    groups = {
        tuple(sorted({name} | {other for other in found if name in reached.get(other, ())}))
        for name, found in reached.items()
        if name in found
    }
    return [list(group) for group in sorted(groups)]


def _reachable(start: str, imports: Mapping[str, Set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(imports.get(start, ()))
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imports.get(name, ()))
    return seen


def importers(modules: Mapping[str, Module]) -> dict[str, set[str]]:
    """Return the modules that import each module."""
    found: dict[str, set[str]] = {name: set() for name in modules}
    for name, module in modules.items():
        for other in module.imports & modules.keys():
            found[other].add(name)
    return found


def violations(root: Path) -> list[str]:
    """Return what breaks the rules of the rooms below `root`, a line each."""
    modules = read_modules(root)
    wrong = [*_wrong_rooms(modules)]
    graph = {name: module.imports for name, module in modules.items()}
    wrong += [f"import each other in a circle: {', '.join(group)}" for group in cycles(graph)]
    for name, by in sorted(importers(modules).items()):
        is_small = modules[name].lines < SMALL_LINES and len(by) == 1 and name not in DOORS
        if is_small and name not in SEAMS:
            wrong.append(
                f"{name}: {modules[name].lines} lines for one importer, {next(iter(by))}; merge it there"
            )
        if name in SEAMS and not is_small:
            wrong.append(f"{name}: no longer small with one importer; take it from the list of seams")
    return wrong


def _wrong_rooms(modules: Mapping[str, Module]) -> Iterator[str]:
    for name, module in sorted(modules.items()):
        room = room_of(name)
        if room in DOORS:
            continue
        if room not in ROOMS or room == name:
            yield f"{name}: stands in no room"
            continue
        for other in sorted({room_of(one) for one in module.imports} - {room}):
            if other not in ROOMS[room]:
                yield f"{name}: {room} must not import {other}"


def table(root: Path) -> str:
    """Return the rooms as a table in Markdown, each with what its package says of itself."""
    lines = ["| room | purpose | imports |", "| --- | --- | --- |"]
    for room, imports in reversed(ROOMS.items()):
        path = root / room.replace(".", "/") / "__init__.py"
        text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        own = room.partition(".")[0]
        shown = [one.removeprefix(f"{own}.") for one in imports if one.startswith(f"{own}.")]
        shown += [one for one in imports if not one.startswith(f"{own}.")]
        lines.append(f"| `{room.replace('.', '/')}` | {text} | {', '.join(shown) or 'nothing'} |")
    return "\n".join(lines)
