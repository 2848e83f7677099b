"""What the kernel knows of processes and of their connections, read from /proc."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

TIME_WAIT = "06"


class Queues(NamedTuple):
    """Bytes that the kernel holds for one socket: sent and not acknowledged, received and not read."""

    outgoing: int
    incoming: int
    inode: int


def cpu_ticks(pid: int) -> int:
    """User and system time of a process, in clock ticks (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def memory(pid: int) -> int:
    """Bytes of anonymous memory that a process has in RAM: its own, and what it shares since a fork."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) * 1024


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to: "socket:[123]", "pipe:[45]", a path."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found.append(str(entry.readlink()))
    return found


def queues(local_port: int, remote_port: int) -> Queues:
    """The queues of the IPv4 socket on this machine that has these two ports."""
    return all_queues([(local_port, remote_port)])[local_port, remote_port]


def holders_of(clients: Sequence[socket.socket], pids: Sequence[int]) -> list[int | None]:
    """Which of these processes has accepted each client's connection; None: none yet."""
    ports = [(client.getpeername()[1], client.getsockname()[1]) for client in clients]
    of = {name: pid for pid in pids for name in open_files(pid) if name.startswith("socket:")}
    found = all_queues(ports)
    return [of.get(f"socket:[{found[pair].inode}]") for pair in ports]


def all_queues(wanted: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Queues]:
    """The same for many sockets, by one look: the table has all that ended within the last minute, too."""
    found: dict[tuple[int, int], Queues] = {}
    left = {f"{local:04X}/{remote:04X}": (local, remote) for local, remote in wanted}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split(None, 10)
        pair = left.get(f"{fields[1][-4:]}/{fields[2][-4:]}")
        if pair is not None and fields[3] != TIME_WAIT:
            outgoing, incoming = fields[4].split(":")
            found[pair] = Queues(int(outgoing, 16), int(incoming, 16), int(fields[9]))
    missing = [pair for pair in wanted if pair not in found]
    assert not missing, f"no sockets have these ports: {missing}"
    return found
