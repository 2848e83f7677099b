"""A network between two namespaces: a veth pair with a delay and a rate, so that connects do not complete at once."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.place import Place, pinned

if TYPE_CHECKING:
    from collections.abc import Iterator

DELAY, RATE = "1ms", "200mbit"
_LOAD_SIDE, _PROXY_SIDE = "spyhole-load", "spyhole-proxy"
_NET = "10.203.0."


@contextmanager
def made(wanted: bool) -> Iterator[dict[str, Place]]:
    """The place `network`, while it is there, if it is wanted. SystemExit without root or iproute2."""
    if not wanted:
        yield {}
        return
    if os.geteuid() or not (shutil.which("ip") and shutil.which("tc")):
        raise SystemExit("left out: --network needs root, and ip and tc (apt-get install iproute2)")
    try:
        _make()
        yield {"network": _place()}
    finally:
        for side in (_LOAD_SIDE, _PROXY_SIDE):
            subprocess.run(["ip", "netns", "delete", side], check=False, stderr=subprocess.DEVNULL)


def _place() -> Place:
    inside = "ip", "netns", "exec"
    return replace(
        pinned(),
        load_host=_NET + "1",
        proxy_host=_NET + "100",
        load_prefix=(*inside, _LOAD_SIDE),
        proxy_prefix=(*inside, _PROXY_SIDE),
    )


def _make() -> None:
    for side in (_LOAD_SIDE, _PROXY_SIDE):
        _do(f"ip netns add {side}")
    _do(f"ip link add veth0 netns {_LOAD_SIDE} type veth peer name veth0 netns {_PROXY_SIDE}")
    # sixteen addresses for clients: see --sources of load.c
    addresses = {_LOAD_SIDE: range(1, 17), _PROXY_SIDE: range(100, 101)}
    for side, numbers in addresses.items():
        inside = f"ip netns exec {side}"
        for number in numbers:
            _do(f"ip -n {side} address add {_NET}{number}/24 dev veth0")
        _do(f"ip -n {side} link set lo up")
        _do(f"ip -n {side} link set veth0 up")
        # the kernel does it by itself on loopback only, and a proxy has one address to dial from
        _do(f"{inside} sysctl -qw net.ipv4.tcp_tw_reuse=1")
        _do(f"tc -n {side} qdisc add dev veth0 root handle 1: tbf rate {RATE} burst 256kb latency 200ms")
        _do(f"tc -n {side} qdisc add dev veth0 parent 1:1 handle 10: netem delay {DELAY} limit 20000")


def _do(command: str) -> None:
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"left out: --network: {command}: {done.stderr.strip()}")
