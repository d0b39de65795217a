"""The axes of the page's drawings: round steps, short labels, places in percent of the width. Pure."""

from __future__ import annotations

_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)


def percent(value: float, start: float, end: float) -> str:
    """Return where `value` lies between two ends, as a length that grows with the drawing."""
    share = 100 * (value - start) / (end - start) if end > start else 0.0
    return f"{min(max(share, 0.0), 100.0):.3f}".rstrip("0").rstrip(".") + "%"


def time_ticks(start_s: float, end_s: float, *, most: int = 5) -> list[float]:
    """Return round instants between two, at most about `most` of them."""
    step = _step_s((end_s - start_s) / max(most, 1))
    count = int((end_s - start_s) / step) + 1
    first = -(-start_s // step)
    return [step * (first + number) for number in range(count) if step * (first + number) <= end_s]


def _step_s(least_s: float) -> float:
    """Return the smallest round step of at least `least_s` seconds."""
    fine = 0.001
    while fine < 1:
        for factor in (1, 2, 5):
            if fine * factor >= least_s:
                return fine * factor
        fine *= 10
    days = 86400.0
    while days < least_s:
        days *= 2
    return next((float(step) for step in _STEPS_S if step >= least_s), days)


def time_label(at_s: float, step_s: float) -> str:
    """Return an instant as the axis shows it: `0`, `0.5s`, `30s`, `1m 30s`, `2h`.

    Args:
        at_s: the instant.
        step_s: the distance to the next; it says how many decimals are needed.
    """
    if at_s == 0:
        return "0"
    if at_s < 60:
        decimals = 0 if step_s >= 1 else 1 if step_s >= 0.1 else 2 if step_s >= 0.01 else 3
        return f"{at_s:.{decimals}f}s"
    minutes, seconds = divmod(round(at_s), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m"), (seconds, "s")) if number]
    return " ".join(parts[:2])


def byte_ticks(top_bytes: int, *, most: int = 4) -> list[int]:
    """Return round sizes from 0 up to the first that is not below `top_bytes`."""
    step = 1
    while step * most < top_bytes:
        step *= 2
    # From a power of two, so that each label is a short one; the half keeps the curve in the upper half.
    count = -(-top_bytes // step)
    return [step * number for number in range(max(1, count) + 1)]
