"""The raw parts of the engine's work, each alone: what the servers and libraries can do at best.

`bench/parts` is a program with a command for each. Here each is run on a fresh ground and its whole cost is
measured, the servers' included.
"""

import time
from dataclasses import dataclass, field

from . import settings
from .accounting import Meter
from .contenders import Run
from .ground import Folders, Ground
from .processes import Failed
from .servers import Postgres

READY_WITHIN_S = 60
RUN_WITHIN_S = 300


@dataclass
class Part:
    name: str
    title: str
    # Whether a message needs it once; the others are shown for comparison.
    is_needed: bool
    is_http: bool = False
    runs: list[Run] = field(default_factory=list)

    def __str__(self) -> str:
        return self.title


def all_parts() -> list[Part]:
    return [
        Part("xadd", "XADD of lane entries, pipelined by 1,000", False),
        Part("feed", "feed script, 1,000 entries a call", True),
        Part("take-settle", "take and settle scripts, 256 a call, one connection", True),
        Part("outcomes", "reading and deleting outcomes, 4,000 a call", True),
        Part("insert", "inserting ledger rows with their three unique indexes, 2,000 a page", True),
        Part("update", "locking and updating ledger rows, 2,000 a batch", True),
        Part("post", "HTTP POST, the engine's client to whatsapp-mock-svc, 64 at a time", True, is_http=True),
        Part("post-bare", "HTTP POST, the engine's client to a bare axum server in its own process, 64 at a time", False),
    ]


def measure(part: Part, folders: Folders, postgres: Postgres, count: int) -> Run:
    with Ground(folders, postgres, customers=1) as ground:
        environment = ground.outside() | {
            "REDIS_URL": ground.redis.url,
            "DATABASE_URL": postgres.url,
            "PHONE_NUMBER_ID": settings.PHONE_NUMBER_ID,
        }
        process = ground.start("part", [ground.binary("bench-parts"), part.name, str(count)], environment, talks=True)
        if (said := process.hear(READY_WITHIN_S)) != "ready":
            raise Failed(f"{part.name} said {said!r} instead of being ready")
        meter, began = Meter(ground.roots()), time.monotonic()
        process.say("go")
        process.hear(RUN_WITHIN_S)
        run = Run(count, time.monotonic() - began, meter.stop(), ground.redis.peak_bytes())
    part.runs.append(run)
    return run


def costs_together(parts: list[Part], *, http: bool) -> list[float]:
    """What the needed parts cost together, in CPU-seconds per million, in each round."""
    needed = [part for part in parts if part.is_needed and (http or not part.is_http)]
    return [sum(run.cpu_s_per_million for run in runs) for runs in zip(*(part.runs for part in needed), strict=True)]


