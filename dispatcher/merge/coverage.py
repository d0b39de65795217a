"""Reports the coverage of records by combining the combined data of each machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import structs

from dispatcher.config.model import TestConfig
from dispatcher.coverage.combine import CollectedData, CoverageReport, merge_coverage
from dispatcher.coverage.request import plan_coverage
from dispatcher.discovery.layout import resolve_layout
from dispatcher.merge.reader import RecordedRun
from passmuster.host.interpreter import find_interpreter


def report_recorded_coverage(
    records: Sequence[RecordedRun],
    config: TestConfig,
    environ: Mapping[str, str],
    *,
    scratch: Path,
) -> CoverageReport:
    """Combine the data of all records of one run in a temporary directory, and write the reports.

    Raises:
        ConfigurationError: the interpreter has no coverage, or a report cannot be written.
        PassmusterError: there is nothing to report.
        InfrastructureError: the data could not be combined, or a report could not be written.
    """
    interpreter = find_interpreter(config.python, config.root, environ)
    workdir = resolve_layout(config).tests_dir
    if not config.coverage_source:
        config = structs.replace(config, coverage_source=_measured(records))
    plan = plan_coverage(config, interpreter=interpreter.path, workdir=workdir, run_directory=scratch)
    return merge_coverage(
        plan,
        CollectedData(
            data_files=tuple(str(record.coverage) for record in records if record.coverage is not None),
            files_without_data=tuple(label for record in records for label in record.files_without_data),
            roots=tuple(sorted({record.header.root for record in records})),
        ),
    )


def _measured(records: Sequence[RecordedRun]) -> tuple[str, ...]:
    """Return the measured source of the shards: a wider report would count files that they left out."""
    for record in records:
        for planned in record.started.plan.files if record.started is not None else ():
            if planned.task.coverage is not None:
                return planned.task.coverage.source
    return ()
