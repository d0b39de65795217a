"""A row about a file keeps its time and its memory, and what tells its path from others."""

from __future__ import annotations

import pytest

from dispatcher.reporters.console.rows import cells, clipped, row, shortened_path
from dispatcher.terminal.tags import Tag

PATH = "services/checkout/tests/payment/test_refunds.py"


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (80, PATH),
        (46, "services/…/tests/payment/test_refunds.py"),
        (39, "services/…/payment/test_refunds.py"),
        (33, "services/…/test_refunds.py"),
        (25, "…/test_refunds.py"),
        (16, "…test_refunds.py"),
        (10, "…efunds.py"),
        (1, "…"),
        (0, ""),
    ],
)
def test_a_long_path_is_shortened_in_its_middle(columns: int, shown: str) -> None:
    assert shortened_path(PATH, columns) == shown
    assert cells(shown) <= columns


def test_wide_characters_take_two_columns() -> None:
    assert cells("größe") == 5
    assert cells("e\u0301") == 1
    assert cells("日本") == 4
    assert clipped("日本語", 5) == "日本…"
    assert clipped("日本語", 4) == "日…"
    assert shortened_path("日本語.py", 6) == "…語.py"


@pytest.mark.parametrize(
    ("remark", "shown"),
    [
        ("1 of 1 tests failed", "tests/…/test_orders_00000.py  1 of 1 tests failed"),
        ("TIMEOUT: no end after 300s", "…/test_orders_00000.py  TIMEOUT: no end after 300s"),
        ("CRASH: killed by SIGSEGV in a thread", "…/test_orders_00000.py  CRASH: killed by SIGSEGV in …"),
        ("", "tests/orders/test_orders_00000.py"),
    ],
)
def test_a_path_gives_way_to_the_remark_at_80_columns(remark: str, shown: str) -> None:
    line = row(
        Tag.FAIL, "tests/orders/test_orders_00000.py", remark, seconds=0.5, peak_bytes=1024**2, columns=79
    )
    assert line.removeprefix("[FAIL] ").split("   ")[0] == shown
    assert line.endswith("0.50s     1 MiB")


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("path", ["a.py", PATH, "日本語" * 30 + ".py", "x" * 300])
@pytest.mark.parametrize("remark", ["", "FAIL: exit status 1", "y" * 300])
def test_a_row_is_as_wide_as_its_terminal(path: str, remark: str, columns: int) -> None:
    line = row(Tag.FAIL, path, remark, seconds=3599, peak_bytes=1023 * 1024**2, columns=columns)
    assert cells(line) == columns
    assert line.endswith("  59m 59s  1023 MiB")
