"""The files whose verdict can differ from that of `python FILE` are found by their text."""

from __future__ import annotations

import pytest

from dispatcher.migrate.verdict_check import verdict_reason
from passmuster.model.status import RunnerKind

CLASS = "import unittest\n\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n\n\n"
GUARD = "if __name__ == '__main__':\n    "
RUNS = "the old script ran none of its tests, Passmuster runs them"
NO_TESTS = "the old script ran none of its tests, Passmuster reports NO_TESTS"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (f"{CLASS}{GUARD}unittest.main()\n", ""),
        (f"{CLASS}{GUARD}raise SystemExit(main())\n", ""),
        (f"{CLASS}unittest.main()\n", ""),
        (f"{CLASS}{GUARD}unittest.TextTestRunner().run(suite)\n", ""),
        ("def test_a():\n    pass\n\n\ntest_a()\n", ""),
        (f"def test_a():\n    pass\n\n\n{GUARD}for test in (test_a,):\n        test()\n", ""),
        (f"import pytest\n\n\ndef test_a():\n    pass\n\n\n{GUARD}pytest.main([__file__])\n", ""),
        (f"{GUARD}print('no tests')\n", ""),
        ("print('no tests')\n", ""),
        ("", ""),
        ("def test_a(:\n", ""),
        ("\0", ""),
        (CLASS, RUNS),
        ("def test_a():\n    assert False\n", RUNS),
        ("async def test_a():\n    assert False\n", RUNS),
        (f"{CLASS}{GUARD}print('x')\n", NO_TESTS),
        (f"def test_a():\n    pass\n\n\n{GUARD}pass\n", NO_TESTS),
    ],
)
def test_a_file_that_ran_no_test_is_named(source: str, reason: str) -> None:
    assert verdict_reason(source.encode(), RunnerKind.AUTO) == reason


def test_a_main_block_does_not_count_where_pytest_runs_all_files() -> None:
    assert verdict_reason(f"{CLASS}{GUARD}print('x')\n".encode(), RunnerKind.PYTEST) == RUNS
