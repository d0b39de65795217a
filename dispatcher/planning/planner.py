"""Makes the plan: each discovered file with its first task, in the order in which they should start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from dispatcher.config.choices import Override
from dispatcher.config.model import TestConfig
from dispatcher.config.overrides import Overrides, group_limits
from dispatcher.history.file_history import FileHistory
from dispatcher.model.plan import PlannedFile, RunPlan, TestFile
from dispatcher.planning.isolation_policy import IsolationPolicy
from dispatcher.planning.order import Ordered, order_files
from passmuster.model.status import RunnerKind
from passmuster.model.task import CoverageRequest, Limits, TestTask


def make_plan(
    files: Sequence[TestFile],
    remembered: Mapping[str, FileHistory],
    config: TestConfig,
    *,
    run_id: str,
    slots: int,
    budget_bytes: int,
) -> RunPlan:
    """Return the plan of a run.

    Args:
        slots: how many files run at once; decides how densely the early tier is mixed in.
        budget_bytes: the memory budget of all files together; bounds each file and is the base of memory
            shares.
    """
    limits = Limits(
        timeout_s=config.timeout_s,
        grace_s=config.grace_period_s,
        output_bytes=config.output_limit_bytes,
    )
    coverage = CoverageRequest(source=config.coverage_source) if config.enable_coverage else None

    rules = Overrides(config.overrides)
    policy = IsolationPolicy(files, remembered, config, rules, run_id=run_id)

    def task_of(ordered: Ordered) -> TestTask:
        rule = rules.rule_for(ordered.file.path)
        return TestTask(
            run_id=run_id,
            file_path=ordered.file.path,
            runner=runner_of(ordered.file, rule, config),
            limits=_limits(rule, limits, budget_bytes=budget_bytes),
            group=rule.group or "",
            retries=rule.retries,
            isolation=policy.isolation(ordered.file),
            exclusive=policy.must_be_exclusive(ordered.file),
            predicted_s=ordered.predicted_s,
            predicted_bytes=ordered.predicted_bytes,
            predicted_cpu_s=ordered.predicted_cpu_s,
            coverage=coverage,
            selection=ordered.file.selection,
        )

    return RunPlan(
        run_id=run_id,
        groups=tuple(group_limits(config).items()),
        files=tuple(
            policy.mark(
                PlannedFile(file=ordered.file, task=task_of(ordered), order_reason=ordered.order_reason)
            )
            for ordered in _shuffled(
                order_files(files, policy.remembered, slots=slots, budget_bytes=budget_bytes), config.shuffle
            )
        ),
    )


def _shuffled(ordered: Sequence[Ordered], seed: str | None) -> Sequence[Ordered]:
    """Return the files in a random order, by the seed and their paths alone; without a seed, as they are."""
    if seed is None:
        return ordered
    from hashlib import blake2b  # Only few runs shuffle.

    def rank(one: Ordered) -> bytes:
        return blake2b(f"{seed}\0{one.file.path}".encode(errors="surrogateescape")).digest()

    return [structs.replace(one, order_reason="shuffled") for one in sorted(ordered, key=rank)]


def runner_of(file: TestFile, rule: Override, config: TestConfig) -> RunnerKind:
    """Return what runs a file: as its override or the user says, else as its layout says."""
    asked = rule.runner or config.usual_runner
    return file.runner if asked is RunnerKind.AUTO else asked


def _limits(rule: Override, limits: Limits, *, budget_bytes: int) -> Limits:
    """Return the limits of a file: those of the run, except where its override differs."""
    if rule.timeout_s is not None:
        limits = structs.replace(limits, timeout_s=rule.timeout_s)
    if rule.memory is not None:
        memory_bytes = max(1, min(rule.memory.resolve(budget_bytes), budget_bytes))
        limits = structs.replace(limits, memory_bytes=memory_bytes)
    return limits
