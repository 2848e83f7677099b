"""The rounds: every peer does every work, in turn, several times over."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from bench.measuring import Pace, Sample, measure, measure_together
from bench.programs import Failed
from bench.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from bench.certificate import Certificate
    from bench.peers import Peer
    from bench.place import Place
    from bench.works import Setting, Work


@dataclass(frozen=True)
class Failure:
    """A cell that is empty, and why."""

    work: str
    peer: str
    round: int
    reason: str


@dataclass
class Rounds:
    """What is needed to measure, and what was found."""

    places: Mapping[str, Place]
    directory: Path
    certificate: Certificate
    rounds: int
    pace: Pace
    tell: Callable[[str], None]
    samples: list[Sample] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    _started: int = 0

    def run(self, peers: list[Peer], works: Iterable[Work]) -> None:
        """Measure. Works of a kind are interleaved, with all the proxies that they need standing."""
        for _, some in groupby(works, key=lambda work: _STAGE.get(work.kind, work.kind)):
            self._stage(peers, list(some))

    def _stage(self, peers: list[Peer], works: list[Work]) -> None:
        standing: dict[tuple[str, Setting], Running] = {}
        try:
            for setting in dict.fromkeys(work.setting for work in works if not work.together):
                for peer in peers:
                    if setting.needs <= peer.DOES:
                        try:
                            standing[peer.NAME, setting] = self._start(peer, setting)
                        except Failed as failure:
                            self._fail(peer.NAME, _of(works, setting), 0, failure)
            for (name, setting), proxy in list(standing.items()):
                try:
                    proxy.wait()
                except Failed as failure:
                    standing.pop((name, setting)).end()
                    self._fail(name, _of(works, setting), 0, failure)
            for number in range(self.rounds):
                # whoever goes first in one round goes last in the next
                order = peers if number % 2 == 0 else peers[::-1]
                self._round(order, works, number, standing)
        finally:
            for proxy in standing.values():
                proxy.stop()
            for proxy in standing.values():
                proxy.end()

    def _round(
        self,
        peers: list[Peer],
        works: list[Work],
        number: int,
        standing: dict[tuple[str, Setting], Running],
    ) -> None:
        for _, group in groupby(works, key=lambda work: work.together or work.key):
            some = list(group)
            if number >= some[0].most_rounds:
                continue
            for peer in peers:
                if not some[0].setting.needs <= peer.DOES:
                    continue
                if some[0].together:
                    self._afresh(peer, some, number)
                elif proxy := standing.get((peer.NAME, some[0].setting)):
                    try:
                        self._note(some[0], measure(some[0], proxy, number, self.pace))
                    except Failed as failure:
                        self._fail(peer.NAME, some, number, failure)
                        standing[peer.NAME, some[0].setting] = self._again(peer, proxy)

    def _afresh(self, peer: Peer, works: list[Work], number: int) -> None:
        left = list(works)
        try:
            proxy = self._start(peer, works[0].setting)
            try:
                proxy.wait()
                for sample in measure_together(works, proxy, number, self.pace):
                    self._note(left.pop(0), sample)
            finally:
                proxy.end()
        except Failed as failure:
            self._fail(peer.NAME, left, number, failure)

    def _again(self, peer: Peer, broken: Running) -> Running:
        """Another in its place: who knows what state it is in."""
        broken.end()
        proxy = self._start(peer, broken.setting)
        try:
            proxy.wait()
        except Failed as failure:
            self.tell(f"{peer.NAME} does not start again: {failure}")
        return proxy

    def _start(self, peer: Peer, setting: Setting) -> Running:
        self._started += 1
        directory = self.directory / f"{self._started}-{peer.NAME}-{setting}"
        return Running(peer, setting, self.places[setting.place], directory, self.certificate)

    def _note(self, work: Work, sample: Sample) -> None:
        self.samples.append(sample)
        where = f"{sample.round + 1}/{self.rounds}"
        self.tell(f"{where}  {work.key:16} {sample.peer:14} {sample.figure:9.1f} {work.unit}")

    def _fail(self, peer: str, works: list[Work], number: int, failure: Failed) -> None:
        for work in works:
            self.failures.append(Failure(work.key, peer, number, str(failure)))
            self.tell(f"{number + 1}/{self.rounds}  {work.key:16} {peer:14} failed: {failure}")


def _of(works: list[Work], setting: Setting) -> list[Work]:
    return [work for work in works if work.setting == setting and not work.together]


_STAGE = {
    "setup": "pass",
    "rr": "pass",
    "bulk": "pass",
    "memory": "growth",
    "machine": "unpinned",
    "workers": "unpinned",
}
"""Kinds of work that are interleaved with each other; each other kind is a stage of its own."""
