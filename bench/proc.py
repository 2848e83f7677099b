"""What the kernel says of processes: CPU time and memory, of a whole process tree and of the machine."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICK = 1 / os.sysconf("SC_CLK_TCK")
_CPUCLOCK_SCHED = 2  # of clock_getcpuclockid(3): the clock of another process


class Cpu(NamedTuple):
    """Seconds of CPU. `total` is exact to the nanosecond; the others are sampled by the kernel's tick."""

    total: float
    user: float
    system: float

    def plus(self, other: Cpu) -> Cpu:
        """Both together."""
        return Cpu(self.total + other.total, self.user + other.user, self.system + other.system)

    def minus(self, other: Cpu) -> Cpu:
        """What was spent since then."""
        return Cpu(self.total - other.total, self.user - other.user, self.system - other.system)


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    found = [root]
    for pid in found:
        try:
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            continue
    return found


def end_descendants() -> None:
    """End whatever this process has started and did not end, and wait until it is gone."""
    for pid in reversed(tree(os.getpid())[1:]):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    with suppress(ChildProcessError):
        while True:
            os.wait()


def cpu_of(pids: list[int]) -> Cpu:
    """CPU time so far of the processes, with all their threads, also those that have ended."""
    total = user = system = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
        except OSError:
            continue
        user += int(fields[11]) * _TICK
        system += int(fields[12]) * _TICK
    return Cpu(total, user, system)


def machine_busy() -> float:
    """Seconds of CPU that all cores together have spent on anything but idling."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) * _TICK


def memory_of(pids: list[int]) -> int:
    """Proportional set size in bytes of the processes together: pages that they share count once."""
    size = 0
    for pid in pids:
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:  # it has ended
            continue
        for line in rollup.splitlines():
            if line.startswith("Pss:"):
                size += int(line.split()[1]) * 1024
    return size


def descriptors_of(pid: int) -> int:
    """How many files a process has open."""
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0
