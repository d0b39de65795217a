"""Prints small tables and writes measured records as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MB = 1e6


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table's lines; its first column is text, the others are numbers and stand to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines: list[str] = []
    for row in (head, *rows):
        cells = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def print_table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table under its title."""
    print("\n".join(["", title, *format_table(head, rows), ""]), flush=True)


def write_json(output: Path | None, benchmark: str, records: Sequence[DataclassInstance]) -> None:
    """Write what was measured, with what it was measured on; without `output` nothing.

    Args:
        output: the file, replaced.
        benchmark: the subcommand's name.
        records: dataclasses.
    """
    if output is None:
        return
    document = {
        "benchmark": benchmark,
        "at": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "records": [dataclasses.asdict(record) for record in records],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_name(f"{output.name}.writing")
    beside.write_text(json.dumps(document, indent=1) + "\n")
    beside.replace(output)
    print(f"written: {output}")


_Record = TypeVar("_Record")


def read_records(output: Path | None, benchmark: str, kind: type[_Record]) -> list[_Record]:
    """Return the records of `write_json` in a file; none: there is no such file.

    Args:
        kind: the dataclass of all records; its sequences are tuples.

    Raises:
        ValueError: another benchmark has written it.
    """
    if output is None or not output.exists():
        return []
    document = json.loads(output.read_text())
    if document["benchmark"] != benchmark:
        raise ValueError(f"{output} has results of {document['benchmark']}: choose another --output")
    return [
        kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in record.items()})
        for record in document["records"]
    ]


def megabytes(value: float | None) -> str:
    """Return bytes as MB (10^6), for a table."""
    return "-" if value is None else f"{value / MB:,.0f}"


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Return the median and the range of some values, for a table."""
    ordered = sorted(values)
    middle = median(ordered)
    if len(ordered) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({ordered[0]:.{digits}f}-{ordered[-1]:.{digits}f})"


def median(values: Sequence[float]) -> float:
    """Return the median; 0 of nothing."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
