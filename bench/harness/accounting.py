"""What processes cost, as the operating system counts it: CPU time and peak memory, from /proc."""

import os
from dataclasses import dataclass, field
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass
class Usage:
    """Of one program with all its children: CPU so far, and the most memory that one of them ever held."""

    cpu_s: float
    peak_bytes: int


@dataclass
class Cost:
    """Between two moments."""

    cpu_s: dict[str, float] = field(default_factory=dict)
    peak_bytes: dict[str, int] = field(default_factory=dict)

    def total_cpu_s(self) -> float:
        return sum(self.cpu_s.values())


def _stat(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat behind the name, which may hold blanks and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def _peak_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def usages(roots: dict[str, int]) -> dict[str, Usage]:
    """The usage of each program, given by name and the pid of its first process.

    A child that has ended counts through its parent (cutime, cstime), one that lives is added.
    """
    stats = {}
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (stat := _stat(int(entry))):
            stats[int(entry)] = stat
            children.setdefault(int(stat[1]), []).append(int(entry))
    found = {}
    for name, root in roots.items():
        ticks, peak, waiting = 0, 0, [root]
        while waiting:
            pid = waiting.pop()
            if stat := stats.get(pid):
                # utime, stime, cutime, cstime
                ticks += sum(int(value) for value in stat[11:15])
                peak = max(peak, _peak_bytes(pid))
                waiting.extend(children.get(pid, []))
        found[name] = Usage(ticks / TICKS_PER_SECOND, peak)
    return found


class Meter:
    """Measures from its making until `stop`."""

    def __init__(self, roots: dict[str, int]):
        self._roots = roots
        self._before = usages(roots)

    def stop(self) -> Cost:
        after = usages(self._roots)
        return Cost(
            cpu_s={name: usage.cpu_s - self._before[name].cpu_s for name, usage in after.items()},
            peak_bytes={name: usage.peak_bytes for name, usage in after.items()},
        )
