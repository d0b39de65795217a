"""Reads the files of a repository and finds references to the old scripts in them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from msgspec import Struct

from dispatcher.migrate.changes import current
from dispatcher.migrate.command_context import is_history
from dispatcher.migrate.names import BACKUPS, SCRIPTS, NewCommand, is_wrapper
from dispatcher.migrate.references import HINT, Reference, edited, find_references
from dispatcher.migrate.script_path import ReferenceContext
from passmuster.model.errors import InfrastructureError
from passmuster.model.hidden_fields import repr_without
from passmuster.model.units import format_bytes
from passmuster.source.files import tree_files
from passmuster.source.git import git_prefix, run_git

VENDORED = frozenset(
    {
        *("node_modules", "venv", ".venv", "vendor", "third_party", "site-packages", "dist", "build"),
        ".passmuster",
    }
)
"""Directories of third-party and generated files."""

MAX_BYTES = 4 * 1024 * 1024
"""Bytes of the largest file that is read: larger files are data."""

_MAX_TURNS = 10

LINK = "it is a link to the script"

_HOME = Path(__file__).resolve().parents[2]
_OWN = ("dispatcher/", "passmuster/", "worker/", "run_tests.py", "run_ci_replica.py")


class Document(Struct, frozen=True, kw_only=True):
    """A file that refers to the scripts.

    Args:
        text: its text, with surrogates for invalid UTF-8.
        after: the text with all references changed that need no manual edit.
    """

    path: str
    content: bytes
    text: str
    references: list[Reference]
    after: str

    __repr__ = repr_without("content", "text", "after")

    def migrated(self) -> bytes:
        """Return the content with all references changed that need no manual edit."""
        return self.after.encode("utf-8", "surrogateescape")


class ManualEdit(Struct, frozen=True, kw_only=True):
    """A place that a person must edit: a line of a file, as it is now, and why."""

    path: str
    line: int
    text: str
    reason: str


class Survey(Struct, frozen=True, kw_only=True):
    """The references to the scripts in a repository."""

    files: int
    documents: tuple[Document, ...]
    links: tuple[ManualEdit, ...]
    notes: tuple[str, ...]

    @property
    def lines(self) -> tuple[ManualEdit, ...]:
        """Every line that refers to the scripts, in the order of the files, and links at the end."""
        found: dict[tuple[str, int], ManualEdit] = {}
        for document in self.documents:
            lines = document.text.split("\n")
            for one in document.references:
                key, text = (document.path, one.line), lines[one.line - 1].strip()
                if key not in found or not found[key].reason:
                    found[key] = ManualEdit(path=document.path, line=one.line, text=text, reason=one.reason)
        return (*found.values(), *self.links)

    @property
    def stems(self) -> set[str]:
        """The scripts to which the files refer, without their extension."""
        return {reference.stem for document in self.documents for reference in document.references}

    @property
    def manual_edits(self) -> tuple[ManualEdit, ...]:
        """What a person must edit."""
        return tuple(line for line in self.lines if line.reason)


def survey(root: Path, command: NewCommand) -> Survey:
    """Find the references to the scripts in the repository at `root`.

    Raises:
        InfrastructureError: git cannot list the files.
        ConfigurationError: outside git, there are too many files.
    """
    paths, notes = _own_paths(root)
    exists, addresses = _existence(root), _addresses(root)
    documents: list[Document] = []
    links: list[ManualEdit] = []
    large, unreadable, history = [], [], []
    for path in paths:
        absolute = root / path
        try:
            if absolute.is_symlink():
                links += _link_to_script(root, path)
                continue
            size = absolute.stat().st_size
            content = absolute.read_bytes() if size <= MAX_BYTES else b""
        except OSError as error:
            unreadable.append(f"{path} ({error.strerror})")
            continue
        if size > MAX_BYTES:
            large.append(f"{path} ({format_bytes(size)})")
        if HINT.encode() not in content or b"\0" in content:
            continue
        if is_history(path):
            if any(script.encode() in content for script in SCRIPTS):
                history.append(path)
            continue
        text = content.decode("utf-8", "surrogateescape")
        context = ReferenceContext(path=path, root_name=root.name, exists=exists, addresses=addresses)
        references = find_references(text, context, command)
        if references:
            after = _settled(text, references, context, command)
            documents.append(
                Document(path=path, content=content, text=text, references=references, after=after)
            )
    notes += [f"not read, larger than {format_bytes(MAX_BYTES)}: {_some(large)}"] if large else []
    notes += [f"not readable: {_some(unreadable)}"] if unreadable else []
    notes += [f"left unchanged, history: {_some(history)}"] if history else []
    return Survey(files=len(paths), documents=tuple(documents), links=tuple(links), notes=tuple(notes))


def _settled(text: str, references: list[Reference], context: ReferenceContext, command: NewCommand) -> str:
    """Return the text with references changed until a second migration would find nothing to change.

    The words next to a reference affect its replacement, and may be another reference: few texts need two
    passes.
    """
    for _ in range(_MAX_TURNS):
        if not any(reference.edits for reference in references):
            break
        text = edited(text, references)
        references = find_references(text, context, command)
    return text


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _own_paths(root: Path) -> tuple[list[str], list[str]]:
    """Return the files that belong to the repository, and notes about those that do not."""
    left_out: set[str] = set()
    kept = []
    is_vendored = _folder_check(root)
    for path in tree_files(root):
        folder, _, name = path.rpartition("/")
        outer = is_vendored(folder)
        if outer:
            left_out.add(outer)
        elif not (_is_ours(root, path) or (not folder and name in (*SCRIPTS, *BACKUPS))):
            kept.append(path)
    return kept, [f"skipped, not part of this repository: {_some(sorted(left_out))}"] if left_out else []


def _folder_check(root: Path) -> Callable[[str], str]:
    """Return a function that names the foreign repository that a directory lies in; empty: none."""

    @cache
    def check(folder: str) -> str:
        if not folder:
            return ""
        above, _, name = folder.rpartition("/")
        outer = check(above)
        if outer:
            return outer
        is_other = name in VENDORED or os.path.lexists(root / folder / ".git")
        return f"{folder}/" if is_other else ""

    return check


def _is_ours(root: Path, path: str) -> bool:
    """Return whether a file belongs to Passmuster itself, if that lies in the repository."""
    if not _HOME.is_relative_to(root):
        return False
    own = _HOME.relative_to(root).as_posix()
    return path.startswith(_OWN) if own == "." else path.startswith(f"{own}/")


def _existence(root: Path) -> Callable[[str], bool]:
    own = {os.path.realpath(root / script) for script in SCRIPTS}

    @cache
    def exists(path: str) -> bool:
        absolute = os.path.realpath(root / path)
        return absolute not in own and Path(absolute).is_file()

    return exists


def _link_to_script(root: Path, path: str) -> Iterator[ManualEdit]:
    target = os.path.normpath(root / Path(path).parent / (root / path).readlink())
    for script in SCRIPTS:
        if target == os.fspath(root / script) and not is_wrapper(current(root / script)):
            yield ManualEdit(path=path, line=1, text=f"-> {script}", reason=LINK)


def _addresses(root: Path) -> frozenset[str]:
    """Return the remotes as `host/owner/repository`; none where the root is not the top of a repository."""
    try:
        if git_prefix(root) != "":
            return frozenset()
        answer = os.fsdecode(run_git(root, "config", "--get-regexp", r"^remote\..*\.url$"))
    except InfrastructureError:
        # git fails when there is no such setting.
        return frozenset()
    urls = (line.partition(" ")[2] for line in answer.splitlines())
    plain = (re.sub(r"\A[a-z+]+://|\A[^/:]*@|\.git/?\Z", "", url) for url in urls)
    return frozenset(re.sub(r"\A[^/@]*@", "", url).replace(":", "/", 1) for url in plain)
