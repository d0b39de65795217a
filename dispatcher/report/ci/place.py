"""Where the project lies in the repository, and where the repository's files can be looked at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from dispatcher.config.choices import CiChoice

_CHECKOUTS = {CiChoice.GITHUB: "GITHUB_WORKSPACE", CiChoice.AZURE: "BUILD_SOURCESDIRECTORY"}
"""What names the repository's folder."""

_SERVER = re.compile(r"https?://[A-Za-z0-9.:-]+")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")
_COMMIT = re.compile(r"[0-9a-f]{7,64}")


def project_folder(ci: CiChoice, environ: Mapping[str, str], root: Path) -> str:
    """Return the project root in the repository, with a slash at its end; empty: it is the repository.

    It is empty too where the repository's folder is not known, or the root lies elsewhere.
    """
    named = environ.get(_CHECKOUTS.get(ci, ""), "")
    checkout = Path(named)
    for place, folder in ((root, checkout), (root.resolve(), checkout.resolve())):
        if named and place.is_relative_to(folder):
            inner = place.relative_to(folder).as_posix()
            return "" if inner == "." else f"{inner}/"
    return ""


def source_url(environ: Mapping[str, str], folder: str) -> str:
    """Return where GitHub shows the project's files of this commit, with a slash at its end, or nothing."""
    server, repository, commit = (
        environ.get(f"GITHUB_{name}", "") for name in ("SERVER_URL", "REPOSITORY", "SHA")
    )
    is_known = _SERVER.fullmatch(server) and _REPOSITORY.fullmatch(repository) and _COMMIT.fullmatch(commit)
    return f"{server}/{repository}/blob/{commit}/{quote(folder)}" if is_known else ""
