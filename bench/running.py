"""A proxy that runs, and the backends that it is told of."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from bench import proc
from bench.hello import hello
from bench.peers import Job, Peer
from bench.programs import LOAD, Program, on_cores

SERVES = ("reply", "echo", "source", "sink")
_PATIENCE = 20.0


class Running:
    """A peer's processes."""

    def __init__(self, peer: Peer, directory: Path, cores: set[int], workers: int = 1) -> None:
        directory.mkdir(parents=True)
        port, *ports = free_ports(1 + len(SERVES))
        self.name = peer.NAME
        self.address = f"127.0.0.1:{port}"
        routes = {
            f"{what}.bench.test": f"127.0.0.1:{port}" for what, port in zip(SERVES, ports, strict=True)
        }
        self.serve: list[str] = []
        """Flags of the load generator for the backends."""
        for name, address in routes.items():
            self.serve += ["--serve", f"{name.split('.')[0]}:{address}"]
        command = peer.command(Job(self.address, routes, directory, workers))
        self._output = (directory / "output").open("w")
        self._process = subprocess.Popen(
            on_cores(command, cores), stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output
        )
        backend = Program([str(LOAD), "serve", *self.serve], cores)
        try:
            self._wait_for_reply(directory)
        finally:
            backend.end()
        self.pids = proc.tree(self._process.pid)

    def cpu(self) -> proc.Cpu:
        """CPU time of its processes so far."""
        return proc.cpu_of(self.pids)

    def memory(self) -> int:
        """Proportional set size of its processes."""
        return proc.memory_of(self.pids)

    def end(self) -> None:
        """End it, if need be by force."""
        self._process.terminate()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            # it waits for idle connections to end; its children are its own and end with it
            for pid in reversed(proc.tree(self._process.pid)):
                subprocess.run(["kill", "-KILL", str(pid)], check=False, stderr=subprocess.DEVNULL)
            self._process.wait()
        self._output.close()

    def _wait_for_reply(self, directory: Path) -> None:
        host, port = self.address.split(":")
        wire = hello("reply.bench.test").wire
        ends = time.monotonic() + _PATIENCE
        while time.monotonic() < ends and self._process.poll() is None:
            try:
                with socket.create_connection((host, int(port)), timeout=5) as client:
                    client.sendall(wire)
                    if client.recv(1) == b"r":  # and not an alert
                        return
            except OSError:
                pass
            time.sleep(0.05)
        self._process.kill()
        raise SystemExit(f"{self.name} does not pass a connection on: {(directory / 'output').read_text()}")


def free_ports(count: int) -> list[int]:
    """Ports below the range that clients' own are taken from, which nobody listens on now."""
    found: list[socket.socket] = []
    port = 21000 + time.monotonic_ns() // 1000 % 9000
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
