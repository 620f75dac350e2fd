"""A small campaign never waits for a large one on the same number."""

import time
from collections.abc import Iterator

from .. import settings
from ..engine import Engine
from ..ground import Folders, Ground
from ..processes import wait_until
from ..servers import Postgres
from .verdict import Verdict

CUSTOMERS, QUICK_CUSTOMERS = 200_000, 10_000
PER_SECOND = 80
# How long the large campaign has been going on by then.
ALONE_S, QUICK_ALONE_S = 30, 3
# About one customer in a thousand: 200 people. Of fewer customers, a larger share.
QUICK_SMALL = {"active": True, "states": ["AC", "RO"]}
SMALL = QUICK_SMALL | {"birthday_month": 5}
TIMES_FAIR_MAX = 3.0
SETTLED_WITHIN_S = 300


def run(folders: Folders, postgres: Postgres, quick: bool) -> Iterator[Verdict]:
    with Ground(folders, postgres, QUICK_CUSTOMERS if quick else CUSTOMERS) as ground:
        engine = Engine(ground)
        engine.set_throughput(settings.PHONE_NUMBER_ID, PER_SECOND)
        small, large = engine.create(segment=QUICK_SMALL if quick else SMALL), engine.create()
        engine.schedule(large)
        wait_until("the large campaign to begin", 60, lambda: ground.whatsapp.acceptances(large)["accepted"] > 0)
        time.sleep(QUICK_ALONE_S if quick else ALONE_S)
        asked_ms = time.time() * 1_000
        engine.schedule(small)
        engine.wait_settled(small, SETTLED_WITHIN_S)
        log = ground.whatsapp.acceptances(small)
    took_s = (log["last_at_ms"] - asked_ms) / 1_000
    # Of two campaigns of the same priority each may have half of the number.
    fair_s = log["accepted"] / (PER_SECOND / 2)
    yield Verdict(f"{log['accepted']} recipients beside a large campaign at {PER_SECOND}/s",
                  f"{took_s:.1f} s, {took_s / fair_s:.1f} times its fair {fair_s:.1f} s",
                  f"at most {TIMES_FAIR_MAX:.0f} times", took_s <= fair_s * TIMES_FAIR_MAX)
