"""Settings that conflict, or lack a requirement, are refused with advice."""

from __future__ import annotations

import pytest
from msgspec import Struct
from msgspec.structs import replace

from passmuster.model.errors import ConfigurationError
from passmuster.settings.origins import Origin, Origins, Source
from passmuster.settings.relations import Relations
from passmuster.settings.setting import Conflict, Requirement, Setting, flag, option
from passmuster.settings.values import TEXT, optional


class Tool(Struct, frozen=True, kw_only=True):
    paint: str | None = None
    brush: bool = False
    dry: bool = False
    lid: bool = False


def row(setting: Setting) -> Setting:
    return replace(setting, target=setting.name, fallback=None if setting.name == "paint" else False)


ROWS = tuple(
    map(
        row,
        (
            option("paint", optional(TEXT), "the colour"),
            flag("brush", "use one", needs=(Requirement(name="paint", what="a colour", of_this_call=True),)),
            flag("dry", "no paint", conflicts=(Conflict(name="paint", why="nothing is painted"),)),
            flag("lid", "close it", only_with=("brush", "dry")),
        ),
    )
)
ARGUMENT, FILE = Source.ARGUMENT, Source.FILE


def relations(tool: Tool, **sources: Source) -> Relations:
    names = {ARGUMENT: "--{}", Source.VARIABLE: "TOOL_{}", FILE: "{} in tool.toml"}
    return Relations(
        ROWS,
        tool,
        Origins({name: Origin(source=one, name=names[one].format(name)) for name, one in sources.items()}),
    )


def problem(tool: Tool, **sources: Source) -> str:
    with pytest.raises(ConfigurationError) as caught:
        relations(tool, **sources).check()
    return str(caught.value)


def test_two_arguments_that_exclude_each_other_are_named_as_typed() -> None:
    assert problem(Tool(dry=True, paint="red"), dry=ARGUMENT, paint=ARGUMENT) == (
        "--dry cannot be combined with --paint: nothing is painted; leave out one of them"
    )


def test_a_value_from_another_source_is_named_with_its_origin_and_how_to_remove_it() -> None:
    assert problem(Tool(dry=True, paint="red"), dry=ARGUMENT, paint=FILE) == (
        "--dry cannot be combined with paint (from paint in tool.toml): nothing is painted; "
        "leave out one of them, or give --paint none"
    )


def test_a_missing_requirement_is_named() -> None:
    assert problem(Tool(brush=True), brush=ARGUMENT) == (
        "--brush needs a colour: give --paint TEXT, or leave out --brush"
    )


def test_a_removed_requirement_is_named_with_its_origin() -> None:
    assert problem(Tool(brush=True), brush=Source.VARIABLE, paint=ARGUMENT) == (
        "brush (from TOOL_brush) needs a colour, but paint is none (from --paint): leave out one of them"
    )


def test_a_value_in_the_file_for_other_calls_is_accepted() -> None:
    relations(Tool(brush=True, paint=None), brush=FILE).check()


def test_a_value_without_effect_causes_a_warning_unless_it_is_in_the_file() -> None:
    assert relations(Tool(lid=True), lid=ARGUMENT).without_effect() == (
        "--lid has no effect without --brush",
    )
    assert relations(Tool(lid=True), lid=FILE).without_effect() == ()
    assert relations(Tool(lid=True, dry=True), lid=ARGUMENT).without_effect() == ()


def test_a_conflict_may_be_with_some_values_only() -> None:
    rows = tuple(
        replace(one, conflicts=(Conflict(name="paint", why="no lid fits", values=("red",)),))
        if one.name == "lid"
        else one
        for one in ROWS
    )
    origins = Origins({name: Origin(source=ARGUMENT, name=f"--{name}") for name in ("lid", "paint")})

    Relations(rows, Tool(lid=True, paint="blue"), origins).check()
    with pytest.raises(ConfigurationError, match="--lid cannot be combined with --paint red: no lid fits"):
        Relations(rows, Tool(lid=True, paint="red"), origins).check()
