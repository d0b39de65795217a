"""How imports are changed for the wheel, in which the program lies below `passmuster._program`."""

from __future__ import annotations

from pathlib import Path

import pytest

from hatch_build import package_version, rename_imports
from tests.support.git_project import GitProject

VERSION_FILE = "passmuster/model/version.py"


def test_a_package_has_the_version_of_its_tag_or_names_its_commit(tmp_path: Path) -> None:
    checkout = GitProject(tmp_path / "checkout")
    checkout.write(VERSION_FILE, 'VERSION = "0.2.0"\n')
    commit = checkout.commit()
    checkout.git("tag", "v0.1.0")

    assert package_version(checkout.root) == f"0.2.0+g{commit[:9]}"
    checkout.git("tag", "v0.2.0")
    assert package_version(checkout.root) == "0.2.0"


def test_an_export_has_its_version_also_inside_another_repository(tmp_path: Path) -> None:
    around = GitProject(tmp_path)
    around.write(f"export/{VERSION_FILE}", 'VERSION = "0.2.0"\n')
    around.commit()

    assert package_version(tmp_path / "export") == "0.2.0"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from worker.queue import cli", "from passmuster._program.worker.queue import cli"),
        ("from dispatcher import cli, plan", "from passmuster._program.dispatcher import cli, plan"),
        ("from run_tests import main", "from passmuster._program.run_tests import main"),
        ("import run_tests", "from passmuster._program import run_tests"),
        ("import run_tests as ours", "from passmuster._program import run_tests as ours"),
        (
            "def load():\n    from worker.tasks import (\n        one,\n    )",
            "def load():\n    from passmuster._program.worker.tasks import (\n        one,\n    )",
        ),
        ("x = 'ü'; from worker import y", "x = 'ü'; from passmuster._program.worker import y"),
    ],
)
def test_an_import_of_the_program_names_its_place_in_the_wheel(before: str, after: str) -> None:
    assert rename_imports(before.encode()) == after.encode()


@pytest.mark.parametrize(
    "code",
    [
        "from passmuster.model import task",
        "import workers, sys",
        "from . import worker",
        "'''\nfrom worker import x\n'''",
        "text = 'import run_tests'  # from worker import x\r\n",
    ],
)
def test_everything_else_stays_as_it_is(code: str) -> None:
    assert rename_imports(code.encode()) == code.encode()


@pytest.mark.parametrize("code", ["import worker.queue", "import sys, run_tests"])
def test_an_import_that_cannot_be_changed_fails_the_build(code: str) -> None:
    with pytest.raises(ValueError, match=r"line 1: cannot rename this import; write `from"):
        rename_imports(code.encode())
