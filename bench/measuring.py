"""How works are measured: in slices that take turns, since no machine keeps its speed for long."""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from bench import proc
from bench.programs import Failed, Program

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.running import Running
    from bench.works import Work

_WARM_UP_MS = 10
_LEAD_MS = 3
"""What is done before each slice and not counted, since the caches are full of other proxies' things."""
_LOG_SETTLES = 0.3
"""Seconds after which the last lines are written: those that keep them do so for 0.25 s."""
_MOST_SETTLING = 0.1


@dataclass(frozen=True)
class Sample:
    """What one peer did of one work in one round."""

    work: str
    """Its key."""
    peer: str
    round: int
    figure: float
    """In the work's unit."""
    rate: float
    """Operations, or bytes, in a second."""
    cpu: proc.Cpu
    """Of the proxy's processes, in seconds."""
    machine: float
    """Seconds of CPU of the whole machine, without what the load generator polled for nothing."""
    load: dict[str, Any]
    """What the load generator said."""

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        return asdict(self) | {"cpu": self.cpu._asdict()}


@dataclass(frozen=True)
class Pace:
    """How much time there is."""

    share: float = 1.0
    """Of a work's time in full."""
    slices: int = 6
    """In so many pieces a work is done, unless it says how many."""


def measure(
    cells: Sequence[tuple[Work, Running]], number: int, pace: Pace
) -> Iterator[tuple[Work, Running, Sample | Failed]]:
    """Do works through proxies, a slice of each in turn; what became of each."""
    chance = random.Random(number)
    with ExitStack() as stack:
        cut: list[_Sliced] = []
        for work, proxy in cells:
            try:
                cut.append(stack.enter_context(_Sliced(work, proxy, pace)))
            except Failed as failure:
                yield work, proxy, failure
        for _ in range(max((one.slices for one in cut), default=0)):
            for one in _shuffled(cut, chance):
                try:
                    one.slice()
                except Failed as failure:
                    cut.remove(one)
                    yield one.work, one.proxy, failure
        for one in cut:
            yield one.work, one.proxy, one.sample(number)


def _shuffled(cut: list[_Sliced], chance: random.Random) -> list[_Sliced]:
    """Another order each time. Those of one peer stay together: they are compared with each other."""
    turn = {one.proxy.name: chance.random() for one in cut}
    return sorted(cut, key=lambda one: (turn[one.proxy.name], chance.random()))


class _Sliced:
    """A work through a proxy, with connections that stay open from slice to slice."""

    def __init__(self, work: Work, proxy: Running, pace: Pace) -> None:
        """Raises Failed."""
        self.work = work
        self.proxy = proxy
        self.slices = work.slices or pace.slices
        self._milliseconds = max(1, round(work.milliseconds * pace.share / self.slices))
        # Bulk needs none; and what a proxy logs of it would count.
        self._leads = work.unit != "ms/GB" and not work.setting.log
        self._cpu = proc.Cpu(0, 0, 0)
        self._machine = 0.0
        self._loads: list[dict[str, Any]] = []
        flags = [*work.flags, *proxy.serve(), "--open", str(work.open)]
        if work.beside:
            flags += ["--beside", str(work.beside), "--beside-hello", *proxy.hellos("source.bench.test")]
        self._program = Program(proxy.load(work.mode, work.backend, *flags, shape=work.hello))
        try:
            self._work(_WARM_UP_MS)
        except BaseException:
            self._program.kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()

    def slice(self) -> None:
        """Raises Failed."""
        if self._leads:
            self._work(_LEAD_MS)
        cpu, busy = self._settled(), proc.machine_busy()
        load = self._work(self._milliseconds)
        if self.work.setting.log:
            time.sleep(_LOG_SETTLES)
        self._cpu = self._cpu.plus(self._settled().minus(cpu))
        self._machine += proc.machine_busy() - busy - load["cpu_spun"]
        self._loads.append(load)
        if self.work.setting.log and not self.proxy.logged():
            raise Failed("it wrote no log")

    def sample(self, number: int) -> Sample:
        """All slices together: the sums of what they cost and did, and percentiles of all latencies."""
        work, load = self.work, together(self._loads)
        done = load["bytes"] if work.unit == "ms/GB" else load["operations"]
        per = (1e12 if work.unit == "ms/GB" else 1e6) / done
        figures = {"cpu": self._cpu.total * per, "machine": self._machine * per, "p99": load["p99_us"]}
        rate = done / load["seconds"]
        return Sample(
            work.key, self.proxy.name, number, figures[work.measures], rate, self._cpu, self._machine, load
        )

    def _work(self, milliseconds: int) -> dict[str, Any]:
        load = self._program.go(milliseconds)
        done = load["bytes"] if self.work.unit == "ms/GB" else load["operations"]
        if load["failed"] or not done:
            every = load["operations"] + load["failed"]
            raise Failed(f"{load['failed']} of {every} failed: {load['why']}")
        return load

    def _settled(self) -> proc.Cpu:
        """Its CPU time when it has done what the last connections left it to do."""
        ends = time.monotonic() + _MOST_SETTLING
        cpu = self.proxy.cpu()
        while time.monotonic() < ends:
            time.sleep(self.proxy.place.quiet)
            before, cpu = cpu, self.proxy.cpu()
            if cpu.total == before.total:
                break
        return cpu


def together(loads: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the load generator said of all slices, as if it had been one."""
    added: dict[str, Any] = {
        key: sum(load[key] for load in loads)
        for key, value in loads[0].items()
        if isinstance(value, int | float)
    }
    latencies: Counter[float] = Counter()
    for load in loads:
        for latency, often in load["latencies"]:
            latencies[latency] += often
    wanted = {"p50_us": 0.5, "p99_us": 0.99, "p999_us": 0.999}
    return added | {name: _quantile(latencies, quantile) for name, quantile in wanted.items()}


def _quantile(counts: Counter[float], quantile: float) -> float:
    """0 when there is none."""
    left = quantile * counts.total()
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return 0.0
