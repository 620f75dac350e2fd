"""Numbers of several rounds, and how people read them."""

import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def with_spread(values: Sequence[float]) -> str:
    """The median, and between what the rounds lay."""
    if len(values) == 1:
        return thousands(values[0])
    return f"{thousands(median(values))} ({thousands(min(values))}–{thousands(max(values))})"


def thousands(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2f}"


def megabytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB"
