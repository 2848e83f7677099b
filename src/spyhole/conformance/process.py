"""A proxy that the suite has started, in a session of its own, and that ends with it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from spyhole.conformance.ready import is_ready
from spyhole.errors import OperatorError

if TYPE_CHECKING:
    from spyhole.conformance.client import Stage
    from spyhole.conformance.peers import Job, Peer

_START: Final = 60.0
"""Seconds; a slow machine reads 10,000 routes for long."""
_END: Final = 5.0


class NotStarted(OperatorError):
    """The proxy did not come up; the message has what it said."""


class Process:
    """A peer at its job. A context manager: all that it started ends with it."""

    def __init__(self, peer: Peer, job: Job) -> None:
        self._peer = peer
        command = peer.command(job)
        self._log = job.directory / "output"
        with self._log.open("wb") as output:
            try:
                self._process = subprocess.Popen(
                    command,
                    cwd=job.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                raise NotStarted(f"{peer.name} at {job.program!r}: {error.strerror}") from None

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def said(self) -> str:
        """The end of what it said."""
        return self._log.read_text("utf-8", "backslashreplace")[-2000:].strip() or "it said nothing"

    async def wait_until_ready(self, stage: Stage) -> None:
        """Until it routes a plain hello. Raises NotStarted."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + _START
        while loop.time() < ends:
            if not self.running:
                raise NotStarted(f"{self._peer.name} ended at once: {self.said}")
            if await is_ready(stage):
                return
            await asyncio.sleep(0.05)
        raise NotStarted(f"{self._peer.name} routes no hello after {_START:g} s: {self.said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # its session, but only while its id is its own: not once it has been waited for
        if self._process.returncode is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END)
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, below those that clients' own are taken from."""
    found: list[socket.socket] = []
    port = 10_000 + os.getpid() * 37 % 15_000
    while len(found) < count:
        port += 1
        probe = socket.socket()
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.close()
        else:
            found.append(probe)
    ports = [probe.getsockname()[1] for probe in found]
    for probe in found:
        probe.close()
    return ports
