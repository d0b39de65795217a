"""Test files that misbehave, each with what must come of it.

The files are run together, so that each also shows that it does the others no harm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.e2e.support.outcome import Finished
from tests.e2e.support.sources import FAILING, PASSING, script


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """A file and what must come of it.

    Args:
        name: its name below `tests/`.
        source: its text.
        status: the verdict.
        error: what the line that explains the verdict must hold.
        also: a further check of the attempt.
    """

    name: str
    source: str | bytes
    status: str
    error: str = ""
    also: Callable[[Finished], bool] = lambda ended: True


_UNITTEST = "import os, signal, sys, time, unittest\nclass T(unittest.TestCase):\n"
_MAIN = "if __name__ == '__main__':\n    unittest.main()\n"


def _unittest(body: str, *, main: str = _MAIN) -> str:
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    return f"{_UNITTEST}{lines}{main}"


HOSTILE_FILES: tuple[Hostile, ...] = (
    # Source that is no source.
    Hostile(
        name="test_syntax_error.py",
        source="def broken(:\nif __name__ == '__main__':\n    pass\n",
        status="COLLECT_ERROR",
        error="SyntaxError",
        also=lambda ended: "def broken(:" in ended.output and ended.exit_code == 1,
    ),
    Hostile(
        name="test_wrong_encoding.py",
        source=b"name = '\xe9'\nif __name__ == '__main__':\n    pass\n",
        status="COLLECT_ERROR",
        error="utf-8",
    ),
    Hostile(
        name="test_declared_latin_1.py",
        source=b"# coding: latin-1\nif __name__ == '__main__':\n    assert '\xe9' == chr(0xe9)\n",
        status="PASS",
    ),
    Hostile(
        name="test_nul_byte.py",
        source=b"if __name__ == '__main__':\n    pass\n\0\n",
        status="COLLECT_ERROR",
        error="null bytes",
    ),
    Hostile(name="test_empty.py", source=b"", status="PASS"),
    # Names.
    Hostile(name="test_with space.py", source=PASSING, status="PASS"),
    Hostile(name="test_new\nline.py", source=PASSING, status="PASS"),
    Hostile(name="test_naïve_日本_🎉.py", source=PASSING, status="PASS"),
    Hostile(name="test_byte_\udcff.py", source=PASSING, status="PASS"),
    Hostile(name="test_byte_\udcfe_fails.py", source=FAILING, status="FAIL", error="exit status 1"),
    Hostile(name="test_quote'\"$(id).py", source=PASSING, status="PASS"),
    Hostile(name="-test/test_dash.py", source=PASSING, status="PASS"),
    # Ways to leave.
    Hostile(
        name="test_exit_0_half_way.py",
        source=_unittest(
            "def test_1(self): pass\ndef test_2(self): os._exit(0)\ndef test_3(self): self.fail()"
        ),
        status="CRASH",
        error="exited with status 0 in the middle of its tests",
        also=lambda ended: [case.outcome for case in ended.cases] == ["passed"],
    ),
    Hostile(
        name="test_exit_3.py",
        source=script("sys.exit(3)"),
        status="FAIL",
        error="exit status 3",
        also=lambda ended: ended.exit_code == 3,
    ),
    Hostile(
        name="test_exit_with_text.py",
        source=script("sys.exit('no luck')"),
        status="FAIL",
        also=lambda ended: ended.output == "no luck\n" and ended.exit_code == 1,
    ),
    Hostile(
        name="test_keyboard_interrupt.py",
        source=script("raise KeyboardInterrupt"),
        status="CRASH",
        error="SIGINT",
        also=lambda ended: "KeyboardInterrupt" in ended.output,
    ),
    Hostile(
        name="test_segfault.py",
        source=script("import ctypes\nctypes.string_at(0)"),
        status="CRASH",
        error="SIGSEGV",
        also=lambda ended: "Fatal Python error: Segmentation fault" in ended.output,
    ),
    Hostile(
        name="test_abort.py",
        source=script("os.abort()"),
        status="CRASH",
        error="SIGABRT",
    ),
    Hostile(
        name="test_kills_itself.py",
        source=script("print('before', flush=True)\nos.kill(os.getpid(), 9)"),
        status="CRASH",
        error="SIGKILL",
        also=lambda ended: ended.output == "before\n" and ended.signal == 9,
    ),
    Hostile(
        name="test_terminates_its_group.py",
        source=script("import signal\nos.killpg(0, signal.SIGTERM)\ntime.sleep(60)"),
        status="CRASH",
        error="SIGTERM",
    ),
    # Attacks on what runs it.
    Hostile(
        name="test_closes_all_descriptors.py",
        source=script("os.closerange(0, 4096)"),
        status="PASS",
    ),
    Hostile(
        name="test_closes_all_and_fails.py",
        source=_unittest("def test_1(self):\n    os.closerange(0, 4096)\n    self.fail('after')"),
        status="FAIL",
    ),
    Hostile(
        name="test_writes_garbage_to_198.py",
        source=_unittest(
            "def test_1(self):\n"
            "    for text in (b'{\"case\": 1}\\n', b'\\xff\\0{{{\\n', b'{\"done\": 1'):\n"
            "        os.write(198, text)\n"
            "    os.write(198, b'x' * 3_000_000)\n"
            "    os.write(198, b'\\n')"
        ),
        status="PASS",
        also=lambda ended: [case.outcome for case in ended.cases] == ["passed"],
    ),
    Hostile(
        name="test_kills_parents_group.py",
        source=script("os.killpg(os.getpgid(os.getppid()), 9)\ntime.sleep(60)"),
        status="CRASH",
        error="killed the process that started it",
    ),
    Hostile(
        name="test_kills_parent.py",
        source=script("os.kill(os.getppid(), 9)\ntime.sleep(60)"),
        status="CRASH",
        error="killed the process that started it",
    ),
    Hostile(
        name="test_terminates_parent.py",
        source=script(
            "import signal\nos.kill(os.getppid(), signal.SIGTERM)\nos.kill(os.getppid(), signal.SIGINT)"
        ),
        status="PASS",
    ),
    Hostile(
        name="test_stops_parent.py",
        source=script(
            """
            import signal
            parent = os.getppid()
            if os.fork() == 0:
                os.kill(parent, signal.SIGSTOP)
                time.sleep(0.3)
                os.kill(parent, signal.SIGCONT)
                os._exit(0)
            os.wait()
            """
        ),
        status="PASS",
    ),
    # Processes and threads that stay.
    Hostile(
        name="test_leaves_a_daemon.py",
        source=script(
            """
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    words = ['-c', 'import time; time.sleep(600)', 'my-daemon']
                    os.execv(sys.executable, [sys.executable, *words])
                os._exit(0)
            os.wait()
            """
        ),
        status="PASS",
        also=lambda ended: len(ended.leaked) == 1 and "my-daemon" in ended.leaked[0],
    ),
    Hostile(
        name="test_leaves_a_stubborn_daemon.py",
        source=script(
            """
            import signal
            if os.fork() == 0:
                os.setsid()
                for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                    signal.signal(number, signal.SIG_IGN)
                os.environ.clear()
                time.sleep(600)
            time.sleep(0.2)
            """
        ),
        status="PASS",
        also=lambda ended: len(ended.leaked) == 1,
    ),
    Hostile(
        name="test_forks_50_children.py",
        source=script(
            """
            for _ in range(50):
                if os.fork() == 0:
                    time.sleep(600)
                    os._exit(0)
            """
        ),
        status="PASS",
        also=lambda ended: len(ended.leaked) == 50,
    ),
    Hostile(
        name="test_leaves_daemon_threads.py",
        source=script(
            """
            import threading
            for _ in range(5):
                threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            """
        ),
        status="PASS",
    ),
    Hostile(
        name="test_a_thread_fails_later.py",
        source=script(
            """
            import threading
            def fail():
                time.sleep(0.1)
                raise RuntimeError('in a thread')
            threading.Thread(target=fail).start()
            """
        ),
        status="PASS",
        also=lambda ended: "RuntimeError: in a thread" in ended.output,
    ),
    # Output.
    Hostile(
        name="test_prints_control_characters.py",
        source=script(
            r"""
            os.write(1, b'\x1b[2J\x1b]0;title\x07\x1b[31mred\x1b[0m \xff\xfe\x00 \x9b \r over\x08\n')
            os.write(1, '\u202e\u2028 \ufffe \U0001f389 ]]>\n'.encode())
            sys.exit(1)
            """
        ),
        status="FAIL",
    ),
    Hostile(
        name="test_prints_50_mb.py",
        source=script(
            """
            print('the head')
            for _ in range(50):
                sys.stdout.write('x' * 999_999 + '\\n')
            print('the tail')
            """
        ),
        status="PASS",
        also=lambda ended: ended.output.endswith("the tail\n") and ended.output_dropped_bytes > 47_000_000,
    ),
    # Surroundings.
    Hostile(
        name="test_deletes_its_cwd.py",
        source=_unittest(
            "def test_1(self):\n"
            "    import tempfile\n"
            "    folder = tempfile.mkdtemp()\n"
            "    os.chdir(folder)\n"
            "    os.rmdir(folder)"
        ),
        status="PASS",
    ),
    Hostile(
        name="test_deletes_its_tmpdir.py",
        source=script("import shutil\nshutil.rmtree(os.environ['TMPDIR'])"),
        status="PASS",
    ),
    Hostile(
        name="test_reads_stdin.py",
        source=script("assert sys.stdin.read() == ''\nassert not sys.stdin.isatty()"),
        status="PASS",
    ),
    # What frameworks can get wrong.
    Hostile(
        name="test_failing_with_status_0.py",
        source=_unittest(
            "def test_bad(self): self.fail()",
            main="if __name__ == '__main__':\n    unittest.main(exit=False)\n",
        ),
        status="FAIL",
        error="exit status 0, but 1 of its tests failed",
    ),
    Hostile(
        name="test_defines_and_runs_none.py",
        source=_unittest(
            "def test_1(self): pass\ndef test_2(self): pass", main="if __name__ == '__main__':\n    pass\n"
        ),
        status="NO_TESTS",
        error="none of the 2 test(s) that it defines was run",
    ),
    Hostile(
        name="test_skips.py",
        source=_unittest("@unittest.skip('not today')\ndef test_1(self): pass"),
        status="PASS",
        also=lambda ended: (
            [(case.outcome, case.message) for case in ended.cases] == [("skipped", "not today")]
        ),
    ),
    Hostile(
        name="test_expected_failure.py",
        source=_unittest("@unittest.expectedFailure\ndef test_1(self): self.fail()"),
        status="PASS",
        also=lambda ended: [case.outcome for case in ended.cases] == ["xfailed"],
    ),
    Hostile(
        name="test_set_up_class_fails.py",
        source=_unittest(
            "@classmethod\ndef setUpClass(cls): raise OSError('no database')\ndef test_1(self): pass"
        ),
        status="FAIL",
        also=lambda ended: [case.outcome for case in ended.cases] == ["error"],
    ),
    Hostile(
        name="test_sub_tests.py",
        source=_unittest(
            "def test_1(self):\n"
            "    for number in range(3):\n"
            "        with self.subTest(number=number):\n"
            "            self.assertNotEqual(number, 1)"
        ),
        status="FAIL",
        error="1 of 1 tests failed",
    ),
    Hostile(
        name="test_import_fails.py",
        source="import no_such_module\nif __name__ == '__main__':\n    pass\n",
        status="FAIL",
        also=lambda ended: "ModuleNotFoundError: No module named 'no_such_module'" in ended.output,
    ),
    Hostile(name="test_no_guard.py", source=_unittest("def test_1(self): pass", main=""), status="PASS"),
    Hostile(
        name="test_no_guard_fails.py",
        source=_unittest("def test_1(self): self.fail()", main=""),
        status="FAIL",
        also=lambda ended: ended.runner == "unittest",
    ),
)
