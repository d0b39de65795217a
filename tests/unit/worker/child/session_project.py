"""A project that does most of what a project can do to pytest, for the tests of prepared sessions."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "conftest.py": """
        import sys, pytest
        def pytest_addoption(parser):
            parser.addoption("--mood", default="fine")
            parser.addini("colour", "a setting", default="none")
        def pytest_configure(config):
            config.mood = config.getoption("--mood") + "/" + config.getini("colour")
            config.addinivalue_line("markers", "odd: a marker of the project")
        def pytest_sessionstart(session):
            session.config.started = ["upper"]
        def pytest_report_header(config):
            return "mood: " + config.mood
        @pytest.hookimpl
        def pytest_runtest_logreport(report):
            if report.when == "call" and report.failed:
                print("the conftest saw a failure")
        def pytest_collection_modifyitems(items):
            items.reverse()
        def pytest_sessionfinish(session, exitstatus):
            print("finished with", int(exitstatus), session.config.started)
        def pytest_unconfigure(config):
            print("unconfigured")
        def pytest_terminal_summary(terminalreporter):
            terminalreporter.write_line("a summary of the project")
        @pytest.fixture(scope="session")
        def session_thing(request):
            yield "session"
        @pytest.fixture(autouse=True)
        def always(request):
            yield
    """,
    "unit/__init__.py": "imported = True\n",
    "unit/conftest.py": """
        import pytest, warnings
        warnings.warn("the lower conftest warns")
        def pytest_addoption(parser):
            parser.addoption("--lower", action="store_true")
        def pytest_configure(config):
            config.lower = config.getoption("lower")
        def pytest_sessionstart(session):
            session.config.started = ["lower"] + getattr(session.config, "started", [])
        @pytest.fixture(scope="package")
        def package_thing():
            return "package"
        @pytest.fixture
        def session_thing(session_thing):
            return "overridden " + session_thing
    """,
    "unit/test_fixtures.py": """
        import os, pytest
        import unit
        @pytest.fixture(scope="module")
        def module_thing(): return "module"
        @pytest.fixture(scope="class", params=["a", "b"])
        def class_thing(request): return request.param
        class TestIt:
            def test_all(self, session_thing, package_thing, module_thing, class_thing):
                assert (session_thing, package_thing) == ("overridden session", "package")
        def test_options(pytestconfig):
            assert (pytestconfig.mood, pytestconfig.lower) == ("grim/red", False)
            assert pytestconfig.started == ["lower", "upper"] or pytestconfig.started == ["upper"]
        def test_paths(tmp_path, tmp_path_factory):
            assert str(tmp_path).startswith(os.environ["TMPDIR"])
        def test_cache(cache):
            assert str(cache.mkdir("x")).startswith(os.environ["TMPDIR"])
            assert cache.get("x/y", None) is None
        @pytest.mark.odd
        def test_configuration(request, pytestconfig):
            assert pytestconfig.args == [os.path.join("unit", "test_fixtures.py")]
            assert pytestconfig.invocation_params.args[1:] == ()
            assert pytestconfig.option.file_or_dir == []
            assert request.session.config is pytestconfig
            assert request.node.nodeid == "unit/test_fixtures.py::test_configuration"
        """,
    "unit/test_output.py": """
        import os, sys, logging, warnings, pytest
        def test_capsys(capsys):
            print("captured"); assert capsys.readouterr().out == "captured\\n"
        def test_capfd(capfd):
            os.write(1, b"low"); assert capfd.readouterr().out == "low"
        def test_shown():
            print("out"); print("err", file=sys.stderr); os.system("echo from a child")
            logging.getLogger("x").warning("logged"); assert [1, 2, 3] == [1, 2, 4]
        def test_caplog(caplog):
            logging.warning("w"); assert caplog.messages == ["w"]
        def test_warns():
            warnings.warn("a warning of a test"); warnings.warn("old", DeprecationWarning)
        def test_stdin():
            input()
        def test_environment():
            print(sorted(name for name in os.environ if name.startswith("PYTEST_"))); assert 0
        """,
    "test_outcomes.py": """
        import unittest, pytest
        @pytest.mark.parametrize("value", ["a b", "\\u00e9", None], ids=str)
        def test_each(value): pass
        def test_fail(): assert {"a": 1} == {"a": 2}, "reason"
        def test_skip(): pytest.skip("today")
        @pytest.mark.xfail
        def test_xfail(): assert 0
        @pytest.mark.xfail
        def test_xpass(): pass
        @pytest.fixture
        def broken(): raise OSError("no base")
        def test_error(broken): pass
        @pytest.fixture
        def late():
            yield
            raise OSError("late")
        def test_late(late): pass
        def test_subclass(doctest_namespace): pass
        class TestCase(unittest.TestCase):
            @classmethod
            def setUpClass(cls): cls.x = 1
            def test_one(self): self.assertEqual(self.x, 1)
            def test_two(self): self.fail("two")
            @unittest.skip("three")
            def test_three(self): pass
            @unittest.expectedFailure
            def test_four(self): self.fail()
            def test_subtests(self):
                with self.subTest(i=1): self.fail()
        """,
    "test_broken.py": "import no_such_module\n",
    "test_syntax.py": "def test_(:\n",
    "test_empty.py": "x = 1\n",
    "test_skips.py": "import pytest\npytest.skip('all of it', allow_module_level=True)\n",
    "test_exits.py": "import pytest\ndef test_a(): pytest.exit('enough', returncode=7)\n",
    "test_interrupt.py": "def test_a(): raise KeyboardInterrupt\ndef test_b(): pass\n",
    "test_leaves.py": "import sys\ndef test_a(): sys.exit(3)\n",
    "test_exits_at_once.py": "import pytest\npytest.exit('at once')\n",
    "test_thread.py": """
        import threading
        def test_a():
            thread = threading.Thread(target=lambda: 1 / 0); thread.start(); thread.join()
        def test_b():
            class Odd:
                def __del__(self): raise ValueError("odd")
            Odd()
        """,
    "deep/er/test_deep.py": "def test_deep(session_thing): assert session_thing == 'session'\n",
    "deep/er/conftest.py": "def pytest_report_header(): return 'from the depth'\n",
}

NAMES = sorted(name for name in FILES if Path(name).name.startswith("test_"))

INI = """
[pytest]
addopts = --mood=grim -rA --durations=3 --durations-min=100 --strict-markers
colour = red
"""
