"""What a message costs at several rates: the figures from which an installation is sized."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from . import settings
from .accounting import Cost, Meter
from .contenders import ENGINE_CONCURRENCY, RUN_WITHIN_S
from .engine import Engine
from .figures import thousands
from .ground import Folders, Ground
from .servers import Postgres

# Of the processes that an installation runs; the mocks are somebody else's.
SIZED = ("redis", "postgres", "sender-svc", "message-svc", "scheduler-svc")
# Seldom, so that what is measured is not the asking.
POLL_EVERY_S = 1.0


@dataclass
class Load:
    title: str
    numbers: int
    # Of each number; none is as fast as it goes.
    per_second: int | None
    # Of the ERP; each number has a campaign to all of them.
    customers: int
    quick_customers: int


LOADS = [
    Load("80/s, one number", 1, 80, 1_600, 160),
    Load("1,000/s, one number", 1, 1_000, 20_000, 2_000),
    Load("20 numbers of 80/s", 20, 80, 1_600, 160),
    Load("full speed, one number", 1, None, 200_000, 5_000),
]


@dataclass
class Measured:
    load: Load
    messages: int
    seconds: float
    cost: Cost
    # For each message.
    bytes: dict[str, float]

    def cpu_s_per_million(self, process: str) -> float:
        return self.cost.cpu_s[process] / self.messages * 1e6


def tables(folders: Folders, postgres: Postgres, quick: bool, say: Callable[[str], None]) -> list[str]:
    """Markdown: CPU of each process at each load, and what a message needs of disk and network at full speed."""
    measured = []
    for load in LOADS:
        found = _measure(folders, postgres, load, quick)
        say(f"{load.title}: {found.messages / found.seconds:,.0f}/s")
        measured.append(found)
    lines = ["| | " + " | ".join(found.load.title for found in measured) + " |", "|---" * (len(measured) + 1) + "|"]
    lines.append(_row("messages/s", [f"{found.messages / found.seconds:,.0f}" for found in measured]))
    for process in SIZED:
        lines.append(_row(f"`{process}`", [thousands(found.cpu_s_per_million(process)) for found in measured]))
    totals = [sum(found.cpu_s_per_million(process) for process in SIZED) for found in measured]
    lines.append(_row("**all of these**", [
        f"{total:,.0f}: {total * found.messages / found.seconds / 1e6:.2f} cores"
        for total, found in zip(totals, measured, strict=True)
    ]))
    fastest = measured[-1]
    lines += ["", "| one core, busy with nothing else, at full speed | messages/s |", "|---|---|"]
    lines += [f"| `{process}` | {1e6 / cost:,.0f} |" for process in SIZED if (cost := fastest.cpu_s_per_million(process))]
    lines += ["", "| bytes for each message, at full speed | |", "|---|---|"]
    return lines + [f"| {what} | {count:,.0f} |" for what, count in fastest.bytes.items()]


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def _measure(folders: Folders, postgres: Postgres, load: Load, quick: bool) -> Measured:
    with Ground(folders, postgres, load.quick_customers if quick else load.customers) as ground:
        engine = Engine(ground, environment={"CONCURRENCY": str(ENGINE_CONCURRENCY["http"])})
        ground.whatsapp.send_webhooks(engine.messengers[0].url)
        lanes = engine.numbers(load.numbers, load.per_second or settings.UNLIMITED_PER_SECOND)
        campaigns = [engine.create(phone_number_id=lane) for lane in lanes]
        before, meter, began = _bytes(ground), Meter(ground.roots()), time.monotonic()
        for campaign in campaigns:
            engine.schedule(campaign)
        messages = 0
        for campaign in campaigns:
            progress = engine.wait_settled(campaign, RUN_WITHIN_S, read=True, poll_every_s=POLL_EVERY_S)
            messages += progress["by_state"]["read"]
        seconds, cost, after = time.monotonic() - began, meter.stop(), _bytes(ground)
    return Measured(load, messages, seconds, cost, {what: (after[what] - before[what]) / messages for what in after})


def _bytes(ground: Ground) -> dict[str, int]:
    # The figures that others' sessions gathered arrive at the latest a second after.
    time.sleep(1.5)

    def asked(query: str) -> int:
        return int(ground.postgres.run(query, database="bench"))

    of_messages = "FROM pg_partition_tree('messages') WHERE isleaf"
    return {
        "Redis receives": int(ground.redis.info("total_net_input_bytes")),
        "Redis sends": int(ground.redis.info("total_net_output_bytes")),
        "Postgres's log": asked("SELECT pg_current_wal_lsn() - '0/0'"),
        "rows of the ledger": asked(f"SELECT sum(pg_table_size(relid)) {of_messages}"),
        "its indexes": asked(f"SELECT sum(pg_indexes_size(relid)) {of_messages}"),
    }
