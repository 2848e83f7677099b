"""One run: a proxy, its upstreams, clients and faults for so many seconds; then what is left of it all."""

from __future__ import annotations

import json
import re
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from soak.clients import World, churn
from soak.faults import Upstream, kill_worker, rotate
from soak.rest import Rest, accepted, held_by, rest_of, wait_until
from soak.tally import Name, Tally
from soak.transfer import serve
from support.backends import Backend
from support.certificates import Authority
from support.clients import Listener, client_hello, reset
from support.spyhole_process import SpyholeProcess

WORKERS: Final = 3
MOST: Final = 120
"""The limit on connections of a worker: above what the clients need."""

GROWTH: Final = 2_000_000
"""Bytes that the spared worker may have more after the run than after its first, short part."""

MOST_PIPE_ENDS: Final = 32


@dataclass
class Report:
    """What a run found. It is sound if `wrong` is empty."""

    seconds: float
    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def check(self, holds: bool, text: str) -> None:
        self.lines.append(f"{'ok   ' if holds else 'WRONG'}  {text}")
        if not holds:
            self.wrong.append(text)

    def note(self, text: str) -> None:
        self.lines.append(f"       {text}")


def soak(
    directory: Path,
    seconds: float,
    clients: int = 40,
    seed: int = 1,
    say: Callable[[str], object] = lambda _: None,
) -> Report:
    """Wear the proxy down for `seconds`; its files go to `directory`. `say` is told of each phase."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    report = Report(seconds)
    with ExitStack() as stack:
        authority = Authority(directory)
        leaf = authority.issue("end.test")
        tally = Tally()
        backend = stack.enter_context(Backend(partial(serve, on_short=tally.short.add)))
        listener = stack.enter_context(Listener(backlog=4096))  # carries connections, and says nothing
        dead, mortal = (_unused_port(stack) for _ in range(2))
        upstream = Upstream(mortal)
        stack.callback(upstream.close)
        log = directory / "access.log"
        proxy = SpyholeProcess(
            directory=directory,
            config=f"""
                workers = {WORKERS}
                max_connections = {MOST}
                hello_timeout = 1
                connect_timeout = 5
                half_close_timeout = 30
                drain_timeout = 20
                access_log = {str(log)!r}
                certificates = [{{ cert = {str(leaf.cert)!r}, key = {str(leaf.key)!r} }}]
                listeners = [{{ name = "front", bind = "127.0.0.1:0" }}]
                routes = [
                    {{ sni = "pass.test", upstream = "{backend.address}" }},
                    {{ sni = "end.test", mode = "terminate", upstream = "{backend.address}" }},
                    {{ sni = "mortal.test", upstream = "127.0.0.1:{mortal}" }},
                    {{ sni = "dead.test", upstream = "127.0.0.1:{dead}" }},
                    {{ sni = "hold.test", upstream = "{listener.address}" }},
                ]
            """,
        )
        stack.callback(proxy.finish)
        at_first = {pid: rest_of(pid) for pid in proxy.worker_pids()}
        spared = min(at_first)
        random = Random(seed)

        def load(span: float, faults: Callable[[threading.Event], None] | None) -> None:
            world = World(proxy.sockaddr(), authority, tally)
            threads = [
                threading.Thread(target=churn, args=(world, random.randrange(1 << 30)))
                for _ in range(clients)
            ]
            for thread in threads:
                thread.start()
            over = threading.Timer(span, world.stop.set)
            over.start()
            try:
                if faults is not None:
                    faults(world.stop)
                world.stop.wait()
            finally:
                over.cancel()
                world.stop.set()
                for thread in threads:
                    thread.join()

        def wear(stop: threading.Event) -> None:
            """Something each second or two, in turn."""
            turn = 0
            while not stop.wait(min(1.5, seconds / 8)):
                turn += 1
                if turn % 4 == 0:
                    upstream.kill(tally)
                elif turn % 2 == 0:
                    rotate(proxy, log, tally)
                else:
                    kill_worker(proxy, spared, tally, random)

        warm_up = max(1.0, min(20.0, seconds / 6))
        say(f"warming up for {warm_up:g} s")
        load(warm_up, None)
        say("at rest, to be compared")
        _wait_for_rest(proxy, at_first)
        warm = rest_of(spared)
        say(f"under faults for {seconds - warm_up:g} s")
        load(seconds - warm_up, wear)
        say("at rest again")
        _count(report, tally)
        _wait_for_rest(proxy, at_first)
        _check_rest(report, proxy, at_first[spared], warm, spared)
        say("filling workers up to their limit")
        _check_gauge(report, proxy, stack)
        _wait_for_rest(proxy, at_first)
        say("draining")
        began = time.monotonic()
        status = proxy.stop()
        took = time.monotonic() - began
        report.check(status == 0, f"the drain cut nothing: exit status {status}, after {took:.1f} s")
        _check_log(report, tally, sorted(directory.glob("access.log*")))
        _check_defects(report, proxy.error_log_lines())
    return report


def _count(report: Report, tally: Tally) -> None:
    connections = tally.connections.values()
    report.note(
        f"{len(connections):,} connections in {report.seconds:g} s; {tally.bytes_verified() / 1e9:.2f} GB "
        "verified by hash, each way"
    )
    for kind, count in tally.by_kind().most_common():
        report.note(f"  {count:>7,} {kind.replace('_', ' ')}")
    longest = max(connections, key=lambda c: c.ended - c.began)
    report.note(
        f"the longest took {longest.ended - longest.began:.1f} s ({longest.kind}, {longest.failure})"
    )
    report.note(
        f"{len(tally.workers_killed)} workers killed, {len(tally.upstreams_killed)} upstreams killed, "
        f"{tally.rotations} log rotations"
    )
    waiting = sum(kill.waiting for kill in tally.workers_killed)
    lost = tally.lost()
    report.note(
        f"{len(tally.doomed):,} connections were open on killed workers, {len(lost):,} of them lost; "
        f"{waiting:,} waited in accept queues then"
    )
    wrong = [c for c in connections if c.wrong]
    report.check(not wrong, f"{len(wrong)} transfers whose bytes were others")
    short = tally.cut_short()
    report.check(not short, f"{len(short)} transfers whose part passed for the whole at the upstream")
    unexcused = tally.unexcused()
    report.check(
        not unexcused, f"{len(unexcused)} connections lost whose worker and upstream were not killed"
    )
    for failure, count in Counter(f"{c.kind}: {c.failure}" for c in unexcused).most_common(10):
        report.note(f"  {count} × {failure}")


def _wait_for_rest(proxy: SpyholeProcess, at_first: dict[int, Rest]) -> None:
    """Until no worker has a socket more than a worker has at first."""
    sockets = next(iter(at_first.values())).files["socket"]

    def quiet() -> bool:
        workers = proxy.worker_pids()
        return len(workers) == WORKERS and all(rest_of(pid).files["socket"] == sockets for pid in workers)

    wait_until(quiet, f"sockets stay open: {[str(rest_of(pid)) for pid in proxy.worker_pids()]}")


def _check_rest(report: Report, proxy: SpyholeProcess, first: Rest, warm: Rest, spared: int) -> None:
    for pid in proxy.worker_pids():
        rest = rest_of(pid)
        who = "the spared worker" if pid == spared else "a later worker"
        report.check(
            rest.files == first.files and rest.pipes <= first.pipes + MOST_PIPE_ENDS,
            f"descriptors of {who}: {rest}",
        )
        report.check(rest.threads == first.threads, f"threads of {who}: {rest.threads}")
    rest = rest_of(spared)
    growth = rest.memory - warm.memory
    report.check(
        growth <= GROWTH,
        f"memory of the spared worker: {first.memory / 1e6:.1f} MB at first, "
        f"{warm.memory / 1e6:.1f} MB after the warm-up, {rest.memory / 1e6:.1f} MB at the end",
    )
    left = accepted(proxy.sockaddr()[1])
    report.check(not left, f"{len(left)} connections that the kernel still has at the proxy's port")


def _check_gauge(report: Report, proxy: SpyholeProcess, stack: ExitStack) -> None:
    """Each worker stops accepting at exactly its limit: so its gauge was at nothing."""
    port = proxy.sockaddr()[1]
    hello = client_hello("hold.test")
    opened: list[socket.socket] = []
    held: list[int] = []

    def is_settled() -> bool:
        nonlocal held
        connections = accepted(port)
        before, held = held, sorted(len(held_by(pid, connections)) for pid in proxy.worker_pids())
        return before == held

    while len(opened) < 4 * WORKERS * MOST:
        for _ in range(60 if opened else WORKERS * MOST):
            sock = stack.enter_context(socket.socket())
            sock.connect(proxy.sockaddr())
            sock.sendall(hello)
            opened.append(sock)
        wait_until(is_settled, "workers go on accepting")
        if held == [MOST] * WORKERS:
            break
    # by name: the kernel's table is read in pieces, and one that moves meanwhile stands there twice
    waiting = len({each.client for each in accepted(port) if not each.inode})
    report.check(
        held == [MOST] * WORKERS,
        f"gauges: workers that may hold {MOST} hold {held} by the kernel's count, "
        f"{waiting} of {len(opened)} clients wait",
    )
    for sock in opened:
        reset(sock)  # the upstream never reads, and would never end


def _check_log(report: Report, tally: Tally, files: list[Path]) -> None:
    records: dict[Name, dict[str, Any]] = {}
    twice = broken = strangers = 0
    for file in files:
        for line in file.read_bytes().splitlines():
            try:
                record = json.loads(line)
                host, _, port = record["client"].rpartition(":")
            except ValueError:
                broken += 1
                continue
            name = host, int(port)
            twice += name in records
            if name in tally.connections:
                records[name] = record
            else:
                strangers += 1
    report.check(
        not (broken or twice),
        f"the access log: {len(records) + strangers:,} lines in {len(files)} files, {broken} broken, "
        f"{twice} twice",
    )
    doomed = tally.doomed
    missing = [c for name, c in tally.connections.items() if name not in records and name not in doomed]
    unflushed = [c for c in missing if tally.ended_with_a_worker(c)]
    report.check(
        len(missing) == len(unflushed),
        f"connections without a line whose worker lived: {len(missing) - len(unflushed)} "
        f"({len(unflushed)} more were ending as some worker was killed, its last lines with it)",
    )
    carried = [(c, records[c.name]) for c in tally.connections.values() if c.carried and c.name in records]
    other = [c for c, r in carried if not c.failure and (r["bytes_in"], r["bytes_out"]) != c.carried]
    report.check(not other, f"lines whose bytes are not those carried: {len(other)} of {len(carried):,}")
    reasons = Counter(record["reason"] for record in records.values())
    report.note("reasons: " + ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common()))
    report.check(not reasons["internal_error"], f"internal errors: {reasons['internal_error']}")


def _check_defects(report: Report, lines: list[str]) -> None:
    """A defect of the proxy's own code: it says which in its error log, at level error."""
    defects = [line for line in lines if re.search(r"\berror\b.* failed: ", line)]
    report.check(not defects, f"defects told in the error log: {len(defects)}")
    for line in defects[:10]:
        report.note(f"  {line}")


def _unused_port(stack: ExitStack) -> int:
    sock = stack.enter_context(socket.socket())
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return int(sock.getsockname()[1])
