"""All sources become one configuration, with the origin of each value."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.choices import ColorChoice, Mode, Verbosity
from dispatcher.config.load import Loaded, load_config
from dispatcher.config.model import TestConfig
from dispatcher.config.settings import SETTINGS
from passmuster.model.errors import ConfigurationError
from passmuster.model.status import RunnerKind
from passmuster.model.units import Amount
from passmuster.settings.origins import DEFAULT, Source


def load(root: Path, *argv: str, **environ: str) -> Loaded:
    return load_config(argv, environ, root)


def problem(root: Path, *argv: str, **environ: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load(root, *argv, **environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def configure(root: Path, body: str) -> None:
    (root / "pyproject.toml").write_text(f"[tool.passmuster]\n{body}\n")


def test_nothing_given_is_the_default_configuration_in_the_current_directory(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.config == TestConfig(root=tmp_path)
    assert loaded.warnings == ()
    assert {loaded.origins[setting.name] for setting in SETTINGS if setting.name != "root"} == {DEFAULT}
    assert (loaded.origins["root"].source, str(loaded.origins["root"])) == (
        Source.DEFAULT,
        "the current directory",
    )


def test_an_origin_says_whether_this_call_gave_the_value(tmp_path: Path) -> None:
    configure(tmp_path, "grace-period = 3")
    origins = load(tmp_path, "--timeout", "9", PASSMUSTER_SLOW_TIMEOUT="7").origins
    assert [origins[name].source for name in ("timeout", "slow-timeout", "grace-period", "retries")] == [
        Source.ARGUMENT,
        Source.VARIABLE,
        Source.FILE,
        Source.DEFAULT,
    ]
    assert [name for name in origins if origins[name].is_of_this_call] == ["slow-timeout", "timeout"]


def test_arguments_are_stronger_than_the_environment_and_that_than_the_file(tmp_path: Path) -> None:
    configure(tmp_path, "timeout = 1\nslow-timeout = 2\ngrace-period = 3")
    loaded = load(tmp_path, "--timeout", "9", PASSMUSTER_TIMEOUT="8", PASSMUSTER_SLOW_TIMEOUT="7")
    config = loaded.config
    assert (config.timeout_s, config.slow_timeout_s, config.grace_period_s) == (9.0, 7.0, 3.0)
    assert [loaded.origins[name].name for name in ("timeout", "slow-timeout", "grace-period", "retries")] == [
        "--timeout",
        "PASSMUSTER_SLOW_TIMEOUT",
        f"[tool.passmuster] grace-period in {tmp_path}/pyproject.toml",
        "default",
    ]


def test_every_argument_reaches_its_field(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    argv = """a.py --integration --coverage --runner pytest --python py -j 3 --memory-budget 2GiB
    --memory-limit 50% --timeout 10 --run-timeout 20 --slow-timeout 3 --grace-period 2 --retries 1
    --max-fail 4 --limit 5 --failed --allow-no-tests --keep-tmp --output-limit 1KiB --coverage-dir cov
    --coverage-source a --coverage-source b --coverage-xml c.xml --coverage-fail-under 80
    --coverage-key-file k.py --junit-xml j.xml --events e.jsonl --color never -v --list"""
    assert load(tmp_path, *argv.split()).config == TestConfig(
        root=tmp_path,
        paths=("a.py",),
        include_integration=True,
        enable_coverage=True,
        mode=Mode.LIST,
        runner=RunnerKind.PYTEST,
        python="py",
        max_workers=3,
        memory_budget=Amount(size_bytes=2 * 1024**3),
        memory_limit=Amount(fraction=0.5),
        timeout_s=10.0,
        run_timeout_s=20.0,
        slow_timeout_s=3.0,
        grace_period_s=2.0,
        retries=1,
        max_fail=4,
        limit=5,
        failed_only=True,
        allow_no_tests=True,
        keep_tmp=True,
        output_limit_bytes=1024,
        coverage_dir=tmp_path / "cov",
        coverage_source=("a", "b"),
        coverage_xml=tmp_path / "c.xml",
        coverage_fail_under=80.0,
        coverage_key_files=("k.py",),
        junit_xml=tmp_path / "j.xml",
        events=tmp_path / "e.jsonl",
        color=ColorChoice.NEVER,
        verbosity=Verbosity.VERBOSE,
    )


def test_every_key_of_the_layout_reaches_its_field(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    configure(
        tmp_path,
        "workdir = 'site'\nunit-roots = ['u']\nintegration_roots = ['i']\nextra-roots = []\n"
        "patterns = ['t_*.py']\nexclude = ['x', 'u/y']",
    )
    layout = load(tmp_path).config.layout
    assert (layout.workdir, layout.unit_roots, layout.integration_roots) == ("site", ("u",), ("i",))
    assert (layout.extra_roots, layout.patterns, layout.exclude) == ((), ("t_*.py",), ("x", "u/y"))


def test_fail_fast_is_a_limit_of_one_failure(tmp_path: Path) -> None:
    assert load(tmp_path, "-x").config.max_fail == 1
    assert load(tmp_path, "--max-fail", "3", "--fail-fast").config.max_fail == 1


def test_the_later_of_two_equal_arguments_counts(tmp_path: Path) -> None:
    assert load(tmp_path, "--timeout", "1", "--timeout", "2").config.timeout_s == 2.0


def test_none_removes_the_value_of_the_file(tmp_path: Path) -> None:
    configure(tmp_path, "run-timeout = 5\nmemory-limit = '1GiB'")
    config = load(tmp_path, "--run-timeout", "none", PASSMUSTER_MEMORY_LIMIT="none").config
    assert (config.run_timeout_s, config.memory_limit) == (None, None)


def test_a_switch_of_the_file_can_be_undone(tmp_path: Path) -> None:
    configure(tmp_path, "integration = true\ncoverage = true\nhistory = false")
    config = load(tmp_path, "--no-integration", "--history", PASSMUSTER_COVERAGE="0").config
    assert (config.include_integration, config.enable_coverage, config.history) == (False, False, True)


def test_paths_given_by_the_user_are_relative_to_the_current_directory(tmp_path: Path) -> None:
    project, here = tmp_path / "project", tmp_path / "here"
    project.mkdir()
    here.mkdir()
    configure(project, "junit-xml = 'j.xml'\ncoverage-dir = '../cov'\npython = 'env/bin/python'")
    loaded = load_config(
        ["--root", "../project", "--events", "e"], {"PASSMUSTER_COVERAGE_XML": "c.xml"}, here
    )
    config = loaded.config
    assert config.root == project
    assert (config.events, config.coverage_xml) == (here / "e", here / "c.xml")
    assert (config.junit_xml, config.coverage_dir) == (project / "j.xml", tmp_path / "cov")
    assert config.python == str(project / "env/bin/python")
    assert loaded.texts["junit-xml"] == str(project / "j.xml")


def test_a_tilde_is_the_home_directory(tmp_path: Path) -> None:
    configure(tmp_path, "coverage-dir = '~/cov'")
    assert load(tmp_path, HOME="/home/me").config.coverage_dir == Path("/home/me/cov")


def test_an_interpreter_keeps_its_link_and_a_bare_name_stays_one(tmp_path: Path) -> None:
    link = tmp_path / "env" / "bin" / "python"
    link.parent.mkdir(parents=True)
    link.symlink_to("/usr/bin/env")
    (tmp_path / "sub").mkdir()
    assert load(tmp_path, "--python", "sub/../env/bin/python").config.python == str(link)
    assert load(tmp_path, "--python", "env").config.python == str(tmp_path / "env")
    assert load(tmp_path, "--python", "python3.12").config.python == "python3.12"


def test_a_root_may_be_named_by_a_variable_and_links_in_it_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert load(tmp_path, PASSMUSTER_ROOT="link").config.root == tmp_path / "real"


def test_a_root_that_is_missing_or_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert problem(tmp_path, "--root", "gone") == (
        f"root {tmp_path}/gone does not exist (from --root): name the project's folder"
    )
    assert "is not a directory (from PASSMUSTER_ROOT)" in problem(tmp_path, PASSMUSTER_ROOT="file")


@pytest.mark.parametrize("name", ["x" * 300, "x/" * 3000])
def test_paths_that_no_system_allows_are_refused_or_left_to_their_writer(tmp_path: Path, name: str) -> None:
    assert "does not exist" in problem(tmp_path, "--root", name)
    load(tmp_path, "--junit-xml", name, "--python", name)


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["--timeout", "80%"], ["timeout", "a time such as", "'80%'", "--timeout"]),
        (["--timeout", "-5"], ["timeout", "'-5'"]),
        (["--memory-budget", "-1"], ["memory-budget", "'-1'", "--memory-budget"]),
        (["-j", "0"], ["jobs", "from 1 to 4096", "'0'", "-j"]),
        (["-j5000"], ["jobs", "'5000'"]),
        (["--runner", "nose"], ["runner", "one of auto, script, pytest, unittest"]),
        (["--coverage-fail-under", "101"], ["coverage-fail-under", "from 0 to 100"]),
        (["--output-limit", "50%"], ["output-limit", "512KiB"]),
        (["--junit-xml="], ["junit-xml", "a path", "''"]),
        (["--coverage-source", "a,,b"], ["coverage-source", "not empty"]),
        (["--timeout"], ["--timeout needs a value"]),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(
    tmp_path: Path, argv: list[str], parts: list[str]
) -> None:
    message = problem(tmp_path, *argv)
    for part in parts:
        assert part in message


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    assert "got 'soon' (from TEST_TIMEOUT)" in problem(tmp_path, TEST_TIMEOUT="soon")


def test_a_wrong_value_is_refused_even_when_a_stronger_one_overrides_it(tmp_path: Path) -> None:
    configure(tmp_path, "timeout = -5")
    assert "[tool.passmuster] timeout in" in problem(tmp_path, "--timeout", "5")


def test_unknown_arguments_are_warnings_in_the_scripts_own_words(tmp_path: Path) -> None:
    loaded = load(tmp_path, "--word", "--other=1", "--integration")
    assert loaded.warnings == ("Unknown argument: --word", "Unknown argument: --other=1")
    assert loaded.config.include_integration


def test_strict_arguments_refuse_an_unknown_one(tmp_path: Path) -> None:
    message = problem(tmp_path, "--strict-args", "--integraton")
    assert "--integraton" in message
    assert "did you mean --integration?" in message
    configure(tmp_path, "strict-args = true")
    assert "--word" in problem(tmp_path, "--word")
    assert load(tmp_path, "--word", "--no-strict-args").warnings == ("Unknown argument: --word",)


def test_settings_without_effect_are_warned_of_but_not_those_of_the_file(tmp_path: Path) -> None:
    configure(tmp_path, "coverage-fail-under = 80")
    assert load(tmp_path, "--coverage-xml", "c.xml").warnings == (
        "--coverage-xml has no effect without --coverage",
    )
    assert load(tmp_path, "--coverage", "--coverage-xml", "c.xml").warnings == ()


def test_undecodable_bytes_in_arguments_do_no_harm(tmp_path: Path) -> None:
    loaded = load(tmp_path, "te\udcffst.py", "--\udcff")
    assert loaded.config.paths == ("te\udcffst.py",)
    for text in (*loaded.warnings, *loaded.texts.values()):
        text.encode()


def test_a_history_to_split_by_is_of_no_use_without_a_split(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.passmuster]\nhistory-from = 'given'\n")
    assert load_config([], {}, tmp_path).warnings == ()
    assert load_config(["--shard", "1/2", "--history-from", "h"], {}, tmp_path).warnings == ()
    for argv, environ in ((["--history-from", "h"], {}), ([], {"PASSMUSTER_HISTORY_FROM": "h"})):
        (warning,) = load_config(argv, environ, tmp_path).warnings
        assert warning.endswith("has no effect without --shard")


def test_none_removes_a_path_of_the_file_too(tmp_path: Path) -> None:
    configure(tmp_path, "secret-file = 'given'")
    assert load(tmp_path).config.secret_file == tmp_path / "given"
    assert load(tmp_path, "--secret-file", "none").config.secret_file is None
