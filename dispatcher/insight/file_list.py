"""Formats what `--list` and `--dry-run` print with `--output json`: one document. Pure.

The types below are the format; `docs/reference/file_list.schema.json` is made from them. Sizes are bytes
(`_bytes`), times seconds (`_s`); an unknown value is null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from msgspec import Meta, Struct

from dispatcher.model.plan import FileKind, PlannedFile, RunPlan, TestFile
from dispatcher.planning.simulation import simulate_plan
from dispatcher.reporters.run_document import document_line
from passmuster.host.capacity import Capacity
from passmuster.host.interpreter import ProjectInterpreter
from passmuster.model.version import VERSION

FILE_LIST_VERSION = 1
"""Counts up when a field changes its meaning or goes away; new fields may appear at any time."""


class PlannedEntry(Struct, frozen=True, kw_only=True):
    """How a file would run."""

    order_reason: str
    predicted_s: float | None
    predicted_bytes: Annotated[int | None, Meta(description="The memory that is reserved for it.")]
    parts: Annotated[int, Meta(description="In how many parts it runs; 0: as a whole.")]


class ListedFile(Struct, frozen=True, kw_only=True):
    """A file that would run."""

    path: str
    label: Annotated[
        str, Meta(description="Its path as printed, relative to the working directory of the tests.")
    ]
    kind: FileKind
    tests: Annotated[
        list[str],
        Meta(description="The tests in it that were named, or that failed last with `--failed`; empty: all."),
    ]
    reasons: Annotated[list[str], Meta(description="Why a change can affect it; empty without `--changed`.")]
    planned: Annotated[PlannedEntry | None, Meta(description="Null with `--list`.")]


class RunForecast(Struct, frozen=True, kw_only=True):
    """What the whole run would take."""

    interpreter: str
    slots: int
    budget_bytes: int
    predicted_s: Annotated[float | None, Meta(description="Null if no file has ever run.")]
    predicted_peak_bytes: int
    unknown_files: Annotated[
        int, Meta(description="How many never ran, and are assumed to take the median time.")
    ]


class FileListDocument(Struct, frozen=True, kw_only=True):
    """The files that would run: by path, or with `--dry-run` in the order in which they would start."""

    version: int
    passmuster: Annotated[str, Meta(description="The version of the program.")]
    layout: Annotated[str, Meta(description="What decides which files are tests, and why.")]
    files: list[ListedFile]
    forecast: Annotated[RunForecast | None, Meta(description="Null with `--list`, and without any file.")]


def file_list_json(
    files: Sequence[TestFile] | Sequence[PlannedFile],
    reasons: Mapping[str, Sequence[str]],
    *,
    layout: str,
    forecast: RunForecast | None = None,
) -> str:
    """Return the document of `--list`, or with planned files that of `--dry-run`, on one line.

    Args:
        reasons: why a change can affect each file, by path.
    """
    document = FileListDocument(
        version=FILE_LIST_VERSION,
        passmuster=VERSION,
        layout=layout,
        files=[_listed(file, reasons) for file in files],
        forecast=forecast,
    )
    return f"{document_line(document)}\n"


def forecast_run(plan: RunPlan, capacity: Capacity, interpreter: ProjectInterpreter) -> RunForecast:
    """Return what a planned run would take."""
    simulated = simulate_plan(plan, capacity)
    return RunForecast(
        interpreter=str(interpreter.path),
        slots=capacity.slots,
        budget_bytes=capacity.budget_bytes,
        predicted_s=simulated.wall_s,
        predicted_peak_bytes=simulated.peak_bytes,
        unknown_files=simulated.unknown,
    )


def _listed(one: TestFile | PlannedFile, reasons: Mapping[str, Sequence[str]]) -> ListedFile:
    file, planned = (one.file, _planned(one)) if isinstance(one, PlannedFile) else (one, None)
    return ListedFile(
        path=file.path,
        label=file.label,
        kind=file.kind,
        tests=[*file.selection.tests, *file.selection.failed],
        reasons=list(reasons.get(file.path, ())),
        planned=planned,
    )


def _planned(planned: PlannedFile) -> PlannedEntry:
    task = planned.task
    return PlannedEntry(
        order_reason=planned.order_reason,
        predicted_s=task.predicted_s,
        predicted_bytes=task.predicted_bytes,
        parts=len(task.parts),
    )
