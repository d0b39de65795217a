"""The pictures of the terminal show what the command prints now."""

from __future__ import annotations

import pytest

from docs.images import make


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
