"""The rooms keep to their table: nothing is imported upwards, sideways without permission, or in a circle."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture import rooms
from tests.architecture.rooms import ROOMS, cycles, read_modules, room_imports, table, violations

REPOSITORY = Path(__file__).resolve().parents[2]


def test_every_module_stands_in_a_room_and_imports_what_its_room_may() -> None:
    assert violations(REPOSITORY) == []


def test_no_room_may_import_one_that_stands_above_it() -> None:
    order = list(ROOMS)

    upwards = [(room, one) for room in order for one in ROOMS[room] if order.index(one) >= order.index(room)]

    assert upwards == []


def test_no_permission_is_left_that_no_import_needs() -> None:
    found = room_imports(read_modules(REPOSITORY))

    unused = [(room, one) for room, imports in ROOMS.items() for one in imports if one not in found[room]]

    assert unused == []


def test_the_page_on_the_architecture_shows_the_table() -> None:
    page = (REPOSITORY / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")

    assert table(REPOSITORY) in page


def test_the_paths_on_the_page_name_functions_and_classes_that_exist() -> None:
    page = (REPOSITORY / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    paths = page.partition("## Five paths through the code")[2].partition("\n## ")[0]
    names = re.findall(r"`((?:[a-z_]+\.){2,}\w+(?:\.\w+)?)`", paths)

    assert len(names) > 30
    assert [name for name in names if not _is_defined(name)] == []


@pytest.mark.parametrize("step", ["engine.loop.RunLoop.gone", "engine.gone.RunLoop", "engine.loop.Gone"])
def test_a_name_that_does_not_exist_is_found(step: str) -> None:
    assert not _is_defined(step)


def _is_defined(name: str) -> bool:
    """Return whether a room has the module of `room.module[.Class].function`, and that defines the rest."""
    room, module, *inside = name.split(".")
    for top in rooms.TOPS:
        path = REPOSITORY / top / room / f"{module}.py"
        if path.exists():
            body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
        elif (path.with_suffix("") / f"{inside[0]}.py").exists():
            body = ast.parse((path.with_suffix("") / f"{inside.pop(0)}.py").read_text(encoding="utf-8")).body
        else:
            continue
        found: ast.stmt | None = None
        for part in inside:
            found = next((one for one in body if getattr(one, "name", "") == part), None)
            body = found.body if isinstance(found, ast.ClassDef) else []
        if found is not None or not inside:
            return True
    return False


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(
        rooms,
        "ROOMS",
        {"passmuster.low": (), "worker.mid": ("passmuster.low",), "worker.high": ("worker.mid",)},
    )
    monkeypatch.setattr(rooms, "SEAMS", {})
    for name in ("passmuster/low", "worker/mid", "worker/high"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text('"""A room."""\n')
    long = "x = 1\n" * rooms.SMALL_LINES
    (tmp_path / "passmuster/low/words.py").write_text(long)
    (tmp_path / "worker/mid/doer.py").write_text(f"from passmuster.low.words import x\n{long}")
    (tmp_path / "worker/high/chief.py").write_text(f"from worker.mid import doer\n{long}")
    return tmp_path


def test_a_house_in_order_has_no_violations(house: Path) -> None:
    assert violations(house) == []


@pytest.mark.parametrize(
    ("name", "code", "complaint"),
    [
        ("worker/mid/doer.py", "from worker.high.chief import x", "worker.mid must not import worker.high"),
        ("worker/mid/doer.py", "from worker.high import chief", "worker.mid must not import worker.high"),
        (
            "worker/mid/doer.py",
            "def f():\n    import worker.high.chief",
            "worker.mid must not import worker.high",
        ),
        ("worker/high/chief.py", "from passmuster.low.words import x", "must not import passmuster.low"),
        ("worker/stray.py", "", "worker.stray: stands in no room"),
        ("worker/other/stray.py", "", "worker.other.stray: stands in no room"),
    ],
)
def test_a_wrong_import_is_found(house: Path, name: str, code: str, complaint: str) -> None:
    path = house / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(code + "\n" + "y = 1\n" * rooms.SMALL_LINES)

    assert any(complaint in one for one in violations(house))


def test_modules_that_import_each_other_are_found(house: Path) -> None:
    long = "y = 1\n" * rooms.SMALL_LINES
    (house / "worker/mid/one.py").write_text(f"import worker.mid.two\n{long}")
    (house / "worker/mid/two.py").write_text(f"def f():\n    from worker.mid.one import y\n{long}")

    assert violations(house) == ["import each other in a circle: worker.mid.one, worker.mid.two"]


def test_a_small_module_for_one_importer_is_found_unless_it_is_a_seam(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (house / "worker/mid/small.py").write_text("y = 1\n")
    (house / "worker/mid/doer.py").write_text(
        "from worker.mid.small import y\n" + "x = 1\n" * rooms.SMALL_LINES
    )

    found = violations(house)
    monkeypatch.setattr(rooms, "SEAMS", {"worker.mid.small": "tests replace it"})

    assert any(one.startswith("worker.mid.small: 1 lines for one importer") for one in found)
    assert not any("worker.mid.small" in one for one in violations(house))


def test_cycles_are_found_through_several_names() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": set[str](), "e": {"a"}}

    assert cycles(imports) == [["a", "b", "c"]]
