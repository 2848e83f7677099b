"""The works that are measured, and how one measurement goes."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import proc
from bench.hello import hello
from bench.programs import LOAD, Program

if TYPE_CHECKING:
    from bench.running import Running

_SETTLE = 0.15  # seconds after which the last connections have ended on the proxy's side too


@dataclass(frozen=True)
class Work:
    """One kind of work. The figure is CPU time per operation, or memory per connection."""

    key: str
    """For `--works`."""
    name: str
    mode: str
    """Of the load generator."""
    backend: str
    unit: str
    flags: tuple[str, ...] = ()
    count: int = 0
    """Operations in a full run; `--quick` does a quarter."""
    open: int = 1
    post_quantum: bool = False
    warm_up: int = 300


@dataclass(frozen=True)
class Sample:
    """One measurement of one peer."""

    work: str
    peer: str
    round: int
    figure: float
    """In the work's unit."""
    rate: float
    """Operations, or bytes, in a second."""
    cpu: proc.Cpu
    machine_busy: float
    load: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        return asdict(self) | {"cpu": self.cpu._asdict()}


_FIN, _RESET, _SMALL, _LARGE = (
    ("--close", "fin"),
    ("--close", "reset"),
    ("--size", "100"),
    ("--size", "16384"),
)

WORKS = (
    Work("setup-fin", "set-up, FIN", "setup", "reply", "µs", _FIN, 16_000, 32),
    Work("setup-reset", "set-up, reset", "setup", "reply", "µs", _RESET, 16_000, 32),
    Work(
        "setup-pq", "set-up, FIN, 1.7 KB hello", "setup", "reply", "µs", _FIN, 16_000, 32, post_quantum=True
    ),
    Work("rr-100-1", "request/response 100 B × 1", "rr", "echo", "µs", _SMALL, 60_000, 1),
    Work("rr-100-64", "request/response 100 B × 64", "rr", "echo", "µs", _SMALL, 160_000, 64),
    Work("rr-16k-1", "request/response 16 KiB × 1", "rr", "echo", "µs", _LARGE, 40_000, 1),
    Work("rr-16k-64", "request/response 16 KiB × 64", "rr", "echo", "µs", _LARGE, 80_000, 64),
    Work("bulk-up-1", "bulk up × 1", "up", "sink", "ms/GB", open=1),
    Work("bulk-down-1", "bulk down × 1", "down", "source", "ms/GB", open=1),
    Work("bulk-up-16", "bulk up × 16", "up", "sink", "ms/GB", open=16),
    Work("bulk-down-16", "bulk down × 16", "down", "source", "ms/GB", open=16),
    Work("idle-1000", "memory, 1,000 idle", "idle", "reply", "B", open=1000),
    Work("idle-8000", "memory, 8,000 idle", "idle", "reply", "B", open=8000),
)


def measure(
    work: Work, proxy: Running, number: int, directory: Path, cores: set[int], quick: bool
) -> Sample:
    """Do a work once, through one proxy."""
    name = f"{work.backend}.bench.test"
    wire, vary = hello(name, post_quantum=work.post_quantum)
    path = directory / f"{name}.{len(wire)}"
    path.write_bytes(wire)
    common = [
        "--to",
        proxy.address,
        "--hello",
        str(path),
        "--open",
        str(work.open),
        *work.flags,
        *proxy.serve,
    ]
    for start, size in vary:
        common += ["--vary", f"{start}:{size}"]
    if work.mode == "setup":
        common += ["--sources", "16"]
        _load([*_command("setup"), *common, "--count", str(work.warm_up)], cores)
    amount = (
        ["--seconds", "1" if quick else "3"]
        if not work.count
        else ["--at-most", "5" if quick else "20", "--count", str(work.count // (4 if quick else 1))]
    )
    before_opening = proxy.memory()
    program = Program([*_command(work.mode), *common, *amount], cores)
    if work.mode == "rr":
        time.sleep(0.02)
    busy, cpu = proc.machine_busy(), proxy.cpu()
    load = program.go()
    if work.mode in ("setup", "up", "down"):
        time.sleep(_SETTLE)
    spent, busy = proxy.cpu() - cpu, proc.machine_busy() - busy
    if work.mode == "idle":
        time.sleep(_SETTLE)
        held = proxy.memory() - before_opening
        program.end()
        return Sample(work.name, proxy.name, number, held / work.open, 0.0, spent, busy, load)
    program.end()
    done = load["bytes"] if work.unit == "ms/GB" else load["operations"]
    if load["failed"] or not done:
        raise SystemExit(f"{proxy.name}: {work.name}: {load}")
    figure = spent.total / done * (1e12 if work.unit == "ms/GB" else 1e6)
    return Sample(work.name, proxy.name, number, figure, done / load["seconds"], spent, busy, load)


def _command(mode: str) -> list[str]:
    return [str(LOAD), mode]


def _load(command: list[str], cores: set[int]) -> None:
    program = Program(command, cores)
    program.go()
    program.end()
