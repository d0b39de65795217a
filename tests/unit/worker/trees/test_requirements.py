"""The simple lines of a requirements.txt."""

from __future__ import annotations

import pytest

from worker.trees.setup import missing_requirements, parse_requirements


@pytest.mark.parametrize(
    ("line", "name", "version"),
    [
        ("requests", "requests", ""),
        ("requests==2.31.0", "requests", "2.31.0"),
        ("  Typing_Extensions >= 4 , < 5  # why", "typing-extensions", ""),
        ("zope.interface ~= 6.0", "zope-interface", ""),
        ("uvicorn[standard]==0.1", "uvicorn", "0.1"),
        ("thing == 1.*", "thing", ""),
        ("thing===1.0", "thing", ""),
        ("thing>=1,==1.5", "thing", ""),
        ("thing (==1.0)", "thing", ""),
        ("thing @ https://example.invalid/thing.whl", "thing", ""),
        ("thing==1.0 \\\n    --hash=sha256:abc \\\n    --hash=sha256:def", "thing", "1.0"),
        ("torch==2.1.0+cpu", "torch", "2.1.0+cpu"),
    ],
)
def test_a_simple_line_names_a_package(line: str, name: str, version: str) -> None:
    assert parse_requirements(line) == {name: version}


@pytest.mark.parametrize(
    "line",
    [
        "",
        "# requests",
        "-r other.txt",
        "-e .",
        "--index-url https://example.invalid",
        "./local/package",
        "https://example.invalid/thing.whl",
        'colorama==1.0; sys_platform == "win32"',
        "a b",
        "\x00",
    ],
)
def test_complex_lines_are_ignored(line: str) -> None:
    assert parse_requirements(line) == {}


def test_missing_packages_are_listed() -> None:
    wanted = parse_requirements("a\nb==1.0\nc==2.0\nd==1\ne==1.0\nf==1.0\n")
    installed = {"c": "3.0", "d": "1.0.0", "e": "1.0+local", "f": "v1.0"}

    assert missing_requirements(wanted, installed) == ("a", "b==1.0", "c==2.0 (it has 3.0)")
