"""A flood of TLS handshakes on a route that terminates takes its share of a worker, not all of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

from support.backends import echo
from support.certificates import Authority
from support.clients import client_hello, connect, read_exactly
from support.flood import HandshakeFlood
from support.proc import memory, open_files
from support.scale import scaled
from support.spyhole_process import SpyholeProcess
from support.waiting import until

FLOODERS = 64
ROUNDS = scaled(500, small=30)
HELLO = client_hello("pass.test")


def test_a_handshake_flood(
    spyhole: Callable[..., SpyholeProcess],
    authority: Authority,
    tmp_path: Path,
    figure: Callable[[str], None],
) -> None:
    leaf = authority.issue("end.test")
    with echo("hi") as backend:
        proxy = spyhole(
            *("--listen", "127.0.0.1:0", "--workers", "1", "--cert", leaf.cert, "--key", leaf.key),
            *("--route", f"pass.test={backend.address}", "--access-log", "off"),
            *("--route", f"end.test=terminate:{backend.address}"),
        )
        (worker,) = proxy.worker_pids()
        descriptors, held = len(open_files(worker)), memory(worker)
        with connect(proxy.sockaddr(), any_port=True) as client:
            client.sendall(HELLO)
            assert read_exactly(client, 3 + len(HELLO)) == b"hi\n" + HELLO

            def trip(number: int) -> float:
                began = time.perf_counter()
                client.sendall(number.to_bytes(4))
                assert read_exactly(client, 4) == number.to_bytes(4)
                return time.perf_counter() - began

            quiet = [trip(number) for number in range(ROUNDS)]
            with HandshakeFlood(proxy.sockaddr(), client_hello("end.test"), FLOODERS, tmp_path) as flood:
                until(lambda: flood.begun() > FLOODERS)
                began, first = time.perf_counter(), flood.begun()
                flooded, between = [], []
                for number in range(ROUNDS):
                    before = flood.begun()
                    flooded.append(trip(number))
                    between.append(flood.begun() - before)
                rate = (flood.begun() - first) / (time.perf_counter() - began)
                for _ in range(scaled(50, small=3)):  # and new ones come in
                    with connect(proxy.sockaddr(), any_port=True) as fresh:
                        fresh.sendall(HELLO)
                        assert read_exactly(fresh, 3 + len(HELLO)) == b"hi\n" + HELLO
        assert sum(between) > 0, "the flood was under way meanwhile"
        # In handshakes, not in seconds: a round trip takes some four turns of the loop, one handshake each.
        # All that are begun in one turn would be two or three times as many as there are flooders.
        assert median(between) <= FLOODERS
        until(lambda: len(open_files(worker)) <= descriptors + 40)
        figure(
            f"handshake flood, {rate:,.0f}/s on one worker; 4 bytes there and back on a passthrough route:"
            f" {story(quiet)} before, {story(flooded)} meanwhile; memory then {memory(worker) - held:+,} B"
        )


def story(times: list[float]) -> str:
    return f"median {median(times) * 1e3:.2f} ms, p99 {quantiles(times, n=100)[98] * 1e3:.2f} ms"
