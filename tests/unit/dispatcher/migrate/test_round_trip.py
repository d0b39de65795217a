"""What `--apply` did, `--rollback` takes back byte for byte; a migration is made as a whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.migrate import changes as changes_module
from tests.unit.dispatcher.migrate.migrated_project import SCRIPT, migrate, tree, write

PIECES = [
    b"./run_tests.sh",
    b"bash run_tests.sh --x",
    b'sh "$D/run_tests.sh"',
    b"run_ci_replica.sh",
    b"source run_tests.sh",
    b"my_run_tests.sh",
    b"- bash\n- run_tests.sh",
    b"run_*.sh",
    b"passmuster: keep",
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"`",
    b'"',
    b"\xef\xbb\xbf",
    b"caf\xe9",
    "→".encode(),
]
CONTENT = st.lists(st.sampled_from(PIECES) | st.binary(max_size=4), max_size=30).map(b"".join)
NAMES = st.sampled_from(
    ["a.md", "Makefile", "docs/b.txt", "x/y/z.yml", "pyproject.toml.txt", "t.sh", ".github/w.yml"]
)
MODES = st.sampled_from([0o644, 0o755, 0o600, 0o444])


@settings(max_examples=30)
@given(files=st.dictionaries(NAMES, st.tuples(CONTENT, MODES), max_size=5), wrappers=st.booleans())
def test_rollback_after_apply_changes_nothing(files: dict[str, tuple[bytes, int]], *, wrappers: bool) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, {name: content for name, (content, _) in files.items()} | {"run_tests.sh": SCRIPT})
        for name, (_, mode) in files.items():
            (root / name).chmod(mode)
        before = tree(root)

        applied = migrate(root, "--apply", *(["--wrappers"] if wrappers else []))
        between = tree(root)
        again = migrate(root, "--apply")
        assert tree(root) == between
        rolled_back = migrate(root, "--rollback")

        assert (applied[2], again[2], rolled_back[0]) == ("", "", 0)
        assert between["run_tests.sh.backup"][0] == SCRIPT
        assert tree(root) == before
        assert not (root / ".passmuster").exists()


@settings(max_examples=30)
@given(content=st.binary(max_size=300).filter(lambda content: b"\0" not in content))
def test_what_is_no_reference_keeps_every_byte(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        write(root, {"a.md": content + b"\n./run_tests.sh\n" + content})

        migrate(root, "--apply")

        assert (root / "a.md").read_bytes() == content + b"\n./run_tests.py\n" + content


def test_bytes_around_a_reference_stay(tmp_path: Path) -> None:
    before = b"\xef\xbb\xbfcaf\xe9 ./run_tests.sh\r\nx\nbash run_tests.sh\r\rend"
    write(tmp_path, {"a.md": before})
    (tmp_path / "a.md").chmod(0o751)

    assert migrate(tmp_path, "--apply")[0] == 0

    after = b"\xef\xbb\xbfcaf\xe9 ./run_tests.py\r\nx\npython3 run_tests.py\r\rend"
    assert tree(tmp_path)["a.md"] == (after, 0o100751)


def test_a_file_that_was_changed_since_is_named_and_nothing_is_rolled_back(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": b"./run_tests.sh", "b.md": b"./run_tests.sh", "c.md": b"./run_tests.sh"})
    migrate(tmp_path, "--apply")
    write(tmp_path, {"b.md": b"mine"})
    (tmp_path / "c.md").unlink()
    between = tree(tmp_path)

    status, out, _ = migrate(tmp_path, "--rollback")

    assert status == 1
    assert out.splitlines()[0] == "[FAIL] 2 file(s) were changed since; nothing was rolled back:"
    assert out.splitlines()[1:3] == ["b.md", "c.md"]
    assert tree(tmp_path) == between


def test_a_file_that_was_restored_by_hand_is_no_conflict(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": b"./run_tests.sh", "b.md": b"./run_tests.sh"})
    before = tree(tmp_path)
    migrate(tmp_path, "--apply")
    write(tmp_path, {"b.md": b"./run_tests.sh"})

    assert migrate(tmp_path, "--rollback")[0] == 0
    assert tree(tmp_path) == before


def test_two_steps_are_taken_back_together_and_the_first_alone_stays_where_it_must(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": b"./run_tests.sh", "run_tests.sh": SCRIPT})
    before = tree(tmp_path)
    migrate(tmp_path, "--apply")
    migrate(tmp_path, "--apply", "--wrappers")

    assert migrate(tmp_path, "--rollback")[0] == 0
    assert tree(tmp_path) == before

    migrate(tmp_path, "--apply")
    write(tmp_path, {"a.md": b"new: sh run_tests.sh"})
    migrate(tmp_path, "--apply")
    status, out, _ = migrate(tmp_path, "--rollback")

    assert status == 1
    assert "an earlier --apply stays as it is" in out
    assert (tmp_path / "a.md").read_bytes() == b"new: sh run_tests.sh"
    assert not (tmp_path / "run_tests.sh").exists()


@pytest.mark.parametrize("failing", range(5))
def test_a_disk_that_fills_up_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    write(tmp_path, {f"{name}.md": b"./run_tests.sh" for name in "abc"} | {"run_tests.sh": SCRIPT})
    before = tree(tmp_path)
    replace, count = Path.replace, iter(range(100))

    def full(self: Path, target: Path) -> Path:
        if ".md" in str(target) + str(self) or "run_tests" in str(target):
            number = next(count)
            if number == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    status, out, err = migrate(tmp_path, "--apply")
    monkeypatch.undo()

    if failing < 4:
        assert (status, out, err.count("\n")) == (3, "", 1)
        assert "cannot be written: No space left on device; nothing was changed" in err
        assert tree(tmp_path) == before
        assert not (tmp_path / ".passmuster").exists()
    else:
        assert status == 0


def test_an_interrupt_in_the_middle_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a.md": b"./run_tests.sh", "b.md": b"./run_tests.sh"})
    before = tree(tmp_path)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(changes_module, "_flush_folders", interrupted)

    assert migrate(tmp_path, "--apply")[0] == 130
    assert tree(tmp_path) == before


def test_what_a_killed_process_left_can_be_rolled_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"a.md": b"./run_tests.sh", "b.md": b"./run_tests.sh"})
    before = tree(tmp_path)
    for name in ("_undo", "clear_stages"):
        monkeypatch.setattr(changes_module, name, lambda *_: None)
    monkeypatch.setattr("dispatcher.migrate.migration_log._forget", lambda *_, **__: None)
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.name == "b.md":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", killed)
    migrate(tmp_path, "--apply")
    monkeypatch.undo()
    assert (tmp_path / "a.md").read_bytes() == b"./run_tests.py"
    assert list(tmp_path.glob(".passmuster-*.new"))

    assert migrate(tmp_path, "--rollback")[0] == 0
    assert tree(tmp_path) == before


def test_a_record_that_leads_out_of_the_repository_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    write(root, {"a.md": b"./run_tests.sh"})
    migrate(root, "--apply")
    [record] = root.glob(".passmuster/migration/*/record.json")
    record.write_text(record.read_text().replace("a.md", "../a.md"))

    status, _, err = migrate(root, "--rollback")

    assert (status, err.count("\n")) == (2, 1)
    assert "names a file outside of" in err


def test_a_broken_record_and_a_broken_original_are_one_line_errors(tmp_path: Path) -> None:
    write(tmp_path, {"a.md": b"./run_tests.sh"})
    migrate(tmp_path, "--apply")
    [original] = tmp_path.glob(".passmuster/migration/*/originals/*")
    content = original.read_bytes()
    original.write_bytes(b"x")
    assert migrate(tmp_path, "--rollback")[0] == 2
    assert (tmp_path / "a.md").read_bytes() == b"./run_tests.py"

    original.write_bytes(content)
    [record] = tmp_path.glob(".passmuster/migration/*/record.json")
    record.write_text("{")
    status, _, err = migrate(tmp_path, "--rollback")
    assert (status, err.count("\n")) == (2, 1)
    assert "record.json is broken" in err


def test_rollback_without_a_migration_is_refused(tmp_path: Path) -> None:
    status, out, err = migrate(tmp_path, "--rollback")

    assert (status, out) == (2, "")
    assert "there is no migration to roll back in" in err
