"""What a prepared pytest session cannot do as `pytest.main` does it is refused, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.worker.child.session_bench import SessionBench, find_pythons

TRIVIAL = "def test_a(): pass\n"


@pytest.fixture(params=find_pythons())
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> SessionBench:
    (tmp_path / "project").mkdir()
    made = SessionBench(tmp_path / "project", str(request.param))
    made.write("pytest.ini", "[pytest]\n")
    made.write("test_a.py", TRIVIAL)
    return made


CONFTESTS = {
    "pytest_load_initial_conftests": "def pytest_load_initial_conftests(): pass\n",
    "pytest_cmdline_main": "def pytest_cmdline_main(): pass\n",
    "pytest_plugins": "pytest_plugins = ['pytester']\n",
    "pytest_sessionstart": """
        import pytest
        @pytest.hookimpl(hookwrapper=True)
        def pytest_sessionstart(): yield
        """,
}


def test_files_are_refused_one_by_one(bench: SessionBench) -> None:
    for name, text in CONFTESTS.items():
        bench.write(f"{name}/conftest.py", text)
        bench.write(f"{name}/below/test_it.py", TRIVIAL)
    bench.write("other/pytest.ini", "[pytest]\naddopts = -v\n")
    bench.write("other/test_it.py", TRIVIAL)
    bench.write("fine/conftest.py", "def pytest_configure(config): pass\n")
    bench.write("fine/test_it.py", TRIVIAL)
    bench.write("../outside/test_it.py", TRIVIAL)
    files = [f"{name}/below/test_it.py" for name in CONFTESTS]

    prepared = bench.run_forked(*files, "other/test_it.py", "fine/test_it.py", "../outside/test_it.py")

    assert prepared.refused == ""
    for name, file in zip(CONFTESTS, files, strict=True):
        assert prepared.why_not[file].endswith(f"{name}/conftest.py names {name}")
    assert "its configuration is another one" in prepared.why_not["other/test_it.py"]
    assert "another one" in prepared.why_not["../outside/test_it.py"]
    assert prepared.why_not["fine/test_it.py"] == ""
    refused = [file for file in prepared.why_not if file != "fine/test_it.py"]
    # A child that is asked all the same runs nothing.
    assert {file: prepared.unsupported[file] for file in refused} == {
        file: prepared.why_not[file] for file in refused
    }
    assert all(prepared.runs[file].output == "" for file in refused)
    assert prepared.runs["fine/test_it.py"].status == 0


LATE_CONFTESTS = {
    "changes the option verbose": "def pytest_configure(config): config.option.verbose = 2\n",
    "changes the option deselect": "def pytest_configure(config): config.option.deselect = ['x']\n",
    "names pytest_plugins": "globals()['pytest_' + 'plugins'] = ['pytester']\n",
    "removes a plugin": """
        import pytest
        @pytest.hookimpl(trylast=True)
        def pytest_configure(config):
            config.pluginmanager.unregister(name="terminalreporter")
        """,
    "RuntimeError: in vain": "print('shown')\nraise RuntimeError('in vain')\n",
    "SystemExit": "import sys\nsys.exit(3)\n",
    "UsageError": "import pytest\ndef pytest_configure(): raise pytest.UsageError('no')\n",
}


def test_what_only_a_loaded_conftest_shows_is_refused_before_anything_is_printed(bench: SessionBench) -> None:
    files = []
    for number, text in enumerate(LATE_CONFTESTS.values()):
        bench.write(f"late_{number}/conftest.py", text)
        bench.write(f"late_{number}/test_it.py", TRIVIAL)
        files.append(f"late_{number}/test_it.py")

    prepared = bench.run_forked(*files, first="test_a.py")

    assert set(prepared.why_not.values()) == {""}
    for reason, file in zip(LATE_CONFTESTS, files, strict=True):
        assert reason in prepared.unsupported[file]
        assert prepared.runs[file].output == ""
        assert prepared.runs[file].report.begun == 0


def test_a_conftest_may_choose_the_tests_by_mark(bench: SessionBench) -> None:
    bench.write(
        "conftest.py",
        "def pytest_configure(config):\n    config.option.markexpr = config.option.markexpr or 'not slow'\n",
    )
    bench.write("test_a.py", TRIVIAL + "import pytest\n@pytest.mark.skip\ndef test_b(): pass\n")

    bench.compare("test_a.py")


SETTINGS = {
    "log_file is set": "log_file = x.log",
    "adds files or folders": "addopts = other",
    "something else than the tests": "addopts = --fixtures",
    "UsageError": "required_plugins = no-such-plugin",
    "minversion": "minversion = 99.0",
    "belongs to the project": "addopts = -p own_plugin",
    "prints before": "addopts = -p loud_plugin",
    "started a thread": "addopts = -p threaded_plugin",
    "keeps": "addopts = -p open_plugin",
    "wraps pytest_sessionstart": "addopts = -p wrapping_plugin",
    "ValueError: wrong": "addopts = -p broken_plugin",
}

PLUGINS = {
    "own_plugin": "",
    "loud_plugin": "def pytest_configure(): print('loud')\n",
    "threaded_plugin": """
        import threading
        def pytest_configure(): threading.Thread(target=threading.Event().wait, daemon=True).start()
        """,
    "open_plugin": """
        import os, tempfile
        def pytest_configure(config): config.kept = tempfile.TemporaryFile()
        """,
    "wrapping_plugin": """
        import pytest
        @pytest.hookimpl(hookwrapper=True)
        def pytest_sessionstart(): yield
        """,
    "broken_plugin": "def pytest_configure(): raise ValueError('wrong')\n",
}


@pytest.mark.parametrize("reason", SETTINGS)
def test_a_session_that_cannot_be_prepared_is_refused(
    bench: SessionBench, reason: str, tmp_path: Path
) -> None:
    bench.write("pytest.ini", f"[pytest]\n{SETTINGS[reason]}\n")
    bench.write("other/test_other.py", TRIVIAL)
    plugins = tmp_path / ("project" if reason == "belongs to the project" else "elsewhere")
    for name, text in PLUGINS.items():
        bench.write(str(plugins / f"{name}.py"), text)

    prepared = bench.run_forked("test_a.py", PYTHONPATH=str(plugins))

    assert reason in prepared.refused
    assert "\n" not in prepared.refused
    assert prepared.runs == {}


def test_an_unknown_pytest_is_refused(bench: SessionBench, tmp_path: Path) -> None:
    bench.write(
        str(tmp_path / "site" / "sitecustomize.py"), "import pytest\npytest.version_tuple = (99, 0)\n"
    )

    assert "is not known" in bench.run_forked("test_a.py", PYTHONPATH=str(tmp_path / "site")).refused
