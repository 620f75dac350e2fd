"""Who is compared, and one run of each: from "go" until the last message is dealt with."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from . import settings
from .accounting import Cost, Meter
from .engine import Engine
from .ground import Folders, Ground
from .processes import Failed, Process
from .servers import Postgres

READY_WITHIN_S = 60
# Of one run; whoever sends fewer than some hundred a second fails.
RUN_WITHIN_S = 600
POLL_EVERY_S = 0.005
# Some of the ERP's numbers are wrong on purpose. Peers send to them all the same, and the refusal counts as done.
ACCEPTED_SHARE_MIN = 0.9
# At a time, by how it is sent, on a machine of two cores. Messages of a message-svc: what was best of 128, 256, 512 and
# 1,024, which is the default and made for answers that take a while. Jobs of a peer's worker: what was best of 50, 150,
# 500 and 1,500.
ENGINE_CONCURRENCY = {"simulate": 1024, "http": 128}
BULLMQ_CONCURRENCY = {"simulate": 150, "http": 150}
BULLMQ_OFFICIAL_CONCURRENCY = {"simulate": 500, "http": 150}


@dataclass
class Run:
    """What one run came to."""

    messages: int
    seconds: float
    cost: Cost
    redis_peak_bytes: int

    @property
    def per_second(self) -> float:
        return self.messages / self.seconds

    @property
    def cpu_s_per_million(self) -> float:
        return self.cost.total_cpu_s() / self.messages * 1e6


@dataclass
class Contender:
    name: str
    # What is done for each message; only contenders of the same work are compared.
    work: str
    is_ours: bool
    run: Callable[[Ground], Run]
    # In the quick mode, too.
    is_quick: bool = True
    runs: list[Run] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.name}: {self.work}"


def measure(contender: Contender, folders: Folders, postgres: Postgres, customers: int) -> Run:
    with Ground(folders, postgres, customers) as ground:
        run = contender.run(ground)
    contender.runs.append(run)
    return run


def ours(messengers: int, send: str, *, webhooks: bool) -> Callable[[Ground], Run]:
    transport = "cloud-api" if send == "http" else send

    def run(ground: Ground) -> Run:
        environment = {"CONCURRENCY": str(ENGINE_CONCURRENCY[send])}
        engine = Engine(ground, messengers=messengers, transport=transport, environment=environment)
        if webhooks:
            ground.whatsapp.send_webhooks(engine.messengers[0].url)
        campaign = engine.create()
        meter, began = Meter(ground.roots()), time.monotonic()
        engine.schedule(campaign)
        progress = engine.wait_settled(campaign, RUN_WITHIN_S, read=webhooks)
        seconds, cost = time.monotonic() - began, meter.stop()
        sent = progress["by_state"]["read" if webhooks else "accepted"]
        if send == "http":
            require_each_once(ground, sent, campaign)
        return Run(sent, seconds, cost, ground.redis.peak_bytes())

    return run


def require_each_once(ground: Ground, sent: int, campaign: str):
    log = ground.whatsapp.acceptances(campaign)
    if log["accepted"] != sent or log["max_per_recipient"] > 1:
        raise Failed(f"{sent} messages are accepted in the ledger, but the mock says {json.dumps(log)[:400]}")


def bullmq(send: str, *, row: bool, workers: int) -> Callable[[Ground], Run]:
    """With no workers beside it, one process enqueues and works."""

    def run(ground: Ground) -> Run:
        folder = ground.folders.checkout / "bench/peers/bullmq"
        command = [str(node(folder)), str(folder / "pipeline.mjs")]
        environment = peer_environment(ground, send, row=row, concurrency=BULLMQ_CONCURRENCY[send])

        def start(name: str, role: str) -> Process:
            return ground.start(name, command, environment | {"ROLE": role}, talks=True)

        if workers == 0:
            processes = [start("bullmq", "both")]
        else:
            processes = [start("bullmq-producer", "produce")]
            processes += [start(f"bullmq-worker-{number + 1}", "work") for number in range(workers)]
        return run_peer(ground, processes, send, row=row)

    return run


def bullmq_official(send: str, *, row: bool) -> Callable[[Ground], Run]:
    def run(ground: Ground) -> Run:
        environment = peer_environment(ground, send, row=row, concurrency=BULLMQ_OFFICIAL_CONCURRENCY[send])
        environment["TOKIO_WORKER_THREADS"] = str(settings.WORKER_THREADS)
        process = ground.start("bullmq-official", [ground.binary("bench-bullmq-official")], environment, talks=True)
        return run_peer(ground, [process], send, row=row)

    return run


def node(folder):
    """The Node.js that package-lock.json pins, whatever the machine has."""
    found = list(folder.glob("node_modules/node-linux-*/bin/node"))
    if not found:
        raise Failed(f"there is no Node.js in {folder}/node_modules: run npm ci there")
    return found[0]


def peer_environment(ground: Ground, send: str, *, row: bool, concurrency: int) -> dict[str, str]:
    environment = ground.outside() | {
        "REDIS_PORT": str(ground.redis.port),
        "SEND": send,
        "CONCURRENCY": str(concurrency),
        "HTTP_CONNECTIONS": str(settings.HTTP_CONNECTIONS),
        "PHONE_NUMBER_ID": settings.PHONE_NUMBER_ID,
        "ERP_QUERY": settings.ERP_QUERY,
        "NODE_ENV": "production",
    }
    if row:
        table = ground.folders.checkout / "bench/peers/table.sql"
        ground.postgres.run(table.read_text(), database="bench")
        environment["DATABASE_URL"] = ground.postgres.url
    return environment


def run_peer(ground: Ground, processes: list[Process], send: str, *, row: bool) -> Run:
    for process in processes:
        if (said := process.hear(READY_WITHIN_S)) != "ready":
            raise Failed(f"{process.name} said {said!r} instead of being ready")
    meter, began = Meter(ground.roots()), time.monotonic()
    for process in processes:
        process.say("go")
    produced, done = None, {}
    while produced is None or sum(done.values()) < produced:
        if time.monotonic() - began > RUN_WITHIN_S:
            raise Failed(f"{processes[0].name}: {done} of {produced} after {RUN_WITHIN_S} s")
        for process in processes:
            for line in process.heard():
                word, number = line.split()
                if word == "produced":
                    produced = int(number)
                else:
                    done[process.name] = int(number)
        time.sleep(POLL_EVERY_S)
    seconds, cost = time.monotonic() - began, meter.stop()
    if row:
        open_rows = ground.postgres.run("SELECT count(*) FROM peer_messages WHERE state = 'pending'", database="bench")
        if open_rows != "0":
            raise Failed(f"{open_rows} rows of {processes[0].name} were never updated")
    if send == "http":
        accepted = ground.whatsapp.acceptances()["accepted"]
        if not produced * ACCEPTED_SHARE_MIN <= accepted <= produced:
            raise Failed(f"{processes[0].name} dealt with {produced} messages, but the mock accepted {accepted}")
    return Run(produced, seconds, cost, ground.redis.peak_bytes())


SIMULATED, HTTP, WEBHOOKS = "simulated send", "HTTP to the mock", "HTTP, and three webhooks back"
ROW, NOTHING_STORED = ", a Postgres row each", ", nothing stored"


def all_contenders() -> list[Contender]:
    found = []
    for number in (1, 2, 4):
        of = f"campaign engine, {number} message-svc"
        quick = number < 4
        found += [
            Contender(of, SIMULATED + ROW, True, ours(number, "simulate", webhooks=False), quick),
            Contender(of, HTTP + ROW, True, ours(number, "http", webhooks=False), quick),
            Contender(of, WEBHOOKS + ROW, True, ours(number, "http", webhooks=True), quick),
        ]
    for send, work in (("simulate", SIMULATED), ("http", HTTP)):
        for row in (False, True):
            kind = work + (ROW if row else NOTHING_STORED)
            for workers in (0, 1, 2, 3):
                processes = "1 process" if workers == 0 else f"producer and {workers} worker{'s' * (workers > 1)}"
                found.append(Contender(f"BullMQ, {processes}", kind, False, bullmq(send, row=row, workers=workers),
                                       workers in (0, 2)))
            found.append(Contender("bullmq-official", kind, False, bullmq_official(send, row=row)))
    return found
