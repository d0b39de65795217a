"""Reports of test processes: understood when ours, harmless when a test writes there itself."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmuster.model.result import CaseResult
from passmuster.model.status import Outcome, RunnerKind
from worker.process import child_report
from worker.process.child_report import LINE_LIMIT_BYTES, STRAY_LIMIT_BYTES, ChildReport

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["case", "outcome", "s", "message", "runner", "defines", "ran", "quit", "begin", "done", "collect"]
)


def fed(*parts: bytes) -> ChildReport:
    report = ChildReport()
    for part in parts:
        report.feed(part)
    return report


def case_line(name: str, outcome: str = "passed", message: str = "") -> bytes:
    return json.dumps({"case": name, "outcome": outcome, "s": 0.5, "message": message}).encode() + b"\n"


def facts(report: ChildReport) -> tuple[object, ...]:
    """Return everything a report says."""
    return (
        report.runner,
        report.defines,
        report.defined_ran,
        report.collected,
        report.deselected,
        report.quit_reason,
        tuple(report.cases),
        report.dropped_cases,
        report.begun,
        report.done,
        report.collect_error,
        report.start_error,
    )


NOTHING = facts(ChildReport())


def test_every_record_is_read() -> None:
    report = fed(
        b'{"runner": "pytest"}\n{"begin": 1}\n',
        b'{"case": "a::b", "outcome": "failed", "s": 1.25, "message": "why"}\n',
        b'{"case": "a::c", "outcome": "passed", "s": 1, "shared": 0.5}\n',
        b'{"collect": "first"}\n{"collect": "second"}\n{"start": "no"}\n',
        b'{"defines": 3, "ran": 2}\n{"done": 1}\n',
        b'{"part": "d", "of": 9, "start": 2, "stop": 5}\n{"uncut": "why"}\n',
    )

    assert report.runner is RunnerKind.PYTEST
    assert report.cases == [
        CaseResult(case_id="a::b", outcome=Outcome.FAILED, seconds=1.25, message="why"),
        CaseResult(case_id="a::c", outcome=Outcome.PASSED, seconds=1.0, shared_s=0.5),
    ]
    assert (report.collect_error, report.start_error) == ("first", "no")
    assert (report.defines, report.defined_ran) == (3, 2)
    part = (report.part_digest, report.part_of, report.part_start, report.part_stop, report.part_problem)
    assert part == ("d", 9, 2, 5, "why")
    assert not report.is_running
    assert report.stray_text == ""


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_read(outcome: Outcome) -> None:
    assert fed(case_line("a", outcome.value)).cases[0].outcome is outcome


@pytest.mark.parametrize("kind", list(RunnerKind))
def test_every_runner_is_read(kind: RunnerKind) -> None:
    assert fed(b'{"runner": "%s"}\n' % kind.value.encode()).runner is kind


def test_collected_and_deselected_tests_add_up() -> None:
    report = fed(b'{"collected": 2}\n{"deselected": 3}\n{"collected": 4}\n{"quit": "enough"}\n')

    assert (report.collected, report.deselected, report.quit_reason) == (6, 3, "enough")


def test_a_run_that_started_and_has_not_finished_is_running() -> None:
    assert fed(b'{"begin": 1}\n').is_running
    assert not fed(b'{"begin": 1}\n{"done": 1}\n').is_running


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b'{"case": 1, "outcome": "passed", "s": 1}',
        b'{"case": "a", "outcome": "glorious", "s": 1}',
        b'{"case": "a", "outcome": "passed"}',
        b'{"case": "a", "outcome": "passed", "s": "1"}',
        b'{"case": "a", "outcome": "passed", "s": NaN}',
        b'{"case": "a", "outcome": "passed", "s": Infinity}',
        b'{"case": "a", "outcome": "passed", "s": 1e999}',
        b'{"case": "a", "outcome": "passed", "s": -1}',
        b'{"case": "a", "outcome": "passed", "s": 1, "shared": -1}',
        b'{"case": "a", "outcome": "passed", "s": 1, "shared": "1"}',
        b'{"part": "d", "of": 2, "start": 2, "stop": 1}',
        b'{"part": "d", "of": 2, "start": 0, "stop": 3}',
        b'{"part": 1, "of": 2, "start": 0, "stop": 1}',
        b'{"case": "a", "outcome": "passed", "s": 1' + b"0" * 400 + b"}",
        b'{"runner": "rocket"}',
        b'{"defines": "3", "ran": 1}',
        b'{"defines": 3}',
        b'{"defines": 3, "ran": 4}',
        b'{"defines": 3, "ran": -1}',
        b'{"collected": -1}',
        b'{"deselected": "1"}',
        b'{"quit": 1}',
        b'{"defines": ' + b"9" * 5000 + b"}",
        b'{"begin": 2}',
        b'{"collect": 1}',
        b'{"a":' * 40_000,
        b'{"\xff": 1}',
        b'{"case": "a", "outcome": "passed", "s": 1} trailing',
        "{\x00".encode("utf-16"),
        b"\0" * 100,
    ],
)
def test_an_invalid_line_changes_nothing_and_the_next_one_counts(line: bytes) -> None:
    report = fed(line + b"\n")
    assert facts(report) == NOTHING

    report.feed(case_line("next"))
    assert [case.case_id for case in report.cases] == ["next"]


def test_an_invalid_line_is_kept_as_text() -> None:
    report = fed(b"Thread 0x1 (most recent call first):\n", case_line("a"), b'  File "x.py", line 3\nlast')

    assert report.stray_text == 'Thread 0x1 (most recent call first):\n  File "x.py", line 3\nlast'
    assert len(report.cases) == 1


@given(st.binary(max_size=300))
def test_garbage_never_raises_and_its_text_stays_bounded(data: bytes) -> None:
    report = fed(data, b"\n", case_line("after"))

    assert [case.case_id for case in report.cases] == ["after"]


@given(st.dictionaries(KEYS | st.text(), JSON, max_size=4))
def test_a_forged_object_leaves_the_report_well_formed(record: dict[str, object]) -> None:
    report = fed(json.dumps(record).encode() + b"\n")

    for case in report.cases:
        assert isinstance(case.outcome, Outcome)
        assert math.isfinite(case.seconds)
        assert case.seconds >= 0
    report.feed(case_line("after"))
    assert report.cases[-1].case_id == "after"


@given(st.lists(st.integers(0, 10_000)))
def test_records_may_arrive_in_any_pieces(cuts: list[int]) -> None:
    data = b'{"runner": "script"}\nnoise\n' + case_line("ä") + b'{"begin": 1}\n' + case_line("b", "failed")
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    report = fed(*(data[start:end] for start, end in pairwise(places)))

    assert facts(report) == facts(fed(data))
    assert report.stray_text == "noise\n"


def test_a_partial_last_line_is_no_record() -> None:
    report = fed(case_line("a") + b'{"case": "b", "outcome": "passed", "s": 0.1}')

    assert [case.case_id for case in report.cases] == ["a"]


def test_a_line_without_end_stays_bounded() -> None:
    report = ChildReport()
    for _ in range(64):
        report.feed(b"x" * (1 << 18))

    assert len(report.stray_text) <= STRAY_LIMIT_BYTES + 2 * LINE_LIMIT_BYTES
    report.feed(b"\n" + case_line("a"))
    assert [case.case_id for case in report.cases] == ["a"]


def test_cases_beyond_the_bound_are_counted_but_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_report, "CASES_LIMIT", 3)

    report = fed(*(case_line(str(number)) for number in range(10)))

    assert len(report.cases) == 3
    assert report.dropped_cases == 7


def test_cases_are_kept_without_messages_beyond_the_bound_of_all_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_report, "MESSAGES_LIMIT_CHARS", 10)
    report = ChildReport()
    for message in ("12345678", "123", "", "1"):
        report.feed(
            json.dumps({"case": "t", "outcome": "failed", "s": 1, "message": message}).encode() + b"\n"
        )

    kept = [case.message for case in report.cases]
    assert kept == ["12345678", child_report.NOT_KEPT, "", child_report.NOT_KEPT]


def test_cases_beyond_the_bound_of_all_ids_are_counted_but_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_report, "IDS_LIMIT_CHARS", 10)
    report = ChildReport()
    for name in ("123456", "1234", "1"):
        report.feed(json.dumps({"case": name, "outcome": "passed", "s": 1}).encode() + b"\n")

    assert ([case.case_id for case in report.cases], report.dropped_cases) == (["123456", "1234"], 1)


def test_half_a_surrogate_pair_does_not_reach_the_reports() -> None:
    # `"\\udc80"` in JSON: what Python makes of an undecodable byte in a file name, and no UTF-8 has.
    report = fed(b'{"case": "a\\udc80", "outcome": "failed", "s": 0, "message": "b\\ud800"}\n')
    report.feed(b'{"collect": "c\\udc80"}\n{"start": "d\\udc80"}\n')

    for text in (report.cases[0].case_id, report.cases[0].message, report.collect_error, report.start_error):
        text.encode("utf-8")
