"""Measures the engine and its peers. `bench/run.sh` builds everything first; bench/README.md says what is measured."""

import argparse
import contextlib
import re
import shutil
import signal
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from harness import capacity, contenders, machine, parts, profiles, report
from harness.ground import Folders
from harness.processes import Failed
from harness.scenarios import SCENARIOS, Scenario
from harness.servers import Postgres

CHECKOUT = Path(__file__).resolve().parent.parent
COMPARE = "compare"
PROMISES = "promises"
PROFILE = "profile"
CAPACITY = "capacity"
# In full, and quick.
ROUNDS = (5, 1)
CUSTOMERS = (100_000, 2_500)
PARTS_COUNT = (200_000, 5_000)
# Above it something else is using the machine, and figures are not to be believed.
LOAD_MAX = 0.5


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="just bench", description="Measures the engine and its peers.")
    parser.add_argument("what", nargs="*", default=[COMPARE], metavar="WHAT",
                        help=f"{COMPARE} (the default), {PROFILE} (a flame graph of each service), "
                             f"{CAPACITY} (what a message costs at several rates), {PROMISES} (all that follow), {', '.join(SCENARIOS)}")
    parser.add_argument("--quick", action="store_true", help="one small round, to see that it works")
    parser.add_argument("--rounds", type=int, help=f"rounds of the comparison [default: {ROUNDS[0]}]")
    parser.add_argument("--customers", type=int, help=f"customers of the comparison [default: {CUSTOMERS[0]:,}]")
    parser.add_argument("--only", default="", metavar="REGEX", help="only contenders and parts that match")
    parser.add_argument("--name", default=str(date.today()), help="of the files in bench/results [default: the date]")
    parser.add_argument("--target", type=absolute, default=CHECKOUT / "target", help="cargo's target folder")
    parser.add_argument("--binaries", type=absolute, help="take the programs from here and build nothing")
    given = parser.parse_args()
    for what in given.what:
        if what not in (COMPARE, PROFILE, CAPACITY, PROMISES, *SCENARIOS):
            parser.error(f"found {what}; expected {COMPARE}, {PROFILE}, {CAPACITY}, {PROMISES} or one of {', '.join(SCENARIOS)}")
    return given


def absolute(path: str) -> Path:
    """Programs are started in folders of their own."""
    return Path(path).resolve()


def say(text: str):
    print(text, flush=True)


def compare(given: argparse.Namespace, folders: Folders, postgres: Postgres):
    """Every contender and every part in each round, so that what changes meanwhile meets them all; each round begins
    with another."""
    found = contenders.all_contenders()
    found = [one for one in found if one.is_quick or not given.quick]
    found = [one for one in found if re.search(given.only, str(one))]
    rounds = given.rounds or ROUNDS[given.quick]
    customers = given.customers or CUSTOMERS[given.quick]
    raw = [part for part in parts.all_parts() if re.search(given.only, part.name)]
    facts = report.facts(CHECKOUT, versions(folders), rounds, customers)
    turns = spread(found, raw)
    for number in range(rounds):
        for place in range(len(turns)):
            one = turns[(place + number) % len(turns)]
            if isinstance(one, parts.Part):
                run = parts.measure(one, folders, postgres, PARTS_COUNT[given.quick])
            else:
                run = contenders.measure(one, folders, postgres, customers)
            say(f"round {number + 1}/{rounds}  {one}: {run.per_second:,.0f}/s, "
                f"{run.cpu_s_per_million:,.1f} CPU-seconds per million")
    written = report.write(results(given), given.name, found, raw, facts)
    say(f"\n{written.read_text()}\nwritten to {written}")


def spread(found: list[contenders.Contender], raw: list[parts.Part]) -> list[contenders.Contender | parts.Part]:
    """The parts evenly among the contenders, each list in its order."""
    places = [((place + 0.5) / len(of), one) for of in (found, raw) for place, one in enumerate(of)]
    return [one for _, one in sorted(places, key=lambda placed: placed[0])]


def results(given: argparse.Namespace) -> Path:
    """What a quick run measures is not kept with the results."""
    return given.target / "bench" if given.quick else CHECKOUT / "bench/results"


def versions(folders: Folders) -> dict[str, str]:
    lock = (CHECKOUT / "bench/peers/bullmq/package-lock.json").read_text()

    def pinned(package: str) -> str:
        return re.search(rf'"node_modules/{package}": \{{\s*"version": "([^"]+)"', lock)[1]

    folder = CHECKOUT / "bench/peers/bullmq"
    port = re.search(r'name = "bullmq-official"\nversion = "([^"]+)"',
                     (CHECKOUT / "bench/peers/bullmq-official/Cargo.lock").read_text())[1]
    return {
        "Rust": machine.said_by("rustc", "--version"),
        "Redis": machine.said_by("redis-server", "--version").split("v=")[1].split()[0],
        "Node.js": machine.said_by(str(contenders.node(folder)), "--version"),
        "BullMQ": f"{pinned('bullmq')}, ioredis {pinned('ioredis')}, pg {pinned('pg')}, undici {pinned('undici')}",
        "bullmq-official": port,
    }


def promises(given: argparse.Namespace, scenarios: list[Scenario], folders: Folders, postgres: Postgres) -> bool:
    """Prints each figure and whether its bound is met; true if all are."""
    lines, all_met = [], True
    for scenario in scenarios:
        say(f"{scenario.name}: {scenario.title}")
        for verdict in scenario.run(folders, postgres, given.quick):
            all_met &= verdict.is_met
            line = f"| {scenario.name} | {verdict.what} | {verdict.found} | {verdict.bound} | {verdict.sign} |"
            lines.append(line)
            say(f"  {verdict.sign:8} {verdict.what}: {verdict.found} (bound: {verdict.bound})")
    write(given, "promises", "Promises, measured", [
        "| scenario | what | found | bound | |", "|---|---|---|---|---|", *lines])
    return all_met


def size(given: argparse.Namespace, folders: Folders, postgres: Postgres):
    """What a message costs at several rates."""
    write(given, "capacity", "What a message with three webhooks costs, in CPU-seconds per million",
          capacity.tables(folders, postgres, given.quick, say))


def write(given: argparse.Namespace, what: str, title: str, lines: list[str]):
    folder = results(given)
    folder.mkdir(parents=True, exist_ok=True)
    facts = machine.describe() | {"commit": machine.commit(CHECKOUT)}
    head = [f"# {title}", "", *[f"- **{name}**: {fact}" for name, fact in facts.items()], ""]
    written = folder / f"{given.name}-{what}.md"
    written.write_text("\n".join([*head, *lines, ""]))
    say(f"written to {written}")


def main() -> int:
    given = arguments()
    if machine.load() > LOAD_MAX and not given.quick:
        say(f"warning: the load of this machine is {machine.load():.1f}; figures are only good on an idle one")
    wanted = [name for name in SCENARIOS if name in given.what or PROMISES in given.what]
    with contextlib.ExitStack() as exit_stack:
        data = Path(tempfile.mkdtemp(prefix="campaign-bench-", dir="/var/tmp"))
        # The user that Postgres runs as must be able to enter.
        data.chmod(0o755)
        exit_stack.callback(shutil.rmtree, data, ignore_errors=True)
        logs = given.target / "bench/logs"
        shutil.rmtree(logs, ignore_errors=True)
        logs.mkdir(parents=True)
        folders = Folders(CHECKOUT, given.binaries or given.target / "production", data, logs)
        postgres = Postgres(data, logs)
        began = time.monotonic()
        if COMPARE in given.what:
            compare(given, folders, postgres)
        if PROFILE in given.what:
            drawn = profiles.draw(folders, postgres, given.target / "tools/bin", results(given), given.name, given.quick)
            write(given, "profile", "Samples of each service by kind, in percent", drawn)
        if CAPACITY in given.what:
            size(given, folders, postgres)
        all_met = promises(given, [SCENARIOS[name] for name in wanted], folders, postgres) if wanted else True
        say(f"took {(time.monotonic() - began) / 60:.1f} minutes")
    return 0 if all_met else 1


if __name__ == "__main__":
    # Ends as at Ctrl-C: everything that was started is stopped, and the data are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        sys.exit(main())
    except Failed as failed:
        print(f"error: {failed}", file=sys.stderr)
        sys.exit(2)
