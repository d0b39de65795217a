"""Packages in copies of their own, under git, installed in editable mode: a change of the source counts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.environments import ensure_environment
from benchmarks.measure import Measured, measure, plain_environment
from benchmarks.ours import our_command
from benchmarks.suites.packages import (
    ATTRS,
    CLICK,
    MARSHMALLOW,
    NETWORKX,
    WERKZEUG,
    Package,
    source_of,
    test_files,
)

IGNORED = "__pycache__/\n*.egg-info/\n.testmondata*\n.hypothesis/\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A package with the folders of its product in which faults are made."""

    package: Package
    folders: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name without the version."""
        return self.package.name.partition("==")[0]


SOME_OF_NETWORKX = ("classes/tests", "readwrite/json_graph/tests", "readwrite/tests", "utils/tests")

PRODUCTS = (
    Product(package=CLICK, folders=("src/click",)),
    Product(package=WERKZEUG, folders=("src/werkzeug",)),
    Product(package=ATTRS, folders=("src/attr",)),
    Product(package=MARSHMALLOW, folders=("src/marshmallow",)),
    Product(
        package=replace(NETWORKX, requirements=("pytest<9.1", "numpy"), folders=SOME_OF_NETWORKX),
        folders=("networkx/classes", "networkx/readwrite", "networkx/utils"),
    ),
    Product(
        package=Package(
            name="babel==2.17.0", tests="tests", requirements=("pytest<9.1", "freezegun", "pytz", "tzdata")
        ),
        folders=("babel",),
    ),
)


class ProductCopy:
    """A copy of a product's source, and an environment with pytest-testmon that imports it from there.

    Args:
        cache: everything is kept below it.
        product: which.

    Raises:
        subprocess.CalledProcessError: pip or git failed; its output has been printed.
    """

    def __init__(self, cache: Path, product: Product) -> None:
        self.product, self.home = product, cache / "products" / product.name
        self.root = self.home / "source"
        source = source_of(cache / "suites" / "packages", product.package)
        if (self.root / ".git").exists():
            self._git("checkout", "-q", ".")  # What was interrupted may have left a change.
        else:
            shutil.rmtree(self.root, ignore_errors=True)
            shutil.copytree(source, self.root, ignore=shutil.ignore_patterns(".git", ".passmuster"))
            (self.root / ".gitignore").write_text(IGNORED)
            for words in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "all")):
                self._git(*words)
        requirements = (*product.package.requirements, "pytest-testmon", "-e", str(self.root))
        self._files = test_files(self.root, product.package)
        self._python = ensure_environment(self.home / "environment", requirements)

    def pytest(self, *options: str) -> list[str]:
        """Return the command that runs all tests by pytest."""
        return [str(self._python), "-m", "pytest", "-q", *options, *self._files]

    def ours(self, *options: str, files: Collection[str] = (), events: Path | None = None) -> list[str]:
        """Return the command that runs all tests, or these files, by our runner."""
        words = our_command(
            self.root, interpreter=self._python, events=events or self.home / "events", options=options
        )
        return [*words, *(files or self._files)]

    @property
    def prepared(self) -> Path:
        """A file that says which tests fail without any change; it exists if what tests read is known."""
        return self.home / "prepared.json"

    def forget(self) -> None:
        """Forget what tests read, as far as pytest-testmon and later benchmarks know it."""
        for path in (self.prepared, *self.root.glob(".testmondata*")):
            path.unlink(missing_ok=True)

    def read(
        self, command: Sequence[str], variables: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, with further variables, and return what it prints."""
        environment = {**plain_environment(), **(variables or {})}
        return subprocess.run(
            command, cwd=self.root, env=environment, capture_output=True, text=True, check=False
        )

    def measure(self, command: Sequence[str]) -> Measured:
        """Run a command and return what it takes, without its memory."""
        return measure(
            command,
            cwd=self.root,
            environment=plain_environment(),
            output=self.home / "output.log",
            with_memory=False,
        )

    def _git(self, *words: str) -> None:
        who = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
        subprocess.run(["git", *who, *words], cwd=self.root, check=True)
