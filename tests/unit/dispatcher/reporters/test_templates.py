"""Templates escape every printed value, and cost nothing before a page is written."""

from __future__ import annotations

import html
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from dispatcher.reporters.templates import MAX_PRINTED_CHARS, make_environment

REPOSITORY = Path(__file__).resolve().parents[4]


def printed(template: str, **values: object) -> str:
    environment = make_environment(Path(), escape=html.escape, filters={"twice": lambda text: text * 2})
    return environment.from_string(template).render(values)


def test_every_value_is_escaped_and_its_control_characters_are_visible() -> None:
    hostile = "<b>\x1b[31m\u202e\n\x00"

    assert printed("<i>{{ text }}</i>", text=hostile) == "<i>&lt;b&gt;\\u202e\\n\\x00</i>"
    assert printed("{{ text|twice }}", text="<") == "&lt;&lt;"
    assert printed("{% macro m(x) %}<i>{{ x }}</i>{% endmacro %}{{ m(text) }}", text="<") == "<i>&lt;</i>"
    assert printed('<a title="{{ text }}">', text="\"'") == '<a title="&quot;&#x27;">'


def test_a_long_value_shows_both_its_ends() -> None:
    shown = printed("{{ text }}", text="a" + "x" * 10_000 + "z")

    assert shown[0] + shown[-1] == "az"
    assert f"{10_002 - MAX_PRINTED_CHARS} characters left out" in shown


def test_an_unknown_value_fails_instead_of_printing_nothing() -> None:
    with pytest.raises(UndefinedError):
        printed("{{ unknown }}")


def test_reporters_import_jinja_only_when_they_write_a_page() -> None:
    program = (
        "import sys, dispatcher.reporters.factory, dispatcher.reporters.html.reporter, "
        "dispatcher.reporters.ci.summary; sys.exit('jinja2' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=False).returncode == 0
