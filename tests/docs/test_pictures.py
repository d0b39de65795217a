"""The pictures show what the command prints, and what the reporters make, now."""

from __future__ import annotations

import pytest

from docs.images import make, report_run


def test_the_pictures_of_the_terminal_are_up_to_date() -> None:
    middle, end = make.run()

    for name, lines in (("running", middle), ("failure", end)):
        shown = make.shapes(make.lines_in(make.HERE / f"{name}.svg"))
        assert make.shapes(lines) == shown, "run: .venv/bin/python docs/images/make.py"


@pytest.mark.parametrize("columns", make.WIDTHS)
def test_the_end_of_a_run_of_300_files_looks_like_that_of_a_small_run(columns: int) -> None:
    _, end = make.run_project(8, columns)

    shown = make.shapes(make.lines_in(make.HERE / f"failure_300_{columns}.svg", columns=columns))
    assert make.shapes(end) == shown, "run: .venv/bin/python docs/images/make.py 300"


@pytest.mark.parametrize("columns", make.WIDTHS)
@pytest.mark.parametrize("files", [300, 10000])
def test_a_long_run_looks_like_a_small_one_while_it_runs(files: int, columns: int) -> None:
    small = make.shapes(make.lines_in(make.HERE / "running.svg"))

    shown = make.shapes(make.lines_in(make.HERE / f"running_{files}_{columns}.svg", columns=columns))
    assert shown == small, f"run: .venv/bin/python docs/images/make.py {files}"


@pytest.mark.parametrize("name", ["report.png", "step_summary.png"])
def test_the_pictures_of_reports_are_up_to_date(name: str) -> None:
    source = report_run.make_sources()[name]

    made_of = report_run.digest_in(report_run.HERE / name)
    assert made_of == report_run.digest(source), "see docs/images/make_report_picture.py"
