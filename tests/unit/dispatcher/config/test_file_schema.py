"""The JSON schema accepts what a run accepts in the configuration file, and refuses unknown keys."""

from __future__ import annotations

import tomllib
from pathlib import Path

import jsonschema
import pytest

from dispatcher.config.file_schema import file_schema
from dispatcher.config.load import load_config
from dispatcher.config.settings import SETTINGS
from passmuster.model.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[4]


def problem(text: str) -> str:
    """Return what the schema says of a file; empty: nothing."""
    try:
        jsonschema.validate(tomllib.loads(text), file_schema(), jsonschema.Draft7Validator)
    except jsonschema.ValidationError as error:
        return str(error.message)
    return ""


def test_the_schema_is_valid() -> None:
    jsonschema.Draft7Validator.check_schema(file_schema())


@pytest.mark.parametrize("file", ["pyproject.toml", "examples/shop/pyproject.toml"])
def test_the_tables_of_this_repository_are_valid(file: str) -> None:
    assert problem((REPOSITORY / file).read_text()) == ""


def test_it_has_every_setting_of_the_file_with_its_help_text() -> None:
    properties = file_schema()["properties"]["tool"]["properties"]["passmuster"]["properties"]  # type: ignore[index]

    in_file = {row.name for row in SETTINGS if row.in_file}
    assert {name for name, schema in properties.items() if not schema.get("deprecated")} == in_file
    assert all(schema["description"] for schema in properties.values())
    assert properties["overcommit"]["deprecated"]


ACCEPTED = [
    "jobs = 4",
    "jobs = 'none'",
    "timeout = '90s'",
    "timeout = 1.5",
    "integration = true",
    "exclude = ['a', 'b']",
    "exclude = 'a'",
    "isolation = 'spawn'",
    "command = ['{python}', '{file}']",
    "[[tool.passmuster.overrides]]\nfiles = ['a*']\ntimeout = '5m'\nserial = true",
    "[tool.passmuster.groups.db]\nmax = 2",
]
REFUSED = [
    "timout = 5",
    "root = '.'",
    "jobs = 0",
    "jobs = 'many'",
    "integration = 'yes'",
    "isolation = 'jail'",
    "exclude = [1]",
    "[[tool.passmuster.overrides]]\ntimeout = '5m'",
    "[[tool.passmuster.overrides]]\nfiles = ['a*']\njobs = 2",
    "[tool.passmuster.groups.db]\nmax = 0",
    "[tool.passmuster.groups.db]\nmost = 1",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_it_accepts_what_a_run_accepts(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.passmuster]\n{text}\n")

    load_config((), {}, tmp_path)
    assert problem(f"[tool.passmuster]\n{text}\n") == ""


@pytest.mark.parametrize("text", REFUSED)
def test_it_refuses_what_a_run_refuses(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.passmuster]\n{text}\n")

    with pytest.raises(ConfigurationError):
        load_config((), {}, tmp_path)
    assert problem(f"[tool.passmuster]\n{text}\n")
