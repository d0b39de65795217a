"""The line of the test file that a message names, in real messages of pytest, unittest and Python."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from dispatcher.reporters.failure_text import failure_line
from tests.support.pytest_environment import PYTEST_PYTHON

LIBRARY = """\
def boom():
    raise OSError("in the library")
"""

TESTS = """\
import unittest
import library


def helper(text):
    raise ValueError(text)  # helper


class Case(unittest.TestCase):
    def test_plain(self):
        self.assertEqual(1, 2)  # plain

    def test_library(self):
        library.boom()  # library

    def test_chain(self):
        try:
            helper("first")
        except ValueError as error:
            raise KeyError("second") from error  # chain

    def test_helper(self):
        helper("only")

    def test_text(self):
        self.fail('not here:\\nother.py:3: in test\\n  File "other.py", line 5, in x')  # text
"""


def line_of(mark: str, source: str = TESTS) -> int:
    [number] = [number for number, line in enumerate(source.splitlines(), 1) if line.endswith(f"# {mark}")]
    return number


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "tests").mkdir()
    (root / "tests" / "test_it.py").write_text(TESTS)
    (root / "tests" / "library.py").write_text(LIBRARY)
    return root


def output_of(project: Path, *arguments: str, cwd: str = "") -> str:
    ended = subprocess.run(
        [PYTEST_PYTHON, *arguments],
        cwd=project / cwd,
        env={**os.environ, "PYTHONPATH": str(project / "tests"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode != 0, ended.stdout
    return ended.stdout


BY_PYTEST = """\
import sys
import pytest
*options, names = sys.argv[1:]
for name in names.split():
    pytest.main(["-p", "no:cacheprovider", *options, f"tests/test_it.py::Case::test_{name}"])
    print("\\n<end>", flush=True)
sys.exit(1)
"""
BY_UNITTEST = """\
import sys
import unittest
for name in sys.argv[1].split():
    unittest.main("test_it", argv=["", f"Case.test_{name}"], exit=False)
    print("\\n<end>", flush=True)
sys.exit(1)
"""
EVERY = ("plain", "library", "chain", "helper", "text")


@pytest.mark.parametrize(
    ("program", "options", "marks"),
    [
        (BY_UNITTEST, (), EVERY),
        (BY_PYTEST, (), EVERY),
        (BY_PYTEST, ("--tb=short",), EVERY),
        (BY_PYTEST, ("--tb=native",), EVERY),
        (BY_PYTEST, ("--tb=line",), ("chain", "helper")),  # Else it names the library's line alone.
    ],
    ids=["unittest", "pytest", "short", "native", "line"],
)
def test_the_innermost_line_inside_the_file_is_found(
    project: Path, program: str, options: tuple[str, ...], marks: tuple[str, ...]
) -> None:
    *outputs, rest = output_of(project, "-c", program, *options, " ".join(marks)).split("<end>\n")

    assert rest == ""
    for mark, output in zip(marks, outputs, strict=True):
        assert failure_line(output, "tests/test_it.py", "tests/test_it.py") == line_of(mark), output


@pytest.mark.parametrize(
    ("cwd", "path", "label"),
    [
        ("", "mvp/tests/test_it.py", "tests/test_it.py"),
        ("tests", "tests/test_it.py", "tests/test_it.py"),
        ("..", "tests/test_it.py", "tests/test_it.py"),
    ],
)
def test_the_file_is_known_whatever_folder_the_tests_run_in(
    project: Path, cwd: str, path: str, label: str
) -> None:
    named = os.path.relpath(project / "tests/test_it.py", project / cwd)
    output = output_of(
        project,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-k",
        "plain",
        f"--rootdir={project}",
        named,
        cwd=cwd,
    )

    assert failure_line(output, path, label) == line_of("plain"), output


def test_a_syntax_error_has_its_line(project: Path) -> None:
    (project / "tests" / "test_broken.py").write_text("value = 1\ndef broken(:\n")

    for arguments in (
        ["tests/test_broken.py"],
        ["-m", "pytest", "-p", "no:cacheprovider", "tests/test_broken.py"],
    ):
        output = output_of(project, *arguments)
        assert failure_line(output, "tests/test_broken.py", "tests/test_broken.py") == 2, output


def test_an_import_that_fails_has_its_line(project: Path) -> None:
    (project / "tests" / "test_import.py").write_text("\n\nimport does_not_exist\n")
    output = output_of(project, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_import.py")

    assert failure_line(output, "tests/test_import.py", "tests/test_import.py") == 3, output


def test_an_exception_group_has_its_line(project: Path) -> None:
    source = "def test_group():\n    raise ExceptionGroup('g', [ValueError(1), KeyError(2)])\n"
    (project / "tests" / "test_group.py").write_text(source)
    output = output_of(project, "-m", "pytest", "-p", "no:cacheprovider", "tests/test_group.py")

    assert failure_line(output, "tests/test_group.py", "tests/test_group.py") == 2, output


def test_a_crash_has_the_innermost_line_although_it_comes_first(project: Path) -> None:
    source = "import os\ndef inner():\n    os.abort()\ndef outer():\n    inner()\nouter()\n"
    (project / "tests" / "test_crash.py").write_text(source)
    output = output_of(project, "-X", "faulthandler", "tests/test_crash.py")

    assert "most recent call first" in output
    assert failure_line(output, "tests/test_crash.py", "tests/test_crash.py") == 3, output


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing",
        "tests/other.py:3: AssertionError",
        'File "/p/tests/my_test_it.py", line 3, in x',
        'File "/p/tests/test_it.py", line 0, in x',
        'File "/p/tests/test_it.py", line 123456789, in x',
        "    tests/test_it.py:7: indented by a test",
        "E   tests/test_it.py:7: quoted by a test",
        "tests/test_it.py:x: no number",
        "tests/test_it.py::Case::test_x",
    ],
)
def test_text_that_is_not_a_place_in_the_file_is_ignored(text: str) -> None:
    assert failure_line(text, "tests/test_it.py", "tests/test_it.py") is None


def test_a_worker_has_the_project_elsewhere() -> None:
    text = '  File "/var/worker/trees/ab12/tests/test_it.py", line 7, in test_x'

    assert failure_line(text, "tests/test_it.py", "tests/test_it.py") == 7


def test_a_long_output_is_searched_from_its_end() -> None:
    place = 'File "tests/test_it.py", line {}, in x\n'
    text = place.format(1) + "x" * 10_000_000 + "\n" + place.format(9)

    assert failure_line(text, "tests/test_it.py", "tests/test_it.py") == 9
