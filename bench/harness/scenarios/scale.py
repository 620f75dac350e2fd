"""Cost and memory do not grow with the campaign: ten thousand recipients to a million, simulated sends."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from ..accounting import Meter
from ..engine import Engine
from ..figures import megabytes, thousands
from ..ground import Folders, Ground
from ..servers import Postgres
from .verdict import Verdict

CUSTOMERS = (10_000, 100_000, 1_000_000)
QUICK_CUSTOMERS = (5_000, 10_000, 20_000)
# In turns, since the machine's speed changes.
ROUNDS, QUICK_ROUNDS = 3, 1
RUN_WITHIN_S = 3_600
COST_SPREAD_MAX = 1.15
SERVICE_BYTES_MAX = 100e6
REDIS_BYTES_MAX = 64e6
SERVICES = ("scheduler-svc", "sender-svc", "message-svc")


def run(folders: Folders, postgres: Postgres, quick: bool) -> Iterator[Verdict]:
    sizes = QUICK_CUSTOMERS if quick else CUSTOMERS
    measured = {customers: [] for customers in sizes}
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        for customers in sizes:
            measured[customers].append(_measure(folders, postgres, customers))
    costs = {}
    for runs in measured.values():
        recipients = runs[0].recipients
        costs[recipients] = statistics.median(run.cpu_s / run.recipients * 1e6 for run in runs)
        service, most = max(((name, run.services[name]) for run in runs for name in SERVICES), key=lambda it: it[1])
        yield Verdict(f"largest service at {recipients:,} recipients", f"{service} {megabytes(most)}",
                      f"under {megabytes(SERVICE_BYTES_MAX)}", most < SERVICE_BYTES_MAX)
        redis = max(run.redis for run in runs)
        yield Verdict(f"Redis's peak at {recipients:,} recipients", megabytes(redis),
                      f"under {megabytes(REDIS_BYTES_MAX)}", redis < REDIS_BYTES_MAX)
    shown = ", ".join(f"{thousands(cost)} at {recipients:,}" for recipients, cost in costs.items())
    spread = max(costs.values()) / min(costs.values())
    yield Verdict("CPU-seconds per million recipients, servers included",
                  f"{shown}: {spread - 1:.0%} apart; medians of {len(runs)} each",
                  f"at most {COST_SPREAD_MAX - 1:.0%} apart", spread <= COST_SPREAD_MAX)


@dataclass(frozen=True)
class _Run:
    recipients: int
    # Of all processes but the mocks.
    cpu_s: float
    # Peaks, in bytes.
    services: dict[str, int]
    redis: int


def _measure(folders: Folders, postgres: Postgres, customers: int) -> _Run:
    with Ground(folders, postgres, customers) as ground:
        engine = Engine(ground, transport="simulate")
        # A first campaign of few builds the lane and warms up: it is not the million that is charged for that.
        engine.schedule(warm_up := engine.create(segment={"active": True, "states": ["AC"]}))
        engine.wait_settled(warm_up, RUN_WITHIN_S)
        campaign = engine.create()
        meter = Meter(ground.roots())
        engine.schedule(campaign)
        progress = engine.wait_settled(campaign, RUN_WITHIN_S)
        cost, redis = meter.stop(), ground.redis.peak_bytes()
    own = sum(cpu for name, cpu in cost.cpu_s.items() if "mock" not in name)
    return _Run(progress["total"], own, {name: cost.peak_bytes[name] for name in SERVICES}, redis)
