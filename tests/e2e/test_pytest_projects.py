"""In a pytest project pytest says which files are tests: what runs is what `pytest` itself would collect."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

FINE = "def test_fine(): pass\n"
WRONG = "def test_wrong(): assert False\n"
BROKEN = "raise RuntimeError('this file is never to be imported')\n"
ENVIRONMENT: Mapping[str, str | None] = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)}

YAML_CONFTEST = """\
import pytest

def pytest_collect_file(file_path, parent):
    if file_path.suffix == ".yaml":
        return YamlFile.from_parent(parent, path=file_path)

class YamlFile(pytest.File):
    def collect(self):
        yield YamlItem.from_parent(self, name="item")

class YamlItem(pytest.Item):
    def runtest(self):
        assert "wrong" not in self.path.read_text()
"""

PROJECTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "testpaths and python_files": (
        {
            "pyproject.toml": "[tool.pytest.ini_options]\n"
            "testpaths = ['src/pkg', 'more']\npython_files = ['check_*.py', 'tests.py']\n",
            "src/pkg/__init__.py": "",
            "src/pkg/checks/check_one.py": FINE,
            "src/pkg/tests.py": "import unittest\nclass T(unittest.TestCase):\n    def test_1(self): pass\n",
            "more/check_two.py": WRONG,
            "more/test_not.py": BROKEN,
            "tests/check_off.py": BROKEN,
        },
        {"src/pkg/checks/check_one.py": "PASS", "src/pkg/tests.py": "PASS", "more/check_two.py": "FAIL"},
    ),
    "tests in several folders, by both names": (
        {
            "tests/test_a.py": FINE,
            "tests/b_test.py": WRONG,
            "pkg/__init__.py": "",
            "pkg/tests/c_test.py": FINE,
            "build/test_built.py": BROKEN,
            ".hidden/test_hidden.py": BROKEN,
        },
        {"tests/test_a.py": "PASS", "tests/b_test.py": "FAIL", "pkg/tests/c_test.py": "PASS"},
    ),
    "what is ignored": (
        {
            "setup.cfg": "[tool:pytest]\nnorecursedirs = samples .*\n"
            "addopts = --ignore=tests/slow --ignore-glob=*/gen_* --deselect tests/test_in.py::test_wrong\n",
            "tests/test_in.py": FINE + WRONG,
            "tests/samples/test_sample.py": BROKEN,
            "tests/slow/test_slow.py": BROKEN,
            "tests/gen_one/test_gen.py": BROKEN,
            "tests/conftest.py": "collect_ignore = ['test_old.py']\ncollect_ignore_glob = ['*_py2.py']\n"
            "def pytest_ignore_collect(collection_path):\n"
            "    return True if collection_path.name == 'test_hook.py' else None\n",
            "tests/test_old.py": BROKEN,
            "tests/test_x_py2.py": BROKEN,
            "tests/test_hook.py": BROKEN,
        },
        {"tests/test_in.py": "PASS"},
    ),
    "doctests": (
        {
            "pytest.ini": "[pytest]\naddopts = --doctest-modules --doctest-glob=*.txt\n",
            "app/__init__.py": '"""\n>>> 1\n1\n"""\n',
            "app/maths.py": 'def two():\n    """\n    >>> two()\n    1\n    """\n    return 2\n',
            "docs/usage.txt": ">>> 1 + 1\n3\n",
            "tests/test_a.py": FINE,
        },
        {
            "app/__init__.py": "PASS",
            "app/maths.py": "FAIL",
            "docs/usage.txt": "FAIL",
            "tests/test_a.py": "PASS",
        },
    ),
    "items of a plugin": (
        {"conftest.py": YAML_CONFTEST, "specs/a.yaml": "fine", "specs/b.yaml": "wrong", "test_a.py": FINE},
        {"specs/a.yaml": "PASS", "specs/b.yaml": "FAIL", "test_a.py": "PASS"},
    ),
    "same names in folders without packages": (
        {
            "pytest.toml": "[pytest]\nimport_mode = 'importlib'\naddopts = ['--import-mode=importlib']\n",
            "one/test_same.py": FINE,
            "two/test_same.py": WRONG,
        },
        {"one/test_same.py": "PASS", "two/test_same.py": "FAIL"},
    ),
    "a guard that runs none of the tests": (
        {"tests/test_price.py": f"{FINE}{WRONG}if __name__ == '__main__':\n    print('no test')\n"},
        {"tests/test_price.py": "FAIL"},
    ),
}


def run(project: Project, *argv: str) -> Outcome:
    return project.run(*argv, env=ENVIRONMENT)


def listed(project: Project) -> set[str]:
    return set(project.run("--list", env=ENVIRONMENT, events=False).lines)


def collected_by_pytest(project: Project, *argv: str) -> set[str]:
    """Return the files of what `pytest --collect-only` lists."""
    listed = subprocess.run(
        [PYTEST_ENVIRONMENT / "bin" / "python", "-m", "pytest", "--collect-only", "-q", *argv],
        cwd=project.root,
        env={**project.environment(), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return {line.partition("::")[0] for line in listed.stdout.splitlines() if "::" in line}


@pytest.mark.parametrize("name", PROJECTS)
def test_the_files_that_pytest_collects_run_and_no_others(project: Project, name: str) -> None:
    files, statuses = PROJECTS[name]
    project.write(files)

    outcome = run(project)

    assert outcome.statuses() == statuses, str(outcome)
    assert set(statuses) == collected_by_pytest(project)
    assert outcome.lines[0].startswith("[INFO] Layout: pytest ("), str(outcome)


def test_a_file_that_comes_or_goes_is_noticed_although_the_answer_is_remembered(project: Project) -> None:
    project.write({"pytest.ini": "[pytest]\n", "tests/test_a.py": FINE, "tests/conftest.py": ""})
    run(project)
    assert list((project.root / ".passmuster" / "collected").glob("*.json"))

    project.write({"tests/deep/test_b.py": FINE})
    assert listed(project) == {"tests/test_a.py", "tests/deep/test_b.py"}
    project.write({"tests/conftest.py": "collect_ignore = ['test_a.py']\n"})
    assert listed(project) == {"tests/deep/test_b.py"}
    project.write({"pytest.ini": "[pytest]\npython_files = a_*.py\n", "tests/a_one.py": FINE})
    assert listed(project) == {"tests/a_one.py"}
    (project.root / "tests/a_one.py").unlink()
    project.write({"a_two.py": FINE})
    assert listed(project) == {"a_two.py"}
    assert set(run(project).statuses()) == {"a_two.py"}


SCRIPTS = {
    "tests/test_functions.py": FINE,
    "tests/test_script.py": "import sys\nif __name__ == '__main__':\n    sys.exit(3)\n",
    "tests/test_unit.py": "import unittest\nclass T(unittest.TestCase):\n    def test_1(self): pass\n"
    "if __name__ == '__main__':\n    unittest.main()\n",
    "tests/test_both.py": f"{FINE}if __name__ == '__main__':\n    test_fine()\n",
    "tests/test_helpers.py": "def order(): return 1\n",
}


def test_a_script_without_tests_among_tests_is_run_by_python(project: Project) -> None:
    project.write(SCRIPTS)

    outcome = project.run(env=ENVIRONMENT)

    assert outcome.code == 1, str(outcome)
    assert {one.label: (one.runner, one.status) for one in outcome.finished() if one.is_verdict} == {
        "tests/test_functions.py": ("pytest", "PASS"),
        "tests/test_script.py": ("script", "FAIL"),
        "tests/test_unit.py": ("pytest", "PASS"),
        "tests/test_both.py": ("pytest", "PASS"),
        "tests/test_helpers.py": ("pytest", "PASS"),
    }


@pytest.mark.parametrize(
    "more", [{"pytest.ini": "[pytest]\n"}, {"tests/test_z.py": f"import pytest\n{FINE}"}]
)
def test_where_the_project_names_pytest_every_file_is_run_by_it(
    project: Project, more: dict[str, str]
) -> None:
    project.write({**SCRIPTS, **more})

    outcome = project.run(env=ENVIRONMENT)

    assert outcome.code == 0, str(outcome)
    assert {one.runner for one in outcome.finished()} == {"pytest"}


def test_an_answer_is_asked_for_once(project: Project) -> None:
    project.write(
        {
            "conftest.py": "import pathlib, sys\nwith open('asked', 'a') as file:\n"
            "    file.write('x' if '--collect-only' in sys.argv or 'collect' in repr(sys.argv) else '')\n"
            "def pytest_configure(config):\n"
            "    with open('configured', 'a') as file:\n"
            "        file.write('c' if config.option.collectonly else '')\n",
            "tests/test_a.py": FINE,
        }
    )
    counts = []
    for _ in range(3):
        run(project, "--list")
        run(project)
        counts.append(len((project.root / "configured").read_text()))
    # Files that the conftest itself leaves in the root are noticed, once.
    assert counts[-1] == counts[1], counts


def test_named_files_run_whatever_their_names(project: Project) -> None:
    project.write(
        {
            "pytest.ini": "[pytest]\naddopts = --doctest-glob=*.rst\n",
            "odd/name.py": FINE,
            "odd/guide.rst": ">>> 1\n1\n",
            "odd/empty/readme.md": "",
            "tests/test_a.py": WRONG,
        }
    )

    outcome = run(project, "odd/name.py", "odd/guide.rst")
    assert outcome.statuses() == {"odd/name.py": "PASS", "odd/guide.rst": "PASS"}
    assert run(project, "tests").statuses() == {"tests/test_a.py": "FAIL"}

    for path in ("odd/empty", "odd/empty/readme.md"):
        empty = run(project, path)
        assert empty.code == 2
        assert f"[FAIL] {path!r} (from the arguments) holds no tests" in empty.stderr
    absent = run(project, "tests/test_b.py")
    assert absent.code == 2
    assert "did you mean tests/test_a.py?" in absent.stderr


DOCTESTS_OF_A_PACKAGE = """\
from _pytest.doctest import DoctestModule

def pytest_collect_file(file_path, parent):
    if file_path.parent.name == "pkg":
        return DoctestModule.from_parent(parent, path=file_path)
"""


@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_a_file_is_collected_in_no_other_way_than_in_a_run_over_its_folder(
    project: Project, isolation: str
) -> None:
    project.write(
        {
            "conftest.py": DOCTESTS_OF_A_PACKAGE,
            "pkg/tokens.py": '"""\n>>> 1\n1\n"""\n\ndef test_token(text): return bool(text)\n',
            "tests/test_a.py": FINE,
        }
    )

    outcome = run(project, "--isolation", isolation)

    assert outcome.statuses() == {"pkg/tokens.py": "PASS", "tests/test_a.py": "PASS"}, str(outcome)
    assert [case.case_id for case in outcome.final("pkg/tokens.py").cases] == ["pkg/tokens.py::tokens"]


@pytest.mark.parametrize("isolation", ["fork", "spawn"])
def test_named_paths_run_where_testpaths_match_nothing_and_warnings_are_errors(
    project: Project, isolation: str
) -> None:
    project.write(
        {
            "pytest.ini": "[pytest]\ntestpaths = gone\nfilterwarnings = error\n",
            "tests/test_a.py": FINE,
        }
    )

    assert run(project, "tests", "--isolation", isolation).statuses() == {"tests/test_a.py": "PASS"}
    unnamed = run(project, "--isolation", isolation)
    assert unnamed.code == 2
    assert "No files were found in testpaths" in unnamed.stderr


BAD_INPUT = {
    "an option that pytest does not know": (
        {"pytest.ini": "[pytest]\naddopts = --no-such-option\n", "test_a.py": FINE},
        r"unrecognized arguments: --no-such-option.*pytest\.ini",
    ),
    "a file that is no configuration": (
        {"pytest.ini": "[pytest\n", "test_a.py": FINE},
        r"pytest\.ini:1: ",
    ),
    "a conftest that fails to import": (
        {"conftest.py": "import no_such_module\n", "test_a.py": FINE},
        r"conftest\.py: ModuleNotFoundError: No module named 'no_such_module'",
    ),
    "a conftest below that fails to import": (
        {"pytest.ini": "[pytest]\n", "deep/er/conftest.py": "1 / 0\n", "deep/er/test_a.py": FINE},
        r"deep/er.*ZeroDivisionError: division by zero",
    ),
    "a plugin that is missing": (
        {"pytest.ini": "[pytest]\nrequired_plugins = pytest-no-such\n", "test_a.py": FINE},
        r"Missing required plugins: pytest-no-such",
    ),
    "a plugin named that cannot be imported": (
        {"pytest.ini": "[pytest]\naddopts = -p no_such_plugin\n", "test_a.py": FINE},
        r"Error importing plugin \"no_such_plugin\": No module named 'no_such_plugin'",
    ),
    "plugins named in a conftest below": (
        {"pytest.ini": "[pytest]\n", "sub/conftest.py": "pytest_plugins = []\n", "sub/test_a.py": FINE},
        r"cannot collect sub: Defining 'pytest_plugins' in a non-top-level conftest is no longer supported",
    ),
    "a hook that fails with an error of several lines": (
        {
            "conftest.py": "def pytest_configure(): raise OSError('no disk\\n\\nsee there')\n",
            "test_a.py": FINE,
        },
        r"OSError: no disk$",
    ),
    "a conftest that ends the process": (
        {"conftest.py": "import os\nos._exit(0)\n", "test_a.py": FINE},
        r"it ended with status 0 without output",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_what_pytest_rejects_is_one_line(project: Project, name: str) -> None:
    files, pattern = BAD_INPUT[name]
    project.write(files)

    outcome = run(project)

    assert outcome.code == 2, str(outcome)
    [line] = outcome.stderr.splitlines()
    assert line.startswith("[FAIL] pytest cannot collect"), line
    assert re.search(pattern, line), line


def test_what_is_odd_in_the_settings_is_a_warning(project: Project) -> None:
    project.write(
        {
            "pytest.ini": "[pytest]\ntestpaths = nowhere*\n",
            "pyproject.toml": "[tool.pytest.ini_options]\npython_files = 'x.py'\n",
            "test_a.py": FINE,
        }
    )
    outcome = run(project)
    assert (outcome.code, outcome.statuses()) == (0, {"test_a.py": "PASS"})
    assert "[WARN] No files were found in testpaths" in outcome.stderr
    assert (
        "[WARN] pytest reads its settings from pytest.ini alone: "
        "[tool.pytest.ini_options] in pyproject.toml has no effect" in outcome.stderr
    )


def test_settings_of_ours_keep_the_scripts_layout_and_say_so(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[tool.passmuster]\npatterns = ['check_*.py']\n"
            "[tool.pytest.ini_options]\npython_files = 'x.py'\n",
            "tests/check_a.py": FINE,
            "tests/test_b.py": WRONG,
        }
    )
    outcome = run(project)
    assert outcome.statuses() == {"tests/check_a.py": "PASS"}
    [line] = outcome.stderr.splitlines()
    assert line.startswith("[WARN] patterns (from [tool.passmuster] patterns in "), line
    ignored = "the test paths and patterns of [tool.pytest.ini_options] in pyproject.toml are ignored"
    assert line.endswith(f" decides which files are tests: {ignored}"), line


def test_nothing_to_collect_is_not_green_and_says_who_looked(project: Project) -> None:
    project.write({"pytest.ini": "[pytest]\npython_files = no_*.py\n", "test_a.py": FINE})
    outcome = run(project)
    assert (outcome.code, outcome.lines) == (5, ["[WARN] No unit test files found"])
    assert outcome.stderr == "[INFO] Layout: pytest (pytest.ini)\n"


def test_the_list_says_which_layout_beside_the_files(project: Project) -> None:
    project.write({"mvp_site/tests/test_a.py": WRONG, "pytest.ini": "[pytest]\n"})
    for argv, layout in (
        ((), "scripts (there is a folder mvp_site)"),
        (("--layout", "pytest"), "pytest (from --layout)"),
    ):
        outcome = run(project, "--list", *argv)
        assert outcome.lines == ["tests/test_a.py" if not argv else "mvp_site/tests/test_a.py"]
        assert outcome.stderr == f"[INFO] Layout: {layout}\n"


def test_files_of_unittest_are_those_that_it_discovers(project: Project) -> None:
    case = "import unittest\nclass T(unittest.TestCase):\n    def test_1(self): pass\n"
    project.write(
        {
            "pkg/__init__.py": "",
            "pkg/tests/__init__.py": "",
            "pkg/tests/testing.py": case,
            "pkg/tests/test-odd.py": BROKEN,
            "loose/test_b.py": BROKEN,
            "test_c.py": case,
        }
    )
    outcome = project.run("--layout", "unittest")
    assert outcome.statuses() == {"pkg/tests/testing.py": "PASS", "test_c.py": "PASS"}
    assert {outcome.final(path).runner for path in outcome.statuses()} == {"unittest"}


def test_tests_of_unittest_beside_the_usual_folder_are_found(project: Project) -> None:
    case = "import unittest\nclass T(unittest.TestCase):\n    def test_1(self): pass\n"
    project.write(
        {
            "tests/test_a.py": case,
            "pkg/__init__.py": "",
            "pkg/tests/__init__.py": "",
            "pkg/tests/test_b.py": case,
            "pkg/tests/test_helpers.py": "raise RuntimeError('never imported')\n",
            "pkg/testing.py": "raise RuntimeError('never imported')\n",
            "pkg/testcases.py": case,
            "loose/test_no_package.py": case,
            "tests/manual_tests/test_by_hand.py": case,
        }
    )

    outcome = project.run(env=ENVIRONMENT)

    assert outcome.code == 0, str(outcome)
    assert set(outcome.statuses()) == {"tests/test_a.py", "pkg/tests/test_b.py", "pkg/testcases.py"}


def test_a_test_file_of_a_package_with_relative_imports_runs_by_a_framework_despite_its_guard(
    project: Project,
) -> None:
    project.write(
        {
            "tests/__init__.py": "",
            "tests/values.py": "one = 1\n",
            "tests/test_a.py": "import unittest\n\nfrom .values import one\n\n"
            "class T(unittest.TestCase):\n    def test_1(self): self.assertEqual(one, 1)\n\n"
            "if __name__ == '__main__':\n    unittest.main()\n",
        }
    )
    outcome = project.run()
    assert outcome.statuses() == {"tests/test_a.py": "PASS"}
    assert [case.outcome for case in outcome.final("tests/test_a.py").cases] == ["passed"]


def test_guarded_files_of_unittest_run_as_unittest_imports_them(project: Project) -> None:
    project.write(
        {
            "shop/__init__.py": "price = 7\n",
            "tests/__init__.py": "",
            "tests/base.py": "import unittest\nclass Base(unittest.TestCase):\n    pass\n",
            "tests/test_a.py": "import shop\nfrom tests.base import Base\nclass T(Base):\n"
            "    def test_1(self): self.assertEqual(shop.price, 7)\n"
            "if __name__ == '__main__':\n    import unittest\n    unittest.main()\n",
            "tests/test_skips_itself.py": "import unittest\nraise unittest.SkipTest('not on this machine')\n"
            "class T(unittest.TestCase):\n    def test_1(self): pass\n",
        }
    )

    outcome = project.run()

    assert outcome.code == 0, str(outcome)
    found = {
        one.label: (one.runner, one.status, [case.outcome for case in one.cases])
        for one in outcome.finished()
        if one.is_verdict
    }
    assert found == {
        "tests/test_a.py": ("unittest", "PASS", ["passed"]),
        "tests/test_skips_itself.py": ("unittest", "PASS", ["skipped"]),
    }


def test_a_project_in_which_nothing_is_found_is_not_green(project: Project) -> None:
    project.write({"setup.py": "", "foo.py": "x = 1\n"})

    outcome = project.run()

    assert (outcome.code, outcome.lines) == (5, ["[WARN] No unit test files found"])


def test_exclude_leaves_out_what_pytest_collects_and_says_so(project: Project) -> None:
    project.write(
        {
            "pyproject.toml": "[tool.passmuster]\nexclude = ['tests/data']\n[tool.pytest.ini_options]\n",
            "tests/test_a.py": FINE,
            "tests/data/test_b.py": BROKEN,
            "tests/manual_tests/test_c.py": FINE,
        }
    )
    outcome = run(project)
    assert outcome.statuses() == {"tests/test_a.py": "PASS", "tests/manual_tests/test_c.py": "PASS"}
    assert "[WARN] 1 file(s) that pytest collects are left out by exclude" in outcome.stderr


def test_a_conftest_that_prints_and_reads_variables_does_no_harm(project: Project) -> None:
    project.write(
        {
            "conftest.py": "import os, sys\nprint('{}' * 100)\nos.write(1, b'raw\\n')\n"
            "collect_ignore = ['test_b.py'] if os.environ.get('ONLY') else []\n",
            "test_a.py": FINE,
            "test_b.py": FINE,
        }
    )
    assert set(run(project).statuses()) == {"test_a.py", "test_b.py"}
    only = project.run(env={**ENVIRONMENT, "ONLY": "1"})
    assert set(only.statuses()) == {"test_a.py"}
    assert set(run(project).statuses()) == {"test_a.py", "test_b.py"}


def test_nothing_that_a_conftest_starts_is_left(project: Project) -> None:
    project.write(
        {
            "conftest.py": "import subprocess, sys\n"
            "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n",
            "test_a.py": FINE,
        }
    )
    assert run(project, "--list").lines == ["test_a.py"]
    assert os.name == "posix"  # The fixture checks that no process of the project is left.


CONFTEST_THAT_TELLS = """\
import pathlib

def pytest_addoption(parser):
    parser.addoption("--mood", default="none")

def pytest_runtest_logreport(report):
    pass

def pytest_sessionfinish(session):
    config = session.config
    told = [str(config.rootpath), str(config.inipath), config.getoption("mood"), config.option.importmode]
    names = sorted(pathlib.Path(p.__file__).parent.name for p in config.pluginmanager.get_plugins()
                   if str(getattr(p, "__file__", "")).endswith("conftest.py"))
    with open(pathlib.Path(__file__).parent / "told", "a") as file:
        for item in session.items:
            file.write(repr((item.nodeid, told, names)) + "\\n")
"""


@pytest.mark.parametrize("isolation", ["spawn", "auto"])
def test_root_configuration_and_initial_conftests_are_those_of_the_projects_own_command(
    project: Project, isolation: str
) -> None:
    # The option is one of tests/conftest.py, which no path below pkg/ leads to.
    project.write(
        {
            "setup.cfg": "[tool:pytest]\ntestpaths = tests pkg\n"
            "addopts = --mood=fine --import-mode=importlib\n",
            "tests/conftest.py": CONFTEST_THAT_TELLS,
            "tests/test_a.py": FINE,
            "tests/nested/pytest.ini": "[pytest]\naddopts = --no-such-option\n",
            "tests/nested/test_b.py": FINE,
            "tests/nested/conftest.py": "",
            "pkg/tests/pyproject.toml": "[tool.pytest.ini_options]\npython_files = 'x.py'\n",
            "pkg/tests/setup.py": "",
            "pkg/tests/test_a.py": FINE,
        }
    )
    told = project.root / "tests" / "told"
    collected_by_pytest(project)
    told.unlink()
    subprocess.run(
        [PYTEST_ENVIRONMENT / "bin" / "python", "-m", "pytest", "-q"],
        cwd=project.root,
        env=project.environment(),
        capture_output=True,
        check=True,
    )
    theirs = {eval(line)[0]: eval(line)[1:] for line in told.read_text().splitlines()}
    told.unlink()

    outcome = run(project, "--isolation", isolation, "--jobs", "1")

    assert set(outcome.statuses().values()) == {"PASS"}, str(outcome)
    ours = {eval(line)[0]: eval(line)[1:] for line in told.read_text().splitlines()}
    assert ours.keys() == theirs.keys()
    for node_id, (settings, conftests) in ours.items():
        assert settings == theirs[node_id][0], node_id
        # A conftest that belongs to other files alone is loaded for these alone.
        assert set(conftests) - {"nested"} == set(theirs[node_id][1]) - {"nested"}
