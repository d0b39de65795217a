"""Conftests that pytest loads when it collects are executed once for the files below them."""

from __future__ import annotations

import pytest

from passmuster.model.status import Isolation, Status
from tests.unit.worker.forkserver.own_project import NAMES, SLOW, USES, Project


def test_the_files_below_a_conftest_share_it_and_no_other_file_has_it(project: Project) -> None:
    project.write("sub/conftest.py", SLOW)
    below = project.write_below("sub")
    project.write("deep/sub/conftest.py", "import shop.cart\n" + SLOW)
    deeper = project.write_below("deep/sub")
    everything = [*NAMES, *below, *deeper]
    project.start_servers(*everything)

    assert project.loaders(*everything) == {"a server"}
    sets = project.pool._advisor.choices()["pytest"]
    assert [
        chosen.modules if (chosen := sets.set_of(name)) else () for name in (NAMES[0], below[0], deeper[0])
    ] == [
        ("shop", "shop.cart"),
        ("/sub/conftest.py",),
        ("shop", "shop.cart", "/deep/sub/conftest.py"),
    ]
    assert any("6 file(s): sub/conftest.py (" in line for line in project.explanation(*everything))

    project.write("sub/conftest.py", SLOW + "print('loaded by the changed one')\n")

    assert "the changed one" in project.loaders(below[0])


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import time; START = time.time()", "reads the clock in sub/conftest.py:4"),
        ("import sys; sys.path.insert(0, 'elsewhere')", "changes sys.path"),
    ],
)
def test_a_conftest_with_a_finding_and_the_modules_behind_it_are_left_to_each_file(
    project: Project, code: str, reason: str
) -> None:
    project.write("sub/conftest.py", f"{SLOW}{code}\n")
    below = project.write_below("sub")
    for name in below:
        project.write(name, USES.format(module="conftest").replace("import os", "import os, shop.cart"))

    lines = project.explanation(*below)

    assert any(line.startswith(f"left out: sub/conftest.py: {reason}") for line in lines), lines
    assert project.pool._advisor.choices()["pytest"].sets == ()
    assert project.loaders(*below) == {"itself"}


def test_a_conftest_that_fails_fails_in_each_file_as_under_pytest(project: Project) -> None:
    project.write("sub/conftest.py", f"{SLOW}raise LookupError('nothing there')\n")
    below = project.write_below("sub")
    project.start_servers(*below, *NAMES)

    results = [project.run(project.pytest_task(name)) for name in below[:2]]

    assert [(result.status, result.isolation) for result in results] == [
        (Status.COLLECT_ERROR, Isolation.FORK)
    ] * 2
    assert all("LookupError: nothing there" in result.output for result in results)
    assert project.loaders() == {"a server"}


def test_modules_of_the_project_wait_for_a_conftest_that_acts_when_a_session_starts(project: Project) -> None:
    hook = "def pytest_sessionstart():\n    import os\n    os.environ['SHOP'] = 'open'\n"
    project.write("conftest.py", hook)
    project.write("shop/cart.py", f"{SLOW}assert os.environ['SHOP'] == 'open'\n")

    lines = project.explanation()

    why = "left out: modules of the project that 4 file(s) import after conftest.py: pytest_sessionstart"
    assert why in lines, lines
    assert project.loaders() == {"itself"}
