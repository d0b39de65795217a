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


@pytest.mark.parametrize("name", CONFTESTS)
@pytest.mark.parametrize("folder", ["", "tests/"])
def test_what_an_initial_conftest_cannot_do_late_is_refused(
    bench: SessionBench, folder: str, name: str
) -> None:
    bench.write(f"{folder}conftest.py", CONFTESTS[name])

    prepared = bench.run_forked("test_a.py")

    assert prepared.refused == ""
    assert prepared.why_not["test_a.py"].endswith(f"{folder}conftest.py names {name}")
    # A child that is asked all the same runs nothing.
    assert prepared.unsupported == prepared.why_not
    assert prepared.runs["test_a.py"].output == ""


def test_files_with_conftests_and_settings_of_their_own_run_as_when_they_are_spawned(
    bench: SessionBench,
) -> None:
    texts = {**CONFTESTS, **LATE_CONFTESTS}
    files = []
    for number, text in enumerate(texts.values()):
        bench.write(f"sub_{number}/conftest.py", text)
        bench.write(f"sub_{number}/below/test_it.py", TRIVIAL)
        files.append(f"sub_{number}/below/test_it.py")
    # pytest called in the root reads no other settings, whatever file it comes to.
    bench.write("other/pytest.ini", "[pytest]\naddopts = -v\n")
    bench.write("other/test_it.py", "def test_it(request): assert request.config.option.verbose == 0\n")

    runs = bench.compare(*files, "other/test_it.py")

    assert runs["other/test_it.py"].status == 0, runs["other/test_it.py"].output


def test_a_conftest_that_appears_after_the_start_is_loaded_by_a_spawned_process(bench: SessionBench) -> None:
    bench.write("test_a.py", "def test_a(): open('conftest.py', 'x').close()\n")
    bench.write("test_b.py", TRIVIAL)

    prepared = bench.run_forked("test_a.py", "test_b.py")

    assert prepared.runs["test_a.py"].status == 0
    assert "other initial conftests" in prepared.unsupported["test_b.py"]
    assert prepared.runs["test_b.py"].output == ""


def test_a_file_outside_of_the_root_is_refused(bench: SessionBench) -> None:
    bench.write("../outside/test_it.py", TRIVIAL)

    prepared = bench.run_forked("../outside/test_it.py")

    assert "not below the root" in prepared.why_not["../outside/test_it.py"]


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
    "threading.excepthook": "import threading\nthreading.excepthook = print\n",
    "RuntimeError: in vain": "print('shown')\nraise RuntimeError('in vain')\n",
    "SystemExit": "import sys\nsys.exit(3)\n",
    "UsageError": "import pytest\ndef pytest_configure(): raise pytest.UsageError('no')\n",
}


@pytest.mark.parametrize("reason", LATE_CONFTESTS)
def test_what_only_a_loaded_conftest_shows_is_refused_before_anything_is_printed(
    bench: SessionBench, reason: str
) -> None:
    bench.write("conftest.py", LATE_CONFTESTS[reason])

    prepared = bench.run_forked("test_a.py")

    assert prepared.why_not == {"test_a.py": ""}
    assert reason in prepared.unsupported["test_a.py"]
    assert prepared.runs["test_a.py"].output == ""
    assert prepared.runs["test_a.py"].report.begun == 0


def test_a_conftest_may_choose_the_tests_by_mark(bench: SessionBench) -> None:
    bench.write(
        "conftest.py",
        "def pytest_configure(config):\n    config.option.markexpr = config.option.markexpr or 'not slow'\n",
    )
    bench.write("test_a.py", TRIVIAL + "import pytest\n@pytest.mark.skip\ndef test_b(): pass\n")

    bench.compare("test_a.py")


SETTINGS = {
    "log_file is set": "log_file = x.log",
    "something else than the tests": "addopts = --fixtures",
    "UsageError": "required_plugins = no-such-plugin",
    "minversion": "minversion = 99.0",
    "belongs to the project": "addopts = -p own_plugin",
    "prints before": "addopts = -p loud_plugin",
    "started a thread": "addopts = -p threaded_plugin",
    "keeps": "addopts = -p open_plugin",
    "reads PYTEST_XDIST_WORKER": "addopts = -p asking_plugin",
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
    "asking_plugin": """
        import os
        def pytest_configure(): os.environ.get("PYTEST_XDIST_WORKER")
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
