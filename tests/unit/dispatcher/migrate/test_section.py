"""The section is added to a configuration file without a change to what stands there, or not at all."""

from __future__ import annotations

import tomllib

import pytest

from dispatcher.migrate.section import check_toml, with_section
from passmuster.model.errors import ConfigurationError

EXCLUDE = ("tests/linked", 'a "b"/é')


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"# mine\n",
        b"[project]\nname = 'x'",
        b"[tool.ruff]\nx = 1\n\n\n",
        b"[project]\r\nname = 'x'\r\n",
        b"x = 1 # no newline",
        b"tool.ruff.x = 1\n",
    ],
)
def test_a_file_keeps_its_bytes_in_front_of_the_section(content: bytes) -> None:
    after = with_section(content, EXCLUDE)

    assert after is not None
    assert after.startswith(content)
    assert tomllib.loads(after.decode())["tool"]["passmuster"] == {"exclude": list(EXCLUDE)}
    assert (b"\r\n" in content) == (b"\r\n" in after)
    assert after.count(b"\n") == after.count(b"\r\n") or b"\r" not in after


def test_a_file_is_made_where_there_is_none() -> None:
    assert (with_section(None, ["tests/x"]) or b"").startswith(b'[tool.passmuster]\nexclude = ["tests/x"]')


@pytest.mark.parametrize("content", [b"tool = {x = 1}\n", b"[[tool]]\nx = 1\n"])
def test_what_cannot_be_added_to_is_left_alone(content: bytes) -> None:
    assert with_section(content, EXCLUDE) is None


def test_a_name_that_is_no_text_cannot_be_written() -> None:
    assert with_section(b"", ["tests/\udcff"]) is None


@pytest.mark.parametrize(
    ("content", "has_section"),
    [
        (b"[tool.passmuster]\n", True),
        (b"[[tool.passmuster.overrides]]\nfiles=['x']\n", True),
        (b"tool.passmuster.timeout = '5s'\n", True),
        (b"[tool.other]\npassmuster = 1\n", False),
        (b"# [tool.passmuster]\n", False),
    ],
)
def test_a_section_is_recognized(content: bytes, *, has_section: bool) -> None:
    assert check_toml(content) is has_section


@pytest.mark.parametrize("content", [b"[tool", b"\xff", b"\xef\xbb\xbfx = 1"])
def test_a_broken_file_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(
        ConfigurationError, match=r"pyproject.toml is not valid TOML: .*; repair it first"
    ) as raised:
        check_toml(content)

    assert "\n" not in str(raised.value)
