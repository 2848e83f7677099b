"""The results as a page of Markdown tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.results import OURS, Results, Spread
from bench.targets import TARGETS, Target
from bench.works import KINDS, NETWORKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.works import Work

_NAMED = ("haproxy", "nginx")
"""Peers whose ratio is shown beside that of the best."""
_AHEAD = 0.7
"""The load generator is well ahead of a proxy if it needs at most so much of its CPU time."""
_REACHED, _MISSED = "yes", "**no**"


def page(results: Results) -> str:
    """All of it."""
    parts = [_head(results), _targets(results)]
    for kind, title in KINDS.items():
        works = [work for work in results.works if work.kind == kind]
        if works:
            parts += [f"## {title}\n", _figures(results, works), *_more(results, kind, works)]
    parts += [_network(results), _load(results), _left_out(results), _notes(results)]
    return "\n".join(part for part in parts if part)


def amount(figure: float) -> str:
    """Three digits or so."""
    return f"{figure:.1f}" if abs(figure) < 100 else f"{figure:,.0f}"


def _head(results: Results) -> str:
    about = results.about
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    rounds = f"{about['rounds']} rounds" if about["rounds"] > 1 else "1 round"
    return f"""\
# Benchmark: {about["run"]}, {about["date"]}

- machine: {about["machine"]}; Linux {about["kernel"]}
- versions: {versions}; Spyhole runs on {about["python"]}
- {rounds}; in each, every work is done in slices, in which the proxies take turns

Less is better, except of throughput. A cell is the median of the rounds, ± half of the way from the least
to the most. A ratio is the median of the rounds' ratios: below 1, Spyhole is the better one.
`bench/README.md` says what the works are and how they are measured.
"""


def _targets(results: Results) -> str:
    found = [(target, work) for target in TARGETS if (work := results.work(target.work))]
    if not found:
        return ""
    rows = [_target(results, target, work) for target, work in found]
    reached, missed = (sum(row[-1] == verdict for row in rows) for verdict in (_REACHED, _MISSED))
    heads = ["work", "measured", "Spyhole", "against", "ratio (least–most)", "at most", "reached"]
    turned = "Of throughput the ratio is theirs : ours, so that less is better here too."
    title = f"## The figures to reach: {reached} reached, {missed} not"
    return f"{title}\n\n{turned}\n\n{_table(heads, rows, left=2)}"


def _target(results: Results, target: Target, work: Work) -> list[str]:
    found, base = target.found(results), results.work(target.base)
    whose = base.name if base else target.other(results)
    verdict = "not measured"
    if found:
        verdict = _REACHED if target.is_met(found) else _MISSED
    return [
        f"{target.group}: {work.name}",
        _measured(work, target.what),
        _value(target.ours(results), target.what),
        f"{_value(target.theirs(results), target.what)} {whose}" if target.to else "–",
        _ratio(found, wide=True) if target.to else "–",
        f"{target.most:.2f}" if target.to else amount(target.most),
        verdict,
    ]


def _measured(work: Work, what: str) -> str:
    if what == "rate":
        return "throughput, GB/s" if work.unit == "ms/GB" else "throughput, 1/s"
    if what != "figure":
        return f"{what.partition('_')[0]}, µs"
    names = {"cpu": "CPU time", "machine": "machine's CPU time", "p99": "p99", "memory": "memory"}
    return f"{names[work.measures]}, {work.unit}"


def _value(found: Spread | None, what: str) -> str:
    if not found:
        return "–"
    return f"{found.median / 1e9:.2f}" if what == "rate" else amount(found.median)


def _figures(results: Results, works: Sequence[Work]) -> str:
    """CPU time of an operation, or whatever the works measure: ours, our ratios, and the others'."""
    peers = results.peers(*(work.key for work in works))
    others = [peer for peer in peers if peer != OURS]
    named = [peer for peer in _NAMED if peer in others]
    heads = ["", *others]
    if OURS in peers:
        heads[1:1] = [OURS, "ours : the best", *(f"ours : {peer}" for peer in named)]
    rows = []
    for work in works:
        row = [f"{work.name}, {_unit(work)}"]
        if OURS in peers:
            best = results.best(work.key)
            ratio = f"**{_ratio(results.ratio(work.key, OURS, best))}** {best}" if best else "–"
            row += [_cell(results.spread(work.key, OURS)), ratio]
            row += [_ratio(results.ratio(work.key, OURS, peer)) for peer in named]
        rows.append(row + [_cell(results.spread(work.key, peer)) for peer in others])
    return _table(heads, rows)


def _more(results: Results, kind: str, works: Sequence[Work]) -> Iterator[str]:
    """What else there is to say of a kind of work."""
    timed = [work for work in works if work.mode != "idle"]
    if kind in ("setup", "rr", "bulk", "tls", "machine", "workers", "network"):
        yield _by_peer(results, timed, "throughput", lambda work, peer: _rate(results, work, peer))
    if kind in ("rr", "fair"):
        yield _by_peer(
            results, timed, "p50 / p99 / p99.9, µs", lambda work, peer: _latency(results, work, peer)
        )
    if kind == "fair":
        yield _by_peer(results, timed, "bulk beside it", lambda work, peer: _beside(results, work, peer))
    if kind == "machine":
        yield _by_peer(
            results,
            timed,
            "of it the proxy's own",
            lambda work, peer: _cell(results.spread(work.key, peer, "cpu")),
        )
    if kind == "growth":
        yield _growth(results)


def _by_peer(results: Results, works: Sequence[Work], title: str, cell: Callable[[Work, str], str]) -> str:
    peers = results.peers(*(work.key for work in works))
    return _table([title, *peers], [[work.name, *(cell(work, peer) for peer in peers)] for work in works])


def _growth(results: Results) -> str:
    pairs = [
        ("routes-1000", "routes-1", "1,000 routes : 1"),
        ("routes-10000", "routes-1", "10,000 routes : 1"),
        ("held-8000", "held-0", "beside 8,000 idle : none"),
        ("setup-log", "routes-1", "access log on : off"),
    ]
    peers = results.peers(*(work for work, _, _ in pairs))
    rows = [
        [name, *(_ratio(results.growth(work, base, peer)) for peer in peers)]
        for work, base, name in pairs
        if results.work(work) and results.work(base)
    ]
    return _table(["a peer's ratio to itself", *peers], rows) if rows else ""


def _network(results: Results) -> str:
    """How the ratios on loopback compare with those over a network."""
    rows = []
    for what in ("setup", "rr", "up", "down"):
        for peer in results.peers(f"loopback-{what}"):
            found = [results.ratio(f"{place}-{what}", OURS, peer) for place in NETWORKS.values()]
            if peer != OURS and any(found[1:]):
                rows.append([what, f"ours : {peer}", *map(_ratio, found)])
    if not rows:
        return ""
    table = _table(["work", "", *NETWORKS.values()], rows, left=2)
    return f"## Loopback and networks compared\n\n{table}"


def _load(results: Results) -> str:
    """Whether the load generator was ahead of the proxies."""
    rows, behind = [], []
    for work in results.works:
        if work.mode == "idle" or work.beside or work.setting.place != "pinned":
            continue
        shares = {
            peer: (own.median / theirs.median, own.median, theirs.median)
            for peer in results.peers(work.key)
            if (own := results.spread(work.key, peer, "load"))
            and (theirs := results.spread(work.key, peer, "cpu"))
        }
        if not shares:
            continue
        nearest = max(shares, key=shares.__getitem__)
        share, own_cpu, cpu = shares[nearest]
        if share > _AHEAD:
            behind.append(f"{KINDS[work.kind]}: {work.name}")
        name = f"{KINDS[work.kind]}: {work.name}, {work.unit}"
        busy = [_share(results.spread(work.key, nearest, what)) for what in ("busy", "core")]
        rows.append([name, amount(own_cpu), f"{amount(cpu)} ({nearest})", f"{share:.0%}", *busy])
    if not rows:
        return ""
    heads = ["", "its own", "of the proxy nearest to it", "", "its core", "that proxy's core"]
    table = _table(heads, rows)
    text = (
        "## The load generator's own CPU time\n\nIt is both ends of each connection. Where a proxy's core "
        f"is not busy all the time, throughput is not\nthe proxy's limit.\n\n{table}"
    )
    if behind:
        text += (
            f"\nIt is not well ahead (it needs more than {_AHEAD:.0%} of the nearest proxy's) in:\n"
            f"{'; '.join(behind)}.\nThere throughput may be the load generator's as much as the proxy's; "
            "CPU time is not.\n"
        )
    return text


def _share(found: Spread | None) -> str:
    return f"{found.median:.0%}" if found else "–"


def _left_out(results: Results) -> str:
    lines = [f"- {name}: not installed" for name in results.about["left_out"]]
    rounds: dict[tuple[str, str], list[str]] = {}
    works: dict[tuple[str, str], list[str]] = {}
    for failure in results.failures:
        if (failure.peer, failure.work) not in rounds:  # of later rounds the reason differs in numbers only
            works.setdefault((failure.peer, failure.reason), []).append(failure.work)
        rounds.setdefault((failure.peer, failure.work), []).append(str(failure.round + 1))
    for (peer, reason), failed in works.items():
        cells = ", ".join(f"{work} (round {', '.join(rounds[peer, work])})" for work in failed)
        lines.append(f"- {peer}, {cells}: {reason}")
    return "## Left out\n\n" + "\n".join([*lines, ""]) if lines else ""


def _notes(results: Results) -> str:
    lines = [f"- {peer}: {note}" for peer, note in results.notes.items()]
    if results.work("tls-full"):
        found = []
        for peer in results.peers("tls-full"):
            full, resumed = (results.spread(work, peer, "tickets") for work in ("tls-full", "tls-resumed"))
            found.append(f"{peer} {_count(full)} and {_count(resumed)}")
        lines.append(f"- session tickets issued in a full and in a resumed handshake: {', '.join(found)}")
    return "## Notes\n\n" + "\n".join([*lines, ""]) if lines else ""


def _count(found: Spread | None) -> str:
    return f"{found.median:.0f}" if found else "–"


def _unit(work: Work) -> str:
    return "B each" if work.unit == "B" else work.unit


def _rate(results: Results, work: Work, peer: str) -> str:
    found = results.spread(work.key, peer, "rate")
    if not found:
        return "–"
    return f"{found.median / 1e9:.2f} GB/s" if work.unit == "ms/GB" else f"{found.median:,.0f}/s"


def _latency(results: Results, work: Work, peer: str) -> str:
    found = [results.spread(work.key, peer, what) for what in ("p50_us", "p99_us", "p999_us")]
    return " / ".join(f"{spread.median:,.0f}" for spread in found if spread) or "–"


def _beside(results: Results, work: Work, peer: str) -> str:
    found = results.spread(work.key, peer, "beside")
    return f"{found.median / 1e9:.2f} GB/s" if found else "–"


def _cell(found: Spread | None) -> str:
    if not found:
        return "–"
    half = (found.most - found.least) / 2 / found.median if found.median else 0
    return f"{amount(found.median)} ±{half:.0%}"


def _ratio(found: Spread | None, *, wide: bool = False) -> str:
    if not found:
        return "–"
    return f"{found.median:.2f}" + (f" ({found.least:.2f}–{found.most:.2f})" if wide else "")


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * left + "---:|" * (len(heads) - left)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows), ""])
