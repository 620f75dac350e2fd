"""A bar chart as SVG, written by hand: messages per second of each contender, with the spread of its rounds."""

from dataclasses import dataclass
from xml.sax.saxutils import escape

BAR, GAP, HEADING, TOP, LABELS, PLOT, RIGHT = 18, 6, 30, 46, 250, 480, 110
OURS, PEER, INK = "#1a7f4b", "#8a94a6", "#1c2330"
FONT = "font-family='system-ui, sans-serif'"


@dataclass
class Bar:
    label: str
    low: float
    middle: float
    high: float
    is_ours: bool


def bars(title: str, groups: dict[str, list[Bar]]) -> str:
    """The groups below each other, on one scale."""
    largest = max((bar.high for group in groups.values() for bar in group), default=1)
    height = TOP + sum(HEADING + len(group) * (BAR + GAP) for group in groups.values()) + GAP
    width = LABELS + PLOT + RIGHT
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}' role='img'>",
        f"<title>{escape(title)}</title>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        f"<text x='12' y='28' {FONT} font-size='17' font-weight='600' fill='{INK}'>{escape(title)}</text>",
    ]
    y = TOP
    for name, group in groups.items():
        parts.append(f"<text x='12' y='{y + 18}' {FONT} font-size='13' font-weight='600' "
                     f"fill='{INK}'>{escape(name)}</text>")
        y += HEADING
        for bar in group:
            parts += _bar(bar, y, largest)
            y += BAR + GAP
    return "\n".join([*parts, "</svg>", ""])


def _bar(bar: Bar, y: float, largest: float) -> list[str]:
    def x(value: float) -> float:
        return round(LABELS + PLOT * value / largest, 1)

    middle, text = y + BAR / 2, f"{FONT} font-size='12' fill='{INK}'"
    parts = [
        f"<text x='{LABELS - 8}' y='{middle + 4}' {text} text-anchor='end'>{escape(bar.label)}</text>",
        f"<rect x='{LABELS}' y='{y}' width='{x(bar.middle) - LABELS:.1f}' height='{BAR}' "
        f"fill='{OURS if bar.is_ours else PEER}'/>",
        f"<text x='{x(bar.high) + 8}' y='{middle + 4}' {text}>{bar.middle:,.0f}/s</text>",
    ]
    if bar.high > bar.low:
        parts.append(f"<path d='M{x(bar.low)} {middle}H{x(bar.high)}M{x(bar.low)} {middle - 4}v8M{x(bar.high)} "
                     f"{middle - 4}v8' stroke='{INK}' stroke-width='1.5' fill='none'/>")
    return parts
