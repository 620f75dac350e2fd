"""The result as Markdown, as numbers (JSON) and as a picture."""

import json
from dataclasses import asdict
from pathlib import Path

from . import machine, settings
from .contenders import (
    BULLMQ_CONCURRENCY, BULLMQ_OFFICIAL_CONCURRENCY, ENGINE_CONCURRENCY, HTTP, NOTHING_STORED, ROW, SIMULATED, WEBHOOKS,
    Contender, Run,
)
from .figures import median, megabytes, thousands, with_spread
from .parts import Part, all_parts, costs_together
from .plot import Bar, bars
from .servers import POSTGRES_SETTINGS, REDIS_SETTINGS


def write(folder: Path, name: str, contenders: list[Contender], parts: list[Part], facts: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    picture = folder / f"{name}.svg"
    picture.write_text(bars("Messages per second", _groups_as_bars(contenders)))
    (folder / f"{name}.json").write_text(json.dumps(_numbers(contenders, parts, facts), indent=1) + "\n")
    text = [f"# Benchmark of {name}", "", f"![Messages per second]({picture.name})", "", *_facts(facts), ""]
    for work, group in _groups(contenders).items():
        text += [f"## {work[0].upper()}{work[1:]}", "", *_table(group, contenders), ""]
    if any(contender.runs for contender in contenders):
        text += ["## Every process", "", *_processes(contenders), ""]
    if parts:
        text += ["## The raw parts, each alone", "", *_parts(parts), ""]
    if len(parts) == len(all_parts()):
        text += ["## The ceiling", "", *_ceilings(contenders, parts), "", *_beyond(contenders, parts), ""]
    written = folder / f"{name}.md"
    written.write_text("\n".join(text))
    return written


def _groups(contenders: list[Contender]) -> dict[str, list[Contender]]:
    groups: dict[str, list[Contender]] = {}
    for contender in contenders:
        if contender.runs:
            groups.setdefault(contender.work, []).append(contender)
    return groups


def _groups_as_bars(contenders: list[Contender]) -> dict[str, list[Bar]]:
    def bar(contender: Contender) -> Bar:
        rates = [run.per_second for run in contender.runs]
        return Bar(contender.name, min(rates), median(rates), max(rates), contender.is_ours)

    return {work: [bar(contender) for contender in group] for work, group in _groups(contenders).items()}


def _facts(facts: dict[str, str]) -> list[str]:
    return [f"- **{name}**: {fact}" for name, fact in facts.items()]


def facts(checkout: Path, versions: dict[str, str], rounds: int, customers: int) -> dict[str, str]:
    return machine.describe() | {"commit": machine.commit(checkout)} | versions | {
        "Redis, the same for all": " ".join(REDIS_SETTINGS).replace("--save  ", "--save '' "),
        "Postgres, the same for all": ", ".join(POSTGRES_SETTINGS) + ", everything else as it comes",
        "customers": f"{customers:,} of erp-mock-svc, `{settings.ERP_QUERY}`, {settings.PAGE_SIZE:,} in a page",
        "rounds": f"{rounds}, interleaved; each run on a fresh Redis, a fresh database and fresh processes",
        "number": f"{settings.UNLIMITED_PER_SECOND:,} messages/s, so that no limit is what is measured",
        "threads": f"{settings.WORKER_THREADS} of each service of the engine and of bullmq-official; BullMQ has one by itself",
        "at a time": f"engine {_by_send(ENGINE_CONCURRENCY)} a message-svc; BullMQ {_by_send(BULLMQ_CONCURRENCY)} a worker; "
                     f"bullmq-official {_by_send(BULLMQ_OFFICIAL_CONCURRENCY)}; peers post over "
                     f"{settings.HTTP_CONNECTIONS} connections",
        "load before the first run": f"{machine.load():.2f}",
    }


def _by_send(concurrency: dict[str, int]) -> str:
    return f"{concurrency['simulate']} (simulated) and {concurrency['http']} (HTTP)"


def _rate(contender: Contender) -> float:
    return median([run.per_second for run in contender.runs])


def _best_peer(work: str, contenders: list[Contender]) -> Contender | None:
    """The fastest peer that does this work."""
    peers = [other for other in contenders if other.runs and not other.is_ours and other.work == work]
    return max(peers, key=_rate, default=None)


def _table(group: list[Contender], contenders: list[Contender]) -> list[str]:
    # No peer takes webhooks: there the engine is compared with peers that only send.
    work = group[0].work.replace(WEBHOOKS, HTTP)
    against = [_best_peer(work, contenders)]
    title = "to the best peer" if work == group[0].work else "to the best peer without webhooks"
    lines = [f"| | messages/s | {title} | to the best that stores nothing | CPU-seconds per million "
             "| without the mocks | Redis's peak |", "|---|---|---|---|---|---|---|"]
    against.append(_best_peer(work.replace(ROW, NOTHING_STORED), contenders))
    for contender in group:
        ratios = [f"{_rate(contender) / _rate(best):.2f}" if best else "–" for best in against]
        costs = [run.cpu_s_per_million for run in contender.runs]
        own = [sum(cpu for name, cpu in run.cost.cpu_s.items() if "mock" not in name) / run.messages * 1e6
               for run in contender.runs]
        peak = max(run.redis_peak_bytes for run in contender.runs)
        name = f"**{contender.name}**" if contender.is_ours else contender.name
        lines.append(f"| {name} | {with_spread([run.per_second for run in contender.runs])} | {' | '.join(ratios)} "
                     f"| {with_spread(costs)} | {with_spread(own)} | {megabytes(peak)} |")
    return lines


def _processes(contenders: list[Contender]) -> list[str]:
    lines = ["CPU-seconds per million messages and the highest peak of resident memory (VmHWM); of Postgres the "
             "largest of its processes, shared buffers included.", "",
             "| contender | work | process | CPU-seconds per million | peak memory |", "|---|---|---|---|---|"]
    for contender in contenders:
        for name in contender.runs[0].cost.cpu_s if contender.runs else ():
            cpu = median([run.cost.cpu_s[name] / run.messages * 1e6 for run in contender.runs])
            peak = max(run.cost.peak_bytes[name] for run in contender.runs)
            lines.append(f"| {contender.name} | {contender.work} | {name} | {thousands(cpu)} | {megabytes(peak)} |")
    return lines


def _parts(parts: list[Part]) -> list[str]:
    lines = ["| part | operations/s | CPU-seconds per million, servers included |", "|---|---|---|"]
    for part in parts:
        lines.append(f"| {part.title} | {with_spread([run.per_second for run in part.runs])} "
                     f"| {with_spread([run.cpu_s_per_million for run in part.runs])} |")
    return lines


def _ceilings(contenders: list[Contender], parts: list[Part]) -> list[str]:
    cores = machine.cores()
    lines = [f"What the parts that a message needs cost together, and the messages/s of {cores} cores that do nothing else: "
             "the most there could be. The share is of the ceiling of the same round.", "",
             "| | CPU-seconds per million | ceiling, messages/s | reached |", "|---|---|---|---|"]
    for contender in contenders:
        if not (contender.is_ours and contender.runs and contender.work in (SIMULATED + ROW, HTTP + ROW)):
            continue
        costs = costs_together(parts, http=contender.work == HTTP + ROW)
        rates = [cores / cost * 1e6 for cost in costs]
        shares = [run.per_second / rate * 100 for run, rate in zip(contender.runs, rates, strict=True)]
        lines.append(f"| {contender} | {with_spread(costs)} | {with_spread(rates)} | {with_spread(shares)}% |")
    return lines


# The processes of a run of the engine, and what they are called where a part is measured alone.
SPENT_BY = {
    "Redis": (("redis",), ("redis",)),
    "Postgres": (("postgres",), ("postgres",)),
    "the services, alone the client": (("scheduler-svc", "sender-svc", "message-svc"), ("part",)),
    "WhatsApp's mock": (("whatsapp-mock-svc",), ("whatsapp-mock-svc",)),
    "the ERP's mock": (("erp-mock-svc",), ()),
}


def _beyond(contenders: list[Contender], parts: list[Part]) -> list[str]:
    """By process: what the parts cost, and what a message costs beyond them."""
    shown = [contender for contender in contenders
             if contender.runs and contender.name == "campaign engine, 1 message-svc" and contender.work != WEBHOOKS + ROW]
    lines = ["CPU-seconds per million in the parts, and beyond them.", "",
             "| | " + " | ".join(f"{contender.work}: in the parts | beyond" for contender in shown) + " |",
             "|---" * (2 * len(shown) + 1) + "|"]
    for name, (of_engine, of_part) in SPENT_BY.items():
        cells = []
        for contender in shown:
            needed = [part for part in parts if part.is_needed and (contender.work == HTTP + ROW or not part.is_http)]
            alone = sum(median([_spent(run, of_part) for run in part.runs]) for part in needed)
            whole = median([_spent(run, of_engine) for run in contender.runs])
            cells += [f"{alone:.1f}", f"{whole - alone:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _spent(run: Run, processes: tuple[str, ...]) -> float:
    return sum(run.cost.cpu_s.get(name, 0.0) for name in processes) / run.messages * 1e6


def _numbers(contenders: list[Contender], parts: list[Part], facts: dict[str, str]) -> dict:
    return {
        "facts": facts,
        "contenders": [{"name": contender.name, "work": contender.work, "runs": [asdict(run) for run in contender.runs]}
                       for contender in contenders if contender.runs],
        "parts": [{"name": part.name, "runs": [asdict(run) for run in part.runs]} for part in parts],
    }
