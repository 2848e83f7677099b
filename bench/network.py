"""Two networks between two namespaces, on which nothing goes as on loopback.

`veth`: a veth pair, 200 Mbit/s by `tc tbf`: sockets fill, in large segments.
`wire`: 1 ms each way and 200 Mbit/s, packets of 1500 bytes, by wire.c: connects take their time too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.place import Place, pinned
from bench.programs import WIRE, Failed, Program

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY_US, MBIT = 1000, 200
_LOAD_SIDE, _PROXY_SIDE = "bench-load", "bench-proxy"
_NETS = {"veth": "10.203.0.", "wire": "10.203.1."}


@contextmanager
def made(wanted: bool) -> Iterator[dict[str, Place]]:
    """The places `veth` and `wire`, if they are wanted. SystemExit where they can't be made."""
    if not wanted:
        yield {}
        return
    if os.geteuid() or not (shutil.which("ip") and shutil.which("tc")):
        raise SystemExit("left out: --network needs root, and ip and tc (apt-get install iproute2)")
    with ExitStack() as made:
        for side in (_LOAD_SIDE, _PROXY_SIDE):
            made.callback(
                subprocess.run, ["ip", "netns", "delete", side], check=False, stderr=subprocess.DEVNULL
            )
            _do(f"ip netns add {side}")
            _do(f"ip -n {side} link set lo up")
            # the kernel does it by itself on loopback only, and a proxy has one address to dial from
            _do(f"ip netns exec {side} sysctl -qw net.ipv4.tcp_tw_reuse=1")
        _do(f"ip link add veth0 netns {_LOAD_SIDE} type veth peer name veth0 netns {_PROXY_SIDE}")
        try:
            wire = Program([str(WIRE), _LOAD_SIDE, _PROXY_SIDE, str(DELAY_US), str(MBIT)])
        except Failed as failure:
            raise SystemExit(f"left out: --network: {failure}") from None
        made.callback(wire.kill)
        os.sched_setaffinity(wire.pid, pinned().load_cores)
        for name in _NETS:
            _join(name)
        for side in (_LOAD_SIDE, _PROXY_SIDE):
            _do(f"tc -n {side} qdisc add dev veth0 root tbf rate {MBIT}mbit burst 256kb latency 200ms")
        yield {name: _place(name) for name in _NETS}


def _place(name: str) -> Place:
    inside = "ip", "netns", "exec"
    return replace(
        pinned(),
        load_host=_NETS[name] + "1",
        proxy_host=_NETS[name] + "100",
        load_prefix=(*inside, _LOAD_SIDE),
        proxy_prefix=(*inside, _PROXY_SIDE),
        spin=False,  # what carries the packets needs that core too
        quiet=0.02,  # some round trips
    )


def _join(name: str) -> None:
    """Addresses for both ends: one for the proxy, sixteen for clients (see --sources of load.c)."""
    for side, numbers in {_LOAD_SIDE: range(1, 17), _PROXY_SIDE: range(100, 101)}.items():
        for number in numbers:
            _do(f"ip -n {side} address add {_NETS[name]}{number}/24 dev {name}0")
        _do(f"ip -n {side} link set {name}0 txqueuelen 10000 up")


def _do(command: str) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"left out: --network: {command}: {done.stderr.strip()}")
