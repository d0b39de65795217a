"""Virtual environments for the suites, made once below the cache directory and kept."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

STAMP = "passmuster-benchmark-requirements.txt"
"""Written last, so that an environment whose making was interrupted is made again."""


def base_interpreter() -> Path:
    """Return the interpreter below this one's virtual environment."""
    return Path(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")


def ensure_environment(folder: Path, requirements: Sequence[str], *, base: Path | None = None) -> Path:
    """Return the interpreter of an environment that holds `requirements`; make it where needed.

    An environment that lacks some of them gets these in addition; one with others is made anew.

    Args:
        folder: where it is.
        requirements: what pip is to install: requirement specifiers, paths of source trees, options.
        base: the Python that it is made from; None: this program's.

    Raises:
        subprocess.CalledProcessError: pip failed; its output has been printed.
    """
    interpreter = folder / "bin" / "python"
    wanted = "\n".join(requirements)
    stamp = folder / STAMP
    held = stamp.read_text().splitlines() if stamp.exists() else []
    if held and set(held) <= set(requirements):
        missing = [requirement for requirement in requirements if requirement not in held]
        if not missing:
            return interpreter
        print(f"adding {', '.join(missing)} to {folder}", flush=True)
    else:
        missing = list(requirements)
        print(f"making {folder} with {', '.join(requirements)}", flush=True)
        subprocess.run([str(base or base_interpreter()), "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *missing], check=True)
    stamp.write_text(wanted)
    return interpreter


def fingerprint(*texts: str) -> str:
    """Return a short name for what a suite was made from."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
