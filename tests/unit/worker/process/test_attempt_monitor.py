"""When the output and the report of a test are read."""

from __future__ import annotations

import pytest

from worker.process.attempt_monitor import FLOOD_BYTES, FLOOD_S, REST_S, ReadPace


def test_pipes_are_left_alone_at_first_and_after_each_small_read() -> None:
    pace = ReadPace(100.0)
    assert pace.rest_s(100.0) == pytest.approx(REST_S)
    assert pace.rest_s(100.0 + REST_S) == 0.0
    pace.record(7, 105.0)
    assert pace.rest_s(105.0) == pytest.approx(REST_S)
    assert pace.rest_s(105.0 + REST_S) == 0.0


def test_an_empty_read_is_followed_by_no_rest() -> None:
    pace = ReadPace(100.0)
    pace.record(0, 105.0)
    assert pace.rest_s(105.0) == 0.0


def test_a_test_that_fills_its_pipe_is_not_blocked_by_rests() -> None:
    pace = ReadPace(100.0)
    pace.record(FLOOD_BYTES, 105.0)
    assert pace.rest_s(105.0) == 0.0
    pace.record(7, 105.0 + FLOOD_S / 2)
    assert pace.rest_s(105.0 + FLOOD_S / 2) == 0.0
    pace.record(7, 105.0 + FLOOD_S)
    assert pace.rest_s(105.0 + FLOOD_S) > 0.0
