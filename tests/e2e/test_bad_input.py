"""Bad input: one clear line on stderr, nothing on stdout, exit status 2, and nothing is run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.support.project import Project
from tests.e2e.support.sources import script

PYENV = Path("~/.pyenv/versions").expanduser()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """A call that cannot be.

    Args:
        name: what is wrong.
        arguments: the words; `{base}` stands for the directory above the root.
        files: further files of the project.
        env: changes to the environment.
        says: what the line must hold, all of it.
    """

    name: str
    says: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    files: tuple[tuple[str, str | bytes], ...] = ()
    env: tuple[tuple[str, str], ...] = ()


def toml(text: str | bytes, *says: str, name: str) -> Bad:
    """Return a case of a wrong configuration file."""
    return Bad(name=name, files=(("pyproject.toml", text),), says=("pyproject.toml", *says))


def table(line: str, *says: str) -> Bad:
    """Return a case of one wrong line of our table."""
    return toml(f"[tool.passmuster]\n{line}\n", *says, name=f"table: {line}")


def option(*arguments: str, says: tuple[str, ...]) -> Bad:
    """Return a case of wrong arguments."""
    return Bad(name=" ".join(arguments), arguments=arguments, says=says)


CASES: tuple[Bad, ...] = (
    option("--root", "missing", says=("root", "missing does not exist", "--root")),
    option("--root", "tests/test_a.py", says=("is not a directory", "--root")),
    option("--root=", says=("--root", "expected a path")),
    option("nowhere.py", says=("'nowhere.py'", "does not exist")),
    option("--coverge", says=("unknown argument: --coverge", "did you mean --coverage?")),
    option("--timout", "5", says=("unknown argument: --timout", "did you mean --timeout?")),
    option("-integration", says=("unknown argument: -integration", "did you mean --integration?")),
    option("-W", "error", says=("-W is an option of other test runners", "add -- -W error at the end")),
    option("-xvs", says=("-s is an option of other test runners",)),
    option("tests/test_a.py::", says=("names no test", "expected FILE::TEST")),
    option("-v", "status", says=("'status'", "the subcommand status must be the first word")),
    option("expain", "tests/test_a.py", says=("'expain'", "did you mean the subcommand explain?")),
    table("timout = 5", "unknown key 'timout'", "did you mean timeout?"),
    Bad(
        name="a misspelt variable",
        env=(("PASSMUSTER_TIMOUT", "5"),),
        says=("PASSMUSTER_TIMOUT", "did you mean PASSMUSTER_TIMEOUT?"),
    ),
    option("tests/test_b.py", says=("does not exist", "did you mean tests/test_a.py?")),
    option("{base}/outside.py", says=("outside.py", "lies outside of the root")),
    option("../outside.py", says=("lies outside of the root",)),
    option("/dev/null", says=("/dev/null", "outside")),
    option("pyproject.toml", says=("'pyproject.toml'", "does not exist")),
    option("data", says=("'data'", "holds no test files")),
    option("data/notes.txt", says=("is not a Python file",)),
    option("tests/test_b.py::test_one", says=("does not exist", "did you mean tests/test_a.py")),
    option("tests/pipe.py", says=("is not a regular file",)),
    option("tests/bad\0name.py".replace("\0", "\udcff"), says=("does not exist",)),
    option("--timeout", "-1", says=("wrong value for timeout", "'-1'", "--timeout")),
    option("--timeout", "0", says=("above zero", "'0'")),
    option("--timeout", "soon", says=("expected a time such as 90s", "'soon'")),
    option("--timeout", "nan", says=("'nan'",)),
    option("--timeout", "9999999h", says=("365 days",)),
    option("--timeout", says=("--timeout needs a value",)),
    option("--memory-budget", "0", says=("above zero", "--memory-budget")),
    option("--memory-budget", "-5GB", says=("expected a size such as 4GiB", "'-5GB'")),
    option("--memory-budget", "5 apples", says=("'5 apples'",)),
    option("--memory-budget", "101%", says=("at most 100%",)),
    option("--memory-budget", "900TiB", says=("memory-budget must be at most the", "this machine has")),
    option("--memory-limit", "900TiB", says=("memory-limit must be at most the", "this machine has")),
    option(
        "--memory-budget", "1GiB", "--memory-limit", "2GiB", says=("memory-limit 2 GiB", "above", "1 GiB")
    ),
    option("--jobs", "0", says=("wrong value for jobs", "from 1 to 4096", "'0'")),
    option("--jobs", "many", says=("'many'",)),
    option("-j", says=("-j needs a value",)),
    option("--retries", "-1", says=("wrong value for retries",)),
    option("--retries", "1.5", says=("'1.5'",)),
    option("--max-fail", "0", says=("max-fail",)),
    option("--limit", "0", says=("limit",)),
    option("--runner", "nose", says=("one of auto, script, pytest, unittest", "'nose'")),
    option("--color", "pink", says=("one of auto, always, never",)),
    option("--integration=yes", says=("--integration takes no value",)),
    option("--list", "--dry-run", says=("--dry-run and --list cannot be combined",)),
    option("--failed", "--no-history", says=("--failed", "needs the history")),
    option("--junit-xml", "data", says=("must be a file, got the directory",)),
    option("--events", "data", says=("must be a file, got the directory",)),
    option("--events", "tests/test_a.py/x.jsonl", says=("cannot write the events", "--events")),
    option("--junit-xml", "tests/test_a.py/x.xml", says=("--junit-xml",)),
    option("--junit-xml", "same", "--events", "same", says=("would both write",)),
    option("--python", "missing/python", says=("missing/python", "does not exist", "--python")),
    option("--python", "no-such-python", says=("'no-such-python'", "is not on PATH")),
    option("--python", "./data", says=("holds no bin/python",)),
    option("--python", "data/notes.txt", says=("is not executable",)),
    option("--python", "data/liar", says=("does not answer as a Python interpreter does",)),
    option("--python", "data/silent", says=("does not answer as a Python interpreter does",)),
    option("--python", "data/ancient", says=("is Python 2.7.18, which is too old", "3.9 or later")),
    option("--python", "data/garbage", says=("cannot be started", "data/garbage")),
    option("--python", "data/dangling", says=("is a broken link to",)),
    Bad(name="TEST_TIMEOUT", env=(("TEST_TIMEOUT", "abc"),), says=("'abc'", "TEST_TIMEOUT")),
    Bad(name="CI_TEST_LIMIT", env=(("CI_TEST_LIMIT", "-3"),), says=("'-3'", "CI_TEST_LIMIT")),
    Bad(name="PASSMUSTER_JOBS", env=(("PASSMUSTER_JOBS", "x"),), says=("'x'", "PASSMUSTER_JOBS")),
    Bad(
        name="PASSMUSTER_ROOT",
        env=(("PASSMUSTER_ROOT", "/no"),),
        says=("/no does not exist", "PASSMUSTER_ROOT"),
    ),
    Bad(name="VIRTUAL_ENV", env=(("VIRTUAL_ENV", "/no"),), says=("/no (from VIRTUAL_ENV) does not exist",)),
    toml("[tool.passmuster\n", "is not valid TOML", name="broken TOML"),
    toml(
        "[tool.passmuster]\nname = '\udcff'".encode("utf-8", "surrogateescape"),
        "is not UTF-8 (line 2)",
        name="no UTF-8",
    ),
    toml("[tool]\npassmuster = 3\n", "must be a table", "a whole number: 3", name="no table"),
    table("timeot = 3", "unknown key 'timeot'", "did you mean timeout?"),
    table("max_workers = 3", "unknown key 'max_workers'", "did you mean jobs?"),
    table("gibberish = 3", "unknown key 'gibberish'", "see --help"),
    table("root = '.'", "root cannot be set by the configuration file", "--root"),
    table("failed = true", "cannot be set by the configuration file", "--failed"),
    table("jobs = 'x'", "wrong value for jobs", "'x'"),
    table("jobs = true", "wrong type for jobs", "true or false: true"),
    table("jobs = 2.5", "wrong type for jobs"),
    table("coverage = 'yes'", "wrong type for coverage", "true or false"),
    table("timeout = [1]", "wrong type for timeout", "a list"),
    table("timeout = -1", "wrong value for timeout"),
    table("unit-roots = [1]", "wrong type for unit-roots", "a whole number: 1"),
    table("unit-roots = ['../elsewhere']", "unit-roots", "'../elsewhere'"),
    table("workdir = '/tmp'", "workdir", "/tmp"),
    table("command = 'make'", "wrong type for command", "a list of words", "a text: 'make'"),
    table("command = []", "wrong value for command", "expected a program and its arguments", "got []"),
    table("command = ['make', 3]", "wrong type for command", "a whole number: 3"),
    table("command = ['make', 'test']", "expected {file} or {module}", "got 'make test'"),
    table("command = ['{pyhton}', '{file}']", "expected one of {python}, {file}", "got '{pyhton}'"),
    table("command = ['a{', '{file}']", "or {{ and }} for braces", "got 'a{'"),
    table("command = ['no-such-program', '{file}']", "program 'no-such-program' is not on PATH"),
    table("command = ['./none.sh', '{file}']", "program './none.sh' is not an executable file", "command in"),
    table("runner = 'command'", "runner command (from [tool.passmuster] runner", "add command = ["),
    toml(
        "[[tool.passmuster.overrides]]\nfiles = ['tests/**']\ncommand = ['none-such', '{file}']\n",
        "program 'none-such' is not on PATH",
        "overrides in",
        "number 1",
        name="override: program missing",
    ),
    toml(
        "[[tool.passmuster.overrides]]\nfiles = ['tests/**']\ncommand = ['x']\n",
        "expected {file} or {module}",
        "number 1",
        name="override: no placeholder",
    ),
    toml(
        "[[tool.passmuster.overrides]]\nfiles = ['t/**']\nrunner = 'pytest'\ncommand = ['x', '{file}']\n",
        "runner pytest and command cannot be combined",
        "number 1",
        name="override: two runners",
    ),
    Bad(
        name="Django without a command",
        arguments=("--root", "django"),
        files=(
            ("django/manage.py", "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site.settings')\n"),
            ("django/shop/tests.py", "from django.test import TestCase\n"),
        ),
        says=("found no test files", "Django project", "add command = [", "django/pyproject.toml"),
    ),
    option("--runner", "command", says=("runner command (from --runner)", "add command = [")),
    table("memory-budget = 1979-05-27", "wrong type for memory-budget", "a date or time"),
    table("timeout = 3\ntimeout = 4", "is not valid TOML"),
)


@pytest.fixture
def prepared(project: Project) -> Project:
    project.write(
        {
            "tests/test_a.py": script("open('was_run', 'w')"),
            "data/notes.txt": "notes",
            "data/liar": "#!/bin/sh\necho Python 3.12.0\n",
            "data/silent": "#!/bin/sh\nexit 0\n",
            "data/ancient": "#!/bin/sh\necho passmuster-probe cpython cpython-27 2 7 18\n",
            "data/garbage": b"\x7fELF\0\0 no program",
        }
    )
    for name in ("liar", "silent", "ancient", "garbage"):
        (project.root / "data" / name).chmod(0o755)
    (project.root / "data/dangling").symlink_to("gone")
    os.mkfifo(project.root / "tests/pipe.py")
    (project.base / "outside.py").touch()
    return project


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.name).strip("'"))
def test_it_is_refused_in_one_line(prepared: Project, case: Bad) -> None:
    prepared.write(dict(case.files))
    arguments = [argument.replace("{base}", str(prepared.base)) for argument in case.arguments]
    outcome = prepared.run(*arguments, env=dict(case.env), events="--events" not in arguments)
    assert (outcome.code, outcome.stdout) == (2, ""), str(outcome)
    (line,) = outcome.stderr.splitlines()
    assert line.startswith("[FAIL] "), str(outcome)
    for fragment in case.says:
        assert fragment in line, str(outcome)
    assert not (prepared.root / "was_run").exists()


def old_python() -> Path | None:
    """Return a real interpreter that is too old, if this machine has one."""
    found = [path for version in ("3.8", "3.7", "3.6") for path in PYENV.glob(f"{version}.*/bin/python")]
    return found[0] if found else None


def test_a_real_interpreter_that_is_too_old_is_refused(prepared: Project) -> None:
    python = old_python()
    if python is None:
        # The table's `data/ancient` stands for it where there is none.
        python = prepared.root / "data/ancient"
    outcome = prepared.run("--python", str(python))
    assert outcome.code == 2
    (line,) = outcome.stderr.splitlines()
    assert "which is too old: expected Python 3.9 or later" in line


def test_a_broken_environment_of_the_root_is_named(prepared: Project) -> None:
    (prepared.root / "venv" / "bin").mkdir(parents=True)
    (prepared.root / "venv" / "bin" / "python").symlink_to("/gone/python3")
    outcome = prepared.run()
    assert outcome.code == 2
    assert "(from venv/ of the root) is a broken link to /gone/python3" in outcome.stderr


def test_a_run_works_with_the_oldest_and_the_newest_python_of_this_machine(prepared: Project) -> None:
    versions = sorted(PYENV.glob("3.*/bin/python"), key=lambda path: _version(path.parts[-3]))
    usable = [path for path in versions if _version(path.parts[-3]) >= (3, 9)]
    prepared.write(
        {"tests/test_u.py": "import unittest\nclass T(unittest.TestCase):\n    def test_1(self): pass\n"}
    )
    for python in {*usable[:1], *usable[-1:]}:
        outcome = prepared.run("--python", str(python), "--runner", "unittest", "tests/test_u.py")
        assert outcome.statuses() == {"tests/test_u.py": "PASS"}, str(outcome)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
