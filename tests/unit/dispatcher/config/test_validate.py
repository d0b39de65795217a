"""Values that conflict with each other, or with this machine, are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.load import load_config
from dispatcher.config.validate import validate_against_machine
from passmuster.model.errors import ConfigurationError

GIB = 1024**3


def problem(root: Path, *argv: str, body: str = "") -> str:
    if body:
        (root / "pyproject.toml").write_text(f"[tool.passmuster]\n{body}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_config(argv, {}, root)
    return str(caught.value)


def test_a_file_may_not_have_more_memory_than_all_together(tmp_path: Path) -> None:
    message = problem(tmp_path, "--memory-limit", "2GiB", body="memory-budget = '1GiB'")
    assert (
        "memory-limit 2 GiB (from --memory-limit) is above memory-budget 1 GiB (from [tool.passmuster]"
        in message
    )


@pytest.mark.parametrize("argv", [["--memory-limit", "1GiB"], ["--memory-limit", "50%"], []])
def test_limits_that_fit_or_are_not_known_yet_pass(tmp_path: Path, argv: list[str]) -> None:
    load_config([*argv, "--memory-budget", "1GiB"], {}, tmp_path)
    load_config(["--memory-limit", "90%", "--memory-budget", "10%"], {}, tmp_path)


def test_a_report_cannot_be_written_over_a_directory(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert f"junit-xml must be a file, got the directory {tmp_path}/out (from --junit-xml)" in problem(
        tmp_path, "--junit-xml", "out"
    )


def test_two_reports_cannot_share_a_file(tmp_path: Path) -> None:
    assert "would both write" in problem(tmp_path, "--junit-xml", "r", "--events", "r")


def test_the_coverage_directory_cannot_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "cov").touch()
    assert "coverage-dir must be a directory" in problem(tmp_path, "--coverage", "--coverage-dir", "cov")
    load_config(["--coverage-dir", "cov"], {}, tmp_path)


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ("unit-roots = ['../x']", "unit-roots"),
        ("integration-roots = ['/x']", "integration-roots"),
        ("extra-roots = ['a/../../x']", "extra-roots"),
        ("exclude = ['/x']", "exclude"),
        ("workdir = '..'", "workdir"),
        ("workdir = 'gone'", "workdir"),
        ("patterns = ['a/*.py']", "patterns"),
        ("patterns = []", "patterns"),
        ("unit-roots = ['']", "unit-roots"),
    ],
)
def test_a_layout_that_leads_out_of_the_root_or_nowhere_is_refused(
    tmp_path: Path, body: str, part: str
) -> None:
    message = problem(tmp_path, body=body)
    assert message.startswith(f"wrong value for {part}: expected ")
    assert f"[tool.passmuster] {part} in {tmp_path}" in message


def test_failed_files_cannot_be_known_without_the_history(tmp_path: Path) -> None:
    message = problem(tmp_path, "--failed", "--no-history")
    assert "--failed" in message
    assert "--no-history" in message


@pytest.mark.parametrize("name", ["memory-budget", "memory-limit"])
def test_a_size_over_the_machine_is_refused(tmp_path: Path, name: str) -> None:
    loaded = load_config([f"--{name}", "1TiB"], {}, tmp_path)
    with pytest.raises(ConfigurationError) as caught:
        validate_against_machine(loaded.config, total_bytes=24 * GIB, origins=loaded.origins)
    assert str(caught.value) == (
        f"{name} must be at most the 24 GiB this machine has, got 1024 GiB (from --{name})"
    )


def test_sizes_within_the_machine_and_shares_of_it_pass(tmp_path: Path) -> None:
    loaded = load_config(["--memory-budget", "24GiB", "--memory-limit", "100%"], {}, tmp_path)
    validate_against_machine(loaded.config, total_bytes=24 * GIB, origins=loaded.origins)


def test_only_one_thing_can_be_shown_instead_of_a_run(tmp_path: Path) -> None:
    message = problem(tmp_path, "--explain", "preload", "--dry-run")
    assert message.startswith("--explain cannot be combined with --dry-run: each asks for something else")


def test_nothing_can_be_verified_where_nothing_is_forked(tmp_path: Path) -> None:
    message = problem(tmp_path, "--verify-isolation", body="isolation = 'spawn'")
    assert message.startswith("--verify-isolation cannot be combined with isolation spawn (from [tool.pass")
    assert message.endswith(": it compares with forked runs; leave out one of them")


@pytest.mark.parametrize("name", ["my-package", "a..b", ".a", "a b", ""])
def test_only_importable_names_can_be_preloaded(tmp_path: Path, name: str) -> None:
    assert "expected a list of importable names" in problem(tmp_path, f"--preload=shop,{name}")


def test_trees_are_shipped_to_a_broker(tmp_path: Path) -> None:
    message = problem(tmp_path, "--ship")
    assert message == ("--ship needs a broker with workers elsewhere: give --broker URL, or leave out --ship")
    load_config(["--ship", "--broker", "redis://localhost:6379"], {}, tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.passmuster]\nship = true\n")
    load_config([], {}, tmp_path)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--run-id", "r1"], "--run-id needs the file to follow: give --tail FILE, or leave out --run-id"),
        (
            ["--tail", "a.py", "--list"],
            "--tail cannot be combined with --list: each asks for something else",
        ),
        (
            ["--tail", "a.py", "b.py"],
            "--tail cannot be combined with b.py: --tail follows one file",
        ),
    ],
)
def test_following_a_file_is_all_that_a_call_does(tmp_path: Path, argv: list[str], message: str) -> None:
    assert problem(tmp_path, *argv).startswith(message)


def test_who_wants_to_fail_on_regressions_without_a_past_is_warned(tmp_path: Path) -> None:
    wanted = "--fail-on-regression"

    assert load_config([wanted, "--no-history"], {}, tmp_path).warnings == (
        "--fail-on-regression has no effect without --history",
    )
    assert load_config([wanted], {}, tmp_path).warnings == ()
    assert load_config(["--no-history"], {}, tmp_path).warnings == ()


@pytest.mark.parametrize(
    ("word", "name"),
    [("-x", "-x"), ("-xv", "-x"), ("-n4", "-n"), ("-kone", "-k"), ("--maxfail=2", "--maxfail")],
)
def test_an_argument_of_pytest_that_concerns_the_whole_run_is_refused(
    tmp_path: Path, word: str, name: str
) -> None:
    assert f"{name} (from the arguments after --) concerns the whole run" in problem(tmp_path, "--", word)
