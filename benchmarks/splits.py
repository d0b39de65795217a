"""The ways to split a suite into shards that are held against ours, each a list of files for every shard."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.environments import ensure_environment

PYTEST_SPLIT = ("pytest-split==0.11.0", "pytest<9.1")
PYTEST_SPLIT_ALGORITHMS = ("duration_based_chunks", "least_duration")
"""Its default, which keeps the order, and the other one."""

_ASK_PYTEST_SPLIT = """\
import json, sys, types
from pytest_split.algorithms import Algorithms
wanted = json.load(sys.stdin)
items = [types.SimpleNamespace(nodeid=path) for path in sorted(wanted["seconds"])]
groups = Algorithms[wanted["algorithm"]].value(wanted["total"], items, wanted["seconds"])
print(json.dumps([[item.nodeid for item in group.selected] for group in groups]))
"""

Split = list[list[str]]
"""The files of each shard."""


def by_count(paths: Sequence[str], total: int) -> Split:
    """Deal the files out in the order of their names, as most workflows do it by hand."""
    return [sorted(paths)[number::total] for number in range(total)]


def by_hash(paths: Sequence[str], total: int) -> Split:
    """Let a hash of each file's path decide."""
    shards: Split = [[] for _ in range(total)]
    for path in sorted(paths):
        shards[int.from_bytes(hashlib.sha256(path.encode()).digest(), "big") % total].append(path)
    return shards


def by_pytest_split(seconds: Mapping[str, float], total: int, *, algorithm: str, environments: Path) -> Split:
    """Let pytest-split decide, a whole file standing for one of its tests.

    Args:
        seconds: what each file takes, which it would have stored for each test.
        total: how many shards.
        algorithm: one of its own.
        environments: the folder of the environments; it gets one of its own.
    """
    interpreter = ensure_environment(environments / "pytest-split", PYTEST_SPLIT)
    question = {"seconds": dict(seconds), "total": total, "algorithm": algorithm}
    answer = subprocess.run(
        [str(interpreter), "-c", _ASK_PYTEST_SPLIT],
        input=json.dumps(question),
        capture_output=True,
        check=True,
        text=True,
    )
    split: Split = json.loads(answer.stdout)
    return split
