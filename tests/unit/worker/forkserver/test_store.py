"""What is remembered of imports between runs, and what a broken or a shared file does to it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from worker.forkserver import store as storing
from worker.forkserver.module_costs import ModuleCost
from worker.forkserver.source import SourceAnalysis
from worker.forkserver.store import FILE_NAME, ImportStore

SOURCE = SourceAnalysis(
    imports=("os", "a:b", "..c", "="),
    why_spawn="it sets A",
    folders=("a b", "ü"),
    is_script=True,
    is_readable=True,
)


def test_everything_comes_back_in_the_next_run(tmp_path: Path) -> None:
    store = ImportStore(tmp_path / "state")
    store.put("/a.py", 10, 20, SOURCE)
    store.put("/bad.py", 1, 2, SourceAnalysis(is_readable=False))
    store.learn("/a.py", "s1", ["numpy"])
    store.record("python", [("numpy", 0.25, 100, "ok"), ("loud", 0.1, 0, "prints")])
    store.save()

    again = ImportStore(tmp_path / "state")

    assert again.get("/a.py", 10, 20) == SOURCE
    assert again.get("/bad.py", 1, 2) == SourceAnalysis(is_readable=False)
    assert again.learned("/a.py", "s1") == ("numpy",)
    assert again.facts("python") == {
        "numpy": ModuleCost(seconds=0.25, bytes=100, verdict="ok"),
        "loud": ModuleCost(seconds=0.1, bytes=0, verdict="prints"),
    }
    assert again.facts("another python") == {}


def test_a_changed_file_is_not_known(tmp_path: Path) -> None:
    store = ImportStore(tmp_path)
    store.put("/a.py", 10, 20, SOURCE)
    store.learn("/a.py", "s1", ["numpy"])

    assert store.get("/a.py", 11, 20) is None
    assert store.get("/a.py", 10, 21) is None
    assert store.learned("/a.py", "s2") == ()
    store.learn("/a.py", "s1", ["pandas", "numpy"])
    assert store.learned("/a.py", "s1") == ("numpy", "pandas")
    store.learn("/a.py", "s2", ["re"])
    assert store.learned("/a.py", "s2") == ("re",)


def test_without_a_directory_nothing_is_kept() -> None:
    store = ImportStore(None)
    store.put("/a.py", 10, 20, SOURCE)
    store.save()

    assert store.get("/a.py", 10, 20) == SOURCE
    assert ImportStore(None).get("/a.py", 10, 20) is None


def test_the_file_is_private_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    store = ImportStore(tmp_path)
    store.put("/a.py", 10, 20, SOURCE)
    store.save()

    [path] = tmp_path.iterdir()
    assert path.name == FILE_NAME
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_run_that_learns_nothing_writes_nothing(tmp_path: Path) -> None:
    ImportStore(tmp_path).save()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"version": 99}',
        b'{"version": 1}',
        b'{"version": 1, "sources": [], "facts": {"python": []}}',
        b'{"version": 1, "sources": {"/a.py": [10, 20]}, "learned": {"/a.py": 1}}',
        b'{"version": 1, "facts": {"python": {"numpy": [1]}}}',
        b"[" * 100_000,
    ],
)
def test_a_broken_file_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    store = ImportStore(tmp_path)

    assert store.get("/a.py", 10, 20) is None
    assert store.learned("/a.py", "s1") == ()
    assert store.facts("python") == {}
    store.put("/a.py", 10, 20, SOURCE)
    store.record("python", [("numpy", 0.25, 100, "ok")])
    store.save()
    assert ImportStore(tmp_path).get("/a.py", 10, 20) == SOURCE
    assert list(ImportStore(tmp_path).facts("python")) == ["numpy"]


def test_two_runs_at_once_keep_what_both_learned(tmp_path: Path) -> None:
    one, other = ImportStore(tmp_path), ImportStore(tmp_path)
    one.put("/a.py", 1, 1, SOURCE)
    one.record("python", [("numpy", 0.25, 100, "ok")])
    other.put("/b.py", 1, 1, SOURCE)
    other.record("python", [("pandas", 0.5, 100, "ok")])
    one.save()
    other.save()

    again = ImportStore(tmp_path)
    assert again.get("/a.py", 1, 1) == again.get("/b.py", 1, 1) == SOURCE
    assert sorted(again.facts("python")) == ["numpy", "pandas"]


def test_the_longer_of_two_times_counts_and_fades() -> None:
    store = ImportStore(None)
    for seconds in (0.2, 0.0, 0.1):
        store.record("python", [("numpy", seconds, 100, "ok")])
    assert store.facts("python")["numpy"].seconds == pytest.approx(0.18)

    store.record("python", [("numpy", 0.3, 100, "ok")])
    assert store.facts("python")["numpy"].seconds == pytest.approx(0.3)
    store.record("python", [("numpy", 0.1, 0, "prints")])
    assert store.facts("python")["numpy"] == ModuleCost(seconds=0.1, bytes=0, verdict="prints")


def test_the_oldest_go_where_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "_MAX_FILES", 3)
    store = ImportStore(tmp_path)
    for number in range(3):
        store.put(f"/{number}.py", 1, 1, SOURCE)
    store.save()
    store.put("/0.py", 2, 2, SOURCE)
    store.put("/3.py", 1, 1, SOURCE)
    for number in range(6):
        store.record(f"python{number}", [("re", 0.1, 1, "ok")])
    store.save()

    content = json.loads((tmp_path / FILE_NAME).read_bytes())
    assert list(content["sources"]) == ["/2.py", "/0.py", "/3.py"]
    assert list(content["facts"]) == ["python2", "python3", "python4", "python5"]


def test_a_directory_that_cannot_be_written_costs_nothing_but_the_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ImportStore(tmp_path / "file" / "state")
    store.put("/a.py", 1, 1, SOURCE)

    store.save()

    assert store.get("/a.py", 1, 1) == SOURCE


def test_a_server_does_not_take_back_that_a_module_modifies_another() -> None:
    store = ImportStore(None)
    store.record("python", [("shop.a@1", 0.5, 100, "modifies shop")])
    store.record("python", [("shop.a@1", 0.7, 100, "ok")])

    assert store.facts("python")["shop.a@1"] == ModuleCost(seconds=0.7, bytes=100, verdict="modifies shop")
