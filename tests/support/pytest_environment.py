"""An environment with pytest, coverage and one small plugin, for the projects that tests run.

The one that the tests themselves run in holds more plugins of pytest, and importing these takes longer than
everything else that a small run of pytest does.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path
from zlib import crc32

REPOSITORY = Path(__file__).resolve().parents[2]

_PACKAGES = ("pytest", "pytest-timeout", "pluggy", "iniconfig", "packaging", "pygments", "coverage")


def _prepare() -> Path:
    """Return the environment, made at the first call in a checkout and kept beside what it is copied from."""
    versions = ",".join(f"{name}={distribution(name).version}" for name in _PACKAGES)
    digest = crc32(f"{sys.version} {versions}".encode())
    kept = REPOSITORY / ".venv" / f"pytest-only-{digest:08x}"
    if kept.exists():
        return kept
    # Made aside, as several files of tests may be making it at the same time.
    made = Path(tempfile.mkdtemp(dir=kept.parent, prefix="pytest-only-"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    [site_packages] = (made / "lib").glob("*/site-packages")
    for name in _PACKAGES:
        _copy(name, site_packages)
    made.chmod(0o755)  # Some tests run as a user without rights.
    try:
        made.rename(kept)
    except OSError:
        shutil.rmtree(made)
    return kept


def _copy(name: str, site_packages: Path) -> None:
    package = distribution(name)
    for file in package.files or ():
        source = Path(str(package.locate_file(file)))
        if ".." in file.parts or not source.exists():
            continue  # Scripts, which name the interpreter they were installed for.
        target = site_packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


PYTEST_ENVIRONMENT = _prepare()
"""Its folder."""

PYTEST_PYTHON = PYTEST_ENVIRONMENT / "bin" / "python"
"""Its interpreter."""
