"""Cost and memory do not grow with the campaign: ten thousand recipients to a million, simulated sends."""

from collections.abc import Iterator

from ..accounting import Meter
from ..engine import Engine
from ..figures import megabytes, thousands
from ..ground import Folders, Ground
from ..servers import Postgres
from .verdict import Verdict

CUSTOMERS = (10_000, 100_000, 1_000_000)
QUICK_CUSTOMERS = (5_000, 10_000, 20_000)
RUN_WITHIN_S = 3_600
COST_SPREAD_MAX = 1.15
SERVICE_BYTES_MAX = 100e6
REDIS_BYTES_MAX = 64e6
SERVICES = ("scheduler-svc", "sender-svc", "message-svc")


def run(folders: Folders, postgres: Postgres, quick: bool) -> Iterator[Verdict]:
    costs = {}
    for customers in QUICK_CUSTOMERS if quick else CUSTOMERS:
        with Ground(folders, postgres, customers) as ground:
            engine = Engine(ground, transport="simulate")
            # A first campaign of few builds the lane and warms up: it is not the million that is charged for that.
            engine.schedule(warm_up := engine.create(segment={"active": True, "states": ["AC"]}))
            engine.wait_settled(warm_up, RUN_WITHIN_S)
            campaign = engine.create()
            meter = Meter(ground.roots())
            engine.schedule(campaign)
            progress = engine.wait_settled(campaign, RUN_WITHIN_S)
            cost, redis_bytes = meter.stop(), ground.redis.peak_bytes()
        recipients = progress["total"]
        own = sum(cpu for name, cpu in cost.cpu_s.items() if "mock" not in name)
        costs[recipients] = own / recipients * 1e6
        services = {name: cost.peak_bytes[name] for name in SERVICES}
        largest = max(services, key=services.get)
        yield Verdict(f"largest service at {recipients:,} recipients", f"{largest} {megabytes(services[largest])}",
                      f"under {megabytes(SERVICE_BYTES_MAX)}", services[largest] < SERVICE_BYTES_MAX)
        yield Verdict(f"Redis's peak at {recipients:,} recipients", megabytes(redis_bytes),
                      f"under {megabytes(REDIS_BYTES_MAX)}", redis_bytes < REDIS_BYTES_MAX)
    shown = ", ".join(f"{thousands(cost)} at {recipients:,}" for recipients, cost in costs.items())
    spread = max(costs.values()) / min(costs.values())
    yield Verdict("CPU-seconds per million recipients, servers included", f"{shown}: {spread - 1:.0%} apart",
                  f"at most {COST_SPREAD_MAX - 1:.0%} apart", spread <= COST_SPREAD_MAX)
