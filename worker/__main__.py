"""`python -P -m worker`: a worker of a queue.

Also to be started by its path, `python -P …/worker/__main__.py`: then nothing must be in PYTHONPATH, which
the tests would see too.
"""

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from worker.cli import main

    sys.exit(main())
