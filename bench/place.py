"""Where the proxies run and where the load comes from: cores, addresses, network namespaces."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Two sides: the proxy's, and that of the clients and backends."""

    proxy_cores: frozenset[int]
    load_cores: frozenset[int]
    proxy_host: str = "127.0.0.1"
    load_host: str = "127.0.0.1"
    proxy_prefix: tuple[str, ...] = ()
    load_prefix: tuple[str, ...] = ()
    spin: bool = True
    """Whether the load generator polls before it sleeps: see load.c."""
    quiet: float = 0.002
    """Seconds without CPU time after which a proxy has nothing left to do."""

    def proxy(self, command: list[str]) -> list[str]:
        """The command line of a proxy."""
        return [*self.proxy_prefix, *_on(self.proxy_cores), *command]

    def load(self, command: list[str]) -> list[str]:
        """The command line of a load generator."""
        return [*self.load_prefix, *_on(self.load_cores), *command]


def pinned() -> Place:
    """The proxy on a core of its own, on a machine that has two."""
    first, *others = sorted(os.sched_getaffinity(0))
    return Place(frozenset({first}), frozenset(others or {first}))


def unpinned() -> Place:
    """The kernel chooses; nobody burns a core that another could use."""
    cores = frozenset(os.sched_getaffinity(0))
    return Place(cores, cores, spin=False)


def _on(cores: frozenset[int]) -> list[str]:
    return ["taskset", "-c", ",".join(map(str, sorted(cores)))]
