"""The table of settings is complete and consistent."""

from __future__ import annotations

import types
import typing
from pathlib import Path

import pytest

from dispatcher.config.choices import Override
from dispatcher.config.file import OVERRIDE_KEYS
from dispatcher.config.model import Layout, TestConfig
from dispatcher.config.settings import BY_NAME, RUN_PARSER, SETTINGS, WITHOUT_EFFECT
from passmuster.settings.setting import Group, Setting, variable_name

EXAMPLES = {
    "a path": "/x",
    "a text that is not empty": "x",
    "a list of texts that are not empty": "x",
    "a percentage from 0 to 100, or none": "80",
}


def example(setting: Setting) -> object:
    for text in (
        EXAMPLES.get(setting.type.allowed, ""),
        "1",
        "2",
        "2/4",
        "html",
        "1GiB",
        "redis://localhost",
        "true",
        *setting.type.metavar.split("|"),
    ):
        try:
            value = setting.type.read(text)
        except ValueError:
            continue
        return (value,) if setting.type.is_list else value
    pytest.fail(f"no example for {setting.name}")


def members(hint: object) -> tuple[object, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_settings_value_has_the_type_of_the_field_it_fills(setting: Setting) -> None:
    if setting.is_table:  # `test_file_tables` reads those.
        return
    owner, _, name = setting.target.rpartition(".")
    hints = typing.get_type_hints(Layout if owner else TestConfig)
    expected = [typing.get_origin(hint) or hint for hint in members(hints[name])]
    value = example(setting)
    if setting.type.is_path:
        assert any(str(kind).endswith("Path'>") for kind in expected)
    else:
        assert type(value) in expected


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_none_is_allowed_only_where_the_field_takes_it(setting: Setting) -> None:
    if not setting.type.allowed.endswith("or none"):
        return
    assert type(None) in members(typing.get_type_hints(TestConfig)[setting.target])


def test_every_field_of_the_configuration_can_be_set_by_exactly_one_setting() -> None:
    fields = {*TestConfig.__struct_fields__} - {"layout"}
    fields |= {f"layout.{name}" for name in Layout.__struct_fields__}
    targets = [setting.target for setting in SETTINGS]
    assert sorted(targets) == sorted(fields)


def test_no_name_argument_or_variable_is_used_twice() -> None:
    names = [setting.name for setting in SETTINGS]
    variables = [name for setting in SETTINGS for name in setting.variables]
    for words in (names, variables, [*RUN_PARSER.known, *WITHOUT_EFFECT]):
        assert sorted(words) == sorted(set(words))


def test_the_arguments_that_users_were_promised_exist() -> None:
    promised = """--root --integration --coverage --runner --python --jobs -j --memory-budget --memory-limit
    --timeout --run-timeout --slow-timeout --grace-period --retries --isolation --preload --verify-isolation
    --oversubscribe --explain --max-fail -x --fail-fast --limit --failed
    --allow-no-tests --keep-tmp --output-limit --coverage-dir --coverage-source --coverage-xml
    --coverage-fail-under --coverage-key-file --junit-xml --events --color -q --quiet -v
    --verbose --no-history --list --dry-run --show-config --strict-args --version -h --help
    --unit --parallel --full --shard --history-from --record --join --report --ci --regression-factor
    --fail-on-regression"""
    assert set(promised.split()) <= {*RUN_PARSER.known, *WITHOUT_EFFECT}


def test_a_variable_is_named_after_its_setting() -> None:
    assert variable_name("memory-limit") == "PASSMUSTER_MEMORY_LIMIT"


def test_the_variables_with_names_of_their_own_still_work() -> None:
    legacy = {setting.variables[1]: setting.target for setting in SETTINGS if len(setting.variables) > 1}
    assert legacy == {
        "TEST_TIMEOUT": "timeout_s",
        "TEST_SUITE_TIMEOUT": "run_timeout_s",
        "CI_TEST_LIMIT": "limit",
        "PASSMUSTER_BROKER_URL": "broker",
    }


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_default_is_shown_as_text_that_the_setting_reads(setting: Setting) -> None:
    if setting.default:
        assert setting.fallback in (None, (), Path()), "words stand only for what a run works out"
    if setting.default or setting.fallback in (None, ()):
        return
    assert str(setting.type.read(setting.default_text)) == str(setting.fallback)


def test_the_rows_stand_in_the_order_of_the_help_text() -> None:
    groups = [setting.group for setting in SETTINGS]
    assert groups == sorted(groups, key=list(Group).index)


def test_every_setting_that_a_row_names_exists() -> None:
    for setting in SETTINGS:
        related = {*setting.only_with, *(one.name for one in setting.conflicts)}
        related |= {one.name for one in setting.needs}
        assert related <= set(BY_NAME), setting.name


def test_an_override_has_a_field_for_each_setting_that_may_differ_from_file_to_file() -> None:
    fields = {*Override.__struct_fields__} - {"files", "group"}
    keys = OVERRIDE_KEYS.keys() - {"files", "group", "serial", "memory"}
    assert fields == {"memory", *(BY_NAME[key].target for key in keys)}
