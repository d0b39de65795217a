"""A renamed setting still works under its former name for one version, with a note that says the new one."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from dispatcher.config.load import Loaded, load_config
from dispatcher.config.rerun import rerun_command
from dispatcher.config.settings import RUN_PARSER, SETTINGS
from dispatcher.model.plan import TestFile
from dispatcher.model.results import FileAttempts
from passmuster.model.errors import ConfigurationError
from passmuster.model.result import TestResult
from passmuster.model.status import Status
from passmuster.settings.argument_parser import ArgumentParser, read_variables
from passmuster.settings.origins import rename_notes
from passmuster.settings.setting import Group, setting, switch
from passmuster.settings.values import TEXT

RENAMED = {row.renamed_from: row for row in SETTINGS if row.renamed_from}

END = "the next version no longer accepts the old name"


def load(root: Path, *argv: str, file: str = "", **environ: str) -> Loaded:
    (root / "pyproject.toml").write_text(f"[tool.passmuster]\n{file}\n")
    return load_config(argv, environ, root)


def test_the_former_option_works_and_names_the_present_one(tmp_path: Path) -> None:
    loaded = load(tmp_path, "--overcommit", "off", "--grace=3s", "--slow", "2s")

    assert (str(loaded.config.oversubscription), loaded.config.grace_period_s) == ("off", 3.0)
    assert loaded.notes == (
        f"--overcommit is now --oversubscribe; {END}",
        f"--grace is now --grace-period; {END}",
        f"--slow is now --slow-timeout; {END}",
    )
    assert loaded.warnings == ()


def test_the_former_variable_works_and_names_the_present_one(tmp_path: Path) -> None:
    loaded = load(tmp_path, PASSMUSTER_WAIT_WORKERS="9s")

    assert loaded.config.worker_timeout_s == 9.0
    assert loaded.notes == (f"PASSMUSTER_WAIT_WORKERS is now PASSMUSTER_WORKER_TIMEOUT; {END}",)


def test_the_present_variable_is_stronger_than_the_former_one(tmp_path: Path) -> None:
    loaded = load(tmp_path, PASSMUSTER_SLOW="7", PASSMUSTER_SLOW_TIMEOUT="8")

    assert (loaded.config.slow_timeout_s, loaded.notes) == (8.0, ())


@pytest.mark.parametrize("name", ["slow", "--slow"])
def test_only_variables_with_the_prefix_are_read(tmp_path: Path, name: str) -> None:
    assert load(tmp_path, **{name: "x"}).notes == ()


def test_the_former_key_works_and_names_the_present_one(tmp_path: Path) -> None:
    loaded = load(tmp_path, file="wait_workers = 4")

    place = f"[tool.passmuster] wait_workers in {tmp_path}/pyproject.toml"
    assert loaded.config.worker_timeout_s == 4.0
    assert loaded.notes == (f"{place} is now worker-timeout; {END}",)


def test_the_former_and_the_present_key_are_one_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"grace-period is given twice, by .* grace in .* and "):
        load(tmp_path, file="grace = 1\ngrace-period = 2")


def test_a_rerun_command_has_the_present_name() -> None:
    result = TestResult(file_path="a.py", status=Status.FAIL)
    record = FileAttempts(file=TestFile(path="a.py", label="a.py"), attempts=(result,))
    assert rerun_command("run", ["--grace=3s", "--no-history"], record) == (
        "run --grace-period 3s --no-history a.py"
    )


def test_a_former_name_is_never_suggested() -> None:
    assert not set(RUN_PARSER.known) & {f"--{name}" for name in RENAMED}


def test_every_kind_of_row_can_be_renamed() -> None:
    rows = (
        replace(setting("colour", TEXT, "c", group=Group.OTHER, renamed_from="color"), target="colour"),
        replace(switch("lid", "l", group=Group.OTHER, renamed_from="cap"), target="lid"),
    )
    given = ArgumentParser(rows).parse(["--color", "red", "--no-cap", "--cap"]).given
    variables = read_variables(rows, {"PASSMUSTER_CAP": "1"})

    assert [(one.setting.name, one.texts) for one in (*given, *variables)] == [
        ("colour", ("red",)),
        ("lid", ("false",)),
        ("lid", ("true",)),
        ("lid", ("1",)),
    ]
    assert [note.partition(";")[0] for note in rename_notes((*given, *variables))] == [
        "--color is now --colour",
        "--no-cap is now --no-lid",
        "--cap is now --lid",
        "PASSMUSTER_CAP is now PASSMUSTER_LID",
    ]
