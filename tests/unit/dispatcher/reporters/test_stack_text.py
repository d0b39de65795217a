"""The stacks of a timeout: the frames of the project, and how many others there are."""

from __future__ import annotations

from dispatcher.reporters.stack_text import MAX_STACK_LINES, stack_lines

STACKS = """\
Thread 0x0001 (most recent call first):
  File "/usr/lib/python3.11/threading.py", line 327 in wait
  File "/usr/lib/python3.11/queue.py", line 171 in get

Current thread 0x0002 (most recent call first):
  File "/usr/lib/python3.11/socket.py", line 706 in readinto
  File "/w/shop/.venv/lib/python3.11/site-packages/redis/client.py", line 9 in get
  File "/w/shop/src/shop/stock.py", line 40 in ask
  File "/w/shop/tests/test_slow.py", line 7 in test_waits
  File "/w/shop/.venv/lib/python3.11/site-packages/_pytest/python.py", line 159 in pytest_pyfunc_call
  File "<frozen runpy>", line 88 in _run_code
"""


def test_the_frames_of_the_project_come_first_and_the_others_are_counted() -> None:
    assert stack_lines(STACKS, "tests/test_slow.py") == [
        "Current thread 0x0002 (most recent call first):",
        "  src/shop/stock.py:40 in ask",
        "  tests/test_slow.py:7 in test_waits",
        "  4 frame(s) of Python and packages left out, the innermost is socket.py:706 in readinto",
        "Thread 0x0001 (most recent call first):",
        "  2 frame(s) of Python and packages left out, the innermost is threading.py:327 in wait",
    ]


def test_where_the_file_itself_is_in_no_stack_all_paths_are_whole() -> None:
    assert stack_lines(STACKS, "tests/test_other.py")[1] == "  /w/shop/src/shop/stock.py:40 in ask"


def test_a_project_inside_a_directory_of_packages_is_a_project() -> None:
    stack = 'Thread 1:\n  File "/usr/lib/python3/dist-packages/shop/tests/test_slow.py", line 7 in f\n'
    assert stack_lines(stack, "tests/test_slow.py") == ["Thread 1:", "  tests/test_slow.py:7 in f"]


def test_other_lines_stay_and_are_sanitized() -> None:
    assert stack_lines('  File "a.py", line 1 in f\n<no \x1b[2Jframe>\n', "b.py") == [
        "Stack:",
        "  a.py:1 in f",
        "<no frame>",
    ]


def test_stacks_of_many_threads_are_cut() -> None:
    lines = stack_lines('Thread 1:\n  File "a.py", line 1 in f\n' * 100, "a.py")
    assert len(lines) == MAX_STACK_LINES + 1
    assert lines[-1] == "..."
