"""Exactly the files of the shell scripts' layout are found, and in other repositories what one expects."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.config.model import Layout, TestConfig
from dispatcher.discovery.discover import Discovered, discover
from dispatcher.model.plan import FileKind
from passmuster.model.errors import ConfigurationError
from tests.support.no_pytest import without_pytest


def make(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x" * len(path))


def found(root: Path, *, integration: bool = False, layout: Layout | None = None) -> Discovered:
    return discover(
        TestConfig(root=root, include_integration=integration, layout=layout or Layout()), without_pytest
    )


def paths(root: Path, *, integration: bool = False, layout: Layout | None = None) -> list[str]:
    return [file.path for file in found(root, integration=integration, layout=layout).files]


SCRIPT_LAYOUT = (
    "tests/test_a.py",
    "tests/deep/er/test_b.py",
    "tests/a_test.py",
    "tests/helper.py",
    "tests/test_a.txt",
    "tests/manual_tests/test_manual.py",
    "tests/deep/manual_tests/test_kept.py",
    "tests/test_integration/test_i.py",
    "tests/venv/test_v.py",
    "tests/deep/node_modules/test_n.py",
    "tests/prototype/test_p.py",
    "tests/environment/pyvenv.cfg",
    "tests/environment/lib/test_e.py",
    "tests/.hidden/test_h.py",
    "test_integration/test_integration_mock.py",
    "test_integration/test_slow.py",
    "test_integration/deep/test_d.py",
    ".claude/commands/tests/test_c.py",
    "orchestration/tests/test_o.py",
    "claude_command_scripts/commands/test_s.py",
    "claude-bot-commands/tests/test_bot.py",
    "other/test_other.py",
    "test_top.py",
)
UNIT = [
    ".claude/commands/tests/test_c.py",
    "claude-bot-commands/tests/test_bot.py",
    "claude_command_scripts/commands/test_s.py",
    "orchestration/tests/test_o.py",
    "test_integration/test_integration_mock.py",
    "tests/.hidden/test_h.py",
    "tests/deep/er/test_b.py",
    "tests/deep/manual_tests/test_kept.py",
    "tests/test_a.py",
]
INTEGRATION = [
    "test_integration/deep/test_d.py",
    "test_integration/test_slow.py",
    "tests/test_integration/test_i.py",
]


def test_the_scripts_layout_gives_exactly_the_scripts_unit_tests(tmp_path: Path) -> None:
    make(tmp_path, *SCRIPT_LAYOUT)
    assert paths(tmp_path) == UNIT


def test_with_integration_the_integration_roots_are_added_and_marked(tmp_path: Path) -> None:
    make(tmp_path, *SCRIPT_LAYOUT)
    files = found(tmp_path, integration=True).files
    assert [file.path for file in files] == sorted(UNIT + INTEGRATION)
    assert [file.path for file in files if file.kind is FileKind.INTEGRATION] == INTEGRATION


def test_the_scripts_working_directory_is_used_where_it_exists(tmp_path: Path) -> None:
    make(tmp_path, *(f"mvp_site/{path}" for path in SCRIPT_LAYOUT), "tests/test_outside.py")
    discovered = found(tmp_path)
    assert discovered.workdir == tmp_path / "mvp_site"
    assert [file.path for file in discovered.files] == [f"mvp_site/{path}" for path in UNIT]
    assert [file.label for file in discovered.files] == UNIT


def test_nothing_found_is_no_error(tmp_path: Path) -> None:
    assert found(tmp_path, integration=True).files == ()


def test_only_integration_tests_and_no_wish_for_them_is_nothing(tmp_path: Path) -> None:
    make(tmp_path, "tests/test_integration/test_i.py", "tests/manual_tests/test_m.py")
    assert paths(tmp_path) == []
    assert paths(tmp_path, integration=True) == ["tests/test_integration/test_i.py"]


def test_an_ordinary_repository_is_walked_whole(tmp_path: Path) -> None:
    make(
        tmp_path,
        "src/pkg/tests/test_a.py",
        "src/pkg/b_test.py",
        "test/test_c.py",
        "test_top.py",
        "src/pkg/tests.py",
        "src/pkg/contest.py",
        *(
            f"{name}/test_x.py"
            for name in ("node_modules", "build", "dist", "prototype", "venv", ".tox", ".git")
        ),
        "a/site-packages/test_x.py",
        "a/__pycache__/test_x.py",
        "env/pyvenv.cfg",
        "env/lib/test_x.py",
    )
    expected = ["src/pkg/b_test.py", "src/pkg/tests/test_a.py", "test/test_c.py", "test_top.py"]
    discovered = found(tmp_path)
    assert [file.path for file in discovered.files] == expected
    assert [file.label for file in discovered.files] == expected
    assert discovered.workdir == tmp_path


def test_a_layout_that_holds_something_is_not_searched_further(tmp_path: Path) -> None:
    make(tmp_path, "tests/test_a.py", "src/test_b.py")
    assert paths(tmp_path) == ["tests/test_a.py"]


def test_files_outside_of_the_working_directory_are_labelled_from_it(tmp_path: Path) -> None:
    make(tmp_path, "mvp_site/x", "lib/test_a.py")
    (file,) = found(tmp_path).files
    assert (file.path, file.label) == ("lib/test_a.py", "../lib/test_a.py")


def test_a_configured_layout_replaces_the_scripts(tmp_path: Path) -> None:
    make(
        tmp_path, *SCRIPT_LAYOUT, "site/unit/check_a.py", "site/unit/slow/check_b.py", "site/more/check_c.py"
    )
    layout = Layout(
        workdir="site",
        unit_roots=("./unit/",),
        integration_roots=("unit/slow",),
        extra_roots=("more",),
        patterns=("check_*.py",),
    )
    assert paths(tmp_path, layout=layout) == ["site/more/check_c.py", "site/unit/check_a.py"]
    files = found(tmp_path, layout=layout, integration=True).files
    assert [(file.label, file.kind) for file in files] == [
        ("more/check_c.py", FileKind.UNIT),
        ("unit/check_a.py", FileKind.UNIT),
        ("unit/slow/check_b.py", FileKind.INTEGRATION),
    ]


def test_configured_roots_that_hold_nothing_do_not_open_the_whole_repository(tmp_path: Path) -> None:
    make(tmp_path, "src/test_a.py", "empty/x")
    assert paths(tmp_path, layout=Layout(unit_roots=("empty",))) == []


def test_a_configured_root_that_does_not_exist_is_warned_of_and_the_scripts_are_not(tmp_path: Path) -> None:
    make(tmp_path, "src/test_a.py")
    discovered = found(tmp_path, layout=Layout(unit_roots=("src", "gone")))
    assert [file.path for file in discovered.files] == ["src/test_a.py"]
    assert discovered.warnings == ("skipped gone: it is configured, but is not a directory",)
    assert found(tmp_path).warnings == ()


def test_a_unit_root_within_the_integration_roots_holds_unit_tests(tmp_path: Path) -> None:
    make(tmp_path, "t/unit/test_u.py", "t/test_i.py")
    layout = Layout(unit_roots=("t/unit",), integration_roots=("t",))
    files = found(tmp_path, layout=layout, integration=True).files
    assert [(file.path, file.kind) for file in files] == [
        ("t/test_i.py", FileKind.INTEGRATION),
        ("t/unit/test_u.py", FileKind.UNIT),
    ]


def test_patterns_are_used_in_an_ordinary_repository_too(tmp_path: Path) -> None:
    make(tmp_path, "app/tests.py", "app/test_a.py")
    assert paths(tmp_path, layout=Layout(patterns=("tests.py",))) == ["app/tests.py"]


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (("slow",), ["tests/a/test_1.py", "tests/test_3.py"]),
        (("slow/",), ["tests/a/test_1.py", "tests/test_3.py"]),
        (("s*w",), ["tests/a/test_1.py", "tests/test_3.py"]),
        (("tests/a/slow",), ["tests/a/test_1.py", "tests/slow/test_4.py", "tests/test_3.py"]),
        (("./tests/a",), ["tests/slow/test_4.py", "tests/test_3.py"]),
        (("tests/test_3.py", "test_1.py"), ["tests/a/slow/test_2.py", "tests/slow/test_4.py"]),
        (("tests",), []),
    ],
)
def test_what_the_user_excludes_is_left_out(
    tmp_path: Path, exclude: tuple[str, ...], left: list[str]
) -> None:
    make(tmp_path, "tests/a/test_1.py", "tests/a/slow/test_2.py", "tests/test_3.py", "tests/slow/test_4.py")
    assert paths(tmp_path, layout=Layout(exclude=exclude)) == left


def test_the_file_that_always_runs_can_be_excluded(tmp_path: Path) -> None:
    make(tmp_path, "tests/test_a.py", "test_integration/test_integration_mock.py")
    assert paths(tmp_path, layout=Layout(exclude=("test_integration",))) == ["tests/test_a.py"]


def test_a_file_carries_its_size_and_time(tmp_path: Path) -> None:
    make(tmp_path, "tests/test_a.py")
    os.utime(tmp_path / "tests/test_a.py", ns=(5, 7))
    (file,) = found(tmp_path).files
    assert (file.size_bytes, file.mtime_ns) == (len("tests/test_a.py"), 7)


def test_the_limit_cuts_the_list_and_the_total_is_kept(tmp_path: Path) -> None:
    make(tmp_path, "tests/test_a.py", "tests/test_b.py", "tests/test_c.py")
    discovered = discover(TestConfig(root=tmp_path, limit=2), without_pytest)
    assert [file.path for file in discovered.files] == ["tests/test_a.py", "tests/test_b.py"]
    assert discovered.total == 3
    assert len(discover(TestConfig(root=tmp_path, limit=2, failed_only=True), without_pytest).files) == 3


@pytest.mark.parametrize("workdir", ["gone", "file", "out"])
def test_a_working_directory_that_is_none_is_refused(tmp_path: Path, workdir: str) -> None:
    root = tmp_path / "root"
    make(root, "file")
    (root / "out").symlink_to(tmp_path)
    with pytest.raises(ConfigurationError, match=f"workdir '{workdir}' is not a directory in {root}"):
        found(root, layout=Layout(workdir=workdir))


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a directory"):
        found(tmp_path / "gone")


def test_a_relative_root_is_taken_from_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "tests/test_a.py")
    monkeypatch.chdir(tmp_path)
    assert discover(TestConfig(), without_pytest).workdir == tmp_path


NAMES = st.text(
    st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name not in (".", "..") and len(name.encode()) < 200)


@settings(max_examples=40)
@given(st.sets(NAMES, max_size=4))
def test_any_file_name_is_found_as_it_is(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    root = tmp_path_factory.mktemp("names")
    make(root, *(f"tests/test_{name}.py" for name in names))
    assert paths(root) == sorted(f"tests/test_{name}.py" for name in names)


def test_names_that_are_no_text_are_found_and_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    raw = os.fsencode(tmp_path) + b"/tests/test_\xff\n \xe9.py"
    with open(raw, "wb"):
        pass
    (file,) = found(tmp_path).files
    assert os.fsencode(tmp_path / file.path) == raw
