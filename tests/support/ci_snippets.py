"""The jobs that docs/how-to/ci.md shows for other CIs: their commands, and how such a CI numbers its jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dispatcher.replica.reading import parse_yaml
from tests.docs.pages import REPOSITORY, blocks_of, without_blocks

INSTALL = 'pip install "$PASSMUSTER"'

_PAGE = "docs/how-to/ci.md"


@dataclass(frozen=True, kw_only=True)
class Snippet:
    """A job of a CI in pieces.

    Args:
        shard: the commands of a shard.
        merge: the commands that merge.
        numbers: the variables of one of so many jobs, from 0.
        folder: where the records of a job come to lie for merging, seen from the project.
    """

    shard: tuple[str, ...]
    merge: tuple[str, ...]
    numbers: Callable[[int, int], Mapping[str, str]]
    folder: str = "records"


def code_of(heading: str) -> str:
    """Return the block below a heading of the page."""
    text = (REPOSITORY / _PAGE).read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    [block] = blocks_of(section, _PAGE)
    assert without_blocks(section) != section
    return block.code


def snippet_of(heading: str) -> Snippet:
    """Return what a CI's block says."""
    return _READERS[heading](code_of(heading))


def _circle(code: str) -> Snippet:
    orb = _yaml((REPOSITORY / "deploy" / "circleci" / "orb.yml").read_text(encoding="utf-8"))
    jobs = _yaml(code)["workflows"]["tests"]["jobs"]
    used = [job if isinstance(job, str) else next(iter(job)) for job in jobs]
    assert used == [f"passmuster/{name}" for name in orb["jobs"]]

    def commands(steps: Any) -> Iterator[str]:
        for step in steps:
            if "run" in step:
                run = step["run"]
                yield run if isinstance(run, str) else run["command"].rstrip("\n")
            elif "install" in step:
                yield from commands(orb["commands"]["install"]["steps"])

    shard, merge = (tuple(commands(orb["jobs"][name]["steps"])) for name in ("shard", "merge"))
    return Snippet(
        shard=shard,
        merge=merge,
        numbers=lambda index, total: {"CIRCLE_NODE_INDEX": str(index), "CIRCLE_NODE_TOTAL": str(total)},
    )


def _buildkite(code: str) -> Snippet:
    shard, _, merge = _yaml(code)["steps"]
    assert shard["artifact_paths"] == "records/**/*"
    download, *others = [word for word in merge["commands"] if word != INSTALL]
    assert download == 'buildkite-agent artifact download "records/*" .'
    return Snippet(
        shard=tuple(shard["commands"]),
        merge=(INSTALL, *others),
        numbers=lambda index, total: {
            "BUILDKITE_PARALLEL_JOB": str(index),
            "BUILDKITE_PARALLEL_JOB_COUNT": str(total),
        },
    )


def _azure(code: str) -> Snippet:
    shard, merge = (
        tuple(step["script"] for step in job["steps"] if "script" in step) for job in _yaml(code)["jobs"]
    )
    return Snippet(
        shard=shard,
        merge=tuple(line.replace("$(Pipeline.Workspace)", "..") for line in merge),
        numbers=lambda index, total: {
            "SYSTEM_JOBPOSITIONINPHASE": str(index + 1),
            "SYSTEM_TOTALJOBSINPHASE": str(total),
        },
        folder="../record-{index}",
    )


def _jenkins(code: str) -> Snippet:
    shard, merge = (tuple(re.findall(r"\bsh '(.+?)'", part)) for part in code.split("stage('merge')"))
    assert "name 'PASSMUSTER_JOB_INDEX'; values '0', '1', '2', '3'" in code
    assert "PASSMUSTER_JOB_TOTAL = '4'" in code
    return Snippet(
        shard=shard,
        merge=merge,
        numbers=lambda index, total: {
            "PASSMUSTER_JOB_INDEX": str(index),
            "PASSMUSTER_JOB_TOTAL": str(total),
        },
    )


def _yaml(code: str) -> Any:
    return parse_yaml(code.encode(), name=_PAGE)


_READERS = {"CircleCI": _circle, "Buildkite": _buildkite, "Azure Pipelines": _azure, "Jenkins": _jenkins}
HEADINGS = tuple(_READERS)
