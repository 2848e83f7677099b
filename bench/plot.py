"""The results as SVG: for each kind of work a sheet of bar charts, one for each work."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from bench.report import amount
from bench.results import OURS, Results, Spread
from bench.works import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.works import Work

_MEASURES = {
    "cpu": "CPU time of the proxy",
    "machine": "CPU time of the whole machine",
    "p99": "latency, 99th percentile",
    "memory": "memory of the proxy",
}
_UNITS = {"µs": "µs per operation", "ms/GB": "ms per GB", "B": "bytes per connection"}

_WIDE, _COLUMNS = 460, 2
_LABELS, _VALUES, _BAR, _GAP = 110, 70, 15, 5
_TITLE, _CHART_TITLE, _AXIS = 64, 26, 34


@dataclass(frozen=True)
class Chart:
    """Bars, and what they stand for."""

    title: str
    unit: str
    bars: list[tuple[str, Spread]]

    @property
    def height(self) -> int:
        """In pixels."""
        return _CHART_TITLE + len(self.bars) * (_BAR + _GAP) + _AXIS


def sheets(results: Results) -> dict[str, str]:
    """The kind of work → its SVG."""
    found = {}
    for kind, title in KINDS.items():
        charts = [chart for work in results.works if work.kind == kind and (chart := _chart(results, work))]
        if charts:
            about = results.about
            subtitle = f"{about['run']}, {about['date']}; {about['machine']}; Linux {about['kernel']}"
            found[kind] = sheet(title, subtitle, charts)
    return found


def sheet(title: str, subtitle: str, charts: list[Chart]) -> str:
    """Charts under each other, in columns."""
    rows = [charts[start : start + _COLUMNS] for start in range(0, len(charts), _COLUMNS)]
    height = _TITLE + sum(max(chart.height for chart in row) for row in rows) + 24
    width = _WIDE * min(_COLUMNS, len(charts)) if len(charts) > 1 else max(_WIDE, 9 * len(title))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"',
        f' height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(12, 26, title, size=16, weight="bold"),
        _text(12, 44, subtitle, size=11, fill="#666"),
    ]
    top = _TITLE
    for row in rows:
        for column, chart in enumerate(row):
            parts += _drawn(chart, column * _WIDE, top)
        top += max(chart.height for chart in row)
    foot = "Less is better. Bar: median of the rounds; line: least to most."
    return "\n".join([*parts, _text(12, height - 10, foot, size=11, fill="#666"), "</svg>", ""])


def _chart(results: Results, work: Work) -> Chart | None:
    bars = [
        (peer, spread) for peer in results.peers(work.key) if (spread := results.spread(work.key, peer))
    ]
    bars.sort(key=lambda bar: bar[1].median)
    unit = "µs" if work.measures == "p99" else _UNITS[work.unit]
    return Chart(work.name, f"{_MEASURES[work.measures]}, {unit}", bars) if bars else None


def _drawn(chart: Chart, left: int, top: int) -> Iterator[str]:
    start, room = left + _LABELS, _WIDE - _LABELS - _VALUES
    most = max(spread.most for _, spread in chart.bars)
    step = _step(most)
    end = top + _CHART_TITLE + len(chart.bars) * (_BAR + _GAP)
    scale = room / (most or 1)
    yield _text(left + 12, top + 14, chart.title, weight="bold")
    tick = 0.0
    while tick <= most:
        x = start + tick * scale
        yield f'<line x1="{x:.1f}" y1="{top + _CHART_TITLE - 4}" x2="{x:.1f}" y2="{end}" stroke="#ddd"/>'
        yield _text(x, end + 12, f"{tick:,.10g}", size=10, fill="#666", anchor="middle")
        tick += step
    yield _text(start + room / 2, end + 25, chart.unit, size=10, fill="#666", anchor="middle")
    for number, (peer, spread) in enumerate(chart.bars):
        y = top + _CHART_TITLE + number * (_BAR + _GAP)
        middle, colour = y + _BAR / 2, "#d9480f" if peer == OURS else "#8fa8c0"
        weight = "bold" if peer == OURS else "normal"
        yield _text(start - 6, y + 12, peer, anchor="end", weight=weight)
        wide, least, most_x = (scale * value for value in (spread.median, spread.least, spread.most))
        yield f'<rect x="{start}" y="{y}" width="{wide:.1f}" height="{_BAR}" fill="{colour}"/>'
        ends = f'x1="{start + least:.1f}" x2="{start + most_x:.1f}" y1="{middle}" y2="{middle}"'
        yield f'<line {ends} stroke="black"/>'
        yield _text(start + spread.most * scale + 5, y + 12, amount(spread.median), size=11, weight=weight)


def _step(most: float) -> float:
    """A round number that goes into `most` about four times."""
    step = 1e-3
    while True:
        for factor in (1, 2, 2.5, 5):
            if most / (step * factor) <= 5:
                return step * factor
        step *= 10


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int = 12,
    fill: str = "black",
    anchor: str = "start",
    weight: str = "normal",
) -> str:
    style = f'font-size="{size}" fill="{fill}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
