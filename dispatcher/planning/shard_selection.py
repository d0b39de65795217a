"""What this machine has to run of a run that is split, worked out alike on every machine. Pure.

All that goes into the split is the same everywhere: the files' paths and sizes, the configuration, and a
history that all were given. What differs from one machine to the next stays out of it: modification times,
what this machine remembers, and how large it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, structs

from dispatcher.config.model import TestConfig
from dispatcher.history.file_history import FileHistory, ForkObservation
from dispatcher.model.plan import RunPlan, ShardPlan, TestFile
from dispatcher.model.shard_option import Shard
from dispatcher.planning.planner import make_plan
from dispatcher.planning.shard_assignment import assign_shards
from dispatcher.planning.simulation import simulate_run
from passmuster.host.capacity import CI_CPUS, CI_MEMORY_BYTES, DEFAULT_BUDGET_BYTES, Capacity
from passmuster.model.task import TestTask

_FORMAT = "passmuster shards 1"
"""Starts what is digested, and changes when the same split would be digested otherwise."""


class ShardSelection(Struct, frozen=True, kw_only=True):
    """The part of a run that this machine has.

    Args:
        files: its files, sorted by path.
        plan: how the whole is split.
        known: what the history that all were given says of all files, as it holds for them here.
        notices: what the user should know, a line each.
    """

    files: tuple[TestFile, ...]
    plan: ShardPlan
    known: Mapping[str, FileHistory]
    notices: tuple[str, ...]

    def of_run(self, plan: RunPlan, capacity: Capacity) -> RunPlan:
        """Return the plan of this machine's files with what it is a part of."""
        forecast = simulate_run(
            [planned.task for planned in plan.files],
            slots=capacity.slots,
            budget_bytes=capacity.budget_bytes,
            idle_cpus=capacity.idle_cpus,
            groups=dict(plan.groups),
        )
        return structs.replace(plan, shard=structs.replace(self.plan, predicted_s=forecast.wall_s))


def part_of(
    files: Sequence[TestFile],
    shard: Shard,
    config: TestConfig,
    *,
    history: Mapping[str, FileHistory] | None,
) -> ShardSelection:
    """Split a run and return the part that is asked for.

    Args:
        files: those of the whole run, as found on this machine.
        shard: which part.
        config: what the user wants.
        history: what all machines were given to split by; None: nothing.
    """
    remembered = history or {}
    known = {file.path: _as_found(remembered[file.path], file) for file in files if file.path in remembered}
    slots, budget_bytes = _nominal_slots(config), _nominal_budget_bytes(config)
    everything = make_plan(files, known, config, run_id="", slots=slots, budget_bytes=budget_bytes)
    tasks = [planned.task for planned in everything.files]
    numbers = assign_shards(
        tasks, shard.total, slots=slots, budget_bytes=budget_bytes, groups=dict(everything.groups)
    )
    whole = tuple(sorted(numbers.items()))
    return ShardSelection(
        files=tuple(file for file in files if numbers[file.path] == shard.number),
        plan=ShardPlan(
            shard=shard,
            whole=whole,
            digest=split_digest(shard.total, whole),
            history_digest=_digest(_predictions(tasks)) if known else "",
            slots=slots,
            budget_bytes=budget_bytes,
        ),
        known=known,
        notices=_notices(config, is_known=bool(known)) if files else (),
    )


def split_digest(total: int, whole: Iterable[tuple[str, int]]) -> str:
    """Return what machines that split a run alike have in common.

    Args:
        total: how many shards there are.
        whole: every file with the number of its shard, sorted by path.
    """
    return _digest((str(total), *(f"{path}\0{number}" for path, number in whole)))


def _as_found(known: FileHistory, file: TestFile) -> FileHistory:
    """Return what is known of a file that was written anew, as a clone's files are, and has the same text.

    Whether it has is told by its size alone. What could be wrong then costs time at most: a file may be
    spawned or kept from company in vain, but none is taken to be the same forked and spawned.
    """
    forking = ForkObservation.UNKNOWN if known.forking is ForkObservation.CONFIRMED else known.forking
    return structs.replace(known, mtime_ns=file.mtime_ns, forking=forking)


def _nominal_slots(config: TestConfig) -> int:
    return CI_CPUS if config.max_workers is None else config.max_workers


def _nominal_budget_bytes(config: TestConfig) -> int:
    if config.memory_budget is None:
        return DEFAULT_BUDGET_BYTES
    return max(1, config.memory_budget.resolve(CI_MEMORY_BYTES))


def _predictions(tasks: Iterable[TestTask]) -> list[str]:
    """Return what the split goes by besides the paths, a text for each file that something is known of."""
    return sorted(
        f"{task.file_path}\0{task.predicted_s!r}\0{task.predicted_bytes!r}\0{task.alone}"
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
