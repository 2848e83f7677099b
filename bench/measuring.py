"""How one measurement goes."""

from __future__ import annotations

import resource
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from bench import proc
from bench.programs import Failed, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.running import Running
    from bench.works import Work


@dataclass(frozen=True)
class Sample:
    """One measurement of one peer."""

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
    """How long things take."""

    share: float = 1.0
    """Of a work's time in full."""
    warm_up: int = 300
    settle: float = 0.1
    """Seconds after which the last connections have ended on the proxy's side too."""


def measure(work: Work, proxy: Running, number: int, pace: Pace) -> Sample:
    """Do a work once, through one proxy. Raises Failed."""
    flags = [*work.flags, *proxy.serve()]
    if work.mode == "setup":
        warm_up = [*flags, "--open", "32", "--count", str(pace.warm_up)]
        _once(proxy.load("setup", work.backend, *warm_up, shape=work.hello))
    return _timed(work, proxy, number, pace, flags)


def measure_together(works: list[Work], proxy: Running, number: int, pace: Pace) -> Iterator[Sample]:
    """The memory of more and more idle connections, and then what is to be done beside them.

    The proxy has just been started. Each step is a load generator of its own, of which the
    first serves the backend of all. Raises Failed.
    """
    with ExitStack() as holders:
        before, held = proxy.memory(), 0
        for work in works:
            if work.mode != "idle":
                yield measure(work, proxy, number, pace)
                continue
            serve = [] if held else proxy.serve("held", "any")
            opened = ["--open", str(work.open - held)]
            try:
                holder = Program(proxy.load("idle", work.backend, *serve, *opened))
            except Failed as failure:
                raise Failed(f"{failure}; it has {_descriptors(proxy)}") from None
            holders.callback(holder.kill)
            holder.go()  # and from now on it serves
            held = work.open
            time.sleep(pace.settle)
            each = (proxy.memory() - before) / work.open
            yield Sample(work.key, proxy.name, number, each, 0.0, proxy.cpu(), 0.0, {})


def _timed(work: Work, proxy: Running, number: int, pace: Pace, flags: list[str]) -> Sample:
    amount = ["--open", str(work.open), "--at-most", str(int(work.milliseconds * pace.share))]
    if work.mode in ("setup", "rr"):
        amount += ["--count", str(work.most)]
    if work.beside:
        amount += ["--beside", str(work.beside), "--beside-hello", *proxy.hellos("source.bench.test")]
    with Program(proxy.load(work.mode, work.backend, *flags, *amount, shape=work.hello)) as program:
        time.sleep(0.01)  # what it did to open them is over
        busy, cpu = proc.machine_busy(), proxy.cpu()
        load = program.go()
        if work.mode != "rr":
            time.sleep(pace.settle)
        spent, busy = proxy.cpu() - cpu, proc.machine_busy() - busy - load["cpu_spun"]
    done = load["bytes"] if work.unit == "ms/GB" else load["operations"]
    if load["failed"] or not done:
        raise Failed(f"{load['failed']} of {load['operations'] + load['failed']} failed: {load['why']}")
    if work.setting.log and not proxy.logged():
        raise Failed("it wrote no log")
    per = (1e12 if work.unit == "ms/GB" else 1e6) / done
    figures = {"cpu": spent.total * per, "machine": busy * per, "p99": load["p99_us"]}
    return Sample(
        work.key, proxy.name, number, figures[work.measures], done / load["seconds"], spent, busy, load
    )


def _descriptors(proxy: Running) -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"{proxy.descriptors():,} descriptors open, of {limit:,} that are allowed"


def _once(command: list[str]) -> None:
    with Program(command) as program:
        program.go()
