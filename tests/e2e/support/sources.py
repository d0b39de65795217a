"""Test files that tests here write into their projects."""

from __future__ import annotations

import textwrap

MAIN = "if __name__ == '__main__':\n    unittest.main()\n"

PASSING = f"""\
import unittest


class Good(unittest.TestCase):
    def test_good(self):
        self.assertTrue(True)


{MAIN}"""

FAILING = f"""\
import unittest


class Bad(unittest.TestCase):
    def test_bad(self):
        self.assertEqual(1, 2)


{MAIN}"""


def script(body: str) -> str:
    """Return a file that does `body` when it is run, and that every runner kind takes for a script."""
    guarded = textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
    return f"import os, sys, time\nif __name__ == '__main__':\n{guarded}\n"


SEES_A_FORK = """
    import unittest


    class Fresh(unittest.TestCase):
        def test_fresh(self):
            import gc
            self.assertEqual(gc.get_freeze_count(), 0)


    if __name__ == "__main__":
        unittest.main()
"""
"""Passes when it is spawned and fails when it is forked; the text does not show that it looks."""
