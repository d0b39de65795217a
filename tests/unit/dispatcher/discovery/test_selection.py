"""What the user names is what runs; what cannot be run is refused in one line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dispatcher.config.model import Layout, TestConfig
from dispatcher.discovery.discover import discover
from dispatcher.discovery.selected_tests import test_at as find_test_at
from dispatcher.model.plan import FileKind
from passmuster.model.errors import ConfigurationError
from tests.support.no_pytest import without_pytest

FILES = (
    "tests/test_a.py",
    "tests/sub/test_b.py",
    "tests/sub/c_test.py",
    "tests/sub/helper.py",
    "tests/test_integration/test_i.py",
    "tests/manual_tests/test_m.py",
    "tests/venv/test_v.py",
    "test_integration/test_j.py",
    "lib/plain.py",
    "lib/data.txt",
    "mvp/tests/test_w.py",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    for name in FILES:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()
    return path


def selected(root: Path, *paths: str, cwd: Path | None = None, layout: Layout | None = None) -> list[str]:
    config = TestConfig(root=root, paths=paths, layout=layout or Layout())
    return [file.path for file in discover(config, without_pytest, cwd=cwd).files]


def problem(root: Path, *paths: str, cwd: Path | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        selected(root, *paths, cwd=cwd)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "path",
    [
        "tests/test_a.py",
        "lib/plain.py",
        "tests/manual_tests/test_m.py",
        "tests/venv/test_v.py",
        "tests/sub/helper.py",
    ],
)
def test_a_named_file_is_taken_whatever_its_name_and_place(root: Path, path: str) -> None:
    assert selected(root, path) == [path]


def test_a_named_directory_gives_all_its_test_files_with_the_integration_ones(root: Path) -> None:
    assert selected(root, "tests") == [
        "tests/sub/c_test.py",
        "tests/sub/test_b.py",
        "tests/test_a.py",
        "tests/test_integration/test_i.py",
    ]


def test_a_named_directory_that_is_excluded_otherwise_is_walked(root: Path) -> None:
    assert selected(root, "tests/manual_tests", "tests/venv") == [
        "tests/manual_tests/test_m.py",
        "tests/venv/test_v.py",
    ]


def test_configured_patterns_hold_in_named_directories(root: Path) -> None:
    assert selected(root, "lib", layout=Layout(patterns=("plain*",))) == ["lib/plain.py"]


def test_named_integration_tests_are_marked_without_the_option(root: Path) -> None:
    config = TestConfig(root=root, paths=("tests/test_a.py", "test_integration"))
    assert [(file.path, file.kind) for file in discover(config, without_pytest).files] == [
        ("test_integration/test_j.py", FileKind.INTEGRATION),
        ("tests/test_a.py", FileKind.UNIT),
    ]


def test_names_in_any_order_and_twice_give_each_file_once_in_order(root: Path) -> None:
    expected = ["tests/sub/c_test.py", "tests/sub/test_b.py"]
    assert (
        selected(root, "tests/sub/test_b.py", "./tests/sub/", "tests//sub/test_b.py", "tests/sub") == expected
    )


def test_a_path_is_looked_for_here_then_in_the_working_directory_then_in_the_root(root: Path) -> None:
    layout = Layout(workdir="mvp")
    assert selected(root, "test_a.py", cwd=root / "tests", layout=layout) == ["tests/test_a.py"]
    assert selected(root, "tests/test_w.py", cwd=root / "lib", layout=layout) == ["mvp/tests/test_w.py"]
    assert selected(root, "tests/test_a.py", cwd=root / "lib", layout=layout) == ["tests/test_a.py"]


def test_what_lies_here_but_outside_of_the_root_does_not_hide_what_lies_in_it(root: Path) -> None:
    (root.parent / "tests").mkdir()
    (root.parent / "tests" / "test_a.py").touch()
    assert selected(root, "tests/test_a.py", cwd=root.parent) == ["tests/test_a.py"]


def test_absolute_paths_and_paths_through_parents_are_allowed(root: Path) -> None:
    assert selected(root, str(root / "tests/test_a.py")) == ["tests/test_a.py"]
    assert selected(root, "../tests/test_a.py", cwd=root / "lib") == ["tests/test_a.py"]
    assert selected(root, ".", cwd=root / "tests/sub") == ["tests/sub/c_test.py", "tests/sub/test_b.py"]


def test_a_path_from_outside_that_leads_inside_is_taken_by_its_real_place(root: Path) -> None:
    (root.parent / "link").symlink_to("root")
    assert selected(root, str(root.parent / "link" / "tests/test_a.py")) == ["tests/test_a.py"]


@pytest.mark.parametrize("how", ["absolute", "parent", "link"])
def test_a_file_outside_of_the_root_is_refused_with_the_root(root: Path, how: str) -> None:
    outside = root.parent / "test_out.py"
    outside.touch()
    (root / "test_link.py").symlink_to(outside)
    path = {"absolute": str(outside), "parent": "../test_out.py", "link": "test_link.py"}[how]
    assert problem(root, path) == (
        f"{path!r} (from the arguments) lies outside of the root {root}: "
        "name a path inside, or another --root"
    )


def test_a_missing_path_is_refused_with_a_likely_one(root: Path) -> None:
    assert "does not exist: did you mean tests/test_a.py?" in problem(root, "tests/tset_a.py")
    assert "does not exist: did you mean tests?" in problem(root, "test/")
    assert "does not exist: did you mean tests/test_a.py?" in problem(root, "test_a.py::Some")
    assert problem(root, "adds_up").endswith("; -k adds_up selects tests by name")
    assert f"does not exist in {root}/lib or the root {root}" in problem(root, "zzz/yyy", cwd=root / "lib")


def test_a_test_inside_what_is_no_file_is_refused(root: Path) -> None:
    assert "names a test in a directory: name its file" in problem(root, "tests::test_one")
    assert "names no test: expected FILE::TEST" in problem(root, "tests/test_a.py::")
    assert "does not exist" in problem(root, "tests/test_none.py::test_one")


@pytest.mark.parametrize(
    ("line", "test"),
    [
        (1, "test_one"),
        (3, "test_one"),
        (5, "TestA"),
        (6, "TestA::test_two"),
        (9, "TestA::test_three"),
        (12, "x"),
    ],
)
def test_a_line_stands_for_the_innermost_test_around_it(tmp_path: Path, line: int, test: str) -> None:
    file = tmp_path / "test_a.py"
    file.write_text(
        "@mark\ndef test_one():\n    pass\n\nclass TestA:\n    def test_two(self):\n        pass\n\n"
        "    async def test_three(self):\n        pass\n\nx = 1\n",
        encoding="utf-8",
    )
    if test == "x":
        with pytest.raises(ValueError, match="no test at line 12; the nearest is TestA, lines 5 to 10"):
            find_test_at(file, line)
    else:
        assert find_test_at(file, line) == test


@pytest.mark.parametrize(
    "head",
    ["if x:\n    pass\nelse:", "try:\n    pass\nexcept A:", "for x in y:", "match x:\n  case 1:"],
)
def test_a_test_below_any_other_statement_is_found(tmp_path: Path, head: str) -> None:
    file = tmp_path / "test_a.py"
    text = f"{head}\n    def test_one():\n        pass\n"
    file.write_text(text, encoding="utf-8")

    assert find_test_at(file, text.count("\n")) == "test_one"


def test_a_broken_link_is_called_one(root: Path) -> None:
    (root / "test_link.py").symlink_to("gone")
    assert "is a broken link" in problem(root, "test_link.py")


def test_what_is_no_python_file_is_refused(root: Path) -> None:
    os.mkfifo(root / "test_pipe.py")
    assert "expected a name that ends in .py" in problem(root, "lib/data.txt")
    assert "is not a regular file" in problem(root, "test_pipe.py")


def test_a_directory_without_test_files_is_refused_with_what_they_are_called(root: Path) -> None:
    assert "holds no test files: expected some called test_*.py or *_test.py" in problem(root, "tests", "lib")


def test_a_directory_whose_only_test_cannot_be_read_is_refused_with_the_reason(root: Path) -> None:
    (root / "lib" / "test_link.py").symlink_to("gone")
    assert "holds no test files that can be read: skipped lib/test_link.py: broken link" in problem(
        root, "lib"
    )


@pytest.mark.parametrize("path", ["x" * 300, "\0", "x/" * 3000])
def test_paths_that_no_system_allows_are_refused(root: Path, path: str) -> None:
    assert problem(root, path).startswith(repr(path))


def test_odd_names_are_taken(root: Path) -> None:
    names = ["tests/test_ü x.py", "tests/test_\n.py", "tests/test_\udcff.py"]
    for name in names:
        (root / name).touch()
    assert selected(root, *names) == sorted(names)
