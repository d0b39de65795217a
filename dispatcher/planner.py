"""Makes the plan: each discovered file with its first task, in the order in which they should start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.config.model import TestConfig
from dispatcher.plan import Plan, PlannedFile, TestFile
from dispatcher.schedule.order import Ordered, order
from dispatcher.schedule.record import FileHistory
from passmuster.task import CoverageRequest, Limits, TestTask


def make_plan(
    files: Sequence[TestFile],
    remembered: Mapping[str, FileHistory],
    config: TestConfig,
    *,
    run_id: str,
    slots: int,
) -> Plan:
    """Return the plan of a run.

    Args:
        files: what was discovered.
        remembered: what earlier runs know of them, by path.
        config: what the user wants.
        run_id: names the run.
        slots: how many files run at once; decides how densely the early lane is mixed in.
    """
    limits = Limits(
        timeout_s=config.timeout_s,
        grace_s=config.grace_s,
        output_bytes=config.output_limit_bytes,
    )
    coverage = CoverageRequest(source=config.coverage_source) if config.enable_coverage else None

    def task_of(ordered: Ordered) -> TestTask:
        return TestTask(
            run_id=run_id,
            file_path=ordered.file.path,
            runner=config.runner,
            limits=limits,
            predicted_s=ordered.predicted_s,
            predicted_bytes=ordered.predicted_bytes,
            coverage=coverage,
        )

    return Plan(
        run_id=run_id,
        files=tuple(
            PlannedFile(file=ordered.file, task=task_of(ordered), because=ordered.because)
            for ordered in order(files, remembered, slots=slots)
        ),
    )
