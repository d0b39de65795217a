"""Finds the coverage data that the files of a run delivered, and names those that delivered none."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from dispatcher.run.results import TestResults

_JOURNAL_SUFFIXES = ("-journal", "-wal", "-shm")
"""SQLite's own files beside the data of a process that was killed while it saved."""


class CollectedData(Struct, frozen=True, kw_only=True):
    """What there is to combine.

    Args:
        data_files: absolute paths of coverage data files, sorted.
        files_without_data: labels of the files that passed and yet delivered no data.
        roots: the project's roots in the data of workers elsewhere, sorted.
    """

    data_files: tuple[str, ...]
    files_without_data: tuple[str, ...]
    roots: tuple[str, ...] = ()


def collect_data(results: TestResults) -> CollectedData:
    """Return the data of each file's attempt that counts.

    The data of earlier attempts is left out: a sequential run without retries would not have it. Files
    that failed count like the others, as far as they got.
    """
    data_files: set[str] = set()
    without_data: list[str] = []
    roots: set[str] = set()
    for record in results.records:
        delivered = [path for path in record.final.coverage_files if _is_data_file(path)]
        data_files.update(delivered)
        if delivered and record.final.coverage_root:
            roots.add(record.final.coverage_root)
        if record.status.is_pass and not delivered:
            without_data.append(record.file.label)
    return CollectedData(
        data_files=tuple(sorted(data_files)),
        files_without_data=tuple(without_data),
        roots=tuple(sorted(roots)),
    )


def _is_data_file(path: str) -> bool:
    return not path.endswith(_JOURNAL_SUFFIXES) and Path(path).is_file()
