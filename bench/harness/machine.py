"""The machine and the versions that a result holds for."""

import os
import platform
import re
import subprocess
from pathlib import Path

from .processes import Failed


def _first_match(path: str, pattern: str) -> str:
    found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return found[1].strip() if found else "unknown"


def said_by(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout.strip()


def cores() -> int:
    return len(os.sched_getaffinity(0))


def load() -> float:
    """The mean number of runnable processes in the last minute."""
    return os.getloadavg()[0]


def describe() -> dict[str, str]:
    processor = _first_match("/proc/cpuinfo", r"^model name\s*:(.*)$")
    memory_gb = int(_first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)")) / 1024**2
    return {
        "processor": f"{processor}, {cores()} cores",
        "memory": f"{memory_gb:.0f} GB",
        "system": f"Linux {platform.release()}",
    }


def commit(checkout: Path) -> str:
    """The commit, and whether anything differs from it."""
    return said_by("git", "describe", "--always", "--dirty", "--abbrev=12", cwd=checkout)
