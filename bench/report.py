"""Tables of what was measured."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from bench.works import Sample, Work

OURS = "spyhole"


def table(works: Iterable[Work], samples: Sequence[Sample]) -> str:
    """A Markdown table: medians with their spread, and ours : each of the others.

    A ratio is the median of the rounds' ratios: what disturbs a round disturbs both of its sides alike.
    """
    peers = list(dict.fromkeys(sample.peer for sample in samples))
    others = [peer for peer in peers if peer != OURS] if OURS in peers else []
    heads = [*peers, *(f"{OURS} : {peer}" for peer in others)] + ([f"{OURS} : the best"] if others else [])
    lines = ["| work | | " + " | ".join(heads) + " |", "|---|---|" + "---:|" * len(heads)]
    for work in works:
        by_peer: dict[str, dict[int, float]] = defaultdict(dict)
        for sample in samples:
            if sample.work == work.name:
                by_peer[sample.peer][sample.round] = sample.figure
        if not by_peer:
            continue
        cells = [_spread(by_peer[peer].values()) for peer in peers]
        cells += [_ratio(by_peer[OURS], by_peer[peer]) for peer in others]
        if others:
            best = min(others, key=lambda peer: median(by_peer[peer].values()))
            cells.append(f"**{_ratio(by_peer[OURS], by_peer[best])}**")
        lines.append(f"| {work.name} | {work.unit} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def rates(works: Iterable[Work], samples: Sequence[Sample]) -> str:
    """A second table: throughput, latency, and what the load generator itself used."""
    lines = [
        "| work | proxy | rate | p50 µs | p99 µs | p99.9 µs | proxy's core | load's CPU |",
        "|---|---|" + "---:|" * 6,
    ]
    for work in works:
        if work.mode == "idle":
            continue
        for peer in dict.fromkeys(sample.peer for sample in samples):
            rows = [sample for sample in samples if sample.work == work.name and sample.peer == peer]
            if not rows:
                continue
            rate = median(row.rate for row in rows)
            shown = f"{rate / 1e9:.2f} GB/s" if work.unit == "ms/GB" else f"{rate:,.0f}/s"
            waits = [
                f"{median(row.load[key] for row in rows):.0f}" for key in ("p50_us", "p99_us", "p999_us")
            ]
            if work.unit == "ms/GB":
                waits = ["", "", ""]
            used = median(row.cpu.total / row.load["seconds"] for row in rows)
            load = median(
                (row.load["cpu_user"] + row.load["cpu_system"]) / row.load["seconds"] for row in rows
            )
            lines.append(
                f"| {work.name} | {peer} | {shown} | {' | '.join(waits)} | {used:.0%} | {load:.0%} |"
            )
    return "\n".join([*lines, ""])


def _spread(figures: Iterable[float]) -> str:
    found = sorted(figures)
    if not found:
        return "–"
    return f"{_short(median(found))} ({_short(found[0])}–{_short(found[-1])})"


def _ratio(ours: dict[int, float], theirs: dict[int, float]) -> str:
    ratios = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
    return f"{median(ratios):.2f}" if ratios else "–"


def _short(figure: float) -> str:
    return f"{figure:.1f}" if figure < 100 else f"{figure:,.0f}"
