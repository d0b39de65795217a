"""`run-tests migrate`: previews, checks, makes or undoes the migration from the shell scripts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from pathlib import Path

from msgspec import structs

from dispatcher.cli.command import CommandCall
from dispatcher.cli.subcommands import MigrateAction, MigrateOptions, SubcommandArguments
from dispatcher.config.choices import Mode
from dispatcher.config.load import load_config
from dispatcher.config.model import TestConfig
from dispatcher.migrate.discovery_check import Comparison, compare
from dispatcher.migrate.migration_log import FOLDER, apply_recorded, has_steps, plan_rollback, roll_back
from dispatcher.migrate.names import BACKUPS, SCRIPTS, STEMS, TESTS, NewCommand
from dispatcher.migrate.plan import MigrationPlan, make_plan, remaining_scripts
from dispatcher.migrate.section import FILE_NAME, check_toml
from dispatcher.migrate.survey import ManualEdit, Survey, survey
from dispatcher.migrate.verdict_check import VerdictChange, find_verdict_changes
from dispatcher.model.exit_codes import ExitCode
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.errors import ConfigurationError
from passmuster.model.text import bounded_tail, one_line, sanitize
from passmuster.settings.origins import Origin
from passmuster.settings.path_resolver import is_directory
from passmuster.settings.values import on_one_line
from passmuster.source.git import git_prefix

_OWN_MARK = b"passmuster"
"""Both commands import this package; a foreign script of the same name does not."""

_MAX_SHOWN = 160
"""Characters of a line that are shown where only its place matters."""

_NO_NEWLINE = "\\ No newline at end of file"


def tagged_line(tag: Tag, text: str) -> str:
    """Return one line with its tag."""
    return tagged(tag, one_line(text), color=False)


def diff_lines(plan: MigrationPlan) -> Iterator[str]:
    """Yield the changes of all files but the scripts as a unified diff."""
    for change in plan.changes:
        if change.path in (*SCRIPTS, *BACKUPS):
            continue
        name = one_line(change.path)
        old = "/dev/null" if change.before is None else f"a/{name}"
        for line in unified_diff(_lines(change.before), _lines(change.after), old, f"b/{name}", lineterm=""):
            body, mark, _ = line.partition("\n")
            yield sanitize(body.replace("\r", "")).replace("\n", " ")
            if mark:
                yield _NO_NEWLINE


def _lines(content: bytes | None) -> list[str]:
    """Return the lines of a file; a last one without an end has a newline in it, as a mark."""
    *lines, last = (content or b"").decode("utf-8", "surrogateescape").split("\n")
    return [*lines, f"{last}\n"] if last else lines


def manual_edit_line(left: ManualEdit) -> str:
    """Return the place that a person must edit, its text, and the reason."""
    text = left.text if len(left.text) <= _MAX_SHOWN else f"...{bounded_tail(left.text, _MAX_SHOWN)}"
    return f"{one_line(left.path)}:{left.line}: {one_line(text)}" + (
        f"  [{left.reason}]" if left.reason else ""
    )


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield the comparison between the files of the old script and of a run, each difference by name."""
    counts = f"{comparison.unit} unit test file(s), {comparison.integration} with --integration"
    if not comparison.differences:
        yield tagged_line(Tag.PASS, f"Discovery: {counts}: the same as the old script")
        return
    yield tagged_line(
        Tag.WARN,
        f"Discovery: {len(comparison.differences)} difference(s) to the old script, which found {counts}",
    )
    for difference in comparison.differences:
        yield f"{one_line(difference.path)}:1: {difference}"


def verdict_lines(changes: Sequence[VerdictChange]) -> Iterator[str]:
    """Yield the files whose verdict can differ from the old script's."""
    if changes:
        yield tagged_line(
            Tag.WARN, f"Verdicts: {len(changes)} file(s) can get another one than from the old script"
        )
    for change in changes:
        yield f"{one_line(change.path)}:1: {change.reason}"


def manual_edit_lines(plan: MigrationPlan) -> Iterator[str]:
    """Yield the places that a person must edit."""
    if plan.manual_edits:
        yield tagged_line(Tag.WARN, f"{len(plan.manual_edits)} line(s) need a manual edit:")
        yield from map(manual_edit_line, plan.manual_edits)


_NOTHING_TO_CALL = (
    "neither run_tests.py in the repository nor the command run-tests on PATH exists:"
    " add one of them, or name the future one with --command"
)


def migrate(call: CommandCall, arguments: SubcommandArguments[MigrateOptions]) -> int:
    """Execute the request; return the exit status.

    Raises:
        ConfigurationError: an argument is wrong, `pyproject.toml` is broken, or there is nothing to roll
            back.
        InfrastructureError: git or the disk fails; nothing was changed.
    """
    root = _find_root(arguments.options.root, call.cwd, arguments.origins["root"])
    call.cwd = root
    migration = _Migration(call, arguments.options, root)
    return migration.roll_back() if arguments.options.action is MigrateAction.ROLLBACK else migration.run()


def _find_root(named: Path | None, cwd: Path, origin: Origin) -> Path:
    if named is not None and not is_directory(named):
        raise ConfigurationError(
            f"root {on_one_line(str(named))} is not a directory (from {origin}): name the repository's folder"
        )
    return Path(os.path.realpath(named or cwd))


def is_our_file(path: Path) -> bool:
    """Return whether a file is one of this program's commands."""
    try:
        return _OWN_MARK in path.read_bytes()
    except OSError:
        return False


def choose_command(root: Path, environ: Mapping[str, str]) -> NewCommand | None:
    """Return the available command: the file in the repository, else the installed command."""
    if is_our_file(root / f"{TESTS}.py"):
        return NewCommand.FILE
    name = NewCommand.PACKAGE.for_stem(TESTS)
    return NewCommand.PACKAGE if shutil.which(name, path=environ.get("PATH", os.defpath)) else None


class _Migration:
    """One call of the subcommand."""

    def __init__(self, call: CommandCall, options: MigrateOptions, root: Path) -> None:
        self._call = call
        self._options = options
        self._root = root

    def roll_back(self) -> int:
        back = plan_rollback(self._root)
        if back.steps:
            roll_back(self._root, back)
            self._say(Tag.PASS, f"Rolled back: {len(back.changes)} file(s) restored")
        if not back.conflicts:
            return ExitCode.OK
        what = "an earlier --apply stays as it is" if back.steps else "nothing was rolled back"
        self._say(Tag.FAIL, f"{len(back.conflicts)} file(s) were changed since; {what}:")
        self._call.write_lines(map(one_line, back.conflicts))
        self._say(
            Tag.INFO, f"Restore these to the content that --apply wrote; their originals are in {FOLDER}/"
        )
        return ExitCode.FAILED

    def run(self) -> int:
        pyproject = self._root / FILE_NAME
        if pyproject.is_file():
            check_toml(pyproject.read_bytes())
        comparison = self._compare()
        chosen = self._options.command or choose_command(self._root, self._call.environ)
        found = survey(self._root, chosen or NewCommand.FILE)
        if self._options.action is MigrateAction.CHECK:
            return self._check(found, comparison)
        plan = make_plan(
            self._root, chosen or NewCommand.FILE, found, comparison, wrappers=self._options.wrappers
        )
        if self._options.action is MigrateAction.APPLY:
            if plan.changes:
                self._refuse_what_is_missing(chosen, found)
            return self._apply(plan, found, comparison)
        return self._show(plan, found, comparison, nothing_to_call=chosen is None)

    def _compare(self) -> Comparison:
        return compare(self._config(), lambda changed: self._call.runner(changed).discover_tests())

    def _config(self) -> TestConfig:
        """Return the settings of every call, ignoring the variables of this user."""
        home = {name: value for name, value in self._call.environ.items() if name == "HOME"}
        config = load_config(["--root", str(self._root)], home, self._root).config
        return structs.replace(TestConfig(), root=config.root, layout=config.layout, mode=Mode.LIST)

    def _check(self, found: Survey, comparison: Comparison) -> int:
        left = found.lines
        self._call.write_lines(map(manual_edit_line, left))
        self._notes(found)
        if left:
            self._say(Tag.FAIL, f"{len(left)} line(s) refer to {' or '.join(SCRIPTS)}")
        else:
            self._say(Tag.PASS, f"No reference to {' or '.join(SCRIPTS)} in {found.files} file(s)")
        for script in remaining_scripts(self._root):
            self._say(Tag.WARN, f"{script} itself is still there: --apply makes {script}.backup of it")
        self._call.write_lines(comparison_lines(comparison))
        everything = structs.replace(self._config(), include_integration=True)
        files = self._call.runner(everything).discover_tests()
        self._call.write_lines(verdict_lines(find_verdict_changes(self._root, files)))
        return ExitCode.FAILED if left or comparison.differences else ExitCode.OK

    def _show(
        self, plan: MigrationPlan, found: Survey, comparison: Comparison, *, nothing_to_call: bool
    ) -> int:
        self._call.write_lines(diff_lines(plan))
        self._describe(plan, found, comparison)
        if nothing_to_call:
            self._say(Tag.WARN, _NOTHING_TO_CALL)
        if not plan.changes:
            self._say(
                Tag.INFO,
                "Nothing to change"
                + (": the remaining lines need a manual edit" if plan.manual_edits else ""),
            )
            return ExitCode.OK
        words = " --wrappers" if self._options.wrappers else ""
        if self._options.command is not None:
            words += f" --command {self._options.command}"
        self._say(
            Tag.INFO, f"Nothing was changed yet. To do all this: {self._call.program} migrate --apply{words}"
        )
        return ExitCode.OK

    def _apply(self, plan: MigrationPlan, found: Survey, comparison: Comparison) -> int:
        if plan.changes:
            apply_recorded(self._root, plan.changes)
        self._describe(plan, found, comparison)
        if not plan.changes:
            self._say(Tag.INFO, "Nothing to change" + (": all is migrated" if has_steps(self._root) else ""))
        else:
            comparison = self._compare()
            self._say(Tag.PASS, f"Changed {len(plan.changes)} file(s). To undo this: --rollback")
        return ExitCode.FAILED if plan.manual_edits or comparison.differences else ExitCode.OK

    def _describe(self, plan: MigrationPlan, found: Survey, comparison: Comparison) -> None:
        if not found.documents:
            self._say(Tag.INFO, f"No reference to {' or '.join(SCRIPTS)} in {found.files} file(s)")
        elif plan.references:
            count = sum(change.path not in (*SCRIPTS, *BACKUPS) for change in plan.changes)
            to = " and ".join(plan.command.for_stem(stem) for stem in STEMS if stem in found.stems)
            self._say(Tag.INFO, f"{plan.references} reference(s) in {count} file(s) become {to}")
        for line in plan.scripts:
            self._say(Tag.INFO, line)
        self._say(Tag.INFO, plan.settings)
        self._call.write_lines(comparison_lines(comparison))
        self._notes(found)
        self._call.write_lines(manual_edit_lines(plan))

    def _notes(self, found: Survey) -> None:
        prefix = git_prefix(self._root)
        if prefix:
            self._say(
                Tag.WARN,
                f"only {prefix} of its git repository was checked: name the whole repository with --root",
            )
        for note in found.notes:
            self._say(Tag.INFO, note)

    def _refuse_what_is_missing(self, chosen: NewCommand | None, found: Survey) -> None:
        """Refuse to change references to a missing command, unless the user named it."""
        if chosen is None:
            raise ConfigurationError(_NOTHING_TO_CALL)
        if chosen is not NewCommand.FILE or self._options.command is not None:
            return
        scripts = {script.removesuffix(".sh") for script in remaining_scripts(self._root)}
        for stem in sorted(found.stems | scripts):
            if not is_our_file(self._root / f"{stem}.py"):
                raise ConfigurationError(
                    f"{stem}.py is not in {self._root}: add it, or use --command run-tests"
                )

    def _say(self, tag: Tag, text: str) -> None:
        self._call.out.write(f"{tagged_line(tag, text)}\n")
