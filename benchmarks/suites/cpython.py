"""A hundred and twenty files of CPython's own `test` package, each of which passes quickly as a script.

Drawn by seed out of those that call `unittest.main()`: a file is taken if `python FILE`, run alone twice,
exits with 0 both times, within `LONGEST_S`, and says the same about the same number of tests. `Lib/test` is
copied first, because tests write beside themselves and the interpreter's own tree is not theirs to change.
"""

from __future__ import annotations

import json
import random
import shutil
import sysconfig
from pathlib import Path

from benchmarks.environments import base_interpreter, fingerprint
from benchmarks.outcome import Outcome, run_script_alone

LONGEST_S = 8.0
"""Seconds that a file may take alone: quick files are the point."""


def write_suite(folder: Path, *, work: Path, files: int = 120, seed: int = 1) -> tuple[Path, tuple[str, ...]]:
    """Return the copy of `Lib/test`, and the names of the chosen files; both are kept for the next time.

    Args:
        folder: where the copy and the choice are kept.
        work: a directory for the outputs of single runs.
        files: how many are wanted.
        seed: of the draw.
    """
    source = Path(sysconfig.get_paths()["stdlib"], "test")
    root = folder / "test"
    chosen = folder / f"chosen-{fingerprint(str(source), str(files), str(seed))}.json"
    if not root.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, folder / "copying", ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "copying").rename(root)
    if chosen.exists():
        return root, tuple(json.loads(chosen.read_text()))
    candidates = sorted(
        path.name for path in root.glob("test_*.py") if b"unittest.main()" in path.read_bytes()
    )
    random.Random(seed).shuffle(candidates)
    found: list[str] = []
    for name in candidates:
        if len(found) == files:
            break
        if _passes_twice_alike(root, name, work):
            found.append(name)
            print(f"\r{len(found)} of {files} files chosen", end="", flush=True)
    print()
    chosen.write_text(json.dumps(found))
    return root, tuple(found)


def _passes_twice_alike(root: Path, name: str, work: Path) -> bool:
    seen: set[Outcome] = set()
    for _ in range(2):
        outcome = run_script_alone(base_interpreter(), root, name, work=work, timeout_s=LONGEST_S)
        if outcome is None or outcome.exit_code != 0 or not outcome.counts.get("run"):
            return False
        seen.add(outcome)
    return len(seen) == 1
