"""The pictures of the terminal show what the command prints now."""

from __future__ import annotations

from docs.images import make


def test_the_pictures_of_the_terminal_are_up_to_date() -> None:
    middle, end = make.run()

    for name, lines in (("running", middle), ("failure", end)):
        shown = make.shapes(make.lines_in(make.HERE / f"{name}.svg"))
        assert make.shapes(lines) == shown, "run: .venv/bin/python docs/images/make.py"
