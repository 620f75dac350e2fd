"""The rate of a number is a ceiling across all replicas, and is used: judged by the mock's own log."""

from collections.abc import Iterator

from .. import settings
from ..engine import Engine
from ..ground import Folders, Ground
from ..processes import wait_until
from ..servers import Postgres
from .verdict import Verdict

RATES_PER_SECOND = (20, 80, 1_000)
REPLICAS = (1, 4)
SECONDS, QUICK_SECONDS = 60, 5
# From the first acceptance on; then the minute begins.
WARM_UP_S = 2
USED_MIN = 0.98
# In any window of one second, wherever it begins.
WINDOW_MAX = 1.05
# About a tenth of the customers cannot be sent to, and as many are not active.
CUSTOMERS_PER_MESSAGE = 1.6


def run(folders: Folders, postgres: Postgres, quick: bool) -> Iterator[Verdict]:
    seconds = QUICK_SECONDS if quick else SECONDS
    for per_second in RATES_PER_SECOND:
        customers = int(per_second * (seconds + 3 * WARM_UP_S) * CUSTOMERS_PER_MESSAGE)
        for replicas in REPLICAS:
            report = _measure(folders, postgres, customers, replicas, per_second, seconds)
            buckets = 1_000 // report["bucket_ms"]
            minute = report["counts"][WARM_UP_S * buckets : (WARM_UP_S + seconds) * buckets]
            used = sum(minute) / (per_second * seconds)
            largest = report["max_in_one_second"]
            of = f"at {per_second:,}/s with {replicas} message-svc"
            yield Verdict(f"used {of}, over {seconds} s", f"{used:.1%}", f"at least {USED_MIN:.0%}", used >= USED_MIN)
            yield Verdict(f"fullest second {of}", f"{largest:,} ({largest / per_second:.1%})",
                          f"at most {WINDOW_MAX:.0%}", largest <= per_second * WINDOW_MAX)


def _measure(folders: Folders, postgres: Postgres, customers: int, replicas: int, per_second: int, seconds: int):
    with Ground(folders, postgres, customers) as ground:
        engine = Engine(ground, messengers=replicas)
        engine.set_throughput(settings.PHONE_NUMBER_ID, per_second)
        engine.schedule(campaign := engine.create())

        def enough():
            if ground.whatsapp.acceptances(campaign)["accepted"] == 0:
                return None
            report = ground.whatsapp.rate(settings.PHONE_NUMBER_ID)
            long_enough = len(report["counts"]) * report["bucket_ms"] >= (WARM_UP_S + seconds) * 1_000
            return report if long_enough else None

        return wait_until("the minute", seconds + 60, enough, every_s=0.5)
