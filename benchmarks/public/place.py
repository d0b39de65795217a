"""Where a public suite lies below the cache: its archive, its environment, and a fresh copy for each run."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import base_interpreter, ensure_environment
from benchmarks.measure import plain_environment
from benchmarks.public.table import PublicSuite

RECORDERS = Path(__file__).resolve().parents[1] / "suites" / "recorders"
PYTEST_RECORDER = "passmuster_benchmark_recorder"
UNITTEST_RECORDER = RECORDERS / "unittest_site"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A suite on this machine.

    Args:
        suite: which.
        home: everything of it lies below this folder.
    """

    suite: PublicSuite
    home: Path

    @property
    def root(self) -> Path:
        """Where the suite's command is run."""
        return self.home / "source" / self._top / self.suite.folder

    @property
    def binaries(self) -> Path:
        """The folder of the environment's programs."""
        return self.home / f"environment-{self.suite.python}" / "bin"

    @property
    def _top(self) -> str:
        return "." if self.suite.source == "wheel" else "project"

    def environment(self) -> dict[str, str]:
        """Return the variables of a shell in which the suite's environment is active."""
        inherited = plain_environment()
        return {
            **inherited,
            "PATH": f"{self.binaries}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(self.binaries.parent),
            **self.suite.env,
        }

    def refresh(self) -> None:
        """Unpack the archive anew: tests leave caches and files beside themselves."""
        source = self.home / "source"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        archive = next((self.home / "download").iterdir())
        if archive.suffix == ".whl":
            with zipfile.ZipFile(archive) as packed:
                packed.extractall(source)
            return
        with tarfile.open(archive) as packed:
            packed.extractall(source, filter="data")
        next(path for path in source.iterdir() if path.is_dir()).rename(source / "project")


def prepare(suite: PublicSuite, cache: Path) -> Place:
    """Download, unpack and install a suite below `cache`, unless that was done before.

    Raises:
        subprocess.CalledProcessError: pip failed; its output has been printed.
        LookupError: the suite's version of Python is not on the path.
    """
    place = Place(suite=suite, home=cache / "suites" / "public" / f"{suite.name}-{suite.version}")
    download = place.home / "download"
    interpreter = find_python(suite.python)
    if not download.exists():
        _download(suite, interpreter, download)
    if not (place.home / "source").exists():
        place.refresh()
    project = place.home / "source" / "project"
    wanted = [_requirement(text, project) for text in suite.requires]
    ensure_environment(place.binaries.parent, wanted, base=interpreter)
    packages = next((place.binaries.parent / "lib").glob("python*/site-packages"))
    shutil.copy(RECORDERS / f"{PYTEST_RECORDER}.py", packages)
    return place


def find_python(version: str) -> Path:
    """Return a Python of this version from the path.

    Raises:
        LookupError: none of that name runs.
    """
    if base_interpreter().name == f"python{version}":
        return base_interpreter()
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        program = Path(folder, f"python{version}")
        # A version manager's stand-in exists for versions that it does not run.
        if program.is_file() and not subprocess.run([program, "-c", ""], capture_output=True).returncode:
            return program
    raise LookupError(f"python{version} is not on the path; install it, or choose other suites by --only")


def _requirement(text: str, project: Path) -> str:
    return f"{project}{text[1:]}" if text == "." or text.startswith(".[") else text


def _download(suite: PublicSuite, interpreter: Path, folder: Path) -> None:
    kind = ["--no-binary", suite.name] if suite.source == "sdist" else ["--only-binary", suite.name]
    arriving = folder.with_name("arriving")
    pip = [str(interpreter), "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    subprocess.run([*pip, *kind, "--dest", str(arriving), f"{suite.name}=={suite.version}"], check=True)
    arriving.rename(folder)
