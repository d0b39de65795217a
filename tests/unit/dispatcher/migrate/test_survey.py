"""Which files are looked at, which are not, and what is told of those."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.migrate import survey as survey_module
from tests.support.git_project import GitProject
from tests.unit.dispatcher.migrate.migrated_project import SCRIPT, migrate, tree, write

CALL = b"./run_tests.sh\n"
NEW = b"./run_tests.py\n"
VENDORED = ["node_modules", "venv", ".venv", "vendor", "third_party", "lib/site-packages", "dist", "build"]


def changed(root: Path) -> set[str]:
    """Migrate, and return the files that differ afterwards."""
    before = tree(root)
    migrate(root, "--apply")
    after = tree(root)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


@pytest.mark.parametrize("under_git", [False, True])
def test_vendored_and_binary_files_stay(tmp_path: Path, *, under_git: bool) -> None:
    if under_git:
        GitProject(tmp_path)
    write(tmp_path, {f"{folder}/x.md": CALL for folder in VENDORED})
    write(tmp_path, {"sub/vendor/x.md": CALL, "data.bin": CALL + b"\0", "a.md": CALL, "deep/er/b": CALL})
    write(tmp_path, {"run_tests.sh.backup": SCRIPT, "run_tests.sh": SCRIPT})

    assert changed(tmp_path) == {"a.md", "deep/er/b", "run_tests.sh"}
    assert (tmp_path / "a.md").read_bytes() == NEW


def test_folders_that_were_not_looked_at_are_named(tmp_path: Path) -> None:
    write(tmp_path, {"vendor/x.md": CALL, "a/build/x.md": CALL})

    assert "[INFO] skipped, not part of this repository: a/build/, vendor/\n" in migrate(tmp_path)[1]


def test_what_git_ignores_and_repositories_inside_stay(tmp_path: Path) -> None:
    GitProject(tmp_path)
    GitProject(tmp_path / "inner")
    write(tmp_path, {".gitignore": b"ignored/\n*.log\n", "ignored/x.md": CALL, "y.log": CALL, "new.md": CALL})
    write(tmp_path, {"inner/x.md": CALL})

    assert changed(tmp_path) == {"new.md"}


def test_the_mark_of_a_virtual_environment_counts_and_not_its_name(tmp_path: Path) -> None:
    write(tmp_path, {"mine/pyvenv.cfg": b"", "mine/x.md": CALL, "env/x.md": CALL})

    assert changed(tmp_path) == {"env/x.md"}


def test_links_are_never_written_through(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside.md"
    outside.write_bytes(CALL)
    write(root, {"real.md": CALL})
    (root / "out.md").symlink_to(outside)
    (root / "in.md").symlink_to("real.md")
    (root / "broken.md").symlink_to("nowhere")
    (root / "loop").symlink_to(".")

    migrate(root, "--apply")

    assert outside.read_bytes() == CALL
    assert (root / "real.md").read_bytes() == NEW
    assert [(root / name).is_symlink() for name in ("out.md", "in.md", "broken.md", "loop")] == [True] * 4


def test_a_link_to_the_script_is_left_unless_a_wrapper_stays(tmp_path: Path) -> None:
    write(tmp_path, {"run_tests.sh": SCRIPT, "bin/x": b""})
    (tmp_path / "bin/tests").symlink_to("../run_tests.sh")

    status, out, _ = migrate(tmp_path, "--apply")
    assert status == 1
    assert "bin/tests:1: -> run_tests.sh  [it is a link to the script]\n" in out

    assert migrate(tmp_path, "--apply", "--wrappers")[0] == 0
    assert migrate(tmp_path, "--check")[0] == 0


def test_a_script_that_is_a_link_is_left(tmp_path: Path) -> None:
    write(tmp_path, {"tools/tests.sh": SCRIPT})
    (tmp_path / "run_tests.sh").symlink_to("tools/tests.sh")

    status, out, _ = migrate(tmp_path, "--apply")

    assert (status, (tmp_path / "run_tests.sh").is_symlink()) == (1, True)
    assert "run_tests.sh:1: -> tools/tests.sh  [it is a link]\n" in out


def test_a_large_file_is_named_and_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey_module, "MAX_BYTES", 100)
    write(tmp_path, {"data.sql": CALL * 10})

    assert "[INFO] not read, larger than 100 B: data.sql (150 B)\n" in migrate(tmp_path, "--apply")[1]
    assert (tmp_path / "data.sql").read_bytes() == CALL * 10


def test_an_address_of_the_repository_itself_is_known_by_its_remotes(tmp_path: Path) -> None:
    git = GitProject(tmp_path)
    git.git("remote", "add", "origin", "git@github.com:me/shop.git")
    git.git("remote", "add", "fork", "https://user@gitlab.com/you/shop")
    addresses = [
        ("https://github.com/me/shop/blob/main/run_tests.sh", True),
        ("https://github.com/x/y/blob/main/run_tests.sh", False),
        ("https://gitlab.com/you/shop/-/blob/main/run_tests.sh", True),
    ]
    write(tmp_path, {"a.md": "\n".join(address for address, _ in addresses).encode()})

    migrate(tmp_path, "--apply")

    assert (tmp_path / "a.md").read_text().split("\n") == [
        address.replace(".sh", ".py") if is_own else address for address, is_own in addresses
    ]


def test_a_part_of_a_repository_is_said_to_be_one(tmp_path: Path) -> None:
    GitProject(tmp_path)
    write(tmp_path, {"part/a.md": CALL, "b.md": CALL})

    status, out, _ = migrate(tmp_path / "part", "--check")

    assert status == 1
    assert "part/a.md" not in out
    assert "a.md:1: ./run_tests.sh\n" in out
    assert "[WARN] only part/ of its git repository was checked" in out
