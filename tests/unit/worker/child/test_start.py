"""How a test process decides what a file is, what it defines, and under which name it is imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.unit.worker.child.child_bench import INTERPRETERS, ChildBench
from worker.process.command import CHILD_DIR


def load() -> ModuleType:
    """Load the module without leaving its name behind: it belongs into test processes."""
    spec = importlib.util.spec_from_file_location("_start", CHILD_DIR / "passmuster_child_start.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


START = load()


@pytest.mark.parametrize(
    ("source", "is_script"),
    [
        (b'if __name__ == "__main__":\n    main()\n', True),
        (b"import x\n\nif __name__ == '__main__': main()\n", True),
        (b'if "__main__" == __name__:\n', True),
        (b'if(__name__ == "__main__"):\n', True),
        (b'if __name__ == "__main__" and not x:\n', True),
        (b'x = 1\r\nif __name__ == "__main__":\r\n', True),
        (b'x = 1\rif __name__ == "__main__":\r', True),
        (b'"""One."""\nif __name__ == "__main__":\n', True),
        (b"\xff\xfe\nif __name__ == '__main__':\n", True),
        (b"", False),
        (b"def test_a(): pass\n", False),
        (b'    if __name__ == "__main__":\n', False),
        (b'# if __name__ == "__main__":\n', False),
        (b'"""\nif __name__ == "__main__":\n"""\n', False),
        (b"'''\nif __name__ == \"__main__\":\n'''\n", False),
        (b'if __name__ == "main":\n', False),
        (b'ifx(__name__, "__main__")\n', False),
    ],
)
def test_a_guard_makes_a_file_a_script(source: bytes, is_script: bool) -> None:
    assert START.has_guard(source) is is_script
    if is_script:
        assert START.runs_as_script(source)


@pytest.mark.parametrize(
    ("source", "is_script"),
    [
        (b"", True),
        (b"print('pong')\n", True),
        (b"import sys\nsys.exit(3)\n", True),
        (b"import unittest\n\ndef helper():\n    def test_inner(): pass\n", True),
        (b"class Price:\n    def total(self): pass\n", True),
        (b"from decimal import Decimal\nfrom x import latest\n", True),
        (b"def test_a(): pass\n", False),
        (b"async def test_a(): pass\n", False),
        (b"class TestA: pass\n", False),
        (b"class A(unittest.TestCase): pass\n", False),
        (b"class A(ShopCase): pass\n", False),
        (b"class A(Base):\n    def test_a(self): pass\n", False),
        (b"from base import *\n", False),
        (b"from base import (\n    helper,\n    TestShop as TestOurs,\n)\n", False),
        (b"test_a = make()\n", False),
        (b"def load_tests(loader, tests, pattern): pass\n", False),
        (b"try:\n    import x\nexcept ImportError:\n    pass\nelse:\n    def test_a(): pass\n", False),
        (b"if x:\n    pass\nelif y:\n    class TestA: pass\n", False),
        (b"with x:\n    def test_a(): pass\n", False),
        (b"def test_a(:\n", False),
        (b"x = '\x00'\n", False),
    ],
)
def test_a_file_without_tests_is_a_script_too(source: bytes, is_script: bool) -> None:
    assert START.runs_as_script(source) is is_script


GUARD = b'if __name__ == "__main__":\n    main()\n'


@pytest.mark.parametrize(
    ("source", "is_script"),
    [
        (b"def test_a(): pass\n" + GUARD, True),
        (b"from . import helper\n" + GUARD, True),
        (b"from . import helper\ndef test_a(): pass\n" + GUARD, False),
        (b"def test_a():\n    from .helper import a\n" + GUARD, False),
        (b"def test_a():\r    from .. import a\r" + GUARD, False),
        (b"from helper import a\ndef test_a(): pass\n" + GUARD, True),
    ],
)
def test_a_guard_does_not_count_in_a_file_with_tests_whose_imports_need_a_package(
    source: bytes, is_script: bool
) -> None:
    assert START.runs_as_script(source) is is_script


@pytest.mark.parametrize(
    ("packages", "file", "folder", "name"),
    [
        ((), "test_a.py", "", "test_a"),
        ((), "tests/test_a.py", "tests", "test_a"),
        (("tests",), "tests/test_a.py", "", "tests.test_a"),
        (("tests", "tests/unit"), "tests/unit/test_a.py", "", "tests.unit.test_a"),
        (("tests/unit",), "tests/unit/test_a.py", "tests", "unit.test_a"),
        (("tests",), "tests/unit/test_a.py", "tests/unit", "test_a"),
    ],
)
def test_a_file_is_imported_from_above_its_packages(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    packages: tuple[str, ...],
    file: str,
    folder: str,
    name: str,
) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    for package in packages:
        (tmp_path / package / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)

    assert START.module_name(file) == (str(tmp_path / folder), name)


@pytest.fixture(params=INTERPRETERS)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> ChildBench:
    (tmp_path / "project").mkdir()
    return ChildBench(tmp_path / "project", INTERPRETERS[request.param])


def test_a_file_decides_how_it_is_run_and_the_caller_may_overrule_it(bench: ChildBench) -> None:
    bench.write("guarded.py", "if __name__ == '__main__':\n    print('main')\n")
    bench.write("open.py", "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n")

    guarded, open_file = bench.run("guarded.py"), bench.run("open.py")

    assert guarded.report.runner == "script"
    assert guarded.output == "main\n"
    has_pytest = bench.run_plainly("-c", "import pytest")[0] == 0
    assert open_file.report.runner == ("pytest" if has_pytest else "unittest")
    assert open_file.cases == [("test_a", "passed")]
    assert bench.run("open.py", "unittest").report.runner == "unittest"
    assert bench.run("open.py", "script").report.cases == []


def test_a_script_that_runs_none_of_its_tests_says_how_many_it_has(bench: ChildBench) -> None:
    bench.write("idle.py", "import unittest\nclass T(unittest.TestCase):\n    def test_a(self): pass\n")

    assert bench.run("idle.py", "script").report.defines == 1


def test_a_file_that_does_not_compile_is_reported_as_not_collected(bench: ChildBench) -> None:
    bench.write("broken.py", "def f(:\n")

    ran = bench.run("broken.py", "script")

    assert ran.status == 1
    assert ran.report.collect_error.startswith("SyntaxError: ")


def test_a_file_in_a_package_may_import_its_neighbours_under_unittest(bench: ChildBench) -> None:
    bench.write("pkg/__init__.py", "")
    bench.write("pkg/near.py", "VALUE = 3\n")
    bench.write(
        "pkg/test_it.py",
        """
        import unittest
        from .near import VALUE
        class T(unittest.TestCase):
            def test_a(self):
                self.assertEqual(VALUE, 3)
        """,
    )

    ran = bench.run("pkg/test_it.py", "unittest")

    assert (ran.status, ran.cases) == (0, [("test_a", "passed")]), ran.output


def test_stacks_are_written_to_the_report_when_asked_for(bench: ChildBench) -> None:
    bench.write(
        "prog.py", "import os, signal\ndef here():\n    os.kill(os.getpid(), 60)\nhere()\nprint('on')\n"
    )

    ran = bench.run("prog.py", "script")

    assert (ran.status, ran.output) == (0, "on\n")
    assert "in here" in ran.report.stray_text
