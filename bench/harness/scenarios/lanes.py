"""Many campaigns on many numbers cost little more than one campaign of as many recipients; simulated sends."""

import statistics
import time
from collections.abc import Iterator

from .. import settings
from ..accounting import Meter
from ..engine import Engine
from ..ground import Folders, Ground
from ..processes import Failed
from ..servers import Postgres
from .verdict import Verdict

# Campaigns, numbers, and customers of the ERP; each campaign goes to all of them.
FULL = (200, 20, 1_000)
QUICK = (20, 4, 200)
# In turns, since the machine's speed changes.
ROUNDS, QUICK_ROUNDS = 3, 1
RUN_WITHIN_S = 1_800
# All campaigns are scheduled by then.
SCHEDULED_WITHIN_S = 15
# Of the one campaign's speed.
SPEED_MIN = 0.85


def run(folders: Folders, postgres: Postgres, quick: bool) -> Iterator[Verdict]:
    campaigns, numbers, customers = QUICK if quick else FULL
    ones, manys = [], []
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        ones.append(_measure(folders, postgres, 1, 1, customers * campaigns))
        manys.append(_measure(folders, postgres, campaigns, numbers, customers))
    (one, one_cost), (many, many_cost) = _medians(ones), _medians(manys)
    yield Verdict(f"{campaigns} campaigns on {numbers} numbers, against one campaign",
                  f"{many / one:.0%}: {many:,.0f}/s against {one:,.0f}/s; {many_cost:,.0f} against {one_cost:,.0f} "
                  f"CPU-seconds per million; medians of {len(ones)} each", f"at least {SPEED_MIN:.0%} of the speed",
                  many >= one * SPEED_MIN)


def _medians(measured: list[tuple[float, float]]) -> tuple[float, float]:
    return tuple(map(statistics.median, zip(*measured)))


def _measure(folders: Folders, postgres: Postgres, campaigns: int, numbers: int, customers: int):
    """Recipients per second, and CPU-seconds per million of them."""
    with Ground(folders, postgres, customers) as ground:
        engine = Engine(ground, transport="simulate")
        lanes = engine.numbers(numbers, settings.UNLIMITED_PER_SECOND)
        ids = [engine.create(phone_number_id=lanes[place % numbers]) for place in range(campaigns)]
        # All for the same moment: one by one they would come no faster than the API takes them.
        at = time.time() + SCHEDULED_WITHIN_S
        for campaign in ids:
            engine.schedule(campaign, at)
        if (left := at - time.time()) < 0:
            raise Failed(f"scheduling {campaigns} campaigns took {-left:.1f} s longer than {SCHEDULED_WITHIN_S} s")
        time.sleep(left)
        meter, began = Meter(ground.roots()), time.monotonic()
        recipients = sum(engine.wait_settled(campaign, RUN_WITHIN_S)["total"] for campaign in ids)
        seconds, cost = time.monotonic() - began, meter.stop()
    return recipients / seconds, cost.total_cpu_s() / recipients * 1e6
