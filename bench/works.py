"""The works that are measured: the eight kinds of the benchmark, as a list."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from bench.peers import LOG, PASS, TERMINATE, WORKERS


@dataclass(frozen=True)
class Setting:
    """How the proxies that do a work are set up. Those of one setting are started once, and share it."""

    terminate: bool = False
    routes: int | None = None
    """So many names; None: one for each of the backends that the works need."""
    log: bool = False
    workers: int = 1
    place: str = "pinned"
    crowded: bool = False
    """Connections idle on it: see crowd.py."""

    @property
    def needs(self) -> set[str]:
        """What a peer has to be able to do (see bench.peers)."""
        also = {LOG} if self.log else {WORKERS} if self.workers > 1 else set()
        return {TERMINATE if self.terminate else PASS, *also}

    def __str__(self) -> str:
        words = ["terminate" if self.terminate else "pass", self.place]
        words += [f"{self.routes}-routes"] if self.routes else []
        words += ["log"] if self.log else []
        words += ["crowded"] if self.crowded else []
        return "-".join([*words, *([f"{self.workers}-workers"] if self.workers > 1 else [])])


PASSED = Setting()
TERMINATED = Setting(terminate=True)

KINDS = {
    "setup": "Connection set-up, passthrough",
    "rr": "Request and response, passthrough",
    "bulk": "Bulk, passthrough",
    "tls": "TLS 1.3, terminated",
    "memory": "Memory per idle connection",
    "growth": "Growth",
    "fair": "Fairness: latency of 100 B requests on 8 connections, beside 4 with bulk at full rate",
    "machine": "The whole machine, nothing pinned",
    "workers": "Workers, nothing pinned",
    "network": "Over networks of 200 Mbit/s: veth, and a wire of 1 ms",
}


@dataclass(frozen=True)
class Work:
    """One kind of work, and the figure that it gives."""

    key: str
    """For `--works`."""
    kind: str
    """Of KINDS."""
    name: str
    mode: str
    """Of the load generator."""
    backend: str
    unit: str
    """µs (CPU time of an operation, or `measures`), ms/GB, or B."""
    setting: Setting = PASSED
    measures: str = "cpu"
    """cpu: of the proxy's processes; machine: of all that runs; p99: latency; memory."""
    open: int = 1
    flags: tuple[str, ...] = ()
    hello: str = "plain"
    """plain: 517 bytes; post-quantum: 1.7 KB; permuted: 517 bytes, in ever another order, as Chrome's."""
    milliseconds: int = 480
    """How long it is done, when measured in full."""
    slices: int = 0
    """In so many pieces; 0: in as many as others."""
    beside: int = 0
    """So many connections with bulk beside it."""
    most_rounds: int = 100
    together: str = ""
    """Works of one name here take turns with each other, not only the peers in each work."""
    afresh: bool = False
    """On processes that did nothing else, of one peer after the other."""


_FIN, _RESET = ("--close", "fin"), ("--close", "reset")
_RESUMED = ("--close", "fin", "--resume", "1")


def _setup(key: str, kind: str, name: str, setting: Setting = PASSED, **more: Any) -> Work:
    work = Work(key, kind, name, "setup", "reply", "µs", setting, open=32, flags=_FIN)
    return replace(work, **more)


def _rr(key: str, kind: str, name: str, size: int, setting: Setting = PASSED, **more: Any) -> Work:
    work = Work(key, kind, name, "rr", "echo", "µs", setting, flags=("--size", str(size)))
    return replace(work, **more)


def _fair(key: str, name: str, setting: Setting) -> Work:
    return _rr(key, "fair", name, 100, setting, open=8, beside=4, measures="p99", slices=3)


def _bulk(key: str, kind: str, name: str, up: bool, number: int, setting: Setting = PASSED) -> Work:
    mode, backend = ("up", "sink") if up else ("down", "source")
    return Work(key, kind, name, mode, backend, "ms/GB", setting, open=number)


def _idle(key: str, name: str, number: int, setting: Setting) -> Work:
    return Work(key, "memory", name, "idle", "held", "B", setting, "memory", number)


def _in_turn(name: str, *works: Work, **more: Any) -> list[Work]:
    return [replace(work, together=name, **more) for work in works]


def _by_machine(*works: Work) -> list[Work]:
    return [replace(work, measures="machine") for work in works]


def works(quick: bool) -> list[Work]:
    """All of them, in the order in which they are done. What is done afresh, the quick form does once."""
    many = 2000 if quick else 8000  # that many handshakes take their time
    few = many // 8
    crowded, crowded_tls = Setting(crowded=True), Setting(terminate=True, crowded=True)
    free, free_tls = Setting(place="unpinned"), Setting(terminate=True, place="unpinned")
    two = Setting(place="unpinned", workers=2)
    every = [
        _setup("setup-fin", "setup", "closed by FIN"),
        _setup("setup-reset", "setup", "closed by reset", flags=_RESET),
        _setup("setup-pq", "setup", "1.7 KB hello, FIN", hello="post-quantum"),
        _setup("setup-pq-reset", "setup", "1.7 KB hello, reset", hello="post-quantum", flags=_RESET),
        _setup("setup-permuted", "setup", "permuted hellos, FIN", hello="permuted"),
        _rr("rr-100-1", "rr", "100 B × 1", 100),
        _rr("rr-100-64", "rr", "100 B × 64", 100, open=64),
        _rr("rr-16k-1", "rr", "16 KiB × 1", 16384),
        _rr("rr-16k-64", "rr", "16 KiB × 64", 16384, open=64),
        _bulk("bulk-up-1", "bulk", "to the upstream × 1", True, 1),
        _bulk("bulk-down-1", "bulk", "to the client × 1", False, 1),
        _bulk("bulk-up-16", "bulk", "to the upstream × 16", True, 16),
        _bulk("bulk-down-16", "bulk", "to the client × 16", False, 16),
        _setup("tls-full", "tls", "full handshake", TERMINATED),
        _setup("tls-resumed", "tls", "resumed handshake", TERMINATED, flags=_RESUMED),
        _bulk("tls-up-1", "tls", "bulk to the upstream × 1", True, 1, TERMINATED),
        _bulk("tls-down-1", "tls", "bulk to the client × 1", False, 1, TERMINATED),
        _bulk("tls-up-16", "tls", "bulk to the upstream × 16", True, 16, TERMINATED),
        _bulk("tls-down-16", "tls", "bulk to the client × 16", False, 16, TERMINATED),
        *_in_turn(
            "idle",
            _idle("idle-1000", "1,000, passthrough", 1000, crowded),
            _idle("idle-8000", "8,000, passthrough", 8000, crowded),
            _setup("held-0", "growth", "set-up beside 0 idle"),
            _setup("held-8000", "growth", "set-up beside 8,000 idle", crowded),
            afresh=True,
        ),
        *_in_turn(
            "idle, terminated",
            _idle("tls-idle-1000", f"{few:,}, terminated", few, crowded_tls),
            _idle("tls-idle-8000", f"{many:,}, terminated", many, crowded_tls),
            afresh=True,
            most_rounds=3,  # handshakes by the ten thousand, for a figure that varies by a percent
        ),
        *_in_turn(
            "routes and log",
            _setup("routes-1", "growth", "set-up, 1 route", Setting(routes=1)),
            _setup("routes-1000", "growth", "set-up, 1,000 routes", Setting(routes=1000)),
            _setup("routes-10000", "growth", "set-up, 10,000 routes", Setting(routes=10_000)),
            _setup("setup-log", "growth", "set-up, 1 route, access log on", Setting(routes=1, log=True)),
        ),
        _fair("fair-splice", "passthrough, p99", PASSED),
        _fair("fair-tls", "terminated, p99", TERMINATED),
        *_by_machine(
            _setup("machine-setup", "machine", "set-up, FIN", free),
            _rr("machine-rr", "machine", "100 B × 64", 100, free, open=64),
            _bulk("machine-up", "machine", "bulk up × 16", True, 16, free),
            _bulk("machine-down", "machine", "bulk down × 16", False, 16, free),
            _setup("machine-tls-full", "machine", "full handshake", free_tls),
            _bulk("machine-tls-down", "machine", "terminated, bulk down × 16", False, 16, free_tls),
        ),
        *_in_turn(
            "workers set-up",
            _setup("workers-1-setup", "workers", "1 worker, set-up, FIN", free),
            _setup("workers-2-setup", "workers", "2 workers, set-up, FIN", two),
        ),
        *_in_turn(
            "workers request and response",
            _rr("workers-1-rr", "workers", "1 worker, 100 B × 64", 100, free, open=64),
            _rr("workers-2-rr", "workers", "2 workers, 100 B × 64", 100, two, open=64),
        ),
    ]
    return [replace(work, most_rounds=1) if quick and work.afresh else work for work in every]


def network_works() -> list[Work]:
    """The same few on loopback and over two networks, to see that no figure rests on loopback's habits."""
    found: list[Work] = []
    for place, word in NETWORKS.items():
        setting = Setting(place=place)
        works = (
            _setup(f"{word}-setup", "network", f"set-up, FIN, {word}", setting),
            _rr(f"{word}-rr", "network", f"100 B × 64, {word}", 100, setting, open=64),
            _bulk(f"{word}-up", "network", f"bulk up × 16, {word}", True, 16, setting),
            _bulk(f"{word}-down", "network", f"bulk down × 16, {word}", False, 16, setting),
        )
        if place == "pinned":
            found += works
            continue
        # A round trip through the proxy takes 4 ms there, and at the end what lies in the buffers some
        # seconds: more at once, longer, and in fewer slices.
        for work in works:
            opened = 256 if work.mode == "setup" else work.open
            found.append(replace(work, open=opened, milliseconds=2000, slices=3))
    return found


NETWORKS = {"pinned": "loopback", "veth": "veth", "wire": "wire"}
"""Place → what its works are called."""
