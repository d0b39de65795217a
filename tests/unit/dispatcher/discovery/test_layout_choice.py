"""Which layout a project has follows from its settings, its folders and its test files, and is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.config.choices import LayoutKind
from dispatcher.config.model import Layout, TestConfig
from dispatcher.discovery.layout import resolve_layout
from dispatcher.discovery.layout_choice import LayoutChoice, choose_layout
from dispatcher.discovery.project_signs import Sign, find_configurations, sign_in
from passmuster.model.status import RunnerKind
from passmuster.settings.origins import NO_ORIGINS, Origin, Origins, Source

CASE = "import unittest\nclass T(unittest.TestCase):\n    def test_1(self): pass\n"
GUARD = "if __name__ == '__main__':\n    unittest.main()\n"


def choose(
    root: Path,
    files: dict[str, str],
    *,
    layout: Layout | None = None,
    runner: RunnerKind = RunnerKind.AUTO,
    has_pytest: bool = True,
    origins: Origins = NO_ORIGINS,
) -> LayoutChoice:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    config = TestConfig(root=root, layout=layout or Layout(), runner=runner)
    return choose_layout(config, resolve_layout(config), has_pytest=lambda: has_pytest, origins=origins)


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        ({"pytest.ini": ""}, "pytest.ini"),
        ({".pytest.ini": ""}, ".pytest.ini"),
        ({"pytest.toml": "[pytest]\n"}, "pytest.toml"),
        ({"pyproject.toml": "[tool.pytest.ini_options]\n"}, "[tool.pytest.ini_options] in pyproject.toml"),
        ({"pyproject.toml": "[tool.pytest]\n"}, "[tool.pytest] in pyproject.toml"),
        ({"tox.ini": "[tox]\n[pytest]\n"}, "[pytest] in tox.ini"),
        ({"setup.cfg": "[tool:pytest]\n"}, "[tool:pytest] in setup.cfg"),
        ({"conftest.py": ""}, "conftest.py"),
        ({"src/pkg/tests/conftest.py": ""}, "src/pkg/tests/conftest.py"),
        ({"tests/test_a.py": f"import pytest\n{CASE}"}, "tests/test_a.py is for pytest"),
        ({"tests/test_a.py": CASE, "lib/b_test.py": "def test_b(): pass\n"}, "lib/b_test.py is for pytest"),
        ({"tests/test_a.py": "class TestA:\n    def test_1(self): pass\n"}, "tests/test_a.py is for pytest"),
        ({"tests/test_a.py": f"def test_a(): pass\n{GUARD}"}, "tests/test_a.py is for pytest"),
    ],
)
def test_a_project_of_pytest_is_recognised(tmp_path: Path, files: dict[str, str], shown: str) -> None:
    chosen = choose(tmp_path, files)

    assert (chosen.kind, chosen.reason, chosen.warnings) == (LayoutKind.PYTEST, shown, ())
    assert chosen.headline == f"pytest ({shown})"


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"tests/test_a.py": CASE},
        {"tests/test_a.py": CASE + GUARD},
        {"tests/test_a.py": "print('a script')\n"},
        {"pyproject.toml": "[tool.black]\n", "setup.cfg": "[metadata]\n", "tox.ini": "[tox]\n"},
        {
            "node_modules/x/conftest.py": "",
            ".cache/conftest.py": "",
            "build/lib/test_a.py": "import pytest\n",
        },
        {"tests/helper.py": "import pytest\n"},
    ],
)
def test_other_projects_keep_the_scripts_layout_and_say_nothing(
    tmp_path: Path, files: dict[str, str]
) -> None:
    chosen = choose(tmp_path, files)

    assert (chosen.kind, chosen.headline) == (LayoutKind.SCRIPTS, "")


def test_functions_behind_a_guard_make_no_pytest_project_where_there_is_no_pytest(tmp_path: Path) -> None:
    files = {"tests/test_a.py": f"def test_a(): pass\n{GUARD}"}

    assert choose(tmp_path, files, has_pytest=False).kind is LayoutKind.SCRIPTS
    # Without a guard nothing but pytest could run them: that pytest is missing has to be said.
    assert choose(tmp_path, {"tests/test_b.py": "def test_b(): pass\n"}, has_pytest=False).kind is (
        LayoutKind.PYTEST
    )


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        (Layout(unit_roots=("tests",)), "unit-roots"),
        (Layout(integration_roots=("tests",)), "integration-roots"),
        (Layout(patterns=("x_*.py",)), "patterns"),
    ],
)
def test_a_layout_setting_wins_over_those_of_pytest_with_a_warning(
    tmp_path: Path, layout: Layout, name: str
) -> None:
    origins = Origins({name: Origin(source=Source.VARIABLE, name="PASSMUSTER_X")})
    chosen = choose(tmp_path, {"pytest.ini": ""}, layout=layout, origins=origins)

    assert chosen.kind is LayoutKind.SCRIPTS
    assert "PASSMUSTER_X" in chosen.reason
    [warning] = chosen.warnings
    assert warning.startswith(f"{name} (from PASSMUSTER_X) decides")
    assert warning.endswith("the test paths and patterns of pytest.ini are ignored")


def test_the_folder_of_the_shell_scripts_decides(tmp_path: Path) -> None:
    chosen = choose(tmp_path, {"mvp_site/conftest.py": "", "pytest.ini": ""})

    assert (chosen.kind, chosen.headline) == (LayoutKind.SCRIPTS, "")
    assert "mvp_site" in chosen.reason


@pytest.mark.parametrize("runner", [RunnerKind.SCRIPT, RunnerKind.UNITTEST])
def test_who_wants_another_runner_needs_no_pytest(tmp_path: Path, runner: RunnerKind) -> None:
    assert choose(tmp_path, {"conftest.py": ""}, runner=runner).kind is LayoutKind.SCRIPTS


@pytest.mark.parametrize("kind", [LayoutKind.PYTEST, LayoutKind.SCRIPTS, LayoutKind.UNITTEST])
def test_who_asks_for_a_layout_gets_it(tmp_path: Path, kind: LayoutKind) -> None:
    chosen = choose(tmp_path, {"mvp_site/tests/test_a.py": ""}, layout=Layout(kind=kind))

    assert (chosen.kind, chosen.reason, chosen.warnings) == (kind, "from default", ())


def test_of_several_configurations_the_first_counts_as_for_pytest(tmp_path: Path) -> None:
    (tmp_path / "setup.cfg").write_text("[tool:pytest]\n")
    (tmp_path / "pytest.ini").write_text("")

    assert find_configurations(tmp_path) == ("pytest.ini", "[tool:pytest] in setup.cfg")
    [warning] = choose(tmp_path, {}).warnings
    assert (
        warning == "pytest reads its settings from pytest.ini alone: [tool:pytest] in setup.cfg has no effect"
    )


@pytest.mark.parametrize(
    ("source", "sign"),
    [
        (b"", Sign.NONE),
        (b"import pytest_httpbin\n", Sign.NONE),
        (b"    from pytest import mark\n", Sign.EXPLICIT),
        (b"async def test_a(): pass\n", Sign.STRONG),
        (b"def test_suite_of_cards(): pass\n", Sign.STRONG),
        (b"def test_suite(): return defaultTestLoader.loadTestsFromName(__name__)\n", Sign.NONE),
        (b"class TestA(object):\n    def test_a(self): pass\n", Sign.STRONG),
        (b"class TestA:\n    text = '''\nin column 0\n'''\n    async def test_a(self): pass\n", Sign.STRONG),
        (b"class TestA:\n\n    class TestB:\n        def test_b(self): pass\n", Sign.STRONG),
        (b"class TestObject:\n    def __init__(self): pass\n", Sign.NONE),
        (b"class TestObject:\n    pass\n\nclass A(TestCase):\n    def test_a(self): pass\n", Sign.NONE),
        (
            b"class TestObject:\n    pass\n\n@skip\nclass A(TestCase):\n    def test_a(self): pass\n",
            Sign.NONE,
        ),
        (b"class TestA(Base):\n    def test_a(self): pass\n", Sign.NONE),
        (b"def test_a(): pass\nif __name__ == '__main__': test_a()\n", Sign.WEAK),
        (b"def helper():\n    def test_inner(): pass\n", Sign.NONE),
    ],
)
def test_what_a_test_file_says_of_pytest(source: bytes, sign: Sign) -> None:
    assert sign_in(source) is sign
