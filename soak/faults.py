"""What is done to the proxy while it works: workers and an upstream are killed, logs are rotated."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Final

from soak.rest import accepted, held_by, is_stopped, wait_until
from soak.tally import Kill, Tally
from support.spyhole_process import SpyholeProcess

_ROOT: Final = Path(__file__).parents[1]

FILL: Final = 0.3
"""Seconds for which a worker is stopped before it is killed, so that clients wait in its accept queue."""


class Upstream:
    """The upstream that dies, and comes back at the same port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._process = self._start()

    def kill(self, tally: Tally) -> None:
        """SIGKILL, and start another; the tally knows when it was away."""
        kill = Kill(time.monotonic())
        tally.upstreams_killed.append(kill)
        kill.over = float("inf")
        self._end()
        self._process = self._start()
        kill.over = time.monotonic()

    def close(self) -> None:
        self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "soak.upstream", str(self.port)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'tests'}"},
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n", "the upstream does not start"
        return process

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def kill_worker(proxy: SpyholeProcess, spared: int, tally: Tally, random: Random) -> None:
    """SIGKILL one of the workers, but for the one that is `spared`; wait until another is in its place.

    It is stopped first: so it is known exactly which connections it had accepted. They die with it, and
    no other may; those that wait in its accept queue are for the next.
    """
    pid = random.choice([pid for pid in proxy.worker_pids() if pid != spared])
    kill = Kill(time.monotonic())
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid), f"worker {pid} does not stop")
    select.select([], [], [], FILL)
    connections = accepted(proxy.sockaddr()[1])
    kill.waiting = sum(not each.inode for each in connections)
    kill.doomed = frozenset(held_by(pid, connections))
    tally.workers_killed.append(kill)
    count = len(proxy.worker_pids())
    os.kill(pid, signal.SIGKILL)
    wait_until(
        lambda: len(workers := proxy.worker_pids()) == count and pid not in workers,
        "nobody takes its place",
    )
    kill.over = time.monotonic()


def rotate(proxy: SpyholeProcess, log: Path, tally: Tally) -> None:
    """Rename the access log and have it opened again, as logrotate does."""
    tally.rotations += 1
    log.rename(log.with_name(f"{log.name}.{tally.rotations}"))
    proxy.signal(signal.SIGUSR1)
    wait_until(log.exists, "the log is not opened again")
