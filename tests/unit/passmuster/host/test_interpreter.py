"""The interpreter of a queue's tests, and whether it can measure."""

from __future__ import annotations

import os
import re
import sys
import venv
from pathlib import Path

import pytest

from passmuster.host.interpreter import describe_interpreter, find_interpreter, why_no_coverage
from passmuster.launch.environment import base_python
from passmuster.model.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[4]


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """An interpreter without any package."""
    venv.create(tmp_path / "root/.venv", with_pip=False)
    return str(tmp_path / "root/.venv/bin/python")


def test_the_project_s_own_is_found(tmp_path: Path, bare: str) -> None:
    assert find_interpreter(None, tmp_path / "root", os.environ).path == bare


def test_an_active_environment_is_used_also_if_passmuster_is_installed_there(
    tmp_path: Path, bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    active = tmp_path / "root/.venv"
    monkeypatch.setattr(sys, "prefix", str(active))

    assert find_interpreter(None, tmp_path, {"VIRTUAL_ENV": str(active)}).path == bare


def test_the_private_environment_of_a_checkout_is_never_the_tests(tmp_path: Path) -> None:
    found = find_interpreter(None, tmp_path, {"VIRTUAL_ENV": str(REPOSITORY / ".venv")})

    assert found.path == base_python()


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        ("no-such-python", "is not on PATH: name its path"),
        ("/no/such/python", "cannot be executed"),
        ("/bin/true", "is not Python"),
    ],
)
def test_what_is_no_interpreter_is_named(tmp_path: Path, named: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        find_interpreter(named, tmp_path, os.environ)


def test_only_an_interpreter_with_coverage_can_measure(
    tmp_path: Path, bare: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "coverage").mkdir()
    monkeypatch.chdir(tmp_path)

    assert why_no_coverage(sys.executable, os.environ) == ""
    assert f"install it with {bare} -m pip install coverage" in why_no_coverage(bare, os.environ)
    assert "/no/such/python cannot be executed" in why_no_coverage("/no/such/python", os.environ)


def test_an_interpreter_is_described_by_its_version_and_its_packages() -> None:
    said = describe_interpreter(sys.executable, os.environ)

    assert re.fullmatch(r"CPython 3\.\d+\.\S+, packages [0-9a-f]{12}", said), said
    assert describe_interpreter("/bin/false", os.environ) == ""
    assert describe_interpreter("/nowhere/python", os.environ) == ""
