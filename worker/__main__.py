"""`python -P -m worker`: a worker of a queue.

Also to be started by its path, `python -P …/worker/__main__.py`: then nothing must be in PYTHONPATH, which
the tests would see too.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    _home = Path(__file__).resolve().parent.parent
    if not sys.flags.safe_path:
        del sys.path[0]  # This folder holds a package `queue`, and must not hide Python's own.
    sys.path.insert(0, str(_home))
    if (_home / "requirements").is_dir():
        # A checkout runs in its own private environment; an installed package is in one already.
        from passmuster.launch.bootstrap import ensure_environment

        ensure_environment(home=_home)
    from worker.queue.cli import main

    sys.exit(main())
