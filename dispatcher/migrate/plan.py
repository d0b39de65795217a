"""Plans a migration, what it changes and what a person must edit, before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from dispatcher.migrate.changes import Change, current, mode_of
from dispatcher.migrate.discovery_check import Comparison
from dispatcher.migrate.names import STEMS, NewCommand, is_wrapper, wrapper
from dispatcher.migrate.section import FILE_NAME, check_toml, with_section
from dispatcher.migrate.survey import LINK, ManualEdit, Survey
from passmuster.model.errors import ConfigurationError, InfrastructureError


class MigrationPlan(Struct, frozen=True, kw_only=True):
    """A migration: `command` replaces the references."""

    command: NewCommand
    changes: tuple[Change, ...]
    references: int
    manual_edits: tuple[ManualEdit, ...]
    scripts: tuple[str, ...]
    settings: str


def make_plan(
    root: Path, command: NewCommand, survey: Survey, comparison: Comparison, *, wrappers: bool
) -> MigrationPlan:
    """Return what a migration changes.

    Raises:
        ConfigurationError: `pyproject.toml` is broken, or a backup would overwrite another one.
        InfrastructureError: a file cannot be read.
    """
    changes: dict[str, Change] = {}
    left = list(survey.manual_edits)
    lines: list[str] = []
    try:
        for document in survey.documents:
            after = document.migrated()
            if after != document.content:
                mode = mode_of(root / document.path)
                changes[document.path] = Change(
                    path=document.path, before=document.content, after=after, mode=mode
                )
        for stem in STEMS:
            script = root / f"{stem}.sh"
            if script.is_symlink():
                left.append(
                    ManualEdit(
                        path=script.name, line=1, text=f"-> {script.readlink()}", reason="it is a link"
                    )
                )
                continue
            for change, line in _script_changes(root, stem, command, wrappers=wrappers):
                changes[change.path] = change
                lines += [line] if line else []
        settings = _add_settings(root, changes, comparison)
    except OSError as error:
        raise InfrastructureError(f"{error.filename} cannot be read: {error.strerror}") from error
    return MigrationPlan(
        command=command,
        changes=tuple(changes.values()),
        references=sum(bool(one.edits) for document in survey.documents for one in document.references),
        manual_edits=tuple(one for one in left if not (wrappers and one.reason == LINK)),
        scripts=tuple(lines),
        settings=settings,
    )


def remaining_scripts(root: Path) -> list[str]:
    """Return the scripts that still exist in their original form."""
    paths = (root / f"{stem}.sh" for stem in STEMS)
    return [path.name for path in paths if path.is_file() and not is_wrapper(path.read_bytes())]


def _script_changes(
    root: Path, stem: str, command: NewCommand, *, wrappers: bool
) -> Iterator[tuple[Change, str]]:
    """Yield the changes of a script and of its backup, each with a line about it."""
    script, backup = root / f"{stem}.sh", root / f"{stem}.sh.backup"
    content, saved = current(script), current(backup)
    if content is None and saved is None:
        return
    new = wrapper(stem, command) if wrappers else None
    mode = mode_of(script if content is not None else backup)
    if content is not None and not is_wrapper(content):
        if saved is not None and saved != content:
            raise ConfigurationError(
                f"{backup.name} already exists and differs from {script.name}: move one of them away"
            )
        if saved is None:
            yield Change(path=backup.name, before=None, after=content, mode=mode), ""
        becomes = (
            f"{backup.name}, and a wrapper that calls {command.for_stem(stem)}" if wrappers else backup.name
        )
        yield (
            Change(path=script.name, before=content, after=new, mode=mode),
            f"{script.name} becomes {becomes}",
        )
    elif wrappers and content != new:
        what = f"{script.name} becomes a wrapper that calls {command.for_stem(stem)}"
        yield Change(path=script.name, before=content, after=new, mode=mode | 0o111), what


def _add_settings(root: Path, changes: dict[str, Change], comparison: Comparison) -> str:
    """Add the required section in `pyproject.toml` to the changes; return a line about it."""
    path = root / FILE_NAME
    before = current(path)
    has_section = check_toml(before) if before is not None else False
    if not comparison.differences:
        whose = "the section there finds" if has_section else "the defaults find"
        return f"{FILE_NAME}: nothing to write, {whose} the same files as the old script"
    if not comparison.exclude:
        return f"{FILE_NAME}: no value of exclude makes the files the same"
    wanted = f"exclude = {list(comparison.exclude)}"
    if has_section:
        return f"{FILE_NAME}: its section is not changed; it lacks {wanted}"
    known = changes.get(FILE_NAME)
    after = with_section(before if known is None else known.after, comparison.exclude)
    if after is None:
        return f"{FILE_NAME}: cannot be extended; add {wanted} to [tool.passmuster] by hand"
    mode = 0o644 if before is None else mode_of(path)
    changes[FILE_NAME] = Change(path=FILE_NAME, before=before, after=after, mode=mode)
    return f"{FILE_NAME}: gets [tool.passmuster] with {wanted}"
