"""The proxies that the suite can start by itself: one small file for each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spyhole.conformance.peers import envoy, haproxy, nginx, sniproxy, spyhole, sslh, traefik
from spyhole.conformance.peers.job import Job, Peer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PEERS", "Job", "Peer"]

PEERS: Final[Mapping[str, Peer]] = {
    peer.name: peer
    for peer in (
        spyhole.PEER,
        haproxy.PEER,
        nginx.PEER,
        sniproxy.PEER,
        sslh.PEER,
        envoy.PEER,
        traefik.PEER,
    )
}
