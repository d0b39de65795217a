"""Which files a project with a command of its own has, and who is told to have one."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.choices import Override
from dispatcher.config.model import Layout, TestConfig
from dispatcher.config.overrides import command_lines
from dispatcher.discovery.discover import discover
from dispatcher.discovery.project_signs import COMMANDS, django_advice
from dispatcher.model.plan import TestFile
from passmuster.model.status import RunnerKind
from tests.support.no_pytest import without_pytest

FILES = (
    "manage.py",
    "tests/test_a.py",
    "tests/helper.py",
    "shop/tests.py",
    "shop/more/b_test.py",
    "test_integration/test_i.py",
    "venv/test_v.py",
)


def make(root: Path, *paths: str, text: str = "") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")


def paths(config: TestConfig) -> list[str]:
    return [file.path for file in discover(config, without_pytest).files]


def test_every_test_file_below_the_working_directory_is_found(tmp_path: Path) -> None:
    make(tmp_path, *FILES)

    found = paths(TestConfig(root=tmp_path, command=("x", "{file}")))
    below = paths(TestConfig(root=tmp_path, command=("x", "{file}"), layout=Layout(workdir="shop")))
    named = paths(TestConfig(root=tmp_path, command=("x", "{file}"), paths=("shop",)))

    assert found == [
        "shop/more/b_test.py",
        "shop/tests.py",
        "test_integration/test_i.py",
        "tests/test_a.py",
    ]
    assert below == named == ["shop/more/b_test.py", "shop/tests.py"]


def test_configured_roots_and_patterns_count(tmp_path: Path) -> None:
    make(tmp_path, *FILES)
    roots = Layout(unit_roots=("tests",), patterns=("h*.py",))

    assert paths(TestConfig(root=tmp_path, command=("x", "{file}"), layout=roots)) == ["tests/helper.py"]


def test_the_layout_of_the_shell_scripts_stays_as_it_is(tmp_path: Path) -> None:
    make(tmp_path, "mvp_site/tests/test_a.py", "mvp_site/other/test_b.py")

    assert paths(TestConfig(root=tmp_path, command=("x", "{file}"))) == ["mvp_site/tests/test_a.py"]


def test_a_command_for_some_files_changes_nothing_for_the_others(tmp_path: Path) -> None:
    make(tmp_path, *FILES)
    some = Override(files=("tests",), command=("x", "{file}"), runner=RunnerKind.COMMAND)

    assert paths(TestConfig(root=tmp_path, overrides=(some,))) == ["tests/test_a.py"]


def test_each_command_is_listed_with_the_number_of_its_files(tmp_path: Path) -> None:
    some = Override(files=("db",), command=("make", "{file}"), runner=RunnerKind.COMMAND)
    other = Override(files=("ui",), runner=RunnerKind.PYTEST)
    config = TestConfig(root=tmp_path, command=("{python}", "{file}"), overrides=(some, other))
    files = [TestFile(path=path, label=path) for path in ("db/a.py", "b.py", "c.py", "ui/d.py")]

    lines = command_lines(files, config)

    assert [line.partition(" (")[0] for line in lines] == [
        "1 of 4 file(s) run by the command make {file}",
        "2 of 4 file(s) run by the command {python} {file}",
    ]
    assert command_lines(files, TestConfig(root=tmp_path)) == ()


MANAGE = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site.settings')\n"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)


def test_a_django_project_without_settings_for_pytest_gets_a_command_as_advice(tmp_path: Path) -> None:
    make(tmp_path, "manage.py", text=MANAGE)
    make(tmp_path, "setup.cfg", text="[tool:pytest]\naddopts = -q\n")

    advice = django_advice(TestConfig(root=tmp_path), tmp_path) or ""

    assert f"command = {COMMANDS['manage.py']}" in advice
    assert str(tmp_path / "pyproject.toml") in advice


def test_a_reusable_django_app_gets_a_command_with_its_own_script_as_advice(tmp_path: Path) -> None:
    make(tmp_path, "runtests.py", text=f"{MANAGE}execute_from_command_line(['', 'test', *sys.argv[1:]])\n")

    advice = django_advice(TestConfig(root=tmp_path), tmp_path) or ""

    assert f"by runtests.py, add command = {COMMANDS['runtests.py']} to" in advice


def test_a_script_that_runs_all_tests_whatever_its_arguments_is_no_advice(tmp_path: Path) -> None:
    make(tmp_path, "runtests.py", text=f"{MANAGE}TestRunner().run_tests(['tests'])\n")

    assert django_advice(TestConfig(root=tmp_path), tmp_path) is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pytest.ini", "[pytest]\nDJANGO_SETTINGS_MODULE = site.settings\n"),
        ("pyproject.toml", "[tool.pytest.ini_options]\naddopts = '--ds=x'\nDJANGO_SETTINGS_MODULE = 'x'\n"),
        ("tox.ini", "[pytest]\nDJANGO_SETTINGS_MODULE = site.settings\n"),
        ("conftest.py", "from django.conf import settings\nsettings.configure()\n"),
        ("tests/conftest.py", "import django\ndjango.setup()\n"),
        ("manage.py", "print('no Django')\n"),
    ],
)
def test_a_project_that_needs_no_command_gets_no_advice(tmp_path: Path, name: str, text: str) -> None:
    make(tmp_path, "manage.py", text=MANAGE)
    make(tmp_path, name, text=text)

    assert django_advice(TestConfig(root=tmp_path), tmp_path) is None


def test_a_chosen_runner_or_settings_give_no_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "manage.py", text=MANAGE)

    assert django_advice(TestConfig(root=tmp_path, command=("x", "{file}")), tmp_path) is None
    assert django_advice(TestConfig(root=tmp_path, runner=RunnerKind.PYTEST), tmp_path) is None
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "site.settings")
    assert django_advice(TestConfig(root=tmp_path), tmp_path) is None
