"""Sorts a profile's samples by what kind of work the function does that was on top of the stack."""

import re
from collections import Counter

# The first that fits. Functions as perf names them; those of the kernel end in `_[k]`.
KINDS = [
    ("kernel: network", r"(tcp|inet|sock|skb|net|ip_|nf_|recvmsg|sendmsg|copy_(from|to)_iter|csum|loopback|dev_|napi|fib_|"
                        r"ipv4|simple_copy).*_\[k\]$"),
    ("kernel: scheduling, waking", r"(schedule|switch|futex|wake|rq_|ttwu|epoll|ep_|queue|pick_|update_|eventfd|hrtimer|irq|"
                                   r"raw_spin).*_\[k\]$"),
    ("kernel: other", r"_\[k\]$"),
    ("memory: allocating, freeing", r"^_?mi_|malloc|\bfree\b|calloc|realloc|alloc::alloc|raw_vec|drop_in_place|::drop"),
    ("copying and comparing bytes", r"mem(move|cpy|cmp|set|chr)"),
    ("Redis client", r"combine::|redis::"),
    ("Postgres client", r"sqlx|postgres"),
    ("JSON", r"serde|zmij|itoa|ryu|json"),
    ("HTTP", r"hyper|reqwest|http::|httparse|h1::|tower|axum|url::|percent|mime|rustls"),
    ("metrics, tracing", r"metrics|quanta|tracing|opentelemetry"),
    ("own code", r"campaign_|message_svc|sender_svc|scheduler_svc|whatsapp_|erp_api|fastbloom"),
    ("tokio", r"tokio|futures|mpsc|waker|catch_unwind"),
]
REST = "everything else"


def of(function: str) -> str:
    return next((kind for kind, pattern in KINDS if re.search(pattern, function)), REST)


def shares(folded: str) -> dict[str, float]:
    """Percent of the samples of each kind; `folded` has a stack a line, the top last, and how often it was met."""
    counts: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[of(stack.rpartition(";")[2])] += int(count)
    total = max(counts.total(), 1)
    return {kind: counts[kind] / total * 100 for kind in [*(kind for kind, _ in KINDS), REST]}


def table(by_service: dict[str, dict[str, float]]) -> list[str]:
    """Markdown: a column for each service."""
    lines = ["| | " + " | ".join(by_service) + " |", "|---" * (len(by_service) + 1) + "|"]
    for kind in [*(kind for kind, _ in KINDS), REST]:
        cells = " | ".join(f"{share[kind]:.0f}" for share in by_service.values())
        lines.append(f"| {kind} | {cells} |")
    return lines
