"""A suite of 60 heavy files with the figures of one that was measured: what each takes, by a seed.

60 to 220 MB each, an eighth of them 250 to 350, four of 1.0 to 1.4 GB; imports of about a second of processor
time, then a median of 0.2 s of work with a long tail; a fifth of the files sleep 0.3 to 2 s. Sum about 95 s,
longest about 8 s, all peaks together about 14 GB.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from dispatcher.history.file_history import FileHistory
from dispatcher.model.plan import TestFile
from dispatcher.model.usage_stats import UsageStats

MB = 1000**2


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What one file takes.

    Args:
        path: its name.
        cpu_s: processor seconds, spent first.
        wait_s: seconds it sleeps then.
        peak_bytes: memory that it has reached at two thirds of its time.
    """

    path: str
    cpu_s: float
    wait_s: float
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """How long it takes with a processor to itself."""
        return self.cpu_s + self.wait_s


def recorded_suite(seed: int) -> tuple[Recorded, ...]:
    """Return the suite, in an order that has nothing to do with what its files take."""
    chance = random.Random(seed)
    sizes = [chance.randint(1000, 1400) for _ in range(4)]
    sizes += [chance.randint(250, 350) for _ in range(7)]
    sizes += [chance.randint(60, 220) for _ in range(49)]
    chance.shuffle(sizes)
    work_s = [4.2, 5.5, 7.0] + [min(3.0, chance.lognormvariate(-1.6, 0.9)) for _ in range(57)]
    chance.shuffle(work_s)
    return tuple(
        Recorded(
            path=f"test_{number:02d}.py",
            cpu_s=chance.uniform(0.6, 1.2) + work,
            wait_s=chance.uniform(0.3, 2.0) if chance.random() < 0.2 else 0.0,
            peak_bytes=size * MB,
        )
        for number, (size, work) in enumerate(zip(sizes, work_s, strict=True))
    )


def waiting_suite(files: int, *, share: float = 0.1) -> tuple[Recorded, ...]:
    """Return files of a second that use the processor for `share` of it, and little memory."""
    return tuple(
        Recorded(path=f"test_{number:03d}.py", cpu_s=share, wait_s=1.0 - share, peak_bytes=60 * MB)
        for number in range(files)
    )


def mixed_suite(seed: int) -> tuple[Recorded, ...]:
    """Return 120 files like CPython's own tests: eight wait 1.2 to 5 s, a few a little, all others work."""
    chance = random.Random(seed)
    wait_s = [5.1, 5.0, 5.0, 3.0, 2.5, 2.0, 1.5, 1.2]
    wait_s += [chance.uniform(0.05, 0.6) if chance.random() < 0.15 else 0.0 for _ in range(112)]
    cpu_s = [0.05] * 5 + [min(2.0, chance.lognormvariate(-2.0, 1.2)) for _ in range(115)]
    files = [
        Recorded(path=f"test_{number:03d}.py", cpu_s=cpu, wait_s=wait, peak_bytes=chance.randint(15, 60) * MB)
        for number, (cpu, wait) in enumerate(zip(cpu_s, wait_s, strict=True))
    ]
    chance.shuffle(files)
    return tuple(files)


def discovered(files: tuple[Recorded, ...]) -> list[TestFile]:
    """Return the files as discovery finds them."""
    return [TestFile(path=file.path, label=file.path) for file in files]


def remembered(files: tuple[Recorded, ...]) -> dict[str, FileHistory]:
    """Return what is known of the files after they ran."""
    return {
        file.path: FileHistory(
            path=file.path,
            spawned=UsageStats(duration_s=file.seconds, cpu_s=file.cpu_s, peak_bytes=file.peak_bytes, runs=1),
        )
        for file in files
    }


def bound_s(files: tuple[Recorded, ...], *, slots: int, budget_bytes: int) -> float:
    """Return what no order of starts can be faster than, on `slots` processors."""
    return max(
        sum(file.seconds for file in files) / slots,
        max(file.seconds for file in files),
        sum(file.seconds * min(file.peak_bytes, budget_bytes) for file in files) / budget_bytes,
    )
