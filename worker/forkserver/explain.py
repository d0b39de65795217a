"""Explains which modules are preloaded for forked files, which are not, and why: `--explain preload`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from passmuster.model.status import RunnerKind
from passmuster.model.task import TestTask
from passmuster.model.units import format_bytes
from worker.forkserver.file_imports import CONFTEST
from worker.forkserver.fork_advice import ForkAdvisor
from worker.forkserver.server_pool import ServerPool

MAX_NAMES = 12
"""Names printed of a long list; the rest is counted."""


def explain(pool: ServerPool, tasks: Sequence[TestTask]) -> Iterator[str]:
    """Yield the lines. Starts every server that these tasks would be forked from.

    Args:
        pool: of a run that starts no file.
        tasks: one for each file.
    """
    by_command = [task for task in tasks if task.runner is RunnerKind.COMMAND]
    tasks = [task for task in tasks if task.runner is not RunnerKind.COMMAND]
    if by_command:
        yield f"{len(by_command)} file(s) run by a command of the project, and are spawned"
    if by_command and not tasks:
        return
    spawned = [task for task in tasks if not pool.may_fork(task)]
    if why := pool.why_no_fork():
        yield f"nothing is forked: {why}"
        return
    if len(spawned) == len(tasks):
        yield "nothing is forked: the configuration asks for spawned processes"
        return
    forked = [task for task in tasks if task not in spawned]
    advisor = pool.probe(forked)
    for reason in pool.why_no_session():
        yield f"pytest: files begin their session themselves, and get nothing but the framework: {reason}"
    if reason := pool.why_no_conftests():
        yield f"pytest: each file loads the initial conftests itself: {reason}"
    yield from _sets(advisor)
    yield from _left_out(advisor)
    yield from _spawned(advisor, spawned)


def _sets(advisor: ForkAdvisor) -> Iterator[str]:
    """Yield the modules of each server, and how many files are forked from it."""
    facts = advisor.facts()
    for base, choice in sorted(advisor.choices().items()):
        files = sum(1 for path in advisor.needs() if advisor.base_of(path) == base)
        yield f"{base}: {files} file(s), of which {len(choice.places)} get more than the framework"
        for chosen in choice.sets:
            modules = [name.removeprefix(CONFTEST) for name in chosen.modules if ":" not in name]
            known = [facts[name] for name in chosen.modules if name in facts]
            seconds, size = sum(fact.seconds for fact in known), sum(fact.bytes for fact in known)
            cost = f"{seconds:.2f} s, {format_bytes(size)}" if known else "cost not known yet"
            yield f"  {chosen.files} file(s): {_listed(modules)} ({cost})"


def _left_out(advisor: ForkAdvisor) -> Iterator[str]:
    """Yield the modules that must not be preloaded, each with the reason."""
    found = advisor.preloadable().values()
    for place, files in sorted(Counter(each.ends_at for each in found if each.ends_at).items()):
        why = "which writes to the environment, or registers modules for assertion rewriting"
        yield f"left out: what {files} file(s) import after {place}, {why}"
    for place, files in sorted(Counter(each.own_ends_at for each in found if each.own_ends_at).items()):
        yield f"left out: modules of the project that {files} file(s) import after {place}"
    needed = {name for needs in advisor.needs().values() for name in needs.modules}
    held = {name for choice in advisor.choices().values() for each in choice.sets for name in each.modules}
    for name, fact in sorted(advisor.facts().items()):
        if name in needed and not fact.is_allowed:
            yield f"left out: {name.removeprefix(CONFTEST)}: {fact.verdict}"
        elif name in needed and fact.modifies_another:
            why = "only files that import the same before it share it"
            yield f"in its place: {name.removeprefix(CONFTEST)} {fact.verdict}: {why}"
        elif name in advisor.named and name in needed - held:
            yield f"left out: {name} ({fact.seconds:.3f} s): a server with it would save too little"


def _spawned(advisor: ForkAdvisor, asked: Sequence[TestTask]) -> Iterator[str]:
    """Yield the files that are spawned, each with the reason."""
    for task in asked:
        yield f"spawned: {task.file_path}: asked for, or since an earlier run of it"
    for path, needs in sorted(advisor.needs().items()):
        if needs.why_spawn:
            yield f"spawned: {path}: {needs.why_spawn}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more
