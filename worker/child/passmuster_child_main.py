"""The first file that a test process executes; kept tiny because a script is compiled at every start.

    python passmuster_child_main.py FILE RUNNER CODE_FOLDER ROOT COVERAGE_FILE [SOURCE...] [-- SELECTION...]
    python passmuster_child_main.py --serve FD CODE_FOLDER ROOT

`ROOT` is the project's, if what the file reads is recorded (`passmuster_child_inputs`); empty: it is not.
`SOURCE` is measured by coverage; `passmuster_child_select` documents the words of a selection.
The second form is a fork server, and returns from `begin` only in the processes it was forked into for files.
`passmuster_child_start` does the work. The test file is executed from here, so that exactly one frame of
ours is below it.
"""

import sys

if sys.flags.safe_path if sys.version_info >= (3, 11) else False:
    sys.path.insert(0, __file__.rpartition("/")[0])

import passmuster_child_start as _start

_run = _start.begin(sys.argv)
try:
    if _run.code is None:
        _run.framework()
    else:
        exec(_run.code, _run.namespace)
except BaseException as _error:
    _run.error = _error
_run.leave()
