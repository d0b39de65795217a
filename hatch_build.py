"""Puts the whole program below `passmuster/` in the wheel: a hook of the build, called by hatchling.

In a checkout, `worker`, `dispatcher`, `run_tests` and `run_ci_replica` are top-level modules. A wheel that
installed them as such would hide a project's own modules of these names, or be hidden by them. In the wheel
they are `passmuster._program.worker` and so on, and the imports of all modules are changed accordingly. Every
line keeps its number, so that tracebacks fit the source.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CHECKOUT = Path(__file__).resolve().parent
PACKAGE = "passmuster"
PROGRAM = "_program"
INNER = ("worker", "dispatcher", "run_tests", "run_ci_replica")
"""The modules of a checkout that lie below `passmuster._program` in the wheel."""


def package_version(root: Path = CHECKOUT) -> str:
    """Return the version of a package that is built from a checkout: `VERSION`, and the commit after a `+`.

    A commit with the tag of the version is the release, without `+`. Of an export without git, only `VERSION`
    is known. Without the commit, pip would take two commits of one version for the same package, and leave
    the older one installed.
    """
    text = (root / PACKAGE / "model" / "version.py").read_text(encoding="utf-8")
    [version] = re.findall(r'^VERSION = "(.+)"$', text, re.MULTILINE)
    if _git(root, "rev-parse", "--show-toplevel") != str(root):
        return str(version)
    is_release = f"v{version}" in _git(root, "tag", "--points-at", "HEAD").split()
    commit = _git(root, "rev-parse", "--short=9", "HEAD")
    return str(version) if is_release or not commit else f"{version}+g{commit}"


def _git(root: Path, *words: str) -> str:
    """Return what a query of git prints; empty: it fails, or there is no git."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-c", "safe.directory=*", "-C", str(root), *words]
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


class ProgramHook(BuildHookInterface[Any]):
    """Makes the wheel's files in a temporary directory, and has the wheel built from there."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Prepare the files; `version` is the kind of wheel."""
        if version == "editable":
            return  # It uses the checkout as it is.
        self._staging = TemporaryDirectory()
        staged = Path(self._staging.name) / PACKAGE
        stage(Path(self.root), staged)
        build_data["force_include"][str(staged)] = PACKAGE

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the files."""
        if version != "editable":
            self._staging.cleanup()


def stage(checkout: Path, target: Path) -> None:
    """Write the package as it is in the wheel into the new directory `target`."""
    shutil.copytree(checkout / PACKAGE, target)
    program = target / PROGRAM
    program.mkdir()
    (program / "__init__.py").write_text('"""The program. Not an API: that is `passmuster.api`."""\n')
    for name in INNER:
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, program / name)
        else:
            shutil.copy(source.with_suffix(".py"), program)
    for module in target.rglob("*.py"):
        module.write_bytes(rename_imports(module.read_bytes()))


def rename_imports(source: bytes) -> bytes:
    """Return a module's source with its imports of the inner modules changed to where they are in the wheel.

    Raises:
        ValueError: it has an `import` that cannot be changed; `from … import …` can.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and _is_inner(node.module or ""):
            old, new = b"from ", f"from {PACKAGE}.{PROGRAM}.".encode()
        elif isinstance(node, ast.Import) and any(_is_inner(alias.name) for alias in node.names):
            if len(node.names) > 1 or "." in node.names[0].name:
                raise ValueError(f"line {node.lineno}: cannot rename this import; write `from … import …`")
            old, new = b"import ", f"from {PACKAGE}.{PROGRAM} import ".encode()
        else:
            continue
        line = lines[node.lineno - 1]
        start = node.col_offset
        lines[node.lineno - 1] = line[:start] + line[start:].replace(old, new, 1)
    return b"".join(lines)


def _is_inner(module: str) -> bool:
    return module.partition(".")[0] in INNER
