"""Runs `preload` or an `ImportRecorder` under an interpreter, with packages made for the test."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.process.command import CHILD_DIR

PRELOAD = """
import json, sys
names, own, site, every, tail = json.loads(sys.argv[1])
sys.path.insert(0, {child!r})
import passmuster_child_entropy as entropy
import passmuster_child_preload as preload
sys.path.remove({child!r})
sys.path.append(site)
before = list(__import__("warnings").filters)
with entropy.EntropyWatch() as watch:
    results = preload.preload(
        names, preload.interpreter_roots(), own, every_warning=every, finders=[watch.take]
    )
exec(tail)
print(json.dumps([results, preload.is_clean(results)]))
"""

IN_PROJECT = """
import json, os, sys
root, site, given = json.loads(sys.argv[1])
sys.path.insert(0, {child!r})
import MODULES
sys.path[0] = root
sys.path.append(site)
"""
"""Comes before code that uses child modules and imports the project's modules."""

LEARN = """
learner = imports.ImportRecorder([root], [site, os.path.dirname(os.__file__)])
learner.start()
path = os.path.join(root, given)
namespace = {{"__name__": "__main__", "begin": learner.tests_begin, "__file__": path}}
exec(compile(open(path).read(), path, "exec"), namespace)
print(json.dumps(learner.names))
"""

PROVE = """
proof = proving.Proof([root], [site, os.path.dirname(os.__file__)])
__import__(given)
print(json.dumps(proof.take()))
"""

MODIFY = """
proof = proving.Proof([root], [site, os.path.dirname(os.__file__)])
watch = modifications.ModificationWatch(proof.is_own)
proof.end_of_module = watch.end_of_module
found = []
for name in given:
    watch.begin(name)
    __import__(name)
    found.append(watch.take())
print(json.dumps(found))
"""


class ImportBench:
    """A project's folder and a folder of installed packages, and an interpreter."""

    def __init__(self, root: Path, python: str) -> None:
        self.root = root / "project"
        self.site = root / "venv" / "site-packages"
        self.python = python
        self.root.mkdir(parents=True)
        self.site.mkdir(parents=True)

    def install(self, name: str, text: str = "") -> None:
        """Write a file of an installed package."""
        self._write(self.site / name, text)

    def write(self, name: str, text: str = "") -> None:
        """Write a file of the project."""
        self._write(self.root / name, text)

    def preload(
        self,
        *names: str,
        own: Mapping[str, str] | None = None,
        every_warning: bool = False,
        then: str = "",
        **env: str,
    ) -> tuple[dict[str, str], bool]:
        """Import modules ahead; return the verdicts and whether the process is clean.

        Args:
            names: what to import.
            own: modules of the project that may be imported, each with its file, relative to the project.
            every_warning: see `preload`.
            then: statements to execute in the process afterwards.
            env: variables to set.
        """
        extra = f"sys.path.append({str(self.root)!r})\n" if own else ""
        code = PRELOAD.replace("before =", f"{extra}before =")
        files = {name: str(self.root / file) for name, file in (own or {}).items()}
        arguments = [names, files, str(self.site), every_warning, textwrap.dedent(then)]
        results, is_clean = self._run(code, arguments, env)
        return {name: verdict for name, _, _, verdict in results}, is_clean

    def learn(self, main: str) -> list[str]:
        """Run a file of the project as a script; return what is recorded."""
        names: list[str] = self._run_in_project("passmuster_child_imports as imports", LEARN, main)
        return names

    def prove(self, name: str, **env: str) -> str:
        """Import a module of the project in a probe; return the finding."""
        found: str = self._run_in_project("passmuster_child_proof as proving", PROVE, name, **env)
        return found

    def modifications(self, *names: str) -> list[str]:
        """Import modules of the project in a probe; return for each which other module it modifies."""
        modules = "passmuster_child_modifications as modifications, passmuster_child_proof as proving"
        found: list[str] = self._run_in_project(modules, MODIFY, names)
        return found

    def _run_in_project(self, modules: str, code: str, given: Any, **env: str) -> Any:
        code = IN_PROJECT.replace("MODULES", modules) + code
        return self._run(code, [str(self.root), str(self.site), given], env)

    def _run(self, code: str, arguments: list[Any], env: dict[str, str]) -> Any:
        """Run code with arguments; return what it prints at last."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
        done = subprocess.run(
            [self.python, "-c", code.format(child=str(CHILD_DIR)), json.dumps(arguments)],
            env={**kept, "PYTHONDONTWRITEBYTECODE": "1", **env},
            cwd=self.root,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
