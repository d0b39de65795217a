"""Types what a newcomer types, in a bare root of Debian or Ubuntu: from nothing to four merged shards.

    debootstrap --variant=minbase bookworm /tmp/bare
    sudo .venv/bin/python -m benchmarks.newcomer /tmp/bare [--python 3.11] [--certificates FILE]

`--python` is for a system whose own Python is too old, such as Ubuntu 22.04.

Prints for each command its seconds, exit status, megabytes downloaded (not those of pip, which does not say
them), and growth of the root. Must run as root and changes the root that it is given, so make a new one for
each measurement. The clone is made from this checkout.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.ours import REPOSITORY

ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

SHARDS = (
    "for shard in 1 2 3 4; do"
    " ./run_tests.py --root examples/shop --shard $shard/4 --record /tmp/records -q || exit; done"
)


class Step(NamedTuple):
    """One command, and the exit status that the documents promise for it."""

    command: str
    status: int = 0
    network: bool = True


EXAMPLE = "./run_tests.py --root examples/shop"
INSTALL = "apt-get install -y --no-install-recommends"


def steps(python: str | None) -> tuple[Step, ...]:
    """Return the commands; `python` is the version to install if the system's own is too old."""
    # Says that python3-venv is missing, or that Python is too old.
    refused = Step(EXAMPLE, status=3 if python is None else 2)
    return (
        Step(f"apt-get update && {INSTALL} git python3 ca-certificates"),
        Step("git clone file:///srv/passmuster.git passmuster"),
        refused,
        Step(f"{INSTALL} python{python or 3}-venv"),
        Step(EXAMPLE if python is None else f"python{python} {EXAMPLE}"),
        Step(EXAMPLE, network=False),
        Step(f"SHOP_SHOW_FAILURE=1 {EXAMPLE} tests/test_showcase.py", status=1),
        Step(SHARDS),
        Step("./run_tests.py merge --root examples/shop /tmp/records"),
    )


# A new root has no devices and no /proc: the shell mounts them in its own namespace.
MOUNT = (
    "mount --make-rprivate / && mount -t proc proc $0/proc && mount -t devpts devpts $0/dev/pts"
    ' && mount -t tmpfs tmpfs $0/dev/shm && exec chroot $0 /bin/bash -c "$1"'
)

_FETCHED = re.compile(r"Fetched ([\d.,]+) (k?M?)B in")


def main() -> int:
    """Run every step; return 1 if one ends with another status than the documents promise."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("root", type=Path, help="a bare root, as debootstrap makes it")
    parser.add_argument("--python", help="the Python to install, such as 3.11; default: the system's own")
    parser.add_argument("--certificates", type=Path, help="certificates for pip, where a proxy has its own")
    options = parser.parse_args()
    root: Path = options.root.resolve()
    environ = {"HOME": "/root", "PATH": ROOT_PATH, "TERM": "dumb"}
    for name in ("hosts", "resolv.conf"):
        shutil.copy(Path("/etc") / name, root / "etc" / name)
    if options.certificates:
        shutil.copy(options.certificates, root / "etc" / "newcomer.pem")
        environ["PIP_CERT"] = "/etc/newcomer.pem"
    bare = root / "srv" / "passmuster.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", f"file://{REPOSITORY}", bare], check=True)
    print("| command | s | exit status | MB downloaded | MB more on disk |\n| --- | --- | --- | --- | --- |")
    as_promised = True
    for step in steps(options.python):
        as_promised &= run(step, root, environ)
    return 0 if as_promised else 1


def run(step: Step, root: Path, environ: dict[str, str]) -> bool:
    """Run one step, print its row, and return whether its status is the promised one."""
    clone = root / "root" / "passmuster"
    command = f"cd ~/{'passmuster' if clone.exists() else ''}; {step.command}"
    namespaces = ["--mount", "--pid", "--fork", *([] if step.network else ["--net"])]
    size = megabytes(root)
    started = time.monotonic()
    done = subprocess.run(
        ["unshare", *namespaces, "/bin/sh", "-c", MOUNT, str(root), command],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    seconds = time.monotonic() - started
    fetched = sum(
        float(n.replace(",", "")) / (1000 if k == "k" else 1) for n, k in _FETCHED.findall(done.stdout)
    )
    if "git clone" in step.command:
        fetched += megabytes(clone / ".git")
    offline = "" if step.network else " (no network)"
    print(
        f"| `{step.command}`{offline} | {seconds:.1f} | {done.returncode} | {fetched:.1f}"
        f" | {megabytes(root) - size:.0f} |",
        flush=True,
    )
    if done.returncode != step.status:
        print(f"expected exit status {step.status}:\n{done.stdout}", file=sys.stderr)
    return done.returncode == step.status


def megabytes(folder: Path) -> float:
    """Return what the files of a folder take on the disk; 0 if it does not exist."""
    files = (path for path in folder.rglob("*") if not path.is_dir())
    return sum(path.lstat().st_blocks for path in files) * 512 / 1e6


if __name__ == "__main__":
    sys.exit(main())
