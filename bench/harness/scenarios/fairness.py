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
# Small campaigns at once, of which the large one must get its share all the same.
MANY, QUICK_MANY = 20, 4
# Of its fair share while they run, which ends with the first of them.
SHARE_MIN = 0.8
SETTLED_WITHIN_S = 300


def run(folders: Folders, postgres: Postgres, quick: bool) -> Iterator[Verdict]:
    segment = QUICK_SMALL if quick else SMALL
    with Ground(folders, postgres, QUICK_CUSTOMERS if quick else CUSTOMERS) as ground:
        engine = Engine(ground)
        engine.set_throughput(settings.PHONE_NUMBER_ID, PER_SECOND)
        small, high = engine.create(segment=segment), engine.create(segment=segment, priority="high")
        many = [engine.create(segment=segment) for _ in range(QUICK_MANY if quick else MANY)]
        large = engine.create()
        engine.schedule(large)
        wait_until("the large campaign to begin", 60, lambda: ground.whatsapp.acceptances(large)["accepted"] > 0)
        time.sleep(QUICK_ALONE_S if quick else ALONE_S)
        took_s, recipients = _alone(ground, engine, small)
        high_s, _ = _alone(ground, engine, high)
        share = _share_of_large(ground, engine, large, many)
    # Of two campaigns of the same priority each may have half of the number.
    fair_s = recipients / (PER_SECOND / 2)
    yield Verdict(f"{recipients} recipients beside a large campaign at {PER_SECOND}/s",
                  f"{took_s:.1f} s, {took_s / fair_s:.1f} times its fair {fair_s:.1f} s",
                  f"at most {TIMES_FAIR_MAX:.0f} times", took_s <= fair_s * TIMES_FAIR_MAX)
    yield Verdict("the same with high priority", f"{high_s:.1f} s", "sooner", high_s < took_s)
    yield Verdict(f"the large one beside {len(many)} small ones", f"{share:.0%} of its fair share",
                  f"at least {SHARE_MIN:.0%}", share >= SHARE_MIN)


def _alone(ground: Ground, engine: Engine, small: str) -> tuple[float, int]:
    """How long it takes beside the large one alone, and to how many it goes."""
    asked_ms = time.time() * 1_000
    engine.schedule(small)
    engine.wait_settled(small, SETTLED_WITHIN_S)
    log = ground.whatsapp.acceptances(small)
    return (log["last_at_ms"] - asked_ms) / 1_000, log["accepted"]


def _share_of_large(ground: Ground, engine: Engine, large: str, many: list[str]) -> float:
    """What the large one got of its fair share, from when all small ones run until the first of them ends."""

    def accepted(campaign: str) -> int:
        return ground.whatsapp.acceptances(campaign)["accepted"]

    for campaign in many:
        engine.schedule(campaign)
    wait_until("all small ones to begin", 60, lambda: all(accepted(campaign) > 0 for campaign in many))
    before, began = accepted(large), time.monotonic()
    engine.wait_settled(many[0], SETTLED_WITHIN_S)
    fair = PER_SECOND * (time.monotonic() - began) / (len(many) + 1)
    return (accepted(large) - before) / fair
