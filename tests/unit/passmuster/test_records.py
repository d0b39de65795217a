"""Records behave as the standard library's frozen dataclasses, and cost less to define."""

from __future__ import annotations

import ast
import copy
import dataclasses
import pickle
from dataclasses import field
from pathlib import Path

import pytest

import passmuster
from passmuster.records import dataclass

CHECKOUT = Path(passmuster.__file__).parents[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named(Point):
    name: str


@dataclass(slots=True)
class Changing:
    x: int = 1


def test_defaults_are_filled_in_and_factories_called_for_each() -> None:
    first, second = Point(x=1), Point(x=1, tags=["a"])

    assert (first.x, first.y, first.tags, second.tags) == (1, 0, [], ["a"])
    assert Point(x=1).tags is not first.tags


def test_fields_are_those_of_the_classes_above_too() -> None:
    assert [each.name for each in dataclasses.fields(Named)] == ["x", "y", "tags", "name"]
    assert repr(Named(x=1, name="a")) == "Named(x=1, y=0, tags=[], name='a')"


def test_a_missing_and_an_unknown_argument_are_named() -> None:
    with pytest.raises(TypeError, match=r"Point.* is missing the keyword argument 'x'"):
        Point(y=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"Point.* unexpected keyword arguments: 'z'"):
        Point(x=1, z=2)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]


def test_equal_records_are_equal_and_hash_alike_within_one_class_only() -> None:
    assert Point(x=1, tags=["a"]) == Point(x=1)
    assert hash(Point(x=1, tags=["a"])) == hash(Point(x=1))
    assert Point(x=1) != Point(x=2)
    assert Point(x=1) != (1, 0)  # type: ignore[comparison-overlap]
    assert Point(x=1) != Named(x=1, name="a")


def test_nothing_can_be_changed_removed_or_added() -> None:
    point = Point(x=1)
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"Point\.x"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match=r"Point\.x"):
        del point.x
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.other = 1  # type: ignore[attr-defined]
    assert not hasattr(point, "__dict__")
    assert dataclasses.replace(point, y=3) == Point(x=1, y=3)


def test_records_can_be_copied_and_pickled() -> None:
    point = Named(x=1, name="a", tags=["b"])

    for other in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert (other, other.tags) == (point, ["b"])
        with pytest.raises(dataclasses.FrozenInstanceError):
            other.x = 2  # type: ignore[misc]
    assert copy.copy(point).tags is point.tags
    assert copy.deepcopy(point).tags is not point.tags


def test_what_is_not_frozen_is_the_standard_librarys() -> None:
    changing = Changing()
    changing.x = 2

    assert changing == Changing(2)


def test_no_module_that_a_run_loads_defines_a_dataclass_in_the_slow_way() -> None:
    slow = [
        path.relative_to(CHECKOUT)
        for package in ("dispatcher", "passmuster", "worker")
        for path in (CHECKOUT / package).rglob("*.py")
        if path.name != "records.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "dataclasses"
        if any(alias.name == "dataclass" for alias in node.names)
    ]

    assert slow == []
