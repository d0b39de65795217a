"""Which files, and which tests in them, a run is about: a part of the table of settings (`model.py`)."""

# Without `from __future__ import annotations`: the annotations are the table.

from functools import partial
from pathlib import Path
from typing import Annotated

from msgspec import Struct

from passmuster.settings.setting import Conflict, Group, Requirement, Setting, setting, switch, variable_name
from passmuster.settings.values import (
    ARGUMENTS,
    COMMIT,
    MERGE_BASE,
    PATH,
    RANDOM,
    SEED,
    TEST_IDS,
    TEXT,
    TEXTS,
    count,
    optional,
)

MAX_FILES = 10_000_000
"""A higher number of files is a typing error."""

_selection = partial(setting, group=Group.SELECTION)


class SelectionSettings(Struct, frozen=True, kw_only=True):
    """What runs."""

    @property
    def selects_by_history(self) -> bool:
        """Whether only files run that the history selects."""
        return bool(self.nothing_selected)

    @property
    def nothing_selected(self) -> str:
        """The line for the user if the history selects no file; empty: it selects none."""
        if self.failed_only:
            return "No file failed when it last ran"
        return "No file can be affected by a change" if self.changed is not None else ""

    paths: Annotated[
        tuple[str, ...],
        Setting(
            name="paths",
            group=Group.SELECTION,
            type=TEXTS,
            summary="files, directories, or tests (FILE::TEST, FILE:LINE) to run",
            default="everything",
            in_file=False,
        ),
    ] = ()
    root: Annotated[
        Path,
        _selection(
            "root", PATH, "the project's root directory", default="the current directory", in_file=False
        ),
    ] = Path()
    include_integration: Annotated[
        bool, switch("integration", "run integration tests too", group=Group.SELECTION)
    ] = False
    failed_only: Annotated[
        bool,
        switch(
            "failed",
            "run only the tests that failed in their last run, or their files",
            group=Group.SELECTION,
            aliases=("--lf", "--last-failed"),
            in_file=False,
            needs=(Requirement(name="history", what="the history"),),
        ),
    ] = False
    changed: Annotated[
        str | None,
        Setting(
            name="changed",
            group=Group.SELECTION,
            type=COMMIT,
            summary="run only files that may be affected by what differs from this commit, by what they read"
            " when they last passed; without a commit, from the one that the main branch shares",
            default="everything runs",
            options=("--changed",),
            constants=(("--changed", MERGE_BASE),),
            in_file=False,
            needs=(Requirement(name="history", what="the history"),),
            conflicts=(Conflict(name="failed", why="each selects files; files that failed always run"),),
        ),
    ] = None
    keyword: Annotated[
        str | None,
        _selection(
            "keyword",
            TEXT,
            "run only tests whose names match this expression, as -k of pytest or unittest",
            default="all",
            short="-k",
            in_file=False,
        ),
    ] = None
    marker: Annotated[
        str | None,
        _selection(
            "marker",
            TEXT,
            "run only tests with markers that match this expression, as -m of pytest",
            default="all",
            short="-m",
            in_file=False,
        ),
    ] = None
    deselected: Annotated[
        tuple[str, ...], _selection("deselect", TEST_IDS, "leave out this test (FILE::TEST); may be repeated")
    ] = ()
    pytest_arguments: Annotated[
        tuple[str, ...],
        Setting(
            name="pytest-args",
            group=Group.SELECTION,
            type=ARGUMENTS,
            summary="further arguments of the pytest of every file; also all arguments after --",
            variables=(variable_name("pytest-args"),),
        ),
    ] = ()
    quarantine: Annotated[
        tuple[str, ...],
        _selection(
            "quarantine",
            TEST_IDS,
            "run this test (FILE::TEST) and report it, but do not fail its file; may be repeated",
        ),
    ] = ()
    quarantine_file: Annotated[
        Path | None,
        _selection("quarantine-file", PATH, "a file with one quarantined test (FILE::TEST) on each line"),
    ] = None
    shuffle: Annotated[
        str | None,
        Setting(
            name="shuffle",
            group=Group.SELECTION,
            type=SEED,
            summary="run files, and the tests in them, in a random order; repeat one with --shuffle=SEED",
            default="no",
            options=("--shuffle",),
            constants=(("--shuffle", RANDOM),),
            variables=(variable_name("shuffle"),),
        ),
    ] = None
    limit: Annotated[
        int | None,
        _selection(
            "limit",
            optional(count(minimum=1, maximum=MAX_FILES)),
            "run at most this many files",
            default="no limit",
            legacy="CI_TEST_LIMIT",
        ),
    ] = None
