"""Pause takes effect within a second, measured where it counts: at the mock's last acceptance."""

import time
from collections.abc import Iterator

from .. import settings
from ..engine import Engine
from ..ground import Folders, Ground
from ..processes import Failed, wait_until
from ..servers import Postgres
from .verdict import Verdict

CUSTOMERS = 100_000
PER_SECOND = 1_000
PAUSES, QUICK_PAUSES = 10, 3
# Sending before each pause, and watching after it.
SEND_S, WATCH_S = 1.5, 2.5
LAST_SEND_S_MAX = 1.0


def run(folders: Folders, postgres: Postgres, quick: bool) -> Iterator[Verdict]:
    delays = []
    with Ground(folders, postgres, CUSTOMERS) as ground:
        engine = Engine(ground, messengers=2)
        engine.set_throughput(settings.PHONE_NUMBER_ID, PER_SECOND)
        engine.schedule(campaign := engine.create())

        def accepted() -> int:
            return ground.whatsapp.acceptances(campaign)["accepted"]

        for _ in range(QUICK_PAUSES if quick else PAUSES):
            before = accepted()
            wait_until("messages to flow", 30, lambda: accepted() > before)
            time.sleep(SEND_S)
            asked_ms = time.time() * 1_000
            engine.api("POST", f"/v1/campaigns/{campaign}/pause", {"reason": "bench"})
            time.sleep(WATCH_S)
            still, last_ms = accepted(), ground.whatsapp.acceptances(campaign)["last_at_ms"]
            time.sleep(WATCH_S / 5)
            if accepted() != still:
                raise Failed(f"messages still flow {WATCH_S} s after the pause")
            delays.append(max(0.0, last_ms - asked_ms) / 1_000)
            engine.api("POST", f"/v1/campaigns/{campaign}/resume")
    yield Verdict(f"slowest of {len(delays)} pauses at {PER_SECOND:,}/s", f"{max(delays):.3f} s",
                  f"under {LAST_SEND_S_MAX:.0f} s", max(delays) < LAST_SEND_S_MAX)
