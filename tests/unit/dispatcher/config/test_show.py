"""`--show-config` prints every setting once, aligned, with its origin."""

from __future__ import annotations

from pathlib import Path

from dispatcher.config.load import format_config, load_config
from dispatcher.config.settings import SETTINGS


def test_every_setting_is_printed_once_with_its_value_and_origin(tmp_path: Path) -> None:
    text = format_config(
        load_config(["--timeout", "5m", "--show-config"], {"PASSMUSTER_JOBS": "3"}, tmp_path)
    )
    lines = text.splitlines()
    assert [line.split(" = ")[0].strip() for line in lines] == [setting.name for setting in SETTINGS]
    rows = {line.split(" = ")[0].strip(): line.split(" = ", 1)[1].split() for line in lines}
    assert rows["timeout"] == ["5m", "(--timeout)"]
    assert rows["jobs"] == ["3", "(PASSMUSTER_JOBS)"]
    assert rows["retries"] == ["0", "(default)"]
    assert rows["root"] == [str(tmp_path), "(the", "current", "directory)"]


def test_names_and_origins_are_aligned_and_one_long_value_does_not_push_the_others(tmp_path: Path) -> None:
    loaded = load_config([], {}, tmp_path)
    lines = format_config(loaded).splitlines()
    assert len({line.index(" = ") for line in lines}) == 1
    values = [line.split(" = ", 1)[1].rpartition("   (")[0].rstrip() for line in lines]
    fitting = [line for line, value in zip(lines, values, strict=True) if len(value) <= 60]
    assert len(fitting) < len(lines)
    assert len({line.rindex("   (") for line in fitting}) == 1
    assert max(line.rindex("   (") for line in fitting) < 90


def test_control_characters_in_a_value_cannot_make_a_line(tmp_path: Path) -> None:
    text = format_config(load_config(["a\nroot = /etc.py"], {}, tmp_path))
    assert len(text.splitlines()) == len(SETTINGS)


def test_an_override_shows_everything_that_it_sets(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[[tool.passmuster.overrides]]\nfiles = ['a.py', 'b.py']\ntimeout = '2m'\nsplit = 'force'\n"
        "cached = false\npytest-args = ['--slow']\nserial = true\n",
        encoding="utf-8",
    )
    text = format_config(load_config([], {}, tmp_path))
    (line,) = [line for line in text.splitlines() if line.startswith("overrides ")]
    assert line.partition(" = ")[2].startswith("a.py b.py: ")
    for fact in ("timeout=120s", "split=force", "cached=false", "pytest-args=['--slow']", "group=serial: a"):
        assert f" {fact}" in line
