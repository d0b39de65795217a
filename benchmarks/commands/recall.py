"""`recall`: whether --changed selects every test file that a fault in the product makes fail.

Faults are made by seed in modules of public packages, one at a time, in a copy that is installed in editable
mode. All files run after each fault. Those that fail must be among the selected ones. pytest-testmon selects
for the same faults. `--files` bounds the faults of each package.
"""

from __future__ import annotations

import ast
import copy
import random
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.commands.setting import Setting
from benchmarks.environments import ensure_environment
from benchmarks.measure import Measured, measure, plain_environment
from benchmarks.ours import our_command, read_record
from benchmarks.suites.packages import ATTRS, MARSHMALLOW, NETWORKX, WERKZEUG, Package, write_suite
from benchmarks.suites.packages import CLICK as CLICK_8_3
from benchmarks.tables import print_table, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A package with the folders of its product and of its tests."""

    package: Package
    product: str
    tests: tuple[str, ...] = ("tests",)


PRODUCTS = (
    Product(package=CLICK_8_3, product="src/click"),
    Product(package=WERKZEUG, product="src/werkzeug"),
    Product(package=ATTRS, product="src/attr"),
    Product(package=MARSHMALLOW, product="src/marshmallow"),
    Product(
        package=NETWORKX,
        product="networkx",
        tests=("networkx/classes", "networkx/utils", "networkx/readwrite"),
    ),
    Product(
        package=Package(
            name="babel==2.17.0", tests="tests", requirements=("pytest<9.1", "freezegun", "pytz", "tzdata")
        ),
        product="babel",
    ),
)

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.GtE,
    ast.Gt: ast.LtE,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.And: ast.Or,
}
"""Operators, each with the one that takes its place."""


USAGE_ERROR = 4
"""The exit status of pytest if a conftest cannot be imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRecord:
    """What one fault led to; numbers of test files.

    Args:
        suite: the package.
        place: module and line of the fault.
        files: all test files.
        failing: those that fail with the fault.
        selected: those that --changed selects.
        missed: failing files that it does not select.
        peer_selected: those in which pytest-testmon selects a test.
        peer_missed: failing files that it does not select.
    """

    suite: str
    place: str
    files: int
    failing: int
    selected: int
    missed: tuple[str, ...]
    peer_selected: int
    peer_missed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRecord:
    """CPU seconds of a whole run of a package's tests."""

    suite: str
    way: str
    cpu_s: float


def run(setting: Setting) -> bool:
    """Measure and print; return whether no failing file was missed."""
    wanted = [one for one in PRODUCTS if not setting.only or _name(one) in setting.only]
    faults: list[FaultRecord] = []
    costs: list[CostRecord] = []
    for product in wanted:
        bench = _Bench(setting, product)
        costs += bench.costs()
        for record in bench.faults(count=setting.files):
            faults.append(record)
            write_json(setting.output, "recall", [*faults, *costs])
    _print(faults, costs)
    return not any(record.missed for record in faults)


class _Bench:
    """A copy of a package, installed in editable mode, whose tests have run once."""

    def __init__(self, setting: Setting, product: Product) -> None:
        self._setting, self._product = setting, product
        suite = write_suite(setting.cache / "suites" / "packages", product.package)
        self._home = home = setting.cache / "recall" / _name(product)
        self._root = home / "source"
        shutil.rmtree(self._root, ignore_errors=True)
        shutil.copytree(suite.root, self._root)
        requirements = (*product.package.requirements, "pytest-testmon", "-e", str(self._root))
        self._python = ensure_environment(home / "environment", requirements)
        (self._root / ".gitignore").write_text("__pycache__/\n*.egg-info/\n.testmondata*\n.hypothesis/\n")
        for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "all")):
            self._git(*words)
        first = self._ours()
        self._files, self._whole = first.all_files, first.failing
        self._ours()  # The second run verifies forked passes, and has nothing new beside the sources.
        self._pytest("--testmon")

    def costs(self) -> Iterator[CostRecord]:
        """Yield what recording costs, and what pytest-testmon costs."""
        ways = {
            "ours, not recorded": lambda: self._ours("--no-record-inputs").measured,
            "ours, recorded": lambda: self._ours().measured,
            "pytest": lambda: self._pytest("-p", "no:testmon"),
            "pytest-testmon, first run": self._first_testmon,
        }
        for _ in range(self._setting.rounds):
            for way, measured in ways.items():
                yield CostRecord(suite=_name(self._product), way=way, cpu_s=measured().cpu_s)

    def faults(self, *, count: int) -> Iterator[FaultRecord]:
        """Yield the record of each of `count` faults."""
        for module, source, line in _faults(self._root / self._product.product, count, self._setting.seed):
            before = module.read_text(encoding="utf-8")
            try:
                module.write_text(source, encoding="utf-8")
                place = f"{module.relative_to(self._root)}:{line}"
                record = self._fault(place)
            finally:
                module.write_text(before, encoding="utf-8")
            print(record, flush=True)
            yield record

    def _fault(self, place: str) -> FaultRecord:
        selected, peer = self._selected(), self._peer_selected()
        ran = self._ours("--no-history", "--no-record-inputs", "--timeout", "60")
        failing = ran.failing - self._whole
        return FaultRecord(
            suite=_name(self._product),
            place=place,
            files=len(self._files),
            failing=len(failing),
            selected=len(selected),
            missed=tuple(sorted(failing - selected)),
            peer_selected=len(peer),
            peer_missed=tuple(sorted(failing - peer)),
        )

    def _selected(self) -> set[str]:
        done = self._read(self._words("--changed", "--list"))
        if done.returncode != 0:  # The fault keeps pytest from collecting anything: the run fails as a whole.
            return set(self._files)
        return set(done.stdout.split("\n")) & self._files

    def _peer_selected(self) -> set[str]:
        done = self._read(self._pytest_words("--testmon-nocollect", "--collect-only"))
        if done.returncode == USAGE_ERROR:  # A conftest cannot be imported, and the run fails as a whole.
            return set(self._files)
        errors = re.findall(r"^ERROR (\S+\.py)", done.stdout, re.MULTILINE)
        return {*re.findall(r"^(\S+?\.py)::", done.stdout, re.MULTILINE), *errors}

    def _read(self, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self._root, env=plain_environment(), capture_output=True, text=True, check=False
        )

    def _first_testmon(self) -> Measured:
        for path in self._root.glob(".testmondata*"):
            path.unlink()
        return self._pytest("--testmon")

    def _pytest(self, *options: str) -> Measured:
        return measure(
            self._pytest_words(*options),
            cwd=self._root,
            environment=plain_environment(),
            output=self._home / "pytest.log",
        )

    def _pytest_words(self, *options: str) -> list[str]:
        return [str(self._python), "-m", "pytest", "-q", *options, *self._product.tests]

    def _ours(self, *options: str) -> _Ran:
        events = self._home / "events"
        events.write_text("")  # A run that cannot start writes none.
        measured = measure(
            self._words(*options, "--events", str(events)),
            cwd=self._root,
            environment=plain_environment(),
            output=self._home / "ours.log",
        )
        final = read_record(events).final
        failing = {path for path, one in final.items() if one.status != "PASS"}
        if not final:
            failing = set(self._files)
        return _Ran(measured=measured, all_files=set(final), failing=failing)

    def _words(self, *options: str) -> list[str]:
        jobs = [] if self._setting.jobs is None else ["--jobs", str(self._setting.jobs)]
        words = our_command(self._root, interpreter=self._python, events=self._home / "unused")
        return [*words, *jobs, *self._setting.ours_options, *options, *self._product.tests]

    def _git(self, *words: str) -> None:
        who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        subprocess.run(["git", *who, *words], cwd=self._root, check=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """How one run ended."""

    measured: Measured
    all_files: set[str]
    failing: set[str]


def _name(product: Product) -> str:
    return product.package.name.partition("==")[0]


def _faults(folder: Path, count: int, seed: int) -> Iterator[tuple[Path, str, int]]:
    """Yield modules with a faulty source and the line of the fault, drawn by seed."""
    modules = sorted(path for path in folder.rglob("*.py") if "tests" not in path.parts)
    drawn = random.Random(seed)
    while count > 0:
        module = drawn.choice(modules)
        tree = ast.parse(module.read_text(encoding="utf-8"))
        nodes = [node for node in ast.walk(tree) if _replacement(node) is not None]
        if not nodes:
            continue
        target = drawn.choice(nodes)
        faulty = ast.unparse(ast.fix_missing_locations(_Replace(target).visit(tree)))
        yield module, faulty, getattr(target, "lineno", 0)
        count -= 1


class _Replace(ast.NodeTransformer):
    """Replaces one node by a faulty one."""

    def __init__(self, target: ast.AST) -> None:
        self._target = target

    def visit(self, node: ast.AST) -> ast.AST:
        """Return the node, or its replacement."""
        replacement = _replacement(node) if node is self._target else None
        return replacement if replacement is not None else self.generic_visit(node)


def _replacement(node: ast.AST) -> ast.AST | None:
    """Return a faulty node in the place of another; None: it is left alone."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in SWAPS:
            changed = copy.copy(node)
            changed.ops = [SWAPS[type(operator)]()]  # type: ignore[list-item]
            return changed
        case ast.BinOp(op=operator) | ast.BoolOp(op=operator) if type(operator) in SWAPS:
            other = copy.copy(node)
            other.op = SWAPS[type(operator)]()  # type: ignore[assignment]
            return other
        case ast.Constant(value=bool() | int() as value):
            return ast.Constant(not value if isinstance(value, bool) else value + 1)
        case ast.Return(value=ast.expr()):
            return ast.Return(ast.Constant(None))
        case ast.If(test=test):
            negated = copy.copy(node)
            negated.test = ast.UnaryOp(ast.Not(), test)
            return negated
    return None


def _print(faults: Sequence[FaultRecord], costs: Sequence[CostRecord]) -> None:
    rows = []
    for suite in dict.fromkeys(record.suite for record in faults):
        some = [record for record in faults if record.suite == suite]
        failing = sum(record.failing for record in some)
        files = sum(record.files for record in some)
        rows.append(
            (
                suite,
                str(len(some)),
                str(sum(record.failing > 0 for record in some)),
                str(failing),
                _share(failing - sum(len(record.missed) for record in some), failing),
                _share(sum(record.selected for record in some), files),
                _share(failing - sum(len(record.peer_missed) for record in some), failing),
                _share(sum(record.peer_selected for record in some), files),
            )
        )
    heads = (
        "suite",
        "faults",
        "noticed",
        "failing files",
        "recall",
        "share run",
        "testmon recall",
        "its share",
    )
    print_table("Selection by what files read", heads, rows)
    ways = dict.fromkeys((record.suite, record.way) for record in costs)
    print_table(
        "Cost of recording",
        ("suite", "way", "least CPU s"),
        [
            (suite, way, f"{min(one.cpu_s for one in costs if (one.suite, one.way) == (suite, way)):.2f}")
            for suite, way in ways
        ],
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"
