"""The first word selects a subcommand with strictly parsed arguments; `./status` is still a path."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from dispatcher.cli.help import format_help
from dispatcher.cli.main import Command
from dispatcher.cli.subcommands import SUBCOMMANDS
from dispatcher.config.choices import SUBCOMMAND_HELP, Subcommand
from dispatcher.config.file_schema import file_schema
from tests.unit.dispatcher.scripted_target import ScriptedTarget


def run(root: Path, *argv: str, **environ: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    command = Command(
        argv,
        environ=environ,
        cwd=root,
        target=ScriptedTarget(),
        warm_target=ScriptedTarget,
        program="run-tests",
        stdout=out,
        stderr=err,
    )
    return command.run(), out.getvalue(), err.getvalue()


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (("--broker", "http://x"), "wrong value for broker"),
        (
            ("--broker", "redis://h", "-j", "4"),
            "unknown argument: -j; it is an option of a run",
        ),
        (("--jsn",), "unknown argument: --jsn; did you mean --json?"),
        (("tests",), "unknown argument: tests; see --help"),
        (("--broker",), "--broker needs a value"),
    ],
)
def test_a_wrong_argument_of_status_is_reported_in_one_line(
    tmp_path: Path, argv: tuple[str, ...], complaint: str
) -> None:
    status, out, err = run(tmp_path, "status", *argv)

    assert (status, out, err.count("\n")) == (2, "", 1)
    assert complaint in err


@pytest.mark.parametrize("option", ["--coverage", "--shard=1/2", "--record=x", "--cluster=2", "--changed"])
def test_watch_refuses_an_option_of_a_whole_run_in_one_line(tmp_path: Path, option: str) -> None:
    status, out, err = run(tmp_path, "watch", option)

    name = option.partition("=")[0]
    assert (status, out) == (2, "")
    assert err == f"[FAIL] unknown argument: {name}; it is an option of a run, not of watch; see --help\n"


def test_without_a_broker_status_shows_the_runs_on_this_machine(tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    shown = run(tmp_path, "status", XDG_RUNTIME_DIR=str(runtime))

    assert shown == (0, "Runs on this machine: 0\n", "")


def test_a_broker_that_is_away_is_status_3_and_shows_no_password(tmp_path: Path) -> None:
    status, _, err = run(tmp_path, "status", PASSMUSTER_BROKER_URL="redis://:hidden@127.0.0.1:1")

    assert (status, err.count("\n")) == (3, 1)
    assert "cannot be reached" in err
    assert "hidden" not in err


def test_a_configuration_file_may_name_the_broker(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.passmuster]\nbroker = "redis://127.0.0.1:1/7"\n')

    assert "127.0.0.1:1/7 cannot be reached" in run(tmp_path, "status", "--json")[2]


def test_each_subcommand_has_its_own_help_and_is_listed(tmp_path: Path) -> None:
    text = format_help("run-tests").splitlines()
    assert {*SUBCOMMANDS} == {*SUBCOMMAND_HELP} == {*Subcommand}
    for word in SUBCOMMANDS:
        status, out, _ = run(tmp_path, word, "--help")
        assert status == 0
        assert out.startswith(f"usage: run-tests {word} ")
        assert any(line.startswith(f"  {word} ") for line in text)


def test_a_folder_of_that_name_is_given_as_a_path(tmp_path: Path) -> None:
    (tmp_path / "status").mkdir()
    (tmp_path / "status" / "test_a.py").write_text("pass\n")

    status, out, _ = run(tmp_path, "--list", "./status")

    assert (status, out) == (0, "status/test_a.py\n")


def test_a_former_name_works_behind_a_subcommand_with_a_note(tmp_path: Path) -> None:
    status, _, err = run(tmp_path, "plan", "--overcommit", "off")

    assert status == 0
    assert err.startswith("[WARN] --overcommit is now --oversubscribe; ")


def test_the_schema_of_the_configuration_file_is_printed_as_json(tmp_path: Path) -> None:
    status, out, _ = run(tmp_path, "schema")

    assert (status, json.loads(out)) == (0, file_schema())
