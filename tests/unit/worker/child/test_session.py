"""A file run in a fork of a prepared pytest session is run as `pytest.main` runs it, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.worker.child.session_bench import SessionBench, find_pythons
from tests.unit.worker.child.session_project import FILES, INI, NAMES

TRIVIAL = "def test_a(): pass\ndef test_b(): assert [1] == [2]\n"


@pytest.fixture(params=find_pythons())
def python(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bench(tmp_path: Path, python: str) -> SessionBench:
    (tmp_path / "project").mkdir()
    made = SessionBench(tmp_path / "project", python)
    made.ways = (False, True)
    made.write("pytest.ini", "[pytest]\n")
    return made


def test_every_file_ends_as_when_it_is_spawned(bench: SessionBench) -> None:
    for name, text in {"pytest.ini": INI, **FILES}.items():
        bench.write(name, text)

    runs = bench.compare(*NAMES)

    statuses = {name: run.status for name, run in runs.items()}
    assert statuses["test_exits.py"] == 7
    assert statuses["test_empty.py"] == 5
    assert statuses["test_broken.py"] == 2
    assert statuses["unit/test_fixtures.py"] == 0, runs["unit/test_fixtures.py"].output
    assert statuses["deep/er/test_deep.py"] == 0


def test_conftests_that_print_are_loaded_and_print_where_they_would_have(bench: SessionBench) -> None:
    bench.ways = (False,)  # No server holds them.
    bench.write("conftest.py", "print('the upper conftest is loaded')\n")
    bench.write("unit/__init__.py", "print('the package is imported')\n")
    bench.write("unit/conftest.py", "print('the lower conftest is loaded')\n")
    bench.write("unit/test_a.py", TRIVIAL)

    runs = bench.compare("unit/test_a.py")

    assert "the lower conftest is loaded" in runs["unit/test_a.py"].output


SETTINGS = {
    "no terminal": "-p no:terminal",
    "no capture": "-s",
    "capture by sys": "--capture=sys",
    "capture by tee": "--capture=tee-sys",
    "no capture plugin": "-p no:capture -p no:logging -p no:faulthandler",
    "no cache": "-p no:cacheprovider -p no:warnings",
    "importlib": "--import-mode=importlib -v",
    "warnings as errors": "-W error",
    "first failure": "-x --doctest-modules -vv",
    "quiet": "-q --tb=short --no-header",
    "shown set-up": "--setup-show --junitxml=junit.xml",
    "stepwise": "--sw --nf",
    "verbose options": "-v -v --color=yes --strict-config",
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_work_as_ever(bench: SessionBench, name: str) -> None:
    bench.write("pytest.ini", f"[pytest]\naddopts = {SETTINGS[name]}\n")
    bench.write(
        "conftest.py", "import pytest\n@pytest.fixture(autouse=True)\ndef always(): print('always')\n"
    )
    bench.write("test_a.py", TRIVIAL + "def test_c():\n    import warnings\n    warnings.warn('c')\n")

    bench.compare("test_a.py")


def test_settings_in_the_file_work_as_ever(bench: SessionBench) -> None:
    bench.write(
        "pytest.ini",
        """
        [pytest]
        minversion = 7.0
        required_plugins = pytest-timeout
        timeout = 50
        pythonpath = library
        testpaths = library
        xfail_strict = true
        usefixtures = wanted
        unknown_key = 1
        filterwarnings =
            error
            ignore:just:UserWarning
        markers = known: a marker
        log_cli = true
        log_cli_level = INFO
        """,
    )
    bench.write("library/helper.py", "value = 1\n")
    bench.write(
        "conftest.py",
        """
        import logging, pytest
        from helper import value
        def pytest_sessionstart(): logging.getLogger().warning("started")
        @pytest.fixture
        def wanted(): logging.getLogger().warning("set up")
        """,
    )
    bench.write(
        "test_a.py",
        """
        import warnings, helper, pytest
        def test_a(): warnings.warn("just so")
        def test_b(): warnings.warn("not so", DeprecationWarning)
        @pytest.mark.xfail
        def test_c(): pass
        @pytest.mark.unknown
        def test_d(): pass
        """,
    )

    bench.compare("test_a.py", PYTEST_DISABLE_PLUGIN_AUTOLOAD="", PYTEST_PLUGINS="")


def test_a_hook_of_a_conftest_comes_where_it_would_have_come(bench: SessionBench) -> None:
    bench.write(
        "conftest.py",
        """
        import pytest
        NAMES = ["pytest_runtest_logreport", "pytest_collection_modifyitems", "pytest_runtest_protocol"]
        @pytest.hookimpl(trylast=True)
        def pytest_runtest_protocol(item): pass
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logreport(report): pass
        def pytest_collection_modifyitems(config, items):
            for name in NAMES:
                print(name, [impl.plugin_name for impl in getattr(config.hook, name).get_hookimpls()
                             if not impl.plugin_name.isdigit()])
        """,
    )
    bench.write("test_a.py", TRIVIAL)

    runs = bench.compare("test_a.py", PYTEST_ADDOPTS="-s")

    assert "terminalreporter" in runs["test_a.py"].output


def test_pytest_writes_nothing_for_a_next_session(bench: SessionBench) -> None:
    bench.write("test_a.py", "def test_a(): pass\n")

    assert bench.run_forked("test_a.py").runs["test_a.py"].status == 0
    assert list(Path(bench.temporary).iterdir()) == []
    assert bench.run_spawned("test_a.py").status == 0
    assert list(Path(bench.temporary).iterdir()) == []


def test_nothing_of_one_file_is_seen_by_the_next(bench: SessionBench) -> None:
    bench.write("conftest.py", "import os\nos.environ['SEEN'] = os.environ.get('SEEN', '') + 'x'\n")
    text = "import os, sys\ndef test_a(): assert (os.environ['SEEN'], '{}' in sys.modules) == ('x', False)\n"
    bench.write("test_a.py", text.format("test_b"))
    bench.write("test_b.py", text.format("test_a"))

    runs = bench.compare("test_a.py", "test_b.py")

    assert [run.status for run in runs.values()] == [0, 0]
