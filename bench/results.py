"""What was measured, and the arithmetic on it: medians, spreads, ratios. No I/O."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.measuring import Sample
    from bench.rounds import Failure
    from bench.works import Work

OURS = "spyhole"


@dataclass(frozen=True)
class Spread:
    """A median, and the least and the most that it is the median of."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Results:
    """One run of the benchmark."""

    about: dict[str, Any]
    """Date, machine, versions."""
    notes: dict[str, str]
    """Of a peer, for its reader."""
    works: list[Work]
    samples: list[Sample]
    failures: list[Failure]

    def work(self, key: str) -> Work | None:
        """The work, if it was done."""
        return next((work for work in self.works if work.key == key), None)

    def peers(self, *keys: str) -> list[str]:
        """Those that did these works, ours first."""
        done = {sample.peer for sample in self.samples if not keys or sample.work in keys}
        return sorted(done, key=lambda peer: (peer != OURS, peer))

    def by_round(self, work: str, peer: str, what: str = "figure") -> dict[int, float]:
        """Round → value: see `value_of`."""
        return {
            sample.round: value_of(sample, what)
            for sample in self.samples
            if sample.work == work and sample.peer == peer
        }

    def spread(self, work: str, peer: str, what: str = "figure") -> Spread | None:
        """Over the rounds; None when there were none."""
        return _spread(list(self.by_round(work, peer, what).values()))

    def ratio(self, work: str, peer: str, other: str, what: str = "figure") -> Spread | None:
        """One peer's value : another's, in the same round: what disturbs a round disturbs both alike."""
        return _ratios(self.by_round(work, peer, what), self.by_round(work, other, what))

    def growth(self, work: str, base: str, peer: str) -> Spread | None:
        """A peer's figure in a work : that in another, in the same round."""
        return _ratios(self.by_round(work, peer), self.by_round(base, peer))

    def best(self, work: str, what: str = "figure", *, highest: bool = False) -> str | None:
        """The best of the others."""
        found = {
            peer: spread.median
            for peer in self.peers(work)
            if peer != OURS and (spread := self.spread(work, peer, what))
        }
        return (max if highest else min)(found, key=found.__getitem__, default=None)

    def as_json(self) -> dict[str, Any]:
        """For the results file: everything that was measured, in every round."""
        works = [
            {"key": w.key, "kind": w.kind, "name": w.name, "unit": w.unit, "measures": w.measures}
            for w in self.works
        ]
        return self.about | {
            "notes": self.notes,
            "works": works,
            "samples": [sample.as_json() for sample in self.samples],
            "failures": [asdict(failure) for failure in self.failures],
        }


def value_of(sample: Sample, what: str) -> float:
    """One value of a sample.

    `figure`, `rate`; `cpu` of the proxy and `load`, that of the load generator, for one operation or GB;
    `busy` and `core`, the same in a second; `beside`, bytes a second that went on beside; `tickets` in a
    connection; or what the load generator calls it: `p99_us`.
    """
    load, cpu = sample.load, float(sample.cpu.total)
    match what:
        case "figure":
            return sample.figure
        case "rate":
            return sample.rate
        case "busy":
            return _busy(load) / float(load["seconds"])
        case "load":
            return _busy(load) * _per(sample)
        case "cpu":
            return cpu * _per(sample)
        case "core":
            return cpu / float(load["seconds"])
        case "beside":
            return float(load["beside_bytes"]) / float(load["seconds"])
        case "tickets":
            return float(load["tickets"]) / float(load["operations"])
        case _:
            return float(load[what])


def _per(sample: Sample) -> float:
    """From seconds to µs for each operation, or to ms for each GB."""
    done = sample.rate * float(sample.load["seconds"])
    return (1e12 if sample.load["bytes"] else 1e6) / done


def _busy(load: dict[str, Any]) -> float:
    return float(load["cpu_user"]) + float(load["cpu_system"]) - float(load["cpu_spun"])


def _ratios(ours: dict[int, float], theirs: dict[int, float]) -> Spread | None:
    return _spread([value / theirs[number] for number, value in ours.items() if theirs.get(number)])


def _spread(values: list[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None
