"""The rounds: every peer does every work, in turn, several times over."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from bench.crowd import Crowd
from bench.measuring import Pace, Sample, measure
from bench.programs import Failed
from bench.running import Running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
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
        """Measure, round by round, with all the proxies standing that works of a kind need."""
        for _, some in groupby(works, key=lambda work: _STAGE.get(work.kind, work.kind)):
            self._stage(peers, list(some))

    def _stage(self, peers: list[Peer], works: list[Work]) -> None:
        with self._standing(peers, [work for work in works if not work.afresh], 0) as standing:
            for number in range(self.rounds):
                for _, some in groupby(works, key=lambda work: work.together or work.key):
                    group = [work for work in some if number < work.most_rounds]
                    if not any(work.afresh for work in group):
                        self._measure(group, standing, number)
                        continue
                    for peer in peers:
                        with self._standing([peer], group, number) as own:
                            self._measure(group, own, number)

    @contextmanager
    def _standing(self, peers: list[Peer], works: list[Work], number: int) -> Iterator[list[Running]]:
        """A proxy of each peer for each setting of the works, without those that do not start."""
        settings = dict.fromkeys(work.setting for work in works)
        proxies: list[Running] = []
        try:
            for setting in settings:
                able = (peer for peer in peers if setting.needs <= peer.DOES)
                proxies.extend(self._start(peer, setting) for peer in able)
            for proxy in [*proxies]:
                try:
                    proxy.wait()
                except Failed as failure:
                    proxies.remove(proxy)
                    proxy.end()
                    self._fail(
                        proxy, [work for work in works if work.setting == proxy.setting], number, failure
                    )
            yield proxies
        finally:
            for proxy in proxies:
                proxy.stop()
            for proxy in proxies:
                proxy.end()

    def _start(self, peer: Peer, setting: Setting) -> Running:
        self._started += 1
        directory = self.directory / f"{self._started}-{peer.NAME}-{setting}"
        return Running(peer, setting, self.places[setting.place], directory, self.certificate)

    def _measure(self, works: list[Work], standing: list[Running], number: int) -> None:
        """The works of a group, by all that stand."""
        broken = []
        with ExitStack() as crowds:
            cells = []
            for proxy in standing:
                own = [work for work in works if work.setting == proxy.setting]
                if proxy.setting.crowded:
                    own = self._crowd(crowds.enter_context(Crowd(proxy)), proxy, own, number)
                cells += [(work, proxy) for work in own]
            for work, proxy, found in measure(cells, number, self.pace):
                if isinstance(found, Sample):
                    self._note(work, found)
                else:
                    self._fail(proxy, [work], number, found)
                    broken.append(proxy)
        for proxy in dict.fromkeys(broken):  # another in its place: who knows what state it is in
            proxy.end()
            another = self._start(proxy.peer, proxy.setting)
            standing[standing.index(proxy)] = another
            with suppress(Failed):  # or what it is to do next fails too
                another.wait()

    def _crowd(self, crowd: Crowd, proxy: Running, works: list[Work], number: int) -> list[Work]:
        """Fill it up, and return what is to be done then: nothing, if it does not hold so many."""
        for at, work in enumerate(works):
            if work.mode != "idle":
                return works[at:]
            try:
                self._note(work, crowd.grow(work, number))
            except Failed as failure:
                self._fail(proxy, works[at:], number, failure)
                break
        return []

    def _note(self, work: Work, sample: Sample) -> None:
        self.samples.append(sample)
        where = f"{sample.round + 1}/{self.rounds}"
        self.tell(f"{where}  {work.key:16} {sample.peer:14} {sample.figure:9.1f} {work.unit}")

    def _fail(self, proxy: Running, works: list[Work], number: int, failure: Failed) -> None:
        for work in works:
            self.failures.append(Failure(work.key, proxy.name, number, str(failure)))
            self.tell(f"{number + 1}/{self.rounds}  {work.key:16} {proxy.name:14} failed: {failure}")


_STAGE = {
    "setup": "pass",
    "rr": "pass",
    "bulk": "pass",
    "memory": "growth",
    "machine": "unpinned",
    "workers": "unpinned",
}
"""Kinds of work that are interleaved with each other; each other kind is a stage of its own."""
