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
    if not (_home / "requirements").is_dir():
        # An installed package, `…/passmuster/_program/worker`, in an environment that has what it needs.
        sys.path.insert(0, str(_home.parent.parent))
    else:
        # A checkout, which has a private environment.
        sys.path.insert(0, str(_home))
        from passmuster.launch.bootstrap import ensure_environment

        _has_metrics = any(word.startswith("--metrics") for word in sys.argv)
        ensure_environment(home=_home, groups=("runtime", "metrics") if _has_metrics else ("runtime",))
    from worker.queue.cli import main

    sys.exit(main())
