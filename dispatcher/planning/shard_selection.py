"""Selects the files of this machine's shard, consistently on every machine. Pure.

The split uses only what is the same everywhere: the files' paths and sizes, the configuration, and the shared
history. It ignores what differs between machines: modification times, this machine's own history, and its
size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, structs

from dispatcher.config.model import TestConfig
from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.model.plan import RunPlan, ShardPlan, TestFile
from dispatcher.model.shard_option import Shard
from dispatcher.planning.parts import in_parts, with_parts
from dispatcher.planning.planner import make_plan
from dispatcher.planning.shard_assignment import assign_shards
from dispatcher.planning.simulation import simulate_plan
from passmuster.host.capacity import CI_CPUS, CI_MEMORY_BYTES, DEFAULT_BUDGET_BYTES, Capacity
from passmuster.model.task import TestTask
from passmuster.model.test_selection import FilePart

_FORMAT = "passmuster shards 1"
"""Starts what is digested, and changes when the same split would be digested otherwise."""


class ShardSelection(Struct, frozen=True, kw_only=True):
    """The shard that this machine runs.

    Args:
        parts: of each file that runs in parts, those of this shard, by path.
        known: the shared history of all files, as it applies to the files here.
    """

    files: tuple[TestFile, ...]
    plan: ShardPlan
    known: Mapping[str, FileHistory]
    notices: tuple[str, ...]
    parts: Mapping[str, tuple[FilePart, ...]]

    def of_run(self, plan: RunPlan, capacity: Capacity) -> RunPlan:
        """Return the plan of this machine's files, completed with the shard, its parts and its prediction."""
        files = (
            in_parts(one, self.parts[one.file.path]) if one.file.path in self.parts else one
            for one in plan.files
        )
        plan = structs.replace(plan, files=tuple(files))
        forecast = simulate_plan(plan, capacity)
        return structs.replace(plan, shard=structs.replace(self.plan, predicted_s=forecast.wall_s))


def select_shard(
    files: Sequence[TestFile],
    shard: Shard,
    config: TestConfig,
    *,
    history: Mapping[str, FileHistory] | None,
) -> ShardSelection:
    """Split a run and return the requested shard.

    Args:
        history: the shared history that balances the split; None: there is none.
    """
    remembered = history or {}
    known = {file.path: _as_found(remembered[file.path], file) for file in files if file.path in remembered}
    slots = CI_CPUS if config.max_workers is None else config.max_workers
    budget_bytes = DEFAULT_BUDGET_BYTES
    if config.memory_budget is not None:
        budget_bytes = max(1, config.memory_budget.resolve(CI_MEMORY_BYTES))
    everything = with_parts(
        make_plan(files, known, config, run_id="", slots=slots, budget_bytes=budget_bytes),
        known,
        config,
        slots=slots * shard.total,
        budget_bytes=budget_bytes * shard.total,
    )
    tasks = [task for planned in everything.files for task in planned.task.as_parts]
    numbers = assign_shards(
        tasks, shard.total, slots=slots, budget_bytes=budget_bytes, groups=dict(everything.groups)
    )
    whole = tuple(sorted(numbers.items()))
    own = [task for task in tasks if numbers[task.key] == shard.number]
    paths = {task.file_path for task in own}
    return ShardSelection(
        files=tuple(file for file in files if file.path in paths),
        parts=_parts_by_path(own),
        plan=ShardPlan(
            shard=shard,
            whole=whole,
            digest=split_digest(shard.total, whole, files),
            history_digest=_digest(_predictions(tasks)) if known else "",
            slots=slots,
            budget_bytes=budget_bytes,
        ),
        known=known,
        notices=_notices(config, is_known=bool(known)) if files else (),
    )


def _parts_by_path(tasks: Iterable[TestTask]) -> dict[str, tuple[FilePart, ...]]:
    """Return the parts that tasks run, in their order, by the path of their file."""
    found: dict[str, list[FilePart]] = {}
    for task in tasks:
        if task.selection.part is not None:
            found.setdefault(task.file_path, []).append(task.selection.part)
    return {path: tuple(parts) for path, parts in found.items()}


def split_digest(total: int, whole: Iterable[tuple[str, int]], files: Iterable[TestFile] = ()) -> str:
    """Return a digest that is equal on machines with the same split of the same tests.

    Args:
        whole: every file with the number of its shard, sorted by path.
        files: those of which only some tests run, among others, in any order.
    """
    words = {file.path: file.selection.as_words() for file in files}
    return _digest(
        (str(total), *("\0".join((path, str(number), *words.get(path, ()))) for path, number in whole))
    )


def _as_found(known: FileHistory, file: TestFile) -> FileHistory:
    """Return the history of a file that was written anew with the same text, as the files of a clone are.

    Only the size shows whether the text is the same. A mistake costs time at most: a file may be spawned or
    run exclusively without need, but none is assumed to give the same result forked and spawned.
    """
    is_harmful = known.forking is ForkObservation.HARMFUL
    forking = ForkObservation.HARMFUL if is_harmful else ForkObservation.UNKNOWN
    return structs.replace(known, mtime_ns=file.mtime_ns, forking=forking)


def _predictions(tasks: Iterable[TestTask]) -> list[str]:
    """Return the inputs of the split other than the paths, a text for each file with a history."""
    return sorted(
        f"{task.key}\0{task.predicted_s!r}\0{task.predicted_bytes!r}\0{task.exclusive}"
        for task in tasks
        if task.predicted_s is not None or task.predicted_bytes is not None
    )


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256(_FORMAT.encode())
    for text in texts:
        digest.update(b"\n" + text.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _notices(config: TestConfig, *, is_known: bool) -> tuple[str, ...]:
    notices = []
    if config.history_from is None:
        notices.append("the shards are balanced by the number of files: --history-from balances them by time")
    elif not is_known:
        notices.append(
            f"the shards are balanced by the number of files: {config.history_from} knows none of these"
        )
    if config.enable_coverage and config.coverage_fail_under is not None:
        notices.append("coverage-fail-under is not applied to one shard: merge applies it to all of them")
    return tuple(notices)
