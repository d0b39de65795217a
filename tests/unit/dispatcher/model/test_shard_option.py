"""`--shard`: valid values, and the variables that `auto` reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.load import load_config
from dispatcher.model.ci import CIS, Ci
from dispatcher.model.shard_option import Shard
from passmuster.model.errors import ConfigurationError


def shard(text: str, tmp_path: Path, **environ: str) -> Shard | None:
    return load_config([f"--shard={text}"], environ, tmp_path).config.shard


def test_a_shard_is_its_number_and_how_many_there_are(tmp_path: Path) -> None:
    assert shard("2/4", tmp_path) == Shard(number=2, total=4)
    assert shard(" 1/1 ", tmp_path) == Shard(number=1, total=1)
    assert shard("none", tmp_path) is None


@pytest.mark.parametrize("text", ["0/3", "4/3", "1/0", "-1/3", "1", "a/b", "1/3/5", "1/99999", "1.0/2", ""])
def test_a_wrong_shard_is_refused_with_what_is_allowed(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"shard.*I/N with I from 1 to N"):
        shard(text, tmp_path)


@pytest.mark.parametrize("ci", [ci for ci in CIS if ci.job_index], ids=lambda ci: ci.name)
def test_auto_reads_the_variables_of_each_ci(ci: Ci, tmp_path: Path) -> None:
    for position in (1, 3):
        environ = {ci.job_index: str(ci.first_job + position - 1), ci.job_total: "3"}
        assert shard("auto", tmp_path, **environ) == Shard(number=position, total=3)


def test_auto_without_any_variable_names_the_variables_to_set(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"PASSMUSTER_JOB_INDEX.*strategy.job-index"):
        shard("auto", tmp_path, GITHUB_ACTIONS="true")


@pytest.mark.parametrize(("index", "total"), [("4", "3"), ("0", "3"), ("x", "3"), ("1", ""), ("", "3")])
def test_variables_that_cannot_be_are_named(index: str, total: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=rf"CI_NODE_INDEX='{index}'.*GitLab"):
        shard("auto", tmp_path, CI_NODE_INDEX=index, CI_NODE_TOTAL=total)


def test_the_variable_of_the_setting_is_read_too(tmp_path: Path) -> None:
    assert load_config([], {"PASSMUSTER_SHARD": "3/3"}, tmp_path).config.shard == Shard(number=3, total=3)
