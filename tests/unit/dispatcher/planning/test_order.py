"""The order in which files start."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.history.file_history import FileHistory
from dispatcher.model.plan import TestFile
from dispatcher.model.usage_stats import UsageStats
from dispatcher.planning.order import (
    CHANGED,
    FAILED_LAST_TIME,
    LARGEST_FIRST,
    LONGEST_FIRST,
    MEMORY_MARGIN,
    NEVER_RAN,
    Ordered,
    order_files,
)
from passmuster.model.status import Status

BUDGET = 10**9


def _file(path: str, *, size_bytes: int = 100) -> TestFile:
    return TestFile(path=path, label=path, size_bytes=size_bytes, mtime_ns=1)


def _known(
    path: str,
    seconds: float,
    *,
    status: Status = Status.PASS,
    mtime_ns: int = 1,
    peak_bytes: int | None = 1000,
) -> FileHistory:
    return FileHistory(
        path=path,
        spawned=UsageStats(duration_s=seconds, peak_bytes=peak_bytes, runs=1),
        last_status=status,
        size_bytes=100,
        mtime_ns=mtime_ns,
    )


def _order(*known: FileHistory, new: tuple[str, ...] = (), slots: int = 2) -> list[tuple[str, str]]:
    files = [_file(record.path) for record in known] + [_file(path) for path in new]
    ordered = order_files(files, {record.path: record for record in known}, slots=slots, budget_bytes=BUDGET)
    return [(item.file.path, item.order_reason) for item in ordered]


def test_known_files_start_longest_first() -> None:
    assert _order(_known("a", 1), _known("b", 3), _known("c", 2)) == [
        ("b", LONGEST_FIRST),
        ("c", LONGEST_FIRST),
        ("a", LONGEST_FIRST),
    ]


def test_what_takes_a_large_share_of_the_memory_goes_before_what_takes_a_small_one_of_the_time() -> None:
    # The run takes 10 s at least: the shares are 0.6 and 0.4 of the time, 0.575 and 0.115 of the memory.
    known = [
        _known("long", 6, peak_bytes=1),
        _known("longish", 4, peak_bytes=BUDGET // 10),
        _known("large", 0, peak_bytes=BUDGET // 2),
    ]
    assert _order(*known, slots=1) == [
        ("long", LONGEST_FIRST),
        ("large", LARGEST_FIRST),
        ("longish", LONGEST_FIRST),
    ]
    # On ten slots it takes 1 s at least, of which both of the others take more than all.
    assert [path for path, _ in _order(*known, slots=10)] == ["long", "longish", "large"]


def test_files_that_never_ran_start_before_the_known_ones_the_largest_first() -> None:
    files = [_file("known"), _file("small", size_bytes=1), _file("large", size_bytes=9000)]
    ordered = order_files(files, {"known": _known("known", 50)}, slots=2, budget_bytes=BUDGET)
    assert [item.file.path for item in ordered] == ["large", "small", "known"]
    assert ordered[0].order_reason == NEVER_RAN
    assert ordered[0].predicted_s is None
    assert ordered[0].predicted_bytes is None


def test_one_of_every_n_starts_comes_from_the_early_lane_until_it_is_empty() -> None:
    known = [_known(f"long{number}", 100 - number) for number in range(5)]
    failed = [_known("failed-slow", 8, status=Status.FAIL), _known("failed-fast", 1, status=Status.TIMEOUT)]
    changed = [_known("changed", 0.5, mtime_ns=7)]
    assert _order(*known, *failed, *changed, slots=2) == [
        ("failed-fast", FAILED_LAST_TIME),
        ("long0", LONGEST_FIRST),
        ("failed-slow", FAILED_LAST_TIME),
        ("long1", LONGEST_FIRST),
        ("changed", CHANGED),
        ("long2", LONGEST_FIRST),
        ("long3", LONGEST_FIRST),
        ("long4", LONGEST_FIRST),
    ]


def test_a_long_failed_file_does_not_wait_for_its_turn_in_the_early_lane() -> None:
    failed = [_known(f"failed{number}", 1 + number, status=Status.FAIL) for number in range(20)]
    longest = _known("failed-longest", 500, status=Status.FAIL)
    paths = [path for path, _ in _order(*failed, longest, slots=4)]
    assert paths.index("failed-longest") == 1


def test_a_cancelled_file_does_not_count_as_failed() -> None:
    assert _order(_known("a", 1, status=Status.CANCELLED)) == [("a", LONGEST_FIRST)]


def test_memory_is_predicted_with_a_margin_and_only_where_it_was_measured() -> None:
    history = {"a": _known("a", 1, peak_bytes=1000), "b": _known("b", 1, peak_bytes=None)}
    predicted = {
        item.file.path: item
        for item in order_files([_file("a"), _file("b")], history, slots=1, budget_bytes=BUDGET)
    }
    assert predicted["a"].predicted_bytes == 1150
    assert predicted["a"].predicted_s == 1
    assert predicted["b"].predicted_bytes is None


_histories = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.floats(0, 1000), st.sampled_from(list(Status)), st.integers(1, 2), st.booleans()),
    max_size=30,
)


@given(histories=_histories, slots=st.integers(1, 10))
def test_every_file_has_exactly_one_place(
    histories: dict[str, tuple[float, Status, int, bool]], slots: int
) -> None:
    files = [_file(path) for path in histories]
    known = {
        path: _known(path, seconds, status=status, mtime_ns=mtime_ns)
        for path, (seconds, status, mtime_ns, is_known) in histories.items()
        if is_known
    }
    ordered = order_files(files, known, slots=slots, budget_bytes=BUDGET)
    assert sorted(item.file.path for item in ordered) == sorted(histories)
    unhurried = [item.predicted_s for item in ordered if item.order_reason == LONGEST_FIRST]
    assert unhurried == sorted(unhurried, key=lambda seconds: -(seconds or 0))
    # Whatever the early lane holds, of any `slots` starts in a row only one is taken from it.
    never_ran = [place for place, item in enumerate(ordered) if item.order_reason == NEVER_RAN]
    early = sum(1 for item in ordered if item.order_reason in (FAILED_LAST_TIME, CHANGED))
    if never_ran:
        count = len(never_ran)
        assert never_ran[-1] < count + min(early, -(-(never_ran[-1] + 1) // slots))


def test_a_file_that_was_only_evicted_counts_as_never_run_but_keeps_its_peak() -> None:
    file = TestFile(path="tests/test_a.py", label="tests/test_a.py")
    known = FileHistory(path=file.path, spawned=UsageStats(duration_s=0.0, peak_bytes=1000, runs=0))

    (ordered,) = order_files([file], {file.path: known}, slots=2, budget_bytes=BUDGET)

    assert ordered == Ordered(
        file=file, predicted_s=None, predicted_bytes=math.ceil(1000 * MEMORY_MARGIN), order_reason=NEVER_RAN
    )
