"""A fault changes one expression of a module and nothing else, and the same seed draws the same faults."""

from __future__ import annotations

import ast
from itertools import islice
from pathlib import Path

from benchmarks.suites.faults import draw_faults

MODULE = '''"""Été."""


def price(count, is_member=False):
    if (
        count > 3
        and is_member
    ):  # enough
        return count * 2 + 1
    return f"{count + 1}" if count == 0 else "é"
'''


def test_a_fault_changes_one_expression_and_keeps_the_lines(tmp_path: Path) -> None:
    (tmp_path / "prices.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_prices.py").write_text("assert 1 + 1 == 2\n")

    drawn = list(islice(draw_faults([tmp_path], seed=1), 60))

    assert drawn == list(islice(draw_faults([tmp_path], seed=1), 60))
    assert {fault.module.name for fault in drawn} == {"prices.py"}
    texts = {fault.source.decode() for fault in drawn}
    assert len(texts) > 8
    for text in texts:
        assert text.count("\n") == MODULE.count("\n")
        assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(MODULE))
        assert "# enough" in text
        assert '{count + 1}"' in text or "return (None" in text
