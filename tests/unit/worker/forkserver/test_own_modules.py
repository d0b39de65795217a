"""Modules of the project that several pytest files import are imported once, where a probe finds nothing."""

from __future__ import annotations

import textwrap
import threading
from pathlib import Path

import pytest
from msgspec import structs

from tests.unit.worker.forkserver.own_project import NAMES, SLOW, USES, Project
from tests.unit.worker.workbench import until
from worker.forkserver.server import ForkServer, Setup

REWRITTEN = "        except AssertionError as error: assert 'At index 0 diff' in str(error)\n"


def test_a_module_of_the_project_is_imported_once(project: Project) -> None:
    project.start_servers()

    assert project.loaders() == {"a server"}
    assert any("shop.cart" in line and line.startswith("  4 file(s)") for line in project.explanation())


def test_a_module_that_a_server_imports_sees_that_pytest_runs_and_garbage_is_collected(
    project: Project,
) -> None:
    project.write(
        "shop/cart.py", f"{SLOW}import gc\nassert os.environ['PYTEST_VERSION'] and gc.get_threshold()[0]\n"
    )

    project.start_servers()

    assert project.loaders() == {"a server"}


def test_a_file_does_not_wait_for_the_probe(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    proven: list[Setup] = []
    derive = ForkServer.derive

    def derive_late(server: ForkServer, setup: Setup, given_up: threading.Event) -> ForkServer:
        if setup.probe:
            proven.append(setup)
            until(lambda: bool(ran), "a file has run")
        return derive(server, setup, given_up)

    monkeypatch.setattr(ForkServer, "derive", derive_late)
    ran: set[str] = set()
    project.loaders(NAMES[0])  # The session is there, and what the files need is known after this.
    project.pool._think([project.pytest_task(name) for name in NAMES])
    ran |= project.loaders(NAMES[1])

    assert ran == {"itself"}
    until(lambda: project.loaders(NAMES[2]) == {"a server"}, "the probe has finished")
    assert len(proven) == 1

    project.begin_again()
    project.start_servers()

    assert project.loaders() == {"a server"}
    assert len(proven) == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("open('made', 'w').close()", "writes made in shop/cart.py:4"),
        ("import time; START = time.time()", "reads the clock in shop/cart.py:4"),
        ("import uuid; ID = uuid.uuid4()", "draws random numbers"),
        ("import logging; logging.basicConfig()", "keeps sys.stdout or sys.stderr"),
        ("SLOT = os.environ.get('PASSMUSTER_SLOT')", "PASSMUSTER_SLOT"),
        ("import warnings; warnings.warn('old')", "warns: UserWarning: old"),
    ],
)
def test_a_module_that_does_more_than_define_things_is_left_to_each_file(
    project: Project, code: str, reason: str
) -> None:
    project.write("shop/cart.py", f"{SLOW}{code}\n")

    lines = project.explanation()

    assert any(line.startswith("left out: shop.cart: ") and reason in line for line in lines), lines
    assert project.loaders() <= {"itself"}


def test_a_module_that_a_file_does_not_import_stays_missing(project: Project) -> None:
    project.write("test_without.py", "import shop\ndef test_a(): assert not hasattr(shop, 'cart')\n")
    project.start_servers()
    project.pool.probe([project.pytest_task(name) for name in [*NAMES, "test_without.py"]])

    project.loaders("test_without.py")

    assert project.loaders() == {"a server"}


def test_each_file_finds_what_modules_registered_in_the_order_in_which_it_imports_them(
    project: Project,
) -> None:
    project.write("shop/__init__.py", "ORDER = []\n")
    registers = f"{SLOW}import shop\nshop.ORDER.append(__name__)\n"
    for name in ("early", "late"):
        project.write(f"shop/{name}.py", registers)
    orders = {
        f"test_{number}.py": ["shop.early", "shop.late"][:: 1 if number % 2 else -1] for number in range(8)
    }
    for name, order in orders.items():
        check = f"    import shop\n    assert shop.ORDER == {order}\n    print('checked')\n"
        project.write(name, f"import {order[0]}\n" + textwrap.dedent(USES.format(module=order[1])) + check)

    project.start_servers(*orders)
    chosen = project.pool._advisor.choices()["pytest"].sets

    assert project.loaders(*orders) == {"a server"}
    assert sorted(each.modules for each in chosen) == [
        ("shop", "shop.early", "shop.late"),
        ("shop", "shop.late", "shop.early"),
    ]
    why = "in its place: shop.late modifies shop: only files that import the same before it share it"
    assert why in project.explanation(*orders)


def test_modules_are_not_imported_before_what_the_file_does_to_others(project: Project) -> None:
    project.write("shop/__init__.py", "IS_OPEN = False\n")
    project.write("shop/cart.py", f"{SLOW}import shop\nassert shop.IS_OPEN\n")
    for name in NAMES:
        uses = textwrap.dedent(USES.format(module="shop.cart"))
        project.write(name, f"import shop\nshop.IS_OPEN = True\n{uses}")

    project.start_servers()

    assert project.loaders() == {"itself"}


def test_a_server_has_the_number_of_slots_that_the_files_have_or_none(project: Project) -> None:
    project.write("shop/cart.py", f"{SLOW}COUNT = os.environ.get('PYTEST_XDIST_WORKER_COUNT')\n")
    check = "        assert used.COUNT == os.environ['PYTEST_XDIST_WORKER_COUNT']\n"
    for name in NAMES:
        project.write(name, USES.format(module="shop.cart") + check)
    project.use(structs.replace(project.settings, slots=3, idle_cpus=1))
    project.start_servers()

    assert project.loaders() == {"a server"}

    project.use(structs.replace(project.settings, is_sole=False))
    why = "left out: shop.cart: reads PYTEST_XDIST_WORKER_COUNT, which differs from file to file"

    assert any(line.startswith(why) for line in project.explanation())
    assert project.loaders() == {"itself"}


def test_a_module_that_has_changed_is_not_inherited_any_more(project: Project) -> None:
    project.start_servers()
    assert project.loaders(NAMES[0]) == {"a server"}

    project.write("shop/cart.py", f"{SLOW}print('loaded by the changed one')\n")

    assert "the changed one" in project.loaders(NAMES[0])


def test_a_test_file_that_has_changed_gets_only_what_it_imports_now(project: Project) -> None:
    project.start_servers()
    assert project.loaders(NAMES[0]) == {"a server"}

    project.write(NAMES[0], "import shop\ndef test_a(): assert not hasattr(shop, 'cart')\n")
    project.start_servers()

    assert project.loaders(NAMES[0]) == set()
    assert project.loaders(NAMES[1]) == {"a server"}


def test_test_files_and_conftests_are_left_to_pytest(project: Project) -> None:
    project.write("test_base.py", SLOW)
    project.use_module("test_base")
    project.write("test_base.py", f"{SLOW}def test_b(): assert [1] == [1]\n")

    sets = project.start_servers().choices()["pytest"].sets
    assert all("test_base" not in chosen.modules for chosen in sets)
    assert project.loaders() == {"itself"}


@pytest.mark.parametrize(
    "conftest",
    ["open('made', 'w').close()\n", "pytest_plugins = ['pytester']\n"],
    ids=["finding", "refused"],
)
def test_modules_are_not_imported_before_conftests_that_each_file_loads_itself(
    project: Project, conftest: str
) -> None:
    project.write("conftest.py", conftest)

    assert project.start_servers().choices()["pytest"].sets == ()


def test_a_module_comes_behind_a_conftest_that_has_its_asserts_rewritten(project: Project) -> None:
    project.write("sub/conftest.py", "import pytest\npytest.register_assert_rewrite('shop.cart')\n")
    project.write("shop/cart.py", SLOW + "def check(): assert [1] == [2]\n")
    names = [f"sub/{name}" for name in NAMES]
    for name in names:
        project.write(name, USES.format(module="shop.cart") + "        try: used.check()\n" + REWRITTEN)

    [chosen] = project.start_servers(*names).choices()["pytest"].sets

    assert chosen.modules == ("/sub/conftest.py", "shop", "shop.cart")
    assert project.loaders(*names) == {"a server"}


def test_what_a_file_imports_while_it_is_collected_is_known_in_the_next_run(project: Project) -> None:
    lazy = "def load():\n    import colorsys\nload()\ndef test_b():\n    import wave\n"
    project.write(NAMES[0], lazy + textwrap.dedent(USES.format(module="shop.cart")))
    project.loaders(NAMES[0])

    project.begin_again()
    modules = project.start_servers().needs()[NAMES[0]].modules

    assert "colorsys" in modules
    assert "wave" not in modules


def test_under_coverage_each_file_imports_what_is_measured(project: Project, tmp_path: Path) -> None:
    project.use(structs.replace(project.settings, coverage_dir=tmp_path))

    assert project.start_servers().choices()["pytest"].sets == ()


def filter_warnings(project: Project) -> None:
    """Have pytest import a module of the project for each file, before anything else."""
    project.write("pytest.ini", "[pytest]\naddopts = -s\nfilterwarnings =\n    ignore::shop.cart.Old\n")
    project.write("shop/cart.py", f"{SLOW}class Old(UserWarning): pass\n")


def test_what_pytest_imports_for_a_filter_of_warnings_is_imported_once(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    proven: list[Setup] = []
    derive = ForkServer.derive

    def derive_noted(server: ForkServer, setup: Setup, given_up: threading.Event) -> ForkServer:
        if setup.probe and setup.session:
            proven.append(setup)
        return derive(server, setup, given_up)

    monkeypatch.setattr(ForkServer, "derive", derive_noted)
    filter_warnings(project)

    for _ in range(2):
        project.begin_again()
        assert not project.pool.why_no_session()
        assert project.loaders() == {"a server"}
        assert len(proven) == 1

    project.write("shop/cart.py", f"{SLOW}class Old(UserWarning): pass\nprint('loaded by the changed one')\n")

    assert project.loaders() >= {"the changed one"}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("open('made', 'w').close()", "writes made in shop/cart.py:5"),
        (
            "import threading, time; threading.Thread(target=time.sleep, args=[9], daemon=True).start()",
            "thread",
        ),
    ],
)
def test_what_pytest_imports_for_a_filter_of_warnings_must_do_nothing_else(
    project: Project, code: str, reason: str
) -> None:
    filter_warnings(project)
    project.write("shop/cart.py", f"{SLOW}class Old(UserWarning): pass\n{code}\n")

    assert project.loaders(*NAMES[:2]) == {"itself"}
    for _ in range(2):
        [why] = project.pool.why_no_session()
        assert reason in why
        project.begin_again()
        assert project.loaders(NAMES[2]) == {"itself"}


def test_under_coverage_each_file_imports_what_a_filter_of_warnings_names(
    project: Project, tmp_path: Path
) -> None:
    filter_warnings(project)
    project.use(structs.replace(project.settings, coverage_dir=tmp_path))

    assert project.loaders(*NAMES[:2]) == {"itself"}
    assert project.pool.why_no_session() == ["a plugin of pytest imported shop, which belongs to the project"]
