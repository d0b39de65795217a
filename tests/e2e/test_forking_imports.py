"""What is imported before files are forked, and that no file can tell but by the time it takes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.support.outcome import Outcome
from tests.e2e.support.project import Project
from tests.e2e.support.sources import script
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

DEAR = """
    import os, time
    with open(os.environ["IMPORTS"], "a") as imports:
        imports.write("x")
    end = time.perf_counter() + 0.2
    while time.perf_counter() < end:
        pass
"""
"""A module that costs enough to be worth an import ahead, and counts its imports."""

LAST_FINDER = """
    import sys
    class Last:
        def find_spec(self, *_):
            return None
    sys.meta_path.append(Last())
"""
FIRST = script("time.sleep(1)")
"""Runs first, being the longest; what the others need together is known when it ends."""

FORGETS = """
    import dear
    if __name__ == "__main__":
        print("a part" if hasattr(dear, "part") else "no part")
"""
WITHOUT = """
    import sys
    if __name__ == "__main__":
        print("dear" in vars(sys)["mod" + "ules"])
"""
USERS = [f"tests/test_{number}.py" for number in range(5)]


class Environment:
    """A virtual environment with modules of the tests' own, and the project that is run in it."""

    def __init__(self, project: Project, home: Path) -> None:
        self.project, self.home = project, home
        self.imports = project.base / "imports"

    def install(self, name: str, text: str) -> None:
        """Put a module among the installed ones."""
        folder = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
        path = self.home / folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(re.sub(r"^    ", "", text.lstrip("\n"), flags=re.MULTILINE))

    def run(self, *arguments: str) -> Outcome:
        """Run one file after another; `IMPORTS` names the file in which modules count."""
        self.imports.write_text("")
        env = {"VIRTUAL_ENV": str(self.home), "IMPORTS": str(self.imports)}
        env["PYTHONPATH"] = str(self.project.root)
        outcome = self.project.run("--jobs", "1", *arguments, env=env)
        assert outcome.code == 0, str(outcome)
        return outcome

    def run_until_warm(self, *arguments: str) -> Outcome:
        """Run until the imports of five files are one: a busy machine may take longer to think.

        A forked pass that is confirmed imports the module once more, in an interpreter of its own.
        """
        for _ in range(4):
            outcome = self.run(*arguments)
            started = outcome.of_kind("file-started")
            confirmations = sum(event["attempt_reason"] == "verify-pass" for event in started)
            if 1 <= len(self.imports.read_text()) <= 1 + confirmations < len(USERS):
                return outcome
        raise AssertionError(f"{self.imports.read_text()} imports: {outcome!r}")


@pytest.fixture
def environment(project: Project) -> Environment:
    home = project.base / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    project.write({"tests/test_first.py": FIRST})
    return Environment(project, home)


def use(module: str, then: str = "pass") -> dict[str, str]:
    """Return five files that import a module."""
    return dict.fromkeys(USERS, f"import sys, {module}\nif __name__ == '__main__':\n    {then}\n")


def test_what_five_files_import_is_imported_once(environment: Environment) -> None:
    environment.install("dear.py", DEAR)
    environment.project.write(use("dear"))
    environment.run()
    outcome = environment.run_until_warm()
    assert set(outcome.start_methods().values()) == {"fork"}


def test_a_finder_that_a_module_leaves_behind_all_others_hides_no_pytest(environment: Environment) -> None:
    # Packages such as `six` append one, and every file that is forked from a server with them inherits it.
    environment.install("dear.py", f"{DEAR}{LAST_FINDER}")
    environment.install("with_pytest.pth", str(next((PYTEST_ENVIRONMENT / "lib").glob("*/site-packages"))))
    users = dict.fromkeys(USERS, "import dear\n\ndef test_it():\n    assert dear\n")
    environment.project.write({"tests/test_first.py": f"{FIRST}def test_it(): time.sleep(1)\n", **users})
    environment.run()
    outcome = environment.run_until_warm()
    assert {outcome.final(name).runner for name in USERS} == {"pytest"}
    assert "failed when forked" not in outcome.stdout
    assert set(outcome.start_methods().values()) == {"fork"}


def test_what_a_file_does_not_import_stays_missing(environment: Environment) -> None:
    environment.install("dear/__init__.py", DEAR)
    environment.install("dear/part.py", "")
    environment.project.write(use("dear.part"))
    environment.project.write({"tests/test_forgets.py": FORGETS, "tests/test_without.py": WITHOUT})
    for _ in range(3):
        outcome = environment.run()
        assert outcome.final("tests/test_forgets.py").output == "no part\n", str(outcome)
        assert outcome.final("tests/test_without.py").output == "False\n", str(outcome)
    assert set(outcome.start_methods().values()) == {"fork"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("print('imported')", "imported\n"),
        ("os.environ['SET_BY_DEAR'] = 'yes'", ""),
    ],
    ids=["prints", "sets a variable"],
)
def test_a_module_that_does_more_than_define_things_is_left_to_each_file(
    environment: Environment, text: str, shown: str
) -> None:
    environment.install("busy.py", DEAR + "\n".join(f"    {line}" for line in text.splitlines()))
    environment.project.write(use("busy", then="import os; print(os.environ.get('SET_BY_DEAR'))"))
    first = environment.run()
    second = environment.run()
    variable = "yes" if "SET_BY_DEAR" in text else "None"
    for outcome in (first, second):
        for name in USERS:
            assert outcome.final(name).output == f"{shown}{variable}\n", str(outcome)
            assert outcome.final(name).isolation == "fork"
    # It has been tried in a server meanwhile, or will be; after that it is known.
    for _ in range(3):
        last = environment.run()
        if environment.imports.read_text() == "x" * 5:
            return
    raise AssertionError(f"{environment.imports.read_text()} imports: {last!r}")


def test_ctrl_c_does_not_wait_for_a_module_that_hangs_in_a_server(environment: Environment) -> None:
    project = environment.project
    environment.install("stuck.py", DEAR + "    time.sleep(600)\n")
    project.write(use("stuck"))
    env = {"VIRTUAL_ENV": str(environment.home), "IMPORTS": str(environment.imports)}
    running = project.start("--jobs", "1", "--grace-period", "300ms", env=env)
    running.wait_for_file(str(environment.imports))
    running.send(signal.SIGINT)
    assert running.end(timeout_s=20).code == 130


def test_an_own_package_that_is_named_is_imported_once(environment: Environment) -> None:
    environment.project.write({"pyproject.toml": '[tool.passmuster]\npreload = ["mypackage"]\n'})
    environment.project.write({"mypackage/__init__.py": DEAR})
    environment.project.write(use("mypackage"))
    environment.run()
    outcome = environment.run_until_warm()
    assert set(outcome.start_methods().values()) == {"fork"}


SHOP = """
    import sys

    def price(number):
        if number > 3:
            return number * 2
        return number

    def never():
        return 0
"""
UNITTEST = """
    import sys, os, unittest
    sys.path.insert(0, os.getcwd())
    import shop

    class T(unittest.TestCase):
        def test_it(self):
            self.assertEqual(shop.price(4), 8)
"""
MEASURED = {
    "shop.py": SHOP,
    "tests/test_script.py": UNITTEST + "\n    if __name__ == '__main__':\n        unittest.main()\n",
    "tests/test_pytest.py": "import shop\n\ndef test_small():\n    assert shop.price(1) == 1\n",
    "tests/test_cases.py": UNITTEST.replace("4), 8", "2), 2"),
}


def covered(project: Project, *arguments: str) -> tuple[list[str], Outcome]:
    """Run with coverage; return the measured lines as the XML report has them."""
    env = {"VIRTUAL_ENV": str(PYTEST_ENVIRONMENT)}
    options = ("--coverage", "--coverage-dir", str(project.base / "reports"), "--coverage-xml", "c.xml")
    outcome = project.run(*options, *arguments, env=env)
    assert (outcome.code, outcome.stderr) == (0, ""), str(outcome)
    report = (project.root / "c.xml").read_text()
    return re.findall(r'filename="[^"]*"|<line number="\d+" hits="\d+"', report), outcome


@pytest.mark.parametrize("runner", ["auto", "unittest"])
def test_coverage_finds_the_same_lines_in_forked_files(project: Project, runner: str) -> None:
    project.write(MEASURED)
    project.write({"pyproject.toml": '[tool.passmuster]\npreload = ["shop"]\n'})
    if runner == "unittest":
        (project.root / "tests/test_pytest.py").unlink()
    spawned, _ = covered(project, "--isolation", "spawn", "--runner", runner)
    forked, outcome = covered(project, "--isolation", "fork", "--runner", runner)
    again, _ = covered(project, "--isolation", "fork", "--runner", runner)
    assert set(outcome.start_methods().values()) == {"fork"}
    assert 'hits="1"' in " ".join(spawned)
    assert spawned == forked == again
