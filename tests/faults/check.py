"""What must hold after a run, whatever went wrong meanwhile: pure, over what the run left on the disk."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.faults.project import POISON, Note

RECOVERY_S = 15.0
"""Seconds after a worker's death within which what it ran starts elsewhere."""

MAX_WORKER_DEATHS = 3


def read_events(path: Path) -> list[dict[str, Any]]:
    """Return the events of a run, also of one that was killed in the middle of a line."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def wrong_results(
    events: Sequence[Mapping[str, Any]], junit: Path, status: int, expected: Mapping[str, str]
) -> Iterator[str]:
    """Yield what is wrong with a run that came to its end."""
    wanted = int(any(word != "PASS" for word in expected.values()))
    if status != wanted:
        yield f"exit status {status}, not {wanted}"
    counted = _counted(events)
    for path, word in expected.items():
        found = [str(event["status"]) for event in counted if event["path"] == path]
        if found != [word]:
            errors = [event.get("error") for event in counted if event["path"] == path]
            yield f"{path} is {found} in the events, not [{word}]: {errors}"
    yield from _wrong_report(junit, expected)
    if POISON in expected:
        yield from _wrong_poison(counted)


def wrong_when_stopped(events: Sequence[Mapping[str, Any]], expected: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with a run that Ctrl-C stopped, or that was killed and not resumed."""
    counted = _counted(events)
    for path, times in Counter(event["path"] for event in counted).items():
        if times > 1:
            yield f"{path} has {times} results although the run was stopped"
    for event in counted:
        if event["status"] not in (expected[event["path"]], "CANCELLED"):
            yield f"{event['path']} is {event['status']} where the run was stopped: {event.get('error')}"


def recovery_times(
    notes: Sequence[Note], deaths: Mapping[str, float], *, may_wait_elsewhere: bool
) -> dict[str, float]:
    """Return how long each file that ran on a dying worker waited for its next start, in seconds.

    Args:
        notes: of one run.
        deaths: when each worker died (Unix time).
        may_wait_elsewhere: whether further workers may die while the file waits there to run alone; then the
            last death before its next start counts.
    """
    found = {}
    for number, note in enumerate(notes):
        died_at = deaths.get(note.worker)
        if note.word != "start" or died_at is None:
            continue
        later = [one for one in notes[number + 1 :] if one.path == note.path]
        if later and later[0].word == "start":
            if may_wait_elsewhere:
                died_at = max(died_at, *(at for at in deaths.values() if at <= later[0].at))
            found[f"{note.path} of {note.worker}"] = later[0].at - died_at
    return found


def _counted(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the events that say what became of a file in the end."""
    return [
        event
        for event in events
        if event["event"] == "file-settled"
        or (event["event"] == "file-finished" and event["rerun_reason"] is None)
    ]


def _wrong_report(junit: Path, expected: Mapping[str, str]) -> Iterator[str]:
    try:
        suites = ElementTree.parse(junit).getroot().findall("testsuite")
    except (OSError, ElementTree.ParseError) as error:
        yield f"no JUnit report: {error}"
        return
    found = [(suite.get("file"), _property(suite, "status")) for suite in suites]
    if sorted(map(str, found)) != sorted(map(str, expected.items())):
        missing, more = set(expected.items()) - set(found), set(found) - set(expected.items())
        yield f"the JUnit report has {len(found)} suites; missing: {missing}; more: {more}"


def _property(suite: ElementTree.Element, name: str) -> str | None:
    return next((one.get("value") for one in suite.iter("property") if one.get("name") == name), None)


def _wrong_poison(counted: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for event in counted:
        error = str(event.get("error"))
        if event["path"] == POISON and f"{MAX_WORKER_DEATHS} workers disappeared" not in error:
            yield f"the poison's result does not say why: {error!r}"
