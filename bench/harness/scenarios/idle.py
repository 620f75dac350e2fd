"""Nothing to do costs next to nothing: after a campaign, with every service up and its lane built."""

import time
from collections.abc import Iterator

from ..accounting import Meter
from ..engine import Engine
from ..ground import Folders, Ground
from ..servers import Postgres
from .verdict import Verdict

CUSTOMERS = 1_000
SECONDS, QUICK_SECONDS = 120, 10
# After the campaign, for what is tidied up.
REST_S, QUICK_REST_S = 30, 3
SETTLED_WITHIN_S = 60
CORE_SHARE_MAX = 0.02
SERVICES = ("scheduler-svc", "sender-svc", "message-svc")


def run(folders: Folders, postgres: Postgres, quick: bool) -> Iterator[Verdict]:
    seconds = QUICK_SECONDS if quick else SECONDS
    with Ground(folders, postgres, CUSTOMERS) as ground:
        engine = Engine(ground)
        engine.schedule(campaign := engine.create())
        engine.wait_settled(campaign, SETTLED_WITHIN_S)
        time.sleep(QUICK_REST_S if quick else REST_S)
        meter = Meter(ground.roots())
        time.sleep(seconds)
        cost = meter.stop()
    shares = {name: cpu / seconds for name, cpu in cost.cpu_s.items() if "mock" not in name}
    together = sum(share for name, share in shares.items() if name in SERVICES)
    each = ", ".join(f"{name} {share:.2%}" for name, share in shares.items())
    yield Verdict(f"all services together, over {seconds} s", f"{together:.2%} of a core ({each})",
                  f"under {CORE_SHARE_MAX:.0%}", together < CORE_SHARE_MAX)
