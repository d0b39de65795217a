"""Reads workflow files and actions. Only this needs PyYAML, which may be missing without `--workflow`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from dispatcher.replica.node import Node
from passmuster.model.errors import ConfigurationError

MAX_BYTES = 1024 * 1024
"""More than any workflow: CI itself takes no larger one."""


def read_workflow(path: Path) -> Node:
    """Return the content of a workflow file.

    Raises:
        ConfigurationError: it cannot be read, is not YAML, or is not a workflow.
    """
    node = _read(path, f"{path} (from --workflow)")
    is_workflow = isinstance(node.value, dict) and isinstance(node["jobs"].value, dict)
    # The configuration of CircleCI has jobs by name, too.
    if not is_workflow or (node["version"].is_there and not node["on"].is_there):
        raise ConfigurationError(
            f"{path} (from --workflow) is not a workflow of GitHub Actions, which has jobs by name; "
            "for another CI, leave out --workflow"
        )
    return node


def read_file(path: str, *, root: Path) -> Node | None:
    """Return a called workflow or an action of the repository; None: it does not exist inside the root.

    Raises:
        ConfigurationError: it cannot be read, or is not YAML.
    """
    absolute = (root / path).resolve()
    if not absolute.is_relative_to(root.resolve()) or not absolute.is_file():
        return None
    return _read(Path(path), path, at=absolute)


def _read(path: Path, name: str, *, at: Path | None = None) -> Node:
    try:
        with (at or path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigurationError(
            f"cannot read {name}: {reason}; name a file such as .github/workflows/test.yml"
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigurationError(f"{name} is larger than {MAX_BYTES} bytes, which CI refuses")
    return Node(value=parse_yaml(content, name=name), where=str(path))


def parse_yaml(content: bytes, *, name: str) -> object:
    """Return the value of a YAML text.

    Raises:
        ConfigurationError: it is not YAML, or contains a key twice, which CI refuses too.
    """
    try:
        return yaml.load(content, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name} is not valid YAML: {_reason(error)}") from error


class _Loader(yaml.SafeLoader):
    """Supports the types that CI supports, those of YAML 1.2: with the library's own, `on` is true."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as the library calls it
        keys = [key.value for key, _ in node.value]
        twice = next((key for position, key in enumerate(keys) if key in keys[:position]), None)
        if twice is not None:
            raise yaml.constructor.ConstructorError(None, None, f"{twice!r} is given twice", node.start_mark)
        return dict(super().construct_mapping(node, deep=deep))


_Loader.yaml_implicit_resolvers = {}
# With the first characters that a value of the type can have.
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), [*_first, ""]
    )


def _reason(error: Exception) -> str:
    problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
    mark = getattr(error, "problem_mark", None)
    return problem if mark is None else f"{problem} (line {mark.line + 1})"
