"""Which of a file's imports servers may preload, in view of what comes before them."""

from __future__ import annotations

import pytest

from worker.forkserver.file_imports import FileImports, Preloadable, preloadable, without

ROOT, DEEP = "/conftest.py", "/deep/conftest.py"


def imports(*modules: str, **hooks: tuple[str, ...]) -> FileImports:
    """Return the imports of a file; `own` and what begins with a slash are the project's."""
    own = {name: name for name in modules if name.startswith(("own", "/"))}
    return FileImports(
        modules=modules,
        own=own,
        writes={"own.writer": "own/writer.py:1"},
        hooks={name: hooks.get(name.split("/")[-2] or "root", ()) for name in own if name.startswith("/")},
    )


def found(
    needs: FileImports, *, unheld: str = "", loaded: tuple[str, ...] = (), modifying: tuple[str, ...] = ()
) -> Preloadable:
    return preloadable(needs, lambda name: name != unheld, loaded, modifying)


def test_what_follows_a_conftest_is_preloaded_where_that_is_executed_too() -> None:
    needs = imports("own.a", ROOT, "os", "own.b", DEEP, "own.c")

    assert found(needs) == Preloadable(
        modules=needs.modules, own=frozenset(needs.own), writers=frozenset((ROOT, DEEP))
    )


@pytest.mark.parametrize(
    ("unheld", "kept", "barrier"),
    [
        (ROOT, ("own.a", "os"), "conftest.py: each file imports it"),
        (DEEP, ("own.a", ROOT, "os", "own.b"), "deep/conftest.py: each file imports it"),
        ("own.b", ("own.a", ROOT, "os"), "own.b: each file imports it"),
        ("own.c", ("own.a", ROOT, "os", "own.b", DEEP), ""),
    ],
)
def test_behind_what_each_file_imports_itself_only_installed_modules_are_preloaded(
    unheld: str, kept: tuple[str, ...], barrier: str
) -> None:
    needs = imports("own.a", ROOT, "os", "own.b", DEEP, "own.c")

    held = found(needs, unheld=unheld)

    assert (held.modules, held.own_ends_at) == (kept, barrier)


@pytest.mark.parametrize(
    ("hook", "loaded", "is_barrier"),
    [
        ("pytest_configure", (), True),
        ("pytest_configure", (ROOT,), False),
        ("pytest_sessionstart", (), True),
        ("pytest_sessionstart", (ROOT,), True),
    ],
)
def test_modules_of_the_project_wait_for_hooks_that_are_called_before_them(
    hook: str, loaded: tuple[str, ...], *, is_barrier: bool
) -> None:
    needs = imports("own.a", ROOT, "os", "own.b", root=(hook,))

    held = found(needs, loaded=loaded)

    assert held.modules == (("own.a", ROOT, "os") if is_barrier else needs.modules)
    assert held.own_ends_at == (f"conftest.py: {hook}" if is_barrier else "")


def test_what_follows_a_write_to_the_environment_comes_with_the_writer_or_not_at_all() -> None:
    needs = imports("os", "own.writer", "=own.writer", "re")

    held = found(needs)
    assert held.modules == ("os", "own.writer", "re")
    assert held.writers == {"own.writer"}
    assert found(needs, unheld="own.writer") == Preloadable(modules=("os",), ends_at="own/writer.py:1")


def test_the_position_of_a_module_that_modifies_another_one_is_kept() -> None:
    assert found(imports("own.a", "os", "own.b"), modifying=("own.b", "os")).writers == {"own.b"}


def test_what_is_not_where_it_was_looked_for_stands_in_nobodys_way() -> None:
    needs = imports("own.a", "own.writer", "=own.writer", "own.b")

    assert found(without(needs, {"own.a"}), unheld="own.a").modules == ("own.writer", "own.b")
    assert found(without(needs, {"own.writer"})) == Preloadable(
        modules=("own.a",), own=frozenset({"own.a"}), ends_at="own/writer.py:1"
    )
