"""Relative paths are resolved against the directory of their source."""

from __future__ import annotations

from pathlib import Path

from passmuster.settings.path_resolver import PathResolver


def test_arguments_count_from_here_and_the_file_counts_from_the_root() -> None:
    bases = PathResolver(cwd=Path("/here"), root=Path("/there"))
    assert bases.locate("a/b", from_file=False) == Path("/here/a/b")
    assert bases.locate("a/b", from_file=True) == Path("/there/a/b")
    assert bases.locate("/abs", from_file=True) == Path("/abs")


def test_a_tilde_without_a_known_home_is_a_plain_name() -> None:
    assert PathResolver(cwd=Path("/h"), root=Path("/r")).locate("~/x", from_file=False) == Path("/h/~/x")


def test_the_parent_of_a_link_is_its_targets_parent(tmp_path: Path) -> None:
    (tmp_path / "deep" / "target").mkdir(parents=True)
    (tmp_path / "link").symlink_to("deep/target")
    bases = PathResolver(cwd=tmp_path, root=tmp_path)
    assert bases.locate("link/../x", from_file=False) == tmp_path / "deep" / "x"
