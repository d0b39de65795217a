"""A forked file that pytest or unittest runs finds what it finds with `python -m pytest FILE`."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.support.facts import Facts, Seen
from tests.e2e.support.project import Project
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

BY_PYTEST = {
    "modules and arguments": """
        import os, sys
        main = sys.modules["__main__"]
        print(main.__name__, main.__package__, main.__spec__.name, main.__file__, main.__loader__)
        print(sys.orig_argv[1:])
        def test_it(request):
            print(__name__, sys.argv, sys.path)
            print(request.config.invocation_params.dir, request.config.rootpath, request.config.args)
            print(sys.modules["__main__"].__name__, sys.flags, os.getcwd(), request.node.nodeid)
            assert 0
    """,
    "working folder and environment": """
        import os, signal, sys
        def test_it(request, monkeypatch):
            tmp_path = request.getfixturevalue("tmp_path")
            print(os.environ["PYTEST_CURRENT_TEST"], os.environ.get("PYTEST_VERSION") is not None)
            print(tmp_path.is_relative_to(os.environ["TMPDIR"]), os.umask(0), signal.getsignal(signal.SIGINT))
            monkeypatch.setenv("A", "1")
            monkeypatch.chdir("/")
            assert sys.stdin.read
            assert 0
    """,
    "streams": """
        import os, sys
        def test_it(capfd):
            print("python")
            os.write(1, b"descriptor\\n")
            os.system("echo subprocess")
            out, err = capfd.readouterr()
            print(out.split(), sys.stdout.encoding, sys.stdout.errors)
            assert 0
        def test_stdin():
            sys.stdin.read()
    """,
    "output that is not captured": """
        import atexit, os
        atexit.register(print, "at exit")
        def test_it(capsys):
            with capsys.disabled():
                print("shown at once")
        def teardown_module():
            os.write(2, b"captured\\n")
    """,
    "assertions": """
        import helper
        def test_lists():
            assert [1, 2] == [1, 3], "message"
        def test_helper():
            helper.check({"a": 1}, {"a": 2})
        def test_text():
            assert "a\\nb" == "a\\nc"
    """,
    "outcomes": """
        import pytest
        def test_skip():
            pytest.skip("reason")
        @pytest.mark.xfail(strict=True)
        def test_strict():
            pass
        @pytest.mark.xfail
        def test_xfail():
            assert 0
        @pytest.mark.parametrize("x", ["\\u00fc", b"b", 1.5, None])
        def test_many(x):
            assert x != 1.5
        @pytest.fixture
        def broken():
            raise RuntimeError("fixture")
        def test_error(broken):
            pass
    """,
    "warnings": """
        import warnings
        import helper
        def test_it():
            warnings.warn("one")
            warnings.warn("two", DeprecationWarning)
            helper.old()
            open("/dev/null")
    """,
    "unraisable": """
        import gc, threading
        class A:
            def __del__(self):
                raise ValueError("del")
        def test_it():
            A()
            gc.collect()
        def test_thread():
            thread = threading.Thread(target=lambda: 1 / 0, name="T")
            thread.start()
            thread.join()
    """,
    "logging": """
        import logging
        def test_it(caplog):
            logging.warning("first")
            assert [record.message for record in caplog.records] == ["first"]
            logging.getLogger("a").error("second")
            assert 0
    """,
    "random": """
        import random, uuid, tempfile
        def test_it():
            random.seed(3)
            print(random.random(), tempfile.gettempdir() != "/tmp", uuid.uuid4() != uuid.uuid4())
            assert 0
    """,
    "collection fails": "import not_there\n\ndef test_it():\n    pass\n",
    "syntax": "def test_it(:\n    pass\n",
    "nothing": "VALUE = 1\n",
    "exit": "import pytest\ndef test_a():\n    pytest.exit('enough', returncode=7)\ndef test_b(): pass\n",
    "system exit": "import sys\ndef test_it():\n    sys.exit(3)\n",
    "interrupt": "def test_it():\n    raise KeyboardInterrupt\n",
    "hard exit": "import os\ndef test_it():\n    os._exit(5)\n",
    "crash": "import os\ndef test_it():\n    os.abort()\n",
    "processes": """
        import multiprocessing, os, subprocess, sys
        def square(x):
            return x * x
        def test_pool():
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(1) as pool:
                    assert pool.map(square, [2]) == [4]
        def test_fork():
            pid = os.fork()
            if pid == 0:
                os._exit(4)
            assert os.waitpid(pid, 0)[1] == 4 << 8
        def test_python():
            assert subprocess.run([sys.executable, "-c", "pass"]).returncode == 0
    """,
    "unittest and doctest": '''
        """
        >>> 1 + 1
        3
        """
        import unittest
        class T(unittest.TestCase):
            def test_sub(self):
                for i in range(2):
                    with self.subTest(i=i):
                        self.assertEqual(i, 0)
            @unittest.expectedFailure
            def test_expected(self):
                self.fail()
    ''',
    "thread after the end": """
        import threading
        def test_it():
            def later():
                threading.main_thread().join()
                print("later")
            threading.Thread(target=later).start()
    """,
}

BY_UNITTEST = {
    "identity": """
        import os, sys, unittest
        main = sys.modules["__main__"]
        print(main.__name__, main.__package__, main.__spec__.name, main.__file__, main.__loader__)
        print(sys.orig_argv[1:])
        print(__name__, sys.argv, sys.path[0] == os.getcwd(), os.getcwd(), sys.flags)
        class T(unittest.TestCase):
            def test_it(self):
                print(self.id())
                self.assertEqual({"a": 1}, {"a": 2})
    """,
    "outcomes": """
        import unittest
        class T(unittest.TestCase):
            @unittest.skip("reason")
            def test_a(self): pass
            @unittest.expectedFailure
            def test_b(self): pass
            def test_c(self): raise OSError("x")
            def test_d(self):
                for i in range(2):
                    with self.subTest(i=i):
                        self.assertEqual(i, 0)
        class S(unittest.TestCase):
            @classmethod
            def setUpClass(cls): raise RuntimeError("set up")
            def test_e(self): pass
    """,
    "warnings": """
        import unittest, warnings
        class T(unittest.TestCase):
            def test_it(self):
                warnings.warn("old", DeprecationWarning)
                open("/dev/null")
                with self.assertWarns(UserWarning):
                    warnings.warn("new")
    """,
    "asynchronous": """
        import asyncio, unittest
        class T(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self): self.value = await asyncio.sleep(0, 3)
            async def test_it(self): self.assertEqual(self.value, 4)
    """,
    "mock": """
        import os, unittest
        from unittest import mock
        class T(unittest.TestCase):
            @mock.patch.dict(os.environ, {"A": "1"})
            @mock.patch("os.getcwd", return_value="/x")
            def test_it(self, cwd): print(os.getcwd(), os.environ["A"], cwd.call_count)
    """,
    "import fails": "import not_there\n",
    "nothing": "VALUE = 1\n",
    "modules": """
        import unittest
        def setUpModule(): print("set up")
        def tearDownModule(): raise ValueError("tear down")
        class T(unittest.TestCase):
            def test_it(self): pass
    """,
    "exit": "import sys, unittest\nclass T(unittest.TestCase):\n    def test_it(self): sys.exit(3)\n",
    "interrupt": """
        import unittest
        class T(unittest.TestCase):
            def test_it(self): raise KeyboardInterrupt
    """,
    "load tests": """
        import unittest
        class T(unittest.TestCase):
            def test_a(self): pass
            def test_b(self): self.fail()
        def load_tests(loader, standard, pattern): return unittest.TestSuite([T("test_a")])
    """,
    "globals at the end": """
        import atexit, unittest
        class Loud:
            def __del__(self): print("gone")
        kept = Loud()
        atexit.register(print, "at exit")
        class T(unittest.TestCase):
            def test_it(self): pass
    """,
}

HELPER = (
    "import warnings\ndef check(a, b):\n    assert a == b\n"
    "def old():\n    warnings.warn('helper', DeprecationWarning)\n"
)


def test_pytest_finds_what_it_finds_without_us(project: Project) -> None:
    others = {
        "tests/helper.py": HELPER,
        "tests/conftest.py": "import pytest\npytest.register_assert_rewrite('helper')\n",
    }
    interpreter = str(PYTEST_ENVIRONMENT / "bin" / "python")
    options = {"PYTEST_ADDOPTS": "-p no:cacheprovider"}
    facts = Facts(project, interpreter, BY_PYTEST, others=others, runner="pytest", environment=options)
    _compare(facts)


def test_unittest_finds_what_it_finds_without_us(project: Project, bare_environment: Path) -> None:
    interpreter = str(bare_environment / "bin" / "python")
    path = {"PYTHONPATH": str(project.root / "tests")}
    facts = Facts(project, interpreter, BY_UNITTEST, environment=path, runner="unittest")
    _compare(facts)


def _compare(facts: Facts) -> None:
    plain = _steady(facts.plain())
    different = {}
    for way in ("spawn", "fork"):
        seen = _steady(facts.ours(way))
        for name in plain:
            if seen[name] != plain[name]:
                different[way, name] = (plain[name], seen[name])
    assert different == {}


def _steady(seen: Seen) -> Seen:
    """Return it without the bars that a time makes longer, and stacks from the interpreter's start on."""
    steady: Seen = {}
    for name, (text, code) in seen.items():
        text = re.sub(r"=+ (.*) in TIME =+", r"= \1", text)
        if name in ("interrupt", "crash"):
            text = re.sub(r"(?m)^  (File )?.*\n", "", text)
        steady[name] = (text, code)
    return steady
