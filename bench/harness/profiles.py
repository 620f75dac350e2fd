"""Where each service spends its time, sampled at full speed with three webhooks a message: a flame graph of each, and
the samples by kind."""

import signal
import subprocess
from pathlib import Path

from . import kinds
from .contenders import RUN_WITHIN_S
from .engine import Engine
from .ground import Folders, Ground
from .processes import Failed
from .servers import Postgres

SERVICES = ("sender-svc", "message-svc", "scheduler-svc")
CUSTOMERS, QUICK_CUSTOMERS = 100_000, 5_000
SAMPLES_PER_SECOND = 499
# What is copied of a stack for each sample; deeper ones are cut off.
STACK_BYTES = 16_384
STOPS_WITHIN_S = 60
# Frames narrower than this, in percent, are left out of the picture.
NARROWEST_PERCENT = 0.4


def draw(folders: Folders, postgres: Postgres, tools: Path, folder: Path, name: str, quick: bool) -> list[str]:
    """Writes `<name>-flame-<service>.svg` for each service, and returns the samples by kind as Markdown. `tools` has
    inferno's programs; perf is on the PATH."""
    recorded = folders.data / "perf.data"
    with Ground(folders, postgres, QUICK_CUSTOMERS if quick else CUSTOMERS) as ground:
        engine = Engine(ground)
        ground.whatsapp.send_webhooks(engine.messengers[0].url)
        campaign = engine.create()
        pids = {service: ground.roots()[service] for service in SERVICES}
        with subprocess.Popen([
            "perf", "record", "--quiet", "--event", "cpu-clock", "--freq", str(SAMPLES_PER_SECOND),
            "--call-graph", f"dwarf,{STACK_BYTES}", "--pid", ",".join(map(str, pids.values())), "--output", str(recorded),
        ]) as perf:
            try:
                engine.schedule(campaign)
                engine.wait_settled(campaign, RUN_WITHIN_S, read=True)
            finally:
                perf.send_signal(signal.SIGINT)
                perf.wait(STOPS_WITHIN_S)
    folder.mkdir(parents=True, exist_ok=True)
    by_service = {}
    for service, pid in pids.items():
        stacks = said(["perf", "script", "--no-inline", "--input", str(recorded), "--pid", str(pid)], b"")
        folded = said([str(tools / "inferno-collapse-perf"), "--kernel"], stacks)
        drawn = [str(tools / "inferno-flamegraph"), "--title", service, "--minwidth", str(NARROWEST_PERCENT)]
        (folder / f"{name}-flame-{service}.svg").write_bytes(said(drawn, folded))
        by_service[service] = kinds.shares(folded.decode(errors="replace"))
    return kinds.table(by_service)


def said(command: list[str], given: bytes) -> bytes:
    done = subprocess.run(command, input=given, capture_output=True)
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
